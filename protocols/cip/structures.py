"""Logix structures: how members lie in memory, their templates and handles, and values to bytes.

    SINT and BOOL hosts on 1 byte, INT on 2, DINT, REAL and structures on 4, 64-bit types on 8;
    the size is a multiple of 4, of 8 where there is a 64-bit member.
    Runs of BOOLs pack into hidden SINT hosts, eight each; BOOL arrays are arrays of DWORDs.

    template  member_count x (UINT info | UINT type | UDINT offset)
              | "Name;n" and 2 letters per member 00 | each member's name 00

The handle of a user's structure is CRC-16/ARC over `Name,type,type[4],...`, nested ones written
out; those of predefined structures are their template ids.

Source: Logix 5000 Data Access (1756-PM020), "Template object"; observed clients.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.cip import types
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.types import DataType
from cpppod.protocols.model.errors import EncodeError

MAX_STRUCTURE = 65_536  # bytes: larger ones could not be declared in a controller either
FIRST_USER_TEMPLATE = 0x101
LAST_USER_TEMPLATE = 0xEFE
HIDDEN_PREFIX = "ZZZZZZZZZZ"  # clients do not show members whose names begin so
# pylogix looks at a template id's low byte alone to tell structures from elementary types
_UNSAFE_LOW_BYTES = frozenset((0x00, 0xA0, 0xD6, 0xD7, 0xDA, 0xDF, *range(0xC0, 0xE0)))


def template_id_is_safe(template_id: int) -> bool:
    """Whether every known client tells this template id from an elementary type's code."""
    return template_id & 0xFF not in _UNSAFE_LOW_BYTES


