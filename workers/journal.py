"""A worker's journal: each block of a historised group is on disk before it is published.

For whoever publishes:

    journal = Journal(folder, epoch, io, limits=JournalLimits.from_options(worker.options))
    await journal.open()                                    # folder: state_dir/journal/<worker>
    topic, payload = publisher.block(...)
    kept = await journal.append(topic, payload, sequence=sequence, samples=len(changed))
    if not kept: mark the block unjournalled (before it is sent)
    ...
    await journal.close()                                   # at a clean stop

`append` takes at most 50 ms of the caller's time. False means that the block is not known to be
on disk: it is either still on its way there, or was refused; a refused one is written down as a
gap as soon as the journal works again. Never raises for a disk's trouble, never blocks the loop.

    00000000000000000001.journal      segments, numbered, one epoch each (`protocols.bus.journal`)
    00000000000000000002.tombstone    heads of a segment that was dropped for want of room

Appends of one turn of the I/O thread are one write; every `sync_s` they are forced to the disk.
The historian deletes what its store has committed; the worker drops the oldest beyond its bounds,
declared.
"""

import asyncio
import fcntl
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.journal import SEGMENT, Hole, Kind, Segment, encode_record, scan
from cpppod.protocols.errors import EncodeError
from cpppod.workers.io_thread import IoThread, IoThreadBusy

logger = logging.getLogger(__name__)

APPEND_WAIT_S = 0.05  # what a block may be held back for; then it goes out marked unjournalled
MAX_PENDING = 8 * 1024 * 1024  # bytes not yet written: seconds of the largest plant's blocks
ALARM_S = 60.0  # for which a drop is named in the beats
MAX_HOLES = 1_000  # gaps remembered while nothing can be written; further ones join the last
SUFFIX, TOMBSTONE = ".journal", ".tombstone"


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """How much a journal may hold; of a worker's options `journal_bytes` and `journal_age_s`.

    Attributes:
        bytes, age_s: beyond either, the oldest segments are dropped and declared.
        segment_bytes, segment_s: a new segment from that size or age of the present one on.
        sync_s: how often what was appended is forced to the disk; 0 after every write.
    """

    bytes: int = 256 * 1024 * 1024
    age_s: float = 72 * 3600.0
    segment_bytes: int = 4 * 1024 * 1024
    segment_s: float = 600.0
    sync_s: float = 1.0

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "JournalLimits":
        """The limits among a worker's options, with or without `journal_` before them."""
        named = {name.removeprefix("journal_"): value for name, value in options.items()}
        return cls(**{name: named[name] for name in cls.__slots__ if name in named})


@dataclass(slots=True)
class JournalCounters:
    """What happened, cumulative.

    Attributes:
        late: appends that took longer than their caller would wait.
        refused_samples: of blocks that could not be written down.
        dropped_samples: of blocks that were dropped for want of room, before they were stored.
        errors: writes that failed.
    """

    blocks: int = 0
    samples: int = 0
    bytes: int = 0
    late: int = 0
    refused_blocks: int = 0
    refused_samples: int = 0
    dropped_segments: int = 0
    dropped_samples: int = 0
    errors: int = 0


def segments(folder: Path) -> dict[int, str]:
    """The numbers of a journal's segments, in order, each with `SUFFIX` or `TOMBSTONE`."""
    found: dict[int, str] = {}
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    for name in sorted(names):
        stem, dot, suffix = name.rpartition(".")
        if stem.isdigit() and dot + suffix in (SUFFIX, TOMBSTONE):
            found.setdefault(int(stem), dot + suffix)  # a whole segment goes before its tombstone
    return dict(sorted(found.items()))


def segment_path(folder: Path, number: int, suffix: str = SUFFIX) -> Path:
    """Where segment `number` is."""
    return folder / f"{number:020d}{suffix}"


