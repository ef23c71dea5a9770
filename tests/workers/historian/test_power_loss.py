"""Power lost under load, as ext4's shutdown ioctl models it: what was acknowledged is there
afterwards.

A file system of its own, in a file, is cut off from what it has not written yet, and mounted anew.
"""

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.protocols.bus.journal import SEGMENT, Kind, scan
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader, day_files
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore
from cpppod.workers.journal.files import segment_path, segments
from tests import peers

SHUTDOWN, WITHOUT_FLUSHING_THE_LOG = 0x8004587D, (2).to_bytes(4, sys.byteorder)
LOAD = """
import json, sys, time
from pathlib import Path
from cpppod.protocols.bus.journal import Kind, encode_record
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.historian.collector import Collector
from cpppod.workers.journal.files import JournalLimits, JournalWriter
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore

folder = Path(sys.argv[1])
publisher = Publisher("poller-1", time.time_ns() // 1_000_000)
writer = JournalWriter(folder / "journal" / "poller-1", publisher.epoch, JournalLimits(sync_s=0.2))
writer.open(time.monotonic())
store = SqliteStore(folder / "history", SqliteLimits(free_bytes=1))
collector = Collector(folder / "journal", store, monotonic=time.monotonic)
begun = time.monotonic()
while True:
    for _ in range(10):
        now_us = time.time_ns() // 1000
        topic, payload = publisher.block(
            "boiler", "fast", 1, {"n": (publisher.sequence + 1, 0)},
            source_us=now_us, gateway_us=now_us, mono_us=time.monotonic_ns() // 1000)
        number = publisher.sequence
        record = encode_record(Kind.BLOCK, topic, payload, sequence=number, samples=1)
        writer.append(record, time.monotonic())
    if time.monotonic() - begun < 1.0:
        collector.turn(now_us)   # then only the journal goes on
    stored = collector.counters.samples
    print(json.dumps([stored, number, writer._synced]), flush=True)
    time.sleep(0.005)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted ext4 file system; unmounted afterwards."""
    if os.getuid():
        pytest.skip("a file system can only be mounted by root")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run([peers.program("mkfs.ext4", package="e2fsprogs"), "-q", image], check=True)
    command = ["mount", "-o", "loop", str(image), str(folder)]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no loop devices here")
    yield folder
    subprocess.run(["umount", str(folder)], check=False, stderr=subprocess.DEVNULL)


def lose_power(disk: Path, process: "subprocess.Popen[str]") -> None:
    """Cut the disk off, end the process, and mount what is left."""
    descriptor = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_FLUSHING_THE_LOG)
    os.close(descriptor)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(disk.parent / "image"), str(disk)], check=True)


def lose_power_once(disk: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(disk)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told: list[list[float]] = [json.loads(process.stdout.readline())]
    until = time.monotonic() + seconds
    while time.monotonic() < until or not told[-1][0] or told[0][2] == told[-1][2]:
        told.append(json.loads(process.stdout.readline()))
    lose_power(disk, process)
    stored, _, synced_at = told[-1]
    synced = max(number for _, number, at in told if at < synced_at)
    check_store(disk, int(stored))
    check_journal(disk, int(synced))


def check_store(disk: Path, acknowledged: int) -> None:
    """The store opens, is sound, and has what it acknowledged."""
    with contextlib.closing(SqliteStore(disk / "history", SqliteLimits(free_bytes=1))) as store:
        cursors = store.open()
    values = [s.value for s in SqliteReader(disk / "history").samples("boiler", "n", 0, 2**52)]
    assert values[:acknowledged] == list(range(1, acknowledged + 1))
    assert cursors["poller-1"].sequence <= len(values)
    for path in day_files(disk / "history").values():
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def check_journal(disk: Path, synced: int) -> None:
    """What was forced to the disk is in the journal, unless it was stored and deleted."""
    folder = disk / "journal" / "poller-1"
    last = 0
    for number, suffix in segments(folder).items():
        records, _, _ = scan(segment_path(folder, number, suffix).read_bytes(), SEGMENT.size)
        last = max((r.sequence for r in records if r.kind == Kind.BLOCK), default=last)
    assert last >= synced


def test_what_was_acknowledged_survives_a_power_loss(disk: Path) -> None:
    lose_power_once(disk, seconds=2.0)


@pytest.mark.campaign
@pytest.mark.parametrize("turn", range(15))
def test_what_was_acknowledged_survives_every_power_loss(disk: Path, turn: int) -> None:
    lose_power_once(disk, seconds=1.2 + turn / 10)
