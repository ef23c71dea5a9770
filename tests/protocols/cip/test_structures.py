"""Layouts, handles and templates of structures."""

import pytest

from cpppod.protocols.cip import structures, types
from cpppod.protocols.model.errors import EncodeError

UDT3 = structures.define("UDT3", [("a", types.SINT, 0), ("b", types.SINT, 4)], template_id=0x103)
UDT2 = structures.define(
    "UDT2", [("a", types.DINT, 0), ("b", types.SINT, 3), ("c", UDT3, 0), ("d", UDT3, 2)],
    template_id=0x102,
)  # fmt: skip
UDT1 = structures.define(
    "UDT1", [("a", types.SINT, 0), ("b", types.SINT, 2), ("c", UDT2, 0), ("d", UDT3, 4)],
    template_id=0x101,
)  # fmt: skip


def test_handle_is_the_crc_over_the_nested_type_text() -> None:
    assert UDT1.crc_text == (
        "UDT1,SINT,SINT[2],UDT2,DINT,SINT[3],UDT3,SINT,SINT[4],UDT3,SINT,SINT[4][2],"
        "UDT3,SINT,SINT[4][4]"
    )
    assert UDT1.handle == 0x5F58


def test_predefined_structures_have_their_template_id_for_handle() -> None:
    wrapper = structures.define(
        "TimerWrapper",
        [
            ("t", structures.TIMER, 0),
            ("x", types.DINT, 0),
            ("y", types.DINT, 0),
            ("z", types.DINT, 0),
        ],
        template_id=0x104,
    )
    assert structures.TIMER.handle == 0x0F83
    assert wrapper.crc_text.startswith("TimerWrapper,TIMER,DINT")


def test_bools_share_hidden_hosts_and_members_are_aligned() -> None:
    made = structures.define(
        "M",
        [("f", types.BOOL, 0), ("g", types.BOOL, 0), ("n", types.INT, 0), ("r", types.REAL, 0),
         ("big", types.LINT, 0)],
        template_id=0x105,
    )  # fmt: skip
    places = {member.name: (member.offset, member.bit) for member in made.members}
    assert places["f"] == (0, 0)
    assert places["g"] == (0, 1)
    assert places["n"] == (2, None)
    assert places["r"] == (4, None)
    assert places["big"] == (8, None)
    assert made.size == 16
    assert made.members[0].hidden


def test_values_go_in_and_come_out_by_member_name() -> None:
    value = {
        "a": 5,
        "b": [1, 2, 3],
        "c": {"a": 1, "b": [1, 2, 3, 4]},
        "d": [{"a": 2, "b": [0] * 4}] * 2,
    }
    assert UDT2.unpack(UDT2.pack([value])) == [value]


def test_template_body_is_as_long_as_it_says() -> None:
    assert len(UDT1.template()) == 4 * UDT1.definition_words - 20
    assert UDT1.template()[32:].startswith(b"UDT1;nEBEBEBEB\0a\0b\0c\0d\0")


@pytest.mark.parametrize(
    "fields",
    [[], [("a", types.INT, 0), ("A", types.INT, 0)], [("s", types.STRING, 0)],
     [("x", types.DINT, 20_000)]],
)  # fmt: skip
def test_structure_that_cannot_be_is_refused(fields: list[tuple[str, types.DataType, int]]) -> None:
    with pytest.raises(EncodeError):
        structures.define("Bad", fields, template_id=0x106)


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        (UDT3, b"\0" * 4, 0x13),
        (UDT3, b"\0" * 12, 0x13),
        (UDT3, 5, 0x09),
        (UDT3, "text", 0x09),
        (UDT3, None, 0x09),
        (UDT3, {"z": 1}, 0x09),
        (UDT3, {"a": 128}, 0x09),
        (UDT3, {"b": [1] * 5}, 0x15),
        (UDT3, {"b": 5}, 0x09),
        (UDT3, {"b": "text"}, 0x09),
        (UDT2, {"c": 5}, 0x09),
        (structures.STRING, "x" * 83, 0x15),
        (structures.STRING, "10 Ω", 0x09),
        (structures.STRING, 5, 0x09),
    ],
)
def test_value_that_is_none_of_the_structure_s_is_refused(
    kind: structures.Structure, value: object, status: int
) -> None:
    with pytest.raises(EncodeError) as caught:
        kind.pack([value])
    assert caught.value.status == status


def test_bytes_of_exactly_its_size_and_texts_of_its_capacity_are_taken() -> None:
    assert UDT3.pack([bytes(range(8)), bytearray(8)]) == bytes(range(8)) + bytes(8)
    longest = "é" * 82
    assert structures.STRING.unpack(structures.STRING.pack([longest])) == [longest]


@pytest.mark.parametrize(("length", "text"), [(-1, ""), (83, "x" * 82), (2, "xx")])
def test_string_whose_length_lies_is_read_as_far_as_it_goes(length: int, text: str) -> None:
    raw = length.to_bytes(4, "little", signed=True) + b"x" * 82 + bytes(2)
    assert structures.STRING.unpack(raw) == [text]


def test_structure_knows_what_its_tags_start_with() -> None:
    assert (structures.STRING.zero(), structures.STRING.kind) == ("", "string")
    assert (structures.TIMER.zero(), structures.TIMER.kind) == ({}, "structure")


def test_bools_of_an_array_go_into_whole_words() -> None:
    made = structures.define("Flags", [("f", types.BOOL, 40)], template_id=0x107)
    bits = [True] + [False] * 31 + [True] * 8
    assert made.pack([{"f": bits}]) == bytes.fromhex("01000000 ff000000")
    assert made.pack([{"f": [5, 6]}]) == bytes.fromhex("05000000 06000000")
    with pytest.raises(EncodeError):
        made.pack([{"f": [True] * 65}])


def test_bit_of_a_packed_host_is_turned_off_again() -> None:
    made = structures.define("Two", [("f", types.BOOL, 0), ("g", types.BOOL, 0)], template_id=0x108)
    memory = bytearray(made.pack([{"f": True, "g": True}]))
    member = made.member("F")
    assert member is not None
    structures.store(memory, member, False)
    assert made.unpack(memory) == [{"f": False, "g": True}]
    assert made.unpack(memory, 5) == made.unpack(memory)


def test_longest_structure_is_declared_and_one_byte_more_is_not() -> None:
    whole = structures.define("Big", [("x", types.DINT, 16384)], template_id=0x109)
    assert whole.size == structures.MAX_STRUCTURE
    fields = [("x", types.DINT, 16384), ("y", types.SINT, 0)]
    with pytest.raises(EncodeError):
        structures.define("Big", fields, template_id=0x109)
