"""Values to bytes and back, for every elementary type."""

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.status import CipError, describe
from cpppod.protocols.model.errors import EncodeError


@pytest.mark.parametrize(
    ("name", "values", "raw"),
    [
        ("BOOL", [True, False], "0100"),
        ("SINT", [-128, 127], "807f"),
        ("INT", [-2], "feff"),
        ("DINT", [99], "63000000"),
        ("LINT", [-1], "ffffffffffffffff"),
        ("UINT", [65535], "ffff"),
        ("REAL", [1.0], "0000803f"),
        ("SSTRING", ["ab"], "026162"),
        ("STRING", ["abc"], "030061626300"),
        ("STRING", ["ab", "c"], "0200616201006300"),
    ],
)
def test_values_become_bytes_and_come_back(name: str, values: list[object], raw: str) -> None:
    kind = types.by_name(name.lower())
    assert kind.pack(values).hex() == raw
    assert kind.unpack(bytes.fromhex(raw), len(values)) == values


def test_logix_string_takes_88_bytes_and_its_own_handle() -> None:
    raw = types.STRING82.pack(["hey"])
    assert len(raw) == 88
    assert types.STRING82.header.hex() == "a002ce0f"
    assert types.STRING82.unpack(raw) == ["hey"]


@pytest.mark.parametrize(("name", "value"), [("SINT", 200), ("UINT", -1), ("REAL", "x")])
def test_value_that_does_not_fit_is_refused(name: str, value: object) -> None:
    with pytest.raises(EncodeError, match=name):
        types.by_name(name).pack([value])


def test_too_few_bytes_are_not_enough_data() -> None:
    with pytest.raises(CipError) as caught:
        types.DINT.unpack(b"\0\0\0", 1)
    assert caught.value.status == 0x13


def test_string_length_beyond_the_data_is_refused() -> None:
    with pytest.raises(CipError):
        types.STRING.unpack(b"\xff\x7fabc")


def test_strings_without_their_pads_are_read_too() -> None:
    assert types.STRING.unpack(bytes.fromhex("0100610100620100 63"), 3) == ["a", "b", "c"]


def test_unknown_type_name_lists_the_known_ones() -> None:
    with pytest.raises(EncodeError, match="DINT"):
        types.by_name("FOO")


def test_status_is_told_in_words() -> None:
    assert describe(0xFF, (0x2107,)) == "general error: data type mismatch (0xff, 0x2107)"
    assert describe(0x01, (0x0204,)).startswith("connection failure: unconnected request timed")
    assert describe(0xEE) == "unknown status (0xee)"
