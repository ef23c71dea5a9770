"""The router's decisions: where requests go, what is refused, what nobody answers in time."""

from dataclasses import replace
from typing import Any

import pytest

from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup, sizes_of
from cpppod.protocols.bus.messages import (
    RouteReplies,
    RouteRequests,
    WriteReply,
    WriteRequest,
    decode,
)
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.route_table import RouteDecision, RoutePolicy, RouteTable, links
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Route, Worker
from cpppod.workers.router import forwarding
from cpppod.workers.router.role import Forwarding, ways_of
from tests.enip_frames import forward_open, packet, read, write

SECOND = 1_000_000
DEVICES = (Device("press", "enip", "x:1"), Device("meter", "modbus-rtu", "hall"))


OK = b"\xcc\0\0\0"
ASKER = b"listener-main"
GRACE_US = 50_000


class Bus:
    """The router's socket: what it sent, group by group, and who is away."""

    def __init__(self, *routes: Route) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.messages = 0
        self.away: set[bytes] = set()
        self.now_us = 0
        self.forwarding = Forwarding(self.send)
        self.configure(*routes)

    def configure(self, *routes: Route) -> None:
        worker = Worker("router", "router", "", "", "", devices=DEVICES, routes=routes)
        owners = {"press": "poller-press", "meter": "serial-hall"}
        self.forwarding.configure(ways_of(worker), owners)

    def send(self, identity: bytes, frame: bytes) -> bool:
        if identity in self.away:
            return False
        self.messages += 1
        message = decode(frame)
        if isinstance(message, RouteRequests):
            self.sent += [(identity, RouteGroup.decode(each)) for each in message.groups]
        elif isinstance(message, RouteReplies):
            self.sent += [(identity, ReplyGroup.decode(each)) for each in message.groups]
        else:
            self.sent.append((identity, message))
        return True

    def ask(
        self,
        path: str,
        *messages: bytes,
        asker: bytes = ASKER,
        flush: bool = True,
        **changes: Any,
    ) -> None:
        """Several requests are one group."""
        bodies = messages or (read("X"),)
        route_path = epath.encode(epath.parse_route_path(path))
        fields: dict[str, Any] = {"id": 7, "source": "10.0.0.1", "deadline_us": SECOND}
        asked = RouteGroup(
            **(fields | changes),
            priority_tick=5,
            timeout_ticks=157,
            route_path=route_path,
            sizes=sizes_of(bodies),
            bodies=b"".join(bodies),
        )
        self.forwarding.receive(asker, RouteRequests([asked.plain]).encode(), self.now_us)
        if flush:
            self.flush()

    def answer(
        self, owner: bytes, number: int, first: int, *replies: bytes, credit: int = 0
    ) -> None:
        group = ReplyGroup.of(number, first, replies, credit)
        self.forwarding.receive(owner, RouteReplies([group.plain]).encode(), self.now_us)
        self.flush()

    def flush(self) -> None:
        self.forwarding.flush(self.now_us)

    def expire(self, now_us: int) -> None:
        self.now_us = now_us
        self.forwarding.expire(now_us)
        self.flush()

    def pop(self) -> list[tuple[bytes, Any]]:
        sent, self.sent = self.sent, []
        return sent

    def write(self, device: str) -> None:
        asked = WriteRequest(3, device, "10.0.0.1", SECOND, [["setpoint", 0, [1.5]]])
        self.forwarding.receive(b"listener-main", asked.encode(), 0)
        self.flush()

    @property
    def refusal(self) -> MessageRouterReply:
        identity, reply = self.sent.pop()
        assert identity == b"listener-main"
        assert isinstance(reply, ReplyGroup)
        assert (reply.id, reply.first, reply.count) == (7, 0, 1)
        return MessageRouterReply.decode(reply.bodies)


PRESS = Route("1/1", "press")


def test_groups_and_replies_of_one_turn_leave_together_with_their_bodies_untouched() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1", read("X"), read("Yy"), flush=False)
    bus.ask("1/1", read("Z"), asker=b"listener-two", flush=False)
    bus.flush()
    (owner, one), (_, two) = bus.pop()
    assert (owner, bus.messages) == (b"poller-press", 1)
    assert (one.split(), two.split()) == ([read("X"), read("Yy")], [read("Z")])
    assert (one.target, one.route_path) == ("press", b"")
    bus.answer(owner, one.id, 0, OK, b"\xcc\0\0\0\xc4\0", credit=6)
    bus.answer(owner, two.id, 0, OK)
    assert bus.pop() == [
        (ASKER, ReplyGroup.of(7, 0, [OK, b"\xcc\0\0\0\xc4\0"], 3)),  # two askers share it
        (b"listener-two", ReplyGroup.of(7, 0, [OK])),
    ]


