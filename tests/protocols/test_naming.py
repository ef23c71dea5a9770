"""Names made from others' names."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.model.naming import LONGEST, Names, name_of
from cpppod.protocols.model.plant import NAME_PATTERN


def test_what_a_name_cannot_have_becomes_an_underscore() -> None:
    assert name_of("Program:Main.Pump[3].Speed") == "Program_Main_Pump_3_Speed"
    assert name_of("2nd Pump °C") == "_2nd_Pump_C"
    assert name_of("_own") == "_own"
    assert name_of("°") == "tag"


def test_long_texts_that_begin_alike_keep_apart() -> None:
    one, two = (name_of("Line." * 10 + end) for end in ("a", "b"))
    assert one != two and len(one) == LONGEST


def test_a_long_name_that_is_taken_is_numbered_within_its_length() -> None:
    names = Names()
    first, second = names.give("x" * LONGEST), names.give("x" * LONGEST)
    assert first == "x" * LONGEST
    assert second == "x" * (LONGEST - 2) + "_2"


@given(st.lists(st.text(max_size=60), max_size=40))
def test_every_text_has_a_name_of_its_own(texts: list[str]) -> None:
    names = Names()
    given_names = [names.give(text) for text in [*texts, *texts]]
    assert all(re.fullmatch(NAME_PATTERN, name) for name in given_names)
    assert len({name.lower() for name in given_names}) == len(given_names)
