"""Operations over one connection: synchronous or pipelined, alone or in packets, typed results.

Connector   registers a session; requests travel unconnected, to `route_path` via `send_path`
Implicit    opens a class 3 connection besides and sends everything over it
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cpppod.client.connection import Address, Client, Loose
from cpppod.client.lanes import Route, connection_wanted
from cpppod.client.results import Result, count_failures, is_read, result_of, summary_line
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.types import STRUCTURE
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.operations import Operation, parse_operations
from cpppod.protocols.enip.originator import Answer, State
from cpppod.protocols.enip.originator_batch import encode_batch
from cpppod.protocols.enip.originator_errors import (
    CommunicationCeased,
    EnipStatusError,
    ForwardOpenRefused,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator_exchange import Exchange, ReadTag
from cpppod.protocols.enip.originator_lane import Lane
from cpppod.protocols.enip.originator_methods import make_exchange
from cpppod.protocols.enip.originator_opening import Opening, numbered
from cpppod.protocols.enip.originator_pipeline import (
    Pipeline,
    raise_trouble,
    trouble_of,
)
from cpppod.protocols.enip.originator_plan import PlanRun, ReadPlan
from cpppod.protocols.enip.originator_route import RoutePath, encode_path
from cpppod.protocols.enip.originator_structures import TagTree, browse
from cpppod.protocols.errors import EncodeError

CACHED_PLANS = 16  # lists of tags whose packets are kept; the least recently used goes
LEARNED_TYPES = 16_384  # paths whose type is remembered for later writes


class _One:
    """The owner of a request that somebody waits for alone."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Answer | None = None

    def receive(self, answer: Answer) -> None:
        self.answer = answer