def test_replies_come_in_any_order_and_none_twice() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1", *[read("X")] * 5)
    ((owner, onward),) = bus.pop()
    bus.answer(owner, onward.id, 3, b"\xcc\0\0\3", b"\xcc\0\0\4")
    bus.answer(owner, onward.id, 2, b"\xcc\0\0\2", b"\xcc\0\0\xff")
    bus.answer(owner, onward.id, 4, OK, OK)  # beyond the group
    bus.answer(owner, onward.id, 0, b"\xcc\0\0\0", b"\xcc\0\0\1")
    bus.answer(owner, onward.id, 0, b"\xcc\0\0\xff")
    bus.answer(owner, 99, 0, OK)
    assert bus.pop() == [
        (ASKER, ReplyGroup.of(7, 3, [b"\xcc\0\0\3", b"\xcc\0\0\4"])),
        (ASKER, ReplyGroup.of(7, 2, [b"\xcc\0\0\2"])),
        (ASKER, ReplyGroup.of(7, 0, [b"\xcc\0\0\0", b"\xcc\0\0\1"])),
    ]
    assert bus.forwarding.groups.late == 5
    assert bus.forwarding.ways[0].outstanding == 0


def test_each_of_several_requests_to_an_owner_who_is_away_is_refused_once() -> None:
    bus = Bus(PRESS)
    bus.away.add(b"poller-press")
    bus.ask("1/1", read("X"), read("Y"))
    ((_, refusals),) = bus.pop()
    assert (refusals.first, refusals.count) == (0, 2)
    assert {MessageRouterReply.decode(each).extended for each in refusals.split()} == {(0x0312,)}
    assert bus.forwarding.ways[0].outstanding == 0
    bus.expire(2 * SECOND)
    assert not bus.sent


def test_routed_request_loses_its_first_segment_and_its_reply_finds_its_asker() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1/2/10.0.0.5")
    owner, onward = bus.sent.pop()
    assert (owner, onward.target) == (b"poller-press", "press")
    assert onward.route_path == epath.encode(epath.parse_route_path("2/10.0.0.5"))
    assert onward.split() == [read("X")]
    bus.answer(owner, onward.id, 0, OK)
    assert bus.sent.pop() == (ASKER, ReplyGroup.of(7, 0, [OK]))


METER = Route("1/2", "meter", relayed=False)


def test_request_to_a_device_that_relays_no_cip_is_the_asking_listener_s_to_answer() -> None:
    bus = Bus(METER)
    bus.ask("1/2")
    asker, onward = bus.sent.pop()
    assert (asker, onward.target, onward.route_path) == (b"listener-main", "meter", b"")
    way = bus.forwarding.ways[0]
    assert (way.taken, way.outstanding) == (1, 1)
    bus.now_us = 500
    bus.answer(asker, onward.id, 0, OK)
    assert bus.sent.pop() == (ASKER, ReplyGroup.of(7, 0, [OK]))
    assert (way.outstanding, way.answered, way.micro_s) == (0, 1, 500)


@pytest.mark.parametrize(
    ("settings", "message", "status"),
    [
        ({"read_only": True}, write("level", 0xC4, bytes(4)), 0x0F),
        ({"classes": (0x6C,)}, read("level"), 0x0F),
        ({"sources": ("192.168.0.0/16",)}, read("level"), 0x0F),
    ],
)
def test_route_that_the_listener_answers_keeps_its_rights(
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
    bus.ask("1/9", b"\7\0" + read("X"), carriage=1)
    assert bus.refusal.service == 0xCC


def test_rights_look_at_what_travels_on_a_connection_and_not_at_its_opening() -> None:
    bus = Bus(Route("1/1", "press", read_only=True))
    opening = forward_open()
    bus.ask("1/1", opening, carriage=2, connection=5)
    bus.ask("1/1", b"\1\0" + read("X"), b"\2\0" + write("X", 0xC4, bytes(4)), carriage=1)
    bus.ask("1/1", bytes(2), carriage=3, connection=5)
    sent = bus.pop()
    onward = [each for to, each in sent if to == b"poller-press"]
    assert [(each.carriage, each.split()) for each in onward] == [
        (2, [opening]),
        (1, [b"\1\0" + read("X")]),
        (3, [bytes(2)]),
    ]
    assert [each.split() for to, each in sent if to == ASKER] == [[b"\xcd\0\x0f\0"]]


def test_requests_without_an_answer_time_out_and_late_ones_are_dropped() -> None:
    bus = Bus(PRESS)
    bus.ask("1/1", read("X"), read("Y"), read("Z"))
    owner, onward = bus.sent.pop()
    bus.answer(owner, onward.id, 1, OK)
    bus.pop()
    bus.expire(SECOND + GRACE_US - 1)
    assert not bus.sent
    bus.expire(SECOND + GRACE_US)
    timed_out = bus.pop()
    assert [(each.first, each.count) for _, each in timed_out] == [(0, 1), (2, 1)]
    assert MessageRouterReply.decode(timed_out[0][1].bodies).extended == (0x0204,)
    bus.answer(owner, onward.id, 0, OK, OK, OK)
    assert not bus.sent
    assert bus.forwarding.groups.late == 3
    way = bus.forwarding.ways[0]
    assert (way.outstanding, way.answered, way.failures["timed out"]) == (0, 3, 2)


def test_owner_that_is_away_is_a_bad_link() -> None:
    bus = Bus(PRESS)
    bus.away.add(b"poller-press")
    bus.ask("1/1")
    assert bus.refusal.extended == (0x0312,)


def test_requests_beyond_a_route_s_limit_wait_their_turn() -> None:
    bus = Bus(Route("1/1", "press", limit=2))
    bus.ask("1/1", read("A"), read("B"), read("C"))
    bus.ask("1/1", read("D"), id=8)
    ((owner, first),) = bus.pop()
    assert first.split() == [read("A"), read("B")]
    bus.answer(owner, first.id, 0, OK, credit=96)
    (_, reply), (_, second) = sorted(bus.pop(), key=lambda each: each[0])
    assert (reply.credit, second.split()) == (2, [read("C")])
    bus.answer(owner, first.id, 1, OK)
    bus.answer(owner, second.id, 0, OK)
    onward = [each for to, each in bus.pop() if to == owner]
    assert [each.split() for each in onward] == [[read("D")]]
    assert bus.forwarding.ways[0].outstanding == 1
    assert bus.forwarding.ways[0].waits == 0


def test_request_whose_time_runs_out_while_it_waits_is_refused_for_want_of_room() -> None:
    bus = Bus(Route("1/1", "press", limit=1))
    bus.ask("1/1", deadline_us=3 * SECOND)
    bus.ask("1/1", id=7, deadline_us=SECOND)
    bus.ask("1/1", id=8, deadline_us=2 * SECOND)
    bus.pop()
    bus.expire(SECOND - 1)
    assert not bus.sent
    bus.expire(SECOND)
    assert bus.refusal.extended == (0x0301,)
    assert bus.forwarding.ways[0].waits == 1


def test_waiting_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "MAX_WAITING", 2)
    bus = Bus(Route("1/1", "press", limit=1))
    for _ in range(4):
        bus.ask("1/1")
    assert bus.refusal.extended == (0x0301,)


