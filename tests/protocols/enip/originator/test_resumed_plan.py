"""A plan's run that goes on over another connection."""

import struct

import pytest

from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.plan import BAD_REPLY, SILENT, PlanRun, ReadPlan
from cpppod.protocols.enip.originator.session import OriginatorSession, SessionViolated
from tests.protocols.enip.originator.scripted_target import (
    echoing,
    read_reply,
    requests,
    router_request,
    rr_reply,
)


def test_what_was_answered_is_not_asked_again_over_another_connection() -> None:
    first, second = echoing(), echoing()
    plan = ReadPlan([{"path": name} for name in ("A", "B", "C")], Carrier(), {}, multiple=0)
    run = PlanRun(first, plan, depth=2, timeout_s=1.0)
    run.issue(0.0)
    frame, lost = requests(first)
    first.receive_data(rr_reply(frame, read_reply(0x4C, struct.pack("<i", 1))))
    first.close("gone")
    while (answer := first.next_answer()) is not None:
        answer.owner.receive(answer)
    assert (run.done, run.replies, run.values) == (True, 1, [1, None, None])
    run.resume(second)
    asked = []
    for value in (2, 3):
        run.issue(0.0)
        (frame,) = requests(second)
        asked.append(router_request(frame))
        second.receive_data(rr_reply(frame, read_reply(0x4C, struct.pack("<i", value))))
        answer = second.next_answer()
        assert answer is not None
        answer.owner.receive(answer)
    assert asked[0] == router_request(lost)
    assert (run.done, run.replies, run.values) == (True, 3, [1, 2, 3])


LONG = struct.pack("<4i", 1, 2, 3, 4)


def deliver(session: OriginatorSession) -> None:
    while (answer := session.next_answer()) is not None:
        answer.owner.receive(answer)


def reply_to(session: OriginatorSession, run: PlanRun, *messages: bytes) -> list[bytes]:
    """Has the run send, answers its requests in turn by `messages`; the requests."""
    run.issue(0.0)
    frames = requests(session)
    for frame, message in zip(frames, messages, strict=False):
        session.receive_data(rr_reply(frame, message))
    deliver(session)
    return [router_request(frame) for frame in frames]


def test_a_long_read_goes_on_behind_what_came_over_another_connection() -> None:
    plan = ReadPlan([{"path": "A", "elements": 4}], Carrier(), {}, multiple=0)
    session = echoing()
    run = PlanRun(session, plan, timeout_s=1.0)
    asked: list[int] = []
    for _ in range(9):
        run.issue(0.0)
        for frame in requests(session):
            request = router_request(frame)
            offset = 0 if request[0] == 0x4C else struct.unpack_from("<I", request, 8)[0]
            asked.append(offset)
            status = 6 if offset < 12 else 0
            reply = read_reply(request[0], LONG[offset : offset + 4], status=status)
            session.receive_data(rr_reply(frame, reply))
            break  # and closes: what else was asked has no reply
        deliver(session)
        if run.done:
            break
        session.close("gone")
        deliver(session)
        session = echoing()
        run.resume(session)
    run.next_result()
    assert run.values == [[1, 2, 3, 4]]
    assert asked == [0, 0, 4, 8, 12]  # the second stage begins anew, once


def two(apart: bool) -> tuple[OriginatorSession, PlanRun]:
    plan = ReadPlan([{"path": "A", "elements": 4}, {"path": "B"}], Carrier(), {}, multiple=0)
    session = echoing()
    return session, PlanRun(session, plan, depth=2, timeout_s=1.0, apart=apart)


