"""A subscriber of a running gateway's feed, in a thread of its own."""

import asyncio
import threading
import time
from typing import Self

from cpppod.protocols.bus.feed_events import Event, Lost, Updated
from cpppod.protocols.bus.joiner import Joiner
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.bus.zeromq import Bus
from tests.gateway.running import RunningGateway
from tests.patience import PATIENCE_S


class FeedWatch:
    """Everything that a subscriber to all topics is told, from its snapshot on.

    Attributes:
        blocks: topic -> blocks that came; `lost`: what will not come.
        replayed: how many came by replay since every poller was heard.
        epochs: publisher -> lives of it that blocks are from.
    """

    def __init__(self, gateway: RunningGateway) -> None:
        self.blocks: dict[str, int] = {}
        self.lost: list[Lost] = []
        self.replayed = 0
        self.epochs: dict[str, set[int]] = {}
        self._gateway = gateway
        self._pollers = {str(row["worker"]) for row in gateway.devices().values()}
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._settled.wait(PATIENCE_S):
            self.__exit__()
            raise AssertionError("not every poller was heard")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _run(self) -> None:
        bus = Bus("test-subscriber", self._gateway.runtime / "bus")
        subscription = FeedSubscription(bus, self._on_event)
        settling = asyncio.create_task(self._settle(subscription.joiner))
        await self._end.wait()
        settling.cancel()
        subscription.close()
        bus.close()

    async def _settle(self, joiner: Joiner) -> None:
        while not joiner.joined:
            await asyncio.sleep(0.01)
        since = time.monotonic()
        while not _is_settled(joiner, self._pollers, since):
            await asyncio.sleep(0.01)
        self.replayed = 0
        self._settled.set()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Lost):
            self.lost.append(event)
        elif isinstance(event, Updated):
            self.replayed += event.replayed
            self.epochs.setdefault(event.message.publisher, set()).add(event.message.epoch)
            name = event.topic.decode()
            self.blocks[name] = self.blocks.get(name, 0) + 1


def _is_settled(joiner: Joiner, pollers: set[str], since: float) -> bool:
    """Whether what went by between snapshot and subscription is here: heartbeats tell of it."""
    known = joiner.publishers
    heard = all(name in known and known[name].heartbeat > since for name in pollers)
    asked = joiner._snapshot is not None or any(each.target for each in joiner._streams.values())
    return heard and not asked