def test_requests_that_wait_for_a_route_that_is_withdrawn_are_refused() -> None:
    bus = Bus(Route("1/1", "press", limit=1))
    bus.ask("1/1", id=6)
    bus.ask("1/1")
    ((owner, onward),) = bus.pop()
    bus.configure()
    bus.flush()
    assert bus.refusal.extended == (0x0312,)
    bus.pop()
    bus.answer(owner, onward.id, 0, OK)  # what was out is still answered
    assert bus.pop() == [(ASKER, ReplyGroup.of(6, 0, [OK]))]
    bus.ask("1/1")
    assert bus.refusal.extended == (0x0311,)


def test_group_of_which_a_route_allows_some_travels_without_the_others() -> None:
    bus = Bus(Route("1/1", "press", read_only=True))
    forbidden = write("X", 0xC4, bytes(4))
    bus.ask("1/1", read("A"), forbidden, read("B"), read("C"), forbidden)
    sent = bus.pop()
    onward = [each for to, each in sent if to == b"poller-press"]
    assert [each.split() for each in onward] == [[read("A")], [read("B"), read("C")]]
    refused = [each for to, each in sent if to == ASKER]
    assert [(each.first, each.split()) for each in refused] == [
        (1, [b"\xcd\0\x0f\0"]),
        (4, [b"\xcd\0\x0f\0"]),
    ]
    bus.answer(b"poller-press", onward[1].id, 0, OK, OK)
    assert bus.pop() == [(ASKER, ReplyGroup.of(7, 2, [OK, OK]))]
    assert bus.forwarding.ways[0].failures["refused"] == 2


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
    assert bus.sent.pop() == (
        b"listener-main",
        WriteReply(3, topic=b"meter/power/", payload=b"block"),
    )


def test_write_without_an_answer_has_an_unknown_outcome() -> None:
    bus = Bus()
    bus.write("meter")
    bus.sent.clear()
    bus.expire(SECOND)
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
    bus.configure(PRESS, Route("1/2", "press"))
    bus.answer(owner, onward.id, 0, OK)
    assert bus.sent.pop()[0] == b"listener-main"
    assert [(way.route.path, way.taken) for way in bus.forwarding.ways] == [("1/1", 1), ("1/2", 0)]


def test_request_that_goes_round_in_a_circle_is_refused_at_once_and_the_route_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = Bus(PRESS)
    bus.ask("1/1", hops=7)
    assert bus.sent.pop()[1].hops == 7
    with caplog.at_level("WARNING", "cpppod"):
        for _ in range(2):
            bus.ask("1/1", hops=8)
            assert bus.refusal.extended == (0x0312,)
    assert len(caplog.records) == 1, "once"
    assert "path=1/1 device=press source=10.0.0.1" in caplog.text
    assert bus.forwarding.ways[0].failures["loop"] == 2


def test_bytes_that_are_no_message_are_counted() -> None:
    bus = Bus()
    for frame in (b"\xc1", RouteRequests([[1]]).encode(), RouteReplies(["x"]).encode()):
        bus.forwarding.receive(b"x", frame, 0)
    assert bus.forwarding.malformed == 3


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
