"""Texts of captures as values of tags, and checksums by name."""

from typing import Any

import pytest

from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import Quality
from cpppod.protocols.text import checksums
from cpppod.protocols.text.fields import sample

GOOD = int(Quality.GOOD)


@pytest.mark.parametrize(
    ("text", "kind", "conversion", "value"),
    [
        ("  12.50", "REAL", "number", 12.5),
        ("-3", "INT", "number", -3),
        ("+7.0", "DINT", "number", 7),
        ("1e3", "LREAL", "number", 1000.0),
        ("12345678901234567", "LINT", "number", 12345678901234567),
        ("1F", "INT", "hex", 31),
        ("on", "BOOL", "number", True),
        ("0", "BOOL", "number", False),
        ("kg ", "STRING", "number", "kg "),
        ("", "STRING", "number", ""),
        ("4807.038,N", "LREAL", "angle", pytest.approx(48.1173)),
        ("01131.0W", "LREAL", "angle", pytest.approx(-11.5166667)),
        ("123519.25", "LREAL", "time", 45319.25),
    ],
)
def test_a_text_becomes_a_value_of_the_tag_s_type(
    text: str, kind: str, conversion: str, value: Any
) -> None:
    assert sample(text, Tag("t", "a", kind), conversion, {}) == (value, GOOD)


@pytest.mark.parametrize(
    ("text", "kind", "conversion", "quality"),
    [
        ("", "REAL", "number", Quality.BAD),
        (None, "STRING", "number", Quality.BAD),
        ("12.5", "INT", "number", Quality.BAD_REPLY),
        ("1_0", "INT", "number", Quality.BAD_REPLY),
        ("----", "REAL", "number", Quality.BAD_REPLY),
        ("40000", "INT", "number", Quality.OUT_OF_RANGE),
        ("1e99", "REAL", "number", Quality.OUT_OF_RANGE),
        ("nan", "REAL", "number", Quality.OUT_OF_RANGE),
        ("inf", "DINT", "number", Quality.BAD_REPLY),
        ("4807.038", "REAL", "angle", Quality.BAD_REPLY),
        ("12:35", "REAL", "time", Quality.BAD_REPLY),
        ("xyz", "INT", "hex", Quality.BAD_REPLY),
    ],
)
def test_a_text_that_is_no_such_value_is_a_quality_and_never_zero(
    text: str | None, kind: str, conversion: str, quality: Quality
) -> None:
    assert sample(text, Tag("t", "a", kind), conversion, {}) == (None, int(quality))


def test_words_stand_for_numbers_and_bits_are_taken_out() -> None:
    words = {"S": 1, "D": 0}
    assert sample("S", Tag("t", "a", "BOOL"), "number", words) == (True, GOOD)
    assert sample("D", Tag("t", "a", "INT"), "number", words) == (0, GOOD)
    assert sample("X", Tag("t", "a", "INT"), "number", words) == (None, int(Quality.BAD_REPLY))
    assert sample("4", Tag("t", "a", "INT", bit=2), "number", {}) == (True, GOOD)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("xor8", b"31"),
        ("sum8", b"DD"),
        ("lrc8", b"23"),
        ("sum16", b"01DD"),
        ("crc8", b"F4"),
        ("crc16-modbus", b"4B37"),
        ("crc16-ccitt", b"29B1"),
        ("crc16-xmodem", b"31C3"),
        ("crc16-kermit", b"2189"),
        ("crc32", b"CBF43926"),
        ("crc16-modbus-le", b"374B"),
    ],
)
def test_checksums_have_the_check_values_of_the_catalogue(name: str, check: bytes) -> None:
    data = b"123456789"
    assert checksums.known(name)
    assert checksums.digits(name, data) == check
    assert checksums.agrees(name, data, check.lower())
    assert checksums.agrees(name, data, bytes.fromhex(check.decode()))
    assert not checksums.agrees(name, data, check[:-1] + b"0" if check[-1:] != b"0" else b"xx")


def test_nothing_is_known_of_other_checksums() -> None:
    assert not checksums.known("md5")


@pytest.mark.parametrize(
    ("text", "conversion"),
    [("1_0", "hex"), ("0x_f", "hex"), ("g", "hex"), ("1_0", "number"),
     ("1e400", "number"), ("nan", "number"), ("1.5", "number")],
)  # fmt: skip
def test_text_that_is_no_such_number_is_a_bad_reply(text: str, conversion: str) -> None:
    value, quality = sample(text, Tag("t", "a", "INT"), conversion, {})
    assert (value, quality) == (None, int(Quality.BAD_REPLY))


def test_word_of_a_device_is_the_text_of_a_string_tag() -> None:
    assert sample("RDY", Tag("t", "a", "STRING"), "number", {"RDY": 1}) == ("1", GOOD)
    assert sample("other", Tag("t", "a", "STRING"), "number", {"RDY": 1}) == ("other", GOOD)
