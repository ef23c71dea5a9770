"""The replay ring: the feed's last messages, by publisher and epoch, bounded by bytes and age.

    all messages, oldest first     ──►  (at, size) of stream, (at, size) of stream ...
    per (publisher, epoch), sorted      sequences, (topic, payload)

The oldest of all goes first, whoever published it. What an epoch was worth at its end (its last
sequence) is remembered longer than its messages, so that who missed its tail can tell how much that
was.
"""

from bisect import bisect_left
from collections import deque

from cpppod.protocols.bus.feed_requests import PAGE_BYTES, Message, ReplayPage, ReplayRequest

RING_BYTES = 16 << 20  # 16 MiB: half the memory a worker may have; 30 s of 20,000 values/s by 100
RING_AGE_S = 120.0
OVERHEAD = 150  # bytes that a message costs here beside its own: measured with tracemalloc
MAX_EPOCHS = 8  # of one publisher whose last sequence is remembered
MAX_SCAN = 20_000  # messages looked at for one page: some 10 ms


class _Stream:
    """The messages of one epoch; those before `head` are gone."""

    __slots__ = ("head", "messages", "sequences")

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.messages: list[Message] = []
        self.head = 0

    def drop_first(self) -> None:
        self.messages[self.head] = (b"", b"")
        self.head += 1
        if self.head > 1_000 and self.head * 2 > len(self.sequences):
            del self.sequences[: self.head], self.messages[: self.head]
            self.head = 0


class ReplayRing:
    """Holds what was published lately.

    Attributes:
        size: bytes held, with their cost here; `dropped`: messages that made room.
    """

    def __init__(self, *, max_bytes: int = RING_BYTES, max_age_s: float = RING_AGE_S) -> None:
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self.size = 0
        self.dropped = 0
        # two, not one of triples: the garbage collector need not look into pairs of numbers
        self._order: deque[tuple[float, int]] = deque()
        self._owners: deque[_Stream] = deque()
        self._streams: dict[str, dict[int, _Stream]] = {}
        self._last: dict[str, dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def append(
        self, publisher: str, epoch: int, sequence: int, message: Message, *, now: float
    ) -> None:
        """Hold `message`; sequences of an epoch must grow."""
        epochs = self._streams.setdefault(publisher, {})
        stream = epochs.get(epoch)
        if stream is None:
            stream = epochs[epoch] = _Stream()
            self._forget_old(publisher)
        stream.sequences.append(sequence)
        stream.messages.append(message)
        self.reached(publisher, epoch, sequence)
        size = len(message[0]) + len(message[1]) + OVERHEAD
        self._order.append((now, size))
        self._owners.append(stream)
        self.size += size
        while self.size > self.max_bytes:
            self._drop()

    def reached(self, publisher: str, epoch: int, sequence: int) -> None:
        """The publisher has given out numbers up to `sequence`, whether they came here or not."""
        self._last.setdefault(publisher, {})[epoch] = sequence

    def expire(self, now: float) -> None:
        """Drop what is older than `max_age_s`."""
        order, oldest = self._order, now - self.max_age_s
        while order and order[0][0] < oldest:
            self._drop()

    def page(self, request: ReplayRequest, feed_epoch: int) -> ReplayPage:
        """What is held of the range, from its beginning, as much as a page takes."""
        stream = self._streams.get(request.publisher, {}).get(request.epoch)
        ends = self._last.get(request.publisher, {})
        last = ends.get(request.epoch, 0)
        next_epoch = min((epoch for epoch in ends if epoch > request.epoch), default=0)
        answer = (request.id, feed_epoch, request.publisher, request.epoch)
        if stream is None or stream.head == len(stream.sequences):
            return ReplayPage(*answer, 0, last, [], 0, next_epoch)
        sequences = stream.sequences
        messages: list[Message] = []
        size = following = 0
        index = bisect_left(sequences, request.first, stream.head)
        stop = index + MAX_SCAN
        while index < len(sequences) and sequences[index] <= request.last:
            topic, payload = stream.messages[index]
            if topic.startswith(request.prefixes):
                size += len(payload) + len(topic)
                if size > PAGE_BYTES and messages:
                    following = sequences[index]
                    break
                messages.append((topic, payload))
            index += 1
            if index == stop and index < len(sequences):
                following = sequences[index]
                break
        first_held = sequences[stream.head]
        return ReplayPage(*answer, first_held, last, messages, following, next_epoch)

    def _drop(self) -> None:
        _, size = self._order.popleft()
        self._owners.popleft().drop_first()
        self.size -= size
        self.dropped += 1

    def _forget_old(self, publisher: str) -> None:
        """A new epoch has begun: let go of empty streams and of the oldest epochs' ends."""
        epochs = self._streams[publisher]
        newest = max(epochs)
        for epoch in [epoch for epoch, held in epochs.items() if held.head == len(held.sequences)]:
            if epoch != newest:
                del epochs[epoch]
        ends = self._last.get(publisher, {})
        for epoch in sorted(ends)[: max(0, len(ends) - MAX_EPOCHS)]:
            del ends[epoch]
