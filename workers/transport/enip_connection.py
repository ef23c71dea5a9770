"""One EtherNet/IP connection to a target under asyncio: the shell around `OriginatorSession`.

    socket ──bytes──► session ──answers──► owners: pipelines, and waiters for one reply
       ▲                 │
       └──data_to_send───┘        one timer, at the session's next deadline

Several tasks may run pipelines and requests at once; replies find their owner by sender context or
sequence. Whatever breaks the protocol closes the connection, and everybody waiting is told.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import cast

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import (
    CommunicationCeased,
    EnipStatusError,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.forward_open import (
    ConnectionRequest,
    ForwardOpenExchange,
)
from cpppod.protocols.enip.originator.pipeline import (
    Message,
    Pipeline,
    error_of,
    progress,
)
from cpppod.protocols.enip.originator.relay import Relay, Relayed
from cpppod.protocols.enip.originator.route import DIRECT, UnconnectedRoute
from cpppod.protocols.enip.originator.session import (
    Answer,
    OriginatorSession,
    SessionViolated,
    State,
)
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.failures import Failure
from cpppod.workers.devices.tap import Tap
from cpppod.workers.transport.enip_opening import CLOSING_S, new_opening
from cpppod.workers.transport.sockets import peer_closed, words

KEEPALIVE_S = 10  # idle time after which the system asks a silent peer
KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MS = 10_000  # unacknowledged data: then the peer is gone


class Waiter:
    """The owner of one request: a future for its answer."""

    __slots__ = ("future",)

    def __init__(self, future: "asyncio.Future[Answer]") -> None:
        self.future = future

    def receive(self, answer: Answer) -> None:
        """Wake whoever waits."""
        if not self.future.done():
            self.future.set_result(answer)


class _Learner:
    """The owner of a request that nobody waits for."""

    __slots__ = ("learn",)

    def __init__(self, learn: Callable[[bytes], None]) -> None:
        self.learn = learn

    def receive(self, answer: Answer) -> None:
        if answer.failure is None:
            self.learn(answer.data)


class OriginatorConnection(asyncio.Protocol):
    """One TCP connection; made by `connect`, of no further use once `closed` is true.

    Attributes:
        session: the protocol's side of it.
        opening: the class 3 connection, None without.
        peer, local: (address, port).
        failure: once closed: `LOST`, or `BAD_REPLY` where the target broke the protocol.
        ended_idle: the target has closed it while nobody waited for anything.
        tap: remembers what goes over it, where somebody wants that.
    """

    def __init__(self) -> None:
        self.session = OriginatorSession()
        self.opening: ForwardOpenExchange | None = None
        self.failure = Failure.LOST
        self.ended_idle = False
        self.peer: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._writing = False
        self._starved = False  # somebody found every place of the session taken
        self._turns: list[asyncio.Future[None]] = []  # single requests that wait for a place
        self._wakers: dict[Pipeline, asyncio.Event] = {}
        self.tap: Tap | None = None
        self._relay: Relay | None = None
        self._relayed: Callable[[Relayed], bool] = lambda relayed: True
        self._lost: Callable[[OriginatorConnection], None] = lambda connection: None
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        timeout_s: float | None,
        source_address: tuple[str, int] | None = None,
        register: bool = True,
    ) -> "OriginatorConnection":
        """A connection with a registered session, within `timeout_s` in all.

        Raises:
            CommunicationCeased: the target is not there (`ReplyTimeout`: or does not answer).
            EnipStatusError: it registers no session.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    cls,
                    host,
                    port,
                    family=socket.AF_INET6 if ":" in host else socket.AF_INET,
                    local_addr=source_address,
                )
                if register:
                    await connection.register()
        except TimeoutError:
            raise ReplyTimeout(
                f"no connection to {SocketAddress(host, port)} in {timeout_s} s"
            ) from None
        except OSError as error:
            if isinstance(error, CommunicationCeased):
                raise
            if error.errno is None:
                raise CommunicationCeased(words(error)) from error
            raise CommunicationCeased(error.errno, words(error)) from error
        return connection

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare the socket (asyncio calls this)."""
        transport = cast(asyncio.Transport, transport)  # uvloop's does not say so
        self._transport = transport
        transport.set_write_buffer_limits(high=256 * 1024)
        raw = transport.get_extra_info("socket")
        self.peer, self.local = raw.getpeername()[:2], raw.getsockname()[:2]
        for level, name, value in (
            (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
            (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
            (socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_S),
            (socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
            (socket.IPPROTO_TCP, "TCP_KEEPCNT", KEEPALIVE_PROBES),
            (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                raw.setsockopt(level, option, value)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket (asyncio calls this)."""
        if self.tap is not None:
            self.tap.received(data)
        try:
            if self._relay is not None:
                data = self._take_relayed(self._relay, data)
            if data:
                self.session.receive_data(data)
                self._dispatch()
        except SessionViolated as error:
            self._fail(str(error), Failure.BAD_REPLY)

    def _take_relayed(self, relay: Relay, data: bytes) -> bytes:
        """Hand on the replies to others' requests; what else there is."""
        found, data = relay.receive_data(data, self.session.session)
        for relayed in found:
            if not self._relayed(relayed):
                raise SessionViolated("reply of another service than was asked")
        return data

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone (asyncio calls this)."""
        self.ended_idle = not self.closed and not self.session.outstanding
        self._fail(words(error) if error else "connection closed by the target")

    def pause_writing(self) -> None:
        """The socket's buffer is full (asyncio calls this)."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket takes data again (asyncio calls this)."""
        self._writable.set()

    # -- requests ---------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the connection is of no further use."""
        return self.session.state is State.CLOSED

    @property
    def partial(self) -> bool:
        """Whether a part of a reply waits for the rest."""
        return self.session.partial or (self._relay is not None and self._relay.partial)

    @property
    def ended(self) -> bool:
        """Whether nothing more can be sent; asks the system, which may know before the loop."""
        transport = self._transport
        return self.closed or transport is None or peer_closed(transport.get_extra_info("socket"))

    @property
    def reason(self) -> str:
        """Why it is closed."""
        return self.session.violation

    @property
    def carrier(self) -> Carrier:
        """The class 3 connection where one is open, else plain unconnected messages."""
        return Carrier(connection=None if self.opening is None else self.opening.granted())

    async def register(self) -> None:
        """Register the session.

        Raises:
            CommunicationCeased, EnipStatusError: as `connect`.
        """
        waiter = self._waiter()
        self.session.register(waiter, deadline=math.inf)
        await self._answer(waiter, math.inf)

    async def command(
        self, command: int, *, timeout_s: float, data: bytes = b"", context: bytes = b""
    ) -> bytes:
        """The data of the reply to an encapsulation command, e.g. List Identity.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        waiter = self._waiter()
        deadline = self._loop.time() + timeout_s
        self.session.send_command(command, waiter, deadline=deadline, data=data, context=context)
        return (await self._answer(waiter, deadline)).data

    async def list_identity(self, *, timeout_s: float) -> bytes:
        """The data of a List Identity reply."""
        return await self.command(Command.LIST_IDENTITY, timeout_s=timeout_s)

    def ask_identity(self, learn: Callable[[bytes], None], *, timeout_s: float) -> None:
        """Have `learn` called with the data of a List Identity reply, if one comes."""
        if self.closed:
            return
        deadline = self._loop.time() + timeout_s
        self.session.send_command(Command.LIST_IDENTITY, _Learner(learn), deadline=deadline)
        self._flush(deadline)

    async def request(
        self, request: bytes, *, timeout_s: float, carrier: Carrier | None = None
    ) -> tuple[MessageRouterReply, bytes]:
        """The reply to one Message Router request, decoded and as it came.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        carrier = self.carrier if carrier is None else carrier
        waiter = self._waiter()
        deadline = self._loop.time() + timeout_s
        await self._place(deadline, connected=carrier.connection is not None)
        if carrier.connection is not None:
            self.session.send_connected(carrier.connection, request, waiter, deadline=deadline)
        else:
            self.session.send_unconnected(request, waiter, deadline=deadline, route=carrier.route)
        answer = await self._answer(waiter, deadline)
        assert answer.reply is not None
        return answer.reply, answer.data

    def relay_to(
        self, relayed: Callable[[Relayed], bool], lost: Callable[["OriginatorConnection"], None]
    ) -> None:
        """Take others' requests too: `relayed` is told their replies, and says whether they can be
        right; `lost` that the connection is closed, however it came."""
        self._relay = Relay()
        self._relayed, self._lost = relayed, lost

    def relay(
        self,
        number: int,
        first: int,
        requests: Sequence[bytes],
        route: UnconnectedRoute,
        *,
        hops: int = 1,
    ) -> bool:
        """Send requests of a group, those from `first` on, without waiting.

        Args:
            hops: gateways that they have passed, this one included.

        Returns:
            False where nothing can be sent just now.
        """
        if self.closed or self._relay is None or not self._writable.is_set():
            return False
        assert self._transport is not None
        session = self.session.session
        self._send(self._relay.send(session, number, first, requests, route, hops))
        return True

    def relay_connected(
        self, number: int, first: int, requests: Sequence[bytes], o_t_id: int, t_o_id: int
    ) -> bool:
        """As `relay`, on a connection that `relay_on` was told of."""
        if self.closed or self._relay is None or not self._writable.is_set():
            return False
        assert self._transport is not None
        session = self.session.session
        ids = o_t_id, t_o_id
        self._send(self._relay.send_connected(session, number, first, requests, *ids))
        return True

    def relay_on(self, o_t_id: int, t_o_id: int) -> None:
        """A connection of somebody else's is open."""
        if self._relay is not None:
            self._relay.opened(o_t_id, t_o_id)

    def relay_off(self, o_t_id: int, t_o_id: int) -> None:
        """It is not any more."""
        if self._relay is not None:
            self._relay.closed(o_t_id, t_o_id)

    async def forward_open(
        self, request: ConnectionRequest, *, timeout_s: float, route: UnconnectedRoute = DIRECT
    ) -> None:
        """Open a class 3 connection, the large one if the target knows it.

        Raises:
            ForwardOpenRefused: neither is granted.
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply.
        """
        opening = new_opening(request)
        while not opening.done:
            reply, _ = await self.request(
                opening.request(), timeout_s=timeout_s, carrier=Carrier(route=route)
            )
            opening.receive(reply)
        self.session.opened(opening.granted())
        self.opening = opening

    async def forward_close(self, *, timeout_s: float) -> None:
        """Close the class 3 connection, if one is open.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        opening, self.opening = self.opening, None
        if opening is None or self.closed:
            return
        try:
            await self.request(opening.closing(), timeout_s=timeout_s, carrier=Carrier())
        finally:
            self.session.closed(opening.granted())

    async def run(self, pipeline: Pipeline) -> list[Exchange]:
        """All results of a pipeline, in order.

        Raises:
            as `results`.
        """
        return [exchange async for exchange in self.results(pipeline)]

    async def results(
        self, pipeline: Pipeline, *, eager: bool = True
    ) -> AsyncGenerator[Exchange, None]:
        """The pipeline's results as they arrive; `eager` sends on before it hands them out.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
            EncodeError: an operation that cannot be said; earlier results came first.
        """
        arrived = self._wakers[pipeline] = asyncio.Event()
        steps = progress(pipeline, self, eager=eager)
        try:
            await self._writable.wait()
            for step in steps:
                if step is not None:
                    yield step
                    continue
                await arrived.wait()
                arrived.clear()
                await self._writable.wait()
        finally:
            self._wakers.pop(pipeline, None)
            steps.close()

    async def close(self) -> None:
        """End class 3 connection, session and socket; never raises."""
        with contextlib.suppress(OSError, EnipStatusError):
            await self.forward_close(timeout_s=CLOSING_S)
        if not self.closed:
            self.session.unregister()
            self._write()
        self._fail("closed")

    async def _place(self, deadline: float, *, connected: bool) -> None:
        """Wait until one more request may be sent.

        Raises:
            ReplyTimeout: it may not in time.
            CommunicationCeased: the connection has closed meanwhile.
        """
        try:
            async with asyncio.timeout_at(None if deadline == math.inf else deadline):
                await self._writable.wait()
                while not self.session.has_room(connected=connected):
                    turn = self._loop.create_future()
                    self._turns.append(turn)
                    await turn
        except TimeoutError:
            raise ReplyTimeout("no reply to the request before in time") from None
        if self.closed:
            raise CommunicationCeased(self.reason)

    def _waiter(self) -> Waiter:
        if self.closed:
            raise CommunicationCeased(self.reason)
        return Waiter(self._loop.create_future())

    def issue(self, pipeline: Pipeline) -> None:
        """Have the pipeline send what it may, and write that (called by `progress`)."""
        now = self._loop.time()
        pipeline.issue(now)
        if not pipeline.waiting and not pipeline.done:
            self._starved = True
        self._flush(now + pipeline.timeout_s)

    async def _answer(self, waiter: Waiter, deadline: float) -> Answer:
        self._flush(deadline)
        try:
            answer = await waiter.future
        except asyncio.CancelledError:
            self.session.forget(waiter)
            self._wake_turns()
            raise
        if answer.failure is not None:
            raise error_of(answer, self.reason)
        return answer

    # -- moving bytes -----------------------------------------------------------------------------

    def _flush(self, deadline: float) -> None:
        """Write: a lone request at once, else all that comes up in this turn of the loop."""
        if self.session.outstanding <= 1:
            self._write()
        elif not self._writing:
            self._writing = True
            self._loop.call_soon(self._write)
        if deadline != math.inf:
            self._set_timer(deadline)

    def _write(self) -> None:
        self._writing = False
        data = self.session.data_to_send()
        if data and self._transport is not None:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self.tap is not None:
            self.tap.sent(data)
        assert self._transport is not None, "who sends has asked"
        self._transport.write(data)

    def _set_timer(self, deadline: float) -> None:
        """Have `_expire` called at `deadline`; an earlier timer stays and looks again."""
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.session.expire(self._loop.time())
        try:
            self._dispatch()
        except SessionViolated as error:
            self._fail(str(error), Failure.BAD_REPLY)
        deadline = self.session.deadline()
        if deadline is not None and deadline != math.inf:
            self._set_timer(deadline)

    def _dispatch(self) -> None:
        while (answer := self.session.next_answer()) is not None:
            owner = answer.owner
            owner.receive(answer)
            if isinstance(owner, Message):
                event = self._wakers.get(owner.pipeline.root)
                if event is not None:
                    event.set()
        if self._starved:
            self._starved = False
            self._wake_all()
        self._wake_turns()

    def _wake_all(self) -> None:
        for event in self._wakers.values():
            event.set()

    def _wake_turns(self) -> None:
        turns, self._turns = self._turns, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)

    def _fail(self, reason: str, failure: Failure = Failure.LOST) -> None:
        """Close, and tell everybody."""
        if self._transport is not None:  # it is the first to say why
            self.failure = failure
        self.session.close(reason)
        try:
            self._dispatch()
        except SessionViolated:
            pass  # what came before it closed: nobody trusts it any more
        self._wake_all()
        self._wake_turns()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            self._writable.set()
            self._lost(self)
        self._writable.set()
