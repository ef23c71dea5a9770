"""The listener: serves one EtherNet/IP address from its image; what must leave goes to the router.

    feed ── blocks ──► image ◄── reads ── clients ── writes, routes ──► router ──► owners
    image ── written local tags ──► feed      a write's own block is applied before its answer

    python -m cpppod.workers.listener SETTINGS.json

It takes the snapshot before it serves; without a feed it serves after `JOIN_S` all the same, with
every device's tag "not yet known". Ids that clients remember, and values of tags to be retained,
lie in the state directory.
"""

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

from cpppod.protocols.bus.feed import Block, Kind, ValueMessage
from cpppod.protocols.bus.feed_events import Event, Joined, Updated
from cpppod.protocols.bus.groups import MAX_CREDIT, ReplyGroup, RouteGroup
from cpppod.protocols.bus.leases import Lease, owner_socket
from cpppod.protocols.bus.messages import (
    RouteLeases,
    RouteRefused,
    RouteReplies,
    RouteRequests,
    WriteReply,
    WriteRequest,
)
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.bus.topics import LOCAL, split
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.cip.request import Command, RecordNeeded, WriteNeeded, WriteResult
from cpppod.protocols.cip.symbols import Allotment
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.addresses import SocketAddress, listen_address
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.freshness import BlockOrder
from cpppod.protocols.model.plant import Listener, Worker
from cpppod.workers.bus.publishing import Publishing
from cpppod.workers.bus.requests import Replies, Requests, send_groups
from cpppod.workers.bus.subscription import FeedSubscription, ReadBacks
from cpppod.workers.bus.zeromq import Socket
from cpppod.workers.listener.client_audit import ClientAudit
from cpppod.workers.listener.leases import Leases
from cpppod.workers.listener.locals import LocalTags, plain
from cpppod.workers.listener.routed import RoutedDevices
from cpppod.workers.listener.state import ListenerState
from cpppod.workers.listener.target import (
    add_device,
    add_local,
    declare_structures,
    make_target,
    problems_of,
    write_check,
)
from cpppod.workers.process.worker import (
    CommandError,
    Process,
    Report,
    decode_or_count,
    groups_or_count,
)
from cpppod.workers.transport.enip_discovery import Discovery
from cpppod.workers.transport.enip_endpoint import Done, Endpoint, Limits, random_u32
from cpppod.workers.transport.sockets import words

log = logging.getLogger("cpppod")

JOIN_S = 2.0  # for the snapshot, before clients are served without one
RETRY_S = 1.0  # between tries to bind an address that somebody else holds
COUNT_S = 1.0  # how often the router hears what went along leases
WRITE_S = 5.0  # for a device to take a write; clients give up after as long
_LIMIT_KEYS = {"max_clients": "connections", "max_clients_per_address": "per_address"}


