"""The originator's session: registering, matching replies, deadlines, and targets that lie."""

import struct

import pytest

from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.enip.originator.route import UnconnectedRoute
from cpppod.protocols.enip.originator.session import (
    MAX_ABANDONED,
    MAX_OUTSTANDING,
    MAX_UNASKED,
    Answer,
    Class3Connection,
    OriginatorSession,
    RequestFailure,
    SessionViolated,
    State,
)
from cpppod.protocols.model.errors import EncodeError
from tests.protocols.enip.originator.scripted_target import (
    SESSION,
    echoing,
    registered,
    requests,
    rr_reply,
)

REQUEST = bytes.fromhex("4c0291015400") + b"\1\0"  # Read Tag T, one element
REPLY = bytes.fromhex("cc000000c400") + struct.pack("<i", 7)


def ask(session: OriginatorSession, owner: object, **how: float) -> Frame:
    session.send_unconnected(REQUEST, owner, deadline=how.get("deadline", 1.0))
    (frame,) = requests(session)
    return frame


def answered(session: OriginatorSession) -> Answer:
    answer = session.next_answer()
    assert answer is not None
    return answer


def test_a_reply_goes_to_the_request_with_its_sender_context() -> None:
    session = registered()
    first, second = ask(session, "first"), ask(session, "second")
    session.receive_data(rr_reply(second, REPLY) + rr_reply(first, REPLY))
    assert [answered(session).owner, answered(session).owner] == ["second", "first"]


def test_replies_are_the_same_however_the_bytes_are_cut() -> None:
    for size in range(1, 60):
        session = registered()
        stream = rr_reply(ask(session, "a"), REPLY)
        for start in range(0, len(stream), size):
            session.receive_data(stream[start : start + size])
        reply = answered(session).reply
        assert reply is not None
        assert reply.data == REPLY[4:]


def test_contexts_of_outstanding_requests_never_repeat() -> None:
    session = registered()
    for _ in range(50):
        session.send_unconnected(REQUEST, None, deadline=1.0, context=b"0")
    contexts = [frame.context for frame in requests(session)]
    assert len(set(contexts)) == 50
    assert contexts[0] == b"0".ljust(8, b"\0")


def test_a_request_that_times_out_is_answered_so_and_its_late_reply_is_dropped() -> None:
    session = registered()
    frame = ask(session, "late", deadline=5.0)
    assert session.deadline() == 5.0
    session.expire(4.9)
    assert session.next_answer() is None
    session.expire(5.0)
    assert answered(session).failure is RequestFailure.TIMEOUT
    session.receive_data(rr_reply(frame, REPLY))
    assert session.next_answer() is None
    assert session.late == 1
    assert session.state is State.REGISTERED


def test_the_context_of_a_timed_out_request_is_not_used_again_before_its_reply_came() -> None:
    session = registered()
    session.send_unconnected(REQUEST, "old", deadline=1.0, context=b"0")
    (old,) = requests(session)
    session.expire(2.0)
    session.send_unconnected(REQUEST, "new", deadline=9.0, context=b"0")
    (new,) = requests(session)
    assert new.context != old.context
    session.receive_data(rr_reply(old, REPLY[:-1] + b"\x63"))
    assert answered(session).owner == "old"  # its time-out
    assert session.next_answer() is None


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda f: rr_reply(f, REPLY, context=b"somebody"), id="P01 another context"),
        pytest.param(lambda f: rr_reply(f, REPLY, session=SESSION + 1), id="another session"),
        pytest.param(lambda f: rr_reply(f, b"\xcc\0"), id="P02 shorter than a reply's header"),
        pytest.param(lambda f: rr_reply(f, b"\xcc\0\0\5"), id="status words beyond the end"),
        pytest.param(lambda f: rr_reply(f, b"\xcd\0\0\0"), id="another service"),
        pytest.param(lambda f: rr_reply(f, b"\x4c\0\0\0"), id="a request"),
        pytest.param(lambda f: rr_reply(f, REPLY) + b"x" * 40_000, id="then garbage"),
        pytest.param(
            lambda f: Frame(0x6F, b"\0" * 6 + b"\xe8\x03", SESSION, 0, f.context).encode(),
            id="a thousand items",
        ),
        pytest.param(lambda f: Frame(0x99, b"", SESSION).encode(), id="unknown command"),
        pytest.param(lambda f: b"x" * 10_000_000, id="P10 10 MB without a frame"),
    ],
)
def test_a_target_that_breaks_the_protocol_is_left(bad: object) -> None:
    session = echoing()
    frame = ask(session, "asked")
    with pytest.raises(SessionViolated):
        session.receive_data(bad(frame) + bytes(64))  # type: ignore[operator]
    assert session.state is State.CLOSED
    values = []
    while (answer := session.next_answer()) is not None:
        values.append(answer)
    assert values[-1].failure is RequestFailure.CLOSED or values[-1].reply is not None
    assert not session.outstanding


