"""What every store of history takes and answers: readings, gaps, cursors in; samples out.

    journal ── Reading, Gap, Cursor ──► Store.commit ──► all of it, or an error and none of it
                                        StoreReader  ──► samples, gaps, tags

A reading is one block. Its key is (publisher, epoch, sequence), a sample's its place in the block
besides, so that what comes twice is stored once. Stores block: they belong on an I/O thread, or
in a command.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

ALL = ""  # group of a gap that concerns all groups of a device, or with device "" all devices


class StoreError(Exception):
    """The store cannot be used now; try again later with the same batch.

    Attributes:
        full: for want of room.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class PoisonError(StoreError):
    """The store will never take some of these readings, whatever is tried.

    Attributes:
        indices: which of the batch's readings; all others may be given again.
    """

    def __init__(self, message: str, indices: Sequence[int]) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


class SchemaError(StoreError):
    """The store was written by a newer version of this program; it is not touched."""


class Reading(NamedTuple):
    """One block: the members of a group that changed when it was read at `source_us`."""

    publisher: str
    epoch: int
    sequence: int
    device: str
    group: str
    source_us: int
    gateway_us: int
    mono_us: int
    members: int
    tags: list[str]
    values: list[Any]
    qualities: int | list[int]

    def quality(self, index: int) -> int:
        """Of the sample at `index`."""
        return self.qualities if isinstance(self.qualities, int) else self.qualities[index]


class Gap(NamedTuple):
    """Readings that were made or published and are not in the store.

    Attributes:
        device, group: `ALL` where not known, or several.
        first, last: their sequences; 0 and 0 where not known.
        blocks, samples: how many at least; -1 where not known.
        from_us, to_us: the time that they are of.
    """

    publisher: str
    epoch: int
    device: str
    group: str
    first: int
    last: int
    blocks: int
    samples: int
    reason: str
    from_us: int
    to_us: int


class Cursor(NamedTuple):
    """How far a publisher's journal is stored: all before `offset` of `segment`.

    Attributes:
        epoch, sequence: of the last reading stored.
        gateway_us: when that was.
    """

    segment: int
    offset: int
    epoch: int
    sequence: int
    gateway_us: int


class Quarantined(NamedTuple):
    """A record that no store takes, kept as it was found."""

    publisher: str
    epoch: int
    sequence: int
    reason: str
    topic: bytes
    body: bytes


@dataclass(slots=True)
class Batch:
    """What is committed together."""

    readings: list[Reading] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    cursors: dict[str, Cursor] = field(default_factory=dict)

    def samples(self) -> int:
        """How many samples the readings hold."""
        return sum(len(reading.tags) for reading in self.readings)


class Stored(NamedTuple):
    """What a commit did: readings that are new, and those that were there already."""

    readings: int
    duplicates: int


class Sample(NamedTuple):
    """A value, when its device was read, and how good it is."""

    time_us: int
    value: Any
    quality: int


@dataclass(frozen=True, slots=True)
class StoreState:
    """What a beat says of a store; -1 where it cannot be told cheaply."""

    bytes: int = -1
    oldest_us: int = -1
    free_bytes: int = -1
    removed_days: int = 0


class Store(Protocol):
    """Where the historian puts everything; one user at a time."""

    def open(self) -> dict[str, Cursor]:
        """Connect and migrate; how far each publisher's journal is stored.

        Raises:
            StoreError: not now. SchemaError: never with this version.
        """

    def commit(self, batch: Batch) -> Stored:
        """Store a batch as a whole, durably.

        Raises:
            StoreError: nothing of it is acknowledged. PoisonError: take those readings out first.
        """

    def maintain(self, now_us: int) -> bool:
        """Do a slice of upkeep (about 50 ms); whether there is more to do.

        Raises:
            StoreError: not now.
        """

    def state(self) -> StoreState:
        """Sizes as of the last commit or upkeep."""

    def close(self) -> None:
        """Let go of everything; `open` may follow."""


class StoreReader(Protocol):
    """Answers about what is stored; beside a `Store` at work."""

    def tags(self) -> list[str]:
        """All tags with history, as `device.tag`, sorted."""

    def samples(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Sample]:
        """The tag's samples of that time, both ends included, in order of time."""

    def last(self, device: str, tag: str, until_us: int) -> Sample | None:
        """The tag's last sample at or before then."""

    def gaps(self, device: str, since_us: int, until_us: int) -> list[Gap]:
        """Gaps that touch that time and concern the device ("": any), in order of time."""

    def minutes(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator["Minute"]:
        """The tag's minutes of that time, of days that are rolled up."""

    def rolled_up(self, since_us: int, until_us: int, *, gone_only: bool) -> list[tuple[int, int]]:
        """Begin and end of the days of that time that are rolled up, in order.

        Args:
            gone_only: only those whose samples are gone.
        """

    def readings(self, since_us: int, until_us: int) -> Iterator[Reading]:
        """Every reading of that time, in order of time: for export and playback."""

    def close(self) -> None:
        """Let go of files and connections."""


class Minute(NamedTuple):
    """A minute of a tag: bounds and time-weighted mean of its good numbers.

    Attributes:
        samples: those that fell into it; `good_us`: how long the value was good.
    """

    start_us: int
    minimum: float
    mean: float
    maximum: float
    samples: int
    good_us: int
