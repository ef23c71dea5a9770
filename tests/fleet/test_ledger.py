"""The ledger of a fleet with faults: what devices served is stored at the centre, or declared.

`FLEET_SECONDS` (300) and `FLEET_SEED` steer the long one; `make fleet-ledger SEED=n` runs it, in a
network namespace of its own where that can be had, so that packets can be lost.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.plant import Fleet
from tests.postgresql_cluster import running_cluster

SETTLE_S = (0.5, 2.5)  # between two faults
FASTER = 20  # a backlog is sent so many times as fast as it came


@contextlib.contextmanager
def disks(folder: Path, count: int) -> Iterator[list[Path]]:
    """Folders on file systems of their own, where those can be had."""
    found = [folder / f"n{at}" for at in range(count)]
    mounted = []
    for disk in found:
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(disk)]
        if not os.getuid() and not subprocess.run(command, check=False).returncode:
            mounted.append(disk)
    try:
        yield found
    finally:
        for disk in mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def run(folder: Path, *, servers: int, gateways: int, seconds: float, seed: int) -> None:
    pytest.importorskip("psycopg")
    with disks(folder, servers) as places, running_cluster() as database:
        fleet = Fleet(places, database, folder, seed, gateways)
        names = [name for name in dir(fleet) if name.startswith("fault_")]
        turns: list[str] = []
        try:
            fleet.begin()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if not turns:  # each of them in every round
                    turns = fleet.chance.sample(names, len(names))
                fleet.done.append(turns.pop().removeprefix("fault_"))
                began = time.monotonic()
                getattr(fleet, f"fault_{fleet.done[-1]}")()
                print(f"{fleet.done[-1]} {time.monotonic() - began:.1f} s", flush=True)
                time.sleep(fleet.chance.uniform(*SETTLE_S))
            fleet.waits_for(fleet.is_level, within_s=150)
            faster = fleet.catch_up()
            found = fleet.finish()
        finally:
            fleet.close()
    told = {"seed": seed, "servers": servers, "faults": len(fleet.done), "faster": round(faster, 1)}
    print(json.dumps({**told, **found}))
    assert found["undeclared"] == 0, (seed, fleet.done, found)
    assert found["problems"] == [], (seed, fleet.done, found)
    assert found["stored"] > 0.5 * found["served"]


@pytest.mark.campaign
def test_a_fleet_on_one_server_leaves_nothing_undeclared(tmp_path: Path) -> None:
    run(tmp_path, servers=1, gateways=2, seconds=40, seed=18)


@pytest.mark.campaign
def test_a_fleet_on_three_servers_leaves_nothing_undeclared(tmp_path: Path) -> None:
    seconds = float(os.environ.get("FLEET_SECONDS", "300"))
    seed = int(os.environ.get("FLEET_SEED") or time.time())
    run(tmp_path, servers=3, gateways=4, seconds=seconds, seed=seed)
