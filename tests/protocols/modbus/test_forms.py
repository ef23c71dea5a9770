"""Values that registers hold in another form than binary numbers."""

import struct
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.modbus.encodings import ENCODINGS, NAMES, Malformed, encoding_of
from cpppod.protocols.modbus.forms import Unavailable, codec_of, factored
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag


class Plus:
    """A zone so many hours east."""

    def __init__(self, hours: int) -> None:
        self._offset = timezone(timedelta(hours=hours))

    def localize(self, dt: datetime) -> datetime:
        return dt.replace(tzinfo=self._offset)


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def decoded(data: bytes, type_: str, bit: int | None = None, **keys: Any) -> Any:
    return codec_of(Tag("t", "HR:0", type_, **keys), bit).decode(data, 0)


FORMS = [
    ("bcd", "UINT", (0x1234,), 1234),
    ("bcd", "UDINT", (0x0012, 0x3456), 123456),
    ("bcd", "ULINT", (0, 0x9999, 0, 1), 999900000001),
    ("magnitude", "INT", (0x8005,), -5),
    ("magnitude", "DINT", (0, 5), 5),
    ("mod10000", "UDINT", (12, 3456), 123456),
    ("24-bit", "UDINT", (0xFF12, 0x3456), 0x123456),
    ("24-bit", "DINT", (0x00FF, 0xFFFF), -1),
    ("48-bit", "ULINT", (1, 0, 2), (1 << 32) + 2),
    ("48-bit", "LINT", (0xFFFF, 0xFFFF, 0xFFFE), -2),
    ("half", "REAL", (0x3C00,), 1.0),
]


@pytest.mark.parametrize(("encoding", "kind", "held", "value"), FORMS)
def test_registers_are_what_their_encoding_says_and_back(
    encoding: str, kind: str, held: tuple[int, ...], value: Any
) -> None:
    codec = codec_of(Tag("t", "HR:0", kind, encoding=encoding))
    data = words(*held)
    assert codec.registers == len(held)
    assert codec.decode(data, 0) == value
    assert codec.encode is not None
    kept = words(0x12, 0x3456) if encoding == "24-bit" and kind == "UDINT" else data
    assert codec.encode(value) == kept


def test_orders_apply_to_encodings_and_so_do_lengths() -> None:
    assert decoded(words(0x3456, 0x0012), "UDINT", encoding="bcd", word_order="little") == 123456
    assert decoded(words(0x3412), "UINT", encoding="bcd", byte_order="little") == 1234
    assert decoded(words(0x11, 0x22), "UINT", encoding="bcd", length=2) == [11, 22]


DATES = [
    ("date-epoch", (0x5C2A, 0xAD80), "2019-01-01T00:00:00Z"),
    ("date-epoch-2000", (0, 60), "2000-01-01T00:01:00Z"),
    ("date-bcd", (0x2611, 0x3017, 0x2436), "2026-11-30T17:24:36Z"),
    ("date-bytes", (26 << 8 | 11, 30 << 8 | 17, 24 << 8 | 36), "2026-11-30T17:24:36Z"),
    ("date-words", (2026, 11, 30, 17, 24, 36), "2026-11-30T17:24:36Z"),
    ("date-iec", (26, 11 << 8 | 0x20 | 30, 17 << 8 | 24, 36500), "2026-11-30T17:24:36.500000Z"),
    ("date-bcd", (0x9912, 0x3123, 0x5959), "1999-12-31T23:59:59Z"),
]


@pytest.mark.parametrize(("encoding", "held", "text"), DATES)
def test_dates_are_text_or_seconds(encoding: str, held: tuple[int, ...], text: str) -> None:
    data = words(*held)
    assert decoded(data, "STRING", encoding=encoding) == text
    seconds = int(datetime.fromisoformat(text).timestamp())
    assert decoded(data, "LINT", encoding=encoding) == seconds


