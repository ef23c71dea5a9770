"""One job on a wire: ask the driver, hear what came of it, publish, answer who waits.

    PollWork    driver.poll ──────────────────► block, or retry
    ProbeWork   driver.poll of one tag ───────► online again, or a longer back-off
    WriteWork   driver.write ─► driver.poll ──► answer with the block read back

Which job is next, and whether there is a connection, is for the wire to say (`.wire`).
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.model.failures import GONE, Failure
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.device import Block, PolledDevice, PollWork, ProbeWork, Timestamp
from cpppod.workers.devices.driver import (
    DeviceError,
    Transaction,
    Write,
    WriteOutcome,
)
from cpppod.workers.devices.health import Change
from cpppod.workers.devices.queue import Job

SILENCES_IN_A_ROW = 5  # of all devices on the wire: the connection may be half-open, make it anew
ANSWERED = frozenset(
    (Failure.ABSENT, Failure.EXCEPTION, Failure.CIP_STATUS)
)  # by somebody on the wire, which is open then

log = logging.getLogger("cpppod")

Publish = Callable[[Block], tuple[bytes, bytes]]


def clock() -> Timestamp:
    """Now."""
    return Timestamp(time.monotonic(), time.time_ns() // 1000)


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """What became of a write.

    Attributes:
        failure, codes, error, unknown: as in `WriteOutcome`.
        topic, payload: the block read back, as it was published.
    """

    failure: Failure | None = None
    error: str = ""
    codes: tuple[int, ...] = ()
    unknown: bool = False
    topic: bytes = b""
    payload: bytes = b""


@dataclass(slots=True)
class WriteWork:
    """Writes to send, and who waits for what comes of them."""

    writes: list[Write]
    answer: Callable[[WriteAnswer], None]


class JobRunner:
    """Does the jobs of one wire.

    Args:
        publish: numbers and sends a block; what it was sent as.
        is_ours: whether a device is still polled on this wire: what a removed one brings is void.
        again: takes a retry.
        lost: is told when the connection is of no further use.
    """

    def __init__(
        self,
        publish: Publish,
        *,
        is_ours: Callable[[PolledDevice], bool],
        again: Callable[[Job], object],
        lost: Callable[[DeviceError], None],
        now: Callable[[], Timestamp] = clock,
    ) -> None:
        self._publish = publish
        self._is_ours = is_ours
        self._again = again
        self._lost = lost
        self._silences = 0
        self._now = now

    async def run(self, device: PolledDevice, job: Job, started: Timestamp) -> None:
        """Do one job of the device's."""
        await _DO[type(job.work)](self, device, job, started)

    def publish_all(self, blocks: list[Block]) -> tuple[bytes, bytes]:
        """Publish; returns the first as it went out."""
        first = b"", b""
        for block in blocks:
            sent = self._publish(block)
            first = first if first[0] else sent
        return first

    async def _poll(self, device: PolledDevice, job: Job, started: Timestamp) -> None:
        work: PollWork = job.work
        work.started_s = work.started_s or started.mono_s
        try:
            samples = await self._observed(device, "read", device.driver.poll(work.part), started)
        except DeviceError as error:
            if not self._is_ours(device):
                return
            self.note(device, error)
            blocks, retry = device.failed(work, error, self._now())
        else:
            if not self._is_ours(device) or not device.health.polled:
                device.abandon(work)
                return
            now = self._now()
            if any(sample[1] & 0xFF != Quality.TIMEOUT for sample in samples.values()):
                self._answered(device, now)
            blocks, retry = device.polled(work, samples, now)
        if retry is not None:
            self._again(retry)
        self.publish_all(blocks)

    async def _probe(self, device: PolledDevice, job: Job, started: Timestamp) -> None:
        work: ProbeWork = job.work
        try:
            await self._observed(device, "probe", device.driver.poll(work.part), started)
        except DeviceError as error:
            self.note(device, error)
        else:
            self._answered(device, self._now())

    async def _write(self, device: PolledDevice, job: Job, started: Timestamp) -> None:
        work: WriteWork = job.work
        job.dropped = lambda why: work.answer(_unknown(why))  # from here on it may have been sent
        outcome = await device.driver.write(work.writes)
        now = self._now()
        device.counters.write_latency.add(now.mono_s - job.queued_s)
        device.counters.writes[_write_result(outcome)] += 1
        if outcome.error:
            device.counters.error(outcome.error, now.wall_us)
        topic, payload = b"", b""
        absent = outcome.failure is Failure.ABSENT
        if outcome.unknown or absent:
            failure = Failure.ABSENT if absent else Failure.TIMEOUT
            self._log_change(device, device.silent(now, failure))
        if outcome.unknown:
            topic, payload = self.publish_all(device.doubt(work.writes, now))
        elif outcome.connected and not absent:
            self._answered(device, now)
            topic, payload = await self._read_back(device, work.writes)
        device.wrote(work.writes, self._now())
        if not outcome.connected:
            self._lost(DeviceError(Failure.LOST, outcome.error))
        job.dropped = None
        answer = WriteAnswer(
            outcome.failure, outcome.error, outcome.codes, outcome.unknown, topic, payload
        )
        work.answer(answer)

    async def _read_back(self, device: PolledDevice, writes: list[Write]) -> tuple[bytes, bytes]:
        """Read what was written; the published block of the first group, to be answered with."""
        first = b"", b""
        for part in device.written_parts(writes):
            try:
                samples = await device.driver.poll(part)
            except DeviceError as error:
                self.note(device, error)
                written = [write for write in writes if write[0] in part.tags]
                sent = self.publish_all(device.doubt(written, self._now()))
            else:
                block = device.read_back(part, samples, writes, self._now())
                sent = self._publish(block)
            first = first if first[0] else sent
        return first

    def relayed(
        self, device: PolledDevice, count: int, lasted_s: float, error: DeviceError | None
    ) -> None:
        """So many relayed requests are over: recorded, and what it says of the device heard."""
        said, detail, code = ("ok", "", 0) if error is None else _told(error)
        done = Transaction("forward", "forward", said, lasted_s, detail, code)
        device.counters.transaction(done, self._now().wall_us, count)

    async def _observed(
        self, device: PolledDevice, operation: str, call: Awaitable[Any], started: Timestamp
    ) -> Any:
        """The result of a driver's call, recorded here where the driver records nothing."""
        counters = device.counters
        before = sum(counters.requests.values())
        result, detail, code = "ok", "", 0
        try:
            return await call
        except DeviceError as error:
            result, detail, code = _told(error)
            raise
        finally:
            if sum(counters.requests.values()) == before:
                now = self._now()
                lasted_s = now.mono_s - started.mono_s
                done = Transaction(operation, operation, result, lasted_s, detail, code)
                counters.transaction(done, now.wall_us)

    def _answered(self, device: PolledDevice, now: Timestamp) -> None:
        self._silences = 0
        self._log_change(device, device.answered(now))

    def note(self, device: PolledDevice, error: DeviceError) -> None:
        """What a failed call says of the device and of the connection."""
        self._silences = 0 if error.failure in ANSWERED else self._silences + 1
        if self._silences >= SILENCES_IN_A_ROW:
            self._silences = 0
            self._lost(DeviceError(Failure.NOT_CONNECTED, f"nobody answers: {error.text}"))
        if error.failure not in GONE:
            self._log_change(device, device.silent(self._now(), error.failure))
        elif device.health.state == "demoted":
            device.silent(self._now())
        if not error.connected:
            self._lost(error)

    def _log_change(self, device: PolledDevice, change: Change | None) -> None:
        if change is None:
            return
        if change.state == "demoted":
            why = device.counters.last_error
            log.warning("device demoted device=%s error=%s", device.name, why)
        elif change.was == "demoted":
            log.info("device is back device=%s", device.name)


_DO: dict[type, Callable[[JobRunner, PolledDevice, Job, Timestamp], Awaitable[None]]] = {
    PollWork: JobRunner._poll,
    ProbeWork: JobRunner._probe,
    WriteWork: JobRunner._write,
}


def _told(error: DeviceError) -> tuple[str, str, int]:
    """Result, detail and code of a `Transaction` that failed so."""
    return error.result, error.text, (*error.codes, 0)[0] & 0xFF


def _write_result(outcome: WriteOutcome) -> str:
    if outcome.unknown:
        return "unknown"
    return "failed" if outcome.failure else "ok"


def unsent(why: str) -> WriteAnswer:
    """The answer to a write that never left."""
    return WriteAnswer(Failure.NOT_SENT, f"not sent: {why}")


def _unknown(why: str) -> WriteAnswer:
    return WriteAnswer(Failure.INTERNAL, why, unknown=True)
