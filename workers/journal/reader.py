"""Reading a journal by a cursor: what its worker wrote down, as readings and gaps for a store.

    cursor (segment, offset) ──► read() ──► readings, gaps, poison and the next cursor

Everything is read once and in order, beside the worker that writes. What is not there any more,
or was
damaged, comes out as a gap: of a tombstone with what it lists, of a damaged stretch or a new life
of the worker with the times before and after.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.journal import (
    MAX_BODY,
    SEGMENT,
    Kind,
    Record,
    decode_hole,
    decode_segment,
    scan,
)
from cpppod.protocols.bus.topics import split
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.historian.stores.store import ALL, Batch, Cursor, Gap, Quarantined, Reading
from cpppod.workers.journal.files import SUFFIX, TOMBSTONE, segment_path, segments

CHUNK = 256 * 1024  # bytes read at a time: about 50 ms of work with small blocks
START = Cursor(0, 0, 0, 0, 0)
RESTARTED = "publisher restarted"
RESYNC = 4096  # bytes looked through for the next record behind a damaged one, per attempt


class JournalNewer(Exception):
    """The journal was written by a newer version; it is left alone."""


@dataclass(slots=True)
class JournalReader:
    """The journal of one publisher; its methods block.

    Attributes:
        cursor: behind the last thing that `read` gave.
        chunk: bytes read at a time.
    """

    folder: Path
    cursor: Cursor = START
    chunk: int = CHUNK
    _epoch: int = 0  # of the segment that the cursor is in
    _resumed: bool = False  # a new epoch's first reading is still to come
    _file: int = -1
    _pending: list[Gap] = field(default_factory=list)

    @property
    def publisher(self) -> str:
        """Whose journal it is."""
        return self.folder.name

    def close(self) -> None:
        """Let go of the file; reading goes on at the cursor."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def back(self, cursor: Cursor) -> None:
        """Read again from `cursor`: what came since was not stored."""
        self.close()
        self.cursor = cursor
        self._pending.clear()

    def behind_bytes(self) -> int:
        """How many bytes are waiting to be read."""
        total = 0
        for number, suffix in segments(self.folder).items():
            if number >= self.cursor.segment and suffix == SUFFIX:
                size = segment_path(self.folder, number).stat().st_size
                total += size - (self.cursor.offset if number == self.cursor.segment else 0)
        return max(total, 0)

    def read(self, batch: Batch) -> bool:
        """Add the next chunk to `batch`; False if there was nothing to add.

        Raises:
            OSError: the journal cannot be read now.
            JournalNewer: nor ever with this version.
        """
        before = self.cursor
        if self._file < 0 and not self._enter(self._at(self.cursor.segment), batch):
            return self._note(batch, before)
        data = os.pread(self._file, self.chunk, self.cursor.offset)
        records, end, stop = scan(data)
        if stop == "short" and not records and len(data) == self.chunk:
            data = os.pread(self._file, MAX_BODY + 64, self.cursor.offset)
            records, end, stop = scan(data)
        self._take(records, batch)
        self.cursor = self.cursor._replace(offset=self.cursor.offset + end)
        if stop and stop != "short":
            self._skip_damage(data, end)
        elif not records:
            self._leave()
        return self._note(batch, before)

    def _note(self, batch: Batch, before: Cursor) -> bool:
        if self.cursor == before:
            return False
        if not self._pending:  # a gap without its end is found again from before it
            batch.cursors[self.publisher] = self.cursor
        return True

    def _at(self, number: int) -> int | None:
        """The segment `number`, or the first one behind it; None if there is none yet."""
        return next((found for found in segments(self.folder) if found >= number), None)

    def _enter(self, number: int | None, batch: Batch) -> bool:
        """Go on in segment `number`; False if it is not there to be read (any more)."""
        if number is None:
            return False
        if number > self.cursor.segment:
            self.cursor = self.cursor._replace(segment=number, offset=0)
        try:
            self._file = os.open(segment_path(self.folder, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._bury(number, batch)
        try:
            segment = decode_segment(os.pread(self._file, SEGMENT.size, 0))
        except DecodeError as error:
            self.close()
            if error.status:
                raise JournalNewer(f"{segment_path(self.folder, number)}: {error}") from None
            if self._at(number + 1) is None:
                return False  # its head is being written
            self._lost_track("journal segment without its head")
            self.cursor = self.cursor._replace(segment=number + 1, offset=0)
            return False
        if segment.epoch != self.cursor.epoch:
            self._resumed = self.cursor.epoch != 0
        self._epoch = segment.epoch
        self.cursor = self.cursor._replace(offset=max(self.cursor.offset, SEGMENT.size))
        return True

    def _leave(self) -> None:
        """At the end of a segment go on to the next one, if there is one."""
        following = self._at(self.cursor.segment + 1)
        if following is None:
            return
        data = os.pread(self._file, CHUNK, self.cursor.offset)
        if data and scan(data)[0]:
            return  # written between the look at it and the look for the next
        self.close()
        if following != self.cursor.segment + 1:
            self._lost_track("journal segments missing")
        self.cursor = self.cursor._replace(segment=following, offset=0)

    def _bury(self, number: int, batch: Batch) -> bool:
        """Take the gaps that the tombstone of a dropped segment declares."""
        try:
            data = segment_path(self.folder, number, TOMBSTONE).read_bytes()
            segment = decode_segment(data)
        except (FileNotFoundError, DecodeError):
            self._lost_track("journal segment missing")
            self.cursor = self.cursor._replace(segment=number + 1, offset=0)
            return False
        records, _, _ = scan(data, SEGMENT.size)
        old = self.cursor
        known = old.sequence if segment.epoch == old.epoch else 0
        if old.epoch not in (0, segment.epoch):
            restarted = self._gap(old, RESTARTED)
            batch.gaps.append(restarted._replace(to_us=max(segment.created_us, old.gateway_us)))
        lost: dict[bytes, list[Record]] = {}
        for record in records:
            if record.kind == Kind.LOST and record.sequence > known:
                lost.setdefault(record.topic, []).append(record)
            elif record.kind == Kind.GAP:
                self._declare(record, segment.epoch, batch)
        for topic, heads in lost.items():
            device, group = _names(topic)
            batch.gaps.append(
                Gap(
                    self.publisher,
                    segment.epoch,
                    device,
                    group,
                    heads[0].sequence,
                    heads[-1].sequence,
                    len(heads),
                    sum(head.samples for head in heads),
                    "journal over its limits",
                    segment.created_us,
                    self._created_us(number + 1, segment.created_us),
                )
            )
        last = max((head.sequence for heads in lost.values() for head in heads), default=known)
        self.cursor = Cursor(
            number + 1, 0, segment.epoch, last, max(old.gateway_us, segment.created_us)
        )
        return False

    def _created_us(self, number: int, default: int) -> int:
        """When a segment was begun."""
        for suffix in (SUFFIX, TOMBSTONE):
            try:
                with open(segment_path(self.folder, number, suffix), "rb") as file:
                    return decode_segment(file.read(SEGMENT.size)).created_us
            except (OSError, DecodeError):
                continue
        return default

    def _take(self, records: list[Record], batch: Batch) -> None:
        for record in records:
            if record.kind == Kind.GAP:
                self._declare(record, self._epoch, batch)
                continue
            if record.kind != Kind.BLOCK:
                continue  # of a later version: not ours to judge
            try:
                reading = reading_of(self.publisher, record)
            except DecodeError as error:
                self._quarantine(record, str(error), batch)
                continue
            self._close_gaps(reading, batch)
            batch.readings.append(reading)
            self.cursor = self.cursor._replace(
                epoch=reading.epoch, sequence=reading.sequence, gateway_us=reading.gateway_us
            )

    def _close_gaps(self, reading: Reading, batch: Batch) -> None:
        """Finish gaps whose end the first reading behind them tells."""
        if self._resumed:
            self._lost_track(RESTARTED)
            self._resumed = False
        for gap in self._pending:
            same = gap.epoch == reading.epoch
            batch.gaps.append(
                gap._replace(
                    last=max(reading.sequence - 1, gap.first) if same else gap.first,
                    to_us=max(reading.gateway_us, gap.from_us),
                )
            )
        self._pending.clear()

    def _lost_track(self, reason: str) -> None:
        """Note that something may be missing behind the last reading."""
        if any(gap.reason == reason for gap in self._pending):
            return
        self._pending.append(self._gap(self.cursor, reason))

    def _gap(self, last: Cursor, reason: str) -> Gap:
        """A gap of nobody knows what behind `last`, its end still open."""
        first = last.sequence + 1
        when = last.gateway_us
        what = (self.publisher, last.epoch, ALL, ALL)
        return Gap(*what, first, first, -1, -1, reason, when, when)

    def _declare(self, record: Record, epoch: int, batch: Batch) -> None:
        try:
            hole = decode_hole(record.body)
        except DecodeError as error:
            self._quarantine(record, str(error), batch)
            return
        device, group = _names(record.topic)
        batch.gaps.append(
            Gap(
                self.publisher,
                epoch,
                device,
                group,
                hole.first,
                hole.last,
                hole.blocks,
                hole.samples,
                hole.reason,
                hole.from_us,
                hole.to_us,
            )
        )

    def _quarantine(self, record: Record, reason: str, batch: Batch) -> None:
        device, group = _names(record.topic)
        now_us = self.cursor.gateway_us
        what = (self.publisher, self._epoch)
        batch.quarantined.append(
            Quarantined(*what, record.sequence, reason, record.topic, record.body)
        )
        lost = (record.sequence, record.sequence, 1, record.samples)
        batch.gaps.append(
            Gap(*what, device, group, *lost, f"quarantined: {reason}", now_us, now_us)
        )

    def _skip_damage(self, data: bytes, at: int) -> None:
        """Go on behind damaged bytes: at the next place where a whole record is, or at their
        end."""
        self._lost_track("journal damaged")
        for start in range(at + 1, min(at + RESYNC, len(data))):
            if scan(data, start)[0]:
                self.cursor = self.cursor._replace(offset=self.cursor.offset + start - at)
                return
        skipped = min(RESYNC, len(data) - at)
        self.cursor = self.cursor._replace(offset=self.cursor.offset + skipped)


def reading_of(publisher: str, record: Record) -> Reading:
    """The reading in a block's record.

    Raises:
        DecodeError: no block, or not this publisher's.
    """
    device, group = split(record.topic)
    message = feed.decode(record.body)
    if message.kind != feed.Kind.BLOCK or message.publisher != publisher:
        raise DecodeError("not a block of this publisher", status=0)
    if message.sequence != record.sequence:
        raise DecodeError("sequence is not its record's", status=0)
    block = message.body
    return Reading(
        publisher,
        message.epoch,
        message.sequence,
        device,
        group,
        message.source_us,
        message.gateway_us,
        message.mono_us,
        block.members,
        block.tags,
        block.values,
        block.qualities,
    )


def _names(topic: bytes) -> tuple[str, str]:
    try:
        return split(topic)
    except DecodeError:
        return ALL, ALL
