"""The same reads again and again: packets made once, replies taken apart by one `struct` each.

    first time   request packets from the operations ─► replies decoded one by one ─► layout
    afterwards   the same bytes out ─► reply: raw | value | raw | value ... in one unpack;
                 every raw piece must equal the first time's, else it is decoded one by one again

A reply's layout is everything in it that is not a value: counts, offsets, service codes, status and
types. While that has not changed byte for byte, a thousand values cost a few calls.
"""

import math
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

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
from cpppod.protocols.enip.originator.exchange import Exchange, Part, ReadBit, ReadTag
from cpppod.protocols.enip.originator.layout import (
    BYTES,
    SCALAR,
    ReplyLayout,
    is_plain,
    is_scalar,
    learn_layout,
    read_layout,
    read_request,
)
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.pipeline import NO_BATCHES, Message, Pipeline
from cpppod.protocols.enip.originator.session import (
    Answer,
    OriginatorSession,
    RequestFailure,
    SessionViolated,
)
from cpppod.protocols.enip.originator.values import Layouts

_GUESS = 8  # bytes of a value in a reply whose type is not known yet
_READ_REPLY = 6  # bytes around the values of a read

Outcome = tuple[int, tuple[int, ...]]  # general and extended status
GOOD: Outcome = (0, ())
BAD_REPLY: Outcome = (-1, ())  # no CIP status: a reply that does not answer its request
SILENT: Outcome = (-2, ())  # no reply in time, while other requests had theirs


class Packet:
    """One message of a plan: the request, and how its last reply was laid out."""

    __slots__ = (
        "batch",
        "first",
        "layout",
        "operations",
        "outcomes",
        "request",
        "status",
        "types",
    )

    def __init__(
        self, first: int, operations: list[Operation], request: bytes, *, batch: bool
    ) -> None:
        self.first, self.operations, self.request = first, operations, request
        self.batch = batch
        self.layout: ReplyLayout | None = None
        self.status = 0
        self.outcomes: list[Outcome] = [GOOD] * len(operations)
        self.types: list[tuple[int, int] | None] = [None] * len(operations)


