"""Tag browsing: listings of the controller and of programs, templates, symbols by instance."""

import struct

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.objects.symbol import MAX_LISTED
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.cip.target import Target
from tests.enip_frames import packet, read, request
from tests.protocols.cip.conversation import UDT, ask, controller, words

SYMBOLS = bytes.fromhex("206b2500 0000")


def listed(target: Target, path: bytes = SYMBOLS) -> dict[str, int]:
    """Names and instances of a listing."""
    reply = ask(target, request(0x55, path, words(1, 1)))
    assert reply.status == 0
    found, data = {}, reply.data
    while data:
        instance, size = struct.unpack_from("<IH", data)
        found[data[6 : 6 + size].decode()] = instance
        data = data[6 + size :]
    return found


def with_program() -> Target:
    target = controller()
    target.add_tag(Variable("Program:Main.Speed", types.REAL))
    target.add_tag(Variable("Program:Main.Stop", types.BOOL))
    target.image.variables["program:main.speed"].set([2.5])
    return target


def named(text: str) -> bytes:
    return bytes((0x91, len(text))) + text.encode() + bytes(len(text) & 1)


def test_program_stands_in_the_controllers_listing_and_has_one_of_its_own() -> None:
    target = with_program()
    number = listed(target)["Program:Main"]
    assert listed(target, named("Program:Main") + SYMBOLS).keys() == {"Speed", "Stop"}
    by_instance = bytes((0x20, 0x68, 0x24, number)) + SYMBOLS
    assert listed(target, by_instance) == listed(target, named("program:MAIN") + SYMBOLS)


def test_programs_tag_is_read_by_name_by_instance_and_through_its_program() -> None:
    target = with_program()
    program, speed = listed(target)["Program:Main"], listed(target, named("Program:Main") + SYMBOLS)
    value = struct.pack("<Hf", 0xCA, 2.5)
    by_instance = bytes((0x20, 0x68, 0x24, program, 0x20, 0x6B, 0x24, speed["Speed"]))
    assert ask(target, read("Program:Main.Speed")).data == value
    assert ask(target, request(0x4C, by_instance, words(1))).data == value
    assert ask(target, read("Speed")).status == 0x05


def test_controllers_tag_is_read_by_instance_with_element_and_member() -> None:
    target = controller()
    target.image.variables["row"].set([1, 2, 3, 4])
    row, motor = listed(target)["Row"], listed(target)["Motor"]
    element = bytes((0x20, 0x6B, 0x24, row, 0x28, 3))
    member = bytes((0x20, 0x6B, 0x24, motor)) + named("Counts") + b"\x28\0"
    assert ask(target, request(0x4C, element, words(1))).data == words(0xC3, 4)
    assert ask(target, request(0x4C, member, words(2))).data == words(0xC4, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (named("Program:Other") + SYMBOLS, 0x05),
        (named("Count") + SYMBOLS, 0x05),
        (named("Program:Main"), 0x05),
        (bytes.fromhex("2068 2463") + SYMBOLS, 0x05),
        (bytes.fromhex("2068"), 0x05),
        (bytes.fromhex("2068") + named("x"), 0x05),
    ],
)
def test_listing_of_what_is_no_program_is_refused(path: bytes, status: int) -> None:
    assert ask(with_program(), request(0x55, path, words(1, 1))).status == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (named("Program:Other") + named("Speed"), 0x05),
        (named("Program:Main"), 0x04),
        (named("Program:Main") + named("Other"), 0x05),
        (bytes.fromhex("2068 2463 206b 2401"), 0x05),
        (bytes.fromhex("2068"), 0x05),
        (bytes.fromhex("206b"), 0x04),
        (bytes.fromhex("206b") + named("Count"), 0x04),
        (bytes.fromhex("206b 24ff"), 0x05),
        (bytes.fromhex("206b 2801"), 0x05),
    ],
)
def test_read_of_what_is_no_symbol_is_refused(path: bytes, status: int) -> None:
    assert ask(with_program(), request(0x4C, path, words(1))).status == status


def test_program_itself_cannot_be_read() -> None:
    target = with_program()
    number = listed(target)["Program:Main"]
    assert ask(target, request(0x4C, bytes((0x20, 0x6B, 0x24, number)), words(1))).status == 0x05


