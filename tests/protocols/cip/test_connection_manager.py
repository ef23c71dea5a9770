"""Forward Open and Close as bytes, both ways."""

from dataclasses import replace

import pytest

from cpppod.protocols.cip.connection_manager import (
    ForwardClose,
    ForwardOpen,
    ForwardOpenReply,
    NetworkParameters,
    failure_data,
    open_failure,
)
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import DecodeError, EncodeError

OPEN = ForwardOpen(
    *(0x20000002, 0x20000001, 4, 0x1337, 42, 2_000_000, 2_000_000),
    *(NetworkParameters(500), NetworkParameters(500), bytes.fromhex("010020022401")),
)


@pytest.mark.parametrize(
    ("parameters", "large"),
    [
        (NetworkParameters(0), False),
        (NetworkParameters(0), True),
        (NetworkParameters(511, variable=False, priority=3, kind=1, owner=1), False),
        (NetworkParameters(511, variable=False, priority=3, kind=1, owner=1), True),
        (NetworkParameters(65535), True),
    ],
)
def test_opening_survives_encoding_in_both_forms(
    parameters: NetworkParameters, large: bool
) -> None:
    asked = replace(OPEN, ot=parameters, to=parameters, large=large)
    assert ForwardOpen.decode(asked.encode_data(), large=large) == asked


@pytest.mark.parametrize(("size", "large"), [(512, False), (65536, True), (-1, False)])
def test_size_that_the_form_cannot_say_is_refused(size: int, large: bool) -> None:
    with pytest.raises(EncodeError):
        replace(OPEN, to=NetworkParameters(size), large=large).encode()


@pytest.mark.parametrize("large", [False, True])
def test_opening_that_is_cut_short_anywhere_is_refused(large: bool) -> None:
    data = replace(OPEN, large=large).encode_data()
    for size in range(len(data)):
        with pytest.raises(CipError):
            ForwardOpen.decode(data[:size], large=large)


@pytest.mark.parametrize(
    ("multiplier", "seconds"), [(0, 8.0), (1, 16.0), (7, 1024.0), (8, 1024.0), (255, 1024.0)]
)
def test_connection_lives_for_its_interval_times_a_power_of_two(
    multiplier: int, seconds: float
) -> None:
    assert replace(OPEN, multiplier=multiplier).timeout_s == seconds


def test_what_was_granted_survives_encoding_with_its_application_data() -> None:
    reply = ForwardOpenReply(1, 2, 3, 4, 5, 6, 7, b"\1\2\3\4")
    assert ForwardOpenReply.decode(reply.encode()) == reply
    with pytest.raises(DecodeError):
        ForwardOpenReply.decode(reply.encode()[:25])


def test_closing_survives_encoding_and_its_path_may_lack() -> None:
    close = ForwardClose(4, 0x1337, 42, bytes.fromhex("010020022401"))
    assert ForwardClose.decode(close.encode_data()) == close
    assert ForwardClose.decode(close.encode_data()[:12]).triad == OPEN.triad
    with pytest.raises(CipError):
        ForwardClose.decode(close.encode_data()[:11])


def test_failure_names_the_connection_and_what_is_left_of_its_path() -> None:
    assert failure_data((4, 0x1337, 42), 3) == bytes.fromhex("0400 3713 2a000000 03 00")
    assert open_failure(0x54, (4, 0x1337, 42), 0x0113) == bytes.fromhex(
        "d4000101 1301 0400 3713 2a000000 00 00"
    )