class ListenerRole:
    """One listener; a `Role`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._settings: Worker | None = None
        self._prepared: Worker | None = None
        self._state = ListenerState(process.state, process.worker.name)
        self._allotment = Allotment()
        self._target: Target | None = None
        self._endpoint: Endpoint | None = None
        self._discovery: Discovery | None = None
        self._router = process.bus.dealer("router", self._on_router)
        self._requests = Requests(self._router)
        self._replies = Replies(self._router.send)
        self._owners: dict[str, Socket] = {}
        self._leases = Leases(
            partial(send_groups, self._router), self._to_owner, self._router.send, process.now_us
        )
        self._read_backs = ReadBacks(self._order_of, self._apply)
        self._routed: RoutedDevices | None = None
        self._joined = asyncio.Event()
        self._problem = ""
        self._locals: LocalTags | None = None
        self._audit = ClientAudit(process)

    # Settings

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings."""
        if len(worker.listeners) != 1:
            return [f"{worker.name}: {len(worker.listeners)} listeners, expected one"]
        problems = problems_of(worker.listeners[0], worker.devices, self._allotment)
        self._prepared = None if problems else worker
        return problems

    def commit(self) -> None:
        """Go over to the settings last prepared."""
        before, self._settings, self._prepared = self._settings, self._prepared, None
        if self._endpoint is not None and before is not None and self._settings is not None:
            self._change(before, self._settings)

    def abort(self) -> None:
        """Forget the settings last prepared."""
        self._prepared = None

    @property
    def _listener(self) -> Listener:
        assert self._settings is not None
        return self._settings.listeners[0]

    def _change(self, before: Worker, after: Worker) -> None:
        """Change tags in place; anything else takes a new target and new connections."""
        old, new = before.listeners[0], after.listeners[0]
        if _lasting(old) != _lasting(new):
            self._process.spawn(self._begin_anew())
            return
        assert self._target is not None and self._endpoint is not None
        assert self._locals is not None
        self._endpoint.may_write = write_check(new.write_sources)
        self._endpoint.limits = limits_of(new)
        known = declare_structures(self._target, new.structures)
        kept = {tag.name: tag for tag in old.tags}
        for tag in old.tags:
            if tag not in new.tags:
                self._target.remove_tag(tag.name)
        for tag in new.tags:
            if kept.get(tag.name) != tag:
                self._locals.keep(tag.name, add_local(self._target, tag, known))
        self._change_devices(before, after)
        if self._routed is not None:
            self._routed.forget()
        self._save_ids()
        self._locals.publish_all()

    def _change_devices(self, before: Worker, after: Worker) -> None:
        assert self._target is not None
        image = self._target.image
        old = {device.name: device for device in before.devices}
        new = {device.name: device for device in after.devices}
        for name in old.keys() - new.keys():
            self._target.remove_tag(name)
            image.forget_device(name)
        for name, device in new.items():
            if old.get(name) == device:
                continue
            former, groups = image.devices.get(name), image.groups_of(name)
            if former is not None:
                self._target.remove_tag(name)
                image.forget_device(name)
            variable = add_device(self._target, device)
            if variable is not None and former is not None:
                image.carry_over(former, variable, groups)

    # Work

    async def run(self) -> None:
        """Serve until cancelled."""
        process = self._process
        self._allotment = await process.io.call(self._state.load_ids)
        publisher = Publisher(
            process.worker.name, await process.new_epoch(), process.worker.gateway
        )
        publishing = Publishing(process, publisher)
        self._locals = LocalTags(process, self._state, publishing, self._listener.name)
        self._discovery = Discovery()
        self._make_target()
        for name, value in (await process.io.call(self._state.load_values)).items():
            self._locals.restore(name, value)
        subscription = FeedSubscription(process.bus, self._on_feed)
        try:
            try:
                await asyncio.wait_for(self._joined.wait(), JOIN_S)
            except TimeoutError:
                log.warning("serving without a snapshot name=%s", self._listener.name)
            self._locals.publish_all()
            await self._bind()
            await self._count_leased()
        finally:
            subscription.close()
            await self._close()
            await self._audit.recorder.close()

    def _make_target(self) -> None:
        assert self._settings is not None
        self._target = make_target(
            self._listener,
            self._settings.devices,
            self._allotment,
            random_u32=random_u32,
            clock_us=lambda: time.time_ns() // 1000,
        )
        assert self._locals is not None
        self._target.audit = self._audit.record
        self._target.may_record = self._audit.may_record
        self._locals.attach(self._target)
        self._routed = RoutedDevices(self._target, self._perform_routed, self._process.now_us)
        self._save_ids()

    async def _bind(self) -> None:
        assert self._target is not None and self._discovery is not None
        host, port = listen_address(self._listener.address, any_port=True)
        endpoint = Endpoint(
            self._target,
            self._perform,
            send_groups=self._send_groups,
            limits=limits_of(self._listener),
            may_write=write_check(self._listener.write_sources),
        )
        endpoint.departures.audit = self._audit.record
        self._leases.departures = endpoint.departures
        while True:
            try:
                bound = await endpoint.start(host, port)
                break
            except OSError as error:
                if words(error) != self._problem:
                    self._problem = words(error)
                    holder = await self._process.io.call(holder_of, port)
                    text = "cannot listen address=%s why=%s %s"
                    log.error(text, SocketAddress(host, port), self._problem, holder)
                await asyncio.sleep(RETRY_S)
        self._problem = ""
        self._endpoint = endpoint
        where = SocketAddress(*bound)
        log.info("listening address=%s name=%s", where, self._listener.name)
        if self._listener.udp:
            try:
                await self._discovery.add(self._target, *bound)
            except OSError as error:
                log.warning("no discovery address=%s why=%s", where, words(error))

    async def _begin_anew(self) -> None:
        await self._close()
        former = self._target
        self._make_target()
        assert self._locals is not None
        if former is not None and self._target is not None:
            image = self._target.image
            for name, variable in former.image.devices.items():
                if name in image.devices:
                    groups = former.image.groups_of(name)
                    image.carry_over(variable, image.devices[name], groups)
            for variable in former.image.variables.values():
                if not variable.device:
                    self._locals.restore(variable.name, plain(variable))
        self._locals.publish_all()
        await self._bind()

    async def _close(self) -> None:
        if self._discovery is not None:
            self._discovery.close()
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.stop()

    def _save_ids(self) -> None:
        if self._allotment.changed:
            self._allotment.changed = False
            self._process.io.call(self._state.save_ids, self._allotment.plain)

    # The feed

    def _on_feed(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._read_backs.apply(event.topic, event.message)
        elif isinstance(event, Joined):
            self._joined.set()

    def _apply(self, topic: bytes, message: ValueMessage) -> None:
        if self._target is None or message.kind not in (Kind.BLOCK, Kind.REPEAT):
            return
        try:
            device, group = split(topic)
        except DecodeError:
            return
        block = message.body
        assert isinstance(block, Block)
        if device == LOCAL:
            ours = group == self._listener.name and not self._joined.is_set()
            if ours and self._locals is not None:
                for name, value, _quality in block.samples():
                    self._locals.restore(name, value)
            return
        self._target.image.apply_block(
            device,
            group,
            publisher=message.publisher,
            epoch=message.epoch,
            sequence=message.sequence,
            repeat=message.kind == Kind.REPEAT,
            read_at=message.mono_us / 1e6,
            tags=block.tags,
            values=block.values,
            qualities=block.qualities,
            now=asyncio.get_running_loop().time(),
        )

    def _order_of(self, topic: bytes) -> BlockOrder | None:
        """Which block of a device's group the image has."""
        try:
            key = split(topic)
        except DecodeError:
            return None
        return None if self._target is None else self._target.image.groups.get(key)

    # What must leave

    def _perform(self, command: Command, done: Done) -> None:
        if isinstance(command, WriteNeeded):
            self._write(command, done)
        elif isinstance(command, RecordNeeded):
            self._audit.record(command.tried, partial(done, None))

    def _send_groups(self, groups: list[RouteGroup]) -> list[RouteGroup]:
        return self._leases.send(groups)

    def _to_owner(self, owner: str, groups: list[RouteGroup]) -> list[RouteGroup]:
        socket = self._owners.get(owner)
        if socket is None:
            socket = self._process.bus.dealer(owner_socket(owner), self._on_owner)
            self._owners[owner] = socket
        return send_groups(socket, groups)

    def _on_owner(self, frames: list[bytes]) -> None:
        """What the owner of a device says to whoever has a lease."""
        message = decode_or_count(frames, self._router.counters)
        endpoint = self._endpoint
        if isinstance(message, RouteReplies):
            self._replied(message)
        elif isinstance(message, RouteRefused) and endpoint is not None:
            now_s = asyncio.get_running_loop().time()
            for group in self._leases.refused(message.groups):
                endpoint.departures.unsent(group, now_s)
            endpoint.advance()

    def _replied(self, message: RouteReplies) -> None:
        endpoint = self._endpoint
        if endpoint is not None:
            counters = self._router.counters
            groups = groups_or_count(message.groups, ReplyGroup.decode, counters)
            endpoint.replied(self._leases.replied(groups))
            self._leases.go_on()
            endpoint.advance()

    async def _count_leased(self) -> None:
        """Tell the router once a second what went along leases."""
        while True:
            await asyncio.sleep(COUNT_S)
            if self._endpoint is not None:
                self._leases.go_on()
                self._leases.count()
                self._endpoint.advance()

    def _serve_routed(self, group: RouteGroup) -> None:
        """A route of ours leads to a device that relays no CIP: its tags are in the image."""
        assert self._routed is not None
        may_write = self._endpoint is not None and self._endpoint.may_write(group.source)
        for place, request in enumerate(group.messages()):
            answer = partial(self._answer_routed, group.id, place)
            self._routed.serve(group, request, answer, may_write=may_write)
        self._save_ids()

    def _answer_routed(self, number: int, place: int, reply: bytes) -> None:
        self._replies.post(number, place, (reply,), MAX_CREDIT)

    def _perform_routed(self, command: Command, done: Done, deadline_us: int) -> None:
        if isinstance(command, WriteNeeded):
            self._write(command, done, deadline_us)
        elif isinstance(command, RecordNeeded):
            self._audit.record(command.tried, partial(done, None))

    def _write(self, command: WriteNeeded, done: Done, deadline_us: int = 0) -> None:
        deadline = self._process.now_us() + int(WRITE_S * 1e6)
        deadline = min(deadline, deadline_us) if deadline_us else deadline
        request = WriteRequest(0, command.device, command.source, deadline, command.writes)
        if not self._requests.send(request, deadline, partial(self._written, command, done)):
            done(WriteResult(*cip_status(Failure.UNDELIVERED)))

    def _written(self, command: WriteNeeded, done: Done, reply: Any) -> None:
        """The device's answer: its block is applied first, so that a read that follows sees it."""
        assert self._target is not None
        image = self._target.image
        tags = [str(write[0]) for write in command.writes]
        if not isinstance(reply, WriteReply):
            image.set_uncertain(command.device, tags)
            done(WriteResult(*cip_status(Failure.TIMEOUT), unknown=True))
            return
        if reply.unknown:
            image.set_uncertain(command.device, tags)
        result = WriteResult(reply.status, reply.extended, reply.unknown, reply.error)
        answer = partial(done, result)
        if not reply.payload:
            if not reply.status and not reply.unknown:
                image.set_uncertain(command.device, tags)
            answer()
            return

        def finish(caught_up: bool) -> None:
            if not caught_up:
                image.set_uncertain(command.device, tags)
            answer()

        self._read_backs.apply_first(reply.topic, reply.payload, finish)

    def _on_router(self, frames: list[bytes]) -> None:
        counters = self._router.counters
        message = decode_or_count(frames, counters)
        if isinstance(message, RouteReplies):
            self._replied(message)
        elif isinstance(message, RouteLeases):
            if self._endpoint is not None:
                leases = groups_or_count(message.leases, Lease.decode, counters)
                self._leases.told(leases)
                self._endpoint.advance()
        elif isinstance(message, WriteReply):
            self._requests.reply(message)
        elif isinstance(message, RouteRequests):
            for group in groups_or_count(message.groups, RouteGroup.decode, counters):
                self._serve_routed(group)

    # What is said of it

    def beat(self) -> Report:
        """State and metrics."""
        overdue = [f"address: {self._problem}"] if self._problem else []
        overdue += self._audit.recorder.overdue()
        endpoint, target = self._endpoint, self._target
        labels = {"listener": self._listener.name}
        metrics: list[Any] = self._audit.recorder.metrics()
        connections = len(endpoint.connections) if endpoint else 0
        metrics.append(["cpppod_enip_connections", labels, connections])
        if endpoint is not None and target is not None:
            metrics += [
                ["cpppod_enip_accepted_total", labels, endpoint.accepted],
                ["cpppod_enip_requests_total", labels, endpoint.requests],
                ["cpppod_enip_class3_connections", labels, len(target.manager.connections)],
            ]
            for reason, count in endpoint.rejected.items():
                metrics.append(["cpppod_enip_rejected_total", labels | {"reason": reason}, count])
            for status, count in target.refused.items():
                text = labels | {"status": f"0x{status:02x}"}
                metrics.append(["cpppod_enip_refused_total", text, count])
        extra: dict[str, Any] = {"audit": self._audit.recorder.told()}
        if endpoint is not None:
            extra["address"] = str(SocketAddress(*endpoint.address))
        return Report(overdue=overdue, metrics=metrics, extra=extra)

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """`write` {source, writes}: local tags, by an operator.

        Raises:
            CommandError: no such command.
        """
        if verb != "write" or self._locals is None:
            raise CommandError(f"{verb}: a listener knows no such command")
        return self._locals.write(arguments.get("writes", []))


def _lasting(listener: Listener) -> Listener:
    """What cannot change under open connections."""
    return replace(listener, tags=(), write_sources=(), limits={})


def limits_of(listener: Listener) -> Limits:
    """The limits that a listener's settings name."""
    return Limits.configured(
        {_LIMIT_KEYS.get(key, key): value for key, value in listener.limits.items()}
    )


def holder_of(port: int) -> str:
    """Who holds a TCP port, as far as this user may know."""
    wanted = f":{port:04X}"
    try:
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                words = line.split()
                if words[1].endswith(wanted):
                    return f"held_by_uid={words[7]} inode={words[9]}"
    except OSError:
        pass
    return ""
