"""The counting proof: a whole gateway, everything killed and taken away, and not a sample
unaccounted for.

counters ──► pollers ──► journals ──► historian ──► SQLite on a disk of its own
                └──────► feed ──► a subscriber that is stopped and resumed
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.control_client import ControlError
from cpppod.workers.historian.stores.opening import open_reader
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader
from cpppod.workers.historian.stores.store import Gap
from tests.counting.counters import Counters, counting_devices
from tests.counting.ledger import Row, Verdict, check
from tests.gateway.running import RunningGateway, eventually, kill
from tests.ports import free_port

TAGS = 50
DEVICES = 10
KINDS = ("poller", "serial", "historian", "feed", "listener", "router", "control")
SUBSCRIBER = """
import sys
from cpppod.feed import subscribe
for update in subscribe(sys.argv[1], "*"):
    pass
"""


def configuration(counters: Counters, store: Path, period_ms: int, feed: int, journal: str) -> str:
    """A plant of counters, all with history."""
    enip = free_port()
    parts = [
        "[gateway]\ncpppo_cfg = false\ndevices_per_worker = 5\n[metrics]\nenabled = false\n",
        f'[[listener]]\nname = "main"\naddress = "127.0.0.1:{enip}"\n',
        f'[feed]\npublish = "127.0.0.1:{feed}"\nsnapshot = "127.0.0.1:{free_port()}"\n',
        f'[history]\npath = "{store}"\njournal_size = "{journal}"\n',
    ]
    tags = ", ".join(
        f'{{ name = "c{at}", address = "HR:{at * 2}", type = "UDINT" }}' for at in range(TAGS)
    )
    for name, port in counters.ports.items():
        address = f'driver = "modbus-tcp"\naddress = "127.0.0.1:{port}"'
        if name == counters.serial:
            address = 'driver = "modbus-rtu"\nline = "hall"'
            parts.append(f'[line.hall]\nport = "rtu-over-tcp://127.0.0.1:{port}"\n')
        parts.append(
            f"[device.{name}]\n{address}\nretries = 0\n"
            f'[[device.{name}.group]]\nname = "all"\nperiod = "{period_ms}ms"\nhistory = true\n'
            f"tags = [{tags}]\n"
        )
    return "\n".join(parts)


class Plant:
    """The gateway with its counters, what harms it, and the ledger at the end."""

    def __init__(
        self,
        counters: Counters,
        store: Path,
        *,
        period_ms: int = 250,
        seed: int = 1,
        journal: str = "2GB",
    ) -> None:
        self.counters = counters
        self.store = store
        self.gateway = RunningGateway()
        self.chance = random.Random(seed)
        self.gaps: list[Gap] = []
        self._feed = free_port()
        text = configuration(counters, store, period_ms, self._feed, journal)
        self.gateway.ports |= {port: port for port in range(1024, 65_536)}
        try:
            self.gateway.start(configuration=text)
        except BaseException:
            self.gateway.stop()
            raise
        self._subscriber = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER, f"tcp://127.0.0.1:{self._feed}"],
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        self._subscriber.kill()
        self._subscriber.wait()
        self.gateway.stop()

    def kill(self, kind: str) -> None:
        """Kill a worker of that kind, if control tells of one."""
        with contextlib.suppress(ControlError, OSError, ProcessLookupError):
            rows = self.gateway.workers().values()
            found = [row["pid"] for row in rows if row["role"] == kind and row["pid"]]
            if found:  # one that is just dead has no process, and 0 is our own group
                kill(self.chance.choice(found))

    def hold_up_subscriber(self, seconds: float) -> None:
        self._subscriber.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._subscriber.send_signal(signal.SIGCONT)

    def take_store_away(self, seconds: float, *, and_kill: str = "") -> None:
        """Fill the disk that the store is on, if it has one of its own; then kill such a worker."""
        if os.path.ismount(self.store.parent):
            filler = self.store.parent / "filler"
            with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                while file.write(bytes(65_536)):
                    pass
            time.sleep(seconds)
            if and_kill:
                self.kill(and_kill)
            filler.unlink()

    def settle(self) -> None:
        """Stop serving, and wait until what is under way has arrived, or is declared."""
        self.counters.freeze()
        last = {each.device: each.n for each in self.counters.served}
        reader = SqliteReader(self.store)

        def arrived() -> bool:
            found = [
                [sample.value for sample in reader.samples(device, "c0", 0, 2**52)]
                for device in last
            ]
            return all(n in values for n, values in zip(last.values(), found, strict=True))

        with contextlib.suppress(AssertionError):  # the verdict says what is missing
            eventually(lambda: arrived() or not self.check().undeclared)

    def check(self) -> Verdict:
        """What has become by now of everything served."""
        with contextlib.closing(open_reader(str(self.store))) as reader:
            rows = [
                Row(
                    reading.device, tag, reading.source_us, *reading[:3],
                    reading.values[at], reading.quality(at),
                )
                for reading in reader.readings(0, 2**52)
                for at, tag in enumerate(reading.tags)
            ]  # fmt: skip
            gaps = self.gaps = reader.gaps("", 0, 2**52)
        return check(self.counters.served, rows, gaps)

    def verdict(self) -> Verdict:
        """The same, shown."""
        found = self.check()
        print(found, f"{len(self.gaps)} gaps")
        return found


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder for the store; on a file system of its own where that can be had."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)]
    mounted = (
        not os.getuid()
        and not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_short_count_comes_out_even(disk: Path) -> None:
    with counting_devices(4) as counters:
        plant = Plant(counters, disk / "history")
        try:
            for kind in ("poller", "serial", "historian", "feed"):
                time.sleep(1.0)
                plant.kill(kind)
            plant.hold_up_subscriber(0.5)
            plant.take_store_away(1.0)
            time.sleep(1.5)
            plant.settle()
            verdict = plant.verdict()
        finally:
            plant.close()
    assert verdict.problems == [], verdict
    assert verdict.stored > 0.5 * verdict.served
    assert verdict.stored > 2_000
    assert [gap.reason for gap in plant.gaps] == ["publisher restarted"] * 2


def test_what_the_journals_have_no_room_for_is_declared_to_the_sample(disk: Path) -> None:
    with counting_devices(2) as counters:
        plant = Plant(counters, disk / "history", period_ms=50, journal="32kB")
        try:
            if not os.path.ismount(disk):
                pytest.skip("a file system can only be mounted by root")
            time.sleep(1.0)
            plant.take_store_away(4.0, and_kill="historian")  # with what it had read ahead
            time.sleep(1.0)
            plant.settle()
            verdict = plant.verdict()
        finally:
            plant.close()
    assert verdict.undeclared == 0, verdict
    assert verdict.problems == [], verdict
    lost = [gap for gap in plant.gaps if gap.reason == "journal over its limits"]
    assert verdict.in_gaps == sum(gap.samples for gap in lost) > 0


@pytest.mark.counting
def test_a_minute_of_counting_comes_out_even(disk: Path) -> None:
    seed = int(os.environ.get("COUNT_SEED") or time.time())
    seconds = float(os.environ.get("COUNT_SECONDS", "60"))
    print(json.dumps({"seed": seed, "seconds": seconds}))
    with counting_devices(DEVICES) as counters:
        plant = Plant(counters, disk / "history", seed=seed)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(plant.chance.uniform(1.0, 3.0))
                harm = plant.chance.random()
                if harm < 0.6:
                    plant.kill(plant.chance.choice(KINDS))
                elif harm < 0.8:
                    plant.hold_up_subscriber(2.0)
                else:
                    plant.take_store_away(3.0)
            time.sleep(5.0)
            plant.settle()
            verdict = plant.verdict()
        finally:
            plant.close()
    assert verdict.problems == [], f"seed {seed}: {verdict}"
    assert verdict.served > 1_000 * seconds  # 2,000 a second, less what the kills cost
