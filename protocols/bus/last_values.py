"""The last-value cache: what every topic is worth, and as of which block.

Blocks name what changed; here they add up to the whole group, which travels as a REPEAT. A block of
another publisher, or of a later epoch, begins its topic anew: the first block of an epoch names all
members.
"""

from typing import Any

from cpppod.protocols.bus.feed import Block, Kind, ValueMessage
from cpppod.protocols.bus.feed_requests import PAGE_BYTES, Message
from cpppod.protocols.model.freshness import BlockOrder

MAX_TOPICS = 20_000  # ten times the groups of the largest plant planned for


class _Topic(BlockOrder):
    __slots__ = ("members", "message", "payload", "samples")

    def __init__(self) -> None:
        super().__init__()
        self.message: ValueMessage | None = None  # envelope of the last block applied
        self.members = 0
        self.samples: dict[str, tuple[Any, int]] = {}
        self.payload = b""  # of the REPEAT, made when it is asked for


class LastValues:
    """Last values by topic.

    Attributes:
        gateway: whose they are; repeats name it.
        refused: blocks that were not kept because there are `MAX_TOPICS` topics already.
    """

    def __init__(self, gateway: str = "") -> None:
        self.gateway = gateway
        self._topics: dict[bytes, _Topic] = {}
        self.refused = 0

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, topic: bytes) -> bool:
        return topic in self._topics

    def apply(self, topic: bytes, message: ValueMessage) -> bool:
        """Whether the BLOCK or REPEAT was taken; one older than what is here is not."""
        entry = self._topics.get(topic)
        if entry is None:
            if len(self._topics) >= MAX_TOPICS:
                self.refused += 1
                return False
            entry = self._topics[topic] = _Topic()
        publisher, epoch, sequence = message.publisher, message.epoch, message.sequence
        repeat = message.kind == Kind.REPEAT
        if not entry.admits(publisher, epoch, sequence, repeat=repeat):
            return False
        same = (publisher, epoch) == (entry.publisher, entry.epoch)
        entry.take(publisher, epoch, sequence)
        block: Block = message.body
        if repeat or not same or len(block.tags) == block.members:
            entry.samples = block.as_dict()
        else:
            entry.samples.update(block.as_dict())
        entry.message = message
        entry.members = block.members
        entry.payload = b""
        return True

    def sequence(self, topic: bytes, publisher: str, epoch: int) -> int:
        """Of the last block of that publisher's epoch applied to the topic; 0 for none."""
        entry = self._topics.get(topic)
        if entry is None or (entry.publisher, entry.epoch) != (publisher, epoch):
            return 0
        return entry.sequence

    def source(self, topic: bytes) -> tuple[str, int]:
        """Publisher and epoch of the last block applied to `topic`, which must be here."""
        entry = self._topics[topic]
        return entry.publisher, entry.epoch

    def page(self, prefixes: tuple[bytes, ...], after: bytes) -> tuple[list[Message], bytes]:
        """Repeats of the topics behind `after`; and, if more follow, the last one's name."""
        messages: list[Message] = []
        size = 0
        for topic in sorted(self._topics):
            if topic <= after or not topic.startswith(prefixes):
                continue
            payload = self.repeat(topic)
            size += len(payload) + len(topic)
            if size > PAGE_BYTES and messages:
                return messages, messages[-1][0]
            messages.append((topic, payload))
        return messages, b""

    def repeat(self, topic: bytes) -> bytes:
        """The payload of a REPEAT of `topic`, which must be here."""
        entry = self._topics[topic]
        if not entry.payload and entry.message is not None:
            samples = entry.samples
            qualities = [quality for _, quality in samples.values()]
            body = Block(
                entry.members,
                list(samples),
                [value for value, _ in samples.values()],
                qualities[0] if len(set(qualities)) == 1 else qualities,
            )
            repeat = entry.message._replace(previous=0, kind=Kind.REPEAT, body=body, flags=0)
            entry.payload = repeat.encode(self.gateway)
        return entry.payload

    def forget(self, gone: set[bytes]) -> None:
        """Drop these topics: they are no longer configured."""
        for topic in gone:
            self._topics.pop(topic, None)

    def topics(self) -> list[bytes]:
        """The topics that are known."""
        return list(self._topics)
