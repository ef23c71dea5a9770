"""The wrapper of a routed request, and its deadline."""

import pytest

from cpppod.protocols.cip.failures import refused, unrouted
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.unconnected_send import (
    MAX_TIMEOUT_S,
    UnconnectedSend,
    ticks_for,
    timeout_s,
)
from cpppod.protocols.model.errors import EncodeError


@pytest.mark.parametrize(
    ("tick", "ticks", "seconds"),
    [
        (5, 157, 5.024),
        (0, 5, 0.01),
        (0, 0, 0.01),
        (10, 9, 9.216),
        (15, 255, MAX_TIMEOUT_S),
        (0xF5, 157, 5.024),  # the upper bits are the priority
    ],
)
def test_deadline_is_what_the_ticks_say_within_reason(
    tick: int, ticks: int, seconds: float
) -> None:
    assert timeout_s(tick, ticks) == seconds
    assert UnconnectedSend(b"\x4c\0", b"", tick, ticks).timeout_s == seconds


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.255, 0.256, 1.0, 5.024, 9.99, 3600.0, 8355.0])
def test_ticks_allow_at_least_the_seconds_asked_for_and_hardly_more(seconds: float) -> None:
    tick, ticks = ticks_for(seconds)
    allowed = (1 << tick) * ticks / 1000
    assert seconds <= allowed <= max(seconds * 1.01, 0.001)


def test_longest_time_that_ticks_can_say_stands_for_all_longer_ones() -> None:
    assert ticks_for(1e6) == (15, 255)


def test_request_of_odd_length_is_padded_and_the_pad_is_not_read() -> None:
    wrapped = UnconnectedSend(b"\x4c\x00\x01", b"\1\0")
    assert wrapped.encode_data() == bytes.fromhex("059d 0300 4c0001 00 0100 0100")
    assert UnconnectedSend.decode(wrapped.encode_data()) == wrapped


@pytest.mark.parametrize("tail", ["", "00", "0000"])
def test_route_that_is_left_out_in_any_way_is_none(tail: str) -> None:
    """libplctag leaves out the size too."""
    data = bytes.fromhex("059d 0200 4c00") + bytes.fromhex(tail)
    assert UnconnectedSend.decode(data).route_path == b""


@pytest.mark.parametrize(
    "data",
    [
        "",
        "059d02",
        "059d0200",
        "059d02004c",
        "059d01004c",
        "059d02004c000100",
        "059d02004c00020001",
    ],
)
def test_wrapper_whose_lengths_claim_more_than_there_is_is_refused(data: str) -> None:
    with pytest.raises(CipError) as caught:
        UnconnectedSend.decode(bytes.fromhex(data))
    assert caught.value.status == 0x13


def test_failure_of_routing_tells_how_much_of_the_route_was_left() -> None:
    assert unrouted(b"\x4c\0", b"\1\0\1\1", 0x0312) == bytes.fromhex("d2000101 1203 02 00")


def test_failure_of_routing_on_a_connection_has_the_request_s_own_service() -> None:
    refusal = unrouted(b"\x4c\0", b"\1\0", 0x0204, connected=True)
    assert refusal == bytes.fromhex("cc000101 0402")


def test_refusal_of_an_empty_request_is_a_reply_all_the_same() -> None:
    assert refused(b"", 0x13) == bytes.fromhex("80001300")


def test_request_longer_than_its_length_can_say_is_refused() -> None:
    assert len(UnconnectedSend(bytes(65535)).encode_data()) == 4 + 65536 + 2
    for message, route in ((bytes(65536), b""), (b"\x4c\0", b"\1"), (b"\x4c\0", bytes(512))):
        with pytest.raises(EncodeError):
            UnconnectedSend(message, route).encode_data()
