"""The control process: beats in, watchdog, control socket, Prometheus page, reload.

    workers ──Beat, CommandReply──> `control` ROUTER ──Command──> workers
    feed ──values──> cache           router <──WriteRequest── write
    outlets ──WriteOrder──> `control` ROUTER ──WriteOutcomes──> outlets
    cpppoctl <──JSON──> control.sock               Prometheus ──GET──> metrics page
    supervisord <──XML-RPC── wake, restart, notify

Everything that is only read is answered from memory. Nothing in here is needed for the data path:
while control is away, polling, serving and recording go on.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.feed_events import Event, Updated
from cpppod.protocols.bus.messages import (
    Beat,
    CommandReply,
    WriteOrder,
    WriteReply,
    WriteRequest,
    decode_but_metrics,
)
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.model.addresses import AddressError, SocketAddress, socket_address
from cpppod.protocols.model.errors import DecodeError, EncodeError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Worker
from cpppod.workers.audit.recorder import Recorder
from cpppod.workers.bus.requests import RequestFailed, Requests
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.bus.zeromq import libzmq_version
from cpppod.workers.control.access import GROUPS, NameService
from cpppod.workers.control.actions import Actions
from cpppod.workers.control.audit_heads import AuditHeads
from cpppod.workers.control.gateway import Gateway
from cpppod.workers.control.queries import Queries
from cpppod.workers.control.socket import ControlSocket
from cpppod.workers.control.supervisor import Supervisor
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.control.watchdog import Watchdog
from cpppod.workers.control.worker_commands import WorkerCommands
from cpppod.workers.control.writes import Writes
from cpppod.workers.metrics.page import page
from cpppod.workers.metrics.server import MetricsServer
from cpppod.workers.process.io_thread import IoThreadBusy
from cpppod.workers.process.worker import CommandError, Process, Report, decode_or_count
from cpppod.workers.state import put_aside_below
from cpppod.workers.values import ValueCache

SOCKET_NAME = "control.sock"
WRITE_S = 12.0  # a write waits behind a poll of a slow line, then for its own answer
LOOK_S = 5.0  # between looks for what was put aside in the state directory
RETRY_S = 2.0  # between two tries to bind the metrics' port

log = logging.getLogger("cpppod")


class Control:
    """The role; everything that it knows is in `gateway`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._next = process.worker
        bus = process.bus
        self._socket = bus.router("control", self._on_worker)
        self._router = bus.dealer("router", self._on_router)
        self._requests = Requests(self._router)
        table, values = WorkerTable(), ValueCache()
        self.gateway = Gateway(
            settings=process.worker,
            table=table,
            values=values,
            orders=WorkerCommands(lambda worker, frame: self._socket.send(worker, frame)),
            supervisor=Supervisor(str(process.worker.options.get("supervisor", ""))),
            write_tags=self._write_tags,
            version=_version(),
            libzmq=libzmq_version(),
            started_at=time.monotonic(),
        )
        self._watchdog = Watchdog(self.gateway, self.gateway.orders.worker_left)
        self._subscription = FeedSubscription(bus, self._on_feed)
        self._audit = Recorder(
            process.io,
            process.worker.state_dir,
            process.worker.name,
            process.worker.options.get("audit"),
        )
        self._writes = Writes(self.gateway, self._audit)
        self._heads: AuditHeads | None = None
        self._name_service = NameService(process.io.call, self._groups)
        self._metrics: MetricsServer | None = None
        self._metrics_address = ""
        self._metrics_trouble = ""

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings."""
        self._next = worker
        address = str(worker.options.get("metrics", ""))
        try:
            if address:
                socket_address(address, host="", any_port=True)
        except AddressError as error:
            return [f"metrics address {error}"]
        return []

    def commit(self) -> None:
        """Go over to the settings last prepared."""
        gateway, settings = self.gateway, self._next
        gateway.values.configure(settings)
        settings = self._next = self._process.worker = without_tags(settings)
        gateway.settings = settings
        gateway.table.expect(gateway.roles, time.monotonic())
        gateway.rates.keep({device.name for device in settings.devices})

    def abort(self) -> None:
        """Keep the settings in force."""
        self._next = self.gateway.settings

    async def run(self) -> None:
        """Serve until cancelled."""
        settings, gateway = self.gateway.settings, self.gateway
        verbs = (
            Queries(gateway).verbs() | Actions(gateway, self._writes, self._process.spawn).verbs()
        )
        path = Path(settings.runtime_dir) / SOCKET_NAME
        control_socket = ControlSocket(str(path), verbs, self._name_service.look_up)
        gateway.socket_counts = control_socket.counts
        await control_socket.start()
        self._heads = AuditHeads(self._process, await self._process.new_epoch())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watchdog.run())
                tasks.create_task(self._serve_metrics())
                tasks.create_task(self._look_at_state())
        finally:
            self._watchdog.close()
            self._subscription.close()
            if self._metrics is not None:
                self._metrics.stop()
            await control_socket.stop()
            await self._audit.close()

    def _groups(self) -> dict[str, str]:
        """Role -> Unix group."""
        return {**GROUPS, **self.gateway.settings.options.get("groups", {})}

    def beat(self) -> Report:
        """What control has to say of itself; its own series are made with the page."""
        overdue = []
        wanted = str(self.gateway.settings.options.get("metrics", ""))
        if wanted and self._metrics_address != wanted:
            overdue.append(f"metrics page at {wanted}")
        overdue += self._audit.overdue()
        metrics: list[Any] = [
            ["cpppod_feed_gap_messages_total", {}, self._subscription.joiner.counters.lost],
            ["cpppod_control_unknown_beats_total", {}, self.gateway.table.unknown_beats],
            *self._audit.metrics(),
        ]
        told = self._audit.told()
        if self._heads is not None:
            self._heads.tell(self.gateway.table, (self.gateway.settings.name, told))
        extra: dict[str, Any] = {"audit": told}
        if self._metrics:
            extra["metrics"] = list(self._metrics.address)
        if self._metrics_trouble:
            extra["not_ready"] = f"metrics page not bound: {self._metrics_trouble}"
        return Report(overdue=overdue, metrics=metrics, extra=extra)

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """Control has no commands of its own: it is the one who gives them.

        Raises:
            CommandError: always.
        """
        raise CommandError(f"{verb}: not a command of control")

    def _on_worker(self, frames: list[bytes]) -> None:
        """A beat or a reply, from the worker that the identity names."""
        identity = frames[0].decode(errors="replace")
        try:
            message = decode_but_metrics(frames[-1])
        except DecodeError:
            self._socket.counters.malformed += 1
            return
        if isinstance(message, Beat):
            self._on_beat(identity, message, frames[-1])
        elif isinstance(message, CommandReply):
            self.gateway.orders.receive(identity, message)
        elif isinstance(message, WriteOrder):
            self._process.spawn(self._obey(frames[0], message))

    async def _obey(self, outlet: bytes, order: WriteOrder) -> None:
        """An outlet's order to write: done in the place of its user, and answered."""
        outcomes = await self._writes.obey(order)
        self._socket.send(outlet, outcomes.encode())

    def _on_beat(self, identity: str, beat: Beat, frame: bytes) -> None:
        now, gateway = time.monotonic(), self.gateway
        pid = gateway.table.receive_beat(identity, beat, now, frame=frame)
        if pid:
            self._watchdog.follow(beat.worker, pid)
        for device, told in beat.devices.items():
            groups = told.get("groups", {}).values()
            answered = sum(group.get("cycles_answered", 0) for group in groups)
            gateway.rates.count(device, answered, now)

    def _on_feed(self, event: Event) -> None:
        if isinstance(event, Updated):
            self.gateway.read_backs.apply(event.topic, event.message)

    def _on_router(self, frames: list[bytes]) -> None:
        message = decode_or_count(frames, self._router.counters)
        if isinstance(message, WriteReply):
            self._requests.reply(message)

    async def _write_tags(self, device: str, source: str, writes: list[Any]) -> WriteReply:
        """The owner's reply to a write; a failure where the owner does not answer."""
        request = WriteRequest(0, device, source, 0, writes)
        try:
            reply = await self._requests.ask(request, WRITE_S)
        except RequestFailed as error:
            failure = Failure.TIMEOUT if error.sent else Failure.UNDELIVERED
            return WriteReply(0, *cip_status(failure), str(error), unknown=error.sent)
        except EncodeError as error:
            return WriteReply(0, *cip_status(Failure.BAD_VALUE), str(error))
        assert isinstance(reply, WriteReply)
        return reply

    async def _look_at_state(self) -> None:
        """Know what is damaged and was put aside, until somebody deletes it."""
        while True:
            root = Path(self.gateway.settings.state_dir)
            with contextlib.suppress(IoThreadBusy):
                self.gateway.put_aside = await self._process.io.call(put_aside_below, root)
            await asyncio.sleep(LOOK_S)

    async def _serve_metrics(self) -> None:
        """Keep the page at the address configured: over reloads, and while its port is taken."""
        while True:
            wanted = str(self.gateway.settings.options.get("metrics", ""))
            if wanted != self._metrics_address:
                await self._move_metrics(wanted)
            await asyncio.sleep(RETRY_S)

    async def _move_metrics(self, wanted: str) -> None:
        if self._metrics is not None:
            self._metrics.stop()
            self._metrics, self._metrics_address = None, ""
        if not wanted:
            self._metrics_trouble = ""
            return
        host, port = socket_address(wanted, host="", any_port=True)
        server = MetricsServer(lambda: page(self.gateway.table, self.gateway, time.monotonic()))
        try:
            await server.start(host, port)
        except OSError as error:
            trouble = f"address={wanted} why={error.strerror}"
            if trouble != self._metrics_trouble:
                log.error("metrics page not bound, retried %s", trouble)
            self._metrics_trouble = trouble
            return
        self._metrics, self._metrics_address, self._metrics_trouble = server, wanted, ""
        log.info("metrics page address=%s", SocketAddress(*server.address))


def without_tags(settings: Worker) -> Worker:
    """The settings less every device's tags: 10,000 of them take megabytes, and what control needs
    of them is in its `ValueCache`. A reload reads the old ones from their file."""
    return replace(
        settings,
        devices=tuple(
            replace(device, groups=tuple(replace(group, tags=()) for group in device.groups))
            for device in settings.devices
        ),
    )


def _version() -> str:
    """The installed version of cpppod, read without importing the package above this one."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cpppod")
    except PackageNotFoundError:
        return "unknown"
