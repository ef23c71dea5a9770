"""Operations over one connection: synchronous or pipelined, alone or in packets, typed results.

    SessionClient   registers a session; requests travel to `route_path` via `send_path`
    └ Connector     carries operations out
      └ Implicit    opens a class 3 connection and sends everything over it

`AsyncConnector` is its twin for asyncio.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from cpppod.client.results import Result, Tally, is_read, results_of, summary_line
from cpppod.client.session import SessionClient
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.types import STRUCTURE
from cpppod.protocols.enip.originator.blocks import Block, BlockSource
from cpppod.protocols.enip.originator.exchange import Exchange, ReadTag
from cpppod.protocols.enip.originator.operations import Operation, as_parsed, parse_operations
from cpppod.protocols.enip.originator.pipeline import Pipeline, raise_trouble
from cpppod.protocols.enip.originator.plan import PlanRun, ReadPlan
from cpppod.protocols.enip.originator.route import encode_path
from cpppod.protocols.enip.originator.structures import TagTree, browse
from cpppod.protocols.model.errors import EncodeError

CACHED_PLANS = 16  # lists of tags whose packets are kept; the least recently used goes
LEARNED_TYPES = 16_384  # paths whose type is remembered for later writes


class Connector(SessionClient):
    """A registered session that carries operations out; its arguments are `SessionClient`'s."""

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

    def process(
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
        pipeline = self._pipeline(operations, index, fragment, multiple, timeout, depth or 1)
        tally = Tally(validating=validating or printing, printing=printing)
        for exchange in self.drive(pipeline, eager=bool(depth)):
            tally.add(exchange)
        return tally.failures, tally.values

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
        pipeline = self._pipeline(operations, index, fragment, multiple, timeout, depth)
        for exchange in self.drive(pipeline, eager=eager):
            yield from results_of(exchange, validating=validating)

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
            self.protocol,
            source,
            self.carrier,
            depth=depth,
            multiple=multiple,
            timeout_s=self.timeout if timeout is None else timeout,
            index=index,
        )

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

    def _learn(self, exchange: Exchange) -> None:
        """Remember what type a tag has: strings and structures are written by it."""
        if isinstance(exchange, Block):
            for own in exchange.exchanges:
                self._learn(own)
            return
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
        return ReadPlan(operations, self.carrier, self.layouts, multiple=multiple)

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
        key = (tuple(tags), multiple, self.carrier)
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self.prepare(tags, multiple)
        while len(self._plans) >= CACHED_PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = plan
        return self.read_plan(plan, depth, timeout)
