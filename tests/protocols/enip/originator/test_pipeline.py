"""Operations in flight: how much is out, in which order it comes, and how it ends early."""

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import (
    CommunicationCeased,
    EnipStatusError,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.pipeline import Pipeline, progress, raise_failure
from cpppod.protocols.enip.originator.route import UnconnectedRoute
from cpppod.protocols.enip.originator.session import (
    MAX_OUTSTANDING,
    Class3Connection,
    OriginatorSession,
)
from cpppod.protocols.model.errors import EncodeError
from tests.protocols.enip.originator.scripted_target import (
    SESSION,
    echoing,
    perform,
    read_reply,
    requests,
    router_request,
    rr_reply,
)

SEVEN = struct.pack("<i", 7)


def exchanges(*names: str) -> Iterator[Exchange]:
    return (make_exchange({"path": name}, {}) for name in names)


def seven(request: bytes) -> bytes:
    return read_reply(request[0], SEVEN)


def deliver(session: OriginatorSession) -> None:
    """Hand every answer that is there to its owner."""
    while (answer := session.next_answer()) is not None:
        answer.owner.receive(answer)


@pytest.mark.parametrize(("depth", "out"), [(0, 1), (1, 1), (3, 3), (1000, MAX_OUTSTANDING)])
def test_window_is_never_wider_than_its_depth_and_what_a_session_can_hold(
    depth: int, out: int
) -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges(*("T",) * 500), Carrier(), depth=depth)
    pipeline.issue(0.0)
    assert (pipeline.waiting, len(requests(session))) == (out, out)
    assert pipeline.outcome == (0, out)


def test_results_come_in_the_order_of_the_operations() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A", "B"), Carrier(), depth=2)
    pipeline.issue(0.0)
    first, second = requests(session)
    session.receive_data(rr_reply(second, seven(router_request(second))))
    deliver(session)
    assert pipeline.next_result() is None
    assert pipeline.outcome == (1, 2)
    session.receive_data(rr_reply(first, seven(router_request(first))))
    deliver(session)
    names = []
    while (result := pipeline.next_result()) is not None:
        names.append(result.operation["path"])
    assert names == ["A", "B"]
    pipeline.issue(0.0)
    assert pipeline.done


def test_an_endless_source_is_taken_as_there_is_room_and_can_be_stopped() -> None:
    session = echoing()
    endless = (make_exchange({"path": f"T{n}"}, {}) for n in itertools.count())
    pipeline = Pipeline(session, endless, Carrier(), depth=2)
    pipeline.issue(0.0)
    frames = requests(session)
    pipeline.stop()
    for frame in frames:
        session.receive_data(rr_reply(frame, seven(router_request(frame))))
    deliver(session)
    pipeline.issue(0.0)
    assert requests(session) == []
    assert [pipeline.next_result() is not None for _ in range(3)] == [True, True, False]
    assert pipeline.done
    raise_failure(pipeline, "")


def test_a_target_that_closes_after_the_last_reply_ends_nothing_early() -> None:
    class Closed:
        closed, reason = True, "closed by the target"

        def issue(self, pipeline: Pipeline) -> None:
            raise AssertionError("nothing is sent")

    for names, raises in ((("A",), False), (("A", "B"), True)):
        session = echoing()
        pipeline = Pipeline(session, exchanges(*names), Carrier())
        pipeline.issue(0.0)
        (frame,) = requests(session)
        session.receive_data(rr_reply(frame, seven(router_request(frame))) + b"")
        deliver(session)
        steps = progress(pipeline, Closed())
        assert next(steps) is not None
        if raises:
            with pytest.raises(CommunicationCeased, match="closed by the target"):
                next(steps)
        else:
            assert next(steps, "over") == "over"


def test_time_out_of_one_ends_the_pipeline_and_says_how_far_it_came() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A", "B", "C"), Carrier(), depth=2, timeout_s=5.0)
    pipeline.issue(10.0)
    first, _ = requests(session)
    session.receive_data(rr_reply(first, seven(router_request(first))))
    deliver(session)
    session.expire(15.0)
    deliver(session)
    pipeline.issue(15.0)
    assert not pipeline.done
    assert pipeline.next_result() is not None
    assert pipeline.done
    with pytest.raises(ReplyTimeout, match=r"1/  2"):
        raise_failure(pipeline, "")


def test_refusal_of_the_encapsulation_layer_is_raised_as_it_is() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A"), Carrier())
    pipeline.issue(0.0)
    (frame,) = requests(session)
    session.receive_data(Frame(0x6F, b"", SESSION, 0x64, frame.context).encode())
    deliver(session)
    with pytest.raises(EnipStatusError):
        raise_failure(pipeline, "")


def test_end_of_the_stream_is_told_with_its_reason() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A"), Carrier())
    pipeline.issue(0.0)
    with pytest.raises(CommunicationCeased, match="the reason"):
        raise_failure(pipeline, "the reason")
    session.receive_data(b"")
    deliver(session)
    with pytest.raises(CommunicationCeased, match="by the target"):
        raise_failure(pipeline, session.violation)


