"""The router's decisions: where requests go, what is refused, what nobody answers in time."""

from dataclasses import replace
from typing import Any

import pytest

from cpppod.protocols.bus.messages import (
    Batch,
    RouteReply,
    RouteRequest,
    WriteReply,
    WriteRequest,
    decode,
    decode_all,
)
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.route_table import RouteDecision, RoutePolicy, RouteTable, links
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Route, Worker
from cpppod.workers.router.role import Forwarding, ways_of
from tests.enip_frames import packet, read, write

SECOND = 1_000_000
DEVICES = (Device("press", "enip", "x:1"), Device("meter", "modbus-rtu", "hall"))


class Bus:
    """The router's socket: what it sent, and who is away."""

    def __init__(self, *routes: Route) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.away: set[bytes] = set()
        self.forwarding = Forwarding(self.send)
        worker = Worker("router", "router", "", "", "", devices=DEVICES, routes=routes)
        owners = {"press": "poller-press", "meter": "serial-hall"}
        self.forwarding.configure(ways_of(worker), owners)

    def send(self, identity: bytes, frame: bytes) -> bool:
        if identity in self.away:
            return False
        self.sent.append((identity, decode(frame)))
        return True

    def ask(self, path: str, message: bytes = b"", **changes: Any) -> None:
        route_path = epath.encode(epath.parse_route_path(path))
        fields: dict[str, Any] = {"id": 7, "source": "10.0.0.1", "deadline_us": SECOND}
        asked = RouteRequest(
            **(fields | changes),
            priority_tick=5,
            timeout_ticks=157,
            route_path=route_path,
            request=message or read("X"),
        )
        self.forwarding.receive(b"listener-main", asked.encode(), 0)
        self.forwarding.flush()

    def write(self, device: str) -> None:
        asked = WriteRequest(3, device, "10.0.0.1", SECOND, [["setpoint", 0, [1.5]]])
        self.forwarding.receive(b"listener-main", asked.encode(), 0)
        self.forwarding.flush()

    @property
    def refusal(self) -> MessageRouterReply:
        identity, reply = self.sent.pop()
        assert identity == b"listener-main"
        assert isinstance(reply, RouteReply)
        assert reply.id == 7
        return MessageRouterReply.decode(reply.reply)


PRESS = Route("1/1", "press")


def test_requests_and_replies_of_one_turn_leave_together_and_keep_their_order() -> None:
    bus = Bus(PRESS)
    route_path = epath.encode(epath.parse_route_path("1/1"))
    asked = [
        RouteRequest(number, "10.0.0.1", SECOND, 5, 157, route_path, read("X")).encode()
        for number in range(3)
    ]
    bus.forwarding.receive(b"listener-main", Batch(asked[:2]).encode(), 0)
    bus.forwarding.receive(b"listener-two", asked[2], 0)
    bus.forwarding.flush()
    ((owner, batch),) = bus.sent
    bus.sent.clear()
    onward = decode_all(batch.encode())
    assert owner == b"poller-press"
    replies = [RouteReply(each.id, bytes((0xCC, 0, 0, 0))) for each in onward]  # type: ignore[attr-defined]
    bus.forwarding.receive(owner, Batch([each.encode() for each in replies]).encode(), 500)
    bus.forwarding.flush()
    (first, both), (second, single) = bus.sent
    assert (first, second) == (b"listener-main", b"listener-two")
    assert decode_all(both.encode()) == [RouteReply(number, replies[0].reply) for number in (0, 1)]
    assert single == RouteReply(2, replies[0].reply)


def test_each_of_several_requests_to_an_owner_who_is_away_is_refused() -> None:
    bus = Bus(PRESS)
    bus.away.add(b"poller-press")
    route_path = epath.encode(epath.parse_route_path("1/1"))
    asked = [
        RouteRequest(number, "10.0.0.1", SECOND, 5, 157, route_path, read("X")).encode()
        for number in range(2)
    ]
    bus.forwarding.receive(b"listener-main", Batch(asked).encode(), 0)
    bus.forwarding.flush()
    ((_, refusals),) = bus.sent
    found = decode_all(refusals.encode())
    assert [each.id for each in found if isinstance(each, RouteReply)] == [0, 1]
    assert bus.forwarding.ways[0].outstanding == 0
    bus.sent.clear()
    bus.forwarding.expire(2 * SECOND)
    bus.forwarding.flush()
    assert not bus.sent


