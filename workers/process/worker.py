"""The frame of every worker process: its loop, bus, beats, commands, signals and end.

    python -m cpppod.workers.<role> <settings-file.json>       (JSON of plant.to_plain(Worker))

    start     PDEATHSIG and parent check, settings, bus, first beat
    back-off  after crashes: beats "backing off", answers commands
    prepare   role.prepare(worker); problems: "backing off" until a reload brings better settings
    run       role.commit(), role.run()
    end       SIGTERM or SIGINT: role.run() is cancelled, exit 0; an exception: logged, exit 1

A role is an object that satisfies `Role`; `run_worker(make_role, sys.argv[1:])` is its main
program. Beats are turns of the loop: a role that blocks it for 5 s is killed by control.
"""

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import json
import logging
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from cpppod.protocols.bus.codec import MAX_ITEMS
from cpppod.protocols.bus.messages import (
    Beat,
    Command,
    CommandReply,
    Message,
    decode,
)
from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Worker, from_plain
from cpppod.workers.bus.epochs import unused_epoch
from cpppod.workers.bus.zeromq import Bus, BusError
from cpppod.workers.process.crashes import HEALTHY_S, YOUNG_S, CrashCounter
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.state import StateDirectory

BEAT_S = 0.5  # docs/control.md promises it; the watchdog tolerates nine late ones
PREPARING_BEAT_S = 0.1  # at the start, for a moment: who waits for the gateway hears of it sooner
STATE_RETRY_S = 5.0  # between tries to write what the state directory would not take
STOP_S = 1.5  # for role.run() to end; supervisord kills after stopwaitsecs=2
BEAT_QUEUE = 16  # beats kept for a control that is away: older ones say nothing
SUPERVISOR_VARIABLE = "CPPPOD_SUPERVISOR_PID"
MAX_SETTINGS = 64 << 20  # bytes of a settings file: 100,000 tags need about 20 MB

log = logging.getLogger("cpppod")


class CommandError(Exception):
    """A command was refused; the text is for the operator: what, why, what to try."""

    def __init__(self, text: str, failure: Failure = Failure.UNSUPPORTED) -> None:
        super().__init__(text)
        self.failure = failure


class Report(NamedTuple):
    """What a role has to say in each beat; see `messages.Beat`."""

    state: str = "running"
    overdue: Sequence[str] = ()
    devices: dict[str, Any] | None = None
    metrics: Sequence[Any] = ()
    extra: dict[str, Any] | None = None


