"""Reading a journal by a cursor: what its worker wrote down, as readings and gaps for a store.

    cursor (segment, offset) ──► read() ──► readings, gaps, poison and the next cursor

Everything is read once and in order, beside the worker that writes. What is not there any more,
or was damaged, comes out as a gap: of a tombstone with what it lists, of a damaged stretch or a new
life of the worker with the times before and after, of a stop with nothing lost.

A cursor names the segment that it is in by number, epoch and time of creation. Where that one is
not there (the state directory lost, replaced, or restored from an old copy; an old copy of the
store), reading begins at the beginning: what is stored already is known by its key, and what cannot
be had is a gap.
"""

import contextlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.journal import (
    LARGEST_HEAD,
    MAX_BODY,
    SEGMENT,
    Kind,
    Record,
    Segment,
    decode_hole,
    decode_segment,
    decode_stop,
    next_record,
    scan,
    stopped_in,
)
from cpppod.protocols.bus.topics import split
from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.journal.batch import ALL, Batch, Cursor, Gap, Quarantined, Reading
from cpppod.workers.journal.files import (
    START,
    TOMBSTONE,
    fits,
    is_in_place,
    segment_head,
    segment_path,
    segments,
)
from cpppod.workers.state import NO_FILE, content, open_file, put_aside

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024  # bytes read at a time: about 50 ms of work with small blocks
NOWHERE = Segment(0, 0)
RESTARTED = "publisher restarted"
STOPPED = "stopped"
LOST = "journal lost"  # the one that the cursor is in
MISSING = "journal segments missing"  # all from the cursor's up to the first that is there
RESYNC = 4096  # bytes looked through for the next record behind a damaged one, per attempt


class JournalNewer(Exception):
    """The journal was written by a newer version; it is left alone."""


