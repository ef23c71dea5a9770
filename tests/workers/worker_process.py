"""A worker process under test, and the parties that it talks to: control, router, feed."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.feed import Block, ValueMessage
from cpppod.protocols.bus.feed import decode as decode_value
from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup
from cpppod.protocols.bus.messages import (
    Beat,
    Command,
    CommandReply,
    Message,
    RouteReplies,
    RouteRequests,
    decode,
)
from cpppod.protocols.model.plant import Worker, to_plain
from cpppod.workers.bus.zeromq import Bus
from tests.patience import PATIENCE_S


class Parties:
    """Control, router and feed in one; what the worker said to each."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name.encode()
        self.beats: list[Beat] = []
        self.replies: list[ReplyGroup] = []
        self.blocks: list[tuple[str, ValueMessage]] = []
        self.tags: dict[str, Any] = {}
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Event()
        self._last_id = 0
        self._bus = Bus("parties", folder)
        self._control = self._bus.router("control", self._on_control)
        self._router = self._bus.router("router", self._on_reply)
        self._ingest = self._bus.router("ingest", self._on_value)

    async def order(self, verb: str, **arguments: Any) -> CommandReply:
        """What the worker answers to an order of control's."""
        reply: CommandReply = await self._ask(
            self._control, lambda number: Command(number, verb, arguments)
        )
        return reply

    async def request(self, message: Any) -> Any:
        """What the worker answers to a request of the router's."""
        return await self._ask(self._router, lambda number: replace(message, id=number))

    async def relayed(self, group: RouteGroup) -> list[ReplyGroup]:
        """The worker's replies to all requests of a group."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._router.send(self.name, RouteRequests([group.plain]).encode()):
                await asyncio.sleep(0.02)  # it has not connected yet
        mine: list[ReplyGroup] = []

        def done() -> bool:
            mine[:] = [each for each in self.replies if each.id == group.id]
            return sum(each.count for each in mine) >= group.count

        await self.until(done)
        return mine

    async def until(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> None:
        """Return when `condition` holds after some message."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def sequences(self, device: str) -> list[int]:
        """Sequences of the device's blocks, as they came."""
        return [value.sequence for topic, value in self.blocks if topic.startswith(f"{device}/")]

    def close(self) -> None:
        self._bus.close()

    async def _ask(self, socket: Any, make: Callable[[int], Any]) -> Any:
        self._last_id += 1
        future = self._replies[self._last_id] = asyncio.get_running_loop().create_future()
        frame = make(self._last_id).encode()
        async with asyncio.timeout(PATIENCE_S):
            while not socket.send(self.name, frame):
                await asyncio.sleep(0.02)  # it has not connected yet
            return await future

    def _on_control(self, frames: list[bytes]) -> None:
        message = decode(frames[-1])
        if isinstance(message, Beat):
            self.beats.append(message)
            self._news.set()
        else:
            self._settle(message)

    def _on_reply(self, frames: list[bytes]) -> None:
        message = decode(frames[-1])
        if isinstance(message, RouteReplies):
            self.replies += map(ReplyGroup.decode, message.groups)
            self._news.set()
        else:
            self._settle(message)

    def _settle(self, message: Message | None) -> None:
        future = self._replies.pop(getattr(message, "id", 0), None)
        if future is not None and not future.done():
            future.set_result(message)

    def _on_value(self, frames: list[bytes]) -> None:
        topic, value = frames[-2].decode(), decode_value(frames[-1])
        if value is None or not isinstance(value.body, Block):
            return
        self.blocks.append((topic, value))
        device = topic.split("/")[0]
        samples = value.body.as_dict()
        self.tags.update({f"{device}.{tag}": sample for tag, sample in samples.items()})
        self._news.set()


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[tuple[Parties, int]]:
    """The worker as a process of its own; (its parties, its pid)."""
    bus = Path(worker.bus_dir)
    bus.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = write_settings(worker)
    parties = Parties(bus, worker.name)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"cpppod.workers.{worker.role}", str(settings)
    )
    try:
        await parties.until(lambda: parties.beats and parties.beats[-1].state == "running")
        yield parties, process.pid
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE_S)
        except TimeoutError:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        parties.close()


def write_settings(worker: Worker, name: str = "settings") -> Path:
    """The settings file of a worker."""
    path = Path(worker.runtime_dir) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(to_plain(worker)), encoding="utf-8")
    return path


def deadline_us(seconds: float = PATIENCE_S) -> int:
    """A deadline so far from now, as messages carry it."""
    return int((time.monotonic() + seconds) * 1e6)
