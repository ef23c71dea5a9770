"""Modbus messages in words, for people who look at what went over a wire.

    request   unit 1 FC3 read holding registers 0 to 2
    reply     unit 1 FC3 read holding registers: 7, 258, 3
              unit 1 FC3 read holding registers: exception 2: illegal data address

Which side sent it must be told: nothing in a message says so. What is not to be understood is said
to be that, never guessed.
"""

import struct

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.pdu import EXCEPTION, EXCEPTION_TEXTS, Function
from cpppod.protocols.modbus.tcp import HEADER, Adu

MAX_VALUES = 16  # registers of a reply that are told
_READS = (1, 2, 3, 4)
_WRITES = (5, 6, 15, 16)
_BITS = (1, 2, 15)


def describe_tcp(data: bytes, *, reply: bool) -> str:
    """The messages in a piece of a Modbus TCP stream that begins with one."""
    told = []
    while len(data) > HEADER.size:
        transaction, protocol, length, unit = HEADER.unpack_from(data)
        if protocol or not 2 <= length <= 254:
            break
        adu = Adu(transaction, unit, data[HEADER.size : 6 + length])
        whole = len(adu.pdu) == length - 1
        words = describe_pdu(adu.pdu, reply=reply) if whole else "cut off"
        told.append(f"#{transaction} unit {unit} {words}")
        data = data[6 + length :]
    if data:
        told.append(f"{len(data)} bytes that are no message")
    return "; ".join(told)


def describe_rtu(data: bytes, *, reply: bool) -> str:
    """One Modbus RTU frame."""
    if len(data) < 4 or rtu.crc16(data):
        return f"{len(data)} bytes whose CRC is wrong"
    return f"unit {data[0]} {describe_pdu(data[1:-2], reply=reply)}"


def describe_pdu(pdu: bytes, *, reply: bool) -> str:
    """A request or a reply without its frame."""
    code = pdu[0] & ~EXCEPTION if reply else pdu[0]
    known = [each.name.replace("_", " ").lower() for each in Function if each == code]
    name = f"FC{code} {known[0]}" if known else f"FC{code}"
    if reply and pdu[0] & EXCEPTION:
        number = pdu[1] if len(pdu) > 1 else 0
        return f"{name}: exception {number}: {EXCEPTION_TEXTS.get(number, 'unknown code')}"
    if reply and code in _READS:
        return f"{name}: {_values(code, pdu[2:])}"
    if code in _READS + _WRITES and len(pdu) >= 5:
        return f"{name} {_range(code, pdu)}"
    return f"{name} {pdu[1:].hex(' ')}".rstrip()


def _range(code: int, pdu: bytes) -> str:
    """Where a request reads or writes, and what; the addresses are those of the wire, from 0."""
    first, second = struct.unpack_from(">HH", pdu, 1)
    if code in (5, 6):
        return f"{first}: {second if code == 6 else 'on' if second else 'off'}"
    span = f"{first} to {first + second - 1}" if second > 1 else str(first)
    return f"{span}: {_values(code, pdu[6:])}" if code in _WRITES and len(pdu) > 6 else span


def _values(code: int, data: bytes) -> str:
    if code in _BITS:
        return "bits " + " ".join(f"{byte:08b}" for byte in data[:MAX_VALUES])
    words = struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2])
    more = ", ..." if len(words) > MAX_VALUES else ""
    return ", ".join(map(str, words[:MAX_VALUES])) + more
