"""Requests of others on our session: their frames, and replies in any slices and order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.enip.cpf import (
    ConnectedMessage,
    Item,
    ItemType,
    UnconnectedMessage,
    encode_items,
)
from cpppod.protocols.enip.encapsulation import Frame, FrameReader
from cpppod.protocols.enip.originator.relay import Relay, Relayed, answers
from cpppod.protocols.enip.originator.route import DIRECT, UnconnectedRoute
from cpppod.protocols.enip.originator.session import SessionViolated

SESSION = 0xABCD
REPLIES = [b"\xcc\0\0\0\xc4\0one.", b"\xcc\0\0\0\xc4\0two.", b"\xcc\0\4\0"]


def context(number: int, place: int) -> bytes:
    return number.to_bytes(4, "little") + place.to_bytes(2, "little") + b"\3\xfe"


def reply(number: int, place: int, message: bytes, **changes: Any) -> bytes:
    fields: dict[str, Any] = {"session": SESSION, "status": 0, "context": context(number, place)}
    data = UnconnectedMessage(message).encode()
    return Frame(0x6F, data, **(fields | changes)).encode()


def frames(data: bytes) -> list[Frame]:
    reader = FrameReader()
    reader.receive_data(data)
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    return found


@pytest.mark.parametrize(
    "route",
    [DIRECT, UnconnectedRoute(route_path=b"\1\0"), UnconnectedRoute(route_path=b"\1\0\1\5")],
)
def test_each_request_has_a_frame_of_its_own_as_the_session_would_send_it(
    route: UnconnectedRoute,
) -> None:
    requests = [b"\x4c\2\x20\x6b\x24\1\1\0", b"\x4c\2\x20\x6b\x24\2\1\0", b"\x01\2\x20\1\x24\1x"]
    sent = frames(Relay.send(SESSION, 9, 4, requests, route, 3))
    assert [each.context for each in sent] == [context(9, place) for place in (4, 5, 6)]
    assert {(each.command, each.session, each.status) for each in sent} == {(0x6F, SESSION, 0)}
    for frame, request in zip(sent, requests, strict=True):
        assert frame.data == UnconnectedMessage(route.wrap(request), 8).encode()
    if route is not DIRECT:
        inner = UnconnectedSend.decode(UnconnectedMessage.decode(sent[2].data).message[6:])
        assert (inner.request, inner.route_path) == (requests[2], route.route_path)


@given(st.lists(st.integers(1, 120), max_size=12))
def test_replies_are_found_in_any_slices_and_what_is_the_session_s_left_to_it(
    cuts: list[int],
) -> None:
    ours = Frame(0x6F, UnconnectedMessage(b"\xcc\0\0\0").encode(), SESSION, 0, b"12\0\0\0\0\0\0")
    data = b"".join(
        (
            reply(1, 0, REPLIES[0]),
            reply(1, 1, REPLIES[1]),
            ours.encode(),
            reply(1, 3, REPLIES[0]),
            reply(2, 4, REPLIES[0]),
            reply(2, 5, REPLIES[2]),
            Frame(0x63, b"", SESSION).encode(),
        )
    )
    relay, found, others = Relay(), [], b""
    at = 0
    for cut in (*cuts, len(data)):
        relayed, other = relay.receive_data(data[at : at + cut], SESSION)
        found += [
            (each.number, each.place + index, message)
            for each in relayed
            for index, message in enumerate(each.replies)
        ]
        others += other
        at += cut
    assert found == [
        (1, 0, REPLIES[0]),
        (1, 1, REPLIES[1]),
        (1, 3, REPLIES[0]),
        (2, 4, REPLIES[0]),
        (2, 5, REPLIES[2]),
    ]
    assert others == ours.encode() + Frame(0x63, b"", SESSION).encode()


def test_consecutive_replies_of_one_group_are_told_together() -> None:
    data = b"".join(reply(7, place, REPLIES[0]) for place in (2, 3, 4, 0))
    found, _ = Relay().receive_data(data, SESSION)
    assert found == [Relayed(7, 2, [REPLIES[0]] * 3), Relayed(7, 0, [REPLIES[0]])]


def test_reply_in_another_layout_is_understood() -> None:
    items = encode_items(
        (
            Item(ItemType.NULL_ADDRESS),
            Item(ItemType.UNCONNECTED_DATA, REPLIES[0]),
            Item(0x8000, bytes(16)),
        )
    )
    frame = Frame(0x6F, bytes(6) + items, SESSION, 0, context(1, 0))
    found, others = Relay().receive_data(frame.encode(), SESSION)
    assert (found, others) == ([Relayed(1, 0, [REPLIES[0]])], b"")


def test_encapsulation_error_is_told_with_its_status() -> None:
    found, _ = Relay().receive_data(Frame(0x6F, b"", SESSION, 3, context(1, 6)).encode(), SESSION)
    assert found == [Relayed(1, 6, [], 3)]


@pytest.mark.parametrize(
    "data",
    [
        reply(1, 0, REPLIES[0], session=5),
        Frame(0x6F, b"no items", SESSION, 0, context(1, 0)).encode(),
        reply(1, 0, b"\xcc"),
    ],
)
def test_reply_that_is_none_breaks_the_session(data: bytes) -> None:
    with pytest.raises(SessionViolated):
        Relay().receive_data(data, SESSION)


def test_frame_that_is_too_long_is_the_session_s_to_refuse() -> None:
    data = b"\x6f\0\xff\xff" + bytes(60)
    assert Relay().receive_data(data, SESSION) == ([], data)


@pytest.mark.parametrize(
    ("message", "right"),
    [
        (b"\xcc\0\0\0", True),
        (b"\xcd\0\0\0", False),
        (b"\xd2\0\1\1\4\2", True),
        (b"\xd2\0\0\0", False),
    ],
)
def test_reply_has_its_request_s_service_or_says_that_it_was_not_passed_on(
    message: bytes, right: bool
) -> None:
    assert answers(b"\x4c\0", message) is right


def unit(connection: int, sequence: int, message: bytes, session: int = SESSION) -> bytes:
    data = ConnectedMessage(connection, sequence, message).encode()
    return Frame(0x70, data, session).encode()


def test_requests_on_others_connections_keep_their_sequence_counts() -> None:
    relay = Relay()
    relay.opened(0x77, 0x99)
    bodies = [b"\7\0\x4c\0", b"\x09\0\x4c\0\1\0"]
    sent = frames(relay.send_connected(SESSION, 3, 5, bodies, 0x77, 0x99))
    messages = [ConnectedMessage.decode(each.data) for each in sent]
    assert [(each.connection_id, each.sequence, each.message) for each in messages] == [
        (0x77, 7, b"\x4c\0"),
        (0x77, 9, b"\x4c\0\1\0"),
    ]
    others = unit(0x55, 7, REPLIES[0])
    data = unit(0x77, 9, REPLIES[0]) + others + unit(0x99, 7, REPLIES[1])
    found, rest = relay.receive_data(data, SESSION)
    assert found == [Relayed(3, 6, [REPLIES[0]]), Relayed(3, 5, [REPLIES[1]])]
    assert rest == others
    assert relay.receive_data(data, SESSION) == ([], others), "each is answered once"


def test_reply_on_a_connection_that_was_closed_is_the_session_s_to_judge() -> None:
    relay = Relay()
    relay.opened(0x77, 0x99)
    relay.send_connected(SESSION, 3, 5, [b"\7\0\x4c\0"], 0x77, 0x99)
    relay.closed(0x77, 0x99)
    late = unit(0x99, 7, REPLIES[0])
    assert relay.receive_data(late, SESSION) == ([], late)


@pytest.mark.parametrize("data", [unit(0x99, 7, b"\xcc\0\0\0", 5), unit(0x99, 7, b"\xcc")])
def test_lie_on_a_connection_breaks_the_session(data: bytes) -> None:
    relay = Relay()
    relay.opened(0x77, 0x99)
    with pytest.raises(SessionViolated):
        relay.receive_data(data, SESSION)