def test_p08_a_session_handle_of_zero_is_refused() -> None:
    session = OriginatorSession()
    session.register(None, deadline=1.0)
    with pytest.raises(SessionViolated, match="session handle 0"):
        session.receive_data(Frame(0x65, b"\1\0\0\0", 0).encode())


def test_p09_a_reply_before_its_request_is_a_violation() -> None:
    session = registered()
    with pytest.raises(SessionViolated):
        session.receive_data(rr_reply(Frame(0x6F, b"", SESSION, context=b"0" * 8), REPLY))


def test_a_refusal_at_the_encapsulation_layer_is_an_answer() -> None:
    session = registered()
    frame = ask(session, "asked")
    session.receive_data(Frame(0x6F, b"", SESSION, 8, frame.context).encode())
    answer = answered(session)
    assert (answer.failure, answer.status) == (RequestFailure.REFUSED, 8)
    assert session.state is State.REGISTERED


def test_endless_nops_end_the_connection() -> None:
    session = registered()
    nop = Frame(0, b"").encode()
    session.receive_data(nop * MAX_UNASKED)
    with pytest.raises(SessionViolated):
        session.receive_data(nop)


def test_the_end_of_the_stream_answers_all_that_waits() -> None:
    session = registered()
    ask(session, "a")
    session.receive_data(b"")
    assert answered(session).failure is RequestFailure.CLOSED
    with pytest.raises(EncodeError):
        session.send_unconnected(REQUEST, "b", deadline=1.0)


def test_one_request_beyond_the_limit_is_refused() -> None:
    session = registered()
    for _ in range(MAX_OUTSTANDING):
        session.send_unconnected(REQUEST, None, deadline=1.0)
    with pytest.raises(EncodeError):
        session.send_unconnected(REQUEST, None, deadline=1.0)


def test_connected_replies_are_matched_by_sequence() -> None:
    session = registered()
    connection = Class3Connection(0xAAAA, 0xBBBB, 498, 498)
    session.opened(connection)
    for owner in ("a", "b"):
        session.send_connected(connection, REQUEST, owner, deadline=1.0)
    assert [frame.data[20:22] for frame in requests(session)] == [b"\1\0", b"\2\0"]

    def reply(sequence: int, t_o_id: int = 0xBBBB) -> bytes:
        data = struct.pack("<IHHHHIHHH", 0, 0, 2, 0xA1, 4, t_o_id, 0xB1, 2 + len(REPLY), sequence)
        return Frame(0x70, data + REPLY, SESSION).encode()

    session.receive_data(reply(2) + reply(1))
    assert [answered(session).owner, answered(session).owner] == ["b", "a"]
    with pytest.raises(SessionViolated):
        session.receive_data(reply(3))


def test_a_sequence_begins_at_1_and_comes_round_to_it_after_65535() -> None:
    session = registered()
    connection = Class3Connection(1, 2, 498, 498)
    session.opened(connection, first_sequence=0xFFFF)
    for _ in range(2):
        session.send_connected(connection, REQUEST, None, deadline=1.0)
    assert [frame.data[20:22] for frame in requests(session)] == [b"\xff\xff", b"\1\0"]


