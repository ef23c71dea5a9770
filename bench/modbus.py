"""Modbus: our master beside pymodbus and libmodbus, the planner beside single reads, a whole plant.

    transactions   one client, one request at a time, on the same simulator; best of three
    planner        100 registers of one device: coalesced, and one request per tag
    plant          100 devices x 100 registers each second through the whole gateway: processor time
                   of all its processes, cycles missed, lateness

BENCH_SECONDS is how long the plant runs (60).
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.specs import parse_range
from cpppod.protocols.model.addresses import socket_address
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.drivers.modbus.driver import exchange_on, make_driver
from cpppod.workers.simulators.modbus.simulator import Plant, Simulator, TcpEndpoint
from cpppod.workers.transport.port import TcpPort

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 2.0
REGISTERS = 10
DEVICES = 100
TAGS = 100
PLANT_S = float(os.environ.get("BENCH_SECONDS", "60"))
SETTLE_S = 5.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def rate(ask: Callable[[], Awaitable[object]]) -> float:
    """Calls a second, one after the other."""
    started, count = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        for _ in range(50):
            await ask()
        count += 50
    return count / (time.monotonic() - started)


async def ours(port: int) -> float:
    link = TcpPort(f"127.0.0.1:{port}")
    await link.open()
    exchange = exchange_on(link, rtu=False)
    request = pdu.read(3, 0, REGISTERS)
    counts: Counter[str] = Counter()
    found = await rate(lambda: exchange.transact(1, request, 1.0, counts=counts))
    await link.close()
    return found


async def pymodbus(port: int) -> float:
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    found = await rate(lambda: client.read_holding_registers(0, count=REGISTERS, device_id=1))
    client.close()
    return found


def libmodbus(port: int) -> float | None:
    """Requests a second of libmodbus' client; None without a compiler or the library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/client"
        source = str(Path(__file__).with_name("libmodbus_client.c"))
        command = [compiler, "-O2", "-o", program, source, "-l:libmodbus.so.5"]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        done = subprocess.run(
            [program, "127.0.0.1", str(port), str(REGISTERS), str(SECONDS)],
            capture_output=True,
            text=True,
        )
        return float(done.stdout) if done.returncode == 0 else None


