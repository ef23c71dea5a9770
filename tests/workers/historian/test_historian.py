"""The historian as a process: killed, its store taken away, full and hung; nothing lost, nothing
twice."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.journal import Kind, encode_record
from cpppod.protocols.bus.messages import Beat, Command, CommandReply, decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.plant import Worker, to_plain
from cpppod.workers.bus.zeromq import Bus
from cpppod.workers.historian.stores.opening import open_reader
from cpppod.workers.journal.files import JournalLimits, JournalWriter
from tests.patience import PATIENCE_S
from tests.postgresql_cluster import running_cluster

TAGS = 10


class Load:
    """A worker that publishes counters into its journal, in a thread, at a steady rate."""

    def __init__(self, root: Path, name: str, blocks_per_s: float = 200.0) -> None:
        self.name = name
        self.value = 0
        self._publisher = Publisher(name, time.time_ns() // 1_000_000)
        self._writer = JournalWriter(root / name, self._publisher.epoch, JournalLimits())
        self._period_s = 1.0 / blocks_per_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._writer.open(time.monotonic())
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            self.publish()
            due += self._period_s
            time.sleep(max(0.0, due - time.monotonic()))

    def publish(self) -> None:
        now_us = time.time_ns() // 1000
        self.value += 1
        samples = {f"t{at}": (self.value * TAGS + at, 0) for at in range(TAGS)}
        topic, payload = self._publisher.block(
            f"dev_{self.name}", "fast", TAGS, samples,
            source_us=now_us, gateway_us=now_us, mono_us=time.monotonic_ns() // 1000,
        )  # fmt: skip
        record = encode_record(
            Kind.BLOCK, topic, payload, sequence=self._publisher.sequence, samples=TAGS
        )
        self._writer.append(record, time.monotonic())


class Historian:
    """The process, started and killed as told; restarted by nobody else."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.journal = self.state / "journal"
        self.journal.mkdir(parents=True)
        (folder / "bus").mkdir(mode=0o700)
        worker = Worker(
            name="historian",
            role="historian",
            bus_dir=str(folder / "bus"),
            state_dir=str(self.state),
            runtime_dir=str(folder),
            log_level="WARNING",
            options={"free_bytes": 1, **options},
        )
        self.settings = folder / "historian.json"
        self.settings.write_text(json.dumps(to_plain(worker)))
        self.url = options.get("dsn") or str(options.get("path", self.state / "history"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        shutil.rmtree(self.folder / "crashes", ignore_errors=True)  # no back-off: not shown here
        environment = {**os.environ}
        environment.pop("CPPPOD_SUPERVISOR_PID", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cpppod.workers.historian", str(self.settings)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def stored(self, load: Load, tag: str = "t0") -> list[int]:
        """The counter's values as stored, in order; empty while there is no store to ask."""
        try:
            with contextlib.closing(open_reader(self.url)) as reader:
                found = reader.samples(f"dev_{load.name}", tag, 0, 2**52)
                return [sample.value // TAGS for sample in found]
        except Exception:  # whatever a store says that is not there yet
            return []

    def gaps(self) -> list[Any]:
        with contextlib.closing(open_reader(self.url)) as reader:
            return reader.gaps("", 0, 2**52)


@pytest.fixture
def historian(tmp_path: Path) -> Iterator[Historian]:
    found = Historian(tmp_path)
    yield found
    found.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def check_whole(historian: Historian, *loads: Load) -> None:
    """All that was published is stored, once, in order, every tag alike; nothing is declared."""
    for load in loads:
        wait_until(lambda load=load: historian.stored(load)[-1:] == [load.value])  # type: ignore[misc]
        for tag in ("t0", "t9"):
            assert historian.stored(load, tag) == list(range(1, load.value + 1))
    assert historian.gaps() == []


def killed_often(historian: Historian, kills: int) -> None:
    chance = random.Random(20261122)
    with Load(historian.journal, "one") as one, Load(historian.journal, "two") as two:
        for _ in range(kills):
            historian.start()
            acknowledged = len(historian.stored(one))
            wait_until(lambda known=acknowledged: len(historian.stored(one)) > known)  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.2))
            acknowledged = len(historian.stored(one))
            historian.kill()
            assert len(historian.stored(one)) >= acknowledged
        historian.start()
    check_whole(historian, one, two)


def test_a_historian_killed_under_load_loses_nothing(historian: Historian) -> None:
    killed_often(historian, kills=4)


@pytest.mark.campaign
def test_a_historian_killed_sixty_times_loses_nothing(historian: Historian) -> None:
    killed_often(historian, kills=60)


def test_a_clean_stop_stores_what_is_there(historian: Historian) -> None:
    historian.start()
    with Load(historian.journal, "one") as load:
        wait_until(lambda: load.value >= 20 and bool(historian.stored(load)))
    assert historian.stop() == 0
    assert historian.stored(load) == list(range(1, load.value + 1))
    historian.start()


def test_questions_are_answered_and_beats_tell_the_state(historian: Historian) -> None:
    beats: list[Beat] = []
    replies: list[CommandReply] = []

    async def scenario(load: Load) -> None:
        bus = Bus("control", historian.folder / "bus")

        def receive(frames: list[bytes]) -> None:
            message = decode(frames[-1])
            if isinstance(message, Beat):
                beats.append(message)
            elif isinstance(message, CommandReply):
                replies.append(message)

        socket = bus.router("control", receive)
        historian.start()
        async with asyncio.timeout(PATIENCE_S):
            while not (beats and beats[-1].extra.get("stored_us")):
                await asyncio.sleep(0.02)
            asked: list[dict[str, Any]] = [
                {"tag": "dev_one.t1", "limit": 3},
                {"tag": "dev_one.t1", "aggregate": "x"},
                {},
            ]
            for number, arguments in enumerate(asked):
                socket.send(b"historian", Command(number, "history", arguments).encode())
            socket.send(b"historian", Command(3, "dance", {}).encode())
            while len(replies) < 4:
                await asyncio.sleep(0.02)
        bus.close()

    with Load(historian.journal, "one") as load:
        wait_until(lambda: load.value > 5)
        asyncio.run(scenario(load))
    by_id = {reply.id: reply for reply in replies}
    assert [row[1] for row in by_id[0].result["rows"]] == [11, 21, 31]
    assert "aggregate" in by_id[1].error
    assert len(by_id[2].result["tags"]) == TAGS
    assert "dance" in by_id[3].error
    assert beats[-1].extra["store_state"] == "storing"
    metrics = {name: number for name, _, number in beats[-1].metrics}
    assert metrics["cpppod_historian_samples_total"] > 0
    assert metrics["cpppod_sink_up"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)]
    if os.getuid() or subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_and_is_freed_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    historian = Historian(tmp_path / "gateway", path=str(small_disk / "history"))
    historian.start()
    try:
        with Load(historian.journal, "one") as load:
            wait_until(lambda: bool(historian.stored(load)))
            filler = small_disk / "filler"
            with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(65_536))
            wait_until(lambda: load.value - len(historian.stored(load)) > 200)
            known = len(historian.stored(load))
            assert known > 0  # what is stored can be read all the while
            filler.unlink()
            wait_until(lambda: len(historian.stored(load)) > known)
        check_whole(historian, load)
    finally:
        historian.kill()


def outage(seconds_down: float, seconds_hung: float) -> None:
    """PostgreSQL away and back, then hung and back, under load."""
    with running_cluster() as cluster:
        historian = Historian(cluster.folder / "gateway", store="postgresql", dsn=cluster.url)
        historian.start()
        try:
            with Load(historian.journal, "one") as load:
                wait_until(lambda: bool(historian.stored(load)))
                cluster.stop()
                time.sleep(seconds_down)
                cluster.start()
                wait_until(lambda: load.value - len(historian.stored(load)) < 200)
                cluster.hang()
                time.sleep(seconds_hung)
                cluster.resume()
                wait_until(lambda: load.value - len(historian.stored(load)) < 200)
            check_whole(historian, load)
        finally:
            historian.kill()


def test_a_database_that_goes_away_and_hangs_is_made_up_for() -> None:
    outage(seconds_down=1.0, seconds_hung=6.0)


@pytest.mark.campaign
def test_a_database_that_goes_away_and_hangs_for_minutes_is_made_up_for() -> None:
    outage(seconds_down=120.0, seconds_hung=60.0)