class Connector(Client):
    """A registered session with a target; over UDP there is nothing to register.

    Args:
        host, port, timeout, udp, broadcast, source_address: as for `Client`.
        route_path: from the target on: `"1/0"` (the default), `[{"port": 1, "link": 0}]` ...;
            False, [] or "" for none.
        send_path: who unwraps a routed request: `"@6/1"` (the default), "" for nobody: requests
            go as they are, as simple devices want them.
        priority_time_tick, timeout_ticks: how long a routed request may take:
            2**tick ms x ticks.

    Raises:
        CommunicationCeased, ReplyTimeout: no target, or no answer.
        EnipStatusError: it registers no session.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        timeout: float | None = None,
        *,
        udp: bool = False,
        broadcast: bool = False,
        source_address: str | Address | None = None,
        route_path: RoutePath = None,
        send_path: str | None = None,
        priority_time_tick: int | None = None,
        timeout_ticks: int | None = None,
    ) -> None:
        super().__init__(
            host, port, timeout, udp=udp, broadcast=broadcast, source_address=source_address
        )
        try:
            self.route = Route(route_path, send_path, priority_time_tick, timeout_ticks)
            self.lane = Lane(self.route.hop)
            self.layouts: dict[int, Structure] = {}
            self.types: dict[bytes, tuple[int, int]] = {}
            self._plans: dict[tuple[tuple[str, ...], int | bool, Lane], ReadPlan] = {}
            if not self.udp:
                self.register(timeout)
        except BaseException:
            self.abort("not registered")
            raise

    # -- session and connection -------------------------------------------------------------------

    def register(self, timeout: float | None = None) -> None:
        """Register the session (done by the constructor)."""
        if self.protocol.state is not State.NEW:
            return
        owner = _One()
        self.protocol.register(owner, deadline=_deadline(timeout))
        self._wait(owner)

    def request(
        self, request: bytes, *, timeout: float | None = None, lane: Lane | None = None
    ) -> MessageRouterReply:
        """The reply to one Message Router request.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        owner = _One()
        self._send(request, owner, lane or self.lane, timeout)
        answer = self._wait(owner)
        assert answer.reply is not None
        return answer.reply

    def _send(self, request: bytes, owner: Any, lane: Lane, timeout: float | None) -> None:
        deadline = _deadline(self.timeout if timeout is None else timeout)
        if lane.connection is not None:
            self.protocol.send_connected(lane.connection, request, owner, deadline=deadline)
        else:
            self.protocol.send_unconnected(request, owner, deadline=deadline, hop=lane.hop)

    def _wait(self, owner: _One) -> Answer:
        self.flush()
        while owner.answer is None:
            if self.closed:
                raise CommunicationCeased(self.protocol.violation)
            self.pump(None)
        if owner.answer.trouble is not None:
            raise trouble_of(owner.answer, self.protocol.violation)
        return owner.answer

    def browse(self, timeout: float | None = None) -> TagTree:
        """The target's tags and structures; its structures read and write as dicts from now on.

        Raises:
            BrowseRefused: the target does not tell them.
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        conversation = browse()
        request = next(conversation)
        while True:
            try:
                request = conversation.send(self.request(request, timeout=timeout))
            except StopIteration as finished:
                tree: TagTree = finished.value
                break
        self.layouts.update(tree.layouts)
        for tag in tree.tags:
            if isinstance(tag.type, Structure) and len(self.types) < LEARNED_TYPES:
                self.types[encode_path(tag.name)] = STRUCTURE, tag.type.handle
        return tree

    # -- operations -------------------------------------------------------------------------------

    def synchronous(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
    ) -> Iterator[Result]:
        """Each result before the next request is sent.

        Args:
            operations: dicts (`parse_operations`), or texts of the mini-language.
            index: number of the first message, its sender context.
            fragment: use the Fragmented services from the first byte on; without it they are used
                where a value is too large for one message.
            multiple: put operations into Multiple Service Packets of up to so many bytes; True:
                as large as the connection allows.
            timeout: seconds for each reply; None as the connection was told.

        Raises:
            CommunicationCeased, ReplyTimeout: the connection is of no further use.
            EnipStatusError: the target refused at the encapsulation layer.
            EncodeError: an operation that cannot be said (`OperationError`: or understood); the
                results of those before it came first.
        """
        return self._run(operations, index, fragment, multiple, timeout, depth=1, eager=False)

    def pipeline(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        depth: int = 1,
    ) -> Iterator[Result]:
        """Results in order, with up to `depth` requests in flight meanwhile; else `synchronous`."""
        return self._run(operations, index, fragment, multiple, timeout, depth=depth, eager=True)

    def operate(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        depth: int = 0,
        validating: bool = False,
        printing: bool = False,
    ) -> Iterator[Result]:
        """`pipeline` with a depth, else `synchronous`.

        Args:
            validating: give what was written as the value of a write that succeeded.
            printing: so too, and print a line for each.
        """
        results = self._run(
            operations,
            index,
            fragment,
            multiple,
            timeout,
            depth=depth or 1,
            eager=bool(depth),
            validating=validating or printing,
        )
        for result in results:
            if printing:
                print(summary_line(result))
            yield result

    def results(self, operations: Iterable[str | Operation], **how: Any) -> Iterator[Any]:
        """Only the values, as they arrive: None is a failure. `how` is as for `operate`."""
        for result in self.operate(operations, **how):
            yield result.value

    def process(self, operations: Iterable[str | Operation], **how: Any) -> tuple[int, list[Any]]:
        """(how many failed, every value). `how` is as for `operate`."""
        return count_failures(self.operate(operations, **how))

    def _run(
        self,
        operations: Iterable[str | Operation],
        index: int,
        fragment: bool,
        multiple: int | bool,
        timeout: float | None,
        *,
        depth: int,
        eager: bool,
        validating: bool = False,
    ) -> Iterator[Result]:
        pipeline = Pipeline(
            self.protocol,
            (self.exchange(operation, fragment=fragment) for operation in operations),
            self.lane,
            depth=depth,
            multiple=multiple,
            timeout_s=self.timeout if timeout is None else timeout,
            index=index,
        )
        for exchange in self.drive(pipeline, eager=eager):
            yield result_of(exchange, validating=validating)

    def drive(self, pipeline: Pipeline, *, eager: bool = True) -> Iterator[Exchange]:
        """The pipeline's exchanges as they finish, in order.

        Raises:
            as `synchronous`.
        """
        try:
            while True:
                while (exchange := pipeline.next_result()) is not None:
                    self._learn(exchange)
                    yield exchange
                self._issue(pipeline)
                if pipeline.done or self.closed:
                    break
                self.pump(None)
                if eager:
                    self._issue(pipeline)
            while (exchange := pipeline.next_result()) is not None:
                yield exchange
            raise_trouble(pipeline, self.protocol.violation)
        finally:
            if not pipeline.done:
                pipeline.abandon()

    def _issue(self, pipeline: Pipeline) -> None:
        if not self.closed:
            pipeline.issue(time.monotonic())
            self.flush()

    def exchange(self, operation: str | Operation, *, fragment: bool = False) -> Exchange:
        """The exchange that performs an operation on this connection.

        Raises:
            EncodeError: it cannot be understood or said.
        """
        if isinstance(operation, str):
            (operation,) = parse_operations([operation])
        exchange = make_exchange(operation, self.layouts, types=self.types, fragment=fragment)
        if not Route.KEYS.isdisjoint(operation):
            exchange.lane = Lane(self.route.override(operation).hop)
        return exchange

    def _learn(self, exchange: Exchange) -> None:
        """Remember what type a tag has: strings and structures are written by it."""
        kind = exchange.type if isinstance(exchange, ReadTag) else None
        if kind is not None and kind[1] and len(self.types) < LEARNED_TYPES:
            self.types[exchange.path] = kind

    # -- many reads, again and again --------------------------------------------------------------

    def prepare(self, tags: Iterable[str | Operation], multiple: int | bool = True) -> ReadPlan:
        """A plan for reads that are repeated: `read_plan` performs it.

        Raises:
            EncodeError: an operation that cannot be understood or said, or that is no read.
        """
        operations = list(parse_operations(tags))
        for operation in operations:
            if not is_read(operation):
                raise EncodeError("a plan only reads", status=0x08)
        return ReadPlan(operations, self.lane, self.layouts, multiple=multiple)

    def read_plan(self, plan: ReadPlan, depth: int = 4, timeout: float | None = None) -> list[Any]:
        """A value for each operation of the plan: a scalar, a list for a range, None on failure.

        Raises:
            as `synchronous`.
        """
        timeout = self.timeout if timeout is None else timeout
        run = PlanRun(self.protocol, plan, depth=depth, timeout_s=timeout)
        for _ in self.drive(run):
            pass
        if run.refuses_batches:
            plan.packets = plan.unbatched().packets
        return run.values

    def read_tags(
        self,
        tags: Sequence[str],
        depth: int = 4,
        multiple: int | bool = True,
        timeout: float | None = None,
    ) -> list[Any]:
        """A value for each tag, as fast as the target allows; packets are remembered.

        A scalar for `Speed` or `Limits[3]`, a list for `Limits[0-9]`, None where it failed
        (`process` tells why).

        Raises:
            as `synchronous`.
        """
        key = (tuple(tags), multiple, self.lane)
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self.prepare(tags, multiple)
        while len(self._plans) >= CACHED_PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = plan
        return self.read_plan(plan, depth, timeout)

    # -- requests whose reply is harvested by hand ------------------------------------------------

    def read(
        self,
        path: str | Iterable[Mapping[str, Any]],
        elements: int = 1,
        offset: int | None = 0,
        **how: Any,
    ) -> Operation:
        """Issue Read Tag Fragmented (Read Tag with `offset=None`); the operation is returned."""
        return self._issue_one("read", path, {"elements": elements, "offset": offset}, how)

    def write(
        self,
        path: str | Iterable[Mapping[str, Any]],
        data: list[Any],
        elements: int = 1,
        offset: int | None = 0,
        tag_type: int | None = None,
        **how: Any,
    ) -> Operation:
        """Issue Write Tag Fragmented (Write Tag with `offset=None`); the operation is returned."""
        extra = {"data": data, "elements": elements, "offset": offset, "tag_type": tag_type}
        return self._issue_one("write", path, extra, how)

    def get_attributes_all(self, path: str | Iterable[Mapping[str, Any]], **how: Any) -> Operation:
        """Issue Get Attributes All; the operation is returned."""
        return self._issue_one("get_attributes_all", path, {}, how)

    def get_attribute_single(
        self, path: str | Iterable[Mapping[str, Any]], **how: Any
    ) -> Operation:
        """Issue Get Attribute Single; the operation is returned."""
        return self._issue_one("get_attribute_single", path, {}, how)

    def set_attribute_single(
        self,
        path: str | Iterable[Mapping[str, Any]],
        data: list[Any],
        elements: int = 1,
        tag_type: int | None = None,
        **how: Any,
    ) -> Operation:
        """Issue Set Attribute Single: bytes, or values of the CIP type `tag_type`."""
        extra = {"data": data, "elements": elements, "tag_type": tag_type}
        return self._issue_one("set_attribute_single", path, extra, how)

    def get_attribute_list(
        self, path: str | Iterable[Mapping[str, Any]], attributes: list[int], **how: Any
    ) -> Operation:
        """Issue Get Attribute List for these attribute numbers."""
        return self._issue_one("get_attribute_list", path, {"attributes": attributes}, how)

    def service_code(
        self,
        code: int,
        path: str | Iterable[Mapping[str, Any]],
        data: bytes | list[int] | None = None,
        **how: Any,
    ) -> Operation:
        """Issue any service by its code."""
        return self._issue_one("service_code", path, {"code": code, "data": data}, how)

    def multiple(self, request: Iterable[Operation], **how: Any) -> list[Operation]:
        """Issue operations as one Multiple Service Packet; the reply is harvested whole."""
        operations = list(request)
        requests = [self._encoded(operation) for operation in operations]
        lane = self._lane_of(how)
        owner = Loose(self, Command.SEND_RR_DATA, b"", {"method": "multiple"})
        self._send(encode_batch(requests), owner, lane, how.get("timeout"))
        self.flush()
        return operations

    def unconnected_send(
        self, request: bytes | Operation, timeout: float | None = None, **how: Any
    ) -> None:
        """Send a request made with `send=False`, or as bytes, outside any connection."""
        self._send_loose(request, Lane(self.route.override(how).hop), timeout, how)

    def connected_send(
        self, request: bytes | Operation, timeout: float | None = None, **how: Any
    ) -> None:
        """Send a request made with `send=False`, or as bytes, over the class 3 connection."""
        if self.lane.connection is None:
            raise EncodeError("no class 3 connection is open", status=0x07)
        self._send_loose(request, self.lane, timeout, how)

    def _issue_one(
        self,
        method: str,
        path: str | Iterable[Mapping[str, Any]],
        extra: dict[str, Any],
        how: dict[str, Any],
    ) -> Operation:
        operation: Operation = {"method": method}
        if isinstance(path, str):
            (parsed,) = parse_operations([path])
            operation["path"] = parsed["path"]
            if "elements" in parsed:
                extra = {**extra, "elements": parsed["elements"]}
        else:
            operation["path"] = list(path)
        operation |= {key: value for key, value in extra.items() if value is not None}
        operation |= {key: how[key] for key in Route.KEYS & set(how)}
        if how.get("send", True):
            self._send_loose(operation, self._lane_of(operation), how.get("timeout"), how)
        return operation

    def _lane_of(self, how: Mapping[str, Any]) -> Lane:
        if Route.KEYS.isdisjoint(how):
            return self.lane
        return Lane(self.route.override(how).hop)

    def _encoded(self, operation: Operation) -> bytes:
        part = self.exchange(operation).next_part(self.lane.room)
        assert part is not None, "an exchange begins with a request"
        return part.request

    def _send_loose(
        self,
        request: bytes | Operation,
        lane: Lane,
        timeout: float | None,
        how: Mapping[str, Any],
    ) -> None:
        operation = None if isinstance(request, bytes) else request
        encoded = request if isinstance(request, bytes) else self._encoded(request)
        context = bytes(how.get("sender_context", b""))[:8]
        owner = Loose(self, Command.SEND_RR_DATA, context, operation)
        deadline = _deadline(timeout)
        if lane.connection is not None:
            owner.command = Command.SEND_UNIT_DATA
            self.protocol.send_connected(lane.connection, encoded, owner, deadline=deadline)
        else:
            self.protocol.send_unconnected(
                encoded, owner, deadline=deadline, hop=lane.hop, context=context or None
            )
        self.flush()


class Implicit(Connector):
    """A session with a class 3 connection; every operation travels over it.

    Args:
        connection_path: ports, then the object: `"1/0/@2/1"`; by default the route path and @2/1.
        O_T, T_O: what to ask for: `{"size": 4000, "RPI": 2000000}` (bytes, microseconds); sizes
            above 511 try a Large Forward Open first, and the small one where it is refused.
        others: as for `Connector`.

    Raises:
        ForwardOpenRefused: the target opens no connection.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        timeout: float | None = None,
        *,
        connection_path: str | None = None,
        O_T: Mapping[str, Any] | None = None,
        T_O: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(host, port, timeout, **others)
        self.opening: Opening | None = None
        try:
            wanted = connection_wanted(self.route, connection_path, O_T or T_O or {})
            self.forward_open(wanted, timeout)
        except BaseException:
            self.abort("no connection")
            raise

    def forward_open(self, wanted: Any, timeout: float | None = None) -> None:
        """Open the class 3 connection (done by the constructor)."""
        opening = Opening(
            numbered(
                wanted,
                serial=int.from_bytes(os.urandom(2), "little"),
                originator_serial=os.getpid(),
                t_o_id=int.from_bytes(os.urandom(4), "little") | 1,
            )
        )
        while not opening.done:
            reply = self.request(opening.request(), timeout=timeout, lane=Lane())
            opening.receive(reply)
        if opening.connection is None:
            assert opening.refused is not None
            raise ForwardOpenRefused(opening.refused.status, opening.refused.extended)
        self.protocol.opened(opening.connection)
        self.opening = opening
        self.lane = replace(Lane(), connection=opening.connection)

    def forward_close(self, timeout: float | None = None) -> None:
        """Close the class 3 connection; operations travel unconnected from then on."""
        opening, self.opening = self.opening, None
        if opening is None or opening.connection is None:
            return
        self.protocol.closed(opening.connection)
        self.lane = Lane(self.route.hop)
        self.request(opening.closing(), timeout=timeout, lane=Lane())

    def close(self) -> None:
        """Close the class 3 connection, the session and the socket."""
        if not self.closed:
            try:
                self.forward_close(timeout=1.0)
            except (OSError, EnipStatusError, ReplyTimeout):
                pass
        super().close()


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout
