"""The same reads again and again: packets made once, replies taken apart by one `struct` each.

    first time   request packets from the operations ─► replies decoded one by one ─► layout
    afterwards   the same bytes out ─► reply: raw | value | raw | value ... in one unpack;
                 every raw piece must equal the first time's, else it is decoded one by one again

A reply's layout is everything in it that is not a value: counts, offsets, service codes, status and
types. While that has not changed byte for byte, a thousand values cost a few calls.
"""

import math
import operator
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.types import BY_CODE
from cpppod.protocols.enip.operations import Operation
from cpppod.protocols.enip.originator import Answer, OriginatorSession, Trouble, Violation
from cpppod.protocols.enip.originator_batch import (
    MAX_SERVICES,
    OFFSET_BYTES,
    REPLY_OVERHEAD,
    REQUEST_OVERHEAD,
    decode_batch,
    encode_batch,
)
from cpppod.protocols.enip.originator_exchange import Exchange, Part, ReadTag
from cpppod.protocols.enip.originator_lane import Lane, Room
from cpppod.protocols.enip.originator_methods import make_exchange
from cpppod.protocols.enip.originator_pipeline import NO_BATCHES, Message, Pipeline
from cpppod.protocols.enip.originator_values import Layouts

_GUESS = 8  # bytes of a value in a reply whose type is not known yet

Outcome = tuple[int, tuple[int, ...]]  # general and extended status
GOOD: Outcome = (0, ())
SCALAR, BYTES = 0, -1  # counts of a pick that is no list of elements


@dataclass(frozen=True, slots=True)
class ReplyLayout:
    """What does not change in a packet's reply, and where its values are.

    Attributes:
        shape: unpacks the whole reply data.
        raw, expected: the pieces that are no values, and what they must be.
        picks: for each operation where its values begin and how many they are (or `SCALAR`,
            `BYTES`); None where it failed.
        scalars: whether every operation gave exactly one value, so that no picking is needed.
    """

    shape: struct.Struct
    raw: Callable[[tuple[Any, ...]], Any]
    expected: Any
    values: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    picks: tuple[tuple[int, int] | None, ...]
    scalars: bool


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

    Attributes:
        operations: what is read, in order.
        packets: the messages that it takes.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        lane: Lane,
        layouts: Layouts,
        *,
        multiple: int | bool = True,
    ) -> None:
        self.operations = list(operations)
        self.lane, self.layouts = lane, layouts
        room = lane.room
        limit = 0xFFFF if multiple is True else int(multiple)
        self.limit = Room(min(limit, room.request), min(limit, room.reply)) if multiple else None
        self.packets: list[Packet] = []
        self._pack()

    def _pack(self) -> None:
        """Fill packets, as far as requests and expected replies fit."""
        held: list[Operation] = []
        requests: list[bytes] = []
        sent = received = 0
        limit = self.limit
        for operation in self.operations:
            exchange = make_exchange(operation, self.layouts)
            part = exchange.next_part(self.lane.room)
            assert part is not None, "an exchange begins with a request"
            request = OFFSET_BYTES + len(part.request)
            reply = OFFSET_BYTES + _estimate(operation, exchange)
            alone = limit is None or not exchange.mergeable
            full = limit is not None and (
                sent + request > limit.request - REQUEST_OVERHEAD
                or received + reply > limit.reply - REPLY_OVERHEAD
                or len(held) >= MAX_SERVICES
            )
            if held and (full or alone):
                self._close(held, requests)
                held, requests, sent, received = [], [], 0, 0
            held.append(operation)
            requests.append(part.request)
            sent += request
            received += reply
            if alone:
                self._close(held, requests)
                held, requests, sent, received = [], [], 0, 0
        if held:
            self._close(held, requests)

    def _close(self, operations: list[Operation], requests: list[bytes]) -> None:
        first = sum(len(packet.operations) for packet in self.packets)
        batch = len(requests) > 1
        request = encode_batch(requests) if batch else requests[0]
        self.packets.append(Packet(first, operations, request, batch=batch))

    def unbatched(self) -> "ReadPlan":
        """The same reads, each alone: for a target without Multiple Service Packets."""
        return ReadPlan(self.operations, self.lane, self.layouts, multiple=0)


