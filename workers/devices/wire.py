"""One wire and everything that uses it: a serial line, or one connection to one address.

              writes                             schedule of each device
                  │                                      │ polls, retries, probes
                  ▼                                      ▼
             WireQueue ───── one at a time (enip: `concurrency`) ────► Driver ──► device
        groups ─► Relays ─── within their window ──────────────────►     │
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

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.values import Quality
from cpppod.protocols.model.writing import WriteRefused
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
    JobRunner,
    Publish,
    WriteAnswer,
    WriteWork,
    clock,
    unsent,
)
from cpppod.workers.devices.queue import Job, Urgency, WireQueue
from cpppod.workers.devices.relays import Answer, Relays, refusals

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
        self._relays: dict[str, Relays] = {}  # of devices that understand CIP
        self._relay_timer: asyncio.TimerHandle | None = None
        self._writing = 0
        self._waker: asyncio.Future[None] | None = None
        self._budget = ProbeBudget()
        self._probing = False
        self._backoff = Backoff(RECONNECT_FIRST_S, RECONNECT_CAP_S)
        self._open = False
        self._absent = False  # the last try to open it failed
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
        self._relay_for(device)
        now = self._now()
        if not device.device.enabled:
            self._jobs.publish_all(device.spoil(Quality.DISABLED, now))
        elif self._tried and not self._open:
            self._jobs.publish_all(device.spoil(Quality.NOT_CONNECTED, now))
        self.wake()

    def remove(self, name: str) -> None:
        """Forget the device of that name; whoever waits for it is told."""
        relays = self._relays.pop(name, None)
        if relays is not None:
            error = DeviceError(Failure.NOT_CONNECTED, "the device was removed")
            relays.lost(error, self._now().mono_s)
            relays.drop(Failure.NOT_CONNECTED)
        del self.devices[name]
        self._drop(self.queue.remove(name), "the device was removed")
        self.wake()

    def _relay_for(self, device: PolledDevice) -> None:
        """Have what others ask of a device that understands CIP relayed."""
        cip = device.driver.cip
        if cip is None:
            return
        relays = Relays(
            cip,
            floor=self._concurrency,
            silent_s=device.device.timeout_s,
            observe=lambda count, lasted_s, error: self._jobs.relayed(
                device, count, lasted_s, error
            ),
            waited=self._waits[Urgency.FORWARD].add,
        )
        self._relays[device.name] = relays

        def replied(number: int, place: int, replies: list[bytes]) -> bool:
            now_s = self._now().mono_s
            right = relays.replied(number, place, replies, now_s)
            self._pump(relays, now_s)
            if self._concurrency == 1 or self._lost is not None:
                self.wake()
            return right

        def lost(error: DeviceError) -> None:
            relays.lost(error, self._now().mono_s)
            if self._open and self._lost is None:
                self._jobs.note(device, error)
                self.wake()

        cip.ends.replied = replied
        cip.ends.refused = lambda number, place, error: relays.refused(
            number, place, error, self._now().mono_s
        )
        cip.ends.lost = lost
        cip.ends.ready = lambda: self._pump(relays, self._now().mono_s)

    def write(
        self, name: str, writes: list[Any], deadline_s: float, answer: Callable[[WriteAnswer], None]
    ) -> None:
        """Write tags of a device; `answer` is called once, at once where nothing is to be sent."""
        device = self.devices[name]
        try:
            checked = device.check_write(writes, self._now().mono_s)
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

    def forward(self, name: str, group: RouteGroup, answer: Answer) -> None:
        """Relay a group to a device; `answer` gets replies, or why there are none, in parts."""
        device = self.devices[name]
        relays = self._relays.get(name)
        failure = self._relay_refused(device)
        if relays is None or failure is not None:
            why = failure or Failure.UNSUPPORTED
            answer(0, refusals(group, group.messages(), why), 0)
            return
        now_s = self._now().mono_s
        relays.take(group, answer, now_s)
        self._pump(relays, now_s)
        self._set_relay_timer(group.deadline_us / 1e6)

    def _relay_refused(self, device: PolledDevice) -> Failure | None:
        """Why nothing is relayed to a device now: a connection that is only just gone is not."""
        if not self._open and device.health.polled and not self._absent:
            return None
        try:
            self._check_reachable(device)
        except WriteRefused as refused:
            return refused.failure
        return None

    def _pump(self, relays: Relays, now_s: float) -> None:
        """Let relayed requests go, where the device takes them beside polls, or has no others."""
        since = relays.waiting_since()
        if since is None or not self._open or self._lost is not None:
            return
        if self._concurrency == 1:
            rank = self.queue.rank(Urgency.FORWARD, now_s - since)
            if self._tasks or self.queue.first_rank(now_s) < rank:
                self.wake()
                return
        relays.pump(now_s)

    def _set_relay_timer(self, at_s: float) -> None:
        """Have `_expire_relays` called at that second; an earlier timer stays and looks again."""
        timer = self._relay_timer
        if timer is not None and timer.when() <= at_s:
            return
        if timer is not None:
            timer.cancel()
        self._relay_timer = asyncio.get_running_loop().call_at(at_s, self._expire_relays)

    def _expire_relays(self) -> None:
        self._relay_timer = None
        now_s = self._now().mono_s
        until_s = float("inf")
        for name, relays in self._relays.items():
            if relays.expire(now_s):
                text = "no reply in time"
                self._jobs.note(self.devices[name], DeviceError(Failure.TIMEOUT, text))
            self._pump(relays, now_s)
            until_s = min(until_s, relays.next_deadline_s())
        if until_s != float("inf"):
            self._set_relay_timer(until_s)

    def pause(self, name: str) -> None:
        """Poll the device no more until `resume`."""
        device = self.devices[name]
        if name in self._relays:
            self._relays[name].drop(Failure.PAUSED)
        self._drop(self.queue.remove(name), "the device was paused")
        self._jobs.publish_all(device.pause(self._now()))
        self.wake()

    def resume(self, name: str) -> None:
        """Poll the device again, at once."""
        self.devices[name].resume(self._now())
        self.wake()

    def hurry(self, name: str) -> None:
        """Connect, or probe a demoted device, now and not when its back-off is over."""
        now = self._now()
        self._open_at_s = min(self._open_at_s, now.mono_s)
        self.devices[name].health.hurry(now.mono_s)
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
        windows = [relays.window.size for relays in self._relays.values()]
        return ({"window": max(windows)} if windows else {}) | {
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
        return self._open and device.health.polled and not device.health.absent

    def metrics(self) -> list[Row]:
        """Rows for the beat: the wire's own."""
        now_s, (then_s, then_busy_s) = self._now().mono_s, self._measured
        self._measured = (now_s, self._busy_s)
        labels = {"port": self.name}
        relayed = sum(relays.waits for relays in self._relays.values())
        ratio = (self._busy_s - then_busy_s) / (now_s - then_s) if now_s > then_s else 0.0
        rows: list[Row] = [
            ["cpppod_bus_utilization_ratio", labels, min(1.0, ratio)],
            ["cpppod_queue_depth", {"queue": self.name}, len(self.queue) + relayed],
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
        if self._relay_timer is not None:
            self._relay_timer.cancel()
            self._relay_timer = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        self._open = False
        await self._connection.close()
        for relays in self._relays.values():  # and the reads that were out with the connection
            relays.drop(Failure.NOT_SENT)

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
        self._absent = False
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
        self._absent = True
        self._say(down=True)
        now = self._now()
        for device in self.devices.values():
            device.counters.error(error.text, now.wall_us)
            self._drop(self.queue.remove(device.name), error.text)
            if device.name in self._relays:
                self._relays[device.name].drop(Failure.NOT_CONNECTED)
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
        return len(self._tasks) + self._relayed

    @property
    def _relayed(self) -> int:
        """Others' requests that are out."""
        return sum(relays.out for relays in self._relays.values())

    def _start_jobs(self, now: Timestamp) -> None:
        for relays in self._relays.values():
            self._pump(relays, now.mono_s)
        while len(self._tasks) < self._concurrency and (self._concurrency > 1 or not self._relayed):
            job = self.queue.take(now.mono_s, hold=self._held())
            if job is None:
                return
            self._writing += job.urgency == Urgency.WRITE
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _held(self) -> set[Urgency]:
        """Classes that may not start now: a write begins when the one before has been read back,
        or its answer could show an older value."""
        return {Urgency.WRITE} if self._writing else set()

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
