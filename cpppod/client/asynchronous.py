"""The async twin of `Connector`: the same operations and results on an asyncio loop.

    async with await AsyncConnector.open("10.0.0.5", timeout=2.0) as connection:
        async for result in connection.pipeline(["Speed", "Limit=(REAL)3.5"], depth=10):
            print(result.description, result.value)

Several tasks may use one connection at once: each gets its own results.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from cpppod.client.connection import Address
from cpppod.client.connector import CACHED_PLANS
from cpppod.client.responses import LIST_INTERFACES, cpf_items
from cpppod.client.results import Result, Tally, is_read, results_of, summary_line
from cpppod.client.route import Route, connection_request
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.types import STRUCTURE
from cpppod.protocols.enip.discovery import PORT, IdentityItem, decode_identities
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.blocks import Block, BlockSource, PacketMemory
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.exchange import Exchange, ReadTag
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation, as_parsed, parse_operations
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.enip.originator.plan import PlanRun, ReadPlan
from cpppod.protocols.enip.originator.route import RoutePath, encode_path
from cpppod.protocols.enip.originator.structures import TagTree, browse
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.transport.enip_connection import OriginatorConnection

REPLY_S = 86_400.0  # a reply's deadline where the caller gave none


class AsyncConnector:
    """A registered session on an asyncio loop; made by `open`."""

    def __init__(
        self, connection: OriginatorConnection, route: Route, timeout: float | None
    ) -> None:
        self.connection = connection
        self.route, self.timeout = route, timeout
        self.carrier = Carrier(route.hop)
        self.layouts: dict[int, Structure] = {}
        self.types: dict[bytes, tuple[int, int]] = {}
        self.packets = PacketMemory()
        self._plans: dict[tuple[tuple[str, ...], int | bool], ReadPlan] = {}

    @classmethod
    async def open(
        cls,
        host: str = "localhost",
        port: int | None = None,
        timeout: float | None = None,
        *,
        connected: bool = False,
        source_address: Address | None = None,
        route_path: RoutePath = None,
        send_path: str | None = None,
        priority_time_tick: int | None = None,
        timeout_ticks: int | None = None,
        connection_path: str | None = None,
        O_T: Mapping[str, Any] | None = None,
    ) -> "AsyncConnector":
        """Connect and register; with `connected` open a class 3 connection and use it.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError, ForwardOpenRefused: no way in.
            EncodeError: a path that is none.
        """
        route = Route(route_path, send_path, priority_time_tick, timeout_ticks)
        connection = await OriginatorConnection.connect(
            host, port or PORT, timeout_s=timeout, source_address=source_address
        )
        made = cls(connection, route, timeout)
        if connected:
            try:
                await connection.forward_open(
                    connection_request(route, connection_path, O_T or {}),
                    timeout_s=made._reply_s(None),
                )
            except BaseException:
                await connection.close()
                raise
            made.carrier = connection.carrier
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the class 3 connection, the session and the socket."""
        await self.connection.close()

    @property
    def closed(self) -> bool:
        """Whether the connection is of no further use."""
        return self.connection.closed

    def _reply_s(self, timeout: float | None) -> float:
        timeout = self.timeout if timeout is None else timeout
        return REPLY_S if timeout is None else timeout

    # -- operations -------------------------------------------------------------------------------

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
        """Results in order, with up to `depth` requests in flight; as `Connector.pipeline`."""
        pipeline = self._pipeline(operations, index, fragment, multiple, timeout, depth)
        async for exchange in self.connection.results(pipeline, eager=eager):
            self._learn(exchange)
            for result in results_of(exchange, validating=validating):
                yield result

    def _pipeline(
        self,
        operations: Iterable[str | Operation],
        index: int,
        fragment: bool,
        multiple: int | bool,
        timeout: float | None,
        depth: int,
    ) -> Pipeline:
        make = partial(self.exchange, fragment=fragment)
        source: Iterable[Exchange] = map(make, operations)
        if multiple and not fragment:
            source = BlockSource(
                as_parsed(operations), make, self.carrier, self.packets, limit=multiple
            )
        return Pipeline(
            self.connection.session,
            source,
            self.carrier,
            depth=depth,
            multiple=multiple,
            timeout_s=self.timeout if timeout is None else timeout,
            index=index,
        )

    def _learn(self, exchange: Exchange) -> None:
        """Remember what type a tag has: strings and structures are written by it."""
        if isinstance(exchange, Block):
            for own in exchange.exchanges:
                self._learn(own)
        elif isinstance(exchange, ReadTag) and exchange.type is not None and exchange.type[1]:
            self.types[exchange.path] = exchange.type

    def synchronous(
        self, operations: Iterable[str | Operation], **how: Any
    ) -> AsyncIterator[Result]:
        """Each result before the next request is sent; as `Connector.synchronous`."""
        return self.pipeline(operations, depth=1, eager=False, **how)

    async def operate(
        self,
        operations: Iterable[str | Operation],
        depth: int = 0,
        validating: bool = False,
        printing: bool = False,
        **how: Any,
    ) -> AsyncIterator[Result]:
        """`pipeline` with a depth, else `synchronous`; as `Connector.operate`."""
        async for result in self.pipeline(
            operations,
            depth=depth or 1,
            eager=bool(depth),
            validating=validating or printing,
            **how,
        ):
            if printing:
                print(summary_line(result))
            yield result

    async def results(
        self, operations: Iterable[str | Operation], **how: Any
    ) -> AsyncIterator[Any]:
        """Only the values, as they arrive: None is a failure."""
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
        """(how many failed, every value); as `Connector.process`."""
        pipeline = self._pipeline(operations, index, fragment, multiple, timeout, depth or 1)
        tally = Tally(validating=validating or printing, printing=printing)
        async for exchange in self.connection.results(pipeline, eager=bool(depth)):
            self._learn(exchange)
            tally.add(exchange)
        return tally.failures, tally.values

    def exchange(self, operation: str | Operation, *, fragment: bool = False) -> Exchange:
        """The exchange that performs an operation on this connection.

        Raises:
            EncodeError: it cannot be understood or said.
        """
        if isinstance(operation, str):
            (operation,) = parse_operations([operation])
        exchange = make_exchange(operation, self.layouts, types=self.types, fragment=fragment)
        if not Route.KEYS.isdisjoint(operation):
            exchange.carrier = Carrier(self.route.override(operation).hop)
        return exchange

    # -- plans, requests, browsing ----------------------------------------------------------------

    def prepare(self, tags: Iterable[str | Operation], multiple: int | bool = True) -> ReadPlan:
        """A plan for reads that are repeated; as `Connector.prepare`."""
        operations = list(parse_operations(tags))
        if not all(is_read(operation) for operation in operations):
            raise EncodeError("a plan only reads", status=0x08)
        return ReadPlan(operations, self.carrier, self.layouts, multiple=multiple)

    async def read_plan(
        self, plan: ReadPlan, depth: int = 4, timeout: float | None = None
    ) -> list[Any]:
        """A value for each operation of the plan; as `Connector.read_plan`."""
        timeout = self.timeout if timeout is None else timeout
        run = PlanRun(self.connection.session, plan, depth=depth, timeout_s=timeout)
        await self.connection.run(run)
        if run.refuses_batches:
            plan.packets = plan.unbatched().packets
        return run.values

    async def read_tags(
        self,
        tags: Sequence[str],
        depth: int = 4,
        multiple: int | bool = True,
        timeout: float | None = None,
    ) -> list[Any]:
        """A value for each tag, by packets that are remembered; as `Connector.read_tags`."""
        key = (tuple(tags), multiple)
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self.prepare(tags, multiple)
        while len(self._plans) >= CACHED_PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = plan
        return await self.read_plan(plan, depth, timeout)

    async def request(
        self, request: bytes, *, timeout: float | None = None, carrier: Carrier | None = None
    ) -> MessageRouterReply:
        """The reply to one Message Router request."""
        reply, _ = await self.connection.request(
            request, timeout_s=self._reply_s(timeout), carrier=carrier or self.carrier
        )
        return reply

    async def list_services(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The items of a List Services reply."""
        return await self.list_command(Command.LIST_SERVICES, timeout)

    async def list_interfaces(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The items of a List Interfaces reply; most targets have none."""
        return await self.list_command(LIST_INTERFACES, timeout)

    async def list_command(
        self, command: int, timeout: float | None = None, data: bytes = b""
    ) -> list[dict[str, Any]]:
        """The items of the reply to any list command, as dicts under the documented names."""
        return cpf_items(
            await self.connection.command(command, timeout_s=self._reply_s(timeout), data=data)
        )

    async def list_identity(self, timeout: float | None = None) -> IdentityItem | None:
        """Who the target says it is."""
        data = await self.connection.list_identity(timeout_s=self._reply_s(timeout))
        identities = decode_identities(data)
        return identities[0] if identities else None

    async def browse(self, timeout: float | None = None) -> TagTree:
        """The target's tags and structures; as `Connector.browse`."""
        conversation = browse()
        request = next(conversation)
        while True:
            try:
                request = conversation.send(await self.request(request, timeout=timeout))
            except StopIteration as finished:
                tree: TagTree = finished.value
                break
        self.layouts.update(tree.layouts)
        for tag in tree.tags:
            if isinstance(tag.type, Structure):
                self.types[encode_path(tag.name)] = STRUCTURE, tag.type.handle
        return tree
