"""The Connection Manager: who may open a class 3 connection, and what becomes of it."""

import itertools
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.connection_manager import (
    ForwardClose,
    ForwardOpen,
    ForwardOpenReply,
    NetworkParameters,
)
from cpppod.protocols.cip.epath import ElectronicKey
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest
from cpppod.protocols.cip.objects.connection_manager import MAX_CONNECTIONS, MAX_PER_SESSION
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.cip.request import Carriage, ForwardNeeded, Origin, Pending
from cpppod.protocols.cip.route_table import RoutePolicy
from cpppod.protocols.cip.target import Target
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask, controller, pending, resumed, words

ROUTER = epath.encode(epath.parse_connection_path("1/0/@2/1"))
OPEN = ForwardOpen(
    *(0, 0x1001, 7, 0x1009, 42, 2_000_000, 2_000_000),
    *(NetworkParameters(500), NetworkParameters(500), ROUTER),
)


class Peer:
    """Whose connections these are."""

    def __init__(self, address: str = "10.0.0.9") -> None:
        self.address = address


def opened(target: Target, asked: ForwardOpen = OPEN, **origin: Any) -> MessageRouterReply:
    return ask(target, asked.encode(), **origin)


def refused_with(reply: MessageRouterReply) -> int:
    """The Connection Manager's word for it."""
    assert reply.status == 0x01
    assert reply.data == struct.pack("<HHIBB", 7, 0x1009, 42, 0, 0)
    return reply.extended[0]


KEY = ElectronicKey(1, 14, 54, 20, 11)


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (KEY, 0),
        (ElectronicKey(0, 0, 0, 0, 0), 0),
        (replace(KEY, vendor=2), 0x0114),
        (replace(KEY, product_code=55), 0x0114),
        (replace(KEY, device_type=12), 0x0115),
        (replace(KEY, major=21), 0x0116),
        (replace(KEY, minor=12), 0x0116),
        (replace(KEY, minor=0), 0),
        (replace(KEY, major=0x80 | 20, minor=5), 0),
        (replace(KEY, major=0x80 | 20, minor=12), 0x0116),
        (replace(KEY, major=0x80 | 20, minor=0), 0x0116),
        (replace(KEY, major=0x80 | 19, minor=5), 0x0116),
    ],
)
def test_electronic_key_must_be_that_of_the_identity(key: ElectronicKey, word: int) -> None:
    reply = opened(controller(), replace(OPEN, connection_path=epath.encode([key]) + ROUTER))
    assert (refused_with(reply) if word else reply.status) == word


def test_key_behind_the_ports_is_the_next_ones_and_is_not_looked_at() -> None:
    ports, instance = ROUTER[:2], ROUTER[2:]
    key = epath.encode([ElectronicKey(99, 99, 99, 9, 9)])
    assert opened(controller(), replace(OPEN, connection_path=ports + key + instance)).status == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"transport": 0xA1}, 0x0103),
        ({"ot": NetworkParameters(500, kind=0)}, 0x0103),
        ({"to": NetworkParameters(500, kind=0)}, 0x0103),
        ({"ot": NetworkParameters(0, kind=0), "to": NetworkParameters(0, kind=0)}, 0x0132),
        ({"multiplier": 7}, 0),
        ({"multiplier": 8}, 0x0133),
        ({"multiplier": 9}, 0x0133),
        ({"multiplier": 255}, 0x0133),
        ({"to": NetworkParameters(500, kind=1)}, 0x0108),
        ({"ot": NetworkParameters(7)}, 0x0109),
        ({"to": NetworkParameters(7)}, 0x0109),
        ({"ot": NetworkParameters(8), "to": NetworkParameters(8)}, 0),
        ({"ot_rpi_us": 0}, 0x0111),
        ({"to_rpi_us": 0}, 0x0111),
        ({"connection_path": epath.encode(epath.parse_path("@4/100"))}, 0x0117),
        ({"connection_path": b""}, 0x0117),
    ],
)
def test_connection_that_cannot_be_is_refused_with_its_word(
    change: dict[str, Any], word: int
) -> None:
    reply = opened(controller(), replace(OPEN, **change))
    assert (refused_with(reply) if word else reply.status) == word


def test_path_of_more_hops_than_any_plant_has_is_a_segment_error() -> None:
    eight = epath.encode(epath.parse_connection_path("1/0/" * 8 + "@2/1"))
    nine = epath.encode(epath.parse_connection_path("1/0/" * 9 + "@2/1"))
    assert opened(controller(), replace(OPEN, connection_path=eight)).status == 0
    reply = opened(controller(), replace(OPEN, connection_path=nine))
    assert (reply.status, reply.extended) == (0x04, (0,))


