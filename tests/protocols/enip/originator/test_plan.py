"""Reads that are repeated: the fast way gives what the slow one gives, or says that it cannot."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.operations import parse_operations
from cpppod.protocols.enip.originator.plan import PlanRun, ReadPlan
from cpppod.protocols.enip.originator.session import OriginatorSession, SessionViolated
from tests.protocols.enip.originator.scripted_target import (
    registered,
    requests,
    router_request,
    rr_reply,
)
from tests.protocols.enip.originator.test_exchange import batch_reply, unpacked

Respond = Callable[[bytes], bytes]
KINDS = [
    (b"\xc4\0", "i", [1, -2, 3]),
    (b"\xca\0", "f", [1.5, 0.0, -2.25]),
    (b"\xc1\0", "?", [True, False, True]),
    (b"\xc5\0", "q", [2**40, 0, -1]),
]


def run(session: OriginatorSession, plan: ReadPlan, respond: Respond, depth: int = 2) -> PlanRun:
    made = PlanRun(session, plan, depth=depth)
    for _ in range(100):
        made.issue(0.0)
        for frame in requests(session):
            session.receive_data(rr_reply(frame, respond(router_request(frame))))
        while (answer := session.next_answer()) is not None:
            answer.owner.receive(answer)
        if made.done:
            return made
    raise AssertionError("not over")


def plan_of(*texts: str) -> ReadPlan:
    return ReadPlan(list(parse_operations(texts)), Carrier(), {})


class Target:
    """Tags T0, T1 ... with types and values of the test's choice."""

    def __init__(self) -> None:
        self.replies: dict[bytes, bytes] = {}
        self.batches = 0

    def set(self, name: str, kind: bytes, data: bytes, *, status: int = 0) -> None:
        path = bytes((0x91, len(name))) + name.encode() + bytes(len(name) & 1)
        head = bytes((0xCC, 0, status, 0))
        self.replies[path] = head + kind + data

    def __call__(self, request: bytes) -> bytes:
        if request[0] == 0x0A:
            self.batches += 1
            replies = [self(own) for own in unpacked(request)]
            reply = batch_reply(replies)
            failed = any(own[2] for own in replies)
            return reply[:2] + (b"\x1e" if failed else b"\0") + reply[3:]
        path = request[2 : 2 + 2 * request[1]]
        return self.replies.get(path, b"\xcc\0\5\1\0\0")


@pytest.mark.parametrize(("kind", "letter", "values"), KINDS)
def test_repeated_reads_give_the_new_values(kind: bytes, letter: str, values: list[Any]) -> None:
    session, target, plan = registered(), Target(), plan_of("T0", "T1", "Nowhere")
    for value in values:
        target.set("T0", kind, struct.pack(f"<{letter}", value))
        target.set("T1", b"\xc3\0", b"\7\0")
        assert run(session, plan, target).values == [value, 7, None]
    assert plan.packets[0].layout is not None
    assert plan.packets[0].outcomes == [(0, ()), (0, ()), (5, (0,))]
    assert target.batches == 3


def test_a_type_that_changes_is_seen() -> None:
    session, target, plan = registered(), Target(), plan_of("T0", "T1")
    target.set("T0", b"\xc4\0", struct.pack("<i", 1))
    target.set("T1", b"\xc4\0", struct.pack("<i", 2))
    assert run(session, plan, target).values == [1, 2]
    target.set("T0", b"\xca\0", struct.pack("<f", 1.5))
    assert run(session, plan, target).values == [1.5, 2]
    assert plan.packets[0].types[0] == (0xCA, 0)


def test_a_tag_that_begins_to_fail_is_none_and_comes_back() -> None:
    session, target, plan = registered(), Target(), plan_of("T0", "T1")
    target.set("T0", b"\xc4\0", struct.pack("<i", 1))
    target.set("T1", b"\xc4\0", struct.pack("<i", 2))
    run(session, plan, target)
    good = target.replies.copy()
    target.set("T1", b"", b"", status=0x13)
    assert run(session, plan, target).values == [1, None]
    assert plan.packets[0].outcomes[1][0] == 0x13
    target.replies = good
    assert run(session, plan, target).values == [1, 2]
    assert plan.packets[0].outcomes[1] == (0, ())


def test_ranges_are_lists() -> None:
    session, target, plan = registered(), Target(), plan_of("A*3", "T0")
    for first in (1, 5):
        target.set("A", b"\xc3\0", struct.pack("<3h", first, 2, 3))
        target.set("T0", b"\xc3\0", b"\7\0")
        assert run(session, plan, target).values == [[first, 2, 3], 7]


def test_what_does_not_fit_is_completed_alone() -> None:
    session, plan = registered(), plan_of("A*3", "T0")
    data = struct.pack("<3h", 1, 2, 3)

    def respond(request: bytes) -> bytes:
        if request[0] == 0x0A:
            return batch_reply([b"\xcc\0\6\0\xc3\0" + data[:2], b"\xcc\0\0\0\xc3\0\7\0"])
        return bytes((request[0] | 0x80, 0, 0, 0)) + b"\xc3\0" + data

    for _ in range(2):
        assert run(session, plan, respond).values == [[1, 2, 3], 7]


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_lie_gives_no_value_the_first_time_and_later(rounds: int) -> None:
    session, target, plan = registered(), Target(), plan_of("T0", "T1")
    target.set("T0", b"\xc4\0", struct.pack("<i", 1))
    target.set("T1", b"\xc4\0", struct.pack("<i", 2))
    for _ in range(rounds):
        run(session, plan, target)
    lying = PlanRun(session, plan)
    lying.issue(0.0)
    (frame,) = requests(session)
    target.set("T0", b"\xc4\0", struct.pack("<ii", 1, 2))
    session.receive_data(rr_reply(frame, target(router_request(frame))))
    answer = session.next_answer()
    assert answer is not None
    with pytest.raises(SessionViolated):
        answer.owner.receive(answer)
    assert lying.trouble is not None
    assert lying.values == [None, None]


def test_packets_are_filled_and_no_larger_than_the_lane_allows() -> None:
    plan = plan_of(*(f"Tag{number}" for number in range(200)))
    sizes = [len(packet.request) for packet in plan.packets]
    assert max(sizes) <= 504
    assert len(sizes) < 10
    assert sum(len(packet.operations) for packet in plan.packets) == 200


def test_a_target_without_packets_is_read_one_by_one() -> None:
    session, target, plan = registered(), Target(), plan_of("T0", "T1")
    target.set("T0", b"\xc4\0", struct.pack("<i", 1))
    target.set("T1", b"\xc4\0", struct.pack("<i", 2))

    def respond(request: bytes) -> bytes:
        return b"\x8a\0\x08\0" if request[0] == 0x0A else target(request)

    done = run(session, plan, respond)
    assert done.values == [1, 2]
    assert done.refuses_batches
    assert run(session, plan.unbatched(), respond).values == [1, 2]


def test_a_packet_that_is_refused_whole_fails_all_of_it() -> None:
    session, plan = registered(), plan_of("T0", "T1")
    done = run(session, plan, lambda request: b"\x8a\0\x07\0")
    assert done.values == [None, None]
    assert plan.packets[0].outcomes == [(7, ()), (7, ())]
    assert not done.refuses_batches
