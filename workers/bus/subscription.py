"""A process's ear on the feed: the sockets and the clock around a `Joiner`; blocks in order.

    feed.pub ──► SUB ────┐            ┌──► on_event(Updated | Lost | Joined | PublisherChanged)
    feed.req ◄─► DEALER ─┴─► Joiner ──┘                │
                                                       ▼
    a write's answer ── its block ── apply_first ─► ReadBacks ─► `apply`, in order

Who writes and then reads sees what was written: the writer is answered when the block that was read
back is applied, or when its predecessor has not come by the feed within `CATCH_UP_S`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cpppod.protocols.bus.feed import ValueMessage, decode
from cpppod.protocols.bus.feed_events import Ask, Event
from cpppod.protocols.bus.joiner import Joiner
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.freshness import BlockOrder
from cpppod.workers.bus.access import CurveClient
from cpppod.workers.bus.zeromq import RECEIVE_QUEUE, Bus

TICK_S = 0.25
CATCH_UP_S = 1.0  # for the blocks before a read-back block to come by the feed
MAX_ASKS = 64  # requests that wait for a feed that is away

OnEvent = Callable[[Event], None]
Finish = Callable[[bool], None]


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


@dataclass(slots=True, eq=False)
class _Waiting:
    """A block that was read back, whose predecessor is not here yet."""

    topic: bytes
    message: ValueMessage
    finish: Finish


class ReadBacks:
    """Applies blocks, and tells whoever waits for the one that was read back.

    Args:
        order_of: topic -> which block was last applied; None where the topic is not followed.
        apply: takes a block; drops those that are older than what is there.
    """

    def __init__(
        self,
        order_of: Callable[[bytes], BlockOrder | None],
        apply: Callable[[bytes, ValueMessage], object],
    ) -> None:
        self._order_of = order_of
        self._apply = apply
        self._waiting: list[_Waiting] = []

    def apply(self, topic: bytes, message: ValueMessage) -> None:
        """A block or repeat from the feed."""
        self._apply(topic, message)
        if self._waiting:
            for waiting in [item for item in self._waiting if item.topic == topic]:
                if self._is_next(topic, waiting.message):
                    self._end(waiting, applied=True)

    def apply_first(self, topic: bytes, payload: bytes, finish: Finish) -> None:
        """Apply the block read back as soon as nothing is missing before it.

        `finish` is called once: True when it, or a later one, is applied; False where it is
        malformed, or nothing came for `CATCH_UP_S`.
        """
        try:
            message = decode(payload)
        except DecodeError:
            finish(False)
            return
        if self._is_next(topic, message):
            self._apply(topic, message)
            finish(True)
            return
        waiting = _Waiting(topic, message, finish)
        self._waiting.append(waiting)
        asyncio.get_running_loop().call_later(CATCH_UP_S, self._give_up, waiting)

    async def applied(self, topic: bytes, payload: bytes) -> bool:
        """The same, for a coroutine: returns what `finish` is told."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def finish(caught_up: bool) -> None:
            if not future.done():
                future.set_result(caught_up)

        self.apply_first(topic, payload, finish)
        return await future

    def _is_next(self, topic: bytes, message: ValueMessage) -> bool:
        order = self._order_of(topic)
        if order is None:
            return True
        return order.reached(message.publisher, message.epoch, message.previous)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._end(waiting, applied=False)

    def _end(self, waiting: _Waiting, *, applied: bool) -> None:
        self._waiting.remove(waiting)
        if applied:
            self._apply(waiting.topic, waiting.message)
        waiting.finish(applied)
