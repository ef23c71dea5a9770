"""Remembered replies: from a request's bytes to a `Reply`, bounded by what they cost in memory.

    put    the oldest go where the sum of costs passes the limit, or that of all connections
    drop   a reply that goes is taken out of its sources' `readers`

Clients repeat themselves: what a request means is worked out once.
"""

from cpppod.protocols.cip.image import Reply
from cpppod.protocols.cip.status import CipError

MAX_COST = 16_777_216  # bytes for all requests without connection: 900 packets of 20 reads
MAX_CONNECTION_COST = 2_097_152  # bytes for one connection: 2,000 reads in packets
MAX_CONNECTIONS_COST = 16_777_216  # bytes for all connections of a target
MAX_KEY = 4_096  # bytes: a packet that fills a large connection is repeated by whoever polls
ENTRY = 1_250  # bytes of the objects around one entry, as measured
PART = 800  # bytes of those around each further reply in a packet


class Budget:
    """What several caches may cost together."""

    __slots__ = ("cost", "limit")

    def __init__(self, limit: int) -> None:
        self.cost = 0
        self.limit = limit


class ReplyCache:
    """A bounded map from request bytes to replies; `entries` is read directly on the hot path."""

    __slots__ = ("cost", "entries", "limit", "shared")

    def __init__(self, limit: int = MAX_COST, shared: Budget | None = None) -> None:
        self.entries: dict[bytes, Reply] = {}
        self.cost = 0
        self.limit = limit
        self.shared = shared or Budget(limit)

    def put(self, key: bytes, reply: Reply) -> bool:
        """Remember `reply`; False for a key or reply out of all proportion, which is not."""
        reply.cost += len(key) + ENTRY + PART * (reply.parts - 1)
        if len(key) > MAX_KEY or reply.cost > self.limit // 4:
            return False
        self.drop(key)
        self.entries[key] = reply
        self.cost += reply.cost
        self.shared.cost += reply.cost
        while self.cost > self.limit or (self.entries and self.shared.cost > self.shared.limit):
            self.drop(next(iter(self.entries)))
        return key in self.entries

    def drop(self, key: bytes) -> None:
        """Forget what `key` gave."""
        reply = self.entries.pop(key, None)
        if reply is not None:
            self.cost -= reply.cost
            self.shared.cost -= reply.cost
            forget(reply)

    def clear(self) -> None:
        """Forget everything, as when tags are added or removed."""
        for reply in self.entries.values():
            forget(reply)
        self.entries.clear()
        self.shared.cost -= self.cost
        self.cost = 0


def forget(reply: Reply) -> None:
    """Take a reply out of its sources; what was made of it is worth nothing any more."""
    reply.tail = None
    for source in reply.sources:
        if source.readers is not None:
            source.readers.discard(reply)
            if not source.readers:
                source.readers = None  # an empty set is as large as it ever was
        if source.image is not None:
            source.image.version += 1


def hold(reply: Reply) -> None:
    """A reply has just been rendered and is remembered: its sources drop it when they change."""
    for source in reply.sources:
        if source.readers is None:
            source.readers = {reply}
        else:
            source.readers.add(reply)


def refresh(reply: Reply) -> bytes | None:
    """Render a reply anew and have its sources drop it when they change; None: not fresh."""
    try:
        message = reply.render()
    except CipError:
        return None
    if not reply.lasts:
        return None
    for source in reply.sources:  # as `hold`, once a call cheaper
        if source.readers is None:
            source.readers = {reply}
        else:
            source.readers.add(reply)
    return message