class ReadPlan:
    """Reads that are repeated.

    Args:
        alone: numbers of operations that share no packet.

    Attributes:
        operations: what is read, in order.
        packets: the messages that it takes.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        carrier: Carrier,
        layouts: Layouts,
        *,
        multiple: int | bool = True,
        alone: Collection[int] = (),
    ) -> None:
        self.operations = list(operations)
        self._alone = alone
        self.carrier, self.layouts = carrier, layouts
        budget = self._budget = carrier.budget
        limit = 0xFFFF if multiple is True else int(multiple)
        self.limit = (
            MessageBudget(min(limit, budget.request), min(limit, budget.reply))
            if multiple
            else None
        )
        self.packets: list[Packet] = []
        self._pack()

    def _pack(self) -> None:
        """Fill packets, as far as requests and expected replies fit."""
        held: list[Operation] = []
        requests: list[bytes] = []
        sent = received = 0
        limit = self.limit
        for number, operation in enumerate(self.operations):
            encoded, estimate, mergeable = self._encode(operation)
            request = OFFSET_BYTES + len(encoded)
            reply = OFFSET_BYTES + estimate
            alone = limit is None or not mergeable or number in self._alone
            full = limit is not None and (
                sent + request > limit.request - REQUEST_OVERHEAD
                or received + reply > limit.reply - REPLY_OVERHEAD
                or len(held) >= MAX_SERVICES
            )
            if held and (full or alone):
                self._close(held, requests)
                held, requests, sent, received = [], [], 0, 0
            held.append(operation)
            requests.append(encoded)
            sent += request
            received += reply
            if alone:
                self._close(held, requests)
                held, requests, sent, received = [], [], 0, 0
        if held:
            self._close(held, requests)

    def _encode(self, operation: Operation) -> tuple[bytes, int, bool]:
        """The request, bytes that its reply may have, and whether it may travel in a packet."""
        plain = read_request(operation)
        if plain is not None:
            return plain[0], _READ_REPLY + _GUESS * plain[1], True
        exchange = make_exchange(operation, self.layouts)
        part = exchange.next_part(self._budget)
        assert part is not None, "an exchange begins with a request"
        return part.request, _estimate(exchange), exchange.mergeable

    def _close(self, operations: list[Operation], requests: list[bytes]) -> None:
        last = self.packets[-1] if self.packets else None
        first = last.first + len(last.operations) if last is not None else 0
        batch = len(requests) > 1
        request = encode_batch(requests) if batch else requests[0]
        self.packets.append(Packet(first, operations, request, batch=batch))

    def unbatched(self) -> "ReadPlan":
        """The same reads, each alone: for a target without Multiple Service Packets."""
        return ReadPlan(self.operations, self.carrier, self.layouts, multiple=0)


class PlanRun(Pipeline):
    """One round of a plan on its way through a session.

    Attributes:
        values: a value for each operation: a scalar where it names one element, else a list; None
            where it failed.
        complaint: what was wrong with the first reply that answers nothing, where that cost its own
            reads alone: with `apart`, and where a reply says which request it answers.
    """

    def __init__(
        self,
        session: OriginatorSession,
        plan: ReadPlan,
        *,
        depth: int = 1,
        timeout_s: float | None = None,
        apart: bool = False,
    ) -> None:
        super().__init__(session, (), plan.carrier, depth=depth, timeout_s=timeout_s)
        self.plan = plan
        self.complaint = ""
        self._apart = apart
        self.values: list[Any] = [None] * len(plan.operations)
        self._to_send = deque(plan.packets)
        self._unanswered = {packet.first: packet for packet in plan.packets}
        self._redo: list[tuple[Packet, int]] = []
        self._alone_yet: deque[tuple[Packet, int, Exchange]] = deque()  # of the second stage
        self._rest: Pipeline | None = None
        self._heard = 0  # replies, when last there was silence

    def resume(self, session: OriginatorSession) -> None:
        """Go on over a new connection after the old one was lost, one request at a time.

        What was answered is not asked again, nor the fragments of a long read that came.
        """
        self.session, self.failure, self.depth = session, None, 1
        self._in_flight = 0
        self._to_send = deque(self._unanswered.values())
        if self._rest is None:
            return
        self._take_rest()
        self.failure = None
        left, self._alone_yet = self._alone_yet, deque()
        for packet, number, exchange in left:
            if exchange.done:
                self._note(packet, number, exchange)
            elif isinstance(exchange, ReadTag) and type(exchange) in (ReadTag, ReadBit):
                exchange.ask_again()
                self._alone_yet.append((packet, number, exchange))
            else:
                self._redo.append((packet, number))
        again, self._redo = self._redo, []
        self._begin_rest(again)

    @property
    def done(self) -> bool:
        """Whether nothing is left to send or to wait for."""
        if self.failure is not None:
            return True
        if self._to_send or self._in_flight or self._redo:
            return False
        return self._rest is None or self._rest.done

    @property
    def outcome(self) -> tuple[int, int]:
        """(messages answered, messages sent)."""
        return self.sent - self._in_flight, self.sent

    def next_result(self) -> Exchange | None:
        """Never an exchange: the results are `values`, with what came of the second stage."""
        if self._rest is not None:
            self._take_rest()
        return None

    def forgives(self, violation: SessionViolated | None = None) -> bool:
        """Whether a reply that answers nothing, or none at all, costs its own reads alone."""
        self.complaint = self.complaint or str(violation or "")
        return self._apart and (self.carrier.connection is not None or self.session.echoes)

    def receive_apart(self, part: Part, reply: MessageRouterReply) -> None:
        """Have an exchange take a reply, or fail by it where that is forgiven.

        Raises:
            SessionViolated: it is not.
        """
        try:
            part.exchange.receive(part, reply)
        except SessionViolated as violation:
            if not self.forgives(violation):
                raise
            part.exchange.fail(*BAD_REPLY)

    def give_up(self) -> bool:
        """What was sent has had no reply in time: it is `SILENT`, and the others go on.

        False where nothing was answered since the last time, or a late reply would be taken for
        another one's.
        """
        if self.replies == self._heard or not self.forgives():
            return False
        self._heard = self.replies
        waiting = {packet.first for packet in self._to_send}
        for first in [first for first in self._unanswered if first not in waiting]:
            packet = self._unanswered.pop(first)
            packet.layout, packet.outcomes = None, [SILENT] * len(packet.operations)
        if self._rest is not None:
            self._take_rest()
        for _, _, exchange in self._alone_yet:
            if exchange.in_flight:
                exchange.fail(*SILENT)
        self.resume(self.session)
        return True

    def issue(self, now: float) -> None:
        """Send as much as the window allows."""
        if self.failure is not None:
            return
        while self._to_send and self.may_send:
            packet = self._to_send.popleft()
            message = PlanMessage(self, packet)
            deadline = now + self.timeout_s
            carrier = self.plan.carrier
            if carrier.connection is not None:
                self.session.send_connected(
                    carrier.connection, packet.request, message, deadline=deadline
                )
            else:
                self.session.send_unconnected(
                    packet.request, message, deadline=deadline, route=carrier.route
                )
            self._in_flight += 1
            self.sent += 1
        if self._redo and not self._to_send and not self._in_flight:
            again, self._redo = self._redo, []
            self._begin_rest(again)
        if self._rest is not None:
            self._rest.issue(now)
            self._take_rest()

    def abandon(self) -> None:
        """Nobody wants the rest."""
        self._to_send.clear()
        self._redo.clear()
        if self._rest is not None:
            self._rest.abandon()
        super().abandon()

    def take(self, packet: Packet, answer: Answer) -> None:
        """Take the answer to a packet.

        Raises:
            SessionViolated: a reply that no sound device sends.
        """
        self._in_flight -= 1
        if answer.reply is None:
            self.failure = self.failure or answer
            return
        self.replies += 1
        self._unanswered.pop(packet.first, None)
        reply = answer.reply
        layout = packet.layout
        if layout is not None and reply.status == packet.status:
            values = layout.take(reply.data)
            if values is not None:
                self._store(packet, layout, values)
                return
        try:
            if self._take_whole(packet, reply):
                return
            self._decode(packet, reply)
        except SessionViolated as violation:
            if self.forgives(violation):
                packet.layout, packet.outcomes = None, [BAD_REPLY] * len(packet.operations)
                return
            self.failure = self.failure or Answer(None, failure=RequestFailure.CLOSED)
            raise

    def _store(self, packet: Packet, layout: ReplyLayout, values: tuple[Any, ...]) -> None:
        first = packet.first
        if layout.scalars:
            self.values[first : first + len(values)] = values
            return
        for number, pick in enumerate(layout.picks, start=first):
            if pick is not None:
                start, count = pick
                if count == SCALAR:
                    self.values[number] = values[start]
                elif count == BYTES:
                    self.values[number] = list(values[start])
                else:
                    self.values[number] = list(values[start : start + count])

    def _take_whole(self, packet: Packet, reply: MessageRouterReply) -> bool:
        """Whether every read of a packet succeeded at once, as they mostly do: no exchange then."""
        plain = packet.batch and all(map(is_plain, packet.operations))
        if not plain or reply.status != GeneralStatus.SUCCESS:
            return False
        found = read_layout(packet.operations, reply.data)
        if found is None:
            return False
        packet.layout, types = found
        packet.types[:] = types
        packet.outcomes = [GOOD] * len(types)
        packet.status = reply.status
        values = packet.layout.take(reply.data)
        assert values is not None, "a layout fits what it was learnt from"
        self._store(packet, packet.layout, values)
        return True

    def _decode(self, packet: Packet, reply: MessageRouterReply) -> None:
        """One by one; learns the layout where everything has one."""
        packet.layout, packet.status = None, reply.status
        exchanges = [make_exchange(item, self.plan.layouts) for item in packet.operations]
        parts: list[Part] = []
        for exchange in exchanges:
            part = exchange.next_part(self.plan.carrier.budget)
            assert part is not None, "an exchange begins with a request"
            exchange.multiple = packet.batch
            parts.append(part)
        replies = [reply]
        if packet.batch:
            if reply.status in NO_BATCHES:
                self.refuses_batches = True
            if reply.status in (*NO_BATCHES, GeneralStatus.REPLY_DATA_TOO_LARGE):
                self._redo += [(packet, number) for number in range(len(exchanges))]
                return
            if reply.status not in (GeneralStatus.SUCCESS, GeneralStatus.EMBEDDED_SERVICE_ERROR):
                packet.outcomes = [(reply.status, reply.extended)] * len(exchanges)
                return
            replies = decode_batch(reply.data, [part.request[0] for part in parts])
        whole = True
        for number, (exchange, part, own) in enumerate(zip(exchanges, parts, replies, strict=True)):
            self.receive_apart(part, own)
            if not exchange.done:
                whole = False
                self._redo.append((packet, number))
                continue
            self._note(packet, number, exchange)
        if whole and BAD_REPLY not in packet.outcomes:
            packet.layout = learn_layout(
                packet.operations, exchanges, reply.data, batch=packet.batch
            )

    def _note(self, packet: Packet, number: int, exchange: Exchange) -> None:
        packet.outcomes[number] = (exchange.status, exchange.extended)
        if isinstance(exchange, ReadTag):
            packet.types[number] = exchange.type
        value = exchange.value
        if value is not None and is_scalar(packet.operations[number]):
            value = value[0]
        self.values[packet.first + number] = value

    def _begin_rest(self, again: Sequence[tuple[Packet, int]]) -> None:
        """What did not fit its packet goes again, alone and in fragments."""
        for packet, number in again:
            exchange = make_exchange(packet.operations[number], self.plan.layouts)
            self._alone_yet.append((packet, number, exchange))
        timeout_s = None if self.timeout_s == math.inf else self.timeout_s
        exchanges = [exchange for _, _, exchange in self._alone_yet]
        self._rest = _Alone(
            self.session, exchanges, self.plan.carrier, depth=self.depth, timeout_s=timeout_s
        )
        self._rest.root = self._rest.run = self

    def _take_rest(self) -> None:
        rest = self._rest
        assert rest is not None
        while (exchange := rest.next_result()) is not None:
            packet, number, _ = self._alone_yet.popleft()
            self._note(packet, number, exchange)
        self.failure = self.failure or rest.failure
        self.error = self.error or rest.error
        self.sent += rest.sent
        rest.sent = 0


class _Alone(Pipeline):
    """The second stage of `run`."""

    run: PlanRun

    def _receive_part(self, part: Part, reply: MessageRouterReply) -> None:
        self.run.receive_apart(part, reply)
        if not part.exchange.done:
            self._going_on.append(part.exchange)


class PlanMessage(Message):
    """A packet of a plan in flight."""

    __slots__ = ("packet",)

    def __init__(self, run: PlanRun, packet: Packet) -> None:
        super().__init__(run, [], batch=packet.batch)
        self.packet = packet

    def receive(self, answer: Answer) -> None:
        """Hand the answer to the plan's run."""
        assert isinstance(self.pipeline, PlanRun)
        self.pipeline.take(self.packet, answer)


def _estimate(exchange: Exchange) -> int:
    if isinstance(exchange, ReadTag):
        return _READ_REPLY + _GUESS * exchange.elements
    return exchange.estimate()