class PlanRun(Pipeline):
    """One round of a plan on its way through a session.

    Attributes:
        values: a value for each operation: a scalar where it names one element, else a list; None
            where it failed.
    """

    def __init__(
        self,
        session: OriginatorSession,
        plan: ReadPlan,
        *,
        depth: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        super().__init__(session, (), plan.lane, depth=depth, timeout_s=timeout_s)
        self.plan = plan
        self.values: list[Any] = [None] * len(plan.operations)
        self._to_send = deque(plan.packets)
        self._redo: list[tuple[Packet, int]] = []
        self._again: list[tuple[Packet, int]] = []
        self._finished = iter(self._again)
        self._rest: Pipeline | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to send or to wait for."""
        if self.trouble is not None:
            return True
        if self._to_send or self._in_flight or self._redo:
            return False
        return self._rest is None or self._rest.done

    @property
    def outcome(self) -> tuple[int, int]:
        """(messages answered, messages sent)."""
        return self.sent - self._in_flight, self.sent

    def next_result(self) -> Exchange | None:
        """Never an exchange: the results are `values`."""
        return None

    def issue(self, now: float) -> None:
        """Send as much as the window allows."""
        while self._to_send and self._in_flight < self.depth and self.trouble is None:
            packet = self._to_send.popleft()
            message = PlanMessage(self, packet)
            deadline = now + self.timeout_s
            lane = self.plan.lane
            if lane.connection is not None:
                self.session.send_connected(
                    lane.connection, packet.request, message, deadline=deadline
                )
            else:
                self.session.send_unconnected(
                    packet.request, message, deadline=deadline, hop=lane.hop
                )
            self._in_flight += 1
            self.sent += 1
        if self._redo and not self._to_send and not self._in_flight:
            self._begin_rest()
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
            Violation: a reply that no sound device sends.
        """
        self._in_flight -= 1
        if answer.reply is None:
            self.trouble = self.trouble or answer
            return
        reply = answer.reply
        layout = packet.layout
        same = reply.status == packet.status and layout is not None
        if same and layout is not None and len(reply.data) == layout.shape.size:
            items = layout.shape.unpack(reply.data)
            if layout.raw(items) == layout.expected:
                self._store(packet, layout, layout.values(items))
                return
        try:
            self._decode(packet, reply)
        except Violation:
            self.trouble = self.trouble or Answer(None, trouble=Trouble.CLOSED)
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

    def _decode(self, packet: Packet, reply: MessageRouterReply) -> None:
        """One by one; learns the layout where everything has one."""
        packet.layout, packet.status = None, reply.status
        exchanges = [make_exchange(item, self.plan.layouts) for item in packet.operations]
        parts: list[Part] = []
        for exchange in exchanges:
            part = exchange.next_part(self.plan.lane.room)
            assert part is not None, "an exchange begins with a request"
            parts.append(part)
        replies = [reply]
        if packet.batch:
            if reply.status in NO_BATCHES:
                self.refuses_batches = True
                self._redo += [(packet, number) for number in range(len(exchanges))]
                return
            if reply.status not in (GeneralStatus.SUCCESS, GeneralStatus.EMBEDDED_SERVICE_ERROR):
                packet.outcomes = [(reply.status, reply.extended)] * len(exchanges)
                return
            replies = decode_batch(reply.data, [part.request[0] for part in parts])
        whole = True
        for number, (exchange, part, own) in enumerate(zip(exchanges, parts, replies, strict=True)):
            exchange.receive(part, own)
            if not exchange.done:
                whole = False
                self._redo.append((packet, number))
                continue
            self._note(packet, number, exchange)
        if whole:
            packet.layout = learn_layout(packet, exchanges, reply.data)

    def _note(self, packet: Packet, number: int, exchange: Exchange) -> None:
        packet.outcomes[number] = (exchange.status, exchange.extended)
        if isinstance(exchange, ReadTag):
            packet.types[number] = exchange.type
        value = exchange.value
        if value is not None and is_scalar(packet.operations[number]):
            value = value[0]
        self.values[packet.first + number] = value

    def _begin_rest(self) -> None:
        """What did not fit its packet goes again, alone and in fragments."""
        self._again, self._redo = self._redo, []
        exchanges = (
            make_exchange(packet.operations[number], self.plan.layouts)
            for packet, number in self._again
        )
        timeout_s = None if self.timeout_s == math.inf else self.timeout_s
        self._rest = Pipeline(
            self.session, exchanges, self.plan.lane, depth=self.depth, timeout_s=timeout_s
        )
        self._rest.root = self
        self._finished = iter(self._again)

    def _take_rest(self) -> None:
        rest = self._rest
        assert rest is not None
        while (exchange := rest.next_result()) is not None:
            packet, number = next(self._finished)
            self._note(packet, number, exchange)
        self.trouble = self.trouble or rest.trouble
        self.error = self.error or rest.error
        self.sent += rest.sent
        rest.sent = 0


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


def is_scalar(operation: Operation) -> bool:
    """Whether the operation names one element rather than a range."""
    return "elements" not in operation and operation.get("method", "read") == "read"


def _estimate(operation: Operation, exchange: Exchange) -> int:
    if isinstance(exchange, ReadTag):
        return 6 + _GUESS * exchange.elements
    return exchange.estimate()


def learn_layout(packet: Packet, exchanges: list[Exchange], data: bytes) -> ReplyLayout | None:
    """The layout of a packet's reply, None where a value is not of a fixed size."""
    shape = ["<"]
    raw: list[int] = []
    picks: list[tuple[int, int] | None] = []
    found = position = cursor = 0  # values, bytes of the reply, items of the unpacked tuple
    overhead = 4 if packet.batch else 0  # of a reply's head, in front of its data
    for exchange, start in zip(exchanges, _reply_starts(packet, data), strict=True):
        if exchange.status:
            picks.append(None)
            continue
        fixed = _fixed(exchange)
        if fixed is None:
            return None
        head, code, items, size, pick = fixed
        begin = start + overhead + head
        shape.append(f"{begin - position}s{code}")
        picks.append((found, pick))
        raw.append(cursor)
        cursor += 1 + items
        found += items
        position = begin + size
    if not found:
        return None
    if position < len(data):
        shape.append(f"{len(data) - position}s")
        raw.append(cursor)
    compiled = struct.Struct("".join(shape))
    unpacked = compiled.unpack(data)
    pieces = set(raw)
    every = [place for place in range(len(unpacked)) if place not in pieces]
    raw_getter = _getter(raw)
    return ReplyLayout(
        compiled,
        raw_getter,
        raw_getter(unpacked),
        _getter(every),
        tuple(picks),
        all(pick is not None and pick[1] == SCALAR for pick in picks),
    )


def _fixed(exchange: Exchange) -> tuple[int, str, int, int, int] | None:
    """(bytes before the value, `struct` code, items, bytes, pick) of a value of a fixed size."""
    value = exchange.value
    if isinstance(exchange, ReadTag):
        kind = BY_CODE.get(exchange.type[0]) if exchange.type else None
        if kind is None or not kind.size or "bit" in exchange.operation:
            return None
        letter = "?" if kind.kind == "bool" else kind.letter
        count = len(value)
        pick = SCALAR if is_scalar(exchange.operation) else count
        return 2, f"{count}{letter}", count, count * kind.size, pick
    raw = exchange.reply.data if exchange.reply is not None else b""
    if not raw or value != list(raw):
        return None
    return 0, f"{len(raw)}s", 1, len(raw), BYTES


def _reply_starts(packet: Packet, data: bytes) -> Sequence[int]:
    if not packet.batch:
        return (0,)
    count = len(packet.operations)
    return struct.unpack_from(f"<{count}H", data, 2)


def _getter(positions: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that picks these items of a tuple, as a tuple."""
    alternate = list(positions) == list(range(positions[0], positions[-1] + 1, 2))
    if alternate and len(positions) > 1:
        return operator.itemgetter(slice(positions[0], positions[-1] + 1, 2))
    if len(positions) == 1:
        only = positions[0]
        return operator.itemgetter(slice(only, only + 1))
    return operator.itemgetter(*positions)
