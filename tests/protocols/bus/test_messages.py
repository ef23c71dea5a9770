"""Messages travel, readers of another version survive them, and lies are refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.bus.codec import pack
from cpppod.protocols.bus.messages import (
    KINDS,
    Beat,
    Command,
    CommandReply,
    Message,
    Resend,
    RouteCounts,
    RouteLeases,
    RouteRefused,
    RouteReplies,
    RouteRequests,
    WriteOrder,
    WriteOutcomes,
    WriteReply,
    WriteRequest,
    decode,
    decode_but_metrics,
)
from cpppod.protocols.model.errors import DecodeError

MESSAGES: list[Message] = [
    Beat("poller-1", 4711, 3, 1_000_000, "running", 0, ["slot"], {"a": {"up": 1}}, [["n", {}, 1]]),
    Command(1, "prepare", {"path": "/run/x.json"}),
    CommandReply(1, "", {"a": [1, 2.5, None]}),
    WriteRequest(7, "boiler", "10.0.0.7", 5_000_000, [["setpoint", 0, [42]]]),
    WriteReply(7, 0x1E, [1, 2], "refused", True, b"boiler/fast/", b"\x90"),
    Resend(1_700_000_000_000),
    RouteRequests(
        [[8, "10.0.0.7", 5_000_000, 5, 157, b"\x01\x01", 2, b"\x4c\x02", 0, 0, 0, "plc"]]
    ),
    RouteReplies([[8, 0, 4, b"\xcc\x00\x00\x00", 6]]),
    RouteLeases([[7, b"\1\1", "poller-press", "press", b"", 64], 8]),
    RouteRefused([9, 10]),
    RouteCounts([[7, 10, 9, 0, 1_000, 1]]),
    WriteOrder(
        9, "web", 5_000_000, [["boiler.setpoint", 42]], "alice", "10.0.0.7", "s1", "operator"
    ),
    WriteOutcomes(9, {}, [{"tag": "boiler.setpoint", "ok": True}], 1),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode(message.encode()) == message


def test_every_kind_is_tried_above() -> None:
    assert {type(message) for message in MESSAGES} == set(KINDS.values())


def test_further_fields_of_a_later_minor_version_are_ignored() -> None:
    assert decode(pack([1, 8, 5, "new", {"x": 1}])) == Resend(5)


def test_missing_fields_take_their_defaults() -> None:
    assert decode(pack([1, 3, 9])) == CommandReply(9)


@pytest.mark.parametrize("kind", [99, 0, -1])
def test_unknown_kind_is_none(kind: int) -> None:
    assert decode(pack([1, kind, 5])) is None


@pytest.mark.parametrize(
    "plain",
    [
        [2, 8, 5],  # another major version
        [1],
        [],
        {"1": 8},
        "hello",
        None,
        [1, "8", 5],
        [1, True, 5],
        [True, 8, 5],
    ],
    ids=repr,
)
def test_what_is_no_message_of_this_version_is_refused(plain: object) -> None:
    with pytest.raises(DecodeError):
        decode(pack(plain))


@pytest.mark.parametrize(
    "plain",
    [
        [1, 8],  # required field missing
        [1, 8, "x"],
        [1, 8, 2**53],
        [1, 8, -(2**53)],
        [1, 2, 1, 5],
        [1, 2, 1, "verb", []],
        [1, 4, 1, "dev", "src", "soon", []],
        [1, 4, 1, "dev", "src", 5, "writes"],
        [1, 5, 1, 0, [], "", 1],  # `unknown` is a bool
        [1, 13, "text"],
        [1, 1, "w", 1, 1, 1, "running", 0, [], {}, [], {}, 1][:3],
        [1, 8, True],
        [1, 8, 1.0],
    ],
    ids=repr,
)
def test_field_of_the_wrong_type_is_refused(plain: object) -> None:
    with pytest.raises(DecodeError):
        decode(pack(plain))


@given(st.binary(max_size=100))
def test_any_bytes_are_decoded_or_refused(frame: bytes) -> None:
    try:
        decode(frame)
    except DecodeError:
        pass


def test_beat_without_its_metrics_is_otherwise_the_same_and_others_come_whole() -> None:
    for message in MESSAGES:
        read = decode_but_metrics(message.encode())
        assert read is not None
        whole = decode(message.encode())
        if isinstance(whole, Beat):
            assert isinstance(read, Beat)
            assert not read.metrics
            assert replace(whole, metrics=[]) == read
        else:
            assert read == whole
    assert decode_but_metrics(pack([1, 99, "from the future"])) is None
    for frame in (b"\xc1", pack("text"), pack([2, 1])):
        with pytest.raises(DecodeError):
            decode_but_metrics(frame)
