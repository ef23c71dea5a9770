"""A worker's life, from the outside: the test is its supervisor and its control."""

import asyncio
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod.protocols.bus.messages import Beat, Command, CommandReply, decode
from cpppod.workers.bus.zeromq import Bus
from tests.feed.running import until

# A role that does as it is told: `do NAME` calls one of the methods below.
PROGRAM = """
import asyncio, os, signal, sys, threading
from cpppod.workers.process.worker import CommandError, Report, run_worker

class Obedient:
    def __init__(self, process):
        self.process = process
        self.fail = asyncio.Event()
        self.leave = threading.Event()
        self.options = {}

    def prepare(self, worker):
        self.next = worker.options
        return ["mode: bad"] if worker.options.get("mode") == "bad" else []

    def commit(self):
        self.options = self.next

    def abort(self):
        self.next = self.options

    async def run(self):
        if self.options.get("mode") == "crash":
            raise RuntimeError("crashed as told")
        await self.fail.wait()
        raise RuntimeError("failed as told")

    def beat(self):
        if "count" in self.options:
            with open(self.options["count"], "a") as file:
                file.write(".")
        return Report(overdue=["tea"], metrics=[["m", {}, 1]], extra={"options": self.options})

    async def command(self, verb, arguments):
        if verb == "fail":
            self.fail.set()
        elif verb == "refuse":
            raise CommandError("refused: try again")
        elif verb == "block the thread":
            self.process.io.call(self.leave.wait, 60)
        elif verb == "unblock the thread":
            self.leave.set()
        elif verb == "raise in a callback":
            asyncio.get_running_loop().call_soon(int, "x")
        elif verb == "large":
            return "x" * 2_000_000
        elif verb == "epoch":
            return await self.process.new_epoch()
        else:
            return [verb, arguments]

sys.exit(run_worker(Obedient, sys.argv[1:]))
"""


