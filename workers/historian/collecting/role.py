"""The collector at the centre of a fleet: sites' streams into a store.

    H_<site> ─► durable consumer ─► batch ─► store ─► acknowledged

Committed, then acknowledged: what comes again is known by its key, and stored once. How far a
stream is stored is in the store, with what is stored: one that was restored from an old copy is
filled again. Any number of collectors can read a stream, each with a consumer of its own. What no
store takes is set aside; what is missing between two messages is a gap.
"""

import asyncio
import logging
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import NotFoundError

from cpppod.protocols.fleet import subjects
from cpppod.protocols.model.plant import Worker
from cpppod.workers import identity
from cpppod.workers.historian.answering import Questions
from cpppod.workers.historian.collecting.chains import MISSING, Chains, stream_key
from cpppod.workers.historian.collecting.messages import Assembly, Received, batch_of
from cpppod.workers.historian.collecting.streams import puller_of, start_of
from cpppod.workers.historian.collector import set_aside
from cpppod.workers.historian.stores.opening import open_store, store_url
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    PoisonError,
    Store,
    StoreError,
)
from cpppod.workers.outlets.delivery import PAUSE_MAX_S, PAUSE_S, wall_us
from cpppod.workers.outlets.reconfigured import Reconfigured, either
from cpppod.workers.process.io_thread import IoThreadBusy
from cpppod.workers.process.worker import CommandError, Process, Report
from cpppod.workers.transport.nats_link import (
    NO_STREAM,
    Link,
    LinkError,
    connect,
    read_tls,
    reason,
    taken_us,
)

logger = logging.getLogger("cpppod.collector")

FETCH = 500  # messages at a time
FETCH_S = 1.0
MISSING_S = 5.0  # before a stream that is not there is looked for again


class Collecting(Reconfigured):
    """The role; see the module."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._questions = Questions()
        self._connected_us = 0
        self._place = self._error = self._url = ""
        self._stored = self._repeated = self._gaps = self._aside = 0
        self._behind: dict[str, int] = {}
        self._committing = asyncio.Lock()

    def problems(self, worker: Worker) -> list[str]:
        try:
            open_store(store_url(worker.options, worker.state_dir), worker.options)
        except (StoreError, TypeError) as error:
            return [str(error)]
        return []

    async def work(self, worker: Worker) -> None:
        servers, tried, pause = worker.options["servers"], 0, PAUSE_S
        while True:
            self._place, away = servers[tried % len(servers)], False
            try:
                await self._connection(worker)
            except (LinkError, StoreError, Error, OSError) as error:
                self._error = reason(error)
                away = isinstance(error, LinkError) and error.away
            pause = PAUSE_S if self._connected_us or away else min(2 * pause, PAUSE_MAX_S)
            self._connected_us = 0
            tried += 1
            logger.warning("not collecting from=%s reason=%s", self._place, self._error)
            await asyncio.sleep(pause)

    async def _connection(self, worker: Worker) -> None:
        """Open the store, connect, collect until something ends.

        Raises:
            LinkError, StoreError, nats.errors.Error: what it was.
        """
        options, call = worker.options, self.process.io.call
        self._url = store_url(options, worker.state_dir)
        instance = identity.instance(worker.state_dir)
        store = open_store(self._url, options, worker.gateway, instance)
        known = await call(store.open)
        try:
            tls = await call(read_tls, options)
            name = f"{worker.gateway_name} {worker.gateway} collector"
            async with connect(options, tls, self._place, name) as link:
                self._connected_us, self._error = wall_us(), ""
                sites = [self._site(link, store, known, site) for site in options["sites"]]
                await either(link.until_closed(), self._upkeep(store), *sites)
        finally:
            try:
                await call(store.close)
            except IoThreadBusy:
                logger.warning("store not closed: its thread is busy")

    async def _upkeep(self, store: Store) -> None:
        while True:
            async with self._committing:
                more = await self.process.io.call(store.maintain, wall_us())
            await asyncio.sleep(0 if more else 1.0)

    async def _site(self, link: Link, store: Store, known: dict[str, Cursor], site: str) -> None:
        name, durable = subjects.stream(site), self.worker.options["consumer"]
        position = stream_key(name)
        while True:
            try:
                start = await start_of(link, name, known.get(position))
                puller = await puller_of(
                    link.client.jetstream(), name, subjects.of_site(site), durable, start
                )
                break
            except (LinkError, NotFoundError) as error:
                if isinstance(error, LinkError) and error.code != NO_STREAM:
                    raise
                self._error = f"site {site}: there is no stream {name} yet"
                await asyncio.sleep(MISSING_S)
        self._error = ""
        assembly, waiting = Assembly(), list[Msg]()
        while True:
            try:
                messages = await puller.fetch(FETCH, timeout=FETCH_S)
            except NatsTimeout:
                self._behind[site] = 0
                continue
            received = [Received(each.subject, each.headers or {}, each.data) for each in messages]
            whole = [done for each in received for done in assembly.take(each)]
            waiting += messages
            cut = len(waiting) - assembly.waits
            finished, waiting = waiting[:cut], waiting[cut:]
            if finished:
                chains = Chains(known)
                batch = batch_of(whole, chains)
                last = finished[-1]
                place = (last.metadata.sequence.stream, 0, 0, taken_us(last.reply))
                batch.cursors = {**chains.changed, position: Cursor(0, *place)}
                await self._store(store, batch, len(whole))
                known |= batch.cursors
                for message in finished:
                    await message.ack()
            self._behind[site] = messages[-1].metadata.num_pending

    async def _store(self, store: Store, batch: Batch, messages: int) -> None:
        """Commit what so many messages say.

        Raises:
            StoreError: nothing of it is stored.
        """
        told = len(batch.readings) + len(batch.gaps) + len(batch.quarantined)
        async with self._committing:
            while True:
                try:
                    stored = await self.process.io.call(store.commit, batch)
                    break
                except PoisonError as error:
                    set_aside(batch, error)
        for gap in batch.gaps:
            if gap.reason == MISSING:
                logger.error(
                    "messages are missing in the stream gateway=%s publisher=%s behind=%d/%d",
                    *(gap.gateway, gap.publisher, gap.epoch, gap.first - 1),
                )
        self._stored += stored.readings
        self._repeated += stored.duplicates + max(messages - told, 0)
        self._gaps += len(batch.gaps)
        self._aside += len(batch.quarantined)

    def beat(self) -> Report:
        behind = sum(self._behind.values())
        up = int(bool(self._connected_us))
        metrics = [
            ["cpppod_outlet_up", {}, up],
            ["cpppod_collector_stored_total", {}, self._stored],
            ["cpppod_collector_repeated_total", {}, self._repeated],
            ["cpppod_collector_gaps_total", {}, self._gaps],
            ["cpppod_collector_set_aside_total", {}, self._aside],
            ["cpppod_collector_behind_messages", {}, behind],
        ]
        outlet = {
            "place": self._place,
            "state": "collecting" if up else "not connected",
            "connected_us": self._connected_us,
            "error": self._error,
            "behind_messages": behind,
            "sent": self._stored,
            "refused": self._aside,
        }
        overdue = [] if up or not self._error else [f"{self._place}: {self._error}"]
        return Report("running", overdue, None, metrics, {"outlet": outlet})

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        if verb != "history":
            raise CommandError(f"{verb}: a collector knows history")
        return await self._questions.ask(self._url, None, arguments)
