"""Requests to the feed: bounded, and refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.bus.codec import pack
from cpppod.protocols.bus.feed_requests import (
    MAX_PREFIXES,
    MAX_REQUEST,
    Refused,
    ReplayPage,
    ReplayRequest,
    SnapshotPage,
    SnapshotRequest,
    decode_reply,
    decode_request,
)
from cpppod.protocols.model.errors import DecodeError

REQUESTS = [
    SnapshotRequest(1),
    SnapshotRequest(2, (b"boiler/", b"$/"), b"boiler/fast/"),
    ReplayRequest(3, "p", 5, 1, 2**53 - 1, (b"boiler/fast/",)),
]
REPLIES = [
    SnapshotPage(1, 4, {"p": [5, 6, 1]}, [(b"boiler/fast/", b"\x90")], b"boiler/fast/"),
    ReplayPage(2, 4, "p", 5, 1, 9, [(b"boiler/fast/", b"\x90")], 7),
    Refused(3, "too many requests"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_request_comes_back_as_it_was_sent(request_: SnapshotRequest | ReplayRequest) -> None:
    assert decode_request(request_.encode()) == request_


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_reply_comes_back_as_it_was_sent(reply: SnapshotPage | ReplayPage | Refused) -> None:
    assert decode_reply(reply.encode()) == reply


@pytest.mark.parametrize(
    "plain",
    [
        [2, 1, 1, [""], ""],
        [1, 1, "1", [""], ""],
        [1, 9, 1],
        [1, 1, 1, [], ""],
        [1, 1, 1, [""] * (MAX_PREFIXES + 1), ""],
        [1, 1, 1, [5], ""],
        [1, 1, 1, ["boiler/\n"], ""],
        [1, 1, 1, ["bökler/"], ""],
        [1, 1, 1, [""], "x" * 97],
        [1, 1, 1, [""], 5],
        [1, 2, 1, "p", 5, 1, 2**63, [""]],
        [1, 2, 1, "p", 5, -1, 2, [""]],
        [1, 2, 1, "p", 5, 1, [""]],
        [1],
        "text",
    ],
    ids=lambda plain: repr(plain)[:60],
)
def test_bad_request_is_refused(plain: object) -> None:
    with pytest.raises(DecodeError):
        decode_request(pack(plain))


def test_request_as_long_as_allowed_passes_and_a_longer_one_is_refused_unread() -> None:
    decode_request(SnapshotRequest(1, (b"x" * 40 + b"/",) * MAX_PREFIXES).encode())
    with pytest.raises(DecodeError, match="bytes"):
        decode_request(bytes(MAX_REQUEST + 1))


def test_refusal_names_the_request() -> None:
    with pytest.raises(DecodeError) as refused:
        decode_request(pack([1, 1, 77, [], ""]))
    assert refused.value.status == 77


@pytest.mark.parametrize(
    "plain",
    [
        [1, 1, 1, 4, {"p": [5, 6]}, [], ""],
        [1, 1, 1, 4, {"p": 5}, [], ""],
        [1, 1, 1, 4, {}, [["t", "text"]], ""],
        [1, 1, 1, 4, {}, [["t"]], ""],
        [1, 2, 1, 4, "p", 5, 1, 9, [], "7"],
        [1, 0, 1],
        [2, 0, 1, "x"],
    ],
    ids=repr,
)
def test_bad_reply_is_refused(plain: object) -> None:
    with pytest.raises(DecodeError):
        decode_reply(pack(plain))


def test_reply_of_a_later_kind_is_none() -> None:
    assert decode_reply(pack([1, 9, 1, "?"])) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_a_request_or_refused(frame: bytes) -> None:
    for decode in (decode_request, decode_reply):
        try:
            decode(frame)
        except DecodeError:
            pass
