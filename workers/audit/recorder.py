"""A process's audit: attempts in, records on disk, and what is to be said of them in its beats.

    record(attempt) ─► what one turn of the loop brings ─► I/O thread: append ─► `then`
                                                            at most `SYNC_S` later: fsync, head

`then` is called when the record is in the system's hands, which survives the process, or after
`WAIT_S`, or when it cannot be written: a write is never held up by the audit, unless it is
`required`; then writes are refused from the first record that could not be written until one can.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cpppod.protocols.model.audit import START
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.writing import Attempt, Outcome, WriteRefused
from cpppod.workers.audit.files import AuditFile, AuditLimits, fingerprint
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy
from cpppod.workers.process.limited_log import strangers

SYNC_S = 1.0  # what a power failure may cost
WAIT_S = 0.05  # for a record to be appended, before its writer is answered
LIMIT_KEYS = {"file_bytes": "file_bytes", "files": "files"}
REFUSED_BURST, REFUSED_A_S = 20.0, 10.0  # refused attempts with a record each: people and programs
FOLD_S = 1.0  # what is beyond is one record for each writer and status in so long
MAX_FOLDED = 100  # of those; the rest is one more

log = logging.getLogger("cpppod.audit")

Then = Callable[[], None]


class Recorder:
    """The audit of one process; made on its loop.

    Attributes:
        trouble: why the last record could not be written, "" where it could.
        lost: attempts of which there is no record.
    """

    def __init__(
        self,
        io: IoThread,
        state_dir: str,
        worker: str,
        options: dict[str, Any] | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        given = options or {}
        limits = AuditLimits(**{key: given[key] for key in LIMIT_KEYS if key in given})
        self.required = bool(given.get("required", False))
        self.trouble = ""
        self.lost = 0
        self._io = io
        self._now = now
        self._file = AuditFile(state_dir, worker, limits)
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[dict[str, Any], Then | None]] = []
        self._unsynced = False
        self._newest = (0, START)
        self._tokens, self._refilled = REFUSED_BURST, now()
        self._folded: dict[tuple[Any, ...], Attempt] = {}
        self._open()

    def _open(self) -> None:
        """Say from the start how far the chain is."""
        self._call(self._file.open, [])

    @property
    def newest(self) -> tuple[int, str]:
        """Number and MAC of the last record on disk."""
        return self._newest

    def check(self) -> None:
        """Let a write pass, as far as the audit goes.

        Raises:
            WriteRefused: records are required, and the last could not be written.
        """
        if self.required and self.trouble:
            raise WriteRefused(Failure.NO_AUDIT, f"the audit cannot be written: {self.trouble}")

    def record(self, attempt: Attempt, then: Then | None = None) -> None:
        """Keep a record of `attempt`; `then` is called once, after `WAIT_S` at the latest."""
        if attempt.outcome == Outcome.FAILED:  # as who may not write can have it
            strangers.info(log, "audit: write %s", line_of(attempt), kind=attempt.way)
        elif attempt.way != "cip":  # whose clients write as fast as they like
            log.info("audit: write %s", line_of(attempt))
        if attempt.outcome == Outcome.FAILED and not self._has_room():
            self._fold(attempt)
            if then is not None:
                then()
            return
        self._keep(attempt, then)

    def _keep(self, attempt: Attempt, then: Then | None = None) -> None:
        if then is not None:
            then = once(then)
            self._loop.call_later(WAIT_S, then)
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append((attempt.plain(), then))

    def _has_room(self) -> bool:
        """Whether one more refused attempt has a record of its own."""
        now = self._now()
        passed, self._refilled = now - self._refilled, now
        self._tokens = min(REFUSED_BURST, self._tokens + passed * REFUSED_A_S)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _fold(self, attempt: Attempt) -> None:
        """Count it into the record of its like: nobody flushes the audit with refusals."""
        if not self._folded:
            self._loop.call_later(FOLD_S, self._unfold)
        key: tuple[Any, ...] = (attempt.way, attempt.user, attempt.address, attempt.status)
        if key not in self._folded and len(self._folded) >= MAX_FOLDED:
            key = ()
        before = self._folded.get(key)
        times = attempt.times + (before.times if before else 0)
        self._folded[key] = replace(attempt, times=times)

    def _unfold(self) -> None:
        folded, self._folded = self._folded, {}
        for attempt in folded.values():
            self._keep(attempt)

    async def recorded(self, attempt: Attempt) -> None:
        """As `record`; returns where `then` would be called."""
        done = asyncio.Event()
        self.record(attempt, done.set)
        await done.wait()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            thens = [then for _, then in waiting if then is not None]
            self._call(self._file.append, thens, [record for record, _ in waiting])

    def _call(self, work: Callable[..., None], thens: list[Then], *arguments: Any) -> None:
        def done(future: "asyncio.Future[None]") -> None:
            self._done(future.exception(), len(arguments[0]) if arguments else 0)
            for then in thens:
                then()

        try:
            self._io.call(work, *arguments).add_done_callback(done)
        except IoThreadBusy as error:
            self._file.missed += len(arguments[0]) if arguments else 0
            self._done(error, len(arguments[0]) if arguments else 0)
            for then in thens:
                then()

    def _done(self, error: BaseException | None, records: int) -> None:
        if error is None:
            if self.trouble and records:
                log.warning("audit is written again lost=%d", self.lost)
            self.trouble = "" if records or not self.trouble else self.trouble
            self._newest = self._file.newest
            if records and not self._unsynced:
                self._unsynced = True
                self._loop.call_later(SYNC_S, self._sync)
            return
        self.lost += records
        trouble = str(error)
        if trouble != self.trouble:
            log.error("audit cannot be written why=%s", trouble)
        self.trouble = trouble

    def _sync(self) -> None:
        self._unsynced = False
        self._call(self._file.sync, [])

    async def close(self) -> None:
        """Write down and force to the disk what there is."""
        self._unfold()
        self._flush()
        try:
            await self._io.call(self._file.sync)
            await self._io.call(self._file.close)
        except (OSError, IoThreadBusy) as error:
            log.error("audit not forced to the disk why=%s", error)

    def overdue(self) -> list[str]:
        """What should be and is not, for the beat."""
        return [f"audit: {self.trouble}"] if self.trouble else []

    def told(self) -> dict[str, Any]:
        """For the beat: how far the chain is."""
        number, mac = self._newest
        return {"number": number, "hash": mac, "lost": self.lost}

    def metrics(self) -> list[Any]:
        """Rows for the beat."""
        number, mac = self._newest
        return [
            ["cpppod_audit_newest_record", {}, number],
            ["cpppod_audit_newest_hash", {}, fingerprint(mac)],
            ["cpppod_audit_lost_total", {}, self.lost],
        ]


def once(action: Then) -> Then:
    """`action`, done at the first call only."""
    left = [action]

    def act() -> None:
        if left:
            left.pop()()

    return act


def line_of(attempt: Attempt) -> str:
    """The attempt as a line of the log has it."""
    return (
        f"source={attempt.way}:{attempt.user:.80} {attempt.address:.60}"
        f" tag={attempt.tag:.90} first={attempt.first} values={attempt.new!r:.200}"
        f" was={attempt.old!r:.120} outcome={attempt.outcome}"
        f" status=0x{attempt.status:02x} error={attempt.why!r:.200}"
    )
