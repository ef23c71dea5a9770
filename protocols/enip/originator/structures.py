"""Browsing a controller: its tags and the layout of its structures, as questions and answers.

    browse() ─yields─► Get Instance Attribute List (Symbol) ... per program ─┐
        ▲                Get Attribute List, Read Template (Template) ...    │ a shell sends each
        └───────────────────────── reply ◄──────────────────────────────────┘ and sends in the reply

The generator returns a `TagTree`. Lists that do not advance, templates that lie about their size
and structures that contain themselves are a `SessionViolated`.

Source: Logix 5000 Data Access (1756-PM020), "Symbol Object", "Template Object".
"""

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from cpppod.protocols.cip.epath import Logical, LogicalType, Segment, Symbol, encode
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest, Service
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.structures import STRING, Member, Structure
from cpppod.protocols.cip.types import BY_CODE, DWORD, SINT, DataType
from cpppod.protocols.enip.originator.session import SessionViolated

SYMBOL_CLASS = 0x6B
TEMPLATE_CLASS = 0x6C
MAX_TAGS = 65_536  # symbol instances have 16-bit numbers in practice
MAX_TEMPLATE_BYTES = 262_144  # a structure of 500 members has 20 KB
MAX_NESTING = 32  # structures within structures
MAX_STALLS = 2
READ_BYTES = 3800  # of a template at once; the target cuts it to what its reply carries
_ATTRIBUTES = struct.pack("<H3H", 3, 1, 2, 8)
_TEMPLATE_ATTRIBUTES = struct.pack("<H4H", 4, 4, 5, 2, 1)
_ENTRY_TAIL = struct.Struct("<H3I")
_SYSTEM = 0x1000
_STRUCTURED = 0x8000

Conversation = Generator[bytes, MessageRouterReply, "TagTree"]


class BrowseRefused(Exception):
    """The target does not tell its tags.

    Attributes:
        reply: what it said.
    """

    def __init__(self, reply: MessageRouterReply) -> None:
        super().__init__(f"the target does not list its tags: {reply.text}")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class TagInfo:
    """One tag: `name` with its program (`Program:Main.Speed`), `dimensions` () for a scalar."""

    name: str
    type: DataType | Structure
    dimensions: tuple[int, ...] = ()
    instance: int = 0

    @property
    def type_name(self) -> str:
        """`DINT[10]`, `Pump`, `BOOL[96]` (an array of BOOLs, held in DWORDs)."""
        if self.type is DWORD and self.dimensions:
            return f"BOOL[{self.dimensions[0] * 32}]"
        size = "".join(f"[{','.join(map(str, self.dimensions))}]" if self.dimensions else "")
        return f"{self.type.name}{size}"


@dataclass(slots=True)
class TagTree:
    """What a controller has: tags in the order of their instances, structures by handle.

    `left_out` are (name, why) of those that are no system's and yet not among the tags.
    """

    tags: list[TagInfo] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    layouts: dict[int, Structure] = field(default_factory=dict)

    def lines(self, *, members: bool = True) -> Iterator[str]:
        """The tree as text: a line for each tag, its structure's members below."""
        width = max((len(tag.name) for tag in self.tags), default=0)
        for tag in self.tags:
            yield f"{tag.name:<{width}}  {tag.type_name}"
            if members and isinstance(tag.type, Structure) and not tag.type.is_string:
                yield from _member_lines(tag.type, depth=1)


def _member_lines(structure: Structure, *, depth: int) -> Iterator[str]:
    for member in structure.members:
        if member.hidden:
            continue
        size = f"[{member.length}]" if member.length else ""
        yield f"{'    ' * depth}.{member.name}  {member.type.name}{size}"
        if isinstance(member.type, Structure) and not member.type.is_string:
            yield from _member_lines(member.type, depth=depth + 1)


def browse() -> Conversation:
    """Ask for every tag and structure; see the module's picture.

    Raises:
        BrowseRefused: the target has no Symbol object, or does not let it be read.
        SessionViolated: answers that cannot be.
    """
    tree = TagTree()
    templates: dict[int, Structure] = {}
    controller = yield from _list(())
    programs = [entry for entry in controller if entry[1].startswith("Program:")]
    entries = [(name, *entry) for entry in controller for name in [entry[1]]]
    for _, program, _, _ in programs:
        listed = yield from _list((Symbol(program),))
        entries += [(f"{program}.{entry[1]}", *entry) for entry in listed]
    for full, instance, name, word, dimensions in entries:
        if name.startswith("__") or word & _SYSTEM:
            continue
        if ":" in name:
            tree.left_out.append((full, "a module's tag"))
            continue
        if word & _STRUCTURED:
            kind: DataType | Structure = yield from _template(word & 0xFFF, templates, 0)
        else:
            found = BY_CODE.get(word & 0xFF)
            if found is None:
                tree.left_out.append((full, f"of an unknown type 0x{word & 0xFF:02x}"))
                continue
            kind = found
        count = word >> 13 & 3
        tree.tags.append(TagInfo(full, kind, dimensions[:count], instance))
    tree.layouts = {item.handle: item for item in templates.values()}
    return tree


_Entry = tuple[int, str, int, tuple[int, ...]]


