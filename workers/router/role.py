"""The router: which request goes to which device's owner, who may send it, and for how long.

    listener, control ── WriteRequest, RouteRequests ──► Forwarding ──► owners[device]
                      ◄─ WriteReply, RouteReplies ──────             ◄──
    a route to a device that relays no CIP: the owner of its requests is the listener that asks

    python -m cpppod.workers.router SETTINGS.json

What one turn of the loop brings along routes leaves together, one message to each peer
(`forwarding`). A write that nobody answers by its deadline is answered "outcome unknown" by the
router. Never sent twice.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup
from cpppod.protocols.bus.messages import (
    RouteCounts,
    RouteReplies,
    RouteRequests,
    WriteReply,
    WriteRequest,
    decode,
)
from cpppod.protocols.cip.failures import cip_status
from cpppod.protocols.cip.route_table import AllowList, RouteTable
from cpppod.protocols.model.errors import DecodeError, EncodeError, ProtocolError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Worker
from cpppod.workers.process.worker import CommandError, Process, Report
from cpppod.workers.router.forwarding import (
    MAX_DEADLINE_US,
    GroupForwarding,
    RouteEntry,
    Send,
)

log = logging.getLogger("cpppod")

MAX_OUTSTANDING = 8_192  # writes of all askers: 128 clients with 64 each
TICK_S = 0.02  # how often deadlines are looked at: the shortest one asked for is 10 ms


@dataclass(slots=True)
class _Outstanding:
    asker: bytes
    request: WriteRequest
    since_us: int


class Forwarding:
    """The router's decisions: `send` (identity, frame) says whether the bus took it.

    Attributes:
        groups: what is out along routes.
        writes: by outcome.
    """

    def __init__(self, send: Send, *, first_id: int = 1) -> None:
        self._send = send
        self.groups = GroupForwarding(send, first_id=first_id)
        self._outstanding: dict[int, _Outstanding] = {}
        self._last_id = first_id - 1
        self._owners: dict[str, bytes] = {}
        self.malformed = 0
        self.late = 0
        self.writes: Counter[str] = Counter()

    @property
    def ways(self) -> list[RouteEntry]:
        """The routes, and what went along them."""
        return self.groups.ways

    def configure(self, ways: list[RouteEntry], owners: dict[str, str]) -> None:
        """Go over to these routes and owners."""
        self._owners = {device: owner.encode() for device, owner in owners.items()}
        self.groups.configure(ways, self._owners)

    def receive(self, identity: bytes, frame: bytes, now_us: int) -> None:
        """A message from an asker or an owner; what travels along routes leaves by `flush`."""
        try:
            message = decode(frame)
            if isinstance(message, RouteRequests):
                for plain in message.groups:
                    self.groups.take(identity, RouteGroup.decode(plain), now_us)
            elif isinstance(message, RouteReplies):
                for plain in message.groups:
                    self.groups.reply(ReplyGroup.decode(plain), now_us)
        except DecodeError:
            self.malformed += 1
            return
        if isinstance(message, RouteCounts):
            self.groups.counted(identity, message.counts, now_us)
        elif isinstance(message, WriteRequest):
            self._write(identity, message, now_us)
        elif isinstance(message, WriteReply):
            self._written(message)

    def flush(self, now_us: int) -> None:
        """Send what this turn has brought for routes."""
        self.groups.flush(now_us)

    def _write(self, asker: bytes, request: WriteRequest, now_us: int) -> None:
        self.writes["taken"] += 1
        self._last_id += 1
        onward = replace(request, id=self._last_id)
        owner = self._owners.get(request.device)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            failure, text = Failure.UNDELIVERED, "too many requests are outstanding"
        elif owner is None:
            failure, text = Failure.NOT_CONNECTED, "nobody owns the device"
        elif self._send(owner, onward.encode()):
            self._outstanding[onward.id] = _Outstanding(asker, request, now_us)
            return
        else:
            failure, text = Failure.NOT_CONNECTED, "the device's worker is away"
        self.writes["refused"] += 1
        reply = WriteReply(request.id, *cip_status(failure), text)
        self._send(asker, reply.encode())

    def _written(self, reply: WriteReply) -> None:
        found = self._outstanding.pop(reply.id, None)
        if found is None:
            self.late += 1
            return
        self._send(found.asker, replace(reply, id=found.request.id).encode())

    def expire(self, now_us: int) -> None:
        """Answer what nobody has answered by its deadline."""
        self.groups.expire(now_us)
        overdue = [
            number
            for number, found in self._outstanding.items()
            if min(found.request.deadline_us, found.since_us + MAX_DEADLINE_US) <= now_us
        ]
        for number in overdue:
            found = self._outstanding.pop(number)
            self.writes["timed out"] += 1
            text = "no answer in time: outcome unknown"
            status = cip_status(Failure.TIMEOUT)
            reply = WriteReply(found.request.id, *status, text, unknown=True)
            self._send(found.asker, reply.encode())

    def metrics(self) -> list[Any]:
        """What the metrics page shows."""
        outstanding = len(self._outstanding) + self.groups.outstanding
        found: list[Any] = [
            ["cpppod_router_outstanding", {}, outstanding],
            ["cpppod_router_late_total", {}, self.late + self.groups.late],
        ]
        for outcome, count in self.writes.items():
            found.append(["cpppod_router_writes_total", {"outcome": outcome}, count])
        for way in self.ways:
            labels = {"route": way.route.path, "device": way.route.device}
            found += (
                ["cpppod_route_requests_total", labels, way.taken],
                ["cpppod_route_outstanding", labels, way.all_out],
                ["cpppod_route_seconds_total", labels, way.micro_s / 1e6],
            )
            for reason, count in way.failures.items():
                found.append(["cpppod_route_failures_total", labels | {"reason": reason}, count])
        return found


def ways_of(worker: Worker) -> list[RouteEntry]:
    """The routes of these settings.

    Raises:
        EncodeError: a pattern or a network that cannot be understood, or an unknown device.
    """
    devices = {device.name for device in worker.devices} | set(worker.owners)
    ways = []
    table: RouteTable[int] = RouteTable()
    for route in worker.routes:
        table.add(route.path, 0)
        if route.device not in devices:
            raise EncodeError(f"route {route.path}: no device {route.device!r}", status=0)
        allows = AllowList.configured(
            read_only=route.read_only, classes=route.classes, sources=route.sources
        )
        ways.append(RouteEntry(route, allows))
    return ways


class RouterRole:
    """The router; a `Role`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._socket = process.bus.router("router", self._on_frames)
        first_id = time.monotonic_ns() // 1000
        self._forwarding = Forwarding(self._send, first_id=first_id)
        self._prepared: tuple[list[RouteEntry], dict[str, str]] | None = None
        self._flushing = False

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings."""
        try:
            self._prepared = (ways_of(worker), dict(worker.owners))
        except ProtocolError as error:
            self._prepared = None
            return [str(error)]
        return []

    def commit(self) -> None:
        """Go over to the settings last prepared."""
        if self._prepared is not None:
            self._forwarding.configure(*self._prepared)
        self._prepared = None

    def abort(self) -> None:
        """Forget the settings last prepared."""
        self._prepared = None

    async def run(self) -> None:
        """Look at deadlines until cancelled; messages come by themselves."""
        while True:
            self._forwarding.expire(self._process.now_us())
            self._forwarding.flush(self._process.now_us())
            await asyncio.sleep(TICK_S)

    def _send(self, identity: bytes, frame: bytes) -> bool:
        return self._socket.send(identity, frame)

    def _on_frames(self, frames: list[bytes]) -> None:
        if len(frames) != 2:
            self._socket.counters.malformed += 1
            return
        self._forwarding.receive(frames[0], frames[1], self._process.now_us())
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._forwarding.flush(self._process.now_us())

    def beat(self) -> Report:
        """Metrics, and the routes for `cpppoctl routes`."""
        routes = {
            way.route.path: {
                "device": way.route.device,
                "requests": way.taken,
                "outstanding": way.all_out,
                "failures": dict(way.failures),
                "leased_to": "" if way.given is None else way.given.holder.decode(),
            }
            for way in self._forwarding.ways
        }
        return Report(metrics=self._forwarding.metrics(), extra={"routes": routes})

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """The router has no commands of its own.

        Raises:
            CommandError: always.
        """
        raise CommandError(f"{verb}: the router knows no such command")
