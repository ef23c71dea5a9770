"""The historian's work: from the journals into the store, whatever happens to either.

    turn()  look for journals ─► read a chunk of each ─► commit together ─► delete what is stored
            store fails: the same batch again, after a pause; the journals keep what comes meanwhile
            poison: into quarantine, declared as a gap; the rest again

It blocks: one `turn` after another on the I/O thread.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    Gap,
    PoisonError,
    Quarantined,
    Store,
    StoreError,
    WriterError,
)
from cpppod.workers.journal.files import START, fits, segment_head, segments
from cpppod.workers.journal.following import GROWTH, Journals, Passed
from cpppod.workers.state import StateDirectory

logger = logging.getLogger(__name__)

MAX_BATCH = 50_000  # samples in one commit: a tenth of a second of the store's work
MIN_BATCH = 500  # ... and in the smallest, for a store that takes too long
NAME = "historian"  # among the readers of the journals
SLOW_S = 2.0  # a commit that fails after so long may have been too large
PAUSE_S, PAUSE_MAX_S = 0.5, 4.0  # before a store that failed is tried again


@dataclass(slots=True)
class CollectorCounters:
    """What happened, cumulative."""

    readings: int = 0
    samples: int = 0
    duplicates: int = 0
    gaps: int = 0
    gap_samples: int = 0
    quarantined: int = 0
    commits: int = 0
    store_errors: int = 0


class Collector:
    """Moves readings from the journals below `root` into `store`.

    Args:
        readers: of the journals, by name, this one among them.
        unstored: (device, group) that are journalled for others alone.

    Attributes:
        state: `opening`, `storing`, `down`, `full`, or `refused` (another one of this id writes).
        error: what is wrong, while it is not `storing`.
        stored_us: gateway time of the last reading stored.
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        *,
        monotonic: Callable[[], float],
        gateway: str = "",
        since_us: int = 0,
        readers: Collection[str] = (),
        unstored: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.journals = Journals(root, self._position, gateway=gateway, since_us=since_us)
        self.store = store
        self.gateway = gateway
        self.counters = CollectorCounters()
        self.state = "opening"
        self.error = ""
        self.stored_us = 0
        self._monotonic = monotonic
        self._passed = Passed(StateDirectory(root.parent), NAME, readers)
        self._unstored = frozenset(unstored)
        self._committed: dict[str, Cursor] = {}
        self._batch = Batch()
        self._opened = False
        self._retry_at = 0.0
        self._pause = PAUSE_S
        self._size = MAX_BATCH  # samples in a batch: less for a store that takes too long
        self._failed_at = 0.0

    def turn(self, now_us: int) -> bool:
        """Do what is to be done now, about 100 ms of it; whether there is more at once.

        What came meanwhile waits for the next look, so that live readings are committed in groups.
        """
        now = self._monotonic()
        self.journals.measure(now, self._committed)
        if now < self._retry_at:
            return False
        try:
            if not self._opened:
                self._open()
            self.journals.look(now)
            more = self.journals.fill(self._batch, self._size)
            if self._batch.cursors or self._batch.gaps:
                self._commit()
            elif not more:
                more = self.store.maintain(now_us)
        except StoreError as error:
            if self._monotonic() - now > SLOW_S:
                self._begin_smaller()
            self._fails(error, now)
            return False
        self._works()
        return more

    def _open(self) -> None:
        """Open the store; where it is not as it was left (an old copy), go on from where it is."""
        known = self.store.open()
        if self.journals and known != self._committed:
            for name in self.journals.names():
                if known.get(name) != self._committed.get(name):
                    logger.warning("store is not as it was left publisher=%s", name)
            self._committed = known
            self._batch = Batch()
            self.journals.back()
        self._committed = known
        self._opened = True

    def _position(self, folder: Path) -> Cursor:
        """How far a journal is stored, told by this gateway's cursor or by its former id's.

        A journal names the gateway that it was begun by: one whose id was lost, or that had none.
        """
        own = self._committed.get(folder.name)
        found = segments(folder)
        if (own is not None and fits(folder, found, own)) or not found:
            return own or START
        try:
            head = segment_head(folder, next(iter(found)))
        except DecodeError:
            head = None
        if head is not None and head.gateway != self.gateway:
            former = self.store.cursors(head.gateway).get(folder.name)
            if former is not None and (own is None or fits(folder, found, former)):
                return former
        return own or START

    def failing_s(self) -> float:
        """For how long the store has taken nothing; 0 while it does."""
        return self._monotonic() - self._failed_at if self._failed_at else 0.0

    def close(self) -> None:
        """Let go of journals and store; nothing is lost that was not stored yet."""
        self.journals.close()
        self.store.close()
        self._opened = False

    def _commit(self) -> None:
        batch = self._batch
        if self._unstored:
            self._leave_out(batch)
        try:
            stored = self.store.commit(batch)
        except PoisonError as error:
            set_aside(self._batch, error)
            return
        counters = self.counters
        counters.commits += 1
        counters.readings += stored.readings
        counters.duplicates += stored.duplicates
        counters.samples += batch.samples()
        counters.gaps += len(batch.gaps)
        counters.gap_samples += sum(max(gap.samples, 0) for gap in batch.gaps)
        counters.quarantined += len(batch.quarantined)
        for gap in batch.gaps:
            logger.warning(
                "gap declared publisher=%s device=%s blocks=%d samples=%d reason=%s",
                gap.publisher,
                gap.device or "*",
                gap.blocks,
                gap.samples,
                gap.reason,
            )
        if batch.readings:
            self.stored_us = batch.readings[-1].gateway_us
        self._committed.update(batch.cursors)
        self._batch = Batch()
        self._size = min(self._size + self._size // GROWTH, MAX_BATCH)
        self.journals.larger()
        self._pass(batch.cursors)

    def _begin_smaller(self) -> None:
        """Read again from what is stored, in smaller batches: this one is too much at a time."""
        self._size = max(self._size // 4, MIN_BATCH)
        self._batch = Batch()
        self.journals.back()
        self.journals.smaller()

    def _leave_out(self, batch: Batch) -> None:
        """Take out what is journalled for other readers alone."""
        unstored = self._unstored
        batch.readings = [
            each for each in batch.readings if (each.device, each.group) not in unstored
        ]
        batch.gaps = [each for each in batch.gaps if (each.device, each.group) not in unstored]

    def _pass(self, cursors: dict[str, Cursor]) -> None:
        """Let go of what is stored, as far as no other reader needs it."""
        if self._passed.shared:
            self._passed.keep(self._committed)
        self._passed.prune({name: cursor.segment for name, cursor in cursors.items()})

    def _works(self) -> None:
        if self._failed_at:
            logger.info("store works again after_s=%.1f", self.failing_s())
        self.state, self.error = "storing", ""
        self._failed_at, self._pause = 0.0, PAUSE_S

    def _fails(self, error: StoreError, now: float) -> None:
        self.counters.store_errors += 1
        self._opened = False
        if not self._failed_at:
            self._failed_at = now
            logger.error("store cannot be used error=%s", error)
        refused = isinstance(error, WriterError)
        self.state = "full" if error.full else "refused" if refused else "down"
        self.error = str(error)
        self._retry_at = now + self._pause
        self._pause = min(self._pause * 2, PAUSE_MAX_S)


def set_aside(batch: Batch, error: PoisonError) -> None:
    """Take readings that no store will have out of the batch, and declare them."""
    poison = set(error.indices)
    for index in sorted(poison):
        reading = batch.readings[index]
        topic = f"{reading.device}/{reading.group}/".encode()
        key = (reading.publisher, reading.epoch, reading.sequence)
        body = repr((reading.tags, reading.values, reading.qualities)).encode()
        batch.quarantined.append(Quarantined(*key, str(error), topic, body, reading.gateway))
        batch.gaps.append(
            Gap(
                reading.publisher,
                reading.epoch,
                reading.device,
                reading.group,
                reading.sequence,
                reading.sequence,
                1,
                len(reading.tags),
                f"quarantined: {error}",
                reading.source_us,
                reading.source_us,
                reading.gateway,
            )
        )
    batch.readings = [
        reading for index, reading in enumerate(batch.readings) if index not in poison
    ]
    logger.error("readings set aside count=%d error=%s", len(poison), error)
