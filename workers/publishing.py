"""A worker's way into the feed: its DEALER to `ingest`, its heartbeats, its answer to a new feed.

Publisher ── block ──► Publishing.send ──► feed
    ▲                                       │
    └──── resend() ◄──── Resend ────────────┘
"""

import asyncio
import time
from typing import Any

from cpppod.protocols.bus.messages import Resend
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.process import Process, decode_or_count

HEARTBEAT_S = 1.0  # design: every second; subscribers call it late after two
QUEUE = 10_000  # blocks kept while the feed is away: 10 s of 1,000 a second; a restart takes 1


class Publishing:
    """Sends what `publisher` makes; runs by itself from its making until the process ends.

    Attributes:
        unsent: messages that the feed will miss, and declare.
    """

    def __init__(self, process: Process, publisher: Publisher) -> None:
        self.publisher = publisher
        self._process = process
        self._socket = process.bus.dealer(
            "ingest", self._on_frames, queue_while_away=True, queue=QUEUE
        )
        process.spawn(self._beat())

    @property
    def unsent(self) -> int:
        return self._socket.counters.unsent

    def send(self, topic: bytes, payload: bytes) -> bool:
        """Whether the bus took it; what it did not take is a gap that the feed declares."""
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
        self._socket.send(*message)
        return message

    def _on_frames(self, frames: list[bytes]) -> None:
        message = decode_or_count(frames, self._socket.counters)
        if isinstance(message, Resend):
            self._heartbeat()  # first: it tells the feed who speaks, and how far the numbers are
            for topic, payload in self.publisher.resend():
                self._socket.send(topic, payload)

    async def _beat(self) -> None:
        while True:
            self._heartbeat()
            await asyncio.sleep(HEARTBEAT_S)

    def _heartbeat(self) -> None:
        self._socket.send(
            *self.publisher.heartbeat(
                gateway_us=time.time_ns() // 1000, mono_us=self._process.now_us()
            )
        )