@dataclass(slots=True)
class JournalReader:
    """The journal of one publisher; its methods block.

    Attributes:
        cursor: behind the last thing that `read` gave.
        chunk: bytes read at a time.
        gateway: whose journal it is; segments name it too, but for those of version 1.
    """

    folder: Path
    cursor: Cursor = START
    chunk: int = CHUNK
    gateway: str = ""
    since_us: int = 0  # before then there was no such gateway
    _segment: Segment = NOWHERE  # that the cursor is in
    _resumed: bool = False  # a new epoch's first reading is still to come
    _stopped: int = 0  # epoch of a life that was seen to end in good order
    _passed: Cursor | None = None  # after a cursor that did not fit: all up to it is stored
    _reread: bool = False  # something was read since
    _checked: bool = False
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
        self._segment, self._resumed, self._stopped = NOWHERE, False, 0
        self._passed, self._checked, self._reread = None, False, False

    def _check(self) -> bool:
        """Whether there is a journal to read; a cursor that is no position in it is given up."""
        found = segments(self.folder)
        if not found:
            return False
        self._checked = True
        old, first = self.cursor, next(iter(found))
        fresh = old == START and (first == 1 or not self.since_us)
        if fresh or fits(self.folder, found, old):
            return True
        reason = MISSING if first > max(old.segment, 1) else LOST
        logger.warning(
            "cursor is no position in this journal, reading begins at its beginning"
            " publisher=%s segment=%d epoch=%d created_us=%d first=%d reason=%s",
            self.publisher,
            old.segment,
            old.segment_epoch or old.epoch,
            old.created_us,
            first,
            reason,
        )
        self.cursor = old._replace(segment=0, offset=0, segment_epoch=0, created_us=0)
        if old == START:
            self.cursor = START._replace(gateway_us=self.since_us)
        self._passed = self.cursor
        self._lost_track(reason)
        return True

    def read(self, batch: Batch) -> bool:
        """Add the next chunk to `batch`; False if there was nothing to add.

        Raises:
            OSError: the journal cannot be read now.
            JournalNewer: nor ever with this version.
        """
        if not self._checked and not self._check():
            return False
        before = self.cursor
        if self._file < 0 and not self._enter(self._at(self.cursor.segment), batch):
            return self._note(batch, before)
        data = os.pread(self._file, self.chunk, self.cursor.offset)
        records, end, stop = scan(data)
        if stop == "short" and not records and len(data) == self.chunk:
            data = os.pread(self._file, MAX_BODY + 64, self.cursor.offset)
            records, end, stop = scan(data)
        ends = next((at for at, item in enumerate(records) if item.kind == Kind.STOPPED), 0)
        if ends:  # what is before the end of a life is done with by itself
            records, stop = records[:ends], ""
            end = records[-1].end
        self._take(records, batch)
        self.cursor = self.cursor._replace(offset=self.cursor.offset + end)
        if stop and (stop != "short" or self._is_followed(data, end)):
            self._skip_damage(data, end)
        elif not records:
            self._leave()
        return self._note(batch, before)

    def _note(self, batch: Batch, before: Cursor) -> bool:
        if self.cursor == before:
            self._close_passed(batch)
            return False
        # a gap without its end is found again from before it, a place without a segment from there
        if not self._pending and self.cursor.created_us:
            batch.cursors[self.publisher] = self.cursor
        return True

    def _close_passed(self, batch: Batch) -> None:
        """Where all that there is was stored before: what is lost begins, and ends, behind it."""
        passed = self._passed
        if passed is None or not self._reread:
            return
        self._passed, self._resumed = None, False
        lost = [gap for gap in self._pending if gap.reason in (LOST, MISSING)]
        self._pending = [gap for gap in self._pending if gap not in lost]
        if self.cursor[2:4] != passed[2:4]:  # else it ends with the last one that is stored
            batch.gaps += lost
            self._stopped = 0  # lives came after this one: another begins behind a gap
            last_us = max(self.cursor.gateway_us, passed.gateway_us)
            self.cursor = self.cursor._replace(gateway_us=last_us)
        if lost and not self._pending:
            batch.cursors[self.publisher] = self.cursor

    def _at(self, number: int) -> int | None:
        """The segment `number`, or the first one behind it; None if there is none yet."""
        return next((found for found in segments(self.folder) if found >= number), None)

    def _enter(self, number: int | None, batch: Batch) -> bool:
        """Go on in segment `number`; False if it is not there to be read (any more)."""
        if number is None:
            return False
        if number > self.cursor.segment:
            if self.cursor.segment:
                self._lost_track(MISSING)
            self._go_to(number)
        path = segment_path(self.folder, number)
        try:
            self._file = open_file(path)
        except FileNotFoundError:
            return self._bury(number, batch)
        except OSError as error:
            if error.errno not in NO_FILE or self._at(number + 1) is None:
                raise
            with contextlib.suppress(OSError):
                put_aside(path, error)
            return self._bury(number, batch)
        try:
            segment = decode_segment(os.pread(self._file, LARGEST_HEAD, 0))
        except DecodeError as error:
            self.close()
            if error.status:
                raise JournalNewer(f"{path}: {error}") from None
            if self._at(number + 1) is None:
                return False  # its head is being written
            self._lost_track("journal segment without its head")
            self._go_to(number + 1)
            return False
        self._begin(segment)
        self.cursor = self.cursor._replace(
            offset=max(self.cursor.offset, SEGMENT.size),
            segment_epoch=segment.epoch,
            created_us=segment.created_us,
        )
        return True

    def _go_to(self, number: int) -> None:
        """Go on at the beginning of segment `number`, whichever that is."""
        self.cursor = self.cursor._replace(segment=number, offset=0, segment_epoch=0, created_us=0)

    def _begin(self, segment: Segment) -> None:
        """In another life than before something may have been in hand, unless that one stopped."""
        before = self._segment.epoch or self.cursor.epoch
        if segment.epoch != self.cursor.epoch:
            self._resumed = self._resumed or before not in (0, segment.epoch, self._stopped)
        self._segment = segment

    def _leave(self) -> None:
        """At the end of a segment go on to the next one, if there is one."""
        following = self._at(self.cursor.segment + 1)
        if following is None:
            return
        data = os.pread(self._file, CHUNK, self.cursor.offset)
        if data and scan(data)[0]:
            return  # written between the look at it and the look for the next
        if data and self._is_damaged(data, following):
            self._skip_damage(data, 0)
            return
        self.close()
        if following != self.cursor.segment + 1:
            self._lost_track(MISSING)
        self._go_to(following)

    def _bury(self, number: int, batch: Batch) -> bool:
        """Take the gaps that the tombstone of a dropped segment declares."""
        try:
            data = content(segment_path(self.folder, number, TOMBSTONE))
            segment = decode_segment(data)
        except (OSError, ValueError, DecodeError):
            self._lost_track("journal segment missing")
            self._go_to(number + 1)
            return False
        records, _, _ = scan(data, SEGMENT.size)
        old = self.cursor
        known = old.sequence if segment.epoch == old.epoch else 0
        self._begin(segment)
        self._close_gaps(segment.epoch, known, max(segment.created_us, old.gateway_us), batch)
        lost: dict[bytes, list[Record]] = {}
        for record in records:
            if record.kind == Kind.LOST and record.sequence > known:
                lost.setdefault(record.topic, []).append(record)
            elif record.kind == Kind.GAP:
                self._declare(record, batch)
            elif record.kind == Kind.STOPPED:
                self._stop(record)
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
                    segment.gateway,
                )
            )
        last = max((head.sequence for heads in lost.values() for head in heads), default=known)
        self.cursor = Cursor(
            number + 1, 0, segment.epoch, last, max(old.gateway_us, segment.created_us)
        )
        return False

    def _created_us(self, number: int, default: int) -> int:
        """When a segment was begun."""
        try:
            segment = segment_head(self.folder, number)
        except DecodeError:
            segment = None
        return segment.created_us if segment else default

    def _take(self, records: list[Record], batch: Batch) -> None:
        for record in records:
            if record.kind == Kind.GAP:
                self._declare(record, batch)
                continue
            if record.kind == Kind.STOPPED:
                self._stop(record)
            if record.kind != Kind.BLOCK:
                continue  # of a later version: not ours to judge
            try:
                reading = reading_of(self.publisher, record, self._segment.gateway)
            except DecodeError as error:
                self._quarantine(record, str(error), batch)
                continue
            if self._resumed or self._pending:
                place = (reading.epoch, reading.sequence - 1, reading.gateway_us)
                self._close_gaps(*place, batch)
            batch.readings.append(reading)
            self._reread = True
            self.cursor = self.cursor._replace(
                epoch=reading.epoch, sequence=reading.sequence, gateway_us=reading.gateway_us
            )

    def _stop(self, record: Record) -> None:
        """A life ended in good order: nothing is missing until the next one begins.

        Not so in a copy that was put back: the life that it is a copy of had others after it.
        """
        place = stopped_in(record.body)
        if place and self._file >= 0 and not is_in_place(self._file, place):
            return
        self._stopped = self._segment.epoch
        try:
            at_us = decode_stop(record.body)
        except DecodeError:
            at_us = self.cursor.gateway_us
        if not self._pending and not self._resumed:
            what = (self.publisher, self._segment.epoch, ALL, ALL)
            times = (at_us, at_us, self._segment.gateway)
            self._pending.append(Gap(*what, 0, 0, 0, 0, STOPPED, *times))

    def _close_gaps(self, epoch: int, last: int, to_us: int, batch: Batch) -> None:
        """Finish gaps whose end the first reading behind them tells: `epoch` from `last` on."""
        passed = self._passed
        if passed is not None:
            if (epoch, last) < (passed.epoch, passed.sequence) and to_us <= passed.gateway_us:
                return  # it was stored before the cursor did not fit
            self._passed = None
        if self._resumed:
            if not any(gap.reason in (LOST, MISSING) for gap in self._pending):
                self._lost_track(RESTARTED)
            self._resumed = False
        for gap in self._pending:
            if gap.reason in (LOST, MISSING) and (epoch, last + 1) == (gap.epoch, gap.first):
                continue  # the reading that follows the last one stored is here
            ends_us = max(to_us, gap.from_us)
            if gap.samples:
                same = gap.epoch == epoch
                ends = max(last, gap.first) if same else gap.first
                gap = gap._replace(last=ends)
            batch.gaps.append(gap._replace(to_us=ends_us))
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
        gateway = self._segment.gateway or self.gateway
        return Gap(*what, first, first, -1, -1, reason, when, when, gateway)

    def _declare(self, record: Record, batch: Batch) -> None:
        try:
            hole = decode_hole(record.body)
        except DecodeError as error:
            self._quarantine(record, str(error), batch)
            return
        device, group = _names(record.topic)
        batch.gaps.append(
            Gap(
                self.publisher,
                self._segment.epoch,
                device,
                group,
                hole.first,
                hole.last,
                hole.blocks,
                hole.samples,
                hole.reason,
                hole.from_us,
                hole.to_us,
                self._segment.gateway,
            )
        )

    def _quarantine(self, record: Record, reason: str, batch: Batch) -> None:
        device, group = _names(record.topic)
        now_us = self.cursor.gateway_us
        what = (self.publisher, self._segment.epoch)
        gateway = self._segment.gateway
        batch.quarantined.append(
            Quarantined(*what, record.sequence, reason, record.topic, record.body, gateway)
        )
        lost = (record.sequence, record.sequence, 1, record.samples)
        batch.gaps.append(
            Gap(*what, device, group, *lost, f"quarantined: {reason}", now_us, now_us, gateway)
        )

    def _is_followed(self, data: bytes, at: int) -> bool:
        """Whether half a record has a whole one behind it: nobody writes one then."""
        return next_record(data, at + 1, at + RESYNC) > 0

    def _is_damaged(self, data: bytes, following: int) -> bool:
        """Whether half a record at a segment's end is more than what a killed worker left.

        A life that goes on in the next segment leaves none.
        """
        try:
            head = segment_head(self.folder, following)
        except DecodeError:
            head = None
        goes_on = head is not None and head.epoch == self._segment.epoch
        return goes_on or next_record(data, RESYNC, len(data)) > 0

    def _skip_damage(self, data: bytes, at: int) -> None:
        """Go on behind damaged bytes: at the next place where a whole record is, or at their
        end."""
        self._lost_track("journal damaged")
        if not data[at:].strip(b"\0"):
            skipped = max(len(data) - at - 3, 1)  # a length may begin with three zeros
        elif (found := next_record(data, at + 1, at + RESYNC)) > 0:
            skipped = found - at
        else:
            skipped = min(RESYNC, len(data) - at)
        self.cursor = self.cursor._replace(offset=self.cursor.offset + skipped)


def reading_of(publisher: str, record: Record, gateway: str = "") -> Reading:
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
        gateway,
    )


def _names(topic: bytes) -> tuple[str, str]:
    try:
        return split(topic)
    except DecodeError:
        return ALL, ALL
