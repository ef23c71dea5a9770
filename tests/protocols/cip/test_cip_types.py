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


@pytest.mark.parametrize("name", ["STRING", "SSTRING", "STRING82"])
@pytest.mark.parametrize("value", [5, 5.0, None, True, [65, 66], {"a": 1}, "10 Ω"])
def test_what_is_no_string_of_its_characters_is_refused_and_never_written_as_another(
    name: str, value: object
) -> None:
    with pytest.raises(EncodeError, match=name) as caught:
        types.by_name(name).pack([value])
    assert caught.value.status == 0x09


@pytest.mark.parametrize(
    ("kind", "longest", "status"),
    [(types.SSTRING, 255, 0x09), (types.STRING, 65535, 0x09), (types.STRING82, 82, 0x15)],
)
def test_string_is_as_long_as_its_length_can_say(
    kind: types.DataType, longest: int, status: int
) -> None:
    assert kind.unpack(kind.pack(["é" * longest])) == ["é" * longest]
    assert kind.unpack(kind.pack([bytearray(b"ab"), memoryview(b"c")])) == ["ab", "c"]
    with pytest.raises(EncodeError) as caught:
        kind.pack(["x" * (longest + 1)])
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (types.SSTRING, "03 6162"),
        (types.SSTRING, ""),
        (types.STRING, "03"),
        (types.STRING, "0300 6162"),
        (types.STRING82, "00" * 87),
        (types.BOOL, ""),
        (types.LREAL, "00" * 7),
    ],
)
def test_element_that_is_cut_short_is_not_enough_data(kind: types.DataType, raw: str) -> None:
    with pytest.raises(CipError) as caught:
        kind.unpack(bytes.fromhex(raw), 1)
    assert caught.value.status == 0x13


@pytest.mark.parametrize(("length", "text"), [(-1, ""), (83, "x" * 82)])
def test_logix_string_whose_length_lies_is_read_as_far_as_it_goes(length: int, text: str) -> None:
    raw = length.to_bytes(4, "little", signed=True) + b"x" * 82 + bytes(2)
    assert types.STRING82.unpack(raw) == [text]


def test_all_whole_elements_are_read_where_no_count_is_given() -> None:
    assert types.BOOL.unpack(b"\0\1\2") == [False, True, True]
    assert types.INT.unpack(b"\1\0\2\0\3") == [1, 2]
    assert types.SSTRING.unpack(b"\1a\0") == ["a", ""]


@pytest.mark.parametrize(
    ("name", "zero", "limits"),
    [
        ("BOOL", False, None),
        ("SINT", 0, (-128, 127)),
        ("UINT", 0, (0, 65535)),
        ("LINT", 0, (-(1 << 63), (1 << 63) - 1)),
        ("REAL", 0.0, None),
        ("STRING", "", None),
    ],
)
def test_type_knows_what_it_starts_with_and_its_limits(
    name: str, zero: object, limits: tuple[int, int] | None
) -> None:
    kind = types.by_name(name)
    assert kind.zero() == zero
    if limits is not None:
        assert kind.limits == limits
        assert kind.unpack(kind.pack(limits)) == list(limits)
        for beyond in (limits[0] - 1, limits[1] + 1):
            with pytest.raises(EncodeError):
                kind.pack([beyond])


def test_tag_data_is_read_by_the_type_that_it_begins_with() -> None:
    assert types.unpack_tag(bytes.fromhex("c300 0100 0200"), 2) == [1, 2]
    assert types.unpack_tag(b"\xa0\2\xce\x0f" + types.STRING82.pack(["ab"]), 1) == ["ab"]
    assert types.unpack_tag(bytes.fromhex("a002 3412 0102"), 1) == [b"\1\2"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [("", 0x13), ("c3", 0x13), ("a002", 0x13), ("a00234", 0x13), ("9900 01", 0xFF)],
)
def test_tag_data_of_an_unknown_type_or_none_is_refused(raw: str, status: int) -> None:
    with pytest.raises(CipError) as caught:
        types.unpack_tag(bytes.fromhex(raw))
    assert caught.value.status == status