def test_routed_request_loses_its_first_segment_and_its_reply_finds_its_asker() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1/2/10.0.0.5")
    owner, onward = bus.sent.pop()
    assert (owner, onward.target) == (b"poller-press", "press")
    assert onward.route_path == epath.encode(epath.parse_route_path("2/10.0.0.5"))
    assert onward.request == read("X")
    bus.forwarding.receive(owner, RouteReply(onward.id, b"\xcc\0\0\0").encode(), 500)
    bus.forwarding.flush()
    assert bus.sent.pop() == (b"listener-main", RouteReply(7, b"\xcc\0\0\0"))


METER = Route("1/2", "meter", relayed=False)


def test_request_to_a_device_that_relays_no_cip_is_the_asking_listener_s_to_answer() -> None:
    bus = Bus(METER)
    bus.ask("1/2")
    asker, onward = bus.sent.pop()
    assert (asker, onward.target, onward.route_path) == (b"listener-main", "meter", b"")
    way = bus.forwarding.ways[0]
    assert (way.taken, way.outstanding) == (1, 1)
    bus.forwarding.receive(asker, RouteReply(onward.id, b"\xcc\0\0\0").encode(), 500)
    bus.forwarding.flush()
    assert bus.sent.pop() == (b"listener-main", RouteReply(7, b"\xcc\0\0\0"))
    assert (way.outstanding, way.answered, way.micro_s) == (0, 1, 500)


@pytest.mark.parametrize(
    ("settings", "message", "status"),
    [
        ({"read_only": True}, write("level", 0xC4, bytes(4)), 0x0F),
        ({"classes": (0x6C,)}, read("level"), 0x0F),
        ({"sources": ("192.168.0.0/16",)}, read("level"), 0x0F),
        ({"limit": 0}, read("level"), 0x01),
    ],
)
def test_route_that_the_listener_answers_keeps_its_rights_and_its_limit(
    settings: dict[str, Any], message: bytes, status: int
) -> None:
    bus = Bus(replace(METER, **settings))
    bus.ask("1/2", message)
    assert bus.refusal.status == status


@pytest.mark.parametrize(("path", "extended"), [("2/1", 0x0311), ("1/9", 0x0312)])
def test_path_that_no_route_has_is_refused_by_the_connection_manager(
    path: str, extended: int
) -> None:
    bus = Bus(PRESS)
    bus.ask(path)
    refusal = bus.refusal
    assert (refusal.service, refusal.status, refusal.extended) == (0xD2, 0x01, (extended,))
    assert refusal.data == b"\x01\x00"


def test_refusal_on_a_class_3_connection_has_the_request_s_own_service() -> None:
    bus = Bus(PRESS)
    bus.ask("1/9", connection=1)
    assert bus.refusal.service == 0xCC


def test_request_without_an_answer_times_out_and_a_late_one_is_dropped() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1")
    owner, onward = bus.sent.pop()
    bus.forwarding.expire(SECOND - 1)
    bus.forwarding.flush()
    assert not bus.sent
    bus.forwarding.expire(SECOND)
    bus.forwarding.flush()
    assert bus.refusal.extended == (0x0204,)
    bus.forwarding.receive(owner, RouteReply(onward.id, b"late").encode(), SECOND + 1)
    bus.forwarding.flush()
    assert not bus.sent
    assert bus.forwarding.late == 1


def test_owner_that_is_away_is_a_bad_link() -> None:
    bus = Bus(PRESS)
    bus.away.add(b"poller-press")
    bus.ask("1/1")
    assert bus.refusal.extended == (0x0312,)


def test_requests_beyond_a_route_s_limit_are_refused() -> None:
    bus = Bus(Route("1/1", "press", limit=2))
    for _ in range(3):
        bus.ask("1/1")
    assert bus.refusal.extended == (0x0301,)


@pytest.mark.parametrize(
    ("route", "message", "passes"),
    [
        (Route("1/1", "press", read_only=True), read("X"), True),
        (Route("1/1", "press", read_only=True), write("X", 0xC4, bytes(4)), False),
        (Route("1/1", "press", read_only=True), packet([read("X"), read("Y")]), True),
        (
            Route("1/1", "press", read_only=True),
            packet([read("X"), write("X", 0xC4, bytes(4))]),
            False,
        ),
        (Route("1/1", "press", classes=(1,)), b"\x0e\x03\x20\x01\x24\x01\x30\x01", True),
        (Route("1/1", "press", classes=(1,)), read("X"), False),
        (Route("1/1", "press", classes=(0x6B,)), read("X"), True),
        (Route("1/1", "press", sources=("10.0.0.0/24",)), read("X"), True),
        (Route("1/1", "press", sources=("192.168.0.0/16",)), read("X"), False),
        (Route("1/1", "press", read_only=True), b"\x4c\xff", False),
    ],
)
def test_route_lets_pass_what_it_allows_and_nothing_else(
    route: Route, message: bytes, passes: bool
) -> None:
    bus = Bus(route)
    bus.ask("1/1", message)
    if passes:
        assert bus.sent.pop()[0] == b"poller-press"
    else:
        assert bus.refusal.status == 0x0F


