"""A worker's journal: each block of a historised group is on disk before it is published.

For whoever publishes:

    journal = Journal(folder, epoch, io, limits=JournalLimits.from_options(worker.options))
    await journal.open()                                    # folder: state_dir/journal/<worker>
    topic, payload = publisher.block(...)
    kept = await journal.append(topic, payload, sequence=sequence, samples=len(changed))
    if not kept: mark the block unjournalled (before it is sent)
    ...
    await journal.close(sequence=last)                      # at a clean stop

`append` takes at most 50 ms of the caller's time. False means that the block is not known to be
on disk: it is either still on its way there, or was refused; a refused one is written down as a
gap as soon as the journal works again. Never raises for a disk's trouble, never blocks the loop.

Appends of one turn of the I/O thread are one write; every `sync_s` they are forced to the disk.
The historian deletes what its store has committed; the worker drops the oldest beyond its bounds,
declared.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.journal import Hole, Kind, encode_record
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.journal.files import JournalCounters, JournalLimits, JournalWriter
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy

__all__ = ["Journal", "JournalLimits"]

logger = logging.getLogger(__name__)

APPEND_WAIT_S = 0.05  # what a block may be held back for; then it goes out marked unjournalled
MAX_PENDING = 8 * 1024 * 1024  # bytes not yet written: seconds of the largest plant's blocks
ALARM_S = 60.0  # for which a drop is named in the beats
MAX_HOLES = 1_000  # gaps remembered while nothing can be written; further ones join the last


class Journal:
    """The journal as its worker's loop uses it; see the module."""

    def __init__(
        self,
        folder: Path,
        epoch: int,
        io: IoThread,
        *,
        limits: JournalLimits | None = None,
        gateway: str = "",
    ) -> None:
        self.counters = JournalCounters()
        limits = limits or JournalLimits()
        self._writer = JournalWriter(folder, epoch, limits, self.counters, gateway)
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

    async def close(self, *, sequence: int | None = None) -> None:
        """Write what is pending, force it to the disk, and let go of the files.

        Args:
            sequence: the last one that the publisher has given out, all of them appended or
                refused: its life ends in good order, and the journal says so.
        """
        if self._task is not None:
            await self._task
        await asyncio.sleep(0)  # what was late is settled in the turn after
        if not self._open:
            return
        try:
            if self._holes:
                await self._declare()
            if sequence is not None and not self._holes:
                await self._io.call(self._writer.stop, sequence)
            self._open = False
            await self._io.call(self._writer.close)
        except (OSError, IoThreadBusy) as error:
            self._open = False
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
