"""Live values: each block of the feed encoded once, for every stream that follows its group.

    feed ── Updated(topic, block) ──► Hub ── one text ──► Stream, Stream ... ──► SSE or WebSocket
                                                │ over 256 KB unread: cleared, `lost` is said, and
                                                └ its groups are sent whole again

    event   data
    block   {"topic", "publisher", "epoch", "sequence", "previous", "time_us", "values"}
    whole   the same with all members: at first, and after a loss
    lost    {"topic", "count"}   count null where nobody can tell how many
    silent  {"publisher", "alive"}

`values` is {member: [value, quality]}, or [value, quality, reason] where it is not good.
`sequence` and `previous` are the feed's: a client that has not seen `previous` has lost something.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from cpppod.protocols.bus.feed import Kind, ValueMessage
from cpppod.protocols.bus.feed_events import Event, Lost, PublisherChanged, Updated
from cpppod.protocols.model.values import explain
from cpppod.workers.plain_json import encode
from cpppod.workers.values import GLOB, ValueCache
from cpppod.workers.web.answers import Problem

MAX_STREAMS = 64
MAX_UNREAD = 262_144  # bytes that wait for a client
MAX_PATTERNS = 1_000
MAX_GLOBS = 20  # each is tried on every tag, on the loop


class Stream:
    """What waits for one client; owned by the hub."""

    def __init__(self, topics: frozenset[bytes]) -> None:
        self.topics = topics
        self.lost = 0  # blocks, since it was last read
        self._waiting: deque[bytes] = deque()
        self._unread = 0
        self._news = asyncio.Event()

    def put(self, text: bytes) -> None:
        """One event more; those that wait are dropped where they are too many."""
        if self._waiting and self._unread + len(text) > MAX_UNREAD:
            self.lost += len(self._waiting) + 1
            self._waiting.clear()
            self._unread = 0
        elif not self.lost:
            self._waiting.append(text)
            self._unread += len(text)
        else:
            self.lost += 1
        self._news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Whether anything came within that time."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def take(self) -> list[bytes]:
        """All that waits."""
        self._news.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        self._unread = 0
        return taken


class Hub:
    """The streams, by what they follow."""

    def __init__(self, values: ValueCache) -> None:
        self.streams: set[Stream] = set()
        self.lost = 0
        self._values = values
        self._by_topic: dict[bytes, set[Stream]] = {}

    def open(self, patterns: Collection[str]) -> Stream:
        """A stream of the groups that the tags of `patterns` are in; close it afterwards.

        Raises:
            Problem: there is no such tag, or too many streams or patterns.
        """
        if len(self.streams) >= MAX_STREAMS:
            raise Problem(503, "live", f"{MAX_STREAMS} streams are open", "closing another page")
        if not 1 <= len(patterns) <= MAX_PATTERNS:
            raise Problem(422, "tags", f"{len(patterns)} patterns", f"1 to {MAX_PATTERNS}")
        if sum(bool(GLOB.search(each)) for each in patterns) > MAX_GLOBS:
            raise Problem(422, "tags", "too many patterns", f"names, and {MAX_GLOBS} patterns")
        topics = frozenset(info.topic for info in self._values.matching(patterns))
        if not topics:
            raise Problem(404, ", ".join(patterns)[:80], "no such tag", "/api/v1/tags")
        stream = Stream(topics)
        self.streams.add(stream)
        for topic in topics:
            self._by_topic.setdefault(topic, set()).add(stream)
        return stream

    def close(self, stream: Stream) -> None:
        """End a stream."""
        self.streams.discard(stream)
        for topic in stream.topics:
            followers = self._by_topic.get(topic, set())
            followers.discard(stream)
            if not followers:
                self._by_topic.pop(topic, None)

    def begin(self, stream: Stream) -> Iterable[bytes]:
        """What a stream begins with, at first and after a loss: its groups whole."""
        if stream.lost:
            self.lost += stream.lost
            yield _event("lost", {"topic": "", "count": stream.lost})
            stream.lost = 0
        for topic in sorted(stream.topics):
            if (whole := self._whole(topic)) is not None:
                yield whole

    def on_event(self, event: Event) -> None:
        """What the feed says, after the cache has taken it."""
        if isinstance(event, Updated):
            if followers := self._by_topic.get(event.topic):
                text = self._block(event.topic, event.message)
                for stream in followers:
                    stream.put(text)
        elif isinstance(event, Lost):
            text = _event("lost", {"topic": _name(event.topic), "count": event.count})
            concerned = self._by_topic.get(event.topic, set()) if event.topic else self.streams
            for stream in concerned:
                stream.put(text)
        elif isinstance(event, PublisherChanged):
            text = _event("silent", {"publisher": event.publisher, "alive": event.alive})
            for stream in self.streams:
                stream.put(text)

    def _whole(self, topic: bytes) -> bytes | None:
        group = self._values.group(topic)
        if group is None or not group.samples:
            return None
        return _event(
            "whole",
            {
                "topic": _name(topic),
                "publisher": group.publisher,
                "epoch": group.epoch,
                "sequence": group.sequence,
                "previous": 0,
                "time_us": group.source_us,
                "values": {
                    name: _sample(value, code, self._values.inputs(topic, name))
                    for name, (value, code) in group.samples.items()
                },
            },
        )

    def _block(self, topic: bytes, message: ValueMessage) -> bytes:
        inputs = self._values.inputs
        values = {
            name: _sample(value, code, inputs(topic, name))
            for name, value, code in message.body.samples()
        }
        return _event(
            "whole" if message.kind == Kind.REPEAT else "block",
            {
                "topic": _name(topic),
                "publisher": message.publisher,
                "epoch": message.epoch,
                "sequence": message.sequence,
                "previous": message.previous,
                "time_us": message.source_us,
                "values": values,
            },
        )


def _sample(value: Any, quality: int, inputs: Sequence[str]) -> list[Any]:
    return [value, quality] if quality == 0 else [value, quality, explain(quality, inputs)]


def _name(topic: bytes) -> str:
    return topic.decode("ascii", "replace").rstrip("/")


def _event(name: str, data: dict[str, Any]) -> bytes:
    """An event as SSE has it; a WebSocket sends its two parts as one object."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(data))


def as_message(event: bytes) -> str:
    """An event for a WebSocket: `{"event": ..., "data": {...}}`."""
    name, _, data = event.decode()[7:-2].partition("\ndata: ")
    return f'{{"event":"{name}","data":{data}}}'
