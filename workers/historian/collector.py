"""The historian's work: from the journals into the store, whatever happens to either.

    turn()  look for journals ─► read a chunk of each ─► commit together ─► delete what is stored
            store fails: the same batch again, after a pause; the journals keep what comes meanwhile
            poison: into quarantine, declared as a gap; the rest again

It blocks: one `turn` after another on the I/O thread.
"""

import logging
from collections.abc import Callable
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
from cpppod.workers.journal.files import (
    START,
    behind_bytes,
    fits,
    segment_head,
    segment_path,
    segments,
)
from cpppod.workers.journal.reader import (
    CHUNK,
    JournalNewer,
    JournalReader,
)

logger = logging.getLogger(__name__)

MAX_BATCH = 50_000  # samples in one commit: a tenth of a second of the store's work
MIN_BATCH = 500  # ... and in the smallest, for a store that takes too long
MIN_CHUNK = 8_192  # bytes of a journal read at a time, then
GROWTH = 20  # a batch that was stored is followed by one a twentieth larger, up to the largest
SLOW_S = 2.0  # a commit that fails after so long may have been too large
LOOK_S = 1.0  # between looks for journals of new publishers
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
    journal_errors: int = 0


class Collector:
    """Moves readings from the journals below `root` into `store`.

    Attributes:
        state: `opening`, `storing`, `down`, `full`, or `refused` (another one of this id writes).
        error: what is wrong, while it is not `storing`.
        behind_bytes: of journals, not yet in the store; as of the last look.
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
    ) -> None:
        self.root = root
        self.store = store
        self.gateway = gateway
        self.since_us = since_us
        self.counters = CollectorCounters()
        self.state = "opening"
        self.error = ""
        self.behind_bytes = 0
        self.stored_us = 0
        self._monotonic = monotonic
        self._readers: dict[str, JournalReader] = {}
        self._committed: dict[str, Cursor] = {}
        self._batch = Batch()
        self._opened = False
        self._looked = self._measured = -LOOK_S
        self._began: dict[str, Cursor] = {}  # where reading of a journal began
        self._retry_at = 0.0
        self._pause = PAUSE_S
        self._size = MAX_BATCH  # samples in a batch: less for a store that takes too long
        self._failed_at = 0.0

    def turn(self, now_us: int) -> bool:
        """Do what is to be done now, about 100 ms of it; whether there is more at once.

        What came meanwhile waits for the next look, so that live readings are committed in groups.
        """
        now = self._monotonic()
        self._measure(now)
        if now < self._retry_at:
            return False
        try:
            if not self._opened:
                self._open()
            self._look(now)
            more = self._fill()
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
        if self._readers and known != self._committed:
            for name in self._readers:
                if known.get(name) != self._committed.get(name):
                    logger.warning("store is not as it was left publisher=%s", name)
            self._committed = known
            self._batch = Batch()
            for reader in self._readers.values():
                reader.back(self._position(reader.folder))
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
        for reader in self._readers.values():
            reader.close()
        self.store.close()
        self._opened = False

    def _look(self, now: float) -> None:
        """Find journals of publishers that are new."""
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for folder in self._folders():
            name = folder.name
            if name not in self._readers:
                cursor = self._began[name] = self._position(folder)
                self._readers[name] = JournalReader(
                    folder, cursor, gateway=self.gateway, since_us=self.since_us
                )
                logger.info("journal found publisher=%s segment=%d", name, cursor.segment)

    def _folders(self) -> list[Path]:
        return sorted(self.root.glob("*/")) if self.root.is_dir() else []

    def _measure(self, now: float) -> None:
        """See how much of the journals is not in the store, whether that can be reached or not."""
        if now - self._measured < LOOK_S:
            return
        self._measured = now
        behind = 0
        for folder in self._folders():
            cursor = self._committed.get(folder.name) or self._began.get(folder.name, START)
            try:
                behind += behind_bytes(folder, cursor)
            except OSError:
                self.counters.journal_errors += 1
        self.behind_bytes = behind

    def _fill(self) -> bool:
        """Read a chunk of each journal, in turn; whether the batch was full before their ends."""
        waiting = list(self._readers.values())
        samples = self._batch.samples()
        while waiting:
            for reader in list(waiting):
                if samples >= self._size:
                    return True
                known = len(self._batch.readings)
                try:
                    if not reader.read(self._batch):
                        waiting.remove(reader)
                except (OSError, JournalNewer) as error:
                    waiting.remove(reader)
                    self.counters.journal_errors += 1
                    logger.error("journal not read publisher=%s error=%s", reader.publisher, error)
                samples += sum(len(reading.tags) for reading in self._batch.readings[known:])
        return False

    def _commit(self) -> None:
        batch = self._batch
        try:
            stored = self.store.commit(batch)
        except PoisonError as error:
            self._set_aside(error)
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
        for reader in self._readers.values():
            reader.chunk = min(reader.chunk + reader.chunk // GROWTH, CHUNK)
        for publisher, cursor in batch.cursors.items():
            self._prune(publisher, cursor)

    def _begin_smaller(self) -> None:
        """Read again from what is stored, in smaller batches: this one is too much at a time."""
        self._size = max(self._size // 4, MIN_BATCH)
        self._batch = Batch()
        for reader in self._readers.values():
            reader.back(self._position(reader.folder))
            reader.chunk = max(reader.chunk // 4, MIN_CHUNK)

    def _set_aside(self, error: PoisonError) -> None:
        """Take readings that no store will have out of the batch, and declare them."""
        poison = set(error.indices)
        batch = self._batch
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

    def _prune(self, publisher: str, cursor: Cursor) -> None:
        """Delete the segments of a journal that are stored as a whole."""
        folder = self.root / publisher
        for number, suffix in segments(folder).items():
            if number >= cursor.segment:
                return
            try:
                segment_path(folder, number, suffix).unlink(missing_ok=True)
            except OSError as error:
                logger.warning(
                    "journal segment not deleted publisher=%s error=%s", publisher, error
                )
                return

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
