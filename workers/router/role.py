"""The router: which request goes to which device's owner, who may send it, and for how long.

    listener, control ── WriteRequest, RouteRequest ──► Forwarding ──► owners[device]
                      ◄─ WriteReply, RouteReply ──────             ◄──
    a route to a device that relays no CIP: the owner of its requests is the listener that asks

    python -m cpppod.workers.router SETTINGS.json

Routed requests and replies of one turn of the loop leave together, one message to each peer. A
routed request loses its first segment here. What nobody answers by its deadline is answered by the
router: 0x0204 for a route, "outcome unknown" for a write that had left. Never sent twice.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cpppod.protocols.bus.messages import (
    RouteReply,
    RouteRequest,
    WriteReply,
    WriteRequest,
    batched,
    decode_all,
    together,
)
from cpppod.protocols.cip.failures import cip_status, refused, unrouted
from cpppod.protocols.cip.route_table import AllowList, RouteTable
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus
from cpppod.protocols.model.errors import DecodeError, EncodeError, ProtocolError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Route, Worker
from cpppod.workers.process.worker import CommandError, Process, Report

log = logging.getLogger("cpppod")

MAX_OUTSTANDING = 8_192  # requests of all askers: 128 clients with 64 each
TICK_S = 0.02  # how often deadlines are looked at: the shortest one asked for is 10 ms
MAX_DEADLINE_US = 30_000_000  # from now: whatever an asker says, nothing is waited for longer

Send = Callable[[bytes, bytes], bool]


@dataclass(slots=True)
class RouteEntry:
    """A route and what went along it.

    Attributes:
        outstanding: requests that are out; `limit` bounds them.
        micro_s: time from taking to answering, summed over `answered`.
    """

    route: Route
    allows: AllowList
    outstanding: int = 0
    taken: int = 0
    answered: int = 0
    micro_s: int = 0
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Outstanding:
    asker: bytes
    request: WriteRequest | RouteRequest
    since_us: int
    way: RouteEntry | None


class Forwarding:
    """The router's decisions: `send` (identity, frame) says whether the bus took it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._outstanding: dict[int, _Outstanding] = {}
        self._deadlines: list[tuple[int, int]] = []
        self._last_id = 0
        self._leaving: dict[bytes, list[tuple[int, bytes]]] = {}
        self._answers: dict[bytes, list[bytes]] = {}
        self._table: RouteTable[RouteEntry] = RouteTable()
        self._owners: dict[str, bytes] = {}
        self.ways: list[RouteEntry] = []
        self.malformed = 0
        self.late = 0
        self.writes: Counter[str] = Counter()

    def configure(self, ways: list[RouteEntry], owners: dict[str, str]) -> None:
        """Go over to these routes; what is out keeps its way, a route that stays its counts."""
        known = {way.route.path: way for way in self.ways}
        table: RouteTable[RouteEntry] = RouteTable()
        self.ways = []
        for way in ways:
            kept = known.get(way.route.path)
            if kept is not None:
                kept.route, kept.allows = way.route, way.allows
                way = kept
            self.ways.append(way)
            table.add(way.route.path, way)
        self._table = table
        self._owners = {device: owner.encode() for device, owner in owners.items()}

    def receive(self, identity: bytes, frame: bytes, now_us: int) -> None:
        """Messages from an asker or an owner; routed ones and their replies leave by `flush`."""
        try:
            messages = decode_all(frame)
        except DecodeError:
            self.malformed += 1
            return
        for message in messages:
            if isinstance(message, RouteRequest):
                self._route(identity, message, now_us)
            elif isinstance(message, WriteRequest):
                self._write(identity, message, now_us)
            elif isinstance(message, RouteReply | WriteReply):
                self._reply(identity, message, now_us)

    def flush(self) -> None:
        """Send what has come up; requests whose owner is away are refused."""
        leaving, self._leaving = self._leaving, {}
        for owner, posted in leaving.items():
            at = 0
            for portion in batched([frame for _, frame in posted]):
                numbers = [number for number, _ in posted[at : at + len(portion)]]
                at += len(portion)
                if not self._send(owner, together(portion)):
                    self._owner_away(numbers)
        answers, self._answers = self._answers, {}
        for asker, frames in answers.items():
            for portion in batched(frames):
                self._send(asker, together(portion))

    def _owner_away(self, numbers: list[int]) -> None:
        for number in numbers:
            found = self._outstanding.pop(number, None)
            if found is not None and found.way is not None:
                assert isinstance(found.request, RouteRequest)
                found.way.outstanding -= 1
                self._refuse_away(found.asker, found.request, found.way)

    def _refuse_away(self, asker: bytes, request: RouteRequest, way: RouteEntry) -> None:
        way.failures["owner away"] += 1
        failure = GeneralStatus.CONNECTION_FAILURE
        self._refuse(asker, request, failure, ConnectionStatus.LINK_ADDRESS_NOT_VALID)

    def _route(self, asker: bytes, request: RouteRequest, now_us: int) -> None:
        try:
            way, remaining = self._table.find(request.route_path)
        except CipError as error:
            self._refuse(asker, request, error.status, *error.extended)
            return
        way.taken += 1
        try:
            way.allows.check(request.request, request.source)
        except CipError as error:
            way.failures["refused"] += 1
            self._refuse(asker, request, error.status)
            return
        device = way.route.device
        if way.outstanding >= way.route.limit or len(self._outstanding) >= MAX_OUTSTANDING:
            way.failures["limit"] += 1
            failure = GeneralStatus.CONNECTION_FAILURE
            self._refuse(asker, request, failure, ConnectionStatus.NO_BUFFER_MEMORY)
            return
        owner = self._owners.get(device) if way.route.relayed else asker
        if owner is None:
            self._refuse_away(asker, request, way)
            return
        onward = replace(request, id=self._next_id(), route_path=remaining, target=device)
        self._leaving.setdefault(owner, []).append((onward.id, onward.encode()))
        self._wait(onward.id, _Outstanding(asker, request, now_us, way))
        way.outstanding += 1

    def _write(self, asker: bytes, request: WriteRequest, now_us: int) -> None:
        self.writes["taken"] += 1
        onward = replace(request, id=self._next_id())
        owner = self._owners.get(request.device)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            failure, text = Failure.UNDELIVERED, "too many requests are outstanding"
        elif owner is None:
            failure, text = Failure.NOT_CONNECTED, "nobody owns the device"
        elif self._send(owner, onward.encode()):
            self._wait(onward.id, _Outstanding(asker, request, now_us, None))
            return
        else:
            failure, text = Failure.NOT_CONNECTED, "the device's worker is away"
        self.writes["refused"] += 1
        reply = WriteReply(request.id, *cip_status(failure), text)
        self._send(asker, reply.encode())

    def _wait(self, number: int, found: _Outstanding) -> None:
        deadline = min(found.request.deadline_us, found.since_us + MAX_DEADLINE_US)
        self._outstanding[number] = found
        heapq.heappush(self._deadlines, (deadline, number))

    def _next_id(self) -> int:
        self._last_id = self._last_id % (2**53 - 1) + 1
        return self._last_id

    def _refuse(self, asker: bytes, request: RouteRequest, status: int, *extended: int) -> None:
        """Answer with the Connection Manager's status, in the form that the request came in."""
        if status == GeneralStatus.CONNECTION_FAILURE:
            connected = bool(request.connection)
            reply = unrouted(request.request, request.route_path, extended[0], connected=connected)
        else:
            reply = refused(request.request, status, extended)
        self._answers.setdefault(asker, []).append(RouteReply(request.id, reply).encode())

    def _reply(self, owner: bytes, reply: RouteReply | WriteReply, now_us: int) -> None:
        found = self._outstanding.get(reply.id)
        if found is None or isinstance(reply, RouteReply) != isinstance(
            found.request, RouteRequest
        ):
            self.late += 1
            return
        del self._outstanding[reply.id]
        self._finished(found, now_us)
        onward = replace(reply, id=found.request.id).encode()
        if isinstance(reply, RouteReply):
            self._answers.setdefault(found.asker, []).append(onward)
        else:
            self._send(found.asker, onward)

    def _finished(self, found: _Outstanding, now_us: int) -> None:
        way = found.way
        if way is not None:
            way.outstanding -= 1
            way.answered += 1
            way.micro_s += max(now_us - found.since_us, 0)

    def expire(self, now_us: int) -> None:
        """Answer what nobody has answered by its deadline."""
        while self._deadlines and self._deadlines[0][0] <= now_us:
            _, number = heapq.heappop(self._deadlines)
            found = self._outstanding.pop(number, None)
            if found is None:
                continue
            self._finished(found, now_us)
            request = found.request
            if isinstance(request, WriteRequest):
                self.writes["timed out"] += 1
                text = "no answer in time: outcome unknown"
                status = cip_status(Failure.TIMEOUT)
                reply = WriteReply(request.id, *status, text, unknown=True)
                self._send(found.asker, reply.encode())
                continue
            if found.way is not None:
                found.way.failures["timed out"] += 1
            failure = GeneralStatus.CONNECTION_FAILURE
            timed_out = ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT
            self._refuse(found.asker, request, failure, timed_out)

    def metrics(self) -> list[Any]:
        """What the metrics page shows."""
        found: list[Any] = [
            ["cpppod_router_outstanding", {}, len(self._outstanding)],
            ["cpppod_router_late_total", {}, self.late],
        ]
        for outcome, count in self.writes.items():
            found.append(["cpppod_router_writes_total", {"outcome": outcome}, count])
        for way in self.ways:
            labels = {"route": way.route.path, "device": way.route.device}
            found += (
                ["cpppod_route_requests_total", labels, way.taken],
                ["cpppod_route_outstanding", labels, way.outstanding],
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
        self._forwarding = Forwarding(self._send)
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
            self._forwarding.flush()
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
        self._forwarding.flush()

    def beat(self) -> Report:
        """Metrics, and the routes for `cpppoctl routes`."""
        routes = {
            way.route.path: {
                "device": way.route.device,
                "requests": way.taken,
                "outstanding": way.outstanding,
                "failures": dict(way.failures),
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