class Role(Protocol):
    """What a worker's program gives to the frame."""

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings; none: `commit` will not fail. Changes nothing yet."""

    def commit(self) -> None:
        """Go over to the settings last prepared: before `run`, or during it on a reload."""

    def abort(self) -> None:
        """Forget the settings last prepared."""

    async def run(self) -> None:
        """Work until cancelled."""

    def beat(self) -> Report:
        """The state for the next beat; called twice a second on the loop."""

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """The result of a command that the frame does not know, of msgpack's own types.

        Raises:
            CommandError: refused.
        """


MakeRole = Callable[["Process"], Role]


class Process:
    """The running frame, handed to the role.

    Attributes:
        worker: the settings in force.
        bus: sockets of this process; `io`: its I/O thread; `state`: its files, used on that.
        control: the DEALER to control, for what only control's own messages say.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.bus = Bus(worker.name, worker.bus_dir)
        self.io = IoThread()
        self.state = StateDirectory(worker.state_dir)
        self.control = self.bus.dealer(
            "control", self._on_control, queue=BEAT_QUEUE, queue_while_away=True
        )
        self.errors = 0
        self._loop = asyncio.get_running_loop()
        self._role: Role | None = None
        self._running = False
        self._waiting = False
        self._problems: list[str] = []
        self._prepared: Worker | None = None
        self._committed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat_timer: asyncio.TimerHandle | None = None

    def now_us(self) -> int:
        """Microseconds of the machine's monotonic clock: deadlines on the bus are in these."""
        return time.monotonic_ns() // 1000

    async def new_epoch(self) -> int:
        """An epoch for a publisher of this worker's name; stored first, if the disk takes it."""
        now_ms = time.time_ns() // 1_000_000
        return await self.io.call(unused_epoch, self.state, self.worker.name, now_ms)

    async def _keep_state(self) -> None:
        """Try again what the state directory would not take, until the end."""
        while True:
            await asyncio.sleep(STATE_RETRY_S)
            if self.state.unkept:
                with contextlib.suppress(IoThreadBusy):
                    await self.io.call(self.state.retry)

    async def serve(self, make_role: MakeRole) -> int:
        """Run the role to its end; the process's exit code."""
        self._loop.set_exception_handler(self._on_loop_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: None)  # reloads come from control
        crashes = CrashCounter(self.worker.runtime_dir, self.worker.name)
        wait_s = crashes.started(self.now_us())
        self._beat()
        timers = [
            self._loop.call_later(YOUNG_S, crashes.grew_up),
            self._loop.call_later(wait_s + HEALTHY_S, crashes.cleared),
        ]
        try:
            if wait_s:
                log.warning("backing off after crashes wait_s=%.1f", wait_s)
                self._waiting = True
                self._beat()
                await self._wait_or_stop(wait_s)
                self._waiting = False
            if not self._stopping.is_set():
                await self._run_role(make_role)
        except Exception:
            log.exception("worker failed name=%s", self.worker.name)
            crashes.crashed()
            return 1
        finally:
            for timer in timers:
                timer.cancel()
            self.close()
        crashes.cleared()
        return 0

    async def _run_role(self, make_role: MakeRole) -> None:
        role = self._role = make_role(self)
        while problems := role.prepare(self.worker):
            for problem in problems:
                log.error("settings refused: %s", problem)
            self._problems = problems
            self._committed.clear()
            await self._first_of(self._committed.wait(), self._stopping.wait())
            if self._stopping.is_set():
                return
        self._problems = []
        role.commit()
        gc.collect()
        gc.freeze()  # what is here now stays: full collections need not look at it again (10 ms)
        self._running = True
        self._beat()
        self.spawn(self._keep_state())
        await self._first_of(role.run(), self._stopping.wait())

    async def _first_of(self, work: Any, end: Any) -> None:
        """Wait for either; the other is cancelled and has `STOP_S` to end. Errors are raised."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(end)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=STOP_S)
        for task in done:
            task.result()

    async def _wait_or_stop(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            pass

    def close(self) -> None:
        """Give back sockets, threads and tasks; `serve` does so at its end."""
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        for task in self._tasks:
            task.cancel()
        self.io.close()
        self.bus.close()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The top of the loop: what a callback raised is logged and counted, and work goes on."""
        self.errors += 1
        error = context.get("exception")
        strangers.error(log, "callback failed what=%s", context.get("message"), exc_info=error)

    def _beat(self) -> None:
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._beat_timer = self._loop.call_later(BEAT_S, self._beat)
        if self._role is not None and self._running:
            report = self._role.beat()
        else:
            waiting = self._waiting or self._problems
            report = Report("backing off" if waiting else "preparing")
        if report.state == "preparing":
            self._beat_timer.cancel()
            self._beat_timer = self._loop.call_later(PREPARING_BEAT_S, self._beat)
        strangers.tell()
        self.control.send(
            encode_beat(
                Beat(
                    worker=self.worker.name,
                    pid=os.getpid(),
                    generation=self.worker.generation,
                    mono_us=self.now_us(),
                    state=report.state,
                    blocking_us=self.io.age_us(),
                    overdue=[*self._problems, *report.overdue, *self.state.overdue()],
                    devices=report.devices or {},
                    metrics=[*self._metrics(), *report.metrics],
                    extra=report.extra or {},
                )
            )
        )

    def _metrics(self) -> list[Any]:
        metrics: list[Any] = [
            ["cpppod_worker_errors_total", {}, self.errors],
            ["cpppod_state_unkept", {}, len(self.state.unkept)],
            *strangers.metrics(),
        ]
        for socket in self.bus.sockets:
            labels = {"socket": socket.name}
            counters = socket.counters
            metrics += (
                ["cpppod_bus_received_total", labels, counters.received],
                ["cpppod_bus_sent_total", labels, counters.sent],
                ["cpppod_bus_unsent_total", labels, counters.unsent + counters.unroutable],
                ["cpppod_bus_malformed_total", labels, counters.malformed],
            )
        return metrics

    def _on_control(self, frames: list[bytes]) -> None:
        try:
            message = decode(frames[-1])
        except DecodeError:
            self.control.counters.malformed += 1
            return
        if isinstance(message, Command):
            self.spawn(self._obey(message))

    def spawn(self, work: Any) -> "asyncio.Task[None]":
        """Run a coroutine beside the role, until the end; its errors are logged and counted."""
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_loop_error(self._loop, {"message": "a task", "exception": error})

    async def _obey(self, command: Command) -> None:
        try:
            result = await self._command(command.verb, command.arguments)
            reply = CommandReply(command.id, "", result).encode()
        except CommandError as error:
            reply = CommandReply(command.id, str(error), failure=str(error.failure)).encode()
        except EncodeError as error:
            reply = CommandReply(command.id, f"{command.verb}: reply too large: {error}").encode()
        except Exception as error:
            log.exception("command failed verb=%s", command.verb)
            self.errors += 1
            text = f"{command.verb}: {error!r}; see the log"
            reply = CommandReply(command.id, text, failure=str(Failure.INTERNAL)).encode()
        self.control.send(reply)

    async def _command(self, verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "prepare":
            return await self._prepare(str(arguments.get("path", "")))
        if verb == "commit":
            return self._commit(arguments.get("generation"))
        if verb == "abort":
            return self._abort()
        if verb == "log":
            return set_log_level(str(arguments.get("level", "")))
        if self._role is None or not self._running:
            text = f"{verb}: {self.worker.name} is backing off; see its log"
            raise CommandError(text, Failure.UNDELIVERED)
        return await self._role.command(verb, arguments)

    async def _prepare(self, path: str) -> int:
        try:
            worker = await self.io.call(load_settings, path)
        except (OSError, ValueError, DecodeError) as error:
            raise CommandError(f"settings {path}: {error}") from None
        if worker.name != self.worker.name or worker.role != self.worker.role:
            raise CommandError(f"settings {path} are for {worker.role} {worker.name}")
        if self._role is not None and (problems := self._role.prepare(worker)):
            raise CommandError("; ".join(problems))
        self._prepared = worker
        return worker.generation

    def _commit(self, generation: int | None) -> int:
        worker = self._prepared
        if worker is None or generation not in (None, worker.generation):
            raise CommandError(f"generation {generation} is not prepared")
        self._prepared = None
        self.worker = worker
        set_log_level(worker.log_level)
        if self._role is not None and self._running:
            self._role.commit()
        self._committed.set()
        self._beat()
        return worker.generation

    def _abort(self) -> None:
        if self._prepared is not None:
            self._prepared = None
            if self._role is not None:
                self._role.abort()


def encode_beat(beat: Beat) -> bytes:
    """The beat's frame; without its metrics, and then its devices, where all is too much for one.

    A worker of very many devices must not be killed because it has so much to say.
    """
    too_much = [*beat.overdue, "a shorter beat: too many devices in one worker"]
    bare = dataclasses.replace(beat, metrics=[], overdue=too_much)
    for each in (beat, bare, dataclasses.replace(bare, devices={})):
        if len(each.metrics) > MAX_ITEMS:
            continue
        try:
            return each.encode()
        except EncodeError:
            continue
    return dataclasses.replace(bare, devices={}, extra={}).encode()


def load_settings(path: str | os.PathLike[str]) -> Worker:
    """The settings in a worker's file.

    Raises:
        OSError, ValueError, DecodeError: it cannot be read, is not JSON, or not a worker's.
    """
    with open(path, "rb") as file:
        return from_plain(Worker, json.loads(file.read(MAX_SETTINGS)))


def set_log_level(level: str) -> str:
    """The level now in force, for everything of ours.

    Raises:
        CommandError: there is no such level.
    """
    name = level.upper()
    if name not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise CommandError(f"log level {level!r}: try debug, info, warning or error")
    log.setLevel(name)
    return name


def decode_or_count(frames: list[bytes], counters: Any) -> Message | None:
    """The message in the last frame; None, and counted as malformed, if it is not ours."""
    try:
        return decode(frames[-1])
    except DecodeError:
        counters.malformed += 1
        return None


Group = TypeVar("Group")


def groups_or_count(
    plain: list[Any], decode_group: Callable[[Any], Group], counters: Any
) -> list[Group]:
    """The groups of a message; one that is none is left out, and counted as malformed."""
    found = []
    for each in plain:
        try:
            found.append(decode_group(each))
        except DecodeError:
            counters.malformed += 1
    return found


def follow_supervisor() -> bool:
    """Die with the supervisor; False if it is gone already. Without one named, nothing is done."""
    expected = os.environ.get(SUPERVISOR_VARIABLE)
    if not expected:
        return True
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    return str(os.getppid()) == expected


def run_worker(make_role: MakeRole, argv: Sequence[str]) -> int:
    """Run one worker to its end; what `sys.exit` wants.

    Args:
        argv: the command line without the program: one settings file.
    """
    if len(argv) != 1 or argv[0].startswith("-"):
        print("usage: python -m cpppod.workers.<role> SETTINGS.json", file=sys.stderr)
        return 2
    if not follow_supervisor():
        print("worker: the supervisor that started me is gone", file=sys.stderr)
        return 1
    os.umask(0o077)
    try:
        worker = load_settings(argv[0])
    except (OSError, ValueError, DecodeError) as error:
        print(f"worker: settings {argv[0]}: {error}", file=sys.stderr)
        time.sleep(1.0)  # supervisord restarts at once: do not spin on a file that is not there
        return 1
    logging.basicConfig(
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)s {worker.name}: %(message)s",
    )
    set_log_level(worker.log_level)
    pathlib.Path(worker.bus_dir).mkdir(mode=0o700, parents=True, exist_ok=True)

    settings = [worker]
    del worker  # who reloads lets go of these settings; they may be large

    async def main() -> int:
        return await Process(settings.pop()).serve(make_role)

    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        try:
            return runner.run(main())
        except BusError as error:
            log.error("bus: %s", error)
            return 1


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop where there is uvloop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
