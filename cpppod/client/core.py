"""What a connector does, without a socket: the blocking and the asyncio shell stand on it.

    operations ─► exchanges ─► `pipeline_of` ─┐
    tags ───────► `plan_of` ───► `run_of` ────┴─► the shell's `drive` ─► exchanges ─► `records`

It holds what a connection remembers: the structures that `browse` told, the types that reads told
(writes of strings and structures need them), and the packets of lists of tags that come again.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from cpppod.client.results import Result, Tally, is_read, results_of, summary_line
from cpppod.client.route import Route
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.types import STRUCTURE
from cpppod.protocols.enip.discovery import IdentityItem, decode_identities
from cpppod.protocols.enip.originator.blocks import Block, BlockSource, PacketMemory
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.exchange import Exchange, ReadTag
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation, as_parsed, parse_operations
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.enip.originator.plan import PlanRun, ReadPlan
from cpppod.protocols.enip.originator.route import encode_path
from cpppod.protocols.enip.originator.session import OriginatorSession
from cpppod.protocols.enip.originator.structures import TagTree, browse
from cpppod.protocols.model.errors import EncodeError

CACHED_PLANS = 16  # lists of tags whose packets are kept; the least recently used goes
LEARNED_TYPES = 16_384  # paths whose type is remembered for later writes

Conversation = Generator[bytes, MessageRouterReply, Any]  # gives requests, is sent their replies


class TypeMemory(dict[bytes, tuple[int, int]]):
    """(type, structure handle) by encoded path; when it is full no new path is taken in."""

    def learn(self, path: bytes, kind: tuple[int, int]) -> None:
        """Remember what type the tag at `path` has."""
        if path in self or len(self) < LEARNED_TYPES:
            self[path] = kind


class ConnectorCore:
    """What both connectors are.

    Attributes:
        protocol: the encapsulation session.
        route: how unconnected requests are wrapped; `carrier` is how requests travel now.
        timeout: seconds for a reply where a call names none; None waits without limit.
        layouts: structures by handle, `types` by encoded path, as far as the target told them.
        packets: requests of packets that come again (`multiple`).
    """

    def __init__(self, protocol: OriginatorSession, route: Route, timeout: float | None) -> None:
        self.protocol = protocol
        self.route, self.timeout = route, timeout
        self.carrier = route.carrier
        self.layouts: dict[int, Structure] = {}
        self.types = TypeMemory()
        self.packets = PacketMemory()
        self._plans: dict[tuple[tuple[str, ...], int | bool, Carrier], ReadPlan] = {}

    @property
    def session(self) -> int:
        """The session handle, 0 without one."""
        return self.protocol.session

    def carrier_of(self, operation: Operation) -> Carrier:
        """How an operation travels: as its own `route_path`, `send_path` and times say, if any.

        Raises:
            EncodeError: they cannot be understood.
        """
        if Route.KEYS.isdisjoint(operation):
            return self.carrier
        return self.route.override(operation).carrier

    def exchange(self, operation: str | Operation, *, fragment: bool = False) -> Exchange:
        """The exchange that performs an operation on this connection.

        Raises:
            EncodeError: it cannot be understood or said.
        """
        if isinstance(operation, str):
            (operation,) = parse_operations([operation])
        exchange = make_exchange(operation, self.layouts, types=self.types, fragment=fragment)
        if not Route.KEYS.isdisjoint(operation):
            exchange.carrier = self.carrier_of(operation)
        return exchange

    def pipeline_of(
        self,
        operations: Iterable[str | Operation],
        index: int,
        fragment: bool,
        multiple: int | bool,
        timeout: float | None,
        depth: int,
    ) -> Pipeline:
        """The pipeline that performs `operations`; arguments as for `Connector.synchronous`."""
        make = partial(self.exchange, fragment=fragment)
        source: Iterable[Exchange] = map(make, operations)
        if multiple and not fragment:
            source = BlockSource(
                as_parsed(operations), make, self.carrier, self.packets, limit=multiple
            )
        return Pipeline(
            self.protocol,
            source,
            self.carrier,
            depth=depth,
            multiple=multiple,
            timeout_s=self.timeout if timeout is None else timeout,
            index=index,
        )

    def learn(self, exchange: Exchange) -> None:
        """Remember what type a tag has: strings and structures are written by it."""
        if isinstance(exchange, Block):
            for own in exchange.exchanges:
                self.learn(own)
        elif isinstance(exchange, ReadTag) and exchange.type is not None and exchange.type[1]:
            self.types.learn(exchange.path, exchange.type)

    # -- many reads, again and again --------------------------------------------------------------

    def prepare(self, tags: Iterable[str | Operation], multiple: int | bool = True) -> ReadPlan:
        """A plan for reads that are repeated: `read_plan` performs it.

        Raises:
            EncodeError: an operation that cannot be understood or said, or that is no read.
        """
        operations = list(parse_operations(tags))
        if not all(map(is_read, operations)):
            raise EncodeError("a plan only reads", status=0x08)
        return ReadPlan(operations, self.carrier, self.layouts, multiple=multiple)

    def plan_of(self, tags: Sequence[str], multiple: int | bool) -> ReadPlan:
        """The plan for these tags, remembered from the last time if it is there.

        Raises:
            EncodeError: as `prepare`.
        """
        key = (tuple(tags), multiple, self.carrier)
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self.prepare(tags, multiple)
        while len(self._plans) >= CACHED_PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = plan
        return plan

    def run_of(self, plan: ReadPlan, depth: int, timeout: float | None) -> PlanRun:
        """One performance of a plan; one of a connection before this one travels over this."""
        if plan.carrier.connection is not None:
            plan.carrier = self.carrier
        timeout = self.timeout if timeout is None else timeout
        return PlanRun(self.protocol, plan, depth=depth, timeout_s=timeout)

    # -- conversations: the shell sends what they give, and sends them the replies ----------------

    def browsing(self) -> Generator[bytes, MessageRouterReply, TagTree]:
        """Asks for all tags and structures, and remembers them.

        Raises:
            BrowseRefused: the target does not tell them.
        """
        tree = yield from browse()
        self.layouts.update(tree.layouts)
        for tag in tree.tags:
            if isinstance(tag.type, Structure):
                self.types.learn(encode_path(tag.name), (STRUCTURE, tag.type.handle))
        return tree


def values_of(run: PlanRun) -> list[Any]:
    """What a plan's run has read; a target that knows no packets is asked without from now on."""
    if run.refuses_batches:
        run.plan.packets = run.plan.unbatched().packets
    return run.values


def records(exchange: Exchange, *, validating: bool, printing: bool) -> Iterator[Result]:
    """The records of a finished exchange; `printing` prints a line for each as it is taken."""
    for result in results_of(exchange, validating=validating or printing):
        if printing:
            print(summary_line(result))
        yield result


def tally_of(*, validating: bool, printing: bool) -> Tally:
    """What counts the exchanges of `process`."""
    return Tally(validating=validating or printing, printing=printing)


def first_identity(data: bytes) -> IdentityItem | None:
    """Who a List Identity reply says that the target is."""
    identities = decode_identities(data)
    return identities[0] if identities else None