def test_a_reply_without_its_sender_context_answers_the_one_request_that_is_out() -> None:
    session = registered()
    for owner in ("first", "second"):
        assert session.has_room(connected=False)
        frame = ask(session, owner)
        assert not session.has_room(connected=False)
        assert session.has_room(connected=True)
        session.receive_data(rr_reply(frame, REPLY, context=bytes(8)))
        answer = answered(session)
        assert (answer.owner, answer.failure) == (owner, None)


def test_a_reply_without_context_is_a_violation_where_it_may_be_a_late_one_or_another_s() -> None:
    for late in (True, False):
        session = registered()
        ask(session, "first", deadline=1.0)
        if late:
            session.expire(1.0)
            session.next_answer()
        frame = ask(session, "second", deadline=9.0)
        with pytest.raises(SessionViolated, match="not sent"):
            session.receive_data(rr_reply(frame, REPLY, context=bytes(8)))


def test_a_list_reply_without_its_context_answers_the_one_command_that_is_out() -> None:
    session = registered()
    session.send_command(0x63, "asked", deadline=1.0, context=b"mine")
    session.receive_data(Frame(0x63, b"x").encode())
    assert answered(session).owner == "asked"


def test_a_routing_failure_answers_a_wrapped_request_only() -> None:
    session = registered()
    frame = ask(session, "bare")
    failure = bytes.fromhex("d200010111030000")
    with pytest.raises(SessionViolated):
        session.receive_data(rr_reply(frame, failure))


def test_forgetting_an_owner_drops_its_reply() -> None:
    session = registered()
    owner = object()
    frame = ask(session, owner)
    session.forget(owner)
    session.receive_data(rr_reply(frame, REPLY))
    assert session.next_answer() is None
    assert session.late == 1


def connected() -> tuple[OriginatorSession, Class3Connection]:
    session, connection = registered(), Class3Connection(0xAAAA, 0xBBBB, 498, 498)
    session.opened(connection)
    return session, connection


def unit_reply(sequence: int, t_o_id: int = 0xBBBB, **how: int) -> bytes:
    data = struct.pack("<IHHHHIHHH", 0, 0, 2, 0xA1, 4, t_o_id, 0xB1, 2 + len(REPLY), sequence)
    return Frame(0x70, data + REPLY, how.get("session", SESSION), how.get("status", 0)).encode()


def test_late_reply_on_a_connection_is_dropped_and_its_sequence_used_anew_later() -> None:
    session, connection = connected()
    session.send_connected(connection, REQUEST, "late", deadline=1.0)
    session.expire(1.0)
    assert answered(session).failure is RequestFailure.TIMEOUT
    session.receive_data(unit_reply(1))
    assert (session.next_answer(), session.late) == (None, 1)
    with pytest.raises(SessionViolated):
        session.receive_data(unit_reply(1))


def test_peer_that_replies_with_our_own_connection_id_is_understood() -> None:
    session, connection = connected()
    session.send_connected(connection, REQUEST, "asked", deadline=1.0)
    session.receive_data(unit_reply(1, 0xAAAA))
    assert answered(session).owner == "asked"


@pytest.mark.parametrize("how", [{"status": 1}, {"session": SESSION + 1}])
def test_status_or_another_session_on_a_connection_is_a_violation(how: dict[str, int]) -> None:
    session, connection = connected()
    session.send_connected(connection, REQUEST, "asked", deadline=1.0)
    with pytest.raises(SessionViolated):
        session.receive_data(unit_reply(1, **how))
    assert answered(session).failure is RequestFailure.CLOSED


def test_nothing_is_sent_on_a_connection_that_is_closed() -> None:
    session, connection = connected()
    session.closed(connection)
    with pytest.raises(EncodeError):
        session.send_connected(connection, REQUEST, None, deadline=1.0)
    session.opened(connection)
    session.send_connected(connection, REQUEST, None, deadline=1.0)


def test_sequence_that_is_still_out_is_not_used_a_second_time() -> None:
    session, connection = connected()
    session.send_connected(connection, REQUEST, None, deadline=1.0)
    session.opened(connection)
    with pytest.raises(EncodeError, match="sequence"):
        session.send_connected(connection, REQUEST, None, deadline=1.0)


