"""One wire and everything that uses it: a serial line, or one connection to one address.

         writes, routed requests                 schedule of each device
                  │                                      │ polls, retries, probes
                  ▼                                      ▼
             WireQueue ───── one at a time (enip: `concurrency`) ────► Driver ──► device
                                                                         │
        replies ◄── read back ◄──────────────────────────────────────────┴──► blocks

    connection   CLOSED ── open ──► OPEN ── lost ──► open again at once, then after back-off

Nothing else in the process touches the wire. What a device does not answer costs its own time-out
and nothing more: the next request on the wire is another device's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.counters import Histogram, Row
from cpppod.workers.devices.device import PolledDevice, PollWork, Timestamp
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.health import (
    RECONNECT_CAP_S,
    RECONNECT_FIRST_S,
    STEADY_S,
    Backoff,
    ProbeBudget,
)
from cpppod.workers.devices.jobs import (
    ForwardWork,
    JobRunner,
    Publish,
    WriteAnswer,
    WriteWork,
    clock,
    unsent,
)
from cpppod.workers.devices.queue import Job, Urgency, WireQueue
from cpppod.workers.devices.samples import WriteRefused

LOG_LINES, LOG_SPAN_S = 6, 60.0  # changes of one connection that are logged in so many seconds
FINISH_S = 0.4  # at a stop, for what is on the wire; the worker has 1.5 s in all
AFTER_ERROR_S = 1.0  # pause after an error of ours, so that it fills neither log nor processor
SHORT_LIVED_S = 0.5  # a connection that was lost sooner is not opened again at once

log = logging.getLogger("cpppod")


class Connection(Protocol):
    """What a wire opens and closes: a shared link, or the one driver on it."""

    async def open(self) -> None:
        """Connect, or raise `DeviceError`."""

    async def close(self) -> None:
        """Disconnect; never raises."""


class Wire:
    """Runs the jobs of one wire; `run` until cancelled, then `close`."""

    def __init__(
        self,
        name: str,
        connection: Connection,
        *,
        publish: Publish,
        address: str,
        concurrency: int = 1,
        now: Callable[[], Timestamp] = clock,
    ) -> None:
        self.name = name
        self.devices: dict[str, PolledDevice] = {}
        self.queue = WireQueue()
        self._connection = connection
        self._jobs = JobRunner(
            publish,
            is_ours=lambda device: self.devices.get(device.name) is device,
            again=self.queue.put,
            lost=self._lose,
            now=now,
        )
        self._address = address
        self._concurrency = max(1, concurrency)
        self._now = now
        self._tasks: set[asyncio.Task[None]] = set()
        self._forwarding = 0
        self._relays = 0  # routed requests on the wire without a task
        self._writing = 0
        self._waker: asyncio.Future[None] | None = None
        self._budget = ProbeBudget()
        self._probing = False
        self._backoff = Backoff(RECONNECT_FIRST_S, RECONNECT_CAP_S)
        self._open = False
        self._tried = False  # an answer "not connected" is due: opening was tried and failed
        self._lost: DeviceError | None = None
        self._open_at_s = 0.0
        self._since = now()
        self._trouble = ""
        self._said_down, self._said_s, self._said = False, 0.0, 0  # what the log knows of it
        self._waits = {urgency: Histogram() for urgency in Urgency}
        self._busy_s = 0.0
        self._measured = (now().mono_s, 0.0)
        self.errors = 0

    # What others ask of it, on the same loop

    def add(self, device: PolledDevice) -> None:
        """Poll this device too, from now on."""
        frame = device.driver.frame
        frame.on_transaction = lambda done: device.counters.transaction(done, self._now().wall_us)
        frame.between = self._between
        self.devices[device.name] = device
        now = self._now()
        if not device.device.enabled:
            self._jobs.publish_all(device.spoil(Quality.DISABLED, now))
        elif self._tried and not self._open:
            self._jobs.publish_all(device.spoil(Quality.NOT_CONNECTED, now))
        self.wake()

    def remove(self, name: str) -> None:
        """Forget the device of that name; whoever waits for it is told."""
        del self.devices[name]
        self._drop(self.queue.remove(name), "the device was removed")
        self.wake()

    def write(
        self, name: str, writes: list[Any], deadline_s: float, answer: Callable[[WriteAnswer], None]
    ) -> None:
        """Write tags of a device; `answer` is called once, at once where nothing is to be sent."""
        device = self.devices[name]
        try:
            checked = device.check_write(writes)
            self._check_reachable(device)
        except WriteRefused as refused:
            device.counters.writes["refused"] += 1
            answer(WriteAnswer(refused.failure, refused.text))
            return
        now_s = self._now().mono_s
        job = Job(Urgency.WRITE, name, now_s, WriteWork(checked, answer), deadline_s)
        job.dropped = lambda why: answer(unsent(why))
        if not self.queue.put(job):
            device.counters.writes["refused"] += 1
            answer(WriteAnswer(Failure.NO_ROOM, f"{name}: too many writes are waiting"))
        self.wake()

    def forward(
        self,
        name: str,
        request: bytes,
        route_path: bytes,
        deadline_s: float,
        answer: Callable[[bytes | Failure], None],
    ) -> None:
        """Pass a Message Router request to a device; `answer` gets its reply, or why not."""
        device = self.devices[name]
        try:
            self._check_reachable(device)
        except WriteRefused as refused:
            answer(refused.failure)
            return
        cip = device.driver.cip
        if cip is None:
            answer(Failure.UNSUPPORTED)
            return
        now_s = self._now().mono_s
        work = ForwardWork(cip, request, route_path, answer)
        job = Job(Urgency.FORWARD, name, now_s, work, deadline_s)
        job.dropped = lambda why: answer(Failure.NOT_SENT)
        if not self.queue.put(job):
            answer(Failure.NO_ROOM)
        elif self._open and self._lost is None:
            self._start_jobs(self._now())
        if len(self.queue):
            self.wake()  # its deadline is to be looked at

    def pause(self, name: str) -> None:
        """Poll the device no more until `resume`."""
        device = self.devices[name]
        self._drop(self.queue.remove(name), "the device was paused")
        self._jobs.publish_all(device.pause(self._now()))
        self.wake()

    def resume(self, name: str) -> None:
        """Poll the device again, at once."""
        self.devices[name].resume(self._now())
        self.wake()

    def wake(self) -> None:
        """Have `run` look again."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    # What it says of itself

    def connection_map(self) -> dict[str, Any]:
        """How the connection is, in plain types."""
        now = self._now()
        waits = None if self._open else max(0.0, self._open_at_s - now.mono_s)
        return {
            "state": "open" if self._open else "closed",
            "wire": self.name,
            "address": self._address,
            "since_us": self._since.wall_us,
            "attempts_failed": self._backoff.failures,
            "next_attempt_s": waits,
            "error": self._trouble,
        }

    def is_up(self, device: PolledDevice) -> bool:
        """Whether the device is connected and answers."""
        return self._open and device.health.polled

    def metrics(self) -> list[Row]:
        """Rows for the beat: the wire's own."""
        now_s, (then_s, then_busy_s) = self._now().mono_s, self._measured
        self._measured = (now_s, self._busy_s)
        labels = {"port": self.name}
        ratio = (self._busy_s - then_busy_s) / (now_s - then_s) if now_s > then_s else 0.0
        rows: list[Row] = [
            ["cpppod_bus_utilization_ratio", labels, min(1.0, ratio)],
            ["cpppod_queue_depth", {"queue": self.name}, len(self.queue)],
            [
                "cpppod_queue_dropped_total",
                {"queue": self.name, "reason": "full"},
                self.queue.refused,
            ],
        ]
        for urgency, histogram in self._waits.items():
            if histogram.count:
                labels = {"port": self.name, "class": urgency.name.lower()}
                rows.extend(histogram.rows("cpppod_bus_wait_seconds", labels))
        return rows

    # Its loop

    async def run(self) -> None:
        """Work until cancelled; whatever goes wrong in a turn, there is a next one."""
        try:
            while True:
                try:
                    await self._turn()
                except Exception:
                    self.errors += 1
                    log.exception("wire failed wire=%s", self.name)
                    await asyncio.sleep(AFTER_ERROR_S)
        finally:
            if self._tasks:  # what a device has answered is not thrown away: a stop loses nothing
                await asyncio.wait(self._tasks, timeout=FINISH_S)
            for task in self._tasks:
                task.cancel()

    async def _turn(self) -> None:
        """Do what is to be done now, then wait for what is next."""
        now = self._now()
        self._drop(self.queue.expired(now.mono_s), "its deadline passed before it was sent")
        if self._lost is not None and not self._on_wire:
            await self._reopen()
            return
        wanted = self._wanted(now)
        if not self._open and wanted and now.mono_s >= self._open_at_s:
            await self._try_open()
            return
        if self._open and not wanted and not self._on_wire and not len(self.queue):
            await self._close_quietly()
        if self._open and self._lost is None:
            self._queue_due(now)
            self._start_jobs(now)
        await self._idle(self._next_event_s(now, wanted=wanted), now)

    async def close(self) -> None:
        """Tell whoever waits, and disconnect."""
        for name in self.devices:
            self._drop(self.queue.remove(name), "the gateway is stopping")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        self._open = False
        await self._connection.close()

    def _wanted(self, now: Timestamp) -> bool:
        """Whether the connection is of use to anybody now."""
        for device in self.devices.values():
            if device.health.polled or self._probe_allowed(device, now):
                return True
        return self._probing

    def _probe_allowed(self, device: PolledDevice, now: Timestamp) -> bool:
        if not device.health.probe_due(now.mono_s):
            return False
        return len(self.devices) == 1 or now.mono_s >= self._budget.ready_s

    def _next_event_s(self, now: Timestamp, *, wanted: bool) -> float:
        until = self.queue.next_deadline_s()
        if not self._open:
            if wanted:
                return min(until, self._open_at_s)
            probes = [d.health.probe_s for d in self.devices.values() if d.health.probe_s]
            at_s = max(min(probes, default=float("inf")), self._probe_ready_s())
            return min(until, max(at_s, self._open_at_s))
        if self._lost is not None:
            return until  # what is on the wire ends first, and wakes us
        for device in self.devices.values():
            event_s = device.next_event_s()
            if not device.health.polled:
                if self._probing:
                    continue
                event_s = max(event_s, self._probe_ready_s())
            until = min(until, event_s)
        return until

    def _probe_ready_s(self) -> float:
        return 0.0 if len(self.devices) == 1 else self._budget.ready_s

    async def _idle(self, until_s: float, now: Timestamp) -> None:
        loop = asyncio.get_running_loop()
        self._waker = loop.create_future()
        timer = None
        if until_s != float("inf"):
            timer = loop.call_later(max(0.0, until_s - now.mono_s), self.wake)
        try:
            await self._waker
        finally:
            self._waker = None
            if timer is not None:
                timer.cancel()

    # Its connection

    async def _try_open(self) -> None:
        now = self._now()
        try:
            await self._connection.open()
        except DeviceError as error:
            self._count_connects("failed")
            self._open_at_s = self._now().mono_s + self._backoff.failed()
            self._down(error)
            return
        self._count_connects("ok")
        self._open, self._tried, self._since = True, True, self._now()
        self._say(down=False)
        self._trouble = ""
        for device in self.devices.values():
            device.connected(now)

    async def _reopen(self) -> None:
        """The connection was lost: once more at once, unless it had only just been made."""
        error, self._lost = self._lost, None
        now = self._now()
        lived_s = now.mono_s - self._since.mono_s
        self._open, self._since = False, now
        await self._connection.close()
        if error is not None:
            self._trouble = error.text
        if lived_s >= STEADY_S:
            self._backoff.reset()
        self._open_at_s = now.mono_s
        if lived_s < SHORT_LIVED_S:
            self._open_at_s += RECONNECT_FIRST_S

    async def _close_quietly(self) -> None:
        """Nobody needs the connection: all devices are demoted or paused."""
        self._open, self._since = False, self._now()
        await self._connection.close()

    def _down(self, error: DeviceError) -> None:
        """There is no connection: everybody is told, once."""
        self._tried, self._trouble = True, error.text
        self._say(down=True)
        now = self._now()
        for device in self.devices.values():
            device.counters.error(error.text, now.wall_us)
            self._drop(self.queue.remove(device.name), error.text)
            if device.health.state == "demoted":
                device.silent(now)  # the probe that was to come: its back-off goes on
            elif device.health.polled:
                self._jobs.publish_all(device.spoil(Quality.NOT_CONNECTED, now))

    def _say(self, *, down: bool) -> None:
        """Log a change of the connection, but only the first ones of a connection that flaps."""
        if down == self._said_down:
            return
        self._said_down = down
        now_s = self._now().mono_s
        if now_s - self._said_s >= LOG_SPAN_S:
            self._said_s, self._said = now_s, 0
        self._said += 1
        if self._said > LOG_LINES:
            return
        if down:
            text = "not connected wire=%s address=%s error=%s"
            log.warning(text, self.name, self._address, self._trouble)
        else:
            log.info("connected wire=%s address=%s", self.name, self._address)
        if self._said == LOG_LINES:
            log.warning("connection flaps wire=%s: further changes are only counted", self.name)

    def _count_connects(self, result: str) -> None:
        for device in self.devices.values():
            device.counters.connects[result] += 1

    def _check_reachable(self, device: PolledDevice) -> None:
        state = device.health.state
        if state == "disabled":
            raise WriteRefused(Failure.PAUSED, f"{device.name} is paused")
        if state == "demoted":
            why = device.counters.last_error
            failure = Failure.TIMEOUT if self._open else Failure.NOT_CONNECTED
            raise WriteRefused(failure, f"{device.name} is demoted: {why}")
        if not self._open and self._tried and self._trouble:
            text = f"{device.name} is not connected: {self._trouble}"
            raise WriteRefused(Failure.NOT_CONNECTED, text)

    # Its jobs

    def _queue_due(self, now: Timestamp) -> None:
        probes = []
        for device in self.devices.values():
            for job in device.due(now):
                self.queue.put(job)
            if not self._probing and self._probe_allowed(device, now):
                probes.append(device)
        if probes:
            device = min(probes, key=lambda device: device.health.probe_s or 0.0)
            probe = device.probe(now)
            if probe is not None:
                self._probing = True
                self.queue.put(probe)

    @property
    def _on_wire(self) -> int:
        return len(self._tasks) + self._relays

    def _start_jobs(self, now: Timestamp) -> None:
        while self._on_wire < self._concurrency:
            job = self.queue.take(now.mono_s, hold=self._held())
            if job is None:
                return
            if job.urgency == Urgency.FORWARD and self._relay(job, now):
                continue
            self._forwarding += job.urgency == Urgency.FORWARD
            self._writing += job.urgency == Urgency.WRITE
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _relay(self, job: Job, now: Timestamp) -> bool:
        """Pass a routed request on at once, where its device can do that."""
        device = self.devices.get(job.device)
        if device is None:
            return False

        def ended() -> None:
            self._relays -= 1
            self._forwarding -= 1
            self._busy_s += self._now().mono_s - now.mono_s
            if self._open and self._lost is None:
                self._start_jobs(self._now())
            if self._lost is not None or not self._on_wire:
                self.wake()

        self._relays += 1
        self._forwarding += 1
        if self._jobs.relay(device, job, now, ended):
            self._waits[job.urgency].add(now.mono_s - job.queued_s)
            return True
        self._relays -= 1
        self._forwarding -= 1
        return False

    def _held(self) -> set[Urgency]:
        """Classes that may not start now: one slot is kept from routed requests, and a write
        begins when the one before has been read back, or its answer could show an older value."""
        held = set()
        if self._concurrency > 1 and self._forwarding >= self._concurrency - 1:
            held.add(Urgency.FORWARD)
        if self._writing:
            held.add(Urgency.WRITE)
        return held

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self.wake()

    async def _between(self) -> None:
        """A driver is between two requests of a poll: waiting writes go first."""
        while self._lost is None and not self._writing:
            job = self.queue.take(self._now().mono_s, only=Urgency.WRITE)
            if job is None:
                return
            self._writing += 1
            await self._run(job)

    async def _run(self, job: Job) -> None:
        """Do one job; whatever a driver raises ends here."""
        started = self._now()
        self._waits[job.urgency].add(started.mono_s - job.queued_s)
        device = self.devices.get(job.device)
        try:
            if device is None:
                self._drop([job], "the device was removed")
            else:
                await self._jobs.run(device, job, started)
        except asyncio.CancelledError:
            self._drop([job], "the gateway is stopping")
            raise
        except Exception as error:
            self.errors += 1
            log.exception("driver failed device=%s", job.device)
            self._drop([job], f"internal error: {error!r}")
            self._lost = DeviceError(Failure.INTERNAL, repr(error), connected=False)
        finally:
            lasted_s = self._now().mono_s - started.mono_s
            self._busy_s += lasted_s
            if job.urgency == Urgency.PROBE:
                self._budget.spent(started.mono_s, lasted_s)
            self._forwarding -= job.urgency == Urgency.FORWARD
            self._writing -= job.urgency == Urgency.WRITE
            self._probing = self._probing and job.urgency != Urgency.PROBE

    def _lose(self, error: DeviceError) -> None:
        """The connection is of no further use: it is made anew when no job is on it any more."""
        self._lost = error

    def _drop(self, jobs: list[Job], why: str) -> None:
        for job in jobs:
            device = self.devices.get(job.device)
            if device is not None and isinstance(job.work, PollWork):
                device.abandon(job.work)
            self._probing = self._probing and job.urgency != Urgency.PROBE
            if job.dropped is not None:
                job.dropped(why)
                job.dropped = None
