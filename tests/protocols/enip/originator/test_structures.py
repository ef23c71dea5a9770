"""Browsing a target that tells the truth, and ones that do not."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.structures import Structure, define
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.enip.originator.structures import BrowseRefused, TagTree, browse

INNER = define("Inner", [("a", types.INT, 0), ("b", types.REAL, 3)], template_id=0x101)
OUTER = define(
    "Outer",
    [("flag", types.BOOL, 0), ("other", types.BOOL, 0), ("in", INNER, 2), ("n", types.DINT, 0)],
    template_id=0x102,
)
TEMPLATES = {item.template_id: item for item in (INNER, OUTER)}
SYMBOLS = [
    (1, "Speed", 0x00CA, (0, 0, 0)),
    (4, "Values", 0x20C4, (10, 0, 0)),
    (5, "Pump", 0x8102, (0, 0, 0)),
    (6, "Program:Main", 0x1068, (0, 0, 0)),
    (7, "__hidden", 0x00C4, (0, 0, 0)),
    (9, "Bits", 0x20D3, (3, 0, 0)),
    (12, "Text", 0x8FCE, (0, 0, 0)),
]
LOCAL = [(2, "Inside", 0x00C3, (0, 0, 0))]


def entry(symbol: tuple[int, str, int, tuple[int, ...]]) -> bytes:
    instance, name, word, dimensions = symbol
    raw = name.encode()
    head = struct.pack("<IH", instance, len(raw)) + raw
    return head + struct.pack("<H3I", word, *dimensions)


def controller(request: bytes) -> bytes:
    """A sound target: two symbols a page, templates in pieces of 50 bytes."""
    path, data = request[2 : 2 + 2 * request[1]], request[2 + 2 * request[1] :]
    if request[0] == 0x55:
        listed = LOCAL if path[:1] == b"\x91" else SYMBOLS
        start = path[-1]
        found = [symbol for symbol in listed if symbol[0] >= start]
        status = 6 if len(found) > 2 else 0
        return bytes((0xD5, 0, status, 0)) + b"".join(entry(symbol) for symbol in found[:2])
    structure = TEMPLATES[int.from_bytes(path[4:6], "little")]
    if request[0] == 0x03:
        return b"\x83\0\0\0" + attributes(structure)
    offset, length = struct.unpack("<IH", data)
    piece = structure.template()[offset : offset + min(length, 50)]
    status = 6 if len(piece) < length else 0
    return bytes((0xCC, 0, status, 0)) + piece


def attributes(structure: Structure, **changes: int) -> bytes:
    values = {
        "words": structure.definition_words,
        "size": structure.size,
        "count": len(structure.members),
        "handle": structure.handle,
    } | changes
    return struct.pack(
        "<HHHIHHIHHHHHH",
        *(4, 4, 0, values["words"], 5, 0, values["size"]),
        *(2, 0, values["count"], 1, 0, values["handle"]),
    )


def browsed(target: Callable[[bytes], bytes], limit: int = 200) -> TagTree:
    conversation = browse()
    request = next(conversation)
    for _ in range(limit):
        try:
            request = conversation.send(MessageRouterReply.decode(target(request)))
        except StopIteration as finished:
            tree: TagTree = finished.value
            return tree
    raise AssertionError("no end")


def test_tags_programs_and_structures_are_found() -> None:
    tree = browsed(controller)
    assert [(tag.name, tag.type_name) for tag in tree.tags] == [
        ("Speed", "REAL"),
        ("Values", "DINT[10]"),
        ("Pump", "Outer"),
        ("Bits", "BOOL[96]"),
        ("Text", "ASCIISTRING82"),
        ("Program:Main.Inside", "INT"),
    ]
    pump = {"flag": True, "other": False, "in": [{"a": 1, "b": [1.0, 2.0, 3.0]}] * 2, "n": 7}
    layout = tree.layouts[OUTER.handle]
    assert layout.pack([pump]) == OUTER.pack([pump])
    assert layout.unpack(OUTER.pack([pump])) == [pump]
    assert "    .in  Inner[2]" in list(tree.lines())


def lying(service: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda request: (
        change(controller(request)) if request[0] == service else (controller(request))
    )


LIES: list[tuple[str, int, Any]] = [
    ("endless pages", 0x55, lambda reply: b"\xd5\0\6\0"),
    ("the same page for ever", 0x55, lambda reply: b"\xd5\0\6\0" + entry(SYMBOLS[0])),
    ("a name beyond the end", 0x55, lambda reply: b"\xd5\0\0\0\1\0\0\0\xff\xff"),
    ("an entry cut short", 0x55, lambda reply: reply[:-3]),
    ("a template without end", 0x4C, lambda reply: b"\xcc\0\6\0"),
    ("members beyond the template", 0x03, lambda r: r[:4] + attributes(OUTER, count=5000)),
    ("members outside the structure", 0x03, lambda r: r[:4] + attributes(OUTER, size=4)),
    ("attributes that failed", 0x03, lambda r: r[:8] + b"\x14\0" + r[10:]),
]


@pytest.mark.parametrize(("name", "service", "change"), LIES, ids=[name for name, _, _ in LIES])
def test_a_target_that_lies_is_left(name: str, service: int, change: Any) -> None:
    with pytest.raises((SessionViolated, BrowseRefused)):
        browsed(lying(service, change))


def test_a_structure_that_contains_itself_is_refused() -> None:
    body = struct.pack("<HHI", 0, 0x8102, 0) + b"Loop;nEB\0me\0"

    def target(request: bytes) -> bytes:
        if request[0] == 0x4C:
            return b"\xcc\0\0\0" + body.ljust(40, b"\0")
        if request[0] == 0x03:
            return b"\x83\0\0\0" + attributes(OUTER, words=15, count=1)
        return controller(request)

    with pytest.raises(SessionViolated, match="without end"):
        browsed(target, limit=2000)


def test_a_target_without_symbols_refuses() -> None:
    with pytest.raises(BrowseRefused, match="does not list its tags"):
        browsed(lambda request: b"\xd5\0\5\0")


MORE_LIES: list[tuple[int, Any]] = [
    (0x55, lambda reply: reply + b"\1\0\0"),
    (0x03, lambda reply: reply[:20]),
    (0x03, lambda reply: b"\x83\0\5\0"),
    (0x4C, lambda reply: b"\xcc\0\5\0"),
]


@pytest.mark.parametrize(("service", "change"), MORE_LIES)
def test_target_that_stops_telling_is_left(service: int, change: Any) -> None:
    with pytest.raises((SessionViolated, BrowseRefused)):
        browsed(lying(service, change))


def test_structure_of_two_tags_is_asked_for_once_and_unknown_types_are_left_out() -> None:
    asked: list[int] = []
    listed = [(1, "One", 0x8102, (0, 0, 0)), (2, "Two", 0x8102, (0, 0, 0)),
              (3, "Odd", 0x0099, (0, 0, 0))]  # fmt: skip

    def target(request: bytes) -> bytes:
        if request[0] == 0x55:
            return b"\xd5\0\0\0" + b"".join(entry(symbol) for symbol in listed)
        asked.append(request[0])
        return controller(request)

    assert [tag.name for tag in browsed(target).tags] == ["One", "Two"]
    assert asked.count(0x03) == 2  # the outer one and its inner one


@pytest.mark.parametrize("place", [(0, 0x00C4, 61), (5, 0x20C4, 48), (255, 0x00C1, 63)])
def test_member_outside_its_structure_is_refused(place: tuple[int, int, int]) -> None:
    body = struct.pack("<HHI", *place) + b"Odd;nEB\0me\0"

    def target(request: bytes) -> bytes:
        if request[0] == 0x4C:
            return b"\xcc\0\0\0" + body.ljust(40, b"\0")
        if request[0] == 0x03:
            return b"\x83\0\0\0" + attributes(OUTER, words=15, count=1, size=64)
        return controller(request)

    with pytest.raises(SessionViolated, match="outside"):
        browsed(target)


def test_tree_shows_members_of_members_and_no_hidden_ones() -> None:
    lines = list(browsed(controller).lines())
    pump = next(at for at, line in enumerate(lines) if line.startswith("Pump"))
    assert lines[pump + 1 : pump + 6] == [
        "    .flag  BOOL",
        "    .other  BOOL",
        "    .in  Inner[2]",
        "        .a  INT",
        "        .b  REAL[3]",
    ]
    assert list(TagTree().lines()) == []
    assert not any(line.startswith(" ") for line in browsed(controller).lines(members=False))