def test_write_goes_to_the_device_s_owner_and_its_reply_back() -> None:
    bus = Bus()
    bus.write("meter")
    owner, onward = bus.sent.pop()
    assert owner == b"serial-hall"
    reply = WriteReply(onward.id, topic=b"meter/power/", payload=b"block")
    bus.forwarding.receive(owner, reply.encode(), 10)
    bus.forwarding.flush()
    assert bus.sent.pop() == (
        b"listener-main",
        WriteReply(3, topic=b"meter/power/", payload=b"block"),
    )


def test_write_without_an_answer_has_an_unknown_outcome() -> None:
    bus = Bus()
    bus.write("meter")
    bus.sent.clear()
    bus.forwarding.expire(SECOND)
    bus.forwarding.flush()
    ((_, reply),) = bus.sent
    assert reply.unknown
    assert (reply.status, reply.extended) == (0x01, [0x0204])


def test_write_to_a_device_of_nobody_is_refused_at_once() -> None:
    bus = Bus()
    bus.write("nothing")
    ((_, reply),) = bus.sent
    assert not reply.unknown
    assert reply.extended == [0x0312]


def test_reload_keeps_what_is_out_and_the_route_s_counts() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1")
    owner, onward = bus.sent.pop()
    worker = Worker(
        "r", "router", "", "", "", devices=DEVICES, routes=(PRESS, Route("1/2", "press"))
    )
    bus.forwarding.configure(ways_of(worker), {"press": "poller-press"})
    bus.forwarding.receive(owner, RouteReply(onward.id, b"\xcc\0\0\0").encode(), 5)
    bus.forwarding.flush()
    assert bus.sent.pop()[0] == b"listener-main"
    assert [(way.route.path, way.taken) for way in bus.forwarding.ways] == [("1/1", 1), ("1/2", 0)]


def test_bytes_that_are_no_message_are_counted() -> None:
    bus = Bus()
    bus.forwarding.receive(b"x", b"\xc1", 0)
    bus.forwarding.flush()
    assert bus.forwarding.malformed == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("1/1", [(1, "1")]),
        ("1/2-4", [(1, "2"), (1, "3"), (1, "4")]),
        ("2/10.0.0.5", [(2, "10.0.0.5")]),
    ],
)
def test_pattern_stands_for_links(pattern: str, expected: list[tuple[int, str]]) -> None:
    assert links(pattern) == expected


@pytest.mark.parametrize("pattern", ["1", "0/1", "1/256", "1/5-2", "a/1", "1/", ""])
def test_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(EncodeError):
        RouteTable({pattern: 0})


@pytest.mark.parametrize(
    ("policy", "path", "way"),
    [
        (RoutePolicy(), "1/7", RouteDecision.LOCAL),
        (RoutePolicy(), "", RouteDecision.LOCAL),
        (RoutePolicy(forwards=True), "1/0", RouteDecision.LOCAL),
        (RoutePolicy(forwards=True), "1/7", RouteDecision.FORWARD),
        (
            RoutePolicy(epath.parse_route_path("1/3/2/1.2.3.4")),
            "1/3/2/1.2.3.4",
            RouteDecision.LOCAL,
        ),
        (RoutePolicy(epath.parse_route_path("1/3/2/1.2.3.4")), "1/3", None),
        (RoutePolicy(epath.parse_route_path("1/0")), "", RouteDecision.LOCAL),
        (RoutePolicy(simple=True), "1/0", None),
        (RoutePolicy(simple=True), "", RouteDecision.LOCAL),
    ],
)
def test_policy_decides_what_is_served_here(
    policy: RoutePolicy, path: str, way: RouteDecision | None
) -> None:
    ports = epath.parse_route_path(path)
    if way is not None:
        assert policy.decide(ports) is way
        return
    with pytest.raises(CipError):
        policy.decide(ports)


def test_route_to_a_device_that_is_not_there_is_a_problem_of_the_settings() -> None:
    worker = Worker("r", "router", "", "", "", routes=(Route("1/1", "nobody"),))
    with pytest.raises(EncodeError, match="nobody"):
        ways_of(worker)
