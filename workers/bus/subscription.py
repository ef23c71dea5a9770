"""A process's ear on the feed: the sockets and the clock around a `Joiner`.

feed.pub ──► SUB ────┐            ┌──► on_event(Updated | Lost | Joined | PublisherChanged)
feed.req ◄─► DEALER ─┴─► Joiner ──┘
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from cpppod.protocols.bus.feed_events import Ask, Event
from cpppod.protocols.bus.joiner import Joiner
from cpppod.workers.bus.access import CurveClient
from cpppod.workers.bus.zeromq import RECEIVE_QUEUE, Bus

TICK_S = 0.25
MAX_ASKS = 64  # requests that wait for a feed that is away

OnEvent = Callable[[Event], None]


class FeedSubscription:
    """Joins the feed and stays joined; `on_event` gets everything but `Ask`, in order, on the loop.

    Args:
        publications, requests: TCP endpoints; "" for the gateway's own sockets.
    """

    def __init__(
        self,
        bus: Bus,
        on_event: OnEvent,
        *,
        prefixes: tuple[bytes, ...] = (b"",),
        publications: str = "",
        requests: str = "",
        queue: int = RECEIVE_QUEUE,
        curve: CurveClient | None = None,
    ) -> None:
        self.joiner = Joiner(prefixes)
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._requests = bus.dealer(
            "feed.req",
            self._on_reply,
            endpoint=requests,
            queue_while_away=True,
            queue=MAX_ASKS,
            named=False,
            curve=curve,
        )
        self._publications = bus.subscriber(
            "feed.pub",
            self._on_message,
            prefixes=self.joiner.subscriptions,
            endpoint=publications,
            queue=queue,
            curve=curve,
        )
        self._paused = False
        self._timer: asyncio.Handle = self._loop.call_soon(self._start)

    def close(self) -> None:
        """Leave the feed."""
        self._timer.cancel()
        self._publications.close()
        self._requests.close()

    def pause(self) -> None:
        """Take nothing more for now: whoever handles the events is behind."""
        self._paused = True
        self._publications.pause()

    def resume(self) -> None:
        """Go on; what was lost meanwhile is repaired or declared."""
        self._paused = False
        self._publications.resume()

    def _start(self) -> None:
        self._hand_on(self.joiner.start(time.monotonic()))
        self._tick()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        if not self._paused:
            self._hand_on(self.joiner.tick(time.monotonic()))

    def _on_message(self, frames: list[bytes]) -> None:
        if len(frames) != 2:
            self._publications.counters.malformed += 1
            return
        self._hand_on(self.joiner.receive(frames[0], frames[1], time.monotonic()))

    def _on_reply(self, frames: list[bytes]) -> None:
        self._hand_on(self.joiner.receive_reply(frames[-1], time.monotonic()))

    def _hand_on(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Ask):
                self._requests.send(event.frame)
            else:
                self._on_event(event)
