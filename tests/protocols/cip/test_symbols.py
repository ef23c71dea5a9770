"""Ids that are given out once, and paths down to a tag's memory."""

from typing import Any

import pytest

from cpppod.protocols.cip import structures, types
from cpppod.protocols.cip.image import Image, Variable
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.symbols import MAX_DEPTH, MAX_SYMBOL_ID, Allotment, Symbols, declare
from cpppod.protocols.model.errors import DecodeError
from tests.enip_frames import read
from tests.protocols.cip.conversation import ask, controller


def test_ids_that_were_stored_stay_and_new_ones_follow_the_highest() -> None:
    first = Allotment()
    assert [first.symbol(name) for name in ("a", "b", "a")] == [1, 2, 1]
    assert first.template("t") == structures.FIRST_USER_TEMPLATE
    first.remember_members("boiler", ["pressure", "limit"])
    assert first.changed
    again = Allotment(first.plain)
    assert not again.changed
    again.remember_members("boiler", ["pressure", "limit"])
    assert (again.symbol("b"), again.template("t")) == (2, structures.FIRST_USER_TEMPLATE)
    assert not again.changed
    assert again.symbol("c") == 3
    assert again.changed


def test_template_ids_that_clients_take_for_elementary_types_are_passed_over() -> None:
    allotment = Allotment()
    numbers = [allotment.template(str(place)) for place in range(0xC1)]
    assert not {number & 0xFF for number in numbers} & {0x00, 0xA0, *range(0xC0, 0xE0)}
    assert numbers == sorted(numbers)


def test_ids_end_with_what_clients_can_keep() -> None:
    allotment = Allotment({"symbols": {"last": MAX_SYMBOL_ID - 1}, "templates": {}})
    assert allotment.symbol("one more") == MAX_SYMBOL_ID
    with pytest.raises(CipError) as caught:
        allotment.symbol("too many")
    assert caught.value.status == 0x02
    full = Allotment({"symbols": {}, "templates": {"t": structures.LAST_USER_TEMPLATE - 1}})
    assert full.template("last") == structures.LAST_USER_TEMPLATE
    with pytest.raises(CipError):
        full.template("too many")


@pytest.mark.parametrize(
    "plain",
    [
        [],
        {"version": 2, "symbols": {}, "templates": {}},
        {},
        {"symbols": {}},
        {"symbols": [], "templates": {}},
        {"symbols": {"a": "x"}, "templates": {}},
        {"symbols": {"a": None}, "templates": {}},
        {"symbols": {}, "templates": {}, "members": []},
        {"symbols": {}, "templates": {}, "members": {"boiler": None}},
    ],
)
def test_what_was_not_stored_by_us_is_refused(plain: Any) -> None:
    with pytest.raises(DecodeError):
        Allotment(plain)


def test_names_nested_deeper_than_any_structure_are_a_segment_error() -> None:
    inner = structures.define("L0", [("x", types.DINT, 0)], template_id=0x110)
    for level in range(1, MAX_DEPTH + 1):
        inner = structures.define(f"L{level}", [("x", inner, 0)], template_id=0x110 + level)
    target = controller()
    target.add_tag(Variable("Deep", inner))
    assert ask(target, read("Deep" + ".x" * MAX_DEPTH)).status == 0
    assert ask(target, read("Deep" + ".x" * (MAX_DEPTH + 1))).status == 0x04


def test_hidden_host_of_bits_is_no_member_that_can_be_read() -> None:
    target = controller()
    assert ask(target, read("Delay.DN")).data == b"\xc1\0\0"
    assert ask(target, read("Delay.CTL")).status == 0x05


def test_alias_and_its_tag_are_one_and_go_together() -> None:
    image = Image()
    symbols = Symbols(image)
    variable = image.add(declare("N", types.DINT))
    symbols.add(variable)
    symbols.add(variable, "Alias")
    assert symbols.controller.by_name["alias"] is variable
    assert [entry.alias for entry in symbols.controller.entries.values()] == [False, True]
    symbols.remove_variable(variable)
    assert not symbols.controller.by_name
    assert list(symbols.controller.page(0)) == []


def test_flat_name_of_a_member_that_is_not_there_is_refused() -> None:
    image = Image()
    symbols = Symbols(image)
    variable = image.add(Variable("T", structures.TIMER))
    with pytest.raises(CipError):
        symbols.add_flat("flat", variable, "Nothing")


@pytest.mark.parametrize(
    ("length", "kind"), [(32, "DWORD"), (64, "DWORD"), (33, "BOOL"), (1, "BOOL")]
)
def test_bool_arrays_of_whole_words_are_packed(length: int, kind: str) -> None:
    assert declare("B", types.BOOL, (length,)).type.name == kind
