"""The role of an outlet that delivers the journals to another side, however long that is away.

    journals ─► JournalSource (I/O thread) ─► the outlet's own form ─► the other side
                      ▲                                                     │
                      └────── the position moves when it acknowledged ◄─────┘

Without the other side its addresses are tried in turn: twice a second where nobody is there, 60 s
apart at last where this one is refused; the journals keep what comes meanwhile. A connection that
ends soon is no success: a twin is said, not fought.
"""

import asyncio
import logging
import ssl
import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.outlets.reconfigured import Reconfigured
from cpppod.workers.process.io_thread import IoThreadBusy
from cpppod.workers.process.worker import CommandError, Process, Report

logger = logging.getLogger("cpppod.outlets")

LOOK_S = 0.1  # between looks at journals that had nothing new
PAUSE_S, PAUSE_MAX_S = 0.5, 60.0  # before the next try to connect; the most where one is refused
LASTING_S = 10.0  # a connection that held so long was one
OVERDUE_S = 5.0  # without the other side


@dataclass(slots=True)
class DeliveryCounters:
    """What happened, cumulative over the worker's life.

    Attributes:
        sent: messages that the other side acknowledged.
        refused: readings that could not be said, and commands that were refused.
        dropped_by_broker: as it tells, -1 where it does not.
    """

    sent: int = 0
    refused: int = 0
    dropped_by_broker: int = -1


class Delivery(Reconfigured):
    """The role; see the module. An outlet says where to, and what a connection does.

    Attributes:
        troubles: what a connection ends with.
        state: what it is doing, in words.
    """

    troubles: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.counters = DeliveryCounters()
        self.state = "connected"
        self._source: JournalSource | None = None
        self._place = ""
        self._connected_us = 0
        self._down_since = time.monotonic()
        self._error = ""

    @abstractmethod
    def addresses(self, worker: Worker) -> list[str]:
        """Where the other side may be."""

    @abstractmethod
    def words(self, error: Exception) -> str:
        """One of `troubles` in words."""

    @abstractmethod
    async def connection(self, worker: Worker, source: JournalSource, address: str) -> None:
        """Connect, call `connected`, deliver until it ends, by one of `troubles` as a rule."""

    def is_away(self, error: Exception) -> bool:
        """Whether nobody is there, who may come at any moment; a refusal is another thing."""
        return isinstance(error, OSError) and not isinstance(error, ssl.SSLError)

    def hold_s(self, worker: Worker) -> float:
        """How long the journals keep what was delivered."""
        return 0.0

    def connected(self) -> None:
        """The other side is there."""
        self._connected_us, self._error = wall_us(), ""
        logger.info("connected outlet=%s address=%s", self.worker.name, self._place)

    async def work(self, worker: Worker) -> None:
        groups = frozenset(
            (device, group)
            for device, _, group in (each.partition("/") for each in worker.options["groups"])
        )
        source = self._source = JournalSource(
            worker, self.process.state, groups, hold_s=self.hold_s(worker)
        )
        try:
            await self._deliver(worker, source)
        finally:
            await self._close(source)

    async def _close(self, source: JournalSource) -> None:
        try:
            await self.process.io.call(source.close)
        except IoThreadBusy:
            logger.warning("positions not kept: the disk does not answer")

    async def _deliver(self, worker: Worker, source: JournalSource) -> None:
        addresses = self.addresses(worker)
        pause, tried = PAUSE_S, 0
        while True:
            self._place, self.state = addresses[tried % len(addresses)], "connected"
            began, away = time.monotonic(), False
            try:
                await self.connection(worker, source, self._place)
                self._error = "the connection was ended"
            except self.troubles as error:
                self._error, away = self.words(error), self.is_away(error)
            lasted = self._connected_us and time.monotonic() - began >= LASTING_S
            if self._connected_us:
                self._down_since = time.monotonic()
            self._connected_us = 0
            pause = PAUSE_S if lasted or away else min(pause * 2, PAUSE_MAX_S)
            tried += 1
            logger.warning("not connected address=%s reason=%s", self._place, self._error)
            await self.process.io.call(source.back)
            if not tried % len(addresses):
                await asyncio.sleep(pause)

    def beat(self) -> Report:
        source = self._source
        if source is None:
            return Report("preparing")
        overdue = []
        if not self._connected_us and time.monotonic() - self._down_since > OVERDUE_S:
            overdue = [f"{self._place}: {self._error}"]
        behind_s = 0.0
        if source.behind_bytes and source.delivered_us:
            behind_s = max(time.time() - source.delivered_us / 1e6, 0.0)
        counts = self.counters
        metrics = [
            ["cpppod_outlet_up", {}, int(bool(self._connected_us))],
            ["cpppod_outlet_behind_bytes", {}, source.behind_bytes],
            ["cpppod_outlet_sent_total", {}, counts.sent],
            ["cpppod_outlet_refused_total", {}, counts.refused],
            ["cpppod_outlet_lost_total", {}, source.lost_samples],
            *self.metrics(),
        ]
        outlet = {
            "place": self._place,
            "state": self.state if self._connected_us else "not connected",
            "connected_us": self._connected_us,
            "error": self._error,
            "behind_bytes": source.behind_bytes,
            "behind_s": round(behind_s, 1),
            "sent": counts.sent,
            "refused": counts.refused,
            "lost": source.lost_samples,
            "dropped_by_broker": counts.dropped_by_broker,
        }
        return Report("running", overdue, None, metrics, {"outlet": outlet})

    def metrics(self) -> list[list[Any]]:
        """Further metrics of this kind of outlet."""
        return []

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        raise CommandError(f"{verb}: not a command of an outlet")


def wall_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
