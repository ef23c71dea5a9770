"""The web worker under 50 event streams, each of 200 tags, of a plant that changes 5,000 values/s.

    this process ── Publisher: 50 devices x 100 tags a second ──► feed ──► web ──► 50 streams
    a bare echo   ── p99 of its answers with and without the streams: what they cost others

Also: a page of 50,000 tags searched and scrolled through the API, and a stream that is not read.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.plant import Device, Group, Tag, Worker, to_plain
from cpppod.workers.bus.zeromq import Bus

DEVICES, TAGS = 500, 100  # 50,000 tags, of which 50 devices' move
MOVING = 50
CHROMIUM = "/usr/bin/chromium"
STREAMS, DEVICES_EACH = 50, 2
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


async def publish(bus: Bus, publisher: Publisher, ended: asyncio.Event) -> None:
    """A block of every moving device each second, spread over it."""
    ingest = bus.dealer("ingest", lambda frames: None, queue_while_away=True)
    turn, begun = 0, time.monotonic()
    while not ended.is_set():
        now_us = time.time_ns() // 1000
        samples = {f"tag_{number}": (turn + number, 0) for number in range(TAGS)}
        name = f"device_{turn % MOVING}"
        mono_us = time.monotonic_ns() // 1000
        times = {"source_us": now_us, "gateway_us": now_us, "mono_us": mono_us}
        ingest.send(*publisher.block(name, "all", TAGS, samples, **times))
        if turn % MOVING == 0:
            ingest.send(*publisher.heartbeat(gateway_us=now_us, mono_us=mono_us))
        turn += 1
        await asyncio.sleep(max(0.0, begun + turn / MOVING - time.monotonic()))


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


LATENESS = """
import sys, time
late, until = [], time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    begun = time.perf_counter()
    time.sleep(0.005)
    late.append(time.perf_counter() - begun - 0.005)
print(sorted(late)[int(len(late) * 0.99)] * 1000)
"""


async def lateness(seconds: float) -> float:
    """The p99 of how late a timer of another process is, in milliseconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LATENESS, str(seconds), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return float(output)


async def measure(port: int, web: int, folder: Path) -> None:
    bus = Bus("bench", folder / "bus")
    ended = asyncio.Event()
    publisher = Publisher("bench", time.time_ns() // 1_000_000)
    publishing = asyncio.create_task(publish(bus, publisher, ended))
    await asyncio.sleep(2)
    idle, begun = cpu_s(web), time.monotonic()
    before = await lateness(SECONDS / 2)
    print(f"no stream: {(cpu_s(web) - idle) / (time.monotonic() - begun):.3f} of a core")
    counts = [0] * STREAMS
    streams = [asyncio.create_task(follow(port, n, counts, ended)) for n in range(STREAMS)]
    await asyncio.sleep(2)
    stuck = socket.create_connection(("127.0.0.1", port))
    stuck.sendall(b"GET /api/v1/live?tags=* HTTP/1.1\r\nHost: localhost\r\n\r\n")
    first, begun, received = cpu_s(web), time.monotonic(), sum(counts)
    after = await lateness(SECONDS)
    took = time.monotonic() - begun
    share, blocks = (cpu_s(web) - first) / took, (sum(counts) - received) / took
    print(f"{STREAMS} streams: {share:.3f} of a core, {blocks:.0f} blocks/s of {TAGS} values sent")
    print(f"another process's timers, p99: {before:.1f} ms without, {after:.1f} ms with")
    print(f"memory with {DEVICES * TAGS} tags and a stream nobody reads: {pss_mb(web):.0f} MB PSS")
    stuck.close()
    for title, path in (
        ("search", "/api/v1/tags?filter=evice_499.tag_7&limit=60"),
        ("two words", "/api/v1/tags?filter=499%20tag_77&limit=60"),
        ("a page", "/api/v1/tags?offset=25000&limit=60"),
    ):
        times = sorted([await ask(port, path) for _ in range(20)])
        middle, worst = times[10] * 1000, times[-1] * 1000
        print(f"{title} among {DEVICES * TAGS}: {middle:.1f} ms, worst {worst:.1f}")
    ended.set()
    await asyncio.gather(publishing, *streams, return_exceptions=True)


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
    """Start a feed and a web worker, measure, end them."""
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "bus").mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        running = [start(worker, folder) for worker in plant(folder, port)]
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            asyncio.run(measure(port, running[1].pid, folder))
            if Path(CHROMIUM).exists():
                browse(port)
        finally:
            for process in running:
                process.terminate()
                process.wait()
