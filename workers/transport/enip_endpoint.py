"""The TCP side of an EtherNet/IP target: sockets around `protocols.enip.session`.

    accept -> Session -> data_received -> receive_data -> one write
                      -> commands -> `perform` (router, thread ...) -> complete -> write
                      -> departures -> `send_groups`, once a turn -> advance -> write

Limits and time-outs are here: connections in all and per address, the time a frame may take to
arrive, idle time, a reader that never reads. Neither ZeroMQ nor pydantic: the listener and
`enip_server` both stand on this.
"""

import asyncio
import logging
import secrets
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup
from cpppod.protocols.cip.request import Command, ForwardNeeded
from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.target.departures import FIRST_CREDIT, Departures
from cpppod.protocols.enip.target.session import Session
from cpppod.protocols.model.addresses import is_loopback
from cpppod.protocols.model.durations import parse_seconds
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.transport.sockets import family_of
from cpppod.workers.transport.turns import TurnProtocol, Turns

log = logging.getLogger("cpppod.enip")

Done = Callable[[Any], None]
Perform = Callable[[Command, Done], None]
SendGroups = Callable[[list[RouteGroup]], list[RouteGroup]]  # those that could not be sent
PER_ADDRESS = 16  # connections of one address: an HMI has a few, a busy script a dozen
GIVES_WAY_S = 2.0  # what polls does so within, and who looks in now and then connects again
TICK_S = 0.25  # how often time-outs are looked at
ROUTE_TICK_S = 0.02  # those of requests along routes: the shortest that is asked for is 10 ms
LISTEN_BACKLOG = 512  # connections the kernel keeps while the loop is busy
KEEPALIVE = (30, 10, 3)  # seconds idle, seconds between, probes: a vanished peer is gone in 60 s


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may cost: slow readers, half-open connections, floods.

    Attributes:
        connections: in all; at the cap the oldest that never registered gives way, else the session
            that has been idle for longest: one that never asked anything, or for `GIVES_WAY_S`.
        per_address: of one address; None is `PER_ADDRESS`, and no such cap on loopback.
        frame_s: from a frame's first byte to its last.
        unregistered_s, idle_s: without a frame before and after RegisterSession; a session with an
            open class 3 connection lives as long as that.
        unsent: bytes written and not yet taken by the peer, above which no more is read.
        stuck_s: without progress above `unsent`, the connection is cut.
        frame_size: bytes of data of the longest frame.
    """

    connections: int = 256
    per_address: int | None = None
    frame_s: float = 5.0
    unregistered_s: float = 10.0
    idle_s: float = 120.0
    unsent: int = 262_144
    stuck_s: float = 30.0
    frame_size: int = 65_511

    @classmethod
    def configured(cls, values: Mapping[str, Any]) -> "Limits":
        """From a configuration's map; unknown keys are left alone."""
        changes: dict[str, Any] = {}
        for item in fields(cls):
            if item.name in values:
                default = getattr(_DEFAULTS, item.name)
                value = values[item.name]
                if isinstance(default, float):
                    changes[item.name] = parse_seconds(str(value))
                else:
                    changes[item.name] = int(value) if default is None else type(default)(value)
        return replace(_DEFAULTS, **changes)


_DEFAULTS = Limits()


def random_u32() -> int:
    """An unpredictable handle or connection id, never 0."""
    return secrets.randbelow(0xFFFFFFFE) + 1