@dataclass(slots=True)
class JournalWriter:
    """The files of one journal; every method blocks and belongs on the I/O thread."""

    folder: Path
    epoch: int
    limits: JournalLimits = field(default_factory=JournalLimits)
    counters: JournalCounters = field(default_factory=JournalCounters)
    _file: int = -1
    _lock: int = -1
    _number: int = 0
    _size: int = 0
    _created: float = 0.0
    _synced: float = 0.0
    _unsynced: bool = False
    _wall_offset: float = 0.0  # of the wall clock at the start: a clock that jumps ages nothing

    def open(self, now: float) -> None:
        """Lock the folder; the first segment of this life follows whatever is there.

        Raises:
            OSError: no folder, or (BlockingIOError) another process writes this journal.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._lock < 0:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise
            self._lock = lock
        self._number = max(segments(self.folder), default=0)
        self._begin_segment(now)
        self._synced = now
        self._wall_offset = time.time() - now

    def close(self) -> None:
        """Force everything to the disk and let go."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def append(self, records: bytes, now: float) -> None:
        """Write whole records in one go, then sync and drop as the limits say.

        Raises:
            OSError: nothing of `records` is in the journal.
        """
        if self._file < 0 or self._is_full(len(records), now):
            self._begin_segment(now)
        try:
            _write_all(self._file, records)
        except OSError:
            self.counters.errors += 1
            self._undo()
            raise
        self._size += len(records)
        self.counters.bytes += len(records)
        self._unsynced = True
        self.sync(now)

    def _is_full(self, more: int, now: float) -> bool:
        if self._size <= SEGMENT.size:
            return False
        too_long = self._size + more > self.limits.segment_bytes
        return too_long or now - self._created >= self.limits.segment_s

    def sync(self, now: float) -> None:
        """Force what was appended to the disk, if it is time to.

        A disk that refuses is counted and gets a new segment: what was written of this one survives
        the process, whether it survives a power loss is not known.
        """
        if not self._unsynced or now - self._synced < self.limits.sync_s:
            return
        self._synced = now
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self.counters.errors += 1
            logger.error("journal not forced to disk folder=%s error=%s", self.folder, error)
            os.close(self._file)
            self._file = -1
        self._unsynced = False

    def trim(self, now: float) -> int:
        """Drop the oldest segments beyond the limits, leaving tombstones; the samples dropped."""
        sizes = []
        for number, suffix in segments(self.folder).items():
            if suffix == SUFFIX and number != self._number:
                status = segment_path(self.folder, number).stat()
                sizes.append((number, status.st_size, status.st_mtime))
        total = sum(size for _, size, _ in sizes) + self._size
        dropped = 0
        for number, size, modified in sizes:
            too_old = now + self._wall_offset - modified > self.limits.age_s
            if total <= self.limits.bytes and not too_old:
                break
            dropped += self._drop(number)
            total -= size
        return dropped

    def _drop(self, number: int) -> int:
        """Replace a segment by its tombstone; whichever of both is there tells the truth."""
        path = segment_path(self.folder, number)
        data = path.read_bytes()
        records, _, _ = scan(data, SEGMENT.size)
        lost = [
            encode_record(
                Kind.LOST if record.kind == Kind.BLOCK else record.kind,
                record.topic,
                b"" if record.kind == Kind.BLOCK else record.body,
                sequence=record.sequence,
                samples=record.samples,
            )
            for record in records
        ]
        _replace(
            segment_path(self.folder, number, TOMBSTONE), data[: SEGMENT.size] + b"".join(lost)
        )
        path.unlink()
        samples = sum(record.samples for record in records if record.kind == Kind.BLOCK)
        self.counters.dropped_segments += 1
        self.counters.dropped_samples += samples
        logger.error(
            "journal over its limits, oldest dropped folder=%s segment=%d samples=%d",
            self.folder,
            number,
            samples,
        )
        return samples

    def _begin_segment(self, now: float) -> None:
        if self._file >= 0:
            finished, self._file = self._file, -1
            try:
                os.fdatasync(finished)
            finally:
                os.close(finished)
        path = segment_path(self.folder, self._number + 1)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, Segment(self.epoch, time.time_ns() // 1000).encode())
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file, self._number = file, self._number + 1
        self._size, self._created, self._unsynced = SEGMENT.size, now, True
        _sync_folder(self.folder)

    def _undo(self) -> None:
        """After a failed write, cut off the half of a record that may have gone out."""
        try:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        except OSError:
            os.close(self._file)
            self._file = -1  # the next append begins a new segment


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """The journal as its worker's loop uses it; see the module."""

    def __init__(
        self, folder: Path, epoch: int, io: IoThread, *, limits: JournalLimits | None = None
    ) -> None:
        self.counters = JournalCounters()
        self._writer = JournalWriter(folder, epoch, limits or JournalLimits(), self.counters)
        self._io = io
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._waiting: list[asyncio.Future[bool]] = []
        self._holes: list[tuple[bytes, Hole]] = []
        self._task: asyncio.Task[None] | None = None
        self._since = 0.0  # when the write in progress began: nobody waits 50 ms behind others
        self._open = False
        self._trimmed = 0.0
        self._alarmed_until = 0.0
        self._failing = False

    async def open(self) -> bool:
        """Make folder and first segment; False (logged) where that cannot be, and appends will
        retry."""
        return await self._ensure_open()

    async def close(self) -> None:
        """Write what is pending, force it to the disk, and let go of the files."""
        if self._task is not None:
            await self._task
        if self._open:
            self._open = False
            try:
                await self._io.call(self._writer.close)
            except (OSError, IoThreadBusy) as error:
                logger.error("journal not closed folder=%s error=%s", self._writer.folder, error)

    async def append(self, topic: bytes, payload: bytes, *, sequence: int, samples: int) -> bool:
        """Write a block down; whether it is on its way to the disk for certain (within 50 ms)."""
        try:
            record = encode_record(Kind.BLOCK, topic, payload, sequence=sequence, samples=samples)
        except EncodeError as error:
            logger.error("block not journalled topic=%s error=%s", topic, error)
            self.refuse(topic, sequence=sequence, samples=samples)
            return False
        if self._pending_bytes + len(record) > MAX_PENDING:
            self.refuse(topic, sequence=sequence, samples=samples)
            return False
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append(record)
        self._pending_bytes += len(record)
        self._waiting.append(waiting)
        if self._task is None:
            self._since = time.monotonic()
            self._task = asyncio.create_task(self._write())
        left_s = self._since + APPEND_WAIT_S - time.monotonic()
        done = left_s > 0 and (await asyncio.wait((waiting,), timeout=left_s))[0]
        if not done:
            self.counters.late += 1
            waiting.add_done_callback(lambda late: self._settled(late, topic, sequence, samples))
            return False
        return self._settled(waiting, topic, sequence, samples)

    def _settled(
        self, waiting: "asyncio.Future[bool]", topic: bytes, sequence: int, samples: int
    ) -> bool:
        if waiting.cancelled() or not waiting.result():
            self.refuse(topic, sequence=sequence, samples=samples)
            return False
        self.counters.blocks += 1
        self.counters.samples += samples
        return True

    def refuse(self, topic: bytes, *, sequence: int, samples: int) -> None:
        """Remember a block that will not be in the journal, to be declared there as a gap."""
        self.counters.refused_blocks += 1
        self.counters.refused_samples += samples
        now_us = time.time_ns() // 1000
        for at, (of, hole) in enumerate(self._holes):
            if of == topic or len(self._holes) >= MAX_HOLES:
                name = topic if of == topic else b""
                self._holes[at] = (
                    name,
                    Hole(
                        min(hole.first, sequence),
                        max(hole.last, sequence),
                        hole.blocks + 1,
                        hole.samples + samples,
                        hole.reason,
                        hole.from_us,
                        now_us,
                    ),
                )
                return
        self._holes.append(
            (topic, Hole(sequence, sequence, 1, samples, "not journalled", now_us, now_us))
        )

    async def _write(self) -> None:
        """Write what is pending, batch after batch, until nothing is."""
        try:
            while self._pending:
                await asyncio.sleep(0)  # what is ready in this turn goes along
                records, waiting = self._pending, self._waiting
                self._since = time.monotonic()
                self._pending, self._waiting, self._pending_bytes = [], [], 0
                kept = await self._ensure_open() and await self._append(b"".join(records))
                for future in waiting:
                    if not future.done():
                        future.set_result(kept)
                if kept:
                    await self._declare()
                    await self._trim()
        finally:
            self._task = None

    async def _ensure_open(self) -> bool:
        if not self._open:
            try:
                await self._io.call(self._writer.open, time.monotonic())
                self._open = True
            except (OSError, IoThreadBusy) as error:
                self._report("open", error)
        return self._open

    async def _append(self, records: bytes) -> bool:
        try:
            await self._io.call(self._writer.append, records, time.monotonic())
        except (OSError, IoThreadBusy) as error:
            self._report("append", error)
            return False
        if self._failing:
            self._failing = False
            logger.info("journal works again folder=%s", self._writer.folder)
        return True

    async def _declare(self) -> None:
        """Write down the gaps that were remembered while nothing could be written."""
        holes, self._holes = self._holes, []
        if not holes:
            return
        records = b"".join(
            encode_record(Kind.GAP, topic, hole.encode(), sequence=hole.last, samples=hole.samples)
            for topic, hole in holes
        )
        if not await self._append(records):
            self._holes = holes + self._holes

    async def _trim(self) -> None:
        now = time.monotonic()
        if now - self._trimmed < 1.0:
            return
        self._trimmed = now
        try:
            if await self._io.call(self._writer.trim, now):
                self._alarmed_until = now + ALARM_S
        except (OSError, IoThreadBusy) as error:
            self._report("trim", error)

    def _report(self, what: str, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            logger.error(
                "journal cannot be used folder=%s what=%s error=%s",
                self._writer.folder,
                what,
                error,
            )

    def overdue(self) -> list[str]:
        """What a beat should call overdue: a journal that cannot be written, or loses its
        oldest."""
        found = ["journal"] if self._failing else []
        if time.monotonic() < self._alarmed_until:
            found.append("journal over its limits")
        return found

    def metrics(self) -> list[list[Any]]:
        """The counters as a beat carries them."""
        return [
            [f"cpppod_journal_{name}_total", {}, getattr(self.counters, name)]
            for name in JournalCounters.__slots__
        ]