def test_a_date_with_a_zone_is_that_zones_time() -> None:
    tag = Tag("t", "HR:0", "STRING", encoding="date-bcd")
    data = words(0x2611, 0x3000, 0x3000)
    assert codec_of(tag, zone=Plus(2)).decode(data, 0) == "2026-11-29T22:30:00Z"


MALFORMED = [
    ("bcd", "UINT", (0x12AB,)),
    ("mod10000", "UINT", (10_000,)),
    ("date-bcd", "LINT", (0x26AA, 0x3017, 0x2436)),
    ("date-bcd", "LINT", (0x2613, 0x3017, 0x2436)),
    ("date-bytes", "LINT", (0xFFFF, 0xFFFF, 0xFFFF)),
    ("date-words", "LINT", (0, 0, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("encoding", "kind", "held"), MALFORMED)
def test_what_holds_no_value_is_malformed(encoding: str, kind: str, held: tuple[int, ...]) -> None:
    with pytest.raises(Malformed):
        decoded(words(*held), kind, encoding=encoding)


def test_a_local_time_beyond_all_time_is_malformed() -> None:
    tag = Tag("t", "HR:0", "LINT", encoding="date-words")
    with pytest.raises(Malformed):
        codec_of(tag, zone=Plus(-14)).decode(words(9999, 12, 31, 23, 0, 0), 0)


UNWRITABLE = [
    ("bcd", "UINT", 10_000),
    ("bcd", "UINT", -1),
    ("bcd", "UDINT", 123_456_789),
    ("magnitude", "INT", -32_768),
    ("mod10000", "UINT", 10_000),
    ("24-bit", "DINT", 1 << 23),
    ("48-bit", "ULINT", 1 << 48),
    ("48-bit", "LINT", 1 << 63),
    ("half", "REAL", 1e9),
    ("date-bcd", "LINT", 0),
]


@pytest.mark.parametrize(("encoding", "kind", "value"), UNWRITABLE)
def test_what_does_not_fit_is_not_written(encoding: str, kind: str, value: Any) -> None:
    codec = codec_of(Tag("t", "HR:0", kind, encoding=encoding))
    assert codec.encode is not None
    with pytest.raises(EncodeError):
        codec.encode(value)


@pytest.mark.parametrize(("encoding", "kind"), [("no", "INT"), ("bcd", "INT"), ("half", "INT")])
def test_an_encoding_that_is_none_of_the_type_is_refused(encoding: str, kind: str) -> None:
    with pytest.raises(EncodeError):
        encoding_of(encoding, kind)
    with pytest.raises(EncodeError):
        codec_of(Tag("t", "HR:0", kind, encoding=encoding))


@given(st.sampled_from(sorted(ENCODINGS)), st.integers(0, 9999))
def test_what_is_written_is_read(name: str, value: int) -> None:
    if name == "half":
        value = value % 2048
    kind = sorted(ENCODINGS[name].types)[0]
    codec = codec_of(Tag("t", "HR:0", kind, encoding=name))
    assert codec.encode is not None
    assert codec.decode(codec.encode(value), 0) == value
    assert name in NAMES


SENTINELS = [
    ("INT", (0x8000,), [0x8000]),
    ("INT", (0x8000,), [-32768]),
    ("UINT", (0xFFFF,), [0xFFFF, 0xFFFE]),
    ("UINT", (0xFFFE,), [0xFFFF, 0xFFFE]),
    ("UDINT", (0xFFFF, 0xFFFF), [0xFFFFFFFF]),
    ("ULINT", (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), [0xFFFF_FFFF_FFFF_FFFF]),
    ("REAL", (0x7FC0, 0), [0x7FC00000]),
    ("REAL", (0xC61C, 0x3C00), [-9999]),
    ("REAL", (0x3F00, 0), [0.5]),
]


@pytest.mark.parametrize(("kind", "held", "sentinels"), SENTINELS)
def test_a_sentinel_is_no_value(kind: str, held: tuple[int, ...], sentinels: list[float]) -> None:
    with pytest.raises(Unavailable):
        decoded(words(*held), kind, unavailable=tuple(sentinels))
    assert decoded(words(*(1 for _ in held)), kind, unavailable=tuple(sentinels)) is not None


def test_a_sentinel_is_seen_before_the_encoding_and_in_any_element() -> None:
    with pytest.raises(Unavailable):
        decoded(words(0xFFFF), "UINT", encoding="bcd", unavailable=(0xFFFF,))
    with pytest.raises(Unavailable):
        decoded(words(1, 0xFFFF), "UINT", length=2, unavailable=(0xFFFF,))
    assert decoded(words(1, 2), "UINT", length=2, unavailable=(0xFFFF,)) == [1, 2]


def test_numbers_and_bits_have_texts() -> None:
    state: dict[str, Any] = {"holds": "UINT", "texts": ("1=off", "0x4=running")}
    assert decoded(words(4), "STRING", **state) == "running"
    assert decoded(words(9), "STRING", **state) == "9"
    events: dict[str, Any] = {"holds": "UDINT", "flags": ("0=ground fault", "31=test")}
    assert decoded(words(0x8000, 3), "STRING", **events) == "ground fault, bit 1, test"
    assert decoded(words(0, 0), "STRING", **events) == ""
    assert codec_of(Tag("t", "HR:0", "STRING", **state)).encode is None


def test_an_inverted_bit_is_true_when_it_is_0() -> None:
    assert decoded(words(0b100), "WORD", 2, encoding="inverted") is False
    codec = codec_of(Tag("t", "HR:0", "BOOL", encoding="inverted"))
    assert codec.decode(words(0), 0) is True
    assert codec.encode is not None and codec.encode(True) == words(0)
    with pytest.raises(EncodeError):
        codec_of(Tag("t", "HR:0", "INT", encoding="inverted"))


def test_a_power_of_ten_is_exact_where_it_can_be() -> None:
    assert factored(543, 1) == 5430
    assert factored(543, -2) == 5.43
    assert factored([1, 2], -1) == [0.1, 0.2]
    for power in (11, -11, -32768):
        with pytest.raises(Malformed):
            factored(1, power)


@pytest.mark.parametrize(
    ("encoding", "size", "text", "raw"),
    [
        ("", 6, "né", "6e e9 00 00 00 00"),
        ("ascii", 4, "ab", "61 62 00 00"),
        ("latin-1", 4, "é", "e9 00 00 00"),
        ("utf-8", 6, "né€", "6e c3 a9 e2 82 ac"),
        ("utf-16", 8, "né€", "00 6e 00 e9 20 ac 00 00"),
    ],
)
def test_text_is_held_as_its_encoding_says(encoding: str, size: int, text: str, raw: str) -> None:
    made = codec_of(Tag("t", "40001", "STRING", size=size, encoding=encoding))
    assert made.encode is not None
    assert made.encode(text) == bytes.fromhex(raw)
    assert made.decode(bytes.fromhex(raw), 0) == text and made.registers == size // 2


@pytest.mark.parametrize(("encoding", "text"), [("ascii", "é"), ("latin-1", "€"), ("", "Ω")])
def test_text_that_an_encoding_cannot_say_is_refused_by_its_character(
    encoding: str, text: str
) -> None:
    made = codec_of(Tag("t", "40001", "STRING", size=8, encoding=encoding))
    assert made.encode is not None
    with pytest.raises(EncodeError, match="cannot be said"):
        made.encode(text)


def test_bytes_that_are_no_such_text_are_malformed_and_numbers_have_no_text_encoding() -> None:
    made = codec_of(Tag("t", "40001", "STRING", size=2, encoding="utf-8"))
    with pytest.raises(Malformed):
        made.decode(b"\xff\xfe", 0)
    with pytest.raises(EncodeError, match="no encoding"):
        codec_of(Tag("t", "40001", "INT", encoding="utf-8"))
