"""The web worker under 50 event streams, each of 200 tags, of a plant that changes 5,000 values/s.

    this process ── 50 devices x 100 registers ──► a whole gateway ──► web ──► 50 streams
                 ── a client of its listener, lateness of its polls: with and without the streams

Also: 50,000 tags searched and scrolled, through the API and in a browser; a page over a slow line;
a stream that is not read.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from cpppod.client import AsyncConnector
from cpppod.control_client import ControlClient, ControlError
from cpppod.protocols.model.plant import Device, Group, Tag, Worker, to_plain

DEVICES, TAGS = 500, 100  # 50,000 tags, of which 50 devices' move
MOVING = 50
CHROMIUM = "/usr/bin/chromium"
STREAMS, DEVICES_EACH = 50, 2
listening: dict[str, asyncio.Server] = {}  # devices by their hosts ...
talking: dict[str, asyncio.StreamWriter] = {}  # ... and their connections with the gateway
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))


def plant(folder: Path, port: int) -> list[Worker]:
    tags = tuple(Tag(f"tag_{number}", str(number)) for number in range(TAGS))
    devices = tuple(
        Device(f"device_{number}", "none", "", groups=(Group("all", 1.0, tags=tags),))
        for number in range(DEVICES)
    )
    base = Worker("feed", "feed", str(folder / "bus"), str(folder), str(folder), 1, devices=devices)
    options = {
        "address": f"127.0.0.1:{port}",
        "hosts": [],
        "users_file": "",
        "certificate_file": "",
        "key_file": "",
        "legacy": False,
    }
    return [base, replace(base, name="web", role="web", options=options)]


def start(worker: Worker, folder: Path) -> "subprocess.Popen[bytes]":
    path = folder / f"{worker.name}.json"
    path.write_text(json.dumps(to_plain(worker)))
    command = [sys.executable, "-m", f"cpppod.workers.{worker.role}", str(path)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def follow(port: int, number: int, counts: list[int], ended: asyncio.Event) -> None:
    names = [f"device_{(number * DEVICES_EACH + each) % MOVING}" for each in range(DEVICES_EACH)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    path = f"/api/v1/live?tags={','.join(names)}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    while not ended.is_set():
        try:
            line = await asyncio.wait_for(reader.readline(), 1.0)
        except TimeoutError:
            continue
        if not line:
            break  # the gateway has ended
        if line.startswith(b"event: block"):
            counts[number] += 1
    writer.close()


async def ask(port: int, path: str) -> float:
    """Seconds that an answer takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    begun = time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()
    return time.perf_counter() - begun


