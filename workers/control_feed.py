"""Control's subscription to the feed: the sockets and the clock around a `Joiner`.

feed.pub ──> Joiner ── Updated ──> ValueCache
feed.req <─> Joiner ── Ask
"""

import asyncio
import time
from collections.abc import Iterable

from cpppod.protocols.bus.feed_events import Ask, Event, Lost, Updated
from cpppod.protocols.bus.joiner import Joiner
from cpppod.workers.bus import Bus
from cpppod.workers.control_values import ValueCache

TICK_S = 0.25


class Subscription:
    """Keeps `cache` as new as the feed; `run` until cancelled.

    Attributes:
        lost: messages that did not come, where their number is known.
    """

    def __init__(self, bus: Bus, cache: ValueCache) -> None:
        self.lost = 0
        self._cache = cache
        self._joiner = Joiner()
        self._requests = bus.dealer("feed.req", self._on_reply)
        self._messages = bus.subscriber(
            "feed.pub", self._on_message, prefixes=self._joiner.subscriptions
        )

    async def run(self) -> None:
        """Ask for the snapshot, then see to what waits for too long."""
        self._do(self._joiner.start(time.monotonic()))
        while True:
            await asyncio.sleep(TICK_S)
            self._do(self._joiner.tick(time.monotonic()))

    def _on_message(self, frames: list[bytes]) -> None:
        if len(frames) == 2:
            self._do(self._joiner.receive(frames[0], frames[1], time.monotonic()))

    def _on_reply(self, frames: list[bytes]) -> None:
        self._do(self._joiner.receive_reply(frames[-1], time.monotonic()))

    def _do(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Updated):
                self._cache.apply(event.topic, event.message)
            elif isinstance(event, Ask):
                self._requests.send(event.frame)  # unsent is a time-out: asked again
            elif isinstance(event, Lost):
                self.lost += event.count or 0
