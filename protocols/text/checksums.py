"""Checksums of text frames, by name.

    name            over the bytes of the capture `checked`            bytes  check("123456789")
    xor8            exclusive or of all (NMEA 0183)                    1      31
    sum8            sum modulo 256                                     1      dd
    lrc8            two's complement of that sum (Modbus ASCII)        1      23
    sum16           sum modulo 65536                                   2      01dd
    crc8            polynomial 07                                      1      f4
    crc16-modbus    polynomial 8005 reflected, starts at ffff          2      4b37
    crc16-ccitt     polynomial 1021, starts at ffff                    2      29b1
    crc16-xmodem    polynomial 1021, starts at 0                       2      31c3
    crc16-kermit    polynomial 1021 reflected, starts at 0             2      2189
    crc32           polynomial 04c11db7 reflected (zip, Ethernet)      4      cbf43926

In a frame a checksum stands as hexadecimal digits, two for each byte, or as that many bytes, the
high one first; `-le` after the name puts the low one first.

Source: the check values of the catalogue of parametrised CRC algorithms.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache, reduce
from operator import xor


def _reflected(polynomial: int, initial: int) -> Callable[[bytes], int]:
    def checksum(data: bytes) -> int:
        table = _reflected_table(polynomial)
        value = initial
        for byte in data:
            value = value >> 8 ^ table[(value ^ byte) & 0xFF]
        return value

    return checksum


@lru_cache(maxsize=4)
def _reflected_table(polynomial: int) -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


def _forward(width: int, polynomial: int, initial: int) -> Callable[[bytes], int]:
    def checksum(data: bytes) -> int:
        table = _forward_table(width, polynomial)
        mask = (1 << width) - 1
        value = initial
        for byte in data:
            value = (value << 8 ^ table[value >> width - 8 ^ byte]) & mask
        return value

    return checksum


@lru_cache(maxsize=4)
def _forward_table(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask = 1 << width - 1, (1 << width) - 1
    entries = []
    for byte in range(256):
        value = byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        entries.append(value)
    return tuple(entries)


ALGORITHMS: dict[str, tuple[int, Callable[[bytes], int]]] = {  # bytes of the result, function
    "xor8": (1, lambda data: reduce(xor, data, 0)),
    "sum8": (1, lambda data: sum(data) & 0xFF),
    "lrc8": (1, lambda data: -sum(data) & 0xFF),
    "sum16": (2, lambda data: sum(data) & 0xFFFF),
    "crc8": (1, _forward(8, 0x07, 0)),
    "crc16-modbus": (2, _reflected(0xA001, 0xFFFF)),
    "crc16-ccitt": (2, _forward(16, 0x1021, 0xFFFF)),
    "crc16-xmodem": (2, _forward(16, 0x1021, 0)),
    "crc16-kermit": (2, _reflected(0x8408, 0)),
    "crc32": (4, zlib.crc32),
}
LITTLE_ENDIAN = "-le"


def known(name: str) -> bool:
    """Whether there is a checksum of that name."""
    return name.removesuffix(LITTLE_ENDIAN) in ALGORITHMS


def digits(name: str, checked: bytes) -> bytes:
    """The checksum of `checked` as upper-case hexadecimal digits.

    Raises:
        KeyError: there is no such checksum.
    """
    return _bytes(name, checked).hex().upper().encode("ascii")


def agrees(name: str, checked: bytes, found: bytes) -> bool:
    """Whether `found` is the checksum of `checked`, in hexadecimal digits or as bytes.

    Raises:
        KeyError: there is no such checksum.
    """
    wanted = _bytes(name, checked)
    return found == wanted or found.upper() == wanted.hex().upper().encode("ascii")


def _bytes(name: str, checked: bytes) -> bytes:
    size, algorithm = ALGORITHMS[name.removesuffix(LITTLE_ENDIAN)]
    order = "little" if name.endswith(LITTLE_ENDIAN) else "big"
    return algorithm(checked).to_bytes(size, "little" if order == "little" else "big")
