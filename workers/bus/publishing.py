"""A worker's way into the feed: its DEALER to `ingest`, its heartbeats, its answer to a new feed.

    Publisher ── block ──► Publishing.send ──► feed
        ▲                                       │
        └──── resend() ◄──── Resend ────────────┘

Blocks must be sent in the order of their numbers. They may wait for a journal on their way here; a
heartbeat says how far the numbers are, a repeat what they were worth: neither overtakes them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from cpppod.protocols.bus.messages import Resend
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.process.worker import Process, decode_or_count

HEARTBEAT_S = 1.0  # docs/feed.md promises it; subscribers call it late after two
QUEUE = 10_000  # blocks kept while the feed is away: 10 s of 1,000 a second; a restart takes 1
LOOK_AGAIN_S = 0.01  # while numbered blocks wait for their journal, which holds each up to 50 ms


class Publishing:
    """Sends what `publisher` makes; runs by itself from its making until the process ends.

    Attributes:
        unsent: messages that the feed will miss, and declare.
    """

    def __init__(self, process: Process, publisher: Publisher) -> None:
        self.publisher = publisher
        self._process = process
        self._sent = publisher.sequence  # blocks that went through here: their last number
        self._socket = process.bus.dealer(
            "ingest", self._on_frames, queue_while_away=True, queue=QUEUE
        )
        process.spawn(self._beat())

    @property
    def unsent(self) -> int:
        return self._socket.counters.unsent

    def send(self, topic: bytes, payload: bytes) -> bool:
        """Whether the bus took the next block; what it did not take is a gap for the feed."""
        self._sent += 1
        return self._socket.send(topic, payload)

    def block(
        self,
        device: str,
        group: str,
        count: int,
        samples: dict[str, tuple[Any, int]],
        *,
        source_us: int,
    ) -> tuple[bytes, bytes]:
        """Make a block as of now, send it, and hand it back."""
        message = self.publisher.block(
            device,
            group,
            count,
            samples,
            source_us=source_us,
            gateway_us=time.time_ns() // 1000,
            mono_us=self._process.now_us(),
        )
        self.send(*message)
        return message

    def _on_frames(self, frames: list[bytes]) -> None:
        message = decode_or_count(frames, self._socket.counters)
        if isinstance(message, Resend):
            self._process.spawn(self._after_blocks(self._repeat))

    async def _beat(self) -> None:
        while True:
            await self._after_blocks(self._heartbeat)
            await asyncio.sleep(HEARTBEAT_S)

    async def _after_blocks(self, action: Callable[[], None]) -> None:
        """Do it once every block that has a number has been sent."""
        while self._sent < self.publisher.sequence:
            await asyncio.sleep(LOOK_AGAIN_S)
        action()

    def _repeat(self) -> None:
        self._heartbeat()  # first: it tells the feed who speaks, and how far the numbers are
        for topic, payload in self.publisher.resend():
            self._socket.send(topic, payload)

    def _heartbeat(self) -> None:
        self._socket.send(
            *self.publisher.heartbeat(
                gateway_us=time.time_ns() // 1000, mono_us=self._process.now_us()
            )
        )
