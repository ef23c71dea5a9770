"""What a subscriber is told by `protocols.bus.joiner`, in order, and what it counts."""

from dataclasses import dataclass

from cpppod.protocols.bus.feed import ValueMessage


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this frame to `feed.req`."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Updated:
    """Apply this BLOCK, or this REPEAT (all members, as of its block); each comes once, in order.

    Attributes:
        replayed: it was missed at first and came by replay.
    """

    topic: bytes
    message: ValueMessage
    payload: bytes
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages that will not come: those numbered `first` to `last` of this epoch.

    Attributes:
        topic: of the lost messages where only some topics are subscribed, else b"".
        count: how many they are; None where the subscription cannot tell.
        last: 0 where the feed does not know how far the epoch went: perhaps nothing is lost.
    """

    publisher: str
    epoch: int
    first: int
    last: int
    topic: bytes = b""
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """The first snapshot is applied: every topic that the feed knows has been updated."""


@dataclass(frozen=True, slots=True)
class PublisherChanged:
    """A publisher's heartbeats come again, or no more: its values are stale; or it lives anew."""

    publisher: str
    epoch: int
    alive: bool


Event = Ask | Updated | Lost | Joined | PublisherChanged


@dataclass(slots=True)
class Counters:
    """What the subscriber went through.

    Attributes:
        superseded: blocks not handed on because a snapshot had newer values already.
        lost: messages, where the subscription can tell how many; `lost_unknown` the other losses.
    """

    messages: int = 0
    malformed: int = 0
    duplicates: int = 0
    superseded: int = 0
    gaps: int = 0
    replayed: int = 0
    lost: int = 0
    lost_unknown: int = 0
    snapshots: int = 0