@dataclass(frozen=True, slots=True)
class Member:
    """One member: `length` 0 is a scalar, `bit` the bit of its host for a packed BOOL."""

    name: str
    type: "DataType | Structure"
    length: int = 0
    offset: int = 0
    bit: int | None = None
    hidden: bool = False

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.offset + self.type.size * max(self.length, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A structure as controllers hold it.

    Attributes:
        template_id: instance of the Template object.
        handle: what stands after 0x02A0 in tag data.
        predefined: whether it belongs to every controller (STRING, TIMER ...).
    """

    name: str
    template_id: int
    handle: int
    size: int
    members: tuple[Member, ...]
    predefined: bool = False
    index: Mapping[str, Member] = field(default_factory=dict)

    @property
    def header(self) -> bytes:
        """The abbreviated structure type with its handle."""
        return struct.pack("<HH", types.STRUCTURE, self.handle)

    @property
    def kind(self) -> str:
        """`string` for a structure of exactly LEN and DATA, else `structure`."""
        return "string" if self.is_string else "structure"

    @property
    def is_string(self) -> bool:
        """Whether it is a Logix string: a DINT LEN and SINT DATA[]."""
        return [member.name for member in self.members] == ["LEN", "DATA"]

    def member(self, name: str) -> Member | None:
        """The member of that name, in any case."""
        return self.index.get(name.casefold())

    def pack(self, values: Sequence[Any]) -> bytes:
        """The elements back to back; a value is bytes, a map by member name, or a str for strings.

        Raises:
            EncodeError: a member is unknown or its value does not fit.
        """
        return b"".join(self._pack_one(value) for value in values)

    def _pack_one(self, value: Any) -> bytes:
        if isinstance(value, bytes | bytearray):
            if len(value) != self.size:
                raise EncodeError(
                    f"{self.name}: {len(value)} bytes, expected {self.size}",
                    status=GeneralStatus.NOT_ENOUGH_DATA,
                )
            return bytes(value)
        if isinstance(value, str) and self.is_string:
            raw = types.characters(self.name, value)
            if len(raw) > self.members[1].length:
                raise EncodeError(
                    f"{self.name}: {len(raw)} characters", status=GeneralStatus.TOO_MUCH_DATA
                )
            return struct.pack("<i", len(raw)) + raw + bytes(self.size - 4 - len(raw))
        if not isinstance(value, Mapping):
            raise EncodeError(
                f"{self.name}: {value!r}", status=GeneralStatus.INVALID_ATTRIBUTE_VALUE
            )
        memory = bytearray(self.size)
        for name, item in value.items():
            member = self.member(str(name))
            if member is None:
                raise EncodeError(
                    f"{self.name} has no member {name!r}",
                    status=GeneralStatus.INVALID_ATTRIBUTE_VALUE,
                )
            store(memory, member, item)
        return bytes(memory)

    def unpack(self, data: bytes | bytearray | memoryview, count: int | None = None) -> list[Any]:
        """Elements as maps by member name (hidden members left out), strings as str."""
        available = len(data) // self.size if self.size else 0
        count = available if count is None else min(count, available)
        return [
            self._unpack_one(data[at : at + self.size])
            for at in range(0, count * self.size, self.size)
        ]

    def _unpack_one(self, data: bytes | bytearray | memoryview) -> Any:
        if self.is_string:
            (length,) = struct.unpack_from("<i", data)
            length = min(max(length, 0), self.members[1].length)
            return bytes(data[4 : 4 + length]).decode("iso-8859-1")
        return {member.name: load(data, member) for member in self.members if not member.hidden}

    def zero(self) -> Any:
        """The value that a tag of this type starts with."""
        return "" if self.is_string else {}

    @property
    def crc_text(self) -> str:
        """What the handle of a user's structure is computed over."""
        if self.predefined:
            return self.name
        return ",".join((self.name, *_member_texts(self.members)))

    def template(self) -> bytes:
        """The definition that Read Template gives, padded to what `definition_words` says."""
        body = b"".join(_definition(member) for member in self.members)
        title = f"{self.name};n{'EB' * len(self.members)}"
        names = "\0".join((title, *(member.name for member in self.members), ""))
        raw = body + names.encode("iso-8859-1", "replace")
        return raw + bytes(-len(raw) % 4)

    @property
    def definition_words(self) -> int:
        """The size in 32-bit words that attribute 4 of the Template object tells."""
        return (len(self.template()) + 20) // 4


def _member_texts(members: Iterable[Member]) -> list[str]:
    texts = []
    for member in members:
        if member.bit is not None:
            continue
        inner = member.type.crc_text if isinstance(member.type, Structure) else member.type.name
        texts.append(f"{inner}[{member.length}]" if member.length else inner)
    return texts


def crc16(data: bytes) -> int:
    """CRC-16/ARC: polynomial 0x8005 reflected, start 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def symbol_type(kind: "DataType | Structure", dimensions: int) -> int:
    """The symbol type word: bit 15 structure, 13-14 dimensions, then template id or code."""
    base = 0x8000 | kind.template_id if isinstance(kind, Structure) else kind.code
    return base | dimensions << 13


def _definition(member: Member) -> bytes:
    info = member.length if member.bit is None else member.bit
    kind = symbol_type(member.type, 1 if member.length else 0)
    return struct.pack("<HHI", info, kind, member.offset)


def _alignment(kind: "DataType | Structure") -> int:
    if isinstance(kind, Structure):
        return max((4, *(_alignment(member.type) for member in kind.members)))
    return kind.size


def define(
    name: str,
    fields: Sequence[tuple[str, "DataType | Structure", int]],
    *,
    template_id: int,
    handle: int | None = None,
) -> Structure:
    """Lay out a user's structure; a field is (name, type, length), length 0 a scalar.

    Raises:
        EncodeError: no members, a name used twice, a type that has no fixed size, or too large.
    """
    members: list[Member] = []
    offset, widest, host_bits = 0, 4, 8
    for position, (field_name, kind, length) in enumerate(fields):
        hidden = field_name.startswith(HIDDEN_PREFIX)
        if kind is types.BOOL and not length:
            if host_bits == 8:
                host = f"{HIDDEN_PREFIX}{name}{position}"
                members.append(Member(host, types.SINT, offset=offset, hidden=True))
                offset, host_bits = offset + 1, 0
            members.append(Member(field_name, types.BOOL, 0, offset - 1, host_bits, hidden=hidden))
            host_bits += 1
            continue
        host_bits = 8
        if kind is types.BOOL:
            kind, length = types.DWORD, -(-length // 32)
        if not kind.size:
            raise EncodeError(f"{name}.{field_name}: {kind.name} has no fixed size", status=0)
        align = _alignment(kind)
        widest = max(widest, align)
        offset += -offset % align
        member = Member(field_name, kind, length, offset, hidden=hidden)
        members.append(member)
        offset = member.end
    return _finish(name, members, offset + -offset % widest, template_id, handle)


def _finish(
    name: str, members: list[Member], size: int, template_id: int, handle: int | None
) -> Structure:
    index = {member.name.casefold(): member for member in members}
    if not members or len(index) != len(members):
        raise EncodeError(f"structure {name}: no members, or a name twice", status=0)
    if size > MAX_STRUCTURE:
        raise EncodeError(f"structure {name}: {size} bytes", status=0)
    text = ",".join((name, *_member_texts(members)))
    crc = crc16(text.encode("iso-8859-1", "replace")) if handle is None else handle
    return Structure(
        name, template_id, crc, size, tuple(members), predefined=handle is not None, index=index
    )


def _predefined(name: str, number: int, size: int, members: Sequence[Member]) -> Structure:
    index = {member.name.casefold(): member for member in members}
    return Structure(name, number, number, size, tuple(members), predefined=True, index=index)


def _bits(names: str) -> list[Member]:
    return [
        Member(name, types.BOOL, offset=0, bit=31 - position)
        for position, name in enumerate(names.split())
    ]


def _control(second: str, third: str, bits: str) -> list[Member]:
    return [
        Member("CTL", types.DINT, hidden=True),
        Member(second, types.DINT, offset=4),
        Member(third, types.DINT, offset=8),
        *_bits(bits),
    ]


STRING = _predefined(
    "ASCIISTRING82",
    types.STRING82_HANDLE,
    types.STRING82_SIZE,
    (Member("LEN", types.DINT), Member("DATA", types.SINT, 82, 4)),
)
TIMER = _predefined("TIMER", 0xF83, 12, _control("PRE", "ACC", "EN TT DN"))
COUNTER = _predefined("COUNTER", 0xF82, 12, _control("PRE", "ACC", "CU CD DN OV UN"))
CONTROL = _predefined("CONTROL", 0xF81, 12, _control("LEN", "POS", "EN EU DN EM ER UL IN FD"))
PREDEFINED: dict[str, Structure] = {
    "STRING82": STRING,
    "ASCIISTRING82": STRING,
    "TIMER": TIMER,
    "COUNTER": COUNTER,
    "CONTROL": CONTROL,
}


def store(memory: bytearray, member: Member, value: Any, base: int = 0) -> None:
    """Write a member's value into a structure's memory that begins at `base`.

    Raises:
        EncodeError: the value does not fit.
    """
    at = base + member.offset
    if member.bit is not None:
        at, bit = at + member.bit // 8, 1 << member.bit % 8
        memory[at] = memory[at] | bit if value else memory[at] & ~bit
        return
    if not member.length:
        memory[at : at + member.type.size] = member.type.pack([value])
        return
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise EncodeError(f"{member.name}: expected a list", status=0x09)
    if member.type is types.DWORD and value and all(isinstance(item, bool) for item in value):
        value = _dwords(value)
    if len(value) > member.length:
        raise EncodeError(f"{member.name}: {len(value)} elements", status=0x15)
    raw = member.type.pack(value)
    memory[at : at + len(raw)] = raw


def load(memory: bytes | bytearray | memoryview, member: Member, base: int = 0) -> Any:
    """A member's value in a structure's memory that begins at `base`."""
    at = base + member.offset
    if member.bit is not None:
        return bool(memory[at + member.bit // 8] >> member.bit % 8 & 1)
    values = member.type.unpack(memory[at : base + member.end], max(member.length, 1))
    return values if member.length else values[0]


def _dwords(bits: Sequence[bool]) -> list[int]:
    return [
        sum(1 << position for position, bit in enumerate(bits[at : at + 32]) if bit)
        for at in range(0, len(bits), 32)
    ]
