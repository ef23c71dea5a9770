"""A journal's files: segments that are appended to, tombstones of those that had to be dropped.

    00000000000000000001.journal      segments, numbered, one epoch each (`protocols.bus.journal`)
    00000000000000000002.tombstone    heads of a segment that was dropped for want of room
    lock                              held by the worker that writes

Everything here blocks; `workers.journal` is what a worker's loop uses.
"""

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.journal import (
    LARGEST_HEAD,
    SEGMENT,
    Kind,
    Segment,
    decode_segment,
    encode_record,
    encode_stop,
    next_record,
    scan,
)
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.journal.batch import Cursor
from cpppod.workers.state import (
    clear_place,
    content,
    lock,
    make_folder,
    open_file,
    put_aside,
    sync_folder,
    write_whole,
)

logger = logging.getLogger(__name__)

START = Cursor(0, 0, 0, 0, 0)

SUFFIX, TOMBSTONE = ".journal", ".tombstone"
MOVED_S = 5  # between a file's last record and a change of its inode: a copy has it later
SMALLEST = 4_096  # bytes of a segment, however little a journal may hold


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
        dropped_samples: in segments that were dropped for want of room; the historian declares
            those that it had not stored.
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


def segment_head(folder: Path, number: int) -> Segment | None:
    """The head of a segment or of its tombstone; None where neither can be read.

    Raises:
        DecodeError: `status` 1: written by a newer version.
    """
    for suffix in (SUFFIX, TOMBSTONE):
        try:
            with open(open_file(segment_path(folder, number, suffix)), "rb") as file:
                return decode_segment(file.read(LARGEST_HEAD))
        except OSError:
            continue
        except DecodeError as error:
            if error.status:
                raise
    return None


def lives_of(folder: Path) -> list[int]:
    """The epochs of a journal's segments, in order; without what cannot be read."""
    found: dict[int, None] = {}
    for number in segments(folder):
        try:
            head = segment_head(folder, number)
        except DecodeError:
            continue
        if head is not None:
            found[head.epoch] = None
    return list(found)


def place_of(file: int) -> str:
    """What tells an open file from a copy of it: its inode, and when that was last changed."""
    status = os.fstat(file)
    return f"{status.st_ino}:{status.st_ctime_ns // 1_000_000_000}"


def is_in_place(file: int, place: str) -> bool:
    """Whether an open file is the one that `place` was said of by its last record."""
    inode, _, changed_s = place.partition(":")
    known = place_of(file).partition(":")
    late_s = int(known[2]) - int(changed_s) if changed_s.isdecimal() else 0
    return inode == known[0] and abs(late_s) <= MOVED_S


def segment_path(folder: Path, number: int, suffix: str = SUFFIX) -> Path:
    """Where segment `number` is."""
    return folder / f"{number:020d}{suffix}"


def behind_bytes(folder: Path, cursor: Cursor) -> int:
    """How many bytes of the journal in `folder` are behind `cursor`.

    Raises:
        OSError: it cannot be looked at.
    """
    found = segments(folder)
    if not fits(folder, found, cursor):
        cursor = START
    total = 0
    for number, suffix in found.items():
        if number >= cursor.segment and suffix == SUFFIX:
            size = segment_path(folder, number).stat().st_size
            total += size - (cursor.offset if number == cursor.segment else 0)
    return max(total, 0)


def fits(folder: Path, found: dict[int, str], cursor: Cursor) -> bool:
    """Whether a cursor is a position in the journal whose segments were `found`.

    One of a store of schema 1 names only the epoch of its last reading: that must be the segment's,
    or it is at the segment's beginning.
    """
    if cursor.segment not in found:
        return False
    try:
        head = segment_head(folder, cursor.segment)
        first = segment_head(folder, next(iter(found)))
    except DecodeError:
        return True  # of a newer version: not to be read, nor to be given up
    if head is None or first is None:
        return False
    if not cursor.created_us:
        began = cursor.offset <= SEGMENT.size and head.epoch > cursor.epoch
        return head.epoch == cursor.epoch or began
    same = (head.epoch, head.created_us) == (cursor.segment_epoch, cursor.created_us)
    return same and first.epoch <= head.epoch


@dataclass(slots=True)
class JournalWriter:
    """The files of one journal; every method blocks and belongs on the I/O thread."""

    folder: Path
    epoch: int
    limits: JournalLimits = field(default_factory=JournalLimits)
    counters: JournalCounters = field(default_factory=JournalCounters)
    gateway: str = ""
    _file: int = -1
    _lock: int = -1
    _number: int = 0
    _size: int = 0
    _head_size: int = SEGMENT.size
    _created: float = 0.0
    _synced: float = 0.0
    _unsynced: bool = False
    _wall_offset: float = 0.0  # of the wall clock at the start: a clock that jumps ages nothing

    def open(self, now: float) -> None:
        """Lock the folder; the first segment of this life follows whatever is there.

        Raises:
            OSError: no folder, or (BlockingIOError) another process writes this journal.
        """
        make_folder(self.folder, root=self.folder.parent.parent)  # the state directory
        if self._lock < 0:
            self._lock = lock(self.folder / "lock")
        found = segments(self.folder)
        for number, suffix in found.items():
            clear_place(segment_path(self.folder, number, suffix))
        self._number = max(found, default=0)
        self._begin_segment(now)
        self._synced = now
        self._wall_offset = time.time() - now

    def stop(self, sequence: int) -> None:
        """Say that this life ends here in good order, `sequence` being the last one given out.

        Raises:
            OSError: it does not say so.
        """
        place = place_of(self._file) if self._file >= 0 else ""
        body = encode_stop(time.time_ns() // 1000, place)
        record = encode_record(Kind.STOPPED, b"", body, sequence=sequence, samples=0)
        if self._file >= 0:
            _write_all(self._file, record)

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
        if self._size <= self._head_size:
            return False
        quarter = max(self.limits.bytes // 4, SMALLEST)  # or there would be nothing to drop
        too_long = self._size + more > min(self.limits.segment_bytes, quarter)
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
        """Replace a segment by its tombstone; whichever of both is there tells the truth.

        A damaged one gets none: what else was in it nobody knows.
        """
        path = segment_path(self.folder, number)
        try:
            data = content(path)
        except (OSError, ValueError) as error:
            put_aside(path, error)  # readers declare it
            return 0
        records, end, stop = scan(data, SEGMENT.size)
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
        head = data[: SEGMENT.size]
        if not stop or next_record(data, end + 1, len(data)) < 0:
            write_whole(segment_path(self.folder, number, TOMBSTONE), head + b"".join(lost))
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
        created_us = time.time_ns() // 1000
        head = Segment(self.epoch, created_us, gateway=self.gateway).encode()
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, head)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file, self._number = file, self._number + 1
        self._size = self._head_size = len(head)
        self._created, self._unsynced = now, True
        sync_folder(self.folder)

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