def test_one_session_opens_so_many_and_reopens_its_own() -> None:
    target, peer = controller(), Peer()
    for serial in range(MAX_PER_SESSION):
        assert opened(target, replace(OPEN, connection_serial=serial), session=peer).status == 0
    one_more = replace(OPEN, connection_serial=MAX_PER_SESSION)
    assert opened(target, one_more, session=peer).extended == (0x0113,)
    assert opened(target, OPEN, session=peer).status == 0
    assert len(target.manager.connections) == MAX_PER_SESSION
    assert opened(target, one_more, session=Peer()).status == 0


def test_target_holds_so_many_connections_and_no_more() -> None:
    target = controller()
    for serial in range(MAX_CONNECTIONS):
        assert opened(target, replace(OPEN, connection_serial=serial), session=Peer()).status == 0
    one_more = replace(OPEN, connection_serial=MAX_CONNECTIONS)
    assert opened(target, one_more, session=Peer()).extended == (0x0113,)


def test_id_that_is_zero_or_taken_is_passed_over() -> None:
    ids = itertools.chain([5, 0, 5, 6], itertools.count(7))
    target = Target(random_u32=lambda: next(ids), clock_us=lambda: 0)
    first = opened(target)
    second = opened(target, replace(OPEN, connection_serial=8))
    assert (first.data[:4], second.data[:4]) == (b"\5\0\0\0", b"\6\0\0\0")


def test_only_the_address_that_opened_it_closes_a_connection() -> None:
    target, peer = controller(), Peer()
    close = ForwardClose(7, 0x1009, 42, ROUTER).encode()
    assert opened(target, session=peer).status == 0
    stranger = target.execute(close, Origin(target.image, "10.0.0.66"))
    assert isinstance(stranger, bytes)
    assert stranger[2] == 0x0F
    assert ask(target, close).data == struct.pack("<HHIBB", 7, 0x1009, 42, 0, 0)
    assert refused_with(ask(target, close)) == 0x0107


def test_close_that_is_cut_short_is_refused() -> None:
    close = ForwardClose(7, 0x1009, 42).encode_data()
    assert ask(controller(), request(0x4E, "@6/1", close[:-1])).status == 0x13


def test_session_that_ends_takes_its_connections_along() -> None:
    target, mine, theirs = controller(), Peer(), Peer()
    opened(target, session=mine)
    opened(target, replace(OPEN, connection_serial=8), session=theirs)
    target.manager.drop_session(mine)
    assert [item.session for item in target.manager.connections.values()] == [theirs]
    assert opened(target, session=theirs).status == 0


def test_triad_of_another_address_is_in_use_and_its_connection_stays() -> None:
    target, theirs = controller(), Peer("10.0.0.1")
    target.manager.forward_open(
        0x54, OPEN.encode_data(), Origin(target.image, "10.0.0.1", session=theirs), 0.0
    )
    stranger = opened(target, session=Peer())
    assert (stranger.service, refused_with(stranger)) == (0xD4, 0x0100)
    assert [item.session for item in target.manager.connections.values()] == [theirs]
    assert opened(target, replace(OPEN, connection_serial=8), session=Peer()).status == 0
    assert opened(target, replace(OPEN, connection_serial=8), session=Peer()).status == 0


def test_connection_dies_of_its_originators_silence_but_not_before_ten_seconds() -> None:
    target = controller()
    opened(target, replace(OPEN, ot_rpi_us=100_000, multiplier=0))
    assert target.manager.expire(9.9) == []
    (dead,) = target.manager.expire(10.0)
    assert dead.triad == OPEN.triad
    assert not target.manager.triads


def test_open_that_is_cut_short_is_refused() -> None:
    data = OPEN.encode_data()
    for cut in (1, len(ROUTER), len(ROUTER) + 1):
        assert ask(controller(), request(0x54, "@6/1", data[:-cut])).status == 0x13


ROUTED = replace(OPEN, connection_path=epath.encode(epath.parse_connection_path("1/3/@2/1")))


def forwarding() -> Target:
    return controller(policy=RoutePolicy(forwards=True))


def granted(found: Pending, **changes: Any) -> bytes:
    """What a device answers to the Forward Open that left."""
    assert isinstance(found.command, ForwardNeeded)
    sent = MessageRouterRequest.decode(found.command.request)
    asked = ForwardOpen.decode(sent.data, large=sent.service == 0x5B)
    ids = {"ot_id": 0x77, "ot_api_us": 1_000, "to_api_us": 2_000} | changes
    reply = ForwardOpenReply(
        ids["ot_id"], asked.to_id, *asked.triad, ids["ot_api_us"], ids["to_api_us"]
    )
    return MessageRouterReply(sent.service | 0x80, 0, (), reply.encode()).encode()


