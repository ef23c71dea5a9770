"""Joining the feed: a subscriber's decisions, from the first snapshot to the repair of every gap.

    subscribe ─► start: ask for the snapshot, queue what is published meanwhile
    last page ─► values of the snapshot, then the queue, less what is not newer
    live      ─► a message whose predecessor did not come: ask for a replay, queue what follows it
    replayed  ─► the missing messages, `Lost` for those that are gone, then the queue
    lost some ─► a snapshot again: what was lost may have changed what later blocks do not name

Whoever subscribes to everything counts sequences per publisher, and a gap says exactly how many
messages it is; otherwise the chain is each topic's `previous_in_topic`, and a gap only says where
it lies. Heartbeats reveal a gap at the end. Nothing here waits or does I/O: methods take `now`
(seconds of any monotonic clock) and return events in order.
"""

from collections import deque
from dataclasses import dataclass, field

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.feed import Kind, ValueMessage
from cpppod.protocols.bus.feed_events import (
    Ask,
    Counters,
    Event,
    Joined,
    Lost,
    PublisherChanged,
    Updated,
)
from cpppod.protocols.bus.feed_requests import (
    TO_THE_END,
    ReplayPage,
    ReplayRequest,
    SnapshotPage,
    SnapshotRequest,
    decode_reply,
    fit_request,
)
from cpppod.protocols.bus.topics import HEARTBEATS
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.freshness import BlockOrder

FEED = "feed"
REPLY_TIMEOUT_S = 2.0  # for one page; then it is asked again
TRIES = 3  # of one replay page, before the gap is final
SILENT_AFTER_S = 2.5  # two heartbeats missed
LOOK_AGAIN_S = 60.0  # longest wait between questions about a publisher that stays silent
MAX_QUEUED = 50_000  # messages behind a gap or a snapshot: 50 MB of blocks of 20 values


@dataclass(slots=True)
class _Stream:
    """One chain of sequences: a publisher's, or a topic's."""

    publisher: str
    epoch: int
    last: int
    topic: bytes = b""
    target: int = 0  # a replay up to here is under way; 0 for none
    request: int = 0
    asked_at: float = 0.0
    tries: int = 0
    over: bool = False  # a later epoch has begun, and this one's end is dealt with
    queue: deque[tuple[bytes, ValueMessage, bytes]] = field(default_factory=deque)


class _Topic(BlockOrder):
    __slots__ = ("doubtful",)

    def __init__(self, publisher: str) -> None:
        super().__init__(publisher)
        self.doubtful = True


@dataclass(slots=True)
class _Publisher:
    epoch: int
    heard: float
    heartbeat: float
    alive: bool = True
    look_at: float = 0.0  # while it is silent: when to ask the feed how far it went
    wait_s: float = SILENT_AFTER_S


