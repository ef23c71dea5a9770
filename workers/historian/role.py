"""The historian: journals into the store, and questions about what is stored.

    journals ──► Collector.turn (I/O thread) ──► store
    control  ──► command("history") ──► a reader of its own, on a second thread

It looks at the journals ten times a second by itself: a stat per publisher, less than a
subscription to every value would cost. A store that hangs for `HUNG_S` has its connection cut, so
that the call in it fails like any other.
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any, cast

from cpppod.protocols.model.plant import Worker
from cpppod.workers import identity
from cpppod.workers.historian.answering import Questions
from cpppod.workers.historian.collector import Collector, CollectorCounters
from cpppod.workers.historian.stores.opening import (
    open_store,
    store_at,
    store_url,
)
from cpppod.workers.historian.stores.spec import GivesUp, Mends
from cpppod.workers.historian.stores.store import DamagedError, StoreError
from cpppod.workers.process.io_thread import IoThreadBusy
from cpppod.workers.process.worker import CommandError, Process, Report
from cpppod.workers.state import make_folder

logger = logging.getLogger("cpppod.historian")

LOOK_S = 0.1  # between looks at journals that had nothing new
HUNG_S = 5.0  # a call into the store that takes longer is given up
OVERDUE_S = 5.0  # a store that takes nothing for longer is named in the beat


class Historian:
    """The role; see the module."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._questions = Questions()
        self._prepared: Worker | None = None
        self._worker: Worker | None = None
        self._url = ""
        self._collector: Collector | None = None
        self._changed = asyncio.Event()

    def prepare(self, worker: Worker) -> list[str]:
        try:
            open_store(store_url(worker.options, worker.state_dir), worker.options)
        except (StoreError, TypeError) as error:
            return [f"history: {error}"]
        self._prepared = worker
        return []

    def commit(self) -> None:
        worker, self._prepared = self._prepared, None
        assert worker is not None  # the frame prepares before it commits
        self._worker = worker
        self._changed.set()

    def abort(self) -> None:
        self._prepared = None

    async def run(self) -> None:
        """Collect until cancelled; with new settings, close and begin anew."""
        while True:
            self._changed.clear()
            worker = self._worker
            assert worker is not None
            self._url = store_url(worker.options, worker.state_dir)
            instance = identity.instance(worker.state_dir)
            store = open_store(self._url, worker.options, worker.gateway, instance)
            state = Path(worker.state_dir)
            if self._url == str(state / "history"):  # a configured one is not ours to move
                with contextlib.suppress(OSError):
                    await self._process.io.call(make_folder, state / "history", root=state)
            kept = await self._process.io.call(identity.read, state)
            collector = self._collector = Collector(
                state / "journal",
                store,
                monotonic=time.monotonic,
                gateway=worker.gateway,
                since_us=kept.made_us if kept is not None and kept.id == worker.gateway else 0,
                readers=worker.options.get("readers", ()),
                unstored=[_pair(each) for each in worker.options.get("unstored", ())],
            )
            try:
                while not self._changed.is_set():
                    more = await self._turn(collector)
                    if not more:
                        await self._wait(LOOK_S)
            finally:
                await self._finish(collector)

    async def _turn(self, collector: Collector) -> bool:
        call = self._process.io.call(collector.turn, time.time_ns() // 1000)
        while True:
            done, _ = await asyncio.wait((call,), timeout=HUNG_S)
            if done:
                return call.result()
            logger.error("store hangs url=%s", self._url.rpartition("@")[2])
            if store_at(self._url).gives_up:
                cast(GivesUp, collector.store).give_up()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            pass

    async def _finish(self, collector: Collector) -> None:
        """At a stop or a change of settings: one last turn, then let go."""
        try:
            await self._process.io.call(collector.turn, time.time_ns() // 1000)
            await self._process.io.call(collector.close)
        except IoThreadBusy:
            logger.warning("store not closed: its thread is busy")

    def beat(self) -> Report:
        collector = self._collector
        if collector is None:
            return Report()
        overdue = [f"store {collector.state}"] if collector.failing_s() > OVERDUE_S else []
        if collector.state == "refused":
            overdue = [f"store refused: {collector.error}"]
        if self._process.io.age_us() > HUNG_S * 1e6:
            overdue = ["store hung"]
        state = collector.store.state()
        extra = {
            "store": self._url.rpartition("@")[2],
            "store_state": "hung" if "store hung" in overdue else collector.state,
            "store_error": collector.error,
            "behind_bytes": collector.journals.behind_bytes,
            "stored_us": collector.stored_us,
            "store_bytes": state.bytes,
            "oldest_us": state.oldest_us,
            "gaps": collector.counters.gaps,
            "gap_samples": collector.counters.gap_samples,
            "damaged": list(state.damaged),
        }
        return Report("running", overdue, None, _metrics(collector), extra)

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        if verb in ("gateways", "adopt"):
            return await self._gateways(str(arguments.get("id", "")) if verb == "adopt" else "")
        if verb != "history":
            raise CommandError(f"{verb}: a historian knows history, gateways and adopt")
        gateway = self._worker.gateway if self._worker else ""
        return await self._questions.ask(self._url, gateway or None, arguments, mend=self._mend)

    async def _mend(self, error: DamagedError) -> None:
        """Have what a question met put aside by the store.

        Raises:
            StoreError: it is not to be had.
        """
        if self._collector is None or not store_at(self._url).mends:
            raise error
        await self._process.io.call(cast(Mends, self._collector.store).mend, error)

    async def _gateways(self, adopted: str) -> dict[str, Any]:
        """Join a gateway's history to this one's, if one is named; whose are in the store."""
        collector = self._collector
        if collector is None:
            raise CommandError("the store is not open yet; try again")
        store = collector.store
        try:
            if adopted:
                await self._process.io.call(store.adopt, adopted, time.time_ns() // 1000)
                logger.info("history adopted gateway=%s of=%s", collector.gateway, adopted)
            links = await self._process.io.call(store.adoptions)
            known = await self._process.io.call(store.gateways)
        except StoreError as error:
            raise CommandError(str(error)) from None
        except IoThreadBusy:
            raise CommandError("the store does not answer; try again") from None
        return {"gateways": known, "adopted": {of: by for by, of in links}}


def _pair(topic: str) -> tuple[str, str]:
    device, _, group = topic.partition("/")
    return device, group


def _metrics(collector: Collector) -> list[list[Any]]:
    counters, state = collector.counters, collector.store.state()
    metrics: list[list[Any]] = [
        [f"cpppod_historian_{name}_total", {}, getattr(counters, name)]
        for name in CollectorCounters.__slots__
    ]
    metrics.append(["cpppod_historian_journal_errors_total", {}, collector.journals.errors])
    metrics.append(["cpppod_sink_up", {}, int(collector.state == "storing")])
    metrics.append(["cpppod_historian_behind_bytes", {}, collector.journals.behind_bytes])
    metrics.append(["cpppod_store_dropped_total", {}, counters.gap_samples])
    if state.bytes >= 0:
        metrics.append(["cpppod_store_bytes", {}, state.bytes])
    if state.oldest_us >= 0:
        metrics.append(["cpppod_store_oldest_timestamp_seconds", {}, state.oldest_us / 1e6])
    return metrics
