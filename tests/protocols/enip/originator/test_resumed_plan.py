"""A plan's run that goes on over another connection."""

import struct

from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.plan import PlanRun, ReadPlan
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
