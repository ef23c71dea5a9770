"""Frames that cost or lie are refused while they are cheap."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.bus.codec import (
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_MESSAGE,
    pack,
    unpack,
    unpack_fields,
)
from cpppod.protocols.model.errors import DecodeError, EncodeError

BAD_FRAMES = {
    "empty": b"",
    "the byte that msgpack never uses": b"\xc1",
    "string cut short": bytes.fromhex("dbffffffff"),
    "nested 512 deep": b"\x91" * 512 + b"\xc0",
    "nested a million deep": b"\x91" * 1_000_000 + b"\xc0",
    "array of a million empty maps": bytes.fromhex("dd000f4240") + b"\x80" * 1_000_000,
    "array of 2^32 - 1 in five bytes": bytes.fromhex("ddffffffff"),
    "map of 2^32 - 1 in five bytes": bytes.fromhex("dfffffffff"),
    "map with an integer key": bytes.fromhex("810102"),
    "map with a list as key": bytes.fromhex("819002"),
    "invalid UTF-8": bytes.fromhex("a2c328"),
    "extension type 5": bytes.fromhex("c7010500"),
    "timestamp of 4 bytes": bytes.fromhex("d6ff5f5e1000"),
    "timestamp nested": bytes.fromhex("91d6ff5f5e1000"),
    "timestamp of a bad length": bytes.fromhex("c703ff000000"),
    "timestamp of the year 292 billion": bytes.fromhex("c70cff000000007fffffffffffffff"),
    "more than one value": b"\x01\x01",
    "longer than a message may be": b"\xc6" + (MAX_MESSAGE).to_bytes(4, "big") + bytes(MAX_MESSAGE),
}


@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack(frame)


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_depth_up_to_the_limit_passes_and_one_more_does_not() -> None:
    assert unpack(pack(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(DecodeError, match="nested"):
        unpack(pack(nested(MAX_DEPTH + 1)))


def test_depth_counts_maps_too() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = {"a": deep}
    with pytest.raises(DecodeError, match="nested"):
        unpack(pack(deep))


def test_items_up_to_the_limit_pass_and_one_more_does_not() -> None:
    assert len(unpack(pack([0] * MAX_ITEMS))) == MAX_ITEMS
    with pytest.raises(DecodeError):
        unpack(pack([0] * (MAX_ITEMS + 1)))


def test_message_up_to_the_limit_is_packed_and_one_byte_more_is_not() -> None:
    most = MAX_MESSAGE - 5  # bin 32 has a head of five bytes
    assert len(pack(bytes(most))) == MAX_MESSAGE
    with pytest.raises(EncodeError):
        pack(bytes(most + 1))


@pytest.mark.parametrize("value", [object(), 2**64, -(2**63) - 1, {1, 2}])
def test_what_msgpack_cannot_say_is_an_encode_error(value: object) -> None:
    with pytest.raises(EncodeError):
        pack(value)


def test_refused_frames_leave_no_memory_behind() -> None:
    frame = pack({"a" * 20: "b" * 20, 1: 2})  # a map that is refused half-way
    for _ in range(100):
        with pytest.raises(DecodeError):
            unpack(frame)
    tracemalloc.start()
    for _ in range(20_000):
        try:
            unpack(frame)
        except DecodeError:
            pass
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(frame: bytes) -> None:
    try:
        value = unpack(frame)
    except DecodeError:
        return
    assert unpack(pack(value)) == value or value != value or "nan" in repr(value)


def test_skipped_elements_are_none_and_the_others_as_they_are() -> None:
    frame = pack([1, {"a": [2]}, "b", b"c"])
    assert unpack_fields(frame, frozenset((1, 3))) == [1, None, "b", None]
    assert unpack_fields(frame, frozenset()) == unpack(frame)


NO_ARRAYS = (b"\x80", b"\x01", b"\x93\x01\x02", b"\x91\x01\x01")


@pytest.mark.parametrize("frame", [*BAD_FRAMES.values(), *NO_ARRAYS])
def test_frame_that_is_no_whole_array_is_refused_where_parts_are_skipped(frame: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack_fields(frame, frozenset())


def test_depth_of_what_is_not_skipped_is_limited() -> None:
    frame = pack([nested(MAX_DEPTH), 1])
    with pytest.raises(DecodeError):
        unpack_fields(frame, frozenset())
    assert unpack_fields(frame, frozenset((0,))) == [None, 1]


def test_as_many_elements_as_may_be_pass_and_one_more_does_not() -> None:
    assert len(unpack_fields(pack([None] * MAX_ITEMS), frozenset((1,)))) == MAX_ITEMS
    with pytest.raises(DecodeError):
        unpack_fields(pack([None] * (MAX_ITEMS + 1)), frozenset())
