"""The journal's form: records, their checksums, and what a scan makes of damage."""

import zlib

import pytest

from cpppod.protocols.bus.codec import pack
from cpppod.protocols.bus.journal import (
    HEAD,
    MAX_BODY,
    MAX_TOPIC,
    SEGMENT,
    Hole,
    Kind,
    Segment,
    decode_hole,
    decode_segment,
    decode_stop,
    encode_record,
    encode_stop,
    scan,
    stopped_in,
)
from cpppod.protocols.model.errors import DecodeError, EncodeError

RECORDS = [
    encode_record(Kind.BLOCK, b"boiler/fast/", b"one", sequence=1, samples=2),
    encode_record(Kind.BLOCK, b"boiler/slow/", b"", sequence=2, samples=0),
    encode_record(Kind.GAP, b"", b"three", sequence=2**53 - 1, samples=9),
]


def test_a_record_is_laid_out_as_documented() -> None:
    record = encode_record(Kind.BLOCK, b"a/b/", b"\x01\x02", sequence=0x1122, samples=7)
    checked = bytes.fromhex("01000400 2211000000000000 07000000") + b"a/b/\x01\x02"
    assert record == bytes.fromhex("06000000") + zlib.crc32(checked).to_bytes(4, "little") + checked


def test_records_are_read_back_in_order() -> None:
    records, end, stop = scan(b"".join(RECORDS))
    assert [(r.kind, r.sequence, r.samples, r.topic, r.body) for r in records] == [
        (Kind.BLOCK, 1, 2, b"boiler/fast/", b"one"),
        (Kind.BLOCK, 2, 0, b"boiler/slow/", b""),
        (Kind.GAP, 2**53 - 1, 9, b"", b"three"),
    ]
    assert (end, stop) == (sum(map(len, RECORDS)), "")


@pytest.mark.parametrize("cut", range(1, sum(map(len, RECORDS[1:]))))
def test_a_tail_cut_at_any_byte_leaves_the_records_before_it(cut: int) -> None:
    data = b"".join(RECORDS)
    records, end, stop = scan(data[:-cut])
    whole = 1 if cut > len(RECORDS[2]) else 2
    whole = whole + 1 if cut == 0 else whole
    if cut == len(RECORDS[2]):
        assert (len(records), stop) == (2, "")
    elif len(data) - cut == len(RECORDS[0]):
        assert (len(records), stop) == (1, "")
    else:
        assert (len(records), stop) == (whole, "short")
    assert end == sum(map(len, RECORDS[: len(records)]))


@pytest.mark.parametrize("at", range(4, len(RECORDS[0])))
def test_any_changed_byte_stops_the_scan_before_its_record(at: int) -> None:
    data = bytearray(b"".join(RECORDS))
    data[at] ^= 0x40
    records, end, stop = scan(bytes(data))
    assert (records, end) == ([], 0)
    assert stop != ""


def test_a_length_beyond_anything_published_is_damage_at_once() -> None:
    data = HEAD.pack(MAX_BODY + 1, 0, 1, 0, 0, 1, 1)
    assert scan(data) == ([], 0, f"length {MAX_BODY + 1}")


def test_a_record_longer_than_anything_published_is_refused() -> None:
    with pytest.raises(EncodeError):
        encode_record(Kind.BLOCK, b"t" * (MAX_TOPIC + 1), b"", sequence=1, samples=1)
    with pytest.raises(EncodeError):
        encode_record(Kind.BLOCK, b"t", bytes(MAX_BODY), sequence=1, samples=1)


def test_a_segment_of_a_newer_version_is_told_apart_from_damage() -> None:
    head = SEGMENT.pack(b"cpppodJ\n", 2, 0, 1, 1)
    with pytest.raises(DecodeError) as newer:
        decode_segment(head)
    assert newer.value.status == 1
    with pytest.raises(DecodeError) as damaged:
        decode_segment(b"x" * SEGMENT.size)
    assert damaged.value.status == 0
    assert decode_segment(Segment(5, 6).encode()) == Segment(5, 6)


def test_a_gap_is_read_back() -> None:
    hole = Hole(3, 9, 2, 40, "not journalled", 1_000, 2_000)
    assert decode_hole(hole.encode()) == hole
    for body in (b"\x90", b"\x01", b"", b"\x97\xa1a\xa1b\x01\x01\xa1c\x01\x01"):
        with pytest.raises(DecodeError):
            decode_hole(body)


def test_segment_without_its_head_or_of_others_is_refused() -> None:
    whole = Segment(7, 8).encode()
    assert decode_segment(whole) == Segment(7, 8)
    for data in (b"", whole[:-1], b"x" + whole[1:]):
        with pytest.raises(DecodeError):
            decode_segment(data)


def test_segment_names_its_gateway_in_its_first_record() -> None:
    named = Segment(7, 8, gateway="plant-1")
    assert decode_segment(named.encode()) == named
    assert decode_segment(named.encode() + RECORDS[0]) == named
    damaged = bytearray(named.encode())
    damaged[-1] ^= 1
    assert decode_segment(bytes(damaged)).gateway == ""


def test_end_of_a_life_is_a_time_and_anything_else_is_refused() -> None:
    assert decode_stop(encode_stop(1_700_000_000_000_000)) == 1_700_000_000_000_000
    for frame in (pack([]), pack(5), pack(["5"]), pack([None]), pack({})):
        with pytest.raises(DecodeError):
            decode_stop(frame)


def test_the_end_of_a_life_names_its_place_or_none() -> None:
    assert stopped_in(encode_stop(5, "12:34")) == "12:34"
    assert decode_stop(encode_stop(5, "12:34")) == 5
    assert stopped_in(encode_stop(5)) == stopped_in(b"\x91\x05") == stopped_in(b"\xc1") == ""