def test_list_commands_are_answered_in_order_and_their_refusal_is_an_answer() -> None:
    session = OriginatorSession()
    session.send_command(0x63, "first", deadline=1.0)
    session.send_command(0x04, "second", deadline=1.0, context=b"abc")
    session.receive_data(Frame(0x04, b"services", 0, 0, b"abc\0\0\0\0\0").encode())
    session.receive_data(Frame(0x63, b"", 0, 1).encode())
    services, identity = answered(session), answered(session)
    assert (services.owner, services.data) == ("second", b"services")
    assert (identity.owner, identity.failure, identity.status) == (
        "first",
        RequestFailure.REFUSED,
        1,
    )


def test_late_list_reply_is_dropped_and_one_of_two_of_another_context_is_a_violation() -> None:
    session = OriginatorSession()
    session.send_command(0x63, "late", deadline=1.0)
    session.expire(1.0)
    session.receive_data(Frame(0x63, b"").encode())
    assert session.late == 1
    session.send_command(0x63, "asked", deadline=1.0, context=b"mine")
    session.send_command(0x63, "asked", deadline=1.0, context=b"mine")
    with pytest.raises(SessionViolated, match="context"):
        session.receive_data(Frame(0x63, b"", 0, 0, b"theirs\0\0").encode())


def test_refused_registration_is_an_answer_and_may_be_tried_again() -> None:
    session = OriginatorSession()
    session.register("me", deadline=1.0)
    with pytest.raises(EncodeError):
        session.register("again", deadline=1.0)
    session.receive_data(Frame(0x65, b"\1\0\0\0", 0, 0x69).encode())
    refused = answered(session)
    assert (refused.owner, refused.failure, refused.status) == (
        "me",
        RequestFailure.REFUSED,
        0x69,
    )
    session.register("again", deadline=1.0)
    session.receive_data(Frame(0x65, b"\1\0\0\0", 5).encode())
    assert session.session == 5


def test_end_of_a_session_is_told_to_the_target_once() -> None:
    session = registered()
    ask(session, "asked")
    session.unregister()
    assert [frame.command for frame in requests(session)] == [0x66]
    assert answered(session).failure is RequestFailure.CLOSED
    session.unregister()
    session.close()
    session.receive_data(b"ignored")
    assert session.data_to_send() == b""
    with pytest.raises(EncodeError):
        session.send_command(0x63, None, deadline=1.0)


def test_context_is_as_long_as_the_header_holds() -> None:
    session = registered()
    session.send_unconnected(REQUEST, None, deadline=1.0, context=b"12345678")
    with pytest.raises(EncodeError):
        session.send_unconnected(REQUEST, None, deadline=1.0, context=b"123456789")


def test_one_command_beyond_the_limit_is_refused() -> None:
    session = registered()
    for _ in range(MAX_OUTSTANDING):
        session.send_command(0x63, None, deadline=1.0)
    with pytest.raises(EncodeError):
        session.send_command(0x63, None, deadline=1.0)


def test_so_many_requests_given_up_are_known_and_the_oldest_is_forgotten() -> None:
    session = registered()
    first = ask(session, None, deadline=0.5)
    session.expire(0.5)
    for _ in range(MAX_ABANDONED // MAX_OUTSTANDING):
        for _ in range(MAX_OUTSTANDING):
            session.send_unconnected(REQUEST, None, deadline=1.0)
        session.data_to_send()
        session.expire(1.0)
    with pytest.raises(SessionViolated):
        session.receive_data(rr_reply(first, REPLY))


def test_wrapped_request_that_did_not_reach_its_target_is_answered_by_who_routes() -> None:
    session = registered()
    session.send_unconnected(REQUEST, "asked", deadline=1.0, route=UnconnectedRoute())
    (frame,) = requests(session)
    session.receive_data(rr_reply(frame, bytes.fromhex("d200010111030000")))
    reply = answered(session).reply
    assert reply is not None
    assert (reply.status, reply.extended) == (1, (0x0311,))
    session.send_unconnected(REQUEST, "asked", deadline=1.0, route=UnconnectedRoute())
    (frame,) = requests(session)
    with pytest.raises(SessionViolated):
        session.receive_data(rr_reply(frame, b"\xd2\0\0\0"))
