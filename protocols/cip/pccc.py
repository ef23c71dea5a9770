"""PCCC inside CIP: Execute PCCC's request and reply, and the address fields of its commands.

    request   len vendor serial (7 bytes, copied back) | CMD STS TNS [FNC] parameters
    reply     the same requester id                    | CMD|40 STS TNS [EXT] data

STS 0xF0 is extended: one byte EXT STS follows the transaction number. An address field is one byte,
or FF and two.

Source: DF1 Protocol and Command Set (1770-6.5.16); observed clients.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.model.errors import DecodeError

PCCC_CLASS = 0x67
EXTENDED = 0xF0
ILLEGAL_COMMAND = 0x10


class ExtendedStatus(IntEnum):
    """EXT STS values in use here."""

    ADDRESS_UNUSABLE = 0x06
    FILE_WRONG_SIZE = 0x07
    BEYOND_END = 0x0A
    ACCESS_DENIED = 0x0B
    CANNOT_DECODE = 0x0E


class FileType(IntEnum):
    """Data file types; inputs and outputs have two numbers each."""

    OUTPUT = 0x82
    INPUT = 0x83
    STATUS = 0x84
    BIT = 0x85
    TIMER = 0x86
    COUNTER = 0x87
    CONTROL = 0x88
    INTEGER = 0x89
    FLOAT = 0x8A
    OUTPUT_SLOT = 0x8B
    INPUT_SLOT = 0x8C
    STRING = 0x8D
    ASCII = 0x8E
    LONG = 0x91


LETTERS: dict[str, tuple[FileType, int]] = {
    "O": (FileType.OUTPUT, 2),
    "I": (FileType.INPUT, 2),
    "S": (FileType.STATUS, 2),
    "B": (FileType.BIT, 2),
    "T": (FileType.TIMER, 6),
    "C": (FileType.COUNTER, 6),
    "R": (FileType.CONTROL, 6),
    "N": (FileType.INTEGER, 2),
    "F": (FileType.FLOAT, 4),
    "ST": (FileType.STRING, 84),
    "A": (FileType.ASCII, 2),
    "L": (FileType.LONG, 4),
}


class PcccError(DecodeError):
    """A command is refused: `status` is STS, `extended` EXT STS where STS is 0xF0."""

    def __init__(self, status: int, extended: int = 0) -> None:
        super().__init__(f"PCCC status 0x{status:02x}, extended 0x{extended:02x}", status=status)
        self.extended = extended


def refused(extended: ExtendedStatus) -> PcccError:
    """A refusal with extended status."""
    return PcccError(EXTENDED, extended)


@dataclass(frozen=True, slots=True)
class PcccRequest:
    """One command; `function` is -1 for commands that have none."""

    requester: bytes
    command: int
    transaction: int
    function: int
    data: bytes

    @classmethod
    def decode(cls, data: bytes) -> "PcccRequest":
        """The command in the data of Execute PCCC.

        Raises:
            CipError: NOT_ENOUGH_DATA.
        """
        size = data[0] if data else 0
        if not size or len(data) < size + 4:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        command, _status, transaction = struct.unpack_from("<BBH", data, size)
        rest = data[size + 4 :]
        function = rest[0] if rest else -1
        return cls(data[:size], command, transaction, function, rest[1:])

    def reply(self, data: bytes = b"", error: PcccError | None = None) -> bytes:
        """The data of the reply."""
        status = error.status if error is not None else 0
        head = struct.pack("<BBH", self.command | 0x40, status, self.transaction)
        if error is not None:
            data = bytes((error.extended,)) if status == EXTENDED else b""
        return self.requester + head + data


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A place in a data file; `type` is 0 where the command does not say it."""

    file: int
    element: int
    sub_element: int = 0
    type: int = 0


def take_field(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset after it) of one address field.

    Raises:
        PcccError: cut short.
    """
    if at >= len(data):
        raise refused(ExtendedStatus.CANNOT_DECODE)
    if data[at] != 0xFF:
        return data[at], at + 1
    if at + 3 > len(data):
        raise refused(ExtendedStatus.CANNOT_DECODE)
    return int.from_bytes(data[at + 1 : at + 3], "little"), at + 3


def typed_address(data: bytes, at: int, *, fields: int) -> tuple[FileAddress, int]:
    """The address of a protected typed logical command: file, type, element and, of three fields,
    the sub-element."""
    file, at = take_field(data, at)
    if at >= len(data):
        raise refused(ExtendedStatus.CANNOT_DECODE)
    kind, at = data[at], at + 1
    element, at = take_field(data, at)
    sub_element = 0
    if fields == 3:
        sub_element, at = take_field(data, at)
    return FileAddress(file, element, sub_element, kind), at


def level_address(data: bytes, at: int) -> tuple[FileAddress, int]:
    """A PLC-5 logical binary address: a byte of level flags, then the levels flagged."""
    if at >= len(data):
        raise refused(ExtendedStatus.CANNOT_DECODE)
    flags, at = data[at], at + 1
    levels = [0, 0, 0, 0]
    for level in range(4):
        if flags >> level & 1:
            levels[level], at = take_field(data, at)
    if not flags & 0x02:
        raise refused(ExtendedStatus.ADDRESS_UNUSABLE)
    return FileAddress(levels[1], levels[2], levels[3]), at