def _list(scope: tuple[Segment, ...]) -> Generator[bytes, MessageRouterReply, list[_Entry]]:
    """(instance, name, symbol type, dimensions) of every symbol in a scope."""
    entries: list[_Entry] = []
    start, stalls = 0, 0
    while True:
        path = encode(
            (
                *scope,
                Logical(LogicalType.CLASS, SYMBOL_CLASS),
                Logical(LogicalType.INSTANCE, start),
            )
        )
        reply = yield MessageRouterRequest(
            Service.GET_INSTANCE_ATTRIBUTE_LIST, path, _ATTRIBUTES
        ).encode()
        if reply.status not in (GeneralStatus.SUCCESS, GeneralStatus.PARTIAL_TRANSFER):
            raise BrowseRefused(reply)
        found = list(_entries(reply.data))
        entries += found
        if reply.status == GeneralStatus.SUCCESS:
            return entries
        stalls = 0 if found and found[-1][0] >= start else stalls + 1
        if stalls >= MAX_STALLS or len(entries) > MAX_TAGS:
            raise SessionViolated("the list of tags does not end")
        start = found[-1][0] + 1 if found else start


def _entries(data: bytes) -> Iterator[_Entry]:
    offset = 0
    while offset < len(data):
        if offset + 6 > len(data):
            raise SessionViolated("a tag's entry is cut short")
        instance, length = struct.unpack_from("<IH", data, offset)
        offset += 6
        if offset + length + _ENTRY_TAIL.size > len(data):
            raise SessionViolated("a tag's entry is cut short")
        name = data[offset : offset + length].decode("iso-8859-1")
        offset += length
        word, *dimensions = _ENTRY_TAIL.unpack_from(data, offset)
        offset += _ENTRY_TAIL.size
        yield instance, name, word, tuple(dimensions)


def _template(
    number: int, known: dict[int, Structure], depth: int
) -> Generator[bytes, MessageRouterReply, Structure]:
    if number in known:
        return known[number]
    if number == STRING.template_id:
        known[number] = STRING
        return STRING
    if depth > MAX_NESTING:
        raise SessionViolated("structures within structures without end")
    path = encode(
        (Logical(LogicalType.CLASS, TEMPLATE_CLASS), Logical(LogicalType.INSTANCE, number))
    )
    reply = yield MessageRouterRequest(
        Service.GET_ATTRIBUTE_LIST, path, _TEMPLATE_ATTRIBUTES
    ).encode()
    if reply.status or len(reply.data) < 30:
        raise BrowseRefused(reply)
    words, size, count, handle = _attributes(reply.data)
    total = min(max(words * 4 - 20, 0), MAX_TEMPLATE_BYTES)
    data = yield from _definition(path, total)
    structure = yield from _decode(number, data, (size, count, handle), known, depth)
    known[number] = structure
    return structure


def _attributes(data: bytes) -> tuple[int, int, int, int]:
    """(definition words, structure size, members, handle) of the reply to attributes 4, 5, 2, 1."""
    _, _, status4, words, _, status5, size, _, status2, count, _, status1, handle = (
        struct.unpack_from("<HHHIHHIHHHHHH", data)
    )
    if status4 or status5 or status2 or status1:
        raise SessionViolated("a template without its attributes")
    return words, size, count, handle


def _definition(path: bytes, total: int) -> Generator[bytes, MessageRouterReply, bytes]:
    data = b""
    stalls = 0
    while len(data) < total:
        wanted = struct.pack("<IH", len(data), min(total - len(data), READ_BYTES))
        reply = yield MessageRouterRequest(Service.READ_TAG, path, wanted).encode()
        if reply.status not in (GeneralStatus.SUCCESS, GeneralStatus.PARTIAL_TRANSFER):
            raise BrowseRefused(reply)
        stalls = 0 if reply.data else stalls + 1
        if stalls >= MAX_STALLS:
            raise SessionViolated("a template that does not end")
        data += reply.data
    return data


def _decode(
    number: int,
    data: bytes,
    attributes: tuple[int, int, int],
    known: dict[int, Structure],
    depth: int,
) -> Generator[bytes, MessageRouterReply, Structure]:
    """The structure that a definition describes; nested ones are asked for on the way."""
    size, count, handle = attributes
    if 8 * count > len(data):
        raise SessionViolated("a template shorter than its members")
    names = data[8 * count :].split(b"\0")
    title = names[0].split(b";")[0].decode("iso-8859-1")
    members = []
    for position in range(count):
        info, word, offset = struct.unpack_from("<HHI", data, 8 * position)
        if word & _STRUCTURED:
            kind: DataType | Structure = yield from _template(word & 0xFFF, known, depth + 1)
        else:
            kind = BY_CODE.get(word & 0xFF, SINT)
        raw = names[position + 1] if position + 1 < len(names) else b""
        members.append(_member(raw.decode("iso-8859-1"), kind, (info, word, offset), size))
    index = {member.name.casefold(): member for member in members}
    return Structure(title, number, handle, size, tuple(members), index=index)


def _member(
    name: str, kind: DataType | Structure, place: tuple[int, int, int], size: int
) -> Member:
    info, word, offset = place
    hidden = name.startswith(("ZZZZZZZZZZ", "__")) or not name
    array = bool(word & 0x6000)
    bit = info if kind.name == "BOOL" and not array else None
    member = Member(name, kind, info if array else 0, offset, bit, hidden)
    end = member.end if bit is None else offset + bit // 8 + 1
    if end > size or not kind.size:
        raise SessionViolated(f"member {name[:40]!r} lies outside its structure")
    return member
