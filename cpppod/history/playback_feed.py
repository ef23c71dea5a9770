"""A recording as a feed: the gateway's own feed process, with one publisher called `replay`.

Subscribers tell it from a live plant by the publisher's name in every message; source times are
those of the recording, gateway times are now.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cpppod.history.recording import RecordedChange
from cpppod.protocols.bus.messages import Resend, decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.model.plant import Worker, to_plain
from cpppod.workers.bus.zeromq import Bus, Socket

PUBLISHER = "replay"
GROUP = "replay"  # of every device: a recording does not say which group a tag was in
HEARTBEAT_S = 1.0
READY_S = 10.0  # for the feed to say hello
QUEUE = 10_000


class FeedSink:
    """Publishes a recording under its devices' names on `host:port`, snapshots on the next port."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._folder = tempfile.TemporaryDirectory(prefix="cpppod-replay-")
        self._feed: subprocess.Popen[bytes] | None = None
        self._bus: Bus | None = None
        self._socket: Socket | None = None
        self._publisher = Publisher(PUBLISHER, time.time_ns() // 1_000_000)
        self._known: dict[str, set[str]] = {}
        self._members: dict[str, int] = {}
        self._beats: asyncio.Task[None] | None = None
        self._hello = asyncio.Event()

    async def open(self, tags: dict[str, Any]) -> str:
        folder = Path(self._folder.name)
        for tag in tags:
            device = tag.partition(".")[0]
            self._members[device] = self._members.get(device, 0) + 1
        publish = str(SocketAddress(self._host, self._port))
        request = str(SocketAddress(self._host, self._port + 1))
        worker = Worker(
            name="feed",
            role="feed",
            bus_dir=str(folder),
            state_dir=str(folder),
            runtime_dir=str(folder),
            log_level="WARNING",
            options={"publish": publish, "request": request},
        )
        settings = folder / "feed.json"
        settings.write_text(json.dumps(to_plain(worker)))
        self._feed = subprocess.Popen(
            [sys.executable, "-m", "cpppod.workers.feed", str(settings)],
            env={**os.environ, "CPPPOD_SUPERVISOR_PID": str(os.getpid())},
        )
        self._bus = Bus(PUBLISHER, folder)
        self._socket = self._bus.dealer(
            "ingest", self._on_frames, queue_while_away=True, queue=QUEUE
        )
        self._beats = asyncio.get_running_loop().create_task(self._beat())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hello.wait(), READY_S)
        return f"feed: tcp://{publish} (marked as replay: publisher {PUBLISHER!r})"

    async def play(self, moment: RecordedChange) -> None:
        assert self._socket is not None
        devices: dict[str, dict[str, tuple[Any, int]]] = {}
        for tag, sample in moment.samples.items():
            device, dot, name = tag.partition(".")
            devices.setdefault(device if dot else PUBLISHER, {})[name if dot else tag] = sample
        for device, samples in devices.items():
            known = self._known.setdefault(device, set())
            known.update(samples)
            count = max(self._members.get(device, 0), len(known))
            with contextlib.suppress(EncodeError):  # a value that the bus cannot say
                topic, payload = self._publisher.block(
                    device,
                    GROUP,
                    count,
                    samples,
                    source_us=moment.time_us,
                    gateway_us=time.time_ns() // 1000,
                    mono_us=time.monotonic_ns() // 1000,
                )
                self._socket.send(topic, payload)

    async def close(self) -> None:
        if self._beats is not None:
            self._beats.cancel()
        await asyncio.sleep(0.1)  # what is queued goes out
        if self._bus is not None:
            self._bus.close()
        if self._feed is not None:
            self._feed.terminate()
            await asyncio.to_thread(self._feed.wait)
        self._folder.cleanup()

    def _on_frames(self, frames: list[bytes]) -> None:
        try:
            message = decode(frames[-1])
        except DecodeError:
            return
        if isinstance(message, Resend) and self._socket is not None:
            self._hello.set()
            self._send_heartbeat()
            for topic, payload in self._publisher.resend():
                self._socket.send(topic, payload)

    async def _beat(self) -> None:
        while True:
            self._send_heartbeat()
            await asyncio.sleep(HEARTBEAT_S)

    def _send_heartbeat(self) -> None:
        assert self._socket is not None
        self._socket.send(
            *self._publisher.heartbeat(
                gateway_us=time.time_ns() // 1000, mono_us=time.monotonic_ns() // 1000
            )
        )
