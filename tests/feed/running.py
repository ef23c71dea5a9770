"""A feed that runs: the real worker, its sockets in a short temporary folder."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from cpppod.protocols.bus.messages import Beat, Command, CommandReply, Resend, decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.bus.zeromq import Bus
from tests.patience import PATIENCE_S


class RunningFeed:
    """The worker process, and what a test needs to reach it."""

    def __init__(self, folder: pathlib.Path, options: dict[str, Any]) -> None:
        self.folder = folder
        self.bus_dir = folder / "bus"
        self.bus_dir.mkdir(mode=0o700)
        self.settings = folder / "feed.json"
        gateway = options.pop("gateway", "")
        self.settings.write_text(
            json.dumps(
                {
                    "name": "feed",
                    "role": "feed",
                    "bus_dir": str(self.bus_dir),
                    "state_dir": str(folder),
                    "runtime_dir": str(folder),
                    "options": options,
                    "gateway": gateway,
                }
            )
        )
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cpppod.workers.feed", str(self.settings)],
            stderr=(self.folder / "log").open("ab"),
        )
        return self.process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def rss_kb(self) -> int:
        pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") // 1024

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Source:
    """A publisher at the feed's ingest, with its heartbeats; made within a running loop."""

    def __init__(self, bus_dir: pathlib.Path, name: str = "p", *, gateway: str = "") -> None:
        self.bus = Bus(name, bus_dir)
        self.publisher = Publisher(name, time.time_ns() // 1_000_000, gateway)
        self.resends = 0
        self.socket = self.bus.dealer(
            "ingest", self.on_frames, queue_while_away=True, queue=200_000
        )
        self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.heartbeat()

    def stop_beating(self) -> None:
        """Say nothing more by itself."""
        self._beating.cancel()

    def close(self) -> None:
        self.stop_beating()
        self.bus.close()

    def on_frames(self, frames: list[bytes]) -> None:
        if isinstance(decode(frames[0]), Resend):
            self.resends += 1
            self.heartbeat()
            for message in self.publisher.resend():
                self.socket.send(*message)

    def block(self, device: str = "boiler", group: str = "g", **values: object) -> None:
        samples = {tag: (value, 0) for tag, value in values.items()}
        now_us = time.time_ns() // 1000
        self.socket.send(
            *self.publisher.block(
                device,
                group,
                max(len(samples), len(self.publisher.whole(device, group))),
                samples,
                source_us=now_us,
                gateway_us=now_us,
                mono_us=time.monotonic_ns() // 1000,
            )
        )

    def heartbeat(self) -> None:
        self.socket.send(*self.publisher.heartbeat(gateway_us=1, mono_us=1))


async def until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Returns when `condition` holds; fails when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.005)


async def beats(feed: RunningFeed, enough: Callable[[Beat], object]) -> Beat:
    """The first of the feed's beats for which `enough` holds: the test is control."""
    bus = Bus("control", feed.bus_dir)
    seen: list[Beat] = []

    def on_frames(frames: list[bytes]) -> None:
        message = decode(frames[1])
        if isinstance(message, Beat):
            seen.append(message)

    bus.router("control", on_frames)
    try:
        await until(lambda: any(enough(beat) for beat in seen))
        return next(beat for beat in seen if enough(beat))
    finally:
        bus.close()


async def reload(feed: RunningFeed) -> None:
    """Have the feed read its settings again, as control does."""
    bus = Bus("control", feed.bus_dir)
    replies: dict[int, str] = {}

    def on_frames(frames: list[bytes]) -> None:
        message = decode(frames[1])
        if isinstance(message, CommandReply):
            replies[message.id] = message.error

    control = bus.router("control", on_frames)
    prepare = Command(1, "prepare", {"path": str(feed.settings)})
    await until(lambda: control.send(b"feed", prepare.encode()))
    await until(lambda: 1 in replies)
    control.send(b"feed", Command(2, "commit", {}).encode())
    await until(lambda: 2 in replies)
    bus.close()
    assert replies == {1: "", 2: ""}
