"""CIP elementary types: names, codes, sizes, and values to bytes and back.

    UINT        elements
    type code   back to back, little-endian           elementary
    A0 02 hhhh  elements of a structure, handle hhhh  STRING82 is the structure 0x0FCE

Strings: STRING (0xD0) is UINT length, characters, pad to even; SSTRING (0xDA) is USINT length and
characters; STRING82 is Logix' own, DINT length, 82 characters, 2 pad. Characters are ISO 8859-1, so
that every byte survives.

Source: CIP Networks Library Vol. 1, appendix C; Logix 5000 Data Access (1756-PM020).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.model.errors import EncodeError

STRUCTURE = 0x02A0  # type code of a structure; its 16-bit handle follows
STRING82_HANDLE = 0x0FCE
STRING82_SIZE = 88
_TEXT = "iso-8859-1"


def characters(kind: str, value: Any) -> bytes:
    """A string's characters, of `str` or as bytes; `kind` is named where they are neither.

    Raises:
        EncodeError: no string (a number would be so many zero bytes), or not ISO 8859-1.
    """
    try:
        if isinstance(value, str):
            return value.encode(_TEXT)
    except UnicodeEncodeError as error:
        odd = value[error.start]
        raise EncodeError(
            f"{kind}: {odd!r} (U+{ord(odd):04X}) cannot be said in latin-1",
            status=GeneralStatus.INVALID_ATTRIBUTE_VALUE,
        ) from None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise EncodeError(f"{kind}: {value!r}", status=GeneralStatus.INVALID_ATTRIBUTE_VALUE)


@dataclass(frozen=True, slots=True)
class DataType:
    """One elementary type of fixed size; strings derive from it.

    Attributes:
        code: the type code on the wire.
        size: bytes of one element; 0 where it varies.
        letter: the `struct` letter of one element.
        signed: whether integers of it may be negative.
        kind: `bool`, `int`, `float`, `string`.
    """

    name: str
    code: int
    size: int
    letter: str
    kind: str
    signed: bool = False

    @property
    def header(self) -> bytes:
        """The type as it stands in a Read Tag reply or Write Tag request."""
        return struct.pack("<H", self.code)

    def pack(self, values: Sequence[Any]) -> bytes:
        """The elements back to back.

        Raises:
            EncodeError: a value does not fit the type.
        """
        try:
            if self.kind == "bool":
                return bytes(1 if value else 0 for value in values)
            return struct.pack(f"<{len(values)}{self.letter}", *values)
        except (struct.error, OverflowError, TypeError) as error:
            raise EncodeError(
                f"{self.name}: {error}", status=GeneralStatus.INVALID_ATTRIBUTE_VALUE
            ) from None

    def unpack(self, data: bytes | bytearray | memoryview, count: int | None = None) -> list[Any]:
        """The first `count` elements of `data`, or all whole ones where None.

        Raises:
            CipError: NOT_ENOUGH_DATA where `data` holds fewer.
        """
        available = len(data) // self.size
        if count is None:
            count = available
        elif available < count:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        if self.kind == "bool":
            return [bool(value) for value in data[:count]]
        return list(struct.unpack_from(f"<{count}{self.letter}", data))

    def zero(self) -> Any:
        """The value that a tag of this type starts with."""
        return {"bool": False, "int": 0, "float": 0.0, "string": ""}[self.kind]

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer of the type."""
        bits = 8 * self.size
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)


@dataclass(frozen=True, slots=True)
class CountedString(DataType):
    """STRING and SSTRING: a length of `letter`, the characters, padded to `align` bytes."""

    align: int = 1

    def pack(self, values: Sequence[Any]) -> bytes:
        """The strings back to back, `str` or `bytes`."""
        return b"".join(self._pack_one(value) for value in values)

    def _pack_one(self, value: Any) -> bytes:
        raw = characters(self.name, value)
        most = (1 << 8 * struct.calcsize(self.letter)) - 1
        if len(raw) > most:
            raise EncodeError(
                f"{self.name}: {len(raw)} characters, up to {most}",
                status=GeneralStatus.INVALID_ATTRIBUTE_VALUE,
            )
        data = struct.pack(f"<{self.letter}", len(raw)) + raw
        return data + bytes(-len(data) % self.align)

    def unpack(self, data: bytes | bytearray | memoryview, count: int | None = None) -> list[Any]:
        """The first `count` strings of `data`, or all where None.

        The last one's pad may lack; pycomm3 pads none of them, which is tried next.
        """
        try:
            return self._unpack(bytes(data), count, self.align)
        except CipError:
            if self.align == 1:
                raise
        return self._unpack(bytes(data), count, 1)

    def _unpack(self, raw: bytes, count: int | None, align: int) -> list[Any]:
        width = struct.calcsize(self.letter)
        values: list[str] = []
        offset = 0
        while offset < len(raw) if count is None else len(values) < count:
            if offset + width > len(raw):
                raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
            (length,) = struct.unpack_from(f"<{self.letter}", raw, offset)
            end = offset + width + length
            if end > len(raw):
                raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
            values.append(raw[offset + width : end].decode(_TEXT))
            offset = end + -(width + length) % align
        return values


