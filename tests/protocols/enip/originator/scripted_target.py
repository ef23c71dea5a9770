"""A target whose every byte a test decides, between an originator's session and its pipeline."""

import struct
from collections.abc import Callable, Iterable
from typing import Any

from cpppod.protocols.enip.encapsulation import Frame, FrameReader
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.enip.originator.session import OriginatorSession

SESSION = 0x11223344
Responder = Callable[[bytes], bytes]


def registered() -> OriginatorSession:
    """A session that has registered."""
    session = OriginatorSession()
    session.register(None, deadline=1.0)
    session.data_to_send()
    session.receive_data(Frame(0x65, b"\1\0\0\0", SESSION).encode())
    answer = session.next_answer()
    assert answer is not None
    assert answer.failure is None
    return session


def echoing() -> OriginatorSession:
    """A session whose target is known to send sender contexts back."""
    session = registered()
    session.send_unconnected(b"\x4c\x00", None, deadline=1.0, context=b"first")
    (frame,) = requests(session)
    session.receive_data(rr_reply(frame, b"\xcc\0\0\0"))
    session.next_answer()
    return session


def router_request(frame: Frame) -> bytes:
    """The Message Router request in a bare SendRRData frame."""
    return frame.data[16:]


def rr_reply(request: Frame, message: bytes, **changes: Any) -> bytes:
    """The SendRRData reply that carries `message`."""
    data = struct.pack("<IHHHHHH", 0, 0, 2, 0, 0, 0xB2, len(message)) + message
    fields: dict[str, Any] = {"session": request.session, "context": request.context} | changes
    return Frame(0x6F, data, **fields).encode()


def requests(session: OriginatorSession) -> list[Frame]:
    """What the session wants to send."""
    reader = FrameReader()
    reader.receive_data(session.data_to_send())
    frames = []
    while (frame := reader.next_frame()) is not None:
        frames.append(frame)
    return frames


def perform(
    operations: Iterable[dict[str, Any]],
    respond: Responder,
    *,
    session: OriginatorSession | None = None,
    rounds: int = 500,
    **how: Any,
) -> list[Exchange]:
    """Results of the operations against a target that answers each request by `respond`."""
    session = session or registered()
    made = (make_exchange(operation, {}) for operation in operations)
    pipeline = Pipeline(session, made, Carrier(), **how)
    results = []
    for _ in range(rounds):
        pipeline.issue(0.0)
        for frame in requests(session):
            session.receive_data(rr_reply(frame, respond(router_request(frame))))
        while (answer := session.next_answer()) is not None:
            answer.owner.receive(answer)
        while (result := pipeline.next_result()) is not None:
            results.append(result)
        if pipeline.done:
            assert pipeline.failure is None
            if pipeline.error is not None:
                raise pipeline.error
            return results
    raise AssertionError(f"not over after {rounds} rounds")


def read_reply(service: int, data: bytes, *, status: int = 0, kind: bytes = b"\xc4\0") -> bytes:
    """The reply to a Read Tag or Read Tag Fragmented."""
    return bytes((service | 0x80, 0, status, 0)) + kind + data