class Joiner:
    """Joins the feed for subscriptions to `prefixes`.

    Attributes:
        subscriptions: what to subscribe to: the prefixes, and heartbeats.
        joined: whether the first snapshot is applied.
    """

    def __init__(self, prefixes: tuple[bytes, ...] = (b"",)) -> None:
        self.prefixes = prefixes
        self.everything = b"" in prefixes
        self.subscriptions = (b"",) if self.everything else (*prefixes, HEARTBEATS)
        self._asked = prefixes if fit_request(prefixes) else (b"",)
        self.joined = False
        self.counters = Counters()
        self.publishers: dict[str, _Publisher] = {}
        self._feed_epoch = 0
        self._streams: dict[bytes, _Stream] = {}  # by publisher's name, or by topic
        self._topics: dict[bytes, _Topic] = {}
        self._before: deque[tuple[bytes, ValueMessage, bytes]] = deque()
        self._last_id = 0
        self._snapshot: SnapshotRequest | None = None
        self._snapshot_asked_at = 0.0
        self._snapshot_again = False
        self._pages: list[SnapshotPage] = []
        self._queued = 0

    def start(self, now: float) -> list[Event]:
        """Once subscribed: ask for the first snapshot."""
        return self._ask_snapshot(now)

    def receive(self, topic: bytes, payload: bytes, now: float) -> list[Event]:
        """A message from `feed.pub`."""
        try:
            message = feed.decode(payload)
        except DecodeError:
            self.counters.malformed += 1
            return []
        self.counters.messages += 1
        if message.publisher == FEED:
            return self._hear_feed(message.epoch, now)
        events: list[Event] = []
        self._hear(message, now, events)
        if not self.joined:
            self._before.append((topic, message, payload))
            if len(self._before) > MAX_QUEUED:
                self._before.popleft()  # the chain shows it as a gap later
            return events
        self._take(topic, message, payload, now, events)
        return events

    def receive_reply(self, frame: bytes, now: float) -> list[Event]:
        """A message from `feed.req`."""
        try:
            reply = decode_reply(frame)
        except DecodeError:
            self.counters.malformed += 1
            return []
        if isinstance(reply, SnapshotPage):
            return self._snapshot_page(reply, now)
        if isinstance(reply, ReplayPage):
            return self._replay_page(reply, now)
        return []  # refused: asked again when its time is up

    def tick(self, now: float) -> list[Event]:
        """A few times a second: what has waited too long is asked again or given up."""
        events: list[Event] = []
        if self._snapshot is not None and now - self._snapshot_asked_at > REPLY_TIMEOUT_S:
            self._pages.clear()
            events += self._ask_snapshot(now)
        for stream in list(self._streams.values()):
            if stream.target and now - stream.asked_at > REPLY_TIMEOUT_S:
                if stream.tries >= TRIES:
                    self._give_up(stream, now, events)
                else:
                    self._ask_replay(stream, now, events)
        for name, publisher in self.publishers.items():
            if publisher.alive and now - publisher.heard > SILENT_AFTER_S:
                publisher.alive = False
                publisher.look_at, publisher.wait_s = now, SILENT_AFTER_S
                events.append(PublisherChanged(name, publisher.epoch, False))
            if not publisher.alive and now >= publisher.look_at:
                publisher.look_at = now + publisher.wait_s
                publisher.wait_s = min(2 * publisher.wait_s, LOOK_AGAIN_S)
                self._look_for_the_end(name, now, events)
        return events

    def _look_for_the_end(self, publisher: str, now: float, events: list[Event]) -> None:
        """No heartbeat will tell how far its numbers went: have what may have been missed."""
        for stream in list(self._streams.values()):
            if stream.publisher == publisher and not stream.target:
                self._repair(stream, TO_THE_END, now, events)
        if not self.everything and self.joined and self._snapshot is None:
            events += self._ask_snapshot(now)  # for topics that we have never heard of

    def _hear_feed(self, epoch: int, now: float) -> list[Event]:
        """The feed's heartbeat: a new feed has another ring, and perhaps lost some on its way."""
        known, self._feed_epoch = self._feed_epoch, epoch
        if known not in (0, epoch) and self.joined and self._snapshot is None:
            return self._ask_snapshot(now)
        return []

    def _hear(self, message: ValueMessage, now: float, events: list[Event]) -> None:
        publisher = self.publishers.get(message.publisher)
        if publisher is None:
            publisher = self.publishers[message.publisher] = _Publisher(0, now, now, alive=False)
        if message.epoch > publisher.epoch or not publisher.alive:
            publisher.epoch = max(publisher.epoch, message.epoch)
            publisher.alive = True
            events.append(PublisherChanged(message.publisher, publisher.epoch, True))
        publisher.heard = now
        if message.kind == Kind.HEARTBEAT:
            late = now - publisher.heartbeat > SILENT_AFTER_S
            publisher.heartbeat = now
            if late and not self.everything:  # those that were missed may have named our topics
                self._look_for_the_end(message.publisher, now, events)

    def _take(
        self, topic: bytes, message: ValueMessage, payload: bytes, now: float, events: list[Event]
    ) -> None:
        """A live message, or one that has waited in a queue."""
        if message.kind == Kind.HEARTBEAT and not self.everything:
            for name, sequence in message.body.items():
                key = name.encode()
                if key.startswith(self.prefixes):
                    self._take_one(key, key, message._replace(sequence=sequence), b"", now, events)
        elif message.kind in (Kind.BLOCK, Kind.HEARTBEAT, Kind.REPEAT):
            key = message.publisher.encode() if self.everything else topic
            self._take_one(key, topic, message, payload, now, events)

    def _take_one(
        self,
        key: bytes,
        topic: bytes,
        message: ValueMessage,
        payload: bytes,
        now: float,
        events: list[Event],
    ) -> None:
        """What a message means to the chain `key`."""
        stream = self._streams.get(key)
        if stream is not None and stream.target:
            self._queue(stream, topic, message, payload, now, events)
            return
        if stream is None:
            stream = self._first(key, message, now, events)
            if stream is None:
                self._apply(topic, message, payload, False, events)
                return
        elif message.publisher != stream.publisher or message.epoch != stream.epoch:
            if message.publisher == stream.publisher and message.epoch < stream.epoch:
                self.counters.duplicates += 1
                return
            if not stream.over:  # first have, or declare, what is missing of the old epoch's end
                stream.over = True
                self._repair(stream, TO_THE_END, now, events)
                self._queue(stream, topic, message, payload, now, events)
                return
            stream = self._begin(key, message.publisher, message.epoch, 0)
        self._follow(stream, topic, message, payload, now, events)

    def _first(
        self, key: bytes, message: ValueMessage, now: float, events: list[Event]
    ) -> _Stream | None:
        """The chain that begins here; None: a repeat, which does not say where its chain is.

        Of a publisher that is younger than the feed the feed has had everything. Of an older one
        the snapshot knew nothing: what was before is not lost, but what the feed has had since may
        have gone by before this subscription held there: its last values are asked for.
        """
        if message.epoch > self._feed_epoch:
            return self._begin(key, message.publisher, message.epoch, 0)
        if message.kind == Kind.REPEAT:
            return None
        last = message.sequence
        if message.kind == Kind.BLOCK:
            last = self._predecessor(message)
        if last > 0:
            self._have_snapshot(now, events)
        return self._begin(key, message.publisher, message.epoch, last)

    def _begin(self, key: bytes, publisher: str, epoch: int, last: int) -> _Stream:
        stream = _Stream(publisher, epoch, last, b"" if self.everything else key)
        self._streams[key] = stream
        return stream

    def _predecessor(self, message: ValueMessage) -> int:
        return message.sequence - 1 if self.everything else message.previous

    def _follow(
        self,
        stream: _Stream,
        topic: bytes,
        message: ValueMessage,
        payload: bytes,
        now: float,
        events: list[Event],
    ) -> None:
        """The message, if it follows the stream's last; otherwise the repair of the gap before."""
        if message.kind == Kind.BLOCK:
            if message.sequence <= stream.last:
                self.counters.duplicates += 1
                return
            needed = self._predecessor(message)
        else:
            needed = message.sequence
        if needed > stream.last:
            self._repair(stream, needed, now, events)
            self._queue(stream, topic, message, payload, now, events)
        elif message.kind == Kind.BLOCK:
            stream.last = message.sequence
            self._apply(topic, message, payload, False, events)
        elif message.kind == Kind.REPEAT:
            self._apply(topic, message, payload, False, events)

    def _apply(
        self,
        topic: bytes,
        message: ValueMessage,
        payload: bytes,
        replayed: bool,
        events: list[Event],
        *,
        cached: bool = False,
    ) -> None:
        """Hand the message on unless what its topic has is as new.

        A repeat that was sent to all is applied again: the feed asked for it because it had lost
        some; one from the feed's cache only where we have.
        """
        held = self._topics.get(topic)
        if held is None:
            held = self._topics[topic] = _Topic(message.publisher)
        place = (message.publisher, message.epoch, message.sequence)
        again = message.kind == Kind.REPEAT and (held.doubtful or not cached)
        if not held.admits(*place, repeat=again):
            self.counters.superseded += message.kind == Kind.BLOCK
            return
        held.take(*place)
        if len(message.body.tags) == message.body.members:
            held.doubtful = False
        events.append(Updated(topic, message, payload, replayed))

    def _repair(self, stream: _Stream, target: int, now: float, events: list[Event]) -> None:
        """Begin the replay of what lies between the stream's last and `target`."""
        self.counters.gaps += target != TO_THE_END
        stream.target = target
        stream.tries = 0
        self._ask_replay(stream, now, events)

    def _ask_replay(self, stream: _Stream, now: float, events: list[Event]) -> None:
        self._last_id += 1
        stream.request = self._last_id
        stream.asked_at = now
        stream.tries += 1
        prefixes = (b"",) if self.everything else (stream.topic,)
        request = ReplayRequest(
            self._last_id, stream.publisher, stream.epoch, stream.last + 1, stream.target, prefixes
        )
        events.append(Ask(request.encode()))

    def _replay_page(self, page: ReplayPage, now: float) -> list[Event]:
        events: list[Event] = []
        stream = next((known for known in self._streams.values() if known.request == page.id), None)
        if stream is None or not stream.target:
            return events
        for topic, payload in page.messages:
            try:
                message = feed.decode(payload)
            except DecodeError:
                self.counters.malformed += 1
                continue
            if message.kind != Kind.BLOCK or message.sequence <= stream.last:
                continue
            self._lose(stream, self._predecessor(message), now, events)
            stream.last = message.sequence
            self.counters.replayed += 1
            self._apply(topic, message, payload, True, events)
        if page.following:
            stream.tries = 0
            self._ask_replay(stream, now, events)
            return events
        if stream.target == TO_THE_END:
            if page.last == 0:
                self._lose_unknown(stream, events)
            elif self.everything:
                self._lose(stream, page.last, now, events)
            stream.target = stream.last
            if page.next_epoch:
                stream.epoch, stream.last, stream.over = page.next_epoch, 0, False
                self._repair(stream, TO_THE_END, now, events)
                return events
        self._give_up(stream, now, events)
        return events

    def _give_up(self, stream: _Stream, now: float, events: list[Event]) -> None:
        """Whatever has not come by now is lost; go on with what has waited."""
        if stream.target == TO_THE_END:
            self._lose_unknown(stream, events)
        else:
            self._lose(stream, stream.target, now, events)
        stream.target = stream.request = 0
        queue, stream.queue = stream.queue, deque()
        self._queued -= len(queue)
        for topic, message, payload in queue:
            key = message.publisher.encode() if self.everything else topic
            self._take_one(key, topic, message, payload, now, events)

    def _lose_unknown(self, stream: _Stream, events: list[Event]) -> None:
        """The end of an epoch that the feed knows nothing of."""
        self.counters.lost_unknown += 1
        events.append(Lost(stream.publisher, stream.epoch, stream.last + 1, 0, stream.topic))

    def _lose(self, stream: _Stream, reached: int, now: float, events: list[Event]) -> None:
        """Declare what lies between the stream's last and `reached`, if anything."""
        missing = reached - stream.last
        if missing <= 0:
            return
        if self.everything:
            self.counters.lost += missing
        else:
            self.counters.lost_unknown += 1
        events.append(
            Lost(
                stream.publisher,
                stream.epoch,
                stream.last + 1,
                reached,
                stream.topic,
                missing if self.everything else None,
            )
        )
        stream.last = reached
        for name, topic in self._topics.items():
            if topic.publisher == stream.publisher and name.startswith(stream.topic):
                topic.doubtful = True
        self._have_snapshot(now, events)

    def _have_snapshot(self, now: float, events: list[Event]) -> None:
        """Ask for one that is made from now on."""
        if self._snapshot is None:
            events += self._ask_snapshot(now)
        else:
            self._snapshot_again = True

    def _queue(
        self,
        stream: _Stream,
        topic: bytes,
        message: ValueMessage,
        payload: bytes,
        now: float,
        events: list[Event],
    ) -> None:
        stream.queue.append((topic, message, payload))
        self._queued += 1
        if self._queued > MAX_QUEUED:
            self._give_up(stream, now, events)

    def _ask_snapshot(self, now: float, after: bytes = b"") -> list[Event]:
        self._last_id += 1
        self._snapshot = SnapshotRequest(self._last_id, self._asked, after)
        self._snapshot_asked_at = now
        return [Ask(self._snapshot.encode())]

    def _snapshot_page(self, page: SnapshotPage, now: float) -> list[Event]:
        if self._snapshot is None or page.id != self._snapshot.id:
            return []
        self._feed_epoch = self._feed_epoch or page.feed_epoch
        self._pages.append(page)
        if page.following:
            return self._ask_snapshot(now, page.following)
        self._snapshot = None
        self.counters.snapshots += 1
        pages, self._pages = self._pages, []
        events: list[Event] = []
        if not self.joined:
            self._start_chains(pages[0], now, events)
        for held in pages:
            for topic, payload in held.messages:
                if not topic.startswith(self.prefixes):
                    continue  # more was asked for than is wanted: one request could not name it
                self._take_last_value(topic, payload, now, events)
        if not self.joined:
            self.joined = True
            events.append(Joined())
            before, self._before = self._before, deque()
            for topic, message, payload in before:
                self._take(topic, message, payload, now, events)
        if self._snapshot_again:
            self._snapshot_again = False
            events += self._ask_snapshot(now)
        return events

    def _start_chains(self, page: SnapshotPage, now: float, events: list[Event]) -> None:
        """The first snapshot says where every chain begins, and who is silent."""
        for name, (epoch, sequence, alive) in page.publishers.items():
            if self.everything:
                self._begin(name.encode(), name, epoch, sequence)
            if name not in self.publishers:
                self.publishers[name] = _Publisher(epoch, now, now, bool(alive))
                events.append(PublisherChanged(name, epoch, bool(alive)))

    def _take_last_value(
        self, topic: bytes, payload: bytes, now: float, events: list[Event]
    ) -> None:
        try:
            message = feed.decode(payload)
        except DecodeError:
            self.counters.malformed += 1
            return
        if message.kind != Kind.REPEAT:
            return
        self._apply(topic, message, payload, False, events, cached=True)
        if self.everything or topic in self._streams:
            return
        if not self.joined or message.epoch < self._feed_epoch:
            self._begin(topic, message.publisher, message.epoch, message.sequence)
        else:  # all its blocks were published since we joined, and none has come
            stream = self._begin(topic, message.publisher, message.epoch, 0)
            self._repair(stream, message.sequence, now, events)