class Worker:
    """The process under test, and what it told control."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "bus").mkdir(mode=0o700)
        self.beats: list[Beat] = []
        self.replies: dict[int, CommandReply] = {}
        self.bus: Bus | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.last_id = 0

    def settings(self, generation: int = 0, **options: Any) -> str:
        path = self.folder / f"settings-{generation}.json"
        plain = {
            "name": "w",
            "role": "poller",
            "bus_dir": str(self.folder / "bus"),
            "state_dir": str(self.folder),
            "runtime_dir": str(self.folder),
            "generation": generation,
            "options": options,
        }
        path.write_text(json.dumps(plain))
        return str(path)

    def control(self) -> None:
        self.bus = Bus("control", self.folder / "bus")
        self.socket = self.bus.router("control", self.on_frames)

    def on_frames(self, frames: list[bytes]) -> None:
        message = decode(frames[1])
        if isinstance(message, Beat):
            self.beats.append(message)
        elif isinstance(message, CommandReply):
            self.replies[message.id] = message

    def start(self, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self.settings(**options)],
            env={**os.environ, "CPPPOD_SUPERVISOR_PID": str(os.getpid())},
            stderr=(self.folder / "log").open("ab"),
        )

    async def running(self) -> None:
        self.beats.clear()
        await until(lambda: any(beat.state == "running" for beat in self.beats))

    async def ask(self, verb: str, **arguments: Any) -> CommandReply:
        self.last_id += 1
        self.socket.send(b"w", Command(self.last_id, verb, arguments).encode())
        await until(lambda: self.last_id in self.replies)
        return self.replies[self.last_id]

    async def ended(self) -> int:
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None)
        return int(process.returncode)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def close(self) -> None:
        if self.bus is not None:
            self.bus.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def worker() -> Iterator[Worker]:
    with tempfile.TemporaryDirectory(prefix="cw") as name:
        worker = Worker(pathlib.Path(name))
        try:
            yield worker
        finally:
            worker.close()


def test_worker_beats_with_what_its_role_reports(worker: Worker) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start(speed=5)
        await worker.running()
        await until(lambda: len(worker.beats) >= 3)
        beat = worker.beats[-1]
        assert (beat.worker, beat.overdue) == ("w", ["tea"])
        assert worker.process is not None
        assert beat.pid == worker.process.pid
        assert ["m", {}, 1] in beat.metrics
        assert beat.extra == {"options": {"speed": 5}}
        assert worker.beats[-1].mono_us > worker.beats[-2].mono_us

    asyncio.run(scenario())


def test_commands_are_obeyed_refused_and_survived(worker: Worker) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start()
        await worker.running()
        assert (await worker.ask("hello", x=1)).result == ["hello", {"x": 1}]
        assert (await worker.ask("refuse")).error == "refused: try again"
        assert "reply too large" in (await worker.ask("large")).error
        assert (await worker.ask("log", level="debug")).result == "DEBUG"
        assert "try debug" in (await worker.ask("log", level="loud")).error
        assert (await worker.ask("epoch")).result > 1_700_000_000_000
        await worker.ask("raise in a callback")
        worker.beats.clear()
        wanted = ["cpppod_worker_errors_total", {}, 1]
        await until(lambda: any(wanted in beat.metrics for beat in worker.beats))
        assert "callback failed" in worker.log()

    asyncio.run(scenario())


def test_reload_is_prepared_then_committed_or_forgotten(worker: Worker) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start(speed=1)
        await worker.running()
        assert "not prepared" in (await worker.ask("commit", generation=1)).error
        refused = await worker.ask("prepare", path=worker.settings(1, mode="bad"))
        assert refused.error == "mode: bad"
        assert (await worker.ask("prepare", path="/nothing/here")).error != ""
        assert (await worker.ask("prepare", path=worker.settings(2, speed=2))).result == 2
        await worker.ask("abort")
        assert "not prepared" in (await worker.ask("commit", generation=2)).error
        await worker.ask("prepare", path=worker.settings(3, speed=3))
        assert "not prepared" in (await worker.ask("commit", generation=9)).error
        assert (await worker.ask("commit", generation=3)).result == 3
        worker.beats.clear()
        await until(lambda: worker.beats)
        assert worker.beats[-1].generation == 3
        assert worker.beats[-1].extra == {"options": {"speed": 3}}

    asyncio.run(scenario())


def test_bad_settings_at_the_start_wait_for_better_ones(worker: Worker) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start(mode="bad")
        await until(lambda: any(beat.overdue == ["mode: bad"] for beat in worker.beats))
        assert worker.beats[-1].state == "backing off"
        assert "backing off" in (await worker.ask("hello")).error
        await worker.ask("prepare", path=worker.settings(1))
        await worker.ask("commit", generation=1)
        await worker.running()

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_leaves_when_asked(worker: Worker, number: signal.Signals) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start()
        await worker.running()
        assert worker.process is not None
        worker.process.send_signal(signal.SIGHUP)  # says nothing to a worker
        await worker.ask("hello")
        worker.process.send_signal(number)
        assert await worker.ended() == 0

    asyncio.run(scenario())


def test_crash_is_logged_and_the_next_life_backs_off_while_it_beats(worker: Worker) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start(mode="crash")
        assert await worker.ended() == 1
        assert "crashed as told" in worker.log()
        worker.start()
        await until(lambda: any(beat.state == "backing off" for beat in worker.beats))
        await worker.running()

    asyncio.run(scenario())


def test_blocking_call_shows_its_age_while_the_worker_beats(worker: Worker) -> None:
    async def scenario() -> None:
        worker.control()
        worker.start()
        await worker.running()
        await worker.ask("block the thread")
        worker.beats.clear()
        await until(lambda: any(beat.blocking_us > 300_000 for beat in worker.beats))
        await worker.ask("unblock the thread")
        worker.beats.clear()
        await until(lambda: any(beat.blocking_us == 0 for beat in worker.beats))

    asyncio.run(scenario())


def test_control_that_comes_late_hears_of_the_present(worker: Worker) -> None:
    async def scenario() -> None:
        count = worker.folder / "beats"
        count.touch()
        worker.start(count=str(count))
        await until(lambda: count.stat().st_size >= 3)  # said to nobody
        came_us = time.monotonic_ns() // 1000
        worker.control()
        await until(lambda: any(beat.mono_us >= came_us for beat in worker.beats))

    asyncio.run(scenario())


def test_worker_of_another_supervisor_leaves_at_once(worker: Worker) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, worker.settings()],
        env={**os.environ, "CPPPOD_SUPERVISOR_PID": "1"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 1
    assert b"gone" in ended.stderr


def test_worker_dies_with_its_supervisor(worker: Worker) -> None:
    parent = (
        "import os, subprocess, sys\n"
        "os.environ['CPPPOD_SUPERVISOR_PID'] = str(os.getpid())\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )

    async def scenario() -> None:
        worker.control()
        supervisor = subprocess.Popen(
            [sys.executable, "-c", parent, PROGRAM, worker.settings()],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        await worker.running()
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()
        await until(lambda: state_of(pid) in ("gone", "Z"))

    asyncio.run(scenario())


def state_of(pid: int) -> str:
    """The process's state letter, or `gone`."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_wrong_command_line_is_said(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "cpppod.workers.feed", *arguments]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == 2
    assert b"usage" in ended.stderr


def test_settings_that_are_not_there_are_named(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "cpppod.workers.feed", str(tmp_path / "none.json")]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"none.json" in ended.stderr
