"""The role of a worker that owns devices: its wires, its messages, its beats, its reloads.

    router ──► WriteRequest, RouteRequests ─► Wire ──► WriteReply, RouteReplies ► router
    control ─► pause, resume, device ───────► Wire
               Wire ──► Block ──► BlockPublisher ──► feed

`poller` and `serial` are this role; they differ in which devices they may have.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.bus.leases import owner_socket
from cpppod.protocols.bus.messages import (
    RouteLeases,
    RouteRefused,
    RouteRequests,
    WriteReply,
    WriteRequest,
)
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Worker
from cpppod.workers.bus.publishing import Publishing
from cpppod.workers.bus.requests import Replies
from cpppod.workers.devices.block_publisher import BlockPublisher
from cpppod.workers.devices.counters import TRANSACTIONS_KEPT
from cpppod.workers.devices.device import Block, PolledDevice
from cpppod.workers.devices.driver import Driver
from cpppod.workers.devices.jobs import WriteAnswer, clock
from cpppod.workers.devices.lock import OwnedConnection
from cpppod.workers.devices.plan import WirePlan, make_drivers, make_link, plan_wires
from cpppod.workers.devices.relays import refusals
from cpppod.workers.devices.wire import Wire
from cpppod.workers.journal.writer import Journal, JournalLimits
from cpppod.workers.process.worker import (
    CommandError,
    Process,
    Report,
    decode_or_count,
    groups_or_count,
)

FULL_UP_TO = 40  # devices: beyond it a beat (1 MB at most) has no histograms and ...
TRANSACTIONS_OF_MANY = 3  # ... so many transactions each; `cpppoctl device` asks for the rest
REPORT_S = 0.9  # state maps and metrics are made anew so often, not for every beat
ROUTER_QUEUE = 4_000

log = logging.getLogger("cpppod")


@dataclass(slots=True)
class RunningWire:
    """A wire that runs, and all that belongs to it."""

    plan: WirePlan
    link: Any
    connection: OwnedConnection
    wire: Wire
    task: asyncio.Task[None]


@dataclass(slots=True)
class Prepared:
    """Settings that were checked: drivers and links exist, nothing runs yet."""

    worker: Worker
    plans: dict[str, WirePlan]
    links: dict[str, Any] = field(default_factory=dict)
    drivers: dict[str, dict[str, Driver]] = field(default_factory=dict)


class DeviceHost:
    """Owns the devices of one worker; a `Role`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._running: dict[str, RunningWire] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._wire_of: dict[str, Wire] = {}
        self._prepared: Prepared | None = None
        self._outlet: BlockPublisher | None = None
        self._publisher: Publisher | None = None
        self._journal: Journal | None = None
        self._historised: set[tuple[str, str]] = set()
        self._report: tuple[float, Report] | None = None
        self._router = process.bus.dealer("router", self._on_router, queue=ROUTER_QUEUE)
        self._replies = Replies(self._router.send)
        self._leases: set[int] = set()
        self._leased = process.bus.router(owner_socket(process.worker.name), self._on_leased)
        self._leased_replies: dict[bytes, Replies] = {}

    # Settings

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings; makes the links and drivers that they need."""
        plans, problems = plan_wires(worker)
        prepared = Prepared(worker, plans)
        for key, plan in plans.items():
            running = self._kept(plan)
            try:
                link = running.link if running else self._make_link(plan)
            except ValueError as error:
                problems.append(f"{key}: {error}")
                continue
            fresh = set(plan.devices)
            if running is not None:
                same = running.plan.devices
                fresh = {name for name in fresh if same.get(name) != plan.devices[name]}
            drivers, more = make_drivers(plan, link, fresh)
            problems += more
            prepared.links[key], prepared.drivers[key] = link, drivers
        self._prepared = None if problems else prepared
        return problems

    def commit(self) -> None:
        """Go over to what was prepared; before `run` it waits for `run`."""
        if self._outlet is not None:
            self._apply()

    def abort(self) -> None:
        """Forget what was prepared."""
        self._prepared = None

    def _make_link(self, plan: WirePlan) -> Any:
        return make_link(plan, self._process.io.call) if plan.shared else None

    def _kept(self, plan: WirePlan) -> RunningWire | None:
        """The running wire that this plan goes on with."""
        running = self._running.get(plan.key)
        return running if running is not None and running.plan.identity == plan.identity else None

    def _apply(self) -> None:
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        journalled = set(prepared.worker.options.get("journalled", ()))
        self._historised = {
            (device.name, group.name)
            for device in prepared.worker.devices
            for group in device.groups
            if group.history or f"{device.name}/{group.name}" in journalled
        }
        keep = {key: self._kept(plan) for key, plan in prepared.plans.items()}
        for key, running in list(self._running.items()):
            if keep.get(key) is None:
                self._stopping[key] = self._process.spawn(self._stop(self._running.pop(key)))
                self._forget(running.plan, set(running.plan.devices))
        for key, plan in prepared.plans.items():
            running = keep[key] or self._start(plan, prepared)
            self._change(running, plan, prepared.drivers[key])
        self._wire_of = {
            name: running.wire
            for running in self._running.values()
            for name in running.plan.devices
        }
        self._report = None

    def _start(self, plan: WirePlan, prepared: Prepared) -> RunningWire:
        link = prepared.links[plan.key]
        drivers = prepared.drivers[plan.key]
        first = next(iter(drivers.values()))
        connection = first if link is None else link
        owned = OwnedConnection(connection, prepared.worker.runtime_dir, plan.key)
        wire = Wire(
            plan.line.name if plan.line else plan.key.split(" ", 1)[1],
            owned,
            publish=self._publish,
            address=plan.address,
            concurrency=first.concurrency if link is None else 1,
        )
        empty = WirePlan(plan.key, plan.identity, plan.address, plan.line)
        task = self._process.spawn(self._run_wire(wire, self._stopping.pop(plan.key, None)))
        running = self._running[plan.key] = RunningWire(empty, link, owned, wire, task)
        return running

    def _change(self, running: RunningWire, plan: WirePlan, drivers: dict[str, Driver]) -> None:
        """Take devices of a running wire out and put others in; the rest does not notice."""
        before = running.plan.devices
        gone = {name for name, device in before.items() if plan.devices.get(name) != device}
        for name in gone:
            running.wire.remove(name)
        self._forget(running.plan, gone)
        running.plan = plan
        now = clock()
        for name, driver in drivers.items():
            device = plan.devices[name]
            alone = len(plan.devices) == 1
            running.wire.add(PolledDevice(device, driver, alone=alone, now=now))

    def _forget(self, plan: WirePlan, names: set[str]) -> None:
        """What these devices last published is not repeated to a new feed."""
        assert self._publisher is not None
        for name in names:
            for group in plan.devices[name].groups:
                self._publisher.forget(name, group.name)

    async def _run_wire(self, wire: Wire, before: asyncio.Task[None] | None) -> None:
        """Run a wire once the one that had its line or address `before` has let go of it."""
        if before is not None:
            await asyncio.wait((before,))
        await wire.run()

    async def _stop(self, running: RunningWire) -> None:
        running.task.cancel()
        await asyncio.wait((running.task,))
        await running.wire.close()
        running.connection.release()

    # Work

    async def run(self) -> None:
        """Own the devices until cancelled."""
        process = self._process
        worker = process.worker
        epoch = await process.new_epoch()
        self._publisher = Publisher(worker.name, epoch, worker.gateway)
        publishing = Publishing(process, self._publisher)
        folder = Path(worker.state_dir) / "journal" / worker.name
        limits = JournalLimits.from_options(
            {key.removeprefix("journal_"): value for key, value in worker.options.items()}
        )
        self._journal = Journal(folder, epoch, process.io, limits=limits, gateway=worker.gateway)
        self._outlet = BlockPublisher(
            self._publisher,
            publishing.send,
            journal=self._journal,
            historised=lambda device, group: (device, group) in self._historised,
        )
        self._apply()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stops = [self._stop(running) for running in self._running.values()]
            await asyncio.gather(*stops)
            await self._outlet.flush()
            await self._journal.close(sequence=self._publisher.sequence)

    def _publish(self, block: Block) -> tuple[bytes, bytes]:
        assert self._outlet is not None
        return self._outlet.publish(block)

    def _on_router(self, frames: list[bytes]) -> None:
        counters = self._router.counters
        message = decode_or_count(frames, counters)
        if isinstance(message, WriteRequest):
            self._write(message)
        elif isinstance(message, RouteRequests):
            for group in groups_or_count(message.groups, RouteGroup.decode, counters):
                self._route(group, self._replies)
        elif isinstance(message, RouteLeases):
            self._leases = {each for each in message.leases if type(each) is int}

    def _on_leased(self, frames: list[bytes]) -> None:
        """Groups of who holds a lease; those of a lease that does not hold are refused."""
        asker, counters = frames[0], self._leased.counters
        message = decode_or_count(frames, counters)
        if not isinstance(message, RouteRequests):
            return
        replies = self._leased_replies.get(asker)
        if replies is None:
            replies = self._leased_replies[asker] = Replies(partial(self._leased.send, asker))
        refused = []
        for group in groups_or_count(message.groups, RouteGroup.decode, counters):
            if group.lease in self._leases:
                self._route(group, replies)
            else:
                refused.append(group.id)
        if refused:
            self._leased.send(asker, RouteRefused(refused).encode())

    def _write(self, request: WriteRequest) -> None:
        def answer(result: WriteAnswer) -> None:
            status, extended = cip_status(result.failure, result.codes)
            reply = WriteReply(
                request.id,
                status,
                extended,
                result.error,
                result.unknown,
                result.topic,
                result.payload,
            )
            self._router.send(reply.encode())

        self._note("write", request.device, request.source)
        wire = self._wire_of.get(request.device)
        if wire is None:
            text = f"no device {request.device!r:.60} here"
            answer(WriteAnswer(Failure.NOT_CONNECTED, text))
            return
        wire.write(request.device, request.writes, request.deadline_us / 1e6, answer)

    def _route(self, group: RouteGroup, replies: Replies) -> None:
        self._note("forward", group.target, group.source)
        answer = partial(replies.post, group.id)
        wire = self._wire_of.get(group.target)
        if wire is None:
            answer(0, refusals(group, group.messages(), Failure.NOT_CONNECTED), 0)
        else:
            wire.forward(group.target, group, answer)

    def _note(self, what: str, device: str, source: str) -> None:
        """Who asked last: for people who look for the reason."""
        wire = self._wire_of.get(device)
        if wire is not None:
            wire.devices[device].counters.asked[what] = [source, time.time_ns() // 1000]

    # What is said of it

    def beat(self) -> Report:
        """State, devices and metrics, made anew about once a second."""
        now = clock()
        if self._report is not None and now.mono_s - self._report[0] < REPORT_S:
            return self._report[1]
        full = sum(len(running.wire.devices) for running in self._running.values()) <= FULL_UP_TO
        transactions = TRANSACTIONS_KEPT if full else TRANSACTIONS_OF_MANY
        devices: dict[str, Any] = {}
        metrics: list[Any] = []
        overdue: list[str] = []
        for running in self._running.values():
            wire = running.wire
            connection = wire.connection_map()
            metrics += wire.metrics()
            for name, device in wire.devices.items():
                devices[name] = device.state_map(now, connection, transactions=transactions)
                metrics += device.metrics(up=wire.is_up(device), now=now, histograms=full)
                overdue += device.overdue(now)
        if self._journal is not None:
            overdue += self._journal.overdue()
            metrics += self._journal.metrics()
        if self._outlet is not None:
            metrics.append(["cpppod_blocks_unjournalled_total", {}, self._outlet.unjournalled])
        if self._outlet is None:
            return Report("preparing", overdue, devices, metrics)
        report = Report("running", overdue, devices, metrics)
        self._report = (now.mono_s, report)
        return report

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """`pause`, `resume`, `probe`, `device` with the name of a device.

        Raises:
            CommandError: another verb, or a device that is not here.
        """
        if verb not in ("pause", "resume", "probe", "device"):
            raise CommandError(f"{verb}: this worker knows pause, resume, probe and device")
        name = str(arguments.get("name") or arguments.get("device") or "")
        wire = self._wire_of.get(name)
        if wire is None:
            raise CommandError(f"{verb}: no device {name!r} here; try `cpppoctl devices`")
        self._report = None
        if verb == "pause":
            wire.pause(name)
            log.info("device paused device=%s", name)
        elif verb == "probe":
            wire.hurry(name)
        elif verb == "resume":
            wire.resume(name)
            log.info("device resumed device=%s", name)
        device = wire.devices[name]
        return {**device.state_map(clock(), wire.connection_map()), "wire": device.wire_map()}