def test_operation_that_cannot_be_said_is_raised_after_what_came_before_it() -> None:
    session = echoing()
    too_many = {"path": "T", "elements": 70_000}
    made = (make_exchange(operation, {}) for operation in ({"path": "A"}, too_many))
    pipeline = Pipeline(session, made, Carrier(), depth=2)
    pipeline.issue(0.0)
    (frame,) = requests(session)
    session.receive_data(rr_reply(frame, seven(router_request(frame))))
    deliver(session)
    assert pipeline.next_result() is not None
    with pytest.raises(EncodeError, match="70000"):
        raise_failure(pipeline, "")


def test_packet_before_an_operation_that_cannot_be_said_is_still_sent() -> None:
    session = echoing()
    given: list[dict[str, Any]] = [{"path": "A"}, {"path": "B"}, {"path": "T", "elements": 70_000}]
    pipeline = Pipeline(session, (make_exchange(g, {}) for g in given), Carrier(), multiple=500)
    pipeline.issue(0.0)
    (frame,) = requests(session)
    assert router_request(frame)[6:8] == b"\2\0"
    assert pipeline.error is not None


def test_abandoned_pipeline_drops_late_replies() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A", "B"), Carrier(), depth=2)
    pipeline.issue(0.0)
    frames = requests(session)
    pipeline.abandon()
    assert pipeline.done
    for frame in frames:
        session.receive_data(rr_reply(frame, seven(router_request(frame))))
    deliver(session)
    assert pipeline.next_result() is None


def test_packet_refused_for_another_reason_fails_all_in_it() -> None:
    results = perform([{"path": "A"}, {"path": "B"}], lambda _: b"\x8a\0\x02\0", multiple=500)
    assert [(result.value, result.status) for result in results] == [(None, 2), (None, 2)]


def test_request_that_alone_fills_a_packet_goes_without_one() -> None:
    seen: list[int] = []

    def respond(request: bytes) -> bytes:
        seen.append(request[0])
        return seven(request)

    perform([{"path": "T" * 40}, {"path": "U" * 40}], respond, multiple=50)
    assert seen == [0x4C, 0x4C]


def test_operations_on_other_ways_do_not_share_a_packet() -> None:
    session = echoing()
    made = list(exchanges("A", "B", "C"))
    made[1].carrier = Carrier(UnconnectedRoute())
    pipeline = Pipeline(session, iter(made), Carrier(), depth=10, multiple=500)
    pipeline.issue(0.0)
    first, second, third = (router_request(frame) for frame in requests(session))
    assert (first[0], second[0], third[0]) == (0x0A, 0x52, 0x0A)
    assert second[10] == 0x0A


def test_requests_travel_over_an_open_connection_in_its_size() -> None:
    session = echoing()
    connection = Class3Connection(0xAAAA, 0xBBBB, 40, 60)
    session.opened(connection)
    data = list(range(30))
    operation = {"path": "T", "data": data, "tag_type": 0xC4}
    made = iter([make_exchange(operation, {})])
    pipeline = Pipeline(session, made, Carrier(connection=connection), depth=50)
    pipeline.issue(0.0)
    sent = [frame.data[22:] for frame in requests(session)]
    assert all(request[0] == 0x53 and len(request) <= 40 for request in sent)
    assert b"".join(request[14:] for request in sent) == struct.pack("<30i", *data)


class Loop:
    """The owner of a connection that answers, as often as it may, whenever it is asked to send."""

    reason = "the reason"

    def __init__(self, session: OriginatorSession, answers: int) -> None:
        self.session, self.answers = session, answers
        self.closed = False

    def issue(self, pipeline: Pipeline) -> None:
        deliver(self.session)
        pipeline.issue(0.0)
        for request in requests(self.session):
            if self.answers <= 0:
                self.session.receive_data(b"")
                self.closed = True
                return
            self.answers -= 1
            self.session.receive_data(rr_reply(request, seven(router_request(request))))


@pytest.mark.parametrize("eager", [True, False])
def test_results_are_handed_out_as_they_finish_and_a_wait_is_none(eager: bool) -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A", "B", "C"), Carrier(), depth=2)
    steps = list(progress(pipeline, Loop(session, 3), eager=eager))
    assert [step.operation["path"] for step in steps if step is not None] == ["A", "B", "C"]
    assert None in steps
    assert pipeline.done


def test_what_had_come_before_the_connection_closed_is_handed_out_first() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges("A", "B", "C"), Carrier())
    seen: list[Exchange | None] = []
    steps = progress(pipeline, Loop(session, 1))
    with pytest.raises(CommunicationCeased):
        seen.extend(steps)
    assert [step.operation["path"] for step in seen if step is not None] == ["A"]


def test_pipeline_that_nobody_reads_to_its_end_is_abandoned() -> None:
    session = echoing()
    pipeline = Pipeline(session, exchanges(*("T",) * 50), Carrier())
    steps = progress(pipeline, Loop(session, 50))
    next(steps)
    steps.close()
    assert pipeline.done