async def answer_modbus(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A device all of whose registers are others at every poll."""
    talking[writer.get_extra_info("sockname")[0]] = writer
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        count = random.randrange(1000)
        while True:
            head = await reader.readexactly(12)
            transaction, _, _, unit, function, _, size = struct.unpack(">HHHBBHH", head)
            count += 1
            words = [(count + each) & 0x7FFF for each in range(size)]
            body = struct.pack(f">BBB{size}H", unit, function, 2 * size, *words)
            writer.write(struct.pack(">HHH", transaction, 0, len(body)) + body)


def end(host: str) -> None:
    """A device is no more."""
    listening[host].close()
    talking[host].transport.abort()


async def clock_reads(port: int, seconds: float) -> tuple[float, float]:
    """p50 and p99 of a client that reads a tag 100 times a second, in milliseconds."""
    client = await AsyncConnector.open("127.0.0.1", port, timeout=5.0)
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        await client.read_tags(["device_1.tag_1"])
        took.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.01)
    await client.close()
    took.sort()
    return took[len(took) // 2], took[int(len(took) * 0.99)]


async def late_polls(control: ControlClient, seconds: float) -> tuple[float, float]:
    """p50 and p99 of how late polls begin, in milliseconds, each second the last of all."""
    late, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        for number in range(MOVING):
            told = await asyncio.to_thread(control.ask, "device", name=f"device_{number}")
            late.append(told["told"]["groups"]["all"]["lateness"]["last_s"] * 1000)
        await asyncio.sleep(1.0)
    late.sort()
    return late[len(late) // 2], late[int(len(late) * 0.99)]


async def others(enip: int, control: ControlClient, words: str) -> None:
    """What the gateway's own work is like meanwhile."""
    reads, polls = await asyncio.gather(clock_reads(enip, SECONDS), late_polls(control, SECONDS))
    print(f"{words}: listener p50 {reads[0]:.1f} ms, p99 {reads[1]:.1f} ms; "
          f"polls late p50 {polls[0]:.1f} ms, p99 {polls[1]:.1f} ms")  # fmt: skip


CONFIGURATION = """
[gateway]
name = "bench"
cpppo_cfg = false
[web]
enabled = true
address = "127.0.0.1:{web}"
[[listener]]
name = "main"
address = "127.0.0.1:{enip}"
udp = false
"""
DEVICE = """
[device.device_{number}]
driver = "modbus-tcp"
address = "127.0.0.{host}:{port}"
[[device.device_{number}.group]]
name = "all"
period = "1s"
tags = [{tags}]
"""


def configuration(web: int, enip: int, port: int) -> str:
    """A plant of 50 devices, each of 100 registers, all of which move every second."""
    tags = ", ".join(
        f'{{ name = "tag_{each}", address = {40_001 + each} }}' for each in range(TAGS)
    )
    devices = (
        DEVICE.format(number=number, host=number + 1, port=port, tags=tags)
        for number in range(MOVING)
    )
    return CONFIGURATION.format(web=web, enip=enip) + "".join(devices)


async def measure_streams(folder: Path) -> None:
    """50 streams of 200 tags each, of a gateway that polls 5,000 values a second."""
    web, enip, port = free_port(), free_port(), free_port()
    for number in range(MOVING):
        host = f"127.0.0.{number + 1}"
        listening[host] = await asyncio.start_server(answer_modbus, host, port)
    file = folder / "cpppod.toml"
    file.write_text(configuration(web, enip, port))
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cpppod.commands.cpppod", "-c", str(file)),
        *("--runtime", str(folder / "run"), "--state", str(folder / "state")),
        *("--plain", "--foreground"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        control, pid = await ready(folder / "run" / "control.sock")
        await measure(web, enip, control, pid)
    finally:
        gateway.send_signal(2)
        await gateway.wait()


async def ready(path: Path) -> tuple[ControlClient, int]:
    """Control, and the web worker's pid, once every device is polled."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(ControlError):
            control = ControlClient.connect(str(path))
            status = await asyncio.to_thread(control.ask, "status")
            if status["ready"] and status["summary"]["devices_up"] == MOVING:
                return control, next(w["pid"] for w in status["workers"] if w["role"] == "web")
        await asyncio.sleep(0.5)
    raise SystemExit("web: the gateway did not come up")


async def measure(web: int, enip: int, control: ControlClient, pid: int) -> None:
    await asyncio.sleep(3)
    idle, begun = cpu_s(pid), time.monotonic()
    await others(enip, control, "no stream")
    print(f"no stream: web {(cpu_s(pid) - idle) / (time.monotonic() - begun):.3f} of a core")
    counts = [0] * STREAMS
    ended = asyncio.Event()
    streams = [asyncio.create_task(follow(web, n, counts, ended)) for n in range(STREAMS)]
    await asyncio.sleep(2)
    before = pss_mb(pid)
    stuck = socket.create_connection(("127.0.0.1", web))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(b"GET /api/v1/live?tags=* HTTP/1.1\r\nHost: localhost\r\n\r\n")
    first, begun, received = cpu_s(pid), time.monotonic(), sum(counts)
    await others(enip, control, f"{STREAMS} streams")
    took = time.monotonic() - begun
    share, blocks = (cpu_s(pid) - first) / took, (sum(counts) - received) / took
    print(f"{STREAMS} streams: web {share:.3f} of a core, {blocks:.0f} blocks/s of {TAGS} values")
    print(
        f"a stream that nobody reads: {pss_mb(pid) - before:+.1f} MB PSS, {pss_mb(pid):.0f} in all"
    )
    stuck.close()
    if Path(CHROMIUM).exists():
        die = partial(asyncio.get_running_loop().call_soon_threadsafe, end, "127.0.0.7")
        took = await asyncio.to_thread(until_red, web, die)
        print(f"a device that dies is red after {took:.2f} s")
    ended.set()
    await asyncio.gather(*streams, return_exceptions=True)


async def measure_searches(port: int, web: int) -> None:
    """Pages and searches of 50,000 tags through the API."""
    for title, path in (
        ("search", "/api/v1/tags?filter=evice_499.tag_7&limit=60"),
        ("two words", "/api/v1/tags?filter=499%20tag_77&limit=60"),
        ("a page", "/api/v1/tags?offset=25000&limit=60"),
    ):
        times = sorted([await ask(port, path) for _ in range(20)])
        middle, worst = times[10] * 1000, times[-1] * 1000
        print(f"{title} among {DEVICES * TAGS}: {middle:.1f} ms, worst {worst:.1f}")
    print(f"memory with {DEVICES * TAGS} tags: {pss_mb(web):.0f} MB PSS")


SCROLL = """async () => {
  const view = document.querySelector(".view");
  let frames = 0;
  const begun = performance.now();
  while (performance.now() - begun < 3000) {
    view.scrollTop += 97;
    await new Promise(requestAnimationFrame);
    frames += 1;
  }
  return frames / 3;
}"""
TYPED = """async () => {
  const search = document.querySelector("#search");
  const count = document.querySelector("main [role=status]");
  const begun = performance.now();
  search.value = "499 tag_77";
  search.dispatchEvent(new Event("input"));
  while (count.textContent !== "1 tags") await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}"""


def until_red(port: int, die: Callable[[], object]) -> float:
    """Seconds from the death of a device until the overview shows it first, and red."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator(".card").first.wait_for()
        begun = time.perf_counter()
        die()
        page.locator(".cards > li:first-child .card.state-offline").wait_for()
        took = time.perf_counter() - begun
        browser.close()
    return took


def browse(port: int) -> None:
    """What a browser shows of it: over a slow line, scrolling, searching."""
    from playwright.sync_api import sync_playwright

    address = f"http://127.0.0.1:{port}/#/tags"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        line = page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 40, "downloadThroughput": 125_000}
        line.send("Network.enable")
        line.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 125_000})
        begun = time.perf_counter()
        page.goto(address)
        page.locator(".rows [role=row]").first.wait_for()
        print(f"usable over 1 Mbit/s and 40 ms after {time.perf_counter() - begun:.2f} s")
        page.close()
        page = browser.new_page()
        page.goto(address)
        page.locator(".rows [role=row]").first.wait_for()
        print(f"scrolling 50,000 rows: {page.evaluate(SCROLL):.0f} frames/s")
        print(f"typed to shown: {page.evaluate(TYPED):.0f} ms")
        browser.close()


def main() -> None:
    """Measure streams on a gateway, then 50,000 tags on a feed and a web worker alone."""
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as name:
        asyncio.run(measure_streams(Path(name)))
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "bus").mkdir()
        port = free_port()
        running = [start(worker, folder) for worker in plant(folder, port)]
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                time.sleep(0.1)
            asyncio.run(measure_searches(port, running[1].pid))
            if Path(CHROMIUM).exists():
                browse(port)
        finally:
            for process in running:
                process.terminate()
                process.wait()


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
