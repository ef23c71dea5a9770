"""The feed: one process through which every value passes, numbered, cached and replayable.

    ingest    ROUTER   publishers' value messages in, Resend out
    feed.pub  XPUB     value messages out, topic and payload untouched
    feed.req  ROUTER   snapshot and replay (`protocols.bus.feed_requests`)

`feed.pub` and `feed.req` are ipc sockets of the gateway; with `[feed]` addresses there is a second
pair on TCP with limits for each peer, and beyond loopback CURVE with a list of the keys that may
subscribe.
"""

import asyncio
import time
from typing import Any

from cpppod.protocols.bus.messages import Resend
from cpppod.protocols.bus.replay import RING_AGE_S, RING_BYTES, ReplayRing
from cpppod.protocols.model.plant import Worker
from cpppod.workers.bus.zeromq import Socket
from cpppod.workers.feed.access import KeyFileError
from cpppod.workers.feed.exchange import Exchange
from cpppod.workers.feed.public import PublicFeed, PublicSettings, read_settings
from cpppod.workers.process.worker import CommandError, Process, Report

HEARTBEAT_S = 1.0
TICK_S = 0.25


class Feed:
    """The feed's role: sockets and clock around an `Exchange`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._next = process.worker
        self._worker = process.worker
        self._exchange: Exchange | None = None
        self._public: PublicFeed | None = None
        self._public_settings: PublicSettings | None = None
        self._ingest: Socket
        self._publisher: Socket
        self._requests: Socket

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings."""
        try:
            self._public_settings = read_settings(worker.options)
        except KeyFileError as error:
            return [str(error)]
        self._next = worker
        return []

    def commit(self) -> None:
        """Go over to the settings last prepared."""
        self._worker = self._next
        if self._exchange is not None:
            self._exchange.keep_only({device.name for device in self._worker.devices})
            self._open_public(self._exchange)

    def abort(self) -> None:
        """Keep the settings in force."""
        self._next = self._worker

    async def run(self) -> None:
        """Serve until cancelled."""
        options = self._worker.options
        ring = ReplayRing(
            max_bytes=int(options.get("replay_bytes", RING_BYTES)),
            max_age_s=float(options.get("replay_age_s", RING_AGE_S)),
        )
        self._exchange = exchange = Exchange(
            await self._process.new_epoch(), ring, self._process.worker.gateway
        )
        bus = self._process.bus
        self._publisher = bus.publisher("feed.pub", self._on_subscription)
        self._requests = bus.router("feed.req", self._on_request)
        self._ingest = bus.router("ingest", self._on_value)
        self._open_public(exchange)
        next_heartbeat = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_heartbeat:
                next_heartbeat = max(next_heartbeat + HEARTBEAT_S, now)
                gateway_us, mono_us = time.time_ns() // 1000, self._process.now_us()
                self._publish(*exchange.heartbeat(gateway_us=gateway_us, mono_us=mono_us))
            self._ask_to_repeat(now)
            if self._public is not None:
                self._public.tick(now)
            await asyncio.sleep(TICK_S)

    def beat(self) -> Report:
        """Counters of everything that passed, and of what did not."""
        exchange = self._exchange
        if exchange is None:
            return Report("preparing")
        metrics: list[Any] = [
            ["cpppod_feed_blocks_total", {}, exchange.blocks],
            ["cpppod_feed_values_total", {}, exchange.values],
            ["cpppod_feed_replay_bytes", {}, exchange.ring.size],
            ["cpppod_feed_snapshots_total", {}, exchange.snapshots],
            ["cpppod_feed_replayed_total", {}, exchange.replayed],
            ["cpppod_feed_topics", {}, len(exchange.last_values)],
        ]
        overdue = []
        for name, publisher in exchange.publishers.items():
            labels = {"publisher": name}
            metrics.append(["cpppod_feed_lost_total", labels, publisher.lost])
            metrics.append(["cpppod_feed_publisher_up", labels, int(publisher.alive)])
            if not publisher.alive:
                overdue.append(f"heartbeat of {name}")
        metrics += [
            ["cpppod_feed_dropped_total", {"reason": reason}, count]
            for reason, count in exchange.dropped.items()
        ]
        extra: dict[str, Any] = {}
        if (public := self._public) is not None:
            metrics.append(["cpppod_feed_subscribers", {}, public.publish_access.peers])
            metrics += [
                ["cpppod_feed_turned_away_total", {"reason": reason}, count]
                for reason, count in public.turned_away().items()
            ]
            extra["publish"], extra["request"] = public.endpoints()
            if public.trouble:
                overdue.append(public.trouble)
                extra["not_ready"] = public.trouble
        return Report(overdue=overdue, metrics=metrics, extra=extra)

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """The feed has no commands of its own.

        Raises:
            CommandError: always.
        """
        raise CommandError(f"{verb}: not a command of the feed")

    def _open_public(self, exchange: Exchange) -> None:
        """Have the sockets on TCP that the settings want; untouched if they want the same."""
        settings, public = self._public_settings, self._public
        if public is not None and public.settings == settings:
            return
        if public is not None:
            public.close()
        self._public = None
        if settings is not None:
            self._public = PublicFeed(self._process.bus, settings, exchange.answer)
            self._public.tick(time.monotonic())

    def _publish(self, topic: bytes, payload: bytes) -> None:
        self._publisher.send(topic, payload)
        if self._public is not None:
            self._public.send(topic, payload)

    def _on_value(self, frames: list[bytes]) -> None:
        exchange = self._exchange
        if exchange is None or len(frames) != 3:
            self._ingest.counters.malformed += 1
            return
        identity, topic, payload = frames
        if exchange.ingest(identity, topic, payload, time.monotonic()):
            self._publish(topic, payload)
        if exchange.due:
            self._ask_to_repeat(time.monotonic())

    def _ask_to_repeat(self, now: float) -> None:
        if self._exchange is not None:
            for identity in self._exchange.tick(now):
                self._ingest.send(identity, Resend(self._exchange.epoch).encode())

    def _on_request(self, frames: list[bytes]) -> None:
        if self._exchange is None or len(frames) != 2:
            self._requests.counters.malformed += 1
            return
        self._requests.send(frames[0], self._exchange.answer(frames[1]))

    def _on_subscription(self, frames: list[bytes]) -> None:
        """Subscriptions on ipc come from the gateway's own processes: nothing to decide."""
