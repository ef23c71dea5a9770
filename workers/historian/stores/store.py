"""What every store of history takes and answers: readings, gaps, cursors in; samples out.

    journal ── Reading, Gap, Cursor ──► Store.commit ──► all of it, or an error and none of it
                                        StoreReader  ──► samples, gaps, tags

A reading is one block. Its key is (publisher, epoch, sequence), a sample's its place in the block
besides, so that what comes twice is stored once. Stores block: they belong on an I/O thread, or
in a command.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cpppod.workers.journal.batch import ALL as ALL
from cpppod.workers.journal.batch import Batch as Batch
from cpppod.workers.journal.batch import Cursor as Cursor
from cpppod.workers.journal.batch import Gap as Gap
from cpppod.workers.journal.batch import Quarantined as Quarantined
from cpppod.workers.journal.batch import Reading as Reading

NO_GATEWAY = ""  # what was stored before gateways had ids, and what was imported


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


class DamagedError(StoreError):
    """A file of the store does not hold what it should.

    Attributes:
        path: which; `reason`: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: damaged: {reason}")
        self.path, self.reason = path, reason


class SchemaError(StoreError):
    """The store was written by a newer version of this program; it is not touched."""


class WriterError(StoreError):
    """Another living gateway of the same id writes there; the text says who."""


class AdoptionError(StoreError):
    """That gateway's history cannot be joined to this one's; the text says why."""


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
    """What a beat says of a store; -1 where it cannot be told cheaply.

    Attributes:
        damaged: paths of what was put aside.
    """

    bytes: int = -1
    oldest_us: int = -1
    free_bytes: int = -1
    removed_days: int = 0
    damaged: tuple[str, ...] = ()


def family(gateway: str, adoptions: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Whose history a gateway's questions are about: its own, of all that it adopted, of nobody.

    Args:
        adoptions: (gateway, adopted).
    """
    found = {gateway, NO_GATEWAY}
    links = list(adoptions)
    while more := {adopted for by, adopted in links if by in found} - found:
        found |= more
    return frozenset(found)


def heirs(gateways: Iterable[str], adoptions: Iterable[tuple[str, str]]) -> list[str]:
    """Who has these gateways' histories now: each itself, or the one that adopted it."""
    by = {adopted: gateway for gateway, adopted in adoptions}
    found: dict[str, None] = {}
    for gateway in gateways:
        while gateway in by:
            gateway = by[gateway]
        found[gateway] = None
    return list(found)


def shared_tags(
    owners: Mapping[str, Iterable[str]], adoptions: Iterable[tuple[str, str]]
) -> dict[str, list[str]]:
    """The tags that are several gateways', with those.

    Args:
        owners: tag -> whose there is something stored of.
    """
    links = list(adoptions)
    found = {tag: heirs(sorted(set(known) - {NO_GATEWAY}), links) for tag, known in owners.items()}
    return {tag: known for tag, known in found.items() if len(known) > 1}


def check_adoption(
    gateway: str,
    adopted: str,
    known: Sequence[str],
    adoptions: Iterable[tuple[str, str]],
    alive: bool,
) -> None:
    """Whether `gateway` may adopt the history of `adopted`, as a store knows both.

    Raises:
        AdoptionError: not.
    """
    links = list(adoptions)
    if adopted == gateway:
        raise AdoptionError(f"{adopted} is this gateway itself")
    if adopted not in known:
        others = ", ".join(name for name in known if name != gateway) or "none"
        raise AdoptionError(f"{adopted} never wrote to this store; others that did: {others}")
    if alive:
        raise AdoptionError(f"{adopted} is alive and writes to this store; stop it first")
    if gateway in family(adopted, links):
        raise AdoptionError(f"{adopted} adopted this gateway's history")
    for by, other in links:
        if other == adopted and by != gateway:
            raise AdoptionError(f"{adopted} was adopted by {by} already")


class Writer(NamedTuple):
    """Who writes to a store.

    Attributes:
        gateway: its id; "" for what is of no gateway, as an import is.
        instance: tells a living gateway from a copy of it (`workers.identity`).
    """

    gateway: str = ""
    instance: str = ""


class Store(Protocol):
    """Where the historian puts everything; one user at a time."""

    def open(self) -> dict[str, Cursor]:
        """Connect and migrate; how far each publisher's journal of this gateway is stored.

        Raises:
            StoreError: not now. SchemaError: never with this version. WriterError: not while
                another one of this gateway's id writes.
        """

    def gateways(self) -> list[str]:
        """Every gateway that ever wrote there.

        Raises:
            StoreError: not now.
        """

    def adoptions(self) -> list[tuple[str, str]]:
        """Who adopted whom.

        Raises:
            StoreError: not now.
        """

    def adopt(self, adopted: str, now_us: int) -> None:
        """Join another gateway's history to this one's.

        Raises:
            StoreError: not now. AdoptionError: not that one.
        """

    def cursors(self, gateway: str) -> dict[str, Cursor]:
        """The same of another gateway's, "" for that which was before there were ids.

        Raises:
            StoreError: not now.
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
    """Answers about what is stored; beside a `Store` at work.

    It is asked by one gateway, and then knows what that one and those that it adopted have stored;
    or by nobody, and knows everything.
    """

    def gateways(self) -> list[str]:
        """Gateways with a history of their own: those that no other adopted."""

    def shared(self) -> dict[str, list[str]]:
        """Tags that several gateways have under one name, with those gateways."""

    def times(self, device: str, tag: str) -> dict[str, tuple[int, int]]:
        """When each gateway's first and last sample of such a tag were; of one gateway: nothing."""

    def tags(self) -> list[str]:
        """All tags with history, as `device.tag`, sorted."""

    def samples(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Sample]:
        """The tag's samples of that time, both ends included, in order of time."""

    def last(self, device: str, tag: str, until_us: int) -> Sample | None:
        """The tag's last sample at or before then."""

    def gaps(self, device: str, since_us: int, until_us: int) -> list[Gap]:
        """Gaps that touch that time and concern the device ("": any), in order of time.

        Raises:
            StoreError: they cannot be read.
        """

    def minutes(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator["Minute"]:
        """The tag's minutes of that time, of days that are rolled up.

        Raises:
            StoreError: they cannot be read.
        """

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
