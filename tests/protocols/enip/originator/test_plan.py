"""Reads that are repeated: the fast way gives what the slow one gives, or says that it cannot."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.operations import parse_operations
from cpppod.protocols.enip.originator.plan import PlanRun, ReadPlan
from cpppod.protocols.enip.originator.session import (
    Class3Connection,
    OriginatorSession,
    SessionViolated,
)
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
    assert lying.failure is not None
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


def test_reads_of_other_kinds_are_planned_too_and_bytes_come_as_lists() -> None:
    session = registered()
    plan = ReadPlan(
        [
            *parse_operations(["W.3", "T*2+2"]),
            {"method": "get_attribute_single", "path": "@1/1/7", "tag_type": 0xC3},
            {"method": "get_attribute_list", "path": "@1/1", "attributes": [1]},
            {"method": "get_attributes_all", "path": "@1/1"},
        ],
        Carrier(),
        {},
    )

    def respond(request: bytes) -> bytes:
        if request[0] == 0x0A:
            return batch_reply([respond(own) for own in unpacked(request)])
        data = {0x4C: b"\xc3\0\x08\0", 0x52: b"\xc3\0\x05\0"}.get(request[0], b"\1\2")
        return bytes((request[0] | 0x80, 0, 0, 0)) + data

    for _ in range(3):
        made = run(session, plan, respond)
        assert made.values[0] is True
        assert made.values[1:] == [[5], [513], [1, 2], [1, 2]]
        assert made.next_result() is None
        assert made.outcome == (made.sent, made.sent)
    assert len(plan.packets) == 1


def test_attributes_that_are_repeated_are_taken_out_at_once() -> None:
    session = registered()
    listed = {"method": "get_attribute_list", "path": "@1/1", "attributes": [1]}
    plan = ReadPlan([listed, {"path": [{"symbolic": "T"}]}], Carrier(), {})
    for value in (1, 2):

        def respond(request: bytes, value: int = value) -> bytes:
            if request[0] == 0x0A:
                return batch_reply([respond(own) for own in unpacked(request)])
            data = b"\xc3\0" + bytes((value, 0)) if request[0] == 0x4C else bytes((value, 9))
            return bytes((request[0] | 0x80, 0, 0, 0)) + data

        assert run(session, plan, respond).values == [[value, 9], value]
    assert plan.packets[0].layout is not None


def test_plan_travels_over_an_open_connection() -> None:
    session = registered()
    connection = Class3Connection(0xAAAA, 0xBBBB, 100, 100)
    session.opened(connection)
    made = PlanRun(session, ReadPlan([{"path": "T"}], Carrier(connection=connection), {}))
    made.issue(0.0)
    (frame,) = requests(session)
    assert frame.command == 0x70
    assert frame.data[22:] == bytes.fromhex("4c0291015400 0100")


def test_time_out_ends_a_plan_and_an_abandoned_one_is_over() -> None:
    session = registered()
    made = PlanRun(session, plan_of("T0", "T1"), timeout_s=5.0)
    made.issue(0.0)
    session.expire(5.0)
    answer = session.next_answer()
    assert answer is not None
    answer.owner.receive(answer)
    assert made.done
    assert made.failure is answer
    other = PlanRun(session, plan_of("T0", "T1"))
    other.issue(0.0)
    other.abandon()
    assert other.done


def test_plan_that_is_completed_alone_can_be_abandoned_meanwhile() -> None:
    session = registered()
    made = PlanRun(session, plan_of("A*3", "T0"))
    made.issue(0.0)
    (frame,) = requests(session)
    partly = batch_reply([b"\xcc\0\6\0\xc3\0\1\0", b"\xcc\0\0\0\xc3\0\7\0"])
    session.receive_data(rr_reply(frame, partly))
    answer = session.next_answer()
    assert answer is not None
    answer.owner.receive(answer)
    assert not made.done
    made.issue(0.0)
    made.abandon()
    assert made.done
    assert made.values == [None, 7]


def test_packet_refused_as_a_whole_gives_no_value_and_its_status_to_all() -> None:
    plan = plan_of("T0", "T1")
    made = run(registered(), plan, lambda _: b"\x8a\0\2\0")
    assert made.values == [None, None]
    assert plan.packets[0].outcomes == [(2, ()), (2, ())]


def test_a_plan_asks_alone_for_what_does_not_fit_its_packet_s_reply() -> None:
    session = registered()
    gets = [{"method": "get_attributes_all", "path": f"@1/{number}"} for number in (1, 2)]
    plan = ReadPlan(gets, Carrier(), {})
    packets = ["whole", "one"]

    def respond(request: bytes) -> bytes:
        if request[0] != 0x0A:
            return b"\x81\0\0\0" + bytes(300)
        if packets.pop(0) == "whole":
            return b"\x8a\0\x11\0"
        replies = batch_reply([b"\x81\0\0\0\5", b"\x81\0\x11\0"])
        return b"\x8a\0\x1e\0" + replies[4:]

    assert run(session, plan, respond).values == [[0] * 300] * 2
    assert run(session, plan, respond).values == [[5], [0] * 300]


PARTLY = batch_reply([b"\xcc\0\6\0\xc3\0\1\0", b"\xcc\0\0\0\xc3\0\7\0"])


def second_stage() -> tuple[OriginatorSession, PlanRun]:
    """A plan whose array did not fit, and is asked for again."""
    session = registered()
    made = PlanRun(session, plan_of("A*3", "T0"), timeout_s=5.0)
    made.issue(0.0)
    (frame,) = requests(session)
    session.receive_data(rr_reply(frame, PARTLY))
    take(session)
    made.issue(0.0)
    return session, made


def take(session: OriginatorSession) -> None:
    while (answer := session.next_answer()) is not None:
        answer.owner.receive(answer)


@pytest.mark.parametrize("closes", [True, False])
def test_a_second_stage_that_is_not_answered_fails_the_plan_without_another_issue(
    closes: bool,
) -> None:
    session, made = second_stage()
    if closes:
        session.close("the peer closed")
    else:
        session.expire(5.0)
    take(session)
    assert made.done
    assert made.failure is not None


def test_an_answer_to_the_second_stage_counts_also_where_nothing_is_issued_after_it() -> None:
    for reply, value, outcome in (
        (b"\xcc\0\0\0\xc3\0" + struct.pack("<3h", 1, 2, 3), [1, 2, 3], (0, ())),
        (b"\xcc\0\5\1\0\0", None, (5, (0,))),
    ):
        session, made = second_stage()
        (frame,) = requests(session)
        session.receive_data(rr_reply(frame, reply))
        take(session)
        assert made.next_result() is None
        assert made.values == [value, 7]
        assert made.plan.packets[0].outcomes == [outcome, (0, ())]
