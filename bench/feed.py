"""The feed: values a second and latency, beside bare pyzmq on the same machine.

    this process ── Publisher ──► feed worker ──► Joiner ── this process
    this process ── PUB + msgpack ──────────────► SUB + msgpack     (no feed between)

Capacity keeps `WINDOW` blocks on their way; latency sends at a steady rate. What is timed goes
through the whole of a subscriber: decoding, numbering, gap detection.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgpack
import uvloop
import zmq

from cpppod.protocols.bus.feed_events import Event, Joined, Updated
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.bus.zeromq import Bus

WINDOW = 500  # blocks on their way
CAPACITY_S = 3.0
LATENCY_S = 5.0
SIZES = (1, 10, 100)
RATES = (10_000, 100_000)
SUSTAINED = 500_000  # values/s in blocks of 100, for SUSTAINED_S (60 s: what a feed must hold out)
SUSTAINED_S = float(os.environ.get("BENCH_SECONDS", "10"))


class Line:
    """A publisher and a subscriber with the feed between them."""

    def __init__(self, folder: Path) -> None:
        self.bus = Bus("bench", folder)
        self.publisher = Publisher("bench", time.time_ns() // 1_000_000)
        self.ingest = self.bus.dealer("ingest", lambda frames: None, queue_while_away=True)
        self.received = 0
        self.latencies: list[float] = []
        self.joined = asyncio.Event()
        self.arrived = asyncio.Event()
        self.subscription = FeedSubscription(self.bus, self.on_event)

    def on_event(self, event: Event) -> None:
        if isinstance(event, Updated):
            self.received += 1
            self.latencies.append(time.monotonic_ns() / 1000 - event.message.mono_us)
            self.arrived.set()
        elif isinstance(event, Joined):
            self.joined.set()

    def send(self, samples: dict[str, tuple[int, int]]) -> None:
        mono_us = time.monotonic_ns() // 1000
        self.ingest.send(
            *self.publisher.block(
                "bench",
                f"g{len(samples)}",
                len(samples),
                samples,
                source_us=mono_us,
                gateway_us=mono_us,
                mono_us=mono_us,
            )
        )

    def beat(self) -> None:
        self.ingest.send(*self.publisher.heartbeat(gateway_us=1, mono_us=1))

    async def until(self, count: int) -> None:
        while self.received < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)


def samples_of(size: int, number: int) -> dict[str, tuple[int, int]]:
    return {f"tag{index}": (number + index, 0) for index in range(size)}


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def capacity(line: Line, size: int) -> float:
    """Values a second with `WINDOW` blocks on their way."""
    sent = start = line.received
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < CAPACITY_S:
        while sent - line.received < WINDOW:
            line.send(samples_of(size, sent))
            sent += 1
        await line.until(sent - WINDOW // 2)
    await line.until(sent)
    return (line.received - start) * size / elapsed


async def steady(line: Line, size: int, rate: int, seconds: float) -> tuple[float, float, int]:
    """Latency p50 and p99 in microseconds at `rate` values a second; and blocks not received."""
    line.latencies.clear()
    start, sent = line.received, 0
    begun = time.monotonic()
    next_beat = begun
    while (elapsed := time.monotonic() - begun) < seconds:
        due = int(elapsed * rate / size)
        while sent < due:
            line.send(samples_of(size, sent))
            sent += 1
        if time.monotonic() >= next_beat:
            next_beat += 1.0
            line.beat()
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.5)
    missing = sent - (line.received - start)
    return quantile(line.latencies, 0.5), quantile(line.latencies, 0.99), missing


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def through_the_feed(folder: Path, pid: int) -> None:
    line = Line(folder)
    await line.joined.wait()
    line.beat()
    for size in SIZES:
        print(f"feed   blocks of {size:3}  {await capacity(line, size):11,.0f} values/s")
    for rate in RATES:
        for size in SIZES:
            if rate / size > 20_000:
                continue
            p50, p99, missing = await steady(line, size, rate, LATENCY_S)
            print(
                f"feed   blocks of {size:3}  at {rate:7,} values/s: "
                f"p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.2f} ms, {missing} missing"
            )
    before = cpu_s(pid)
    p50, p99, missing = await steady(line, 100, SUSTAINED, SUSTAINED_S)
    share = (cpu_s(pid) - before) / SUSTAINED_S
    print(
        f"feed   blocks of 100  at {SUSTAINED:7,} values/s for {SUSTAINED_S:g} s: "
        f"p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.2f} ms, {missing} missing, "
        f"feed at {share:.0%} of a core, {line.subscription.joiner.counters}"
    )
    line.subscription.close()
    line.bus.close()


def bare(folder: Path) -> None:
    """PUB to SUB in one process, packed and unpacked, with the same window."""
    context = zmq.Context()
    publisher, subscriber = context.socket(zmq.PUB), context.socket(zmq.SUB)
    publisher.bind(f"ipc://{folder}/bare")
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")
    subscriber.connect(f"ipc://{folder}/bare")
    time.sleep(0.3)

    def send(size: int, number: int) -> None:
        body = [list(samples_of(size, number)), list(range(number, number + size)), 0]
        packed = msgpack.packb([1, "bench", 1, number, 0, time.monotonic_ns() // 1000, body])
        publisher.send_multipart([b"bench/g/", packed])

    def receive() -> float:
        _, packed = subscriber.recv_multipart()
        return time.monotonic_ns() / 1000 - float(msgpack.unpackb(packed)[5])

    for size in SIZES:
        sent = received = 0
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < CAPACITY_S:
            while sent - received < WINDOW:
                send(size, sent)
                sent += 1
            for _ in range(WINDOW // 2):
                receive()
                received += 1
        for _ in range(sent - received):
            receive()
        print(f"pyzmq  blocks of {size:3}  {sent * size / elapsed:11,.0f} values/s")
    for rate in RATES:
        for size in SIZES:
            if rate / size <= 20_000:
                print_bare_latency(rate, size, send, receive, subscriber)
    context.destroy(0)


def print_bare_latency(
    rate: int,
    size: int,
    send: Callable[[int, int], None],
    receive: Callable[[], float],
    subscriber: "zmq.Socket[bytes]",
) -> None:
    latencies: list[float] = []
    sent = 0
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < LATENCY_S:
        while sent < int(elapsed * rate / size):
            send(size, sent)
            sent += 1
        while subscriber.poll(1 if len(latencies) == sent else 0):
            latencies.append(receive())
    print(
        f"pyzmq  blocks of {size:3}  at {rate:7,} values/s: "
        f"p50 {quantile(latencies, 0.5) / 1000:.2f} ms, "
        f"p99 {quantile(latencies, 0.99) / 1000:.2f} ms"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="feed") as name:
        folder = Path(name)
        bus = folder / "bus"
        bus.mkdir(mode=0o700)
        settings = folder / "feed.json"
        settings.write_text(
            json.dumps(
                {
                    "name": "feed",
                    "role": "feed",
                    "bus_dir": str(bus),
                    "state_dir": name,
                    "runtime_dir": name,
                    "log_level": "WARNING",
                }
            )
        )
        bare(bus)
        worker = subprocess.Popen([sys.executable, "-m", "cpppod.workers.feed", str(settings)])
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(through_the_feed(bus, worker.pid))
        finally:
            worker.terminate()
            worker.wait()


if __name__ == "__main__":
    main()
