"""Plain reads by the packet: one exchange performs all operations that one packet carries.

    operations ─► BlockSource ─► Block: a full packet of plain reads
                              └► Exchange: anything else, one by one

Of every packet the memory keeps the request and how its reply was laid out. Operations that come
again are compared with it, and their values taken out of the reply by one `struct`. What is not as
expected (a failure, a string, a value that did not fit) is left to exchanges, one per operation.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any

from cpppod.protocols.cip.message_router import REPLY, MessageRouterReply, Service
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.enip.originator.batch import (
    MAX_SERVICES,
    OFFSET_BYTES,
    REPLY_OVERHEAD,
    REQUEST_OVERHEAD,
    decode_batch,
    encode_batch,
    reply_slices,
)
from cpppod.protocols.enip.originator.carrier import Carrier, MessageBudget
from cpppod.protocols.enip.originator.exchange import (
    GUESSED_ELEMENT,
    REPLY_HEAD,
    Exchange,
    Part,
    format_target,
)
from cpppod.protocols.enip.originator.layout import (
    SCALAR,
    ReplyLayout,
    read_layout,
    read_request,
)
from cpppod.protocols.enip.originator.operations import Operation, copy_operation
from cpppod.protocols.enip.originator.pipeline import NO_BATCHES
from cpppod.protocols.model.errors import ProtocolError

MAX_PACKETS = 1024  # remembered; 20,000 tags by unconnected messages
_PICKED = Service.READ_TAG | REPLY
_Make = Callable[[Operation], Exchange]


class KnownPacket:
    """A packet of reads that was sent before.

    Attributes:
        operations: what it reads; nobody else changes these dicts.
        full: whether another operation would not have fitted.
    """

    __slots__ = ("_descriptions", "full", "layout", "operations", "request")

    def __init__(self, operations: list[Operation], request: bytes, *, full: bool) -> None:
        self.operations, self.request, self.full = operations, request, full
        self.layout: ReplyLayout | None = None
        self._descriptions: list[str] = []

    @property
    def descriptions(self) -> list[str]:
        """How its operations are named in results."""
        if not self._descriptions:
            self._descriptions = [
                f"Multi. Read  Tag  {format_target(operation)}" for operation in self.operations
            ]
        return self._descriptions


class PacketMemory:
    """The packets of one connection by carrier, size and first request; the oldest go.

    Attributes:
        refused: the target has no Multiple Service Packets.
    """

    def __init__(self) -> None:
        self.refused = False
        self._packets: dict[tuple[Carrier, int, bytes], KnownPacket] = {}

    def get(self, key: tuple[Carrier, int, bytes]) -> KnownPacket | None:
        """The packet that began like this the last time."""
        return self._packets.get(key)

    def put(self, key: tuple[Carrier, int, bytes], packet: KnownPacket) -> None:
        """Remember a packet in place of the one that began alike."""
        self._packets.pop(key, None)
        while len(self._packets) >= MAX_PACKETS:
            del self._packets[next(iter(self._packets))]
        self._packets[key] = packet


class Block(Exchange):
    """A packet of reads as one exchange.

    Attributes:
        operations: as the caller gave them.
        values: a list of elements for each operation, once all succeeded.
        exchanges: one for each operation instead, where the reply was not as expected.
    """

    mergeable = False  # it is a packet already

    def __init__(
        self,
        packet: KnownPacket,
        operations: list[Operation],
        make: _Make,
        memory: PacketMemory,
    ) -> None:
        super().__init__({"method": "multiple"}, b"")
        self.packet, self.operations = packet, operations
        self.count = len(operations)
        self.values: list[list[Any]] = []
        self.exchanges: list[Exchange] = []
        self._make, self._memory = make, memory
        self._done = False
        self._budget: MessageBudget | None = None

    @property
    def done(self) -> bool:
        """Whether every operation is over."""
        return self._done or (
            bool(self.exchanges) and all(exchange.done for exchange in self.exchanges)
        )

    @done.setter
    def done(self, value: bool) -> None:
        self._done = value

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self._budget is None:
            self.in_flight, self._budget = 1, budget
            return Part(self, self.packet.request, 0, 0)
        for exchange in self.exchanges:
            part = exchange.next_part(budget)
            if part is not None:
                return part
        return None

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.reply = reply
        if reply.status == GeneralStatus.SUCCESS and self._take(reply.data):
            self.done, self.in_flight = True, 0
        else:
            self._unfold(reply)

    def _take(self, data: bytes) -> bool:
        """Take the values out of a reply in which every read succeeded."""
        packet = self.packet
        values = packet.layout.take(data) if packet.layout is not None else None
        if values is None:
            found = read_layout(packet.operations, data)
            if found is None:
                return False
            packet.layout, _ = found
            values = packet.layout.take(data)
        layout = packet.layout
        assert values is not None and layout is not None, "a layout fits what it was learnt from"
        if layout.scalars:
            self.values = [[value] for value in values]
            return True
        for pick in layout.picks:
            assert pick is not None, "only a reply without failures has this layout"
            start, count = pick
            self.values.append(list(values[start : start + (1 if count == SCALAR else count)]))
        return True

    def _unfold(self, reply: MessageRouterReply) -> None:
        """Leave the reply to exchanges, as if each operation had been put in the packet alone."""
        assert self._budget is not None
        self.exchanges = [self._make(operation) for operation in self.operations]
        for exchange in self.exchanges:
            exchange.index, exchange.multiple = self.index, True
        if reply.status in NO_BATCHES:
            self._memory.refused = True
            return
        parts = []
        for exchange in self.exchanges:
            part = exchange.next_part(self._budget)
            assert part is not None, "an exchange begins with a request"
            parts.append(part)
        if reply.status not in (GeneralStatus.SUCCESS, GeneralStatus.EMBEDDED_SERVICE_ERROR):
            for exchange in self.exchanges:
                exchange.fail(reply.status, reply.extended)
            return
        replies = decode_batch(reply.data, [part.request[0] for part in parts])
        for part, own in zip(parts, replies, strict=True):
            part.exchange.receive(part, own)

    def replies(self) -> list[MessageRouterReply]:
        """The reply to each operation, once all succeeded."""
        assert self.reply is not None
        data = self.reply.data
        slices = reply_slices(data, self.count)
        pieces = [data[start + REPLY_HEAD : end] for start, end in slices]
        fields = zip(repeat(_PICKED), repeat(0), repeat(()), pieces, strict=False)
        return list(map(MessageRouterReply._make, fields))


class BlockSource:
    """Operations as exchanges for a pipeline: blocks where whole packets of plain reads follow.

    Operations are taken one packet ahead at most.

    Args:
        make: the exchange of an operation that goes by itself.
        limit: bytes of a packet, as for `Pipeline`.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        make: _Make,
        carrier: Carrier,
        memory: PacketMemory,
        *,
        limit: int | bool,
    ) -> None:
        budget = carrier.budget
        size = 0xFFFF if limit is True else int(limit)
        self._operations = iter(operations)
        self._ahead: deque[Operation] = deque()
        self._error: ProtocolError | None = None
        self._make, self._carrier, self._memory = make, carrier, memory
        self._size = size
        self._budget = MessageBudget(min(size, budget.request), min(size, budget.reply))
        self._single = 0  # operations ahead that no block is to be made of

    def __iter__(self) -> Iterator[Exchange]:
        return self

    def __next__(self) -> Exchange:
        if self._single:
            self._single -= 1
        elif not self._memory.refused:
            block = self._block()
            if block is not None:
                return block
        if not self._look(1):
            raise self._error or StopIteration
        return self._make(self._ahead.popleft())

    def _look(self, count: int) -> bool:
        """Whether at least `count` operations are still to come; looks no further ahead."""
        ahead = self._ahead
        if len(ahead) < count and self._error is None:
            try:
                ahead.extend(islice(self._operations, count - len(ahead)))
            except ProtocolError as error:
                self._error = error
        return len(ahead) >= count

    def _block(self) -> Block | None:
        """The packet that follows, None where it is no full packet of plain reads."""
        if not self._look(1):
            return None
        first = _plain(self._ahead[0])
        if first is None:
            return None
        key = (self._carrier, self._size, first[0])
        packet = self._memory.get(key)
        taken = self._repeated(packet) if packet is not None else None
        if packet is None or taken is None:
            gathered = self._gather()
            if gathered is None:
                return None
            taken, packet = gathered
            self._memory.put(key, packet)
        return Block(packet, taken, self._make, self._memory)

    def _repeated(self, packet: KnownPacket) -> list[Operation] | None:
        """The operations ahead, where they are those of `packet`."""
        count = len(packet.operations)
        if not self._look(count) or (not packet.full and self._look(count + 1)):
            return None
        ahead = self._ahead
        taken = list(islice(ahead, count))
        if taken != packet.operations:
            return None
        for _ in range(count):
            ahead.popleft()
        return taken

    def _gather(self) -> tuple[list[Operation], KnownPacket] | None:
        """Plain reads as far as requests and replies fit; None where others would fit as well."""
        taken: list[Operation] = []
        requests: list[bytes] = []
        request, reply = REQUEST_OVERHEAD, REPLY_OVERHEAD
        full = False
        while self._look(1):
            made = _plain(self._ahead[0])
            if made is None:
                self._give_back(taken)
                return None
            request += OFFSET_BYTES + len(made[0])
            reply += OFFSET_BYTES + REPLY_HEAD + 2 + made[1] * GUESSED_ELEMENT
            if request > self._budget.request or reply > self._budget.reply:
                full = True
                break
            taken.append(self._ahead.popleft())
            requests.append(made[0])
            if len(taken) == MAX_SERVICES:
                full = True
                break
        if len(taken) < 2:
            self._give_back(taken)
            return None
        kept = [copy_operation(operation) for operation in taken]
        return taken, KnownPacket(kept, encode_batch(requests), full=full)

    def _give_back(self, taken: Sequence[Operation]) -> None:
        self._ahead.extendleft(reversed(taken))
        self._single = max(len(taken), 1) - 1


def _plain(operation: Operation) -> tuple[bytes, int] | None:
    """The request of a plain read whose path is a list of segments, None for all others.

    What is wrong with it is told by its exchange.
    """
    if not isinstance(operation.get("path"), list):
        return None
    try:
        return read_request(operation)
    except ProtocolError:
        return None