def simulator(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cpppod.commands.modbus_sim", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def transactions() -> None:
    port = free_port()
    process = simulator("-a", f"127.0.0.1:{port}", "40001-40200=7")
    best: dict[str, float] = {}
    for _ in range(3):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            best["ours"] = max(best.get("ours", 0.0), runner.run(ours(port)))
            best["pymodbus"] = max(best.get("pymodbus", 0.0), runner.run(pymodbus(port)))
        found = libmodbus(port)
        if found is not None:
            best["libmodbus"] = max(best.get("libmodbus", 0.0), found)
    process.terminate()
    process.wait()
    print(f"transactions/s, {REGISTERS} registers each, same simulator")
    for name, value in best.items():
        print(f"  {name:<10}{value:>10,.0f}   {value / best['pymodbus']:.2f} x pymodbus")
    if "libmodbus" not in best:
        print("  libmodbus: no compiler or no libmodbus.so.5 here")


async def polls(port: int, *, one_at_a_time: bool) -> float:
    tags = tuple(Tag(f"r{at}", f"HR:{at}", type="UINT") for at in range(100))
    group = Group("all", 1.0, tags)
    model = {"one_at_a_time": one_at_a_time}
    driver = make_driver(
        Device("d", "modbus-tcp", f"127.0.0.1:{port}", groups=(group,), model=model)
    )
    await driver.open()
    started, count = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        await driver.poll(group)
        count += 1
    lasted = time.monotonic() - started
    await driver.close()
    return 100 * count / lasted


def planner() -> None:
    port = free_port()
    process = simulator("-a", f"127.0.0.1:{port}", "40001-40200=7")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        together = runner.run(polls(port, one_at_a_time=False))
        single = runner.run(polls(port, one_at_a_time=True))
    process.terminate()
    process.wait()
    print("registers/s of one device with 100 tags")
    print(f"  planner   {together:>12,.0f}")
    print(f"  one each  {single:>12,.0f}   planner is {together / single:.0f} x that")


PLANT_HEAD = """
[gateway]
name = "bench"
cpppo_cfg = false
[[listener]]
name = "main"
address = "127.0.0.1:{listener}"
[metrics]
address = "127.0.0.1:{metrics}"
[history]
"""


def configuration(ports: list[int], listener: int, metrics: int) -> str:
    parts = [PLANT_HEAD.format(listener=listener, metrics=metrics)]
    tags = ", ".join(
        f'{{ name = "r{at}", address = {40_001 + at}, type = "UINT" }}' for at in range(TAGS)
    )
    for number, port in enumerate(ports):
        parts.append(
            f'[device.d{number}]\ndriver = "modbus-tcp"\naddress = "127.0.0.1:{port}"\n'
            f'[[device.d{number}.group]]\nname = "all"\nperiod = "1s"\nhistory = true\n'
            f"tags = [{tags}]\n"
        )
    return "\n".join(parts)


def serve_plant() -> None:
    """The simulated plant, in a process of its own: prints its ports, then serves."""

    async def run() -> None:
        made = Plant()
        made.define(parse_range(f"40001-{40_000 + TAGS}=7"))
        everything = Simulator(made)
        ports = []
        for _ in range(DEVICES):
            address = await everything.serve(TcpEndpoint(made, "127.0.0.1", 0))
            ports.append(socket_address(address).port)
        print(json.dumps(ports), flush=True)
        number = 0
        while True:
            await asyncio.sleep(0.5)
            number += 1
            made.define(parse_range(f"40001-{40_000 + TAGS}={number & 0x7FFF}"))

    asyncio.run(run())


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, pending = [], [pid]
    while pending:
        each = pending.pop()
        found.append(each)
        pending += parents.get(each, [])
    return found


def cpu_s(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def pss_mb(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
    return total / 1024


def scrape(port: int) -> dict[str, float]:
    """Sums over all devices of what the lateness of polls and their cycles are counted by."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text = page.read().decode()
    sums: dict[str, float] = {}
    pattern = r"^(cpppod_poll_\w+)(?:\{([^}]*)\})? ([\d.e+-]+|\+Inf|NaN)$"
    for name, labels, value in re.findall(pattern, text, re.MULTILINE):
        le = re.search(r'le="([^"]+)"', labels or "")
        result = re.search(r'result="([^"]+)"', labels or "")
        key = f"{name} {le[1]}" if le else f"{name} {result[1]}" if result else name
        sums[key] = sums.get(key, 0.0) + float(value)
    return sums


def quantile_s(before: dict[str, float], after: dict[str, float], share: float) -> str:
    """The smallest bound of the lateness histogram that holds that share."""
    name = "cpppod_poll_lateness_seconds"
    total = after[f"{name}_count"] - before[f"{name}_count"]
    bounds = sorted(
        (float(key.split(" ")[1]), after[key] - before.get(key, 0.0))
        for key in after
        if key.startswith(f"{name}_bucket")
    )
    for bound, count in bounds:
        if count >= share * total:
            return f"under {bound * 1000:g} ms"
    return "beyond"


def plant() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cpppod-bench-"))
    devices = subprocess.Popen(
        [sys.executable, __file__, "serve-plant"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert devices.stdout is not None
    ports = json.loads(devices.stdout.readline())
    metrics = free_port()
    (folder / "cpppod.toml").write_text(configuration(ports, free_port(), metrics))
    command = [sys.executable, "-m", "cpppod.commands.cpppod", "-c", str(folder / "cpppod.toml")]
    with (folder / "log").open("wb") as log:
        gateway = subprocess.Popen(
            [*command, "--runtime", str(folder / "run"), "--state", str(folder / "state"),
             "--plain"], stdout=log, stderr=log, cwd=ROOT,
        )  # fmt: skip
    try:
        measure_plant(gateway.pid, metrics)
    finally:
        gateway.send_signal(signal.SIGINT)
        gateway.wait(20)
        devices.terminate()
        devices.wait()
        shutil.rmtree(folder, ignore_errors=True)


def measure_plant(pid: int, metrics: int) -> None:
    deadline = time.monotonic() + 60
    good = "cpppod_poll_cycles_total good"
    while True:
        try:
            if scrape(metrics).get(good, 0) >= DEVICES:
                break
        except (OSError, ValueError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the gateway did not poll all devices")
        time.sleep(0.5)
    time.sleep(SETTLE_S)
    pids = family(pid)
    before, used, started = scrape(metrics), cpu_s(pids), time.monotonic()
    time.sleep(PLANT_S)
    lasted = time.monotonic() - started
    after, spent = scrape(metrics), cpu_s(pids) - used
    missed = "cpppod_poll_overruns_total"
    cycles, missing = (after[key] - before.get(key, 0.0) for key in (good, missed))
    halves = [quantile_s(before, after, share) for share in (0.5, 0.99)]
    print(f"{DEVICES} devices x {TAGS} registers a second, {lasted:.0f} s, {len(pids)} processes")
    print(f"  processor   {spent / lasted:.2f} of a core, all processes of the gateway together")
    print(f"  memory      {pss_mb(pids):.0f} MB PSS")
    print(f"  cycles      {cycles:.0f}, missed {missing:.0f}")
    print(f"  lateness    p50 {halves[0]}, p99 {halves[1]}")


def main() -> None:
    """Print every table."""
    transactions()
    planner()
    plant()


if __name__ == "__main__":
    serve_plant() if sys.argv[1:] == ["serve-plant"] else main()