def test_programs_tag_that_is_removed_is_gone_from_its_listing() -> None:
    target = with_program()
    target.remove_tag("Program:Main.Speed")
    target.remove_tag("never there")
    assert listed(target, named("Program:Main") + SYMBOLS).keys() == {"Stop"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0x13),
        (words(2, 1), 0x13),
        (words(MAX_LISTED, *([2] * MAX_LISTED)), 0x00),
        (words(MAX_LISTED + 1, *([2] * (MAX_LISTED + 1))), 0x13),
        (words(1, 4), 0x0A),
    ],
)
def test_listing_of_too_little_too_much_or_unknown_attributes_is_refused(
    data: bytes, status: int
) -> None:
    assert ask(controller(), request(0x55, SYMBOLS, data), capacity=2000).status == status


def test_listing_goes_on_from_the_instance_after_the_last_one_told() -> None:
    target = controller()
    whole, found, start = listed(target), [], 0
    for _ in range(20):
        path = bytes.fromhex("206b2500") + words(start)
        reply = ask(target, request(0x55, path, words(1, 2)), capacity=16)
        assert len(reply.data) == 12 or reply.status == 0
        found += [number for number, _ in struct.iter_unpack("<IH", reply.data)]
        if not reply.status:
            break
        assert reply.status == 0x06
        start = found[-1] + 1
    assert sorted(found) == sorted(whole.values())


def test_symbols_attributes_are_served_one_instance_at_a_time() -> None:
    target = controller()
    row = listed(target)["Row"]
    path = bytes((0x20, 0x6B, 0x24, row))
    reply = ask(target, request(0x03, path, words(4, 1, 2, 7, 8)))
    assert reply.data == (
        words(4, 1, 0, 3) + b"Row" + words(2, 0, 0x20C3, 7, 0, 2, 8, 0, 10, 0, 0, 0, 0, 0)
    )
    assert ask(target, request(0x01, path)).status == 0
    assert ask(target, request(0x01, bytes.fromhex("206b 24ff"))).status == 0x05
    assert ask(target, request(0x01, bytes.fromhex("206b"))).status == 0x05


def test_template_is_told_in_pieces_of_what_was_asked_and_fits() -> None:
    target = controller()
    at = bytes.fromhex("206c 2500 0101")
    attributes = ask(target, request(0x03, at, words(4, 4, 5, 2, 1)))
    assert attributes.data == (
        words(4, 4, 0, UDT.definition_words, 0, 5, 0, UDT.size, 0, 2, 0, 4, 1, 0, UDT.handle)
    )
    body = UDT.template()
    size = 4 * UDT.definition_words - 20
    assert ask(target, request(0x4C, at, struct.pack("<IH", 0, size))).data == body
    part = ask(target, request(0x4C, at, struct.pack("<IH", 8, size - 8)), capacity=24)
    assert (part.status, part.data) == (0x06, body[8:28])
    assert ask(target, request(0x4C, at, struct.pack("<IH", len(body), 4))).data == b""
    assert ask(target, request(0x4C, at, struct.pack("<IH", len(body) + 1, 4))).status == 0x20
    assert ask(target, request(0x4C, at, b"\0\0\0\0\4")).status == 0x13


def test_template_that_is_not_there_is_refused_and_its_class_tells_its_own() -> None:
    target = controller()
    missing = bytes.fromhex("206c 2500 0f01")
    assert ask(target, request(0x4C, missing, struct.pack("<IH", 0, 4))).status == 0x05
    assert ask(target, request(0x03, missing, words(1, 1))).status == 0x05
    assert ask(target, request(0x0E, bytes.fromhex("206c 2400 3001"))).data == words(1)
    assert ask(target, request(0x03, bytes.fromhex("206c"), words(1, 1))).status == 0


@pytest.mark.parametrize("kind", ["micrologix", "slc500", "plc5", "simple"])
def test_controller_without_browsing_has_neither_listing_nor_template(kind: str) -> None:
    target = controller(personality=PERSONALITIES[kind])
    assert ask(target, request(0x55, SYMBOLS, words(1, 1))).status == 0x08
    assert ask(target, request(0x01, bytes.fromhex("206b2401"))).status == 0x05
    assert ask(target, request(0x03, bytes.fromhex("206c25000101"), words(1, 1))).status == 0x05


def test_listing_in_a_packet_that_leaves_no_room_for_a_line_is_too_large() -> None:
    listing = request(0x55, SYMBOLS, words(1, 1))
    reply = ask(controller(), packet([listing, listing]), capacity=24)
    assert reply.status == 0x1E