SEVEN = read_reply(0x4C, struct.pack("<i", 7))
LIES = {
    "too long": read_reply(0x4C, LONG + b"\0\0\0\0"),
    "no type": b"\xcc\0\0\0",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_reply_that_answers_nothing_costs_its_own_read_alone(lie: str) -> None:
    session, run = two(True)
    reply_to(session, run, LIES[lie], SEVEN)
    assert (run.done, run.failure, run.values) == (True, None, [None, 7])
    assert run.complaint
    assert [packet.outcomes for packet in run.plan.packets] == [[BAD_REPLY], [(0, ())]]


def test_elsewhere_it_ends_the_run() -> None:
    session, run = two(False)
    with pytest.raises(SessionViolated):
        reply_to(session, run, LIES["too long"], SEVEN)
    assert run.failure is not None


def test_a_packet_that_makes_no_sense_costs_those_in_it() -> None:
    plan = ReadPlan([{"path": "A"}, {"path": "B"}], Carrier(), {})
    session = echoing()
    run = PlanRun(session, plan, timeout_s=1.0, apart=True)
    reply_to(session, run, b"\x8a\0\0\0\1\0\4\0")
    assert plan.packets[0].outcomes == [BAD_REPLY, BAD_REPLY]
    assert (run.done, run.values) == (True, [None, None])


def test_a_lie_in_the_second_stage_costs_its_own_read_alone() -> None:
    session, run = two(True)
    reply_to(session, run, read_reply(0x4C, LONG[:4], status=6), SEVEN)
    reply_to(session, run, read_reply(0x4C, LONG + LONG))
    run.next_result()
    assert run.values == [None, 7]
    assert run.plan.packets[0].outcomes == [BAD_REPLY]


def test_silence_at_one_read_costs_that_one_where_others_are_answered() -> None:
    session, run = two(True)
    run.issue(0.0)
    _, second = requests(session)
    session.receive_data(rr_reply(second, SEVEN))
    session.expire(2.0)
    deliver(session)
    assert run.done and run.give_up()
    assert (run.done, run.values) == (True, [None, 7])
    assert run.plan.packets[0].outcomes == [SILENT]
    assert not run.give_up(), "nothing was answered since"


def test_silence_in_the_second_stage_costs_its_own_read() -> None:
    session, run = two(True)
    reply_to(session, run, read_reply(0x4C, LONG[:4], status=6), SEVEN)
    run.issue(0.0)
    session.expire(2.0)
    deliver(session)
    assert run.give_up()
    run.issue(0.0)
    run.next_result()
    assert run.plan.packets[0].outcomes == [SILENT]
    assert run.values == [None, 7]


def test_silence_of_all_and_that_of_who_is_known_by_order_are_none_of_one_read() -> None:
    session, run = two(True)
    run.issue(0.0)
    session.expire(2.0)
    deliver(session)
    assert not run.give_up()
    session, run = two(False)
    run.issue(0.0)
    first, _ = requests(session)
    session.receive_data(rr_reply(first, read_reply(0x4C, LONG)))
    session.expire(2.0)
    deliver(session)
    assert not run.give_up()


def test_an_attribute_of_the_second_stage_is_asked_anew_over_another_connection() -> None:
    attribute = [{"class": 1}, {"instance": 1}, {"attribute": 7}]
    operation = {"method": "get_attribute_single", "path": attribute, "tag_type": 0}
    plan = ReadPlan([operation, {"path": "B"}], Carrier(), {})
    session = echoing()
    run = PlanRun(session, plan, timeout_s=1.0)
    reply_to(session, run, b"\x8a\0\x11\0")
    run.issue(0.0)
    session.close("gone")
    deliver(session)
    session = echoing()
    run.resume(session)
    for _ in range(2):
        run.issue(0.0)
        for frame in requests(session):
            named = router_request(frame)[0] == 0x4C
            session.receive_data(rr_reply(frame, SEVEN if named else b"\x8e\0\0\0\1\2"))
        deliver(session)
    run.issue(0.0)
    run.next_result()
    assert run.values == [[1, 2], 7]


def test_reads_that_are_to_go_alone_share_no_packet() -> None:
    names = [{"path": name} for name in "ABCD"]
    plan = ReadPlan(names, Carrier(), {}, alone=[1])
    assert [len(packet.operations) for packet in plan.packets] == [1, 1, 2]
