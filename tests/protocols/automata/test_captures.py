"""Named captures of sentences."""

import pytest

from cpppod.automata import BYTES, UTF8, LimitExceeded, captures
from cpppod.protocols.automata.expressions import MAXIMUM_CAPTURES

GGA = (
    r"\$(?P<checked>(?P<talker>[A-Z]{2})GGA,(?P<time>[0-9.]*),(?P<latitude>[0-9.]*),(?P<side>[NS]?)"
    r"(,(?P<rest>[^*]*))?)\*(?P<checksum>[0-9A-F]{2})\r\n"
)
SENTENCE = b"$GPGGA,123519,4807.038,N,01131.000,E,1*47\r\n"


def test_captures_lie_within_captures_and_options() -> None:
    held = captures(GGA, BYTES)
    assert held.names == ("checked", "talker", "time", "latitude", "side", "rest", "checksum")
    assert held.texts(SENTENCE) == {
        "checked": b"GPGGA,123519,4807.038,N,01131.000,E,1",
        "talker": b"GP",
        "time": b"123519",
        "latitude": b"4807.038",
        "side": b"N",
        "rest": b"01131.000,E,1",
        "checksum": b"47",
    }
    assert held.spans(SENTENCE)["talker"] == (1, 3)


def test_a_capture_that_took_no_part_is_none() -> None:
    assert captures(GGA, BYTES).texts(b"$GPGGA,,,*00\r\n")["rest"] is None
    held = captures("(?P<number>[0-9]+)|(?P<word>[a-z]+(?P<tail>;)?)")
    assert held.texts("12") == {"number": "12", "word": None, "tail": None}
    assert held.texts("ab") == {"number": None, "word": "ab", "tail": None}


def test_an_element_takes_as_much_as_those_after_it_allow() -> None:
    assert captures("(?P<a>.*)(?P<b>.*)").texts("xy") == {"a": "xy", "b": ""}
    assert captures("(?P<a>.*),(?P<b>.*)").texts("x,y,z") == {"a": "x,y", "b": "z"}
    assert captures("(?P<a>a|ab)(?P<b>c|bcd)(?P<c>d*)").texts("abcd") == {
        "a": "ab",
        "b": "c",
        "c": "d",
    }


def test_text_captures_are_of_characters() -> None:
    assert captures("(?P<greek>[α-ω]+)!").texts("παβ!") == {"greek": "παβ"}


def test_a_sentence_of_another_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sentence"):
        captures("(?P<a>a)").spans("b")


def test_captures_of_utf8_are_refused_in_favour_of_text() -> None:
    with pytest.raises(ValueError, match="decode UTF-8 first"):
        captures("(?P<a>a)b", UTF8)


def test_a_long_sentence_takes_time_in_proportion_to_its_length() -> None:
    expression = "".join(f"(?P<f{n}>[^,]*)," for n in range(40)) + "(?P<tail>.*)"
    sentence = "x," * 40 + "y," * 30_000
    assert captures(expression).texts(sentence)["tail"] == "y," * 30_000


def test_the_number_of_captures_is_bounded() -> None:
    with pytest.raises(LimitExceeded, match="captures"):
        captures("".join(f"(?P<f{n}>a)" for n in range(MAXIMUM_CAPTURES + 1)))
