"""An MQTT outlet: the journals to a broker, as long as there is one; nothing is lost while not.

    journals ─► JournalSource (I/O thread) ─► JSON or Sparkplug ─► broker
                      ▲                                              │
                      └── the position moves when it acknowledged ◄──┘

Without a broker it tries the section's addresses in turn, 60 s apart at last; the journals keep
what comes meanwhile. A connection that ends soon is no success: a twin with the same client id is
said, not fought.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import aiomqtt

from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.mqtt.commands import Commands
from cpppod.workers.mqtt.connection import Settings, connect, read_settings, reason
from cpppod.workers.mqtt.edge_session import EdgeSession
from cpppod.workers.mqtt.plain_session import PlainSession
from cpppod.workers.process.io_thread import IoThreadBusy
from cpppod.workers.process.worker import CommandError, Process, Report

logger = logging.getLogger("cpppod.mqtt")

PAUSE_S, PAUSE_MAX_S = 0.5, 60.0  # before the next try to connect
LASTING_S = 10.0  # a connection that held so long was one
OVERDUE_S = 5.0  # without a broker


class MqttOutlet:
    """The role; see the module."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._prepared: Worker | None = None
        self._worker = process.worker
        self._changed = asyncio.Event()
        self._source: JournalSource | None = None
        self._session: PlainSession | EdgeSession | None = None
        self._place = ""
        self._connected_us = 0
        self._down_since = time.monotonic()
        self._error = ""
        self._commands = Commands(process)

    def prepare(self, worker: Worker) -> list[str]:
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            if (name := worker.options[key]) and not Path(name).is_file():
                return [f"{worker.name}: {key}: {name}: no such file"]
        self._prepared = worker
        return []

    def commit(self) -> None:
        assert self._prepared is not None  # the frame prepares before it commits
        self._worker, self._prepared = self._prepared, None
        self._changed.set()

    def abort(self) -> None:
        self._prepared = None

    async def run(self) -> None:
        """Deliver until cancelled; with new settings, begin anew where it was."""
        while True:
            self._changed.clear()
            worker = self._worker
            groups = frozenset(
                (device, group)
                for device, _, group in (each.partition("/") for each in worker.options["groups"])
            )
            source = self._source = JournalSource(worker, self._process.state, groups)
            work = asyncio.ensure_future(self._deliver(worker, source))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait((work, changed), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
            finally:
                changed.cancel()
                work.cancel()
                await asyncio.wait((work,))
                await self._close(source)

    async def _close(self, source: JournalSource) -> None:
        try:
            await self._process.io.call(source.close)
        except IoThreadBusy:
            logger.warning("positions not kept: the disk does not answer")

    async def _deliver(self, worker: Worker, source: JournalSource) -> None:
        addresses = [worker.options["address"], *worker.options["standby"]]
        pause, tried = PAUSE_S, 0
        make = EdgeSession if worker.options["format"] == "sparkplug" else PlainSession
        while True:
            session = self._session = make(self._process, worker, source, self._commands)
            self._place = addresses[tried % len(addresses)]
            began = time.monotonic()
            try:
                settings = await self._process.io.call(read_settings, worker.options)
                await session.prepare()
                await self._connected(worker, settings, session)
                self._error = "the session was ended"
            except (aiomqtt.MqttError, OSError) as error:
                self._error = reason(error)
            finally:
                session.close()
            lasted = self._connected_us and time.monotonic() - began >= LASTING_S
            if self._connected_us:
                self._down_since = time.monotonic()
            self._connected_us = 0
            pause = PAUSE_S if lasted else min(pause * 2, PAUSE_MAX_S)
            tried += 1
            logger.warning("no broker address=%s reason=%s", self._place, self._error)
            await self._process.io.call(source.back)
            if len(addresses) == 1 or not tried % len(addresses):
                await asyncio.sleep(pause)

    async def _connected(
        self, worker: Worker, settings: Settings, session: PlainSession | EdgeSession
    ) -> None:
        options = worker.options
        client_id = options["client_id"] or f"{worker.gateway}-{worker.name}"
        async with connect(options, settings, self._place, client_id, session.will()) as client:
            logger.info("connected address=%s client_id=%s", self._place, client_id)
            self._commands.by(self._place, client_id, allowed=options["commands"])
            self._connected_us, self._error = time.time_ns() // 1000, ""
            try:
                await session.run(client)
            finally:
                await session.end(client)

    def beat(self) -> Report:
        source, session = self._source, self._session
        if source is None or session is None:
            return Report("preparing")
        now = time.monotonic()
        overdue = []
        if not self._connected_us and now - self._down_since > OVERDUE_S:
            overdue = [f"broker {self._place}: {self._error}"]
        behind_s = 0.0
        if source.behind_bytes and source.delivered_us:
            behind_s = max(time.time() - source.delivered_us / 1e6, 0.0)
        counts = session.counters
        metrics = [
            ["cpppod_outlet_up", {}, int(bool(self._connected_us))],
            ["cpppod_outlet_behind_bytes", {}, source.behind_bytes],
            ["cpppod_outlet_sent_total", {}, counts.sent],
            ["cpppod_outlet_refused_total", {}, counts.refused],
            ["cpppod_outlet_lost_total", {}, source.lost_samples],
        ]
        outlet = {
            "place": self._place,
            "state": session.state if self._connected_us else "not connected",
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

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        raise CommandError(f"{verb}: not a command of an MQTT outlet")
