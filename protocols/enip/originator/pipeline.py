"""Operations in flight: packs exchanges into messages, keeps a window of them out, orders results.

    operations ─► exchanges ─► messages (single, or Multiple Service Packets) ─► session
                                    at most `depth` outstanding
    results  ◄── in the order of the operations ◄── exchanges ◄── answers ◄─────┘

Operations are taken one by one, when there is room for them: an endless generator is welcome.
"""

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Protocol

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.enip.originator.batch import (
    MAX_SERVICES,
    OFFSET_BYTES,
    REPLY_OVERHEAD,
    REQUEST_OVERHEAD,
    decode_batch,
    encode_batch,
)
from cpppod.protocols.enip.originator.carrier import Carrier, MessageBudget
from cpppod.protocols.enip.originator.errors import (
    CommunicationCeased,
    EnipStatusError,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.exchange import Exchange, Part
from cpppod.protocols.enip.originator.session import (
    MAX_OUTSTANDING,
    Answer,
    OriginatorSession,
    RequestFailure,
)
from cpppod.protocols.model.errors import ProtocolError

NO_BATCHES = (
    GeneralStatus.SERVICE_NOT_SUPPORTED,
    GeneralStatus.PATH_DESTINATION_UNKNOWN,
    GeneralStatus.OBJECT_DOES_NOT_EXIST,
)


class Message:
    """One message in flight, and the owner of its answer."""

    __slots__ = ("batch", "parts", "pipeline")

    def __init__(self, pipeline: "Pipeline", parts: list[Part], *, batch: bool) -> None:
        self.pipeline, self.parts, self.batch = pipeline, parts, batch

    def receive(self, answer: Answer) -> None:
        """Hand the answer to whom it concerns."""
        self.pipeline.receive(self, answer)


class Pipeline:
    """One sequence of operations on its way through a session.

    Attributes:
        failure: the answer without a reply that ended it, None while all is well.
        error: what was wrong with an operation; raised by the shell after all earlier results.
        root: the pipeline that this one is a part of, or itself: whom a shell wakes, and who has
            failed where a part of it has.
        refuses_batches: the target has no Multiple Service Packets: each request went alone.
        sent, requests, replies: messages sent, operations taken, messages answered.
    """

    def __init__(
        self,
        session: OriginatorSession,
        exchanges: Iterable[Exchange],
        carrier: Carrier,
        *,
        depth: int = 1,
        multiple: int | bool = 0,
        timeout_s: float | None = None,
        index: int = 0,
    ) -> None:
        self.session = session
        self.root: Pipeline = self
        self.carrier = carrier
        self.depth = min(max(1, depth), MAX_OUTSTANDING)
        self.timeout_s = math.inf if timeout_s is None else timeout_s
        self.failure: Answer | None = None
        self.error: ProtocolError | None = None
        self.refuses_batches = False
        self.index = index
        self.requests = 0
        self.sent = 0
        self.replies = 0
        self._limit = 0xFFFF if multiple is True else int(multiple)
        self._budget = carrier.budget
        self._source: Iterator[Exchange] | None = iter(exchanges)
        self._held: Part | None = None
        self._exclusive: Exchange | None = None
        self._order: deque[Exchange] = deque()
        self._going_on: deque[Exchange] = deque()
        self._alone: deque[Part] = deque()
        self._in_flight = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to send, to wait for, or to take with `next_result`."""
        if self.failure is not None:
            return not (self._order and self._order[0].done)
        return not (self._order or self._held or self._source)

    @property
    def may_send(self) -> bool:
        """Whether the window, and the session that it shares with others, have a place free."""
        return (
            self._in_flight < self.depth
            and self.failure is None
            and self.session.has_room(connected=self.carrier.connection is not None)
        )

    @property
    def waiting(self) -> int:
        """Messages without their reply."""
        return self._in_flight

    @property
    def outcome(self) -> tuple[int, int]:
        """(operations that are over, operations begun)."""
        unfinished = sum(exchange.count for exchange in self._order if not exchange.done)
        return self.requests - unfinished, self.requests

    def next_result(self) -> Exchange | None:
        """The next exchange that is over, in the order of the operations."""
        if self._order and self._order[0].done:
            return self._order.popleft()
        return None

    def issue(self, now: float) -> None:
        """Send as much as the window and the operations allow."""
        while self.may_send:
            try:
                parts, batch = self._next_message()
                if not parts:
                    return
                self._send(parts, now, batch=batch)
            except ProtocolError as error:
                self.error, self._source, self._held = error, None, None
                self._order = deque(e for e in self._order if e.done or e.in_flight)
                return

    def settle(self) -> None:
        """The connection is closed: that is the end, and well, where no operation is left."""
        if not self._order and self._held is None and self._source is not None:
            self._source = None if next(self._source, None) is None else self._source

    def stop(self) -> None:
        """Begin no further operation; those in flight are still waited for."""
        self._source = self._held = None

    def receive(self, message: Message, answer: Answer) -> None:
        """Take the answer to a message.

        Raises:
            SessionViolated: a reply that no sound device sends; close the connection.
        """
        self._in_flight -= 1
        if answer.reply is None:
            self.failure = self.failure or answer
            self.root.failure = self.root.failure or answer
            self.stop()
            return
        self.root.replies += 1
        if message.batch:
            self._receive_batch(message, answer.reply)
        else:
            self._receive_part(message.parts[0], answer.reply)

    def abandon(self) -> None:
        """Nobody wants the rest: late replies are dropped."""
        self.stop()
        self._order.clear()
        self._going_on.clear()
        self._alone.clear()
        self.failure = self.failure or Answer(None, failure=RequestFailure.CLOSED)

    def _receive_part(self, part: Part, reply: MessageRouterReply) -> None:
        part.exchange.receive(part, reply)
        if not part.exchange.done:
            self._going_on.append(part.exchange)

    def _receive_batch(self, message: Message, reply: MessageRouterReply) -> None:
        parts = message.parts
        if reply.status in (GeneralStatus.SUCCESS, GeneralStatus.EMBEDDED_SERVICE_ERROR):
            replies = decode_batch(reply.data, [part.request[0] for part in parts])
            for part, embedded in zip(parts, replies, strict=True):
                self._receive_part(part, embedded)
        elif reply.status in NO_BATCHES:
            self.refuses_batches, self._limit = True, 0
            self._alone.extend(parts)
        elif reply.status == GeneralStatus.REPLY_DATA_TOO_LARGE and all(
            part.exchange.repeatable for part in parts
        ):
            for part in parts:
                part.exchange.multiple = False
            self._alone.extend(parts)
        else:
            for part in parts:
                part.exchange.fail(reply.status, reply.extended)

    # -- choosing what goes next ------------------------------------------------------------------

    def _next_message(self) -> tuple[list[Part], bool]:
        """The parts of the next message, and whether they go as a Multiple Service Packet."""
        if self._alone:
            return [self._alone.popleft()], False
        part = self._continued()
        if part is not None:
            return [part], False
        part = self._take_held() or self._begin()
        if part is None:
            return [], False
        if not self._limit or not part.exchange.mergeable:
            return [part], False
        budget = self._budget_of(part.exchange)
        return self._gather(
            part, MessageBudget(min(self._limit, budget.request), min(self._limit, budget.reply))
        )

    def _budget_of(self, exchange: Exchange) -> MessageBudget:
        carrier = exchange.carrier
        return self._budget if carrier is None else carrier.budget

    def _continued(self) -> Part | None:
        while self._going_on:
            exchange = self._going_on[0]
            part = exchange.next_part(self._budget_of(exchange))
            if part is not None:
                return part
            self._going_on.popleft()
        return None

    def _take_held(self) -> Part | None:
        part, self._held = self._held, None
        return part

    def _begin(self) -> Part | None:
        """The first part of the next operation."""
        if self._source is None or not (self._exclusive is None or self._exclusive.done):
            return None
        exchange = next(self._source, None)
        if exchange is None:
            self._source = None
            return None
        part = exchange.next_part(self._budget_of(exchange))
        assert part is not None, "an exchange begins with a request"
        self.requests += exchange.count
        self._order.append(exchange)
        self._exclusive = exchange if exchange.exclusive else None
        return part

    def _gather(self, first: Part, limit: MessageBudget) -> tuple[list[Part], bool]:
        """`first`, and what follows it as far as requests and replies fit into `limit`."""
        parts = [first]
        carrier = first.exchange.carrier
        guessed, repeatable = first.exchange.guessed, first.exchange.repeatable
        request = REQUEST_OVERHEAD + OFFSET_BYTES + len(first.request)
        reply = REPLY_OVERHEAD + OFFSET_BYTES + first.exchange.estimate()
        if request > limit.request:
            return parts, False
        while len(parts) < MAX_SERVICES:
            try:
                part = self._begin()
            except ProtocolError as error:  # what was gathered is still sent
                self.error, self._source = error, None
                break
            if part is None:
                break
            request += OFFSET_BYTES + len(part.request)
            reply += OFFSET_BYTES + part.exchange.estimate()
            fits = request <= limit.request and reply <= limit.reply
            guessed = guessed or part.exchange.guessed
            repeatable = repeatable and part.exchange.repeatable
            fits = fits and (repeatable or not guessed)  # what may be too large is sent again
            if not fits or not part.exchange.mergeable or part.exchange.carrier != carrier:
                self._held = part
                break
            parts.append(part)
        return parts, True

    def _send(self, parts: list[Part], now: float, *, batch: bool) -> None:
        request = encode_batch([part.request for part in parts]) if batch else parts[0].request
        message = Message(self, parts, batch=batch)
        deadline = now + self.timeout_s
        carrier = parts[0].exchange.carrier or self.carrier
        if carrier.connection is not None:
            self.session.send_connected(carrier.connection, request, message, deadline=deadline)
        else:
            self.session.send_unconnected(
                request, message, deadline=deadline, route=carrier.route, context=b"%d" % self.index
            )
        for part in parts:
            exchange = part.exchange
            if exchange.index < 0:
                exchange.index, exchange.multiple = self.index, batch
            if not batch:
                self._going_on.append(exchange)
        self.index += 1
        self.sent += 1
        self._in_flight += 1


class Shell(Protocol):
    """What moves the messages of pipelines: the owner of a socket, blocking or not."""

    @property
    def closed(self) -> bool:
        """Whether the connection is of no further use."""

    @property
    def reason(self) -> str:
        """Why it is closed."""

    def issue(self, pipeline: Pipeline) -> None:
        """Have the pipeline send what it may, and write that."""


def progress(
    pipeline: Pipeline, shell: Shell, *, eager: bool = True
) -> Generator[Exchange | None, None, None]:
    """The exchanges as they finish, in order; None where the shell has to wait for replies.

    Args:
        eager: send on before handing out what has come.

    Raises:
        CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        EncodeError: an operation that cannot be said; earlier results came first.
    """
    try:
        while True:
            while (exchange := pipeline.next_result()) is not None:
                yield exchange
            if not shell.closed:
                shell.issue(pipeline)
            if pipeline.done or shell.closed:
                break
            yield None
            if eager and not shell.closed:
                shell.issue(pipeline)
        while (exchange := pipeline.next_result()) is not None:
            yield exchange
        raise_failure(pipeline, shell.reason)
    finally:
        if not pipeline.done:
            pipeline.abandon()


def error_of(answer: Answer, reason: str) -> Exception:
    """The exception for an answer without a reply; `reason` is why the connection closed."""
    if answer.failure is RequestFailure.TIMEOUT:
        return ReplyTimeout("no reply in time")
    if answer.failure is RequestFailure.REFUSED:
        return EnipStatusError(answer.status)
    return CommunicationCeased(reason or "connection closed")


def raise_failure(pipeline: Pipeline, reason: str) -> None:
    """Raise what ended `pipeline` early, if anything did.

    Raises:
        CommunicationCeased, ReplyTimeout, EnipStatusError: as the answer that never came says.
        ProtocolError: an operation that could not be sent.
    """
    if pipeline.failure is None:
        pipeline.settle()
        if pipeline.error is not None:
            raise pipeline.error
        if pipeline.done:
            return
        raise CommunicationCeased(reason or "connection closed")
    failure = error_of(pipeline.failure, reason)
    if isinstance(failure, EnipStatusError):
        raise failure
    over, begun = pipeline.outcome
    raise type(failure)(
        "Communication ceased before harvesting all pipeline responses: "
        f"{over:3d}/{begun:3d} ({failure})"
    )
