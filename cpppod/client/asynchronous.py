"""The asyncio shell: the same operations and results as the blocking one, on a loop.

    async with await AsyncConnector.open("10.0.0.5", timeout=2.0) as connection:
        async for result in connection.pipeline(["Speed", "Limit=(REAL)3.5"], depth=10):
            print(result.description, result.value)

What it does is written in `cpppod.client.core`; how its bytes move, in the gateway's own
`OriginatorConnection`. Several tasks may use one connection at once: each gets its own results.
"""

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Self

from cpppod.client.connection import Address, source_of
from cpppod.client.core import ConnectorCore, first_identity, records, tally_of, values_of
from cpppod.client.responses import LIST_INTERFACES, cpf_items
from cpppod.client.results import Result
from cpppod.client.route import Route, connection_request
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.discovery import PORT, IdentityItem
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.forward_open import ConnectionRequest
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.enip.originator.plan import ReadPlan
from cpppod.protocols.enip.originator.route import RoutePath
from cpppod.protocols.enip.originator.structures import TagTree
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.workers.transport.enip_connection import OriginatorConnection

Connect = Callable[[], Awaitable[OriginatorConnection]]


class AsyncConnector(ConnectorCore):
    """A registered session on an asyncio loop; made by `open`.

    Attributes:
        connection: what moves its bytes.
    """

    def __init__(
        self, connection: OriginatorConnection, route: Route, timeout: float | None
    ) -> None:
        super().__init__(connection.session, route, timeout)
        self.connection = connection
        self._connect: Connect | None = None
        self._wanted: ConnectionRequest | None = None
        self._renewing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        host: str = "localhost",
        port: int | None = None,
        timeout: float | None = None,
        *,
        connected: bool = False,
        source_address: str | Address | None = None,
        route_path: RoutePath = None,
        send_path: str | None = None,
        priority_time_tick: int | None = None,
        timeout_ticks: int | None = None,
        connection_path: str | None = None,
        O_T: Mapping[str, Any] | None = None,
        T_O: Mapping[str, Any] | None = None,
    ) -> "AsyncConnector":
        """Connect and register; with `connected` open a class 3 connection and use it.

        Arguments are as for `Connector`, with `connected` as for `Implicit`.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError, ForwardOpenRefused: no way in.
            EncodeError: a path cannot be understood, or the times are out of range.
        """
        route = Route(route_path, send_path, priority_time_tick, timeout_ticks)
        connect = partial(
            OriginatorConnection.connect,
            *(host, port or PORT),
            timeout_s=timeout,
            source_address=source_of(source_address),
        )
        connection = await connect()
        connector = cls(connection, route, timeout)
        connector._connect = connect
        if connected:
            try:
                request = connection_request(route, connection_path, O_T or T_O or {})
                await connector.forward_open(request)
            except BaseException:
                await connection.close()
                raise
        return connector

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __str__(self) -> str:
        return f"{SocketAddress(*self.connection.peer)}[{self.session or None}]"

    async def close(self) -> None:
        """Close the class 3 connection, the session and the socket; never raises."""
        await self.connection.close()

    @property
    def closed(self) -> bool:
        """Whether the connection is of no further use."""
        return self.connection.closed

    @property
    def reason(self) -> str:
        """Why it is closed."""
        return self.connection.reason

    async def renew(self) -> bool:
        """Connect anew where the target has closed the connection while it was idle.

        Whether that was so. Every operation does it by itself before it sends anything; what was
        sent is never sent again.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError, ForwardOpenRefused: no way in.
        """
        if self._connect is None or not self._ended_idle():
            return False
        async with self._renewing:
            if not self._ended_idle():
                return False
            await self.connection.close()
            self.connection = await self._connect()
            self.protocol = self.connection.session
            self.carrier = self.route.carrier
            if self._wanted is not None:
                await self._open_class3(self._wanted, None)
        return True

    def _ended_idle(self) -> bool:
        connection = self.connection
        if connection.closed:
            return connection.ended_idle
        return not connection.session.outstanding and connection.ended

    def _reply_s(self, timeout: float | None) -> float:
        timeout = self.timeout if timeout is None else timeout
        return inf if timeout is None else timeout

    # -- operations: arguments, results and errors are those of `Connector` -----------------------

    def synchronous(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        *,
        validating: bool = False,
    ) -> AsyncIterator[Result]:
        """Each result before the next request is sent."""
        return self.pipeline(
            operations, index, fragment, multiple, timeout, validating=validating, eager=False
        )

    async def pipeline(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        depth: int = 1,
        *,
        validating: bool = False,
        eager: bool = True,
    ) -> AsyncIterator[Result]:
        """Results in order, with up to `depth` requests in flight meanwhile."""
        await self.renew()
        pipeline = self.pipeline_of(operations, index, fragment, multiple, timeout, depth)
        async with contextlib.aclosing(self.drive(pipeline, eager=eager)) as exchanges:
            async for exchange in exchanges:
                for result in records(exchange, validating=validating, printing=False):
                    yield result

    async def operate(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        depth: int = 0,
        validating: bool = False,
        printing: bool = False,
    ) -> AsyncIterator[Result]:
        """`pipeline` with a depth, else `synchronous`."""
        await self.renew()
        pipeline = self.pipeline_of(operations, index, fragment, multiple, timeout, depth or 1)
        async with contextlib.aclosing(self.drive(pipeline, eager=bool(depth))) as exchanges:
            async for exchange in exchanges:
                for result in records(exchange, validating=validating, printing=printing):
                    yield result

    async def results(
        self, operations: Iterable[str | Operation], **how: Any
    ) -> AsyncIterator[Any]:
        """Only the values, as they arrive: None is a failure. `how` is as for `operate`."""
        async for result in self.operate(operations, **how):
            yield result.value

    async def process(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        depth: int = 0,
        validating: bool = False,
        printing: bool = False,
    ) -> tuple[int, list[Any]]:
        """(how many failed, every value); arguments as for `operate`."""
        await self.renew()
        pipeline = self.pipeline_of(operations, index, fragment, multiple, timeout, depth or 1)
        tally = tally_of(validating=validating, printing=printing)
        async for exchange in self.drive(pipeline, eager=bool(depth)):
            tally.add(exchange)
        return tally.failures, tally.values

    async def drive(
        self, pipeline: Pipeline, *, eager: bool = True
    ) -> AsyncGenerator[Exchange, None]:
        """The pipeline's exchanges as they finish, in order."""
        async with contextlib.aclosing(self.connection.results(pipeline, eager=eager)) as steps:
            async for exchange in steps:
                self.learn(exchange)
                yield exchange

    # -- many reads, again and again --------------------------------------------------------------

    async def read_plan(
        self, plan: ReadPlan, depth: int = 4, timeout: float | None = None
    ) -> list[Any]:
        """A value for each operation of the plan: a scalar, a list for a range, None on failure."""
        await self.renew()
        run = self.run_of(plan, depth, timeout)
        await self.connection.run(run)
        return values_of(run)

    async def read_tags(
        self,
        tags: Sequence[str],
        depth: int = 4,
        multiple: int | bool = True,
        timeout: float | None = None,
    ) -> list[Any]:
        """A value for each tag, as fast as the target allows; packets are remembered."""
        await self.renew()
        return await self.read_plan(self.plan_of(tags, multiple), depth, timeout)

    # -- one request, and what the target is and has ----------------------------------------------

    async def request(
        self, request: bytes, *, timeout: float | None = None, carrier: Carrier | None = None
    ) -> MessageRouterReply:
        """The reply to one Message Router request."""
        if await self.renew() and carrier is not None and carrier.connection is not None:
            carrier = self.carrier
        reply, _ = await self.connection.request(
            request, timeout_s=self._reply_s(timeout), carrier=carrier or self.carrier
        )
        return reply

    async def command(self, command: int, timeout: float | None = None, data: bytes = b"") -> bytes:
        """The data of the reply to an encapsulation command, e.g. List Identity."""
        await self.renew()
        return await self.connection.command(command, timeout_s=self._reply_s(timeout), data=data)

    async def browse(self, timeout: float | None = None) -> TagTree:
        """The target's tags and structures; its structures read and write as dicts from now on."""
        conversation = self.browsing()
        request = next(conversation)
        while True:
            reply = await self.request(request, timeout=timeout)
            try:
                request = conversation.send(reply)
            except StopIteration as finished:
                tree: TagTree = finished.value
                return tree

    async def identity(self, timeout: float | None = None) -> IdentityItem | None:
        """Who the target says it is."""
        return first_identity(await self.command(Command.LIST_IDENTITY, timeout))

    async def services(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The items of a List Services reply."""
        return await self.list_command(Command.LIST_SERVICES, timeout)

    async def interfaces(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The items of a List Interfaces reply; most targets have none."""
        return await self.list_command(LIST_INTERFACES, timeout)

    async def list_command(
        self, command: int, timeout: float | None = None, data: bytes = b""
    ) -> list[dict[str, Any]]:
        """The items of the reply to any list command, as dicts under the documented names."""
        return cpf_items(await self.command(command, timeout, data))

    list_identity = identity  # the names of earlier releases; nothing is harvested by hand here
    list_services = services
    list_interfaces = interfaces

    # -- the class 3 connection -------------------------------------------------------------------

    async def forward_open(self, request: ConnectionRequest, timeout: float | None = None) -> None:
        """Open a class 3 connection; every operation travels over it from then on."""
        await self.renew()
        await self._open_class3(request, timeout)
        self._wanted = request

    async def _open_class3(self, request: ConnectionRequest, timeout: float | None) -> None:
        await self.connection.forward_open(request, timeout_s=self._reply_s(timeout))
        self.carrier = self.connection.carrier

    async def forward_close(self, timeout: float | None = None) -> None:
        """Close the class 3 connection; operations travel unconnected from then on."""
        self._wanted = None
        self.carrier = self.route.carrier
        await self.connection.forward_close(timeout_s=self._reply_s(timeout))