class EnipConnection(TurnProtocol):
    """One client."""

    def __init__(self, endpoint: "Endpoint") -> None:
        super().__init__(endpoint.turns)
        self.endpoint = endpoint
        self.session: Session | None = None
        self.transport: asyncio.Transport | None = None
        self.peer = ("", 0)
        self.local = ("", 0)
        self.stuck_since = 0.0
        self.eof = False
        self._now = endpoint.loop.time
        self._late: deque[tuple[float, bytes | None]] = deque()  # (when, what); None: the end
        self._wanted_since = 0.0
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected: take it, or close it where a limit says so."""
        super().connection_made(transport)
        assert self._peer is not None
        self.transport = transport = self._peer
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if peer is None or not self.endpoint.admit(self, peer[0]):
            transport.abort()
            return
        self.peer, self.local = (peer[0], peer[1]), (local[0], local[1])
        _keep_alive(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(high=self.endpoint.limits.unsent)
        self.session = Session(
            self.endpoint.target,
            address=peer[0],
            local=self.local,
            random_u32=random_u32,
            now=self._now(),
            may_write=self.endpoint.may_write(peer[0]),
            rejected=self.endpoint.rejected,
            departures=self.endpoint.departures,
        )
        self.session.shell = self
        self.session.max_size = self.endpoint.limits.frame_size

    def data_received(self, data: bytes) -> None:
        """Answer what is whole in one write."""
        session = self.session
        if session is None:
            return
        try:
            out = session.receive_data(data, self._now())
        except Exception as error:  # a defect of ours costs this connection, and nobody else's
            strangers.error(log, "request failed peer=%s", self.peer[0], exc_info=error)
            self.endpoint.rejected["internal"] += 1
            self.abort()
            return
        if self._out:
            self._flush()
        if out:
            self._write(out)
        if session.commands:
            self._perform(session)
        if session.closing:
            self._close()
        elif session.outstanding:
            self._pace(session)

    def _perform(self, session: Session) -> None:
        commands, session.commands = session.commands, []
        for ticket, command in commands:
            done = partial(self.complete, ticket)
            if isinstance(command, ForwardNeeded):
                self.endpoint.departures.ask(command, done, self._now())
            else:
                self.endpoint.perform(command, done)

    def advance(self) -> None:
        """Requests of the session that had left have been answered, or may leave now."""
        session, transport = self.session, self.transport
        if session is None or transport is None:
            return
        out = session.take_output(self._now())
        if out:
            self._write(out)
        if session.commands:
            self._perform(session)
        if session.closing or (self.eof and not session.outstanding):
            self._close()
        else:
            self._pace(session)

    def complete(self, ticket: int, result: Any) -> None:
        """A command's result is here."""
        session, transport = self.session, self.transport
        if session is None or transport is None:
            return
        out = session.complete(ticket, result, self._now())
        if out:
            if not self._out and session.outstanding:
                self.endpoint.loop.call_soon(self._flush)
            self._out.append(out)
            if not session.outstanding:
                self._flush()
        if session.commands:
            self._perform(session)
        if session.closing or (self.eof and not session.outstanding):
            self._flush()
            self._close()

    def _flush(self) -> None:
        """Write the replies that this turn of the loop has completed; their slots are free."""
        out, self._out = self._out, []
        if out and self.transport is not None:
            self._write(b"".join(out))
            if self.session is not None:
                self._pace(self.session)

    def _pace(self, session: Session) -> None:
        """Read on, or not, as the session and the peer's own reading allow."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        wanted = session.wants_data and not self.stuck_since
        if wanted != self._wanted:
            self._wanted_since = self._now()
            self.read_on(wanted)
        if session.has_more:
            self.wait_for_turn()

    def take_turn(self) -> None:
        """The others have had their turn: go on with what is there, and read on."""
        super().take_turn()
        if self.session is not None and self.session.has_more:
            self.session.has_more = False
            self.advance()

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        delay = self.endpoint.delay
        if delay is None and not self._late:
            self.transport.write(data)
        else:
            self._hold(data, delay() if delay else 0.0)

    def _close(self) -> None:
        if self._late:
            self._hold(None, 0.0)
        elif self.transport is not None:
            self.transport.close()

    def _hold(self, data: bytes | None, seconds: float) -> None:
        """Keep a reply back for so long, and until those before it have left."""
        due = time.monotonic() + seconds  # the loop's clock is that of its last turn
        if self._late:
            self._late.append((max(due, self._late[-1][0]), data))
        else:
            self._late.append((due, data))
            self._release()

    def _release(self) -> None:
        """Let out what has been held back long enough: never early, as the loop's timers are."""
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            _, data = self._late.popleft()
            if self.transport is None or self.transport.is_closing():
                self._late.clear()
            elif data is None:
                self.transport.close()
            else:
                self.transport.write(data)
        if self._late:
            self.endpoint.loop.call_later(max(self._late[0][0] - now, 0.001), self._release)

    def pause_writing(self) -> None:
        """The peer does not read: stop taking its requests."""
        self.stuck_since = self._now()
        if self.session is not None:
            self.session.stalled = True
            self._pace(self.session)

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.stuck_since = 0.0
        if self.session is not None:
            self.session.stalled = False
            self.advance()

    def eof_received(self) -> bool:
        """Half closed: what is owed is still sent."""
        self.eof = True
        if self.session is not None and self.session.partial_since:
            self.endpoint.rejected["truncated"] += 1
        outstanding = self.session is not None and bool(self.session.outstanding)
        if self._late and not outstanding:
            self._close()  # once they have left
        return outstanding or bool(self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and its CIP connections with it."""
        super().connection_lost(exc)
        self.endpoint.forget(self)
        if self.session is not None:
            self.session.close()
        self.session = None
        self.transport = None

    def abort(self) -> None:
        """Cut the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def overdue(self, now: float, limits: Limits) -> str:
        """Why this connection is to be cut, "" where it may live."""
        session = self.session
        if session is None:
            return ""
        if self.stuck_since and now - self.stuck_since > limits.stuck_s:
            return "stuck"
        if session.outstanding:
            return ""
        arriving_since = max(session.partial_since, self._wanted_since)
        if session.partial_since and self._wanted and now - arriving_since > limits.frame_s:
            return "frame"
        if not session.handle and now - session.opened_at > limits.unregistered_s:
            return "unregistered"
        if now - session.active_at > limits.idle_s and not session.has_connections:
            return "idle"
        return ""


class Endpoint:
    """One listening address of a target.

    Attributes:
        perform: does what leaves the process; calls its second argument with the result, once.
        send_groups: takes what leaves along routes, and returns what it could not take; the replies
            come back by `replied`.
        delay: seconds to hold each reply back, asked per write, or None.
        connection_type: what is made for each client; of a class of one's own before `start`.
        rejected: refusals by reason; `accepted` counts connections.
        may_write: whether an address may write.
    """

    def __init__(
        self,
        target: Target,
        perform: Perform,
        *,
        send_groups: SendGroups = list,
        credit: int = FIRST_CREDIT,
        limits: Limits | None = None,
        may_write: Callable[[str], bool] | None = None,
    ) -> None:
        self.target = target
        self.perform = perform
        self.send_groups = send_groups
        self.departures = Departures(credit=credit, first_id=time.monotonic_ns() // 1000)
        self.departures.notify = self._notified
        target.manager.leave = self._leave
        self.limits = limits or Limits()
        self.may_write = may_write or (lambda address: True)
        self.delay: Callable[[], float] | None = None
        self.connection_type = EnipConnection
        self.connections: dict[EnipConnection, None] = {}
        self.rejected: Counter[str] = Counter()
        self.accepted = 0
        self.loop = asyncio.get_running_loop()
        self.turns = Turns()
        self.address = ("", 0)
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._per_address: Counter[str] = Counter()
        self._requests_ended = 0
        self._route_ticker: asyncio.TimerHandle | None = None

    # What leaves along routes

    def _notified(self) -> None:
        self.loop.call_soon(self._depart)
        if self._route_ticker is None:
            self._route_ticker = self.loop.call_later(ROUTE_TICK_S, self._route_tick)

    def _leave(self, command: ForwardNeeded) -> None:
        self.departures.ask(command, lambda reply: None, self.loop.time())

    def _depart(self) -> None:
        """Send what this turn has brought."""
        for group in self.send_groups(self.departures.take_groups()):
            self.departures.unsent(group, self.loop.time())
        self.advance()

    def replied(self, groups: list[ReplyGroup]) -> None:
        """Replies have come back."""
        now = self.loop.time()
        for group in groups:
            self.departures.replied(group, now)
        self.advance()

    def advance(self) -> None:
        """Have sessions that `departures` have touched write, and go on."""
        departures = self.departures
        while departures.touched:
            touched, departures.touched = departures.touched, {}
            for session in touched:
                if session.shell is not None:
                    session.shell.advance()

    def _route_tick(self) -> None:
        self._route_ticker = None
        self.departures.expire(self.loop.time())
        self.advance()
        if self.departures.is_busy and self._route_ticker is None:
            self._route_ticker = self.loop.call_later(ROUTE_TICK_S, self._route_tick)

    # Connections

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen on TCP; the address bound.

        Raises:
            OSError: the address is not to be had.
        """
        self._server = await self.loop.create_server(
            lambda: self.connection_type(self),
            host or "0.0.0.0",
            port,
            backlog=LISTEN_BACKLOG,
            reuse_address=sys.platform != "win32",
            family=family_of(host),
        )
        bound = self._server.sockets[0].getsockname()
        self.address = (bound[0], bound[1])
        self._tick()
        return self.address

    async def stop(self, *, abort: bool = True) -> None:
        """Close the port and all connections."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._route_ticker is not None:
            self._route_ticker.cancel()
            self._route_ticker = None
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self.connections):
            if abort:
                connection.abort()
            elif connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)

    def admit(self, connection: EnipConnection, address: str) -> bool:
        """Count a new connection in, or refuse it."""
        self.accepted += 1
        limits = self.limits
        if self._per_address[address] >= self._most_of(address):
            self.rejected["per_address"] += 1
            return False
        if len(self.connections) >= limits.connections and not self._make_room():
            self.rejected["connections"] += 1
            return False
        self.connections[connection] = None
        self._per_address[address] += 1
        return True

    def _most_of(self, address: str) -> float:
        """Connections that one address may have."""
        if self.limits.per_address is not None:
            return self.limits.per_address
        return float("inf") if is_loopback(address) else PER_ADDRESS

    def _make_room(self) -> bool:
        """The connection that is missed least gives way, where there is such a one."""
        given = self._least_used(self.loop.time())
        if given is None:
            return False
        self.rejected["gave_way"] += 1
        given.abort()
        self.forget(given)
        return True

    def _least_used(self, now: float) -> EnipConnection | None:
        """The oldest that never registered; else the one idle for longest, if it is so at all."""
        idle: list[tuple[bool, float, EnipConnection]] = []
        for connection in self.connections:
            session = connection.session
            if session is None:
                continue
            if not session.handle:
                return connection
            since = session.active_at
            used = session.has_asked
            if not used or (now - since >= GIVES_WAY_S and session.is_idle):
                idle.append((used, since, connection))
        return min(idle, key=lambda item: item[:2])[2] if idle else None

    @property
    def requests(self) -> int:
        """Requests answered, of connections that live and of those that ended."""
        living = (item.session.requests for item in self.connections if item.session is not None)
        return self._requests_ended + sum(living)

    def forget(self, connection: EnipConnection) -> None:
        """Count a connection out."""
        if connection not in self.connections:
            return
        del self.connections[connection]
        if connection.session is not None:
            self._requests_ended += connection.session.requests
        address = connection.peer[0]
        self._per_address[address] -= 1
        if self._per_address[address] <= 0:
            del self._per_address[address]
        if not self.connections:
            self.target.forget_replies()  # nobody is there who would repeat himself

    def _tick(self) -> None:
        self._ticker = self.loop.call_later(TICK_S, self._tick)
        now = self.loop.time()
        for connection in list(self.connections):
            reason = connection.overdue(now, self.limits)
            if reason:
                self.rejected[reason] += 1
                connection.abort()
        self.target.manager.expire(now)
        self.target.image.advance(now)


def _keep_alive(sock: Any) -> None:
    """Have the kernel notice a peer that vanished."""
    if sock is None:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        for name, value in zip(names, KEEPALIVE, strict=True):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        log.debug("socket options refused")