@pytest.mark.parametrize("large", [False, True])
def test_routed_connection_is_opened_by_the_device_behind_the_route(large: bool) -> None:
    target = forwarding()
    asked = replace(ROUTED, large=large)
    found = pending(target, asked.encode())
    assert isinstance(found.command, ForwardNeeded)
    command = found.command
    assert (command.route_path, command.carriage) == (b"\1\3", Carriage.OPEN)
    sent = MessageRouterRequest.decode(command.request)
    assert sent.service == (0x5B if large else 0x54)
    assert ForwardOpen.decode(sent.data, large=large) == replace(
        asked, connection_path=bytes.fromhex("20022401")
    )
    reply = resumed(found, granted(found))
    opened_as = ForwardOpenReply.decode(reply.data)
    (connection,) = target.manager.connections.values()
    assert (connection.route, connection.ot_id) == (b"\1\3", command.connection)
    assert (opened_as.ot_id, opened_as.to_id) == (connection.ot_id, asked.to_id)
    assert (opened_as.ot_api_us, opened_as.to_api_us) == (1_000, 2_000)
    assert connection.capacity == asked.to.size - 2


def test_key_for_the_device_behind_travels_on_and_ours_is_looked_at_here() -> None:
    theirs = epath.encode([ElectronicKey(99, 99, 99, 9, 9)])
    ports = epath.encode(epath.parse_route_path("1/3"))
    path = epath.encode([KEY]) + ports + theirs + bytes.fromhex("20022401")
    found = pending(forwarding(), replace(ROUTED, connection_path=path).encode())
    assert isinstance(found.command, ForwardNeeded)
    sent = ForwardOpen.decode(MessageRouterRequest.decode(found.command.request).data, large=False)
    assert sent.connection_path == theirs + bytes.fromhex("20022401")


def test_connection_that_ends_is_closed_at_the_device_too() -> None:
    target, session = forwarding(), Peer()
    left: list[ForwardNeeded] = []
    target.manager.leave = left.append
    ends: list[Callable[[], object]] = [
        lambda: ask(target, ForwardClose(*ROUTED.triad).encode(), session=session),
        lambda: target.manager.drop_session(session),
        lambda: target.manager.expire(1e9),
    ]
    for end in ends:
        found = pending(target, ROUTED.encode(), session=session)
        resumed(found, granted(found))
        end()
        assert isinstance(found.command, ForwardNeeded)
        closing = left.pop()
        assert (closing.carriage, closing.connection) == (
            Carriage.CLOSE,
            found.command.connection,
        )
        assert (closing.route_path, closing.source) == (b"\1\3", "10.0.0.9")
        assert not left


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("d4000101 0402", 0x01, (0x0204,)),
        ("d4000102 0901 f401", 0x01, (0x0109, 500)),
        ("db000800", 0x08, ()),
        ("d400", 0x01, (0x0204,)),
        ("", 0x01, (0x0204,)),
        ("d4000000 0102", 0x01, (0x0204,)),
    ],
)
def test_refusal_of_the_device_is_the_client_s_answer(
    answer: str, status: int, words: tuple[int, ...]
) -> None:
    target = forwarding()
    reply = resumed(pending(target, ROUTED.encode()), bytes.fromhex(answer))
    assert (reply.service, reply.status, reply.extended) == (0xD4, status, words)
    assert reply.data[:8] == bytes.fromhex("0700 0910 2a000000")
    assert not target.manager.connections


def test_routed_opens_that_wait_together_do_not_pass_the_limit_together() -> None:
    target, peer = forwarding(), Peer()
    waiting = [
        pending(target, replace(ROUTED, connection_serial=serial).encode(), session=peer)
        for serial in range(MAX_PER_SESSION + 1)
    ]
    left: list[ForwardNeeded] = []
    target.manager.leave = left.append
    replies = [resumed(found, granted(found)) for found in waiting]
    assert [reply.status for reply in replies] == [0] * MAX_PER_SESSION + [1]
    assert replies[-1].extended == (0x0113,)
    assert [each.carriage for each in left] == [Carriage.CLOSE]


def test_device_without_connections_says_service_not_supported() -> None:
    simple = replace(PERSONALITIES["simple"], connected=False)
    assert ask(controller(personality=simple), OPEN.encode()).status == 0x08


@pytest.mark.parametrize("service", [0x02, 0x05, 0x4C, 0x56])
def test_service_that_the_connection_manager_has_not_is_refused(service: int) -> None:
    assert ask(controller(), request(service, "@6/1")).status == 0x08


def test_counters_of_the_connection_manager_are_told() -> None:
    assert ask(controller(), request(0x0E, "@6/1/1")).data == words(0)
    assert ask(controller(), request(0x03, "@6/1", words(1, 2))).data == words(1, 2, 0, 0)
