"""The blocking shell: operations over one connection, alone or in packets, typed results.

    SessionClient   registers a session; requests travel to `route_path` via `send_path`
    └ Connector     carries operations out
      └ Implicit    opens a class 3 connection and sends everything over it

What it does is written in `cpppod.client.core`; `AsyncConnector` is the shell for asyncio.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from cpppod.client.core import first_identity, records, tally_of, values_of
from cpppod.client.responses import LIST_INTERFACES, cpf_items
from cpppod.client.results import Result
from cpppod.client.route import connection_request
from cpppod.client.session import SessionClient
from cpppod.protocols.enip.discovery import IdentityItem
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import EnipStatusError
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.forward_open import ConnectionRequest, ForwardOpenExchange
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.pipeline import Pipeline, progress
from cpppod.protocols.enip.originator.plan import ReadPlan
from cpppod.protocols.enip.originator.structures import TagTree
from cpppod.workers.transport.enip_opening import CLOSING_S, new_opening

END = "end"  # of a pipeline
HELD = "held"  # by another thread


class Connector(SessionClient):
    """A registered session that carries operations out; its arguments are `SessionClient`'s."""

    # -- operations -------------------------------------------------------------------------------

    def synchronous(
        self,
        operations: Iterable[str | Operation],
        index: int = 0,
        fragment: bool = False,
        multiple: int | bool = 0,
        timeout: float | None = None,
        *,
        validating: bool = False,
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
            validating: give what was written as the value of a write that succeeded.

        Raises:
            CommunicationCeased, ReplyTimeout: the connection is of no further use.
            EnipStatusError: the target refused at the encapsulation layer.
            EncodeError: an operation that cannot be said (`OperationError`: or understood); the
                results of those before it came first.
        """
        return self.pipeline(
            operations, index, fragment, multiple, timeout, validating=validating, eager=False
        )

    def pipeline(
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
    ) -> Iterator[Result]:
        """Results in order, with up to `depth` requests in flight meanwhile; else `synchronous`.

        Args:
            eager: send on before handing out what has come.
        """
        self.renew(timeout)
        pipeline = self.pipeline_of(operations, index, fragment, multiple, timeout, depth)
        for exchange in self.drive(pipeline, eager=eager):
            yield from records(exchange, validating=validating, printing=False)

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
        self.renew(timeout)
        pipeline = self.pipeline_of(operations, index, fragment, multiple, timeout, depth or 1)
        for exchange in self.drive(pipeline, eager=bool(depth)):
            yield from records(exchange, validating=validating, printing=printing)

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
        self.renew(timeout)
        pipeline = self.pipeline_of(operations, index, fragment, multiple, timeout, depth or 1)
        tally = tally_of(validating=validating, printing=printing)
        for exchange in self.drive(pipeline, eager=bool(depth)):
            tally.add(exchange)
        return tally.failures, tally.values

    def drive(self, pipeline: Pipeline, *, eager: bool = True) -> Iterator[Exchange]:
        """The pipeline's exchanges as they finish, in order.

        Raises:
            as `synchronous`.
        """
        sharing = self.sharing
        timeout = None if pipeline.timeout_s == inf else pipeline.timeout_s
        steps = progress(pipeline, self, eager=eager)
        step: Exchange | str | None
        try:
            while True:
                sharing.check()
                with sharing.lock:
                    seen = sharing.arrivals
                    step = HELD if sharing.holder and sharing.held else self._step(steps)
                if step is HELD:
                    sharing.admit(timeout)
                elif step is None:
                    self.pump(None, seen)
                elif isinstance(step, Exchange):
                    yield step
                else:
                    return
        finally:
            if not sharing.inherited:
                with sharing.lock:
                    steps.close()

    def _step(self, steps: Iterator[Exchange | None]) -> Exchange | str | None:
        try:
            step = next(steps, END)
        except BaseException as error:
            self.end_if_interrupted(error)
            raise
        if isinstance(step, Exchange):
            self.learn(step)
        return step

    def issue(self, pipeline: Pipeline) -> None:
        """Have the pipeline send what it may, and write that (called by `progress`)."""
        pipeline.issue(time.monotonic())
        self.flush()

    # -- many reads, again and again --------------------------------------------------------------

    def read_plan(self, plan: ReadPlan, depth: int = 4, timeout: float | None = None) -> list[Any]:
        """A value for each operation of the plan: a scalar, a list for a range, None on failure.

        Raises:
            as `synchronous`.
        """
        self.renew(timeout)
        run = self.run_of(plan, depth, timeout)
        for _ in self.drive(run):
            pass
        return values_of(run)

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
        self.renew(timeout)
        with self.sharing.lock:
            plan = self.plan_of(tags, multiple)
        return self.read_plan(plan, depth, timeout)

    # -- what the target is and has ---------------------------------------------------------------

    def browse(self, timeout: float | None = None) -> TagTree:
        """The target's tags and structures; its structures read and write as dicts from now on.

        Raises:
            BrowseRefused: the target does not tell them.
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        conversation = self.browsing()
        request = next(conversation)
        while True:
            reply = self.request(request, timeout=timeout)
            try:
                request = conversation.send(reply)
            except StopIteration as finished:
                tree: TagTree = finished.value
                return tree

    def identity(self, timeout: float | None = None) -> IdentityItem | None:
        """Who the target says it is.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        return first_identity(self.command(Command.LIST_IDENTITY, timeout))

    def services(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The items of a List Services reply; raises as `identity`."""
        return self.list_command(Command.LIST_SERVICES, timeout)

    def interfaces(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The items of a List Interfaces reply, most targets have none; raises as `identity`."""
        return self.list_command(LIST_INTERFACES, timeout)

    def list_command(
        self, command: int, timeout: float | None = None, data: bytes = b""
    ) -> list[dict[str, Any]]:
        """The items of the reply to any list command, as dicts under the documented names.

        Raises:
            as `identity`.
        """
        return cpf_items(self.command(command, timeout, data))


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
        self.opening: ForwardOpenExchange | None = None
        try:
            self._wanted = connection_request(self.route, connection_path, O_T or T_O or {})
            self.forward_open(self._wanted, timeout)
        except BaseException:
            self.abort("no connection")
            raise

    def _begin(self, timeout: float | None) -> None:
        super()._begin(timeout)
        if self.opening is not None:
            self.forward_open(self._wanted, timeout)

    def forward_open(self, request: ConnectionRequest, timeout: float | None = None) -> None:
        """Open the class 3 connection (done by the constructor).

        Raises:
            ForwardOpenRefused: the target opens none.
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        self._wanted = request
        opening = new_opening(request)
        while not opening.done:
            opening.receive(self.request(opening.request(), timeout=timeout, carrier=Carrier()))
        with self.sharing.lock:
            self.protocol.opened(opening.granted())
            self.opening = opening
            self.carrier = Carrier(connection=opening.granted())

    def forward_close(self, timeout: float | None = None) -> None:
        """Close the class 3 connection; operations travel unconnected from then on.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        opening, self.opening = self.opening, None
        if opening is None or self.closed:
            return
        self.carrier = self.route.carrier
        try:
            self.request(opening.closing(), timeout=timeout, carrier=Carrier())
        finally:
            self.protocol.closed(opening.granted())

    def close(self) -> None:
        """Close the class 3 connection, the session and the socket; never raises."""
        if not self.sharing.inherited and not self.ended:
            with contextlib.suppress(OSError, EnipStatusError):
                self.forward_close(timeout=CLOSING_S)
        super().close()
