"""The fault campaign: a gateway is killed, stopped, filled, cut, damaged, replaced, restored and
put into other times, and a ledger that shares no code with it finds nothing undeclared.

    independent/devices.py ──► gateway ──► feed ──► independent/subscriber.py
                                 └──► store ──► independent/ledger.py

`CAMPAIGN_SECONDS` (600) and `CAMPAIGN_SEED` steer it; `make campaign` runs it.
"""

import contextlib
import json
import lzma
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpppod.control_client import ControlError
from tests import peers
from tests.gateway.running import RunningGateway, children, eventually, kill
from tests.ports import free_port
from tests.postgresql_cluster import Cluster, running_cluster

HERE = Path(__file__).parent / "independent"
DEVICES = ("one", "two", "three")
PERIOD_MS = 100
KINDS = ("poller", "historian", "feed", "listener", "control")
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
CLOCKS = ("", "", "-3600s", "+7200s", "-86400s", "+172800s")


class Sqlite:
    """The store in a folder."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "history")
        self.section = f'path = "{self.url}"'

    def copy(self, target: Path) -> None:
        Path(self.url).mkdir(exist_ok=True)  # a historian may have ended before it began
        shutil.copytree(self.url, target)

    def restore(self, source: Path) -> None:
        shutil.rmtree(self.url, ignore_errors=True)
        shutil.copytree(source, self.url)


class Postgresql:
    """The store in a database of its own server."""

    kind = "postgresql"

    def __init__(self, cluster: Cluster) -> None:
        self.url = cluster.url
        self.section = f'store = "postgresql"\ndsn = "{self.url}"'

    def copy(self, target: Path) -> None:
        command = [peers.postgresql("pg_dump"), "--no-owner", "-n", "history", self.url]
        dump = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        target.write_bytes(lzma.compress(dump, preset=0))

    def restore(self, source: Path) -> None:
        text = b"DROP SCHEMA IF EXISTS history CASCADE;" + lzma.decompress(source.read_bytes())
        command = [peers.postgresql("psql"), "-q", "-v", "ON_ERROR_STOP=1", self.url]
        subprocess.run(command, input=text, stdout=subprocess.DEVNULL, check=True)


class Campaign:
    """The gateway, its devices and its subscriber, and what is done to them."""

    def __init__(self, disk: Path, store: Sqlite | Postgresql, seed: int) -> None:
        self.disk = disk
        self.store = store
        self.chance = random.Random(seed)
        self.done: list[str] = []
        self.copies: list[tuple[Path, Path]] = []
        self.gateway = RunningGateway()
        self.gateway.ports |= {port: port for port in range(1024, 65_536)}
        self.gateway.state = disk / "state"
        self.served, self.fed = self.gateway.folder / "served", self.gateway.folder / "fed"
        self.devices = subprocess.Popen(
            [sys.executable, str(HERE / "devices.py"), str(self.served), *DEVICES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.devices.stdout is not None
        self.text = self._configuration(json.loads(self.devices.stdout.readline()))
        self.subscriber = subprocess.Popen(
            [sys.executable, str(HERE / "subscriber.py"), f"tcp://{self.feed}", str(self.fed)]
        )
        self.clock = ""
        self.start()

    def _configuration(self, ports: dict[str, int]) -> str:
        self.feed = f"127.0.0.1:{free_port()}"
        parts = [
            '[gateway]\ncpppo_cfg = false\nid = "campaign"\n[metrics]\nenabled = false\n'
            f'[[listener]]\naddress = "127.0.0.1:{free_port()}"\n'
            f'[feed]\npublish = "{self.feed}"\nsnapshot = "127.0.0.1:{free_port()}"\n'
            f"[history]\nfree = 1\n{self.store.section}\n"
        ]
        tags = '{ name = "n", address = "HR:0", type = "UDINT" }'
        parts += [
            f'[device.{name}]\ndriver = "modbus-tcp"\naddress = "127.0.0.1:{port}"\nretries = 0\n'
            f'[[device.{name}.group]]\nname = "all"\nperiod = "{PERIOD_MS}ms"\nhistory = true\n'
            f"tags = [{tags}]\n"
            for name, port in ports.items()
        ]
        return "\n".join(parts)

    def tell(self, order: str) -> None:
        assert self.devices.stdin is not None
        self.devices.stdin.write(order + "\n")
        self.devices.stdin.flush()

    def start(self) -> None:
        environment = {}
        if self.clock and Path(FAKETIME).exists():
            environment = {
                "LD_PRELOAD": FAKETIME,
                "FAKETIME": self.clock,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_RESET": "1",
            }
        self.gateway.launch(configuration=self.text, environment=environment)
        before = self.count()
        eventually(lambda: self.count() > before + 15, unless=self.gateway._ended, within_s=60)
        self.run_for(1.0)

    def count(self) -> int:
        return self.served.stat().st_size // 8 if self.served.exists() else 0

    def run_for(self, seconds: float) -> None:
        time.sleep(seconds)

    def stop(self) -> None:
        assert self.gateway.process is not None
        self.gateway.process.send_signal(signal.SIGTERM)
        self.gateway.process.wait(30)

    def kill_all(self) -> None:
        assert self.gateway.process is not None
        everything = [self.gateway.process.pid]
        for pid in everything:
            everything += children(pid)
        for pid in everything:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.gateway.process.wait()

    def end(self) -> None:
        """In good order, or not."""
        self.chance.choice((self.stop, self.kill_all))()

    def worker(self, number: int) -> None:
        with contextlib.suppress(ControlError, OSError, ProcessLookupError):
            kind = self.chance.choice(KINDS)
            rows = self.gateway.workers().values()
            found = [row["pid"] for row in rows if row["role"] == kind and row["pid"]]
            self.done[-1] += f" {kind}"
            if found:
                kill(self.chance.choice(found), number)

    # What is done to it

    def fault_kill_a_worker(self) -> None:
        self.worker(signal.SIGKILL)

    def fault_hang_a_worker(self) -> None:
        self.worker(signal.SIGSTOP)
        self.run_for(8.0)

    def fault_stop(self) -> None:
        self.stop()
        self.start()

    def fault_kill(self) -> None:
        self.kill_all()
        self.start()

    def fault_cut(self) -> None:
        self.tell("cut")
        self.run_for(3.0)

    def fault_fill(self) -> None:
        """The disk of the state, and of a SQLite store."""
        if not os.path.ismount(self.disk):
            return
        filler = self.disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(65_536)):
                pass
        self.run_for(3.0)
        if self.chance.random() < 0.5:
            self.worker(signal.SIGKILL)
            self.run_for(2.0)
        filler.unlink()
        self.run_for(2.0)

    def fault_damage(self) -> None:
        """A byte of a journal that nobody has open, or its end."""
        self.kill_all()
        found = list(self.gateway.state.glob("journal/*/*.journal"))
        path = self.chance.choice(found)
        data = bytearray(path.read_bytes())
        if len(data) > 100 and self.chance.random() < 0.5:
            data[self.chance.randrange(40, len(data))] ^= 0xFF
        elif len(data) > 100:
            del data[self.chance.randrange(60, len(data)) :]
        path.write_bytes(data)
        self.start()

    def fault_replace(self) -> None:
        """Another machine of the same id: its state directory is new."""
        self.end()
        shutil.rmtree(self.gateway.state)
        self.start()

    def fault_copy(self) -> None:
        """What a backup would take; nothing is done to the plant but an end and a start."""
        self.end()
        state = self.gateway.folder / f"state-{len(self.copies)}"
        store = self.gateway.folder / f"store-{len(self.copies)}"
        shutil.copytree(self.gateway.state, state)
        self.store.copy(store)
        self.copies.append((state, store))
        self.start()

    def fault_restore(self) -> None:
        """An old copy of the state, of the store, or of both."""
        if not self.copies:
            self.fault_copy()
            self.run_for(2.0)
        state, store = self.chance.choice(self.copies)
        what = self.chance.choice(("state", "store", "both"))
        self.done[-1] += f" {what}"
        self.end()
        if what != "store":
            shutil.rmtree(self.gateway.state)
            shutil.copytree(state, self.gateway.state)
        if what != "state":
            self.store.restore(store)
        self.start()

    def fault_set_the_clock(self) -> None:
        self.clock = self.chance.choice(CLOCKS)
        self.done[-1] += f" {self.clock or 'right'}"
        self.end()
        self.start()

    def finish(self) -> dict[str, Any]:
        """Serve no more, let all be stored, and sum up."""
        self.run_for(6.0)
        self.tell("freeze")
        self.run_for(8.0)
        self.stop()
        self.subscriber.kill()
        self.subscriber.wait()
        command = [sys.executable, str(HERE / "ledger.py"), str(self.served), str(self.fed)]
        told = subprocess.run(
            [*command, self.store.url], capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    def close(self) -> None:
        for process in (self.subscriber, self.devices):
            process.kill()
            process.wait()
        self.gateway.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own, where that can be had."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(folder)]
    mounted = not os.getuid() and not subprocess.run(command, check=False).returncode
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, disk: Path) -> Iterator[Sqlite | Postgresql]:
    if request.param == "sqlite":
        yield Sqlite(disk)
        return
    pytest.importorskip("psycopg")
    with running_cluster() as cluster:
        yield Postgresql(cluster)


@pytest.mark.campaign
def test_a_campaign_of_faults_leaves_nothing_undeclared(
    disk: Path, store: Sqlite | Postgresql
) -> None:
    seed = int(os.environ.get("CAMPAIGN_SEED") or time.time())
    seconds = float(os.environ.get("CAMPAIGN_SECONDS", "600"))
    print(json.dumps({"seed": seed, "seconds": seconds, "store": store.kind}))
    campaign = Campaign(disk, store, seed)
    names = [name for name in dir(campaign) if name.startswith("fault_")]
    try:
        end = time.monotonic() + seconds
        turns: list[str] = []
        while time.monotonic() < end:
            if not turns:  # each of them in every round
                turns = campaign.chance.sample(names, len(names))
            name = turns.pop()
            campaign.done.append(name.removeprefix("fault_"))
            fault: Callable[[], None] = getattr(campaign, name)
            fault()
            campaign.run_for(campaign.chance.uniform(0.5, 2.0))
        found = campaign.finish()
    finally:
        campaign.close()
    print(json.dumps({"faults": len(campaign.done), **found}))
    assert found["undeclared"] == 0, (seed, campaign.done, found)
    assert found["problems"] == [], (seed, campaign.done, found)
    assert found["stored"] > 0.3 * found["served"]