@dataclass(frozen=True, slots=True)
class LogixString(DataType):
    """A Logix string structure: DINT length and `capacity` characters, padded to `size`.

    Attributes:
        handle: structure handle that stands after 0x02A0.
    """

    handle: int = STRING82_HANDLE
    capacity: int = 82

    @property
    def header(self) -> bytes:
        """The abbreviated structure type with its handle."""
        return struct.pack("<HH", STRUCTURE, self.handle)

    def pack(self, values: Sequence[Any]) -> bytes:
        """The strings back to back, each of `size` bytes.

        Raises:
            EncodeError: a string is longer than `capacity`.
        """
        parts = []
        for value in values:
            raw = characters(self.name, value)
            if len(raw) > self.capacity:
                raise EncodeError(
                    f"{self.name}: {len(raw)} characters, up to {self.capacity}",
                    status=GeneralStatus.TOO_MUCH_DATA,
                )
            parts.append(struct.pack("<i", len(raw)) + raw + bytes(self.size - 4 - len(raw)))
        return b"".join(parts)

    def unpack(self, data: bytes | bytearray | memoryview, count: int | None = None) -> list[Any]:
        """The first `count` strings; a length beyond the capacity is cut to it.

        Raises:
            CipError: fewer than `count` strings are there.
        """
        available = len(data) // self.size
        if count is None:
            count = available
        elif available < count:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        values = []
        for offset in range(0, count * self.size, self.size):
            (length,) = struct.unpack_from("<i", data, offset)
            length = min(max(length, 0), self.capacity)
            values.append(bytes(data[offset + 4 : offset + 4 + length]).decode(_TEXT))
        return values


BOOL = DataType("BOOL", 0xC1, 1, "B", "bool")
SINT = DataType("SINT", 0xC2, 1, "b", "int", signed=True)
INT = DataType("INT", 0xC3, 2, "h", "int", signed=True)
DINT = DataType("DINT", 0xC4, 4, "i", "int", signed=True)
LINT = DataType("LINT", 0xC5, 8, "q", "int", signed=True)
USINT = DataType("USINT", 0xC6, 1, "B", "int")
UINT = DataType("UINT", 0xC7, 2, "H", "int")
UDINT = DataType("UDINT", 0xC8, 4, "I", "int")
ULINT = DataType("ULINT", 0xC9, 8, "Q", "int")
REAL = DataType("REAL", 0xCA, 4, "f", "float", signed=True)
LREAL = DataType("LREAL", 0xCB, 8, "d", "float", signed=True)
STIME = DataType("STIME", 0xCC, 4, "i", "int", signed=True)
DATE = DataType("DATE", 0xCD, 2, "H", "int")
TIME_OF_DAY = DataType("TIME_OF_DAY", 0xCE, 4, "I", "int")
STRING = CountedString("STRING", 0xD0, 0, "H", "string", align=2)
BYTE = DataType("BYTE", 0xD1, 1, "B", "int")
WORD = DataType("WORD", 0xD2, 2, "H", "int")
DWORD = DataType("DWORD", 0xD3, 4, "I", "int")
LWORD = DataType("LWORD", 0xD4, 8, "Q", "int")
FTIME = DataType("FTIME", 0xD6, 4, "i", "int", signed=True)
LTIME = DataType("LTIME", 0xD7, 8, "q", "int", signed=True)
ITIME = DataType("ITIME", 0xD8, 2, "h", "int", signed=True)
SSTRING = CountedString("SSTRING", 0xDA, 0, "B", "string", align=1)
TIME = DataType("TIME", 0xDB, 4, "i", "int", signed=True)
STRING82 = LogixString("STRING82", STRUCTURE, STRING82_SIZE, "", "string")

_ALL: tuple[DataType, ...] = (
    *(BOOL, SINT, INT, DINT, LINT, USINT, UINT, UDINT, ULINT, REAL, LREAL),
    *(STIME, DATE, TIME_OF_DAY, STRING, BYTE, WORD, DWORD, LWORD),
    *(FTIME, LTIME, ITIME, SSTRING, TIME, STRING82),
)
BY_NAME: dict[str, DataType] = {item.name: item for item in _ALL} | {"SHORT_STRING": SSTRING}
BY_CODE: dict[int, DataType] = {item.code: item for item in _ALL if item.code != STRUCTURE}


def by_name(name: str) -> DataType:
    """The type of that name, in any case.

    Raises:
        EncodeError: there is no such type.
    """
    found = BY_NAME.get(name.upper())
    if found is None:
        raise EncodeError(
            f"unknown type {name!r}; one of {', '.join(BY_NAME)}",
            status=GeneralStatus.INVALID_PARAMETER,
        )
    return found


def split_type(data: bytes) -> tuple[int, int, bytes]:
    """(type code, structure handle or 0, what follows) of tag data that begins with its type.

    Raises:
        CipError: NOT_ENOUGH_DATA.
    """
    if len(data) < 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    (code,) = struct.unpack_from("<H", data)
    if code != STRUCTURE:
        return code, 0, data[2:]
    if len(data) < 4:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    (handle,) = struct.unpack_from("<H", data, 2)
    return code, handle, data[4:]


def unpack_tag(data: bytes, count: int | None = None) -> list[Any]:
    """Values of a Read Tag reply's data, type first; a structure of unknown layout gives [bytes].

    Raises:
        CipError: an unknown type code, or fewer than `count` elements.
    """
    code, handle, rest = split_type(data)
    if code == STRUCTURE:
        return STRING82.unpack(rest, count) if handle == STRING82_HANDLE else [bytes(rest)]
    kind = BY_CODE.get(code)
    if kind is None:
        raise CipError(
            f"unknown type 0x{code:04x}",
            status=GeneralStatus.GENERAL_ERROR,
            extended=(0x2107,),
        )
    return kind.unpack(rest, count)
