"""The driver for EtherNet/IP devices: tags and attributes in packets, several requests in flight.

    poll     Read Tag, or Get Attribute Single for an address like `@0x93/1/10`,
             in Multiple Service Packets as large as the connection allows
    write    one after the other; the reply says what the device said
    relay    Message Router requests of somebody else, byte for byte, and their replies

A device with `route_path` stands behind others: its requests travel in an Unconnected Send, or over
a class 3 connection (`connected`) whose path begins with the route.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.cip import types
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.enip.discovery import PORT, decode_identities
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import (
    ENCAPSULATION_TEXTS,
    EnipStatusError,
    OriginatorError,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.exchange import Exchange, ReadTag
from cpppod.protocols.enip.originator.forward_open import MESSAGE_ROUTER, ConnectionRequest
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.enip.originator.plan import (
    BAD_REPLY,
    SILENT,
    Outcome,
    PlanRun,
    ReadPlan,
)
from cpppod.protocols.enip.originator.relay import Relayed
from cpppod.protocols.enip.originator.route import DIRECT, UnconnectedRoute, encode_route_path
from cpppod.protocols.enip.originator.structures import BrowseRefused
from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.protocols.model.errors import DecodeError, ProtocolError
from cpppod.protocols.model.failures import UNREACHABLE, Failure
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.driver import (
    DeviceError,
    DeviceFrame,
    Link,
    RelayEnds,
    Sample,
    Write,
    WriteOutcome,
)
from cpppod.workers.drivers.enip.links import Links
from cpppod.workers.drivers.enip.tags import (
    TYPE_MISMATCH,
    TagAccess,
    as_sample,
    attribute_sample,
    element,
    file_write,
    may_be_packed,
    packed_sample,
    refused,
    route_failure,
    same_type,
    tag_access,
    unreached,
)
from cpppod.workers.drivers.enip.whole import Whole, ask_tree, gathered, member_sample
from cpppod.workers.transport.enip_connection import OriginatorConnection
from cpppod.workers.transport.port import failure_of

MAX_PLANS = 64  # groups, and parts of groups that are tried again, whose packets are kept
POLL_DEPTH = 2  # packets of one poll in flight: the next is there when the device is ready for it
PORTION = 100  # tags that are made of replies at a stretch: 0.3 ms
MAX_SHOWN = 200  # characters of a peer's or a library's text in an error


@dataclass(frozen=True, slots=True)
class PolledGroup:
    """A group with the packets that read it, and what of its tags each operation of them reads."""

    group: Group
    accesses: list[TagAccess | Whole]
    plan: ReadPlan

    @property
    def answered(self) -> bool:
        """Whether anything was answered as asked, a refusal included."""
        return any(
            outcome not in (BAD_REPLY, SILENT)
            for packet in self.plan.packets
            for outcome in packet.outcomes
        )

    @property
    def lost(self) -> bool:
        """Whether the device says that it knows no such connection."""
        return any(
            outcome[0] == GeneralStatus.CONNECTION_LOST
            for packet in self.plan.packets
            for outcome in packet.outcomes[:1]
        )


def make_driver(
    device: Device, link: Link | None = None, frame: DeviceFrame | None = None
) -> "EnipDriver":
    """The driver of `device`; `link` is not used, each device has a connection of its own."""
    return EnipDriver(device, frame or DeviceFrame())


class EnipDriver:
    """One EtherNet/IP device (`Driver`).

    Attributes:
        concurrency: calls outstanding at once: the device's `in_flight`.
        ends: who is told what comes of relayed requests.
    """

    def __init__(self, device: Device, frame: DeviceFrame) -> None:
        self.device = device
        self.concurrency = max(1, device.in_flight)
        self.frame = frame
        self._host, self._port = socket_address(device.address, host="127.0.0.1", port=PORT)
        self.ends = RelayEnds()
        self._route = encode_route_path(device.route_path)
        self._links = Links(self._route, self.ends, device.timeout_s, self._link_alone)
        self._connection: OriginatorConnection | None = None
        self._access: dict[Tag, TagAccess | ProtocolError] = {}
        self._types: dict[Tag, tuple[int, int]] = {}
        self._dialect: str = device.options.get("dialect", "")
        self._structures: list[str] = device.options.get("structures", [])  # read whole
        self._layouts: dict[int, Structure | None] = {}  # by handle; None: the device tells none
        self._packed: dict[Tag, bool] = {}  # elements of BOOL arrays: bits of DWORDs, or not
        self._silent: set[Tag] = set()  # were not answered while others were: they go alone
        self._plans: dict[int, PolledGroup] = {}
        self._batches = True
        self._renewing = asyncio.Lock()
        self._relaying: set[asyncio.Task[None]] = set()
        self._identity = ""
        self._counters = {"polls": 0, "messages": 0, "write_requests": 0, "forwards": 0, "late": 0}

    # -- connection -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, register, and open the class 3 connection where configured.

        Raises:
            DeviceError: the device is not there, does not answer, or refuses.
        """
        await self.close()
        timeout_s = self.device.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                connection = await OriginatorConnection.connect(
                    self._host, self._port, timeout_s=timeout_s
                )
                self._connection, connection.tap = connection, self.frame.tap
                connection.relay_to(self._relayed, self._relays_lost)
                if self.device.connected:
                    request = ConnectionRequest(connection_path=self._route + MESSAGE_ROUTER)
                    await connection.forward_open(request, timeout_s=timeout_s)
        except (TimeoutError, ReplyTimeout):
            await self.close()
            text = f"{SocketAddress(self._host, self._port)} did not answer in {timeout_s:g} s"
            raise DeviceError(Failure.TIMEOUT, text, connected=False) from None
        except (OSError, OriginatorError, ProtocolError) as error:
            await self.close()
            raise DeviceError(_unreachable(error), shown(error)) from None
        self._batches = True
        self._plans.clear()
        self._layouts.clear()
        self._identify(connection)

    def _identify(self, connection: OriginatorConnection) -> None:
        """Ask the device's name, for people; nothing waits for it, and nothing needs it."""

        def learn(data: bytes) -> None:
            with contextlib.suppress(DecodeError):
                for identity in decode_identities(data)[:1]:
                    self._identity = identity.product_name[:64]

        connection.ask_identity(learn, timeout_s=self.device.timeout_s)

    async def close(self) -> None:
        """Close the connection; what waits on it fails."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._counters["late"] += connection.session.late
            await connection.close()

    def _relays_lost(self, connection: OriginatorConnection) -> None:
        self._links.lost()
        self.ends.lost(DeviceError(connection.failure, connection.reason))

    async def _live(self) -> OriginatorConnection:
        """The connection; a new one where the target has closed it meanwhile.

        Raises:
            DeviceError: there is none to be had; nothing was sent.
        """
        connection = self._connection
        if connection is not None and not connection.ended:
            return connection
        async with self._renewing:
            if connection is not None and self._connection is connection:
                await self.open()
        if self._connection is None:
            raise DeviceError(Failure.NOT_CONNECTED, "not connected", sent=False)
        return self._connection

    def _carrier(self, connection: OriginatorConnection) -> Carrier:
        carrier = connection.carrier
        if carrier.connection is not None or not self._route:
            return carrier
        return Carrier(UnconnectedRoute(route_path=self._route).allowing(self.device.timeout_s))

    # -- reading ----------------------------------------------------------------------------------

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Every tag of `group`, in as few packets as the connection allows.

        Raises:
            DeviceError: no reply in time, or the connection is lost.
        """
        connection = await self._live()
        polled = self._prepared(group, connection)
        run = PlanRun(
            connection.session,
            polled.plan,
            depth=min(POLL_DEPTH, self.concurrency),
            timeout_s=self.device.timeout_s,
            apart=True,
        )
        while True:
            before = run.replies
            try:
                await self._run(connection, run)
                break
            except DeviceError as error:
                silent = error.failure is Failure.TIMEOUT and not connection.partial
                if silent and run.give_up():
                    continue
                lost = error.failure is Failure.LOST and connection.opening is None
                if not lost or run.replies == before:
                    raise
            connection = await self._live()
            run.resume(connection.session)
        if run.refuses_batches:
            self._batches = False
            self._plans.clear()
        self._counters["polls"] += 1
        if connection.opening is not None and polled.lost:
            text = "the device dropped the class 3 connection"
            raise DeviceError(Failure.LOST, text)
        if run.complaint and not polled.answered:
            raise DeviceError(Failure.BAD_REPLY, run.complaint)
        self._note_silence(polled)
        self._check_reached(polled)
        samples, learnt = await self._samples(polled, run.values)
        if learnt:  # at most twice a tag
            self._plans.clear()
            return await self.poll(group)
        return samples

    async def _run(self, connection: OriginatorConnection, run: PlanRun) -> None:
        """Have the plan's requests answered.

        Raises:
            DeviceError: no reply in time, or the connection is lost: go on by `run.resumed`.
        """
        try:
            await connection.run(run)
        except ReplyTimeout:
            raise DeviceError(Failure.TIMEOUT, "no reply in time") from None
        except EnipStatusError as error:
            codes = (error.status,)
            text = shown(error)
            raise DeviceError(Failure.EXCEPTION, text, codes=codes, connected=False) from None
        except (OSError, ProtocolError) as error:
            why = connection.reason if connection.closed else ""
            raise DeviceError(connection.failure, why or shown(error)) from None
        finally:
            self._counters["messages"] += run.sent

    def _note_silence(self, polled: "PolledGroup") -> None:
        """Have those that were not answered go alone from now on, until they are."""
        silent = {
            access.tag
            for packet in polled.plan.packets
            if SILENT in packet.outcomes
            for access in polled.accesses[packet.first : packet.first + len(packet.operations)]
        }
        before = self._silent & {access.tag for access in polled.accesses}
        if len(before) > 1 and not silent:
            self._batches = False  # they are answered alone, and in a packet they were not
            self._plans.clear()
        if silent != before:
            self._silent = self._silent - before | silent
            self._plans.pop(id(polled.group), None)

    def _check_reached(self, polled: "PolledGroup") -> None:
        """Whether the end of the route answered, and not only who stands before it.

        Raises:
            DeviceError: it did not.
        """
        if not self._route:
            return
        outcomes = [outcome for packet in polled.plan.packets for outcome in packet.outcomes]
        outcome = unreached(outcomes)
        if outcome is not None:
            text, _ = route_failure(outcome)
            codes = (outcome[0], *outcome[1])
            raise DeviceError(Failure.ABSENT, text, codes=codes)

    def _prepared(self, group: Group, connection: OriginatorConnection) -> "PolledGroup":
        """The group's plan; made when it is first read over this connection."""
        known = self._plans.get(id(group))
        if known is not None and known.group is group:
            return known
        accesses = [self._access_of(tag) for tag in group.tags]
        known_ones = [access for access in accesses if isinstance(access, TagAccess)]
        usable = gathered(known_ones, self._structures)
        plan = ReadPlan(
            [access.operation for access in usable],
            self._carrier(connection),
            {},
            multiple=self._batches and self.device.model.get("multiple", True),
            alone=[at for at, access in enumerate(usable) if access.tag in self._silent],
        )
        while len(self._plans) >= MAX_PLANS:
            self._plans.pop(next(iter(self._plans)))
        polled = self._plans[id(group)] = PolledGroup(group, usable, plan)
        return polled

    async def _samples(
        self, polled: "PolledGroup", values: list[Any]
    ) -> tuple[dict[str, Sample], bool]:
        """The samples; and whether some are to be read in another way, and the group again.

        Others' requests have their turn between portions of a large group.
        """
        learnt = False
        samples: dict[str, Sample] = {}
        if any(isinstance(self._access_of(tag), ProtocolError) for tag in polled.group.tags):
            unusable = (None, quality(Quality.NOT_CONFIGURED))
            samples = {tag.name: unusable for tag in polled.group.tags}
        number = 0
        portion = 0
        # A read-back of the same group may run over its packets meanwhile
        packets = [(list(each.outcomes), list(each.types)) for each in polled.plan.packets]
        for outcomes, kinds in packets:
            if number - portion >= PORTION:
                portion = number
                await asyncio.sleep(0)
            for outcome, kind in zip(outcomes, kinds, strict=True):
                access, value = polled.accesses[number], values[number]
                number += 1
                if isinstance(access, Whole):
                    samples |= await self._of_structure(access, outcome, kind, value)
                    continue
                learnt |= self._learn_packing(access, outcome, kind)
                if outcome[0]:
                    samples[access.tag.name] = (None, refused(outcome))
                else:
                    samples[access.tag.name] = self._sample(access, value, kind)
        return samples, learnt

    async def _of_structure(
        self, whole: Whole, outcome: Outcome, kind: tuple[int, int] | None, data: Any
    ) -> dict[str, Sample]:
        """The samples of the tags in a structure that was read whole."""
        if outcome[0] or kind is None or kind[0] != types.STRUCTURE:
            bad = refused(outcome) if outcome[0] else TYPE_MISMATCH
            return {access.tag.name: (None, bad) for access, _ in whole.members}
        if (handle := kind[1]) not in self._layouts:
            self._layouts |= dict.fromkeys((handle,)) | await self._told_layouts()
        layout = self._layouts[handle]
        data = bytes(data)
        return {
            access.tag.name: (None, quality(Quality.NOT_CONFIGURED))
            if layout is None or len(data) < layout.size
            else member_sample(access, path, layout, data)
            for access, path in whole.members
        }

    async def _told_layouts(self) -> dict[int, Structure]:
        """The layout of each structure that the device has, none where it does not tell."""
        try:
            return (await ask_tree(self.ask)).layouts
        except ReplyTimeout:
            raise DeviceError(Failure.TIMEOUT, "no reply in time") from None
        except BrowseRefused:
            return {}
        except (OSError, ProtocolError) as error:
            raise DeviceError(Failure.BAD_REPLY, shown(error)) from None

    def _learn_packing(
        self, access: TagAccess, outcome: Outcome, kind: tuple[int, int] | None
    ) -> bool:
        """Whether elements of a BOOL array are to be read as bits, or as elements after all."""
        tag = access.tag
        if tag not in self._packed and may_be_packed(access, outcome, kind):
            self._packed[tag] = True
        elif access.packed and kind is not None and kind[0] != types.DWORD.code:
            self._packed[tag] = False
        else:
            return False
        del self._access[tag]
        return True

    def _access_of(self, tag: Tag) -> TagAccess | ProtocolError:
        access = self._access.get(tag)
        if access is None:
            try:
                access = tag_access(tag, packed=self._packed.get(tag, False), dialect=self._dialect)
            except ProtocolError as error:
                access = error
            self._access[tag] = access
        return access

    def _sample(self, access: TagAccess, value: Any, kind: tuple[int, int] | None) -> Sample:
        if access.attribute:
            return attribute_sample(access, bytes(value))
        if access.packed:
            return packed_sample(access, value)
        if kind is not None:
            self._types[access.tag] = kind
            values = value if isinstance(value, list) else (value,)
            same = same_type(access.kind, *kind, values)
            if not same and "bit" not in access.operation:
                return None, TYPE_MISMATCH
        return as_sample(access.tag, value)

    # -- writing ----------------------------------------------------------------------------------

    async def write(self, writes: list[Write]) -> WriteOutcome:
        """Write in the order given; the first that fails ends it."""
        for tag, first, values in writes:
            outcome = await self._write_one(tag, first, values)
            if outcome.failure:
                return outcome
        return WriteOutcome()

    async def _write_one(self, tag: Tag, first: int, values: list[Any]) -> WriteOutcome:
        sent = False
        try:
            connection = await self._live()
            operation = await self._write_operation(tag, first, values)
            exchange = make_exchange(operation, {})
            sent = True
            await connection.run(self._single(connection, exchange))
        except DeviceError as error:
            return WriteOutcome(error.failure, error.text, connected=False)
        except ReplyTimeout:
            return WriteOutcome(Failure.TIMEOUT, "no reply in time", unknown=True)
        except EnipStatusError as error:
            text = shown(error)
            return WriteOutcome(Failure.EXCEPTION, text, (error.status,), connected=False)
        except (OSError, OriginatorError) as error:
            failure = Failure.LOST if sent else Failure.NOT_CONNECTED
            text = connection.reason if sent and connection.closed else ""
            return WriteOutcome(failure, text or shown(error), unknown=sent, connected=False)
        except ProtocolError as error:
            closed = connection.closed
            failure = Failure.CIP_STATUS if error.status else Failure.BAD_VALUE
            return WriteOutcome(
                *(failure, shown(error), (error.status,)), unknown=closed, connected=not closed
            )
        self._counters["write_requests"] += 1
        if exchange.status:
            codes = (exchange.status, *exchange.extended)
            text, known = route_failure((exchange.status, exchange.extended))
            if self._route and text:
                return WriteOutcome(Failure.ABSENT, text, codes, unknown=not known)
            return WriteOutcome(Failure.CIP_STATUS, exchange.text, codes)
        return WriteOutcome()

    def _single(self, connection: OriginatorConnection, exchange: Exchange) -> Pipeline:
        return Pipeline(
            connection.session,
            [exchange],
            self._carrier(connection),
            timeout_s=self.device.timeout_s,
        )

    async def _write_operation(self, tag: Tag, first: int, values: list[Any]) -> Operation:
        access = self._access_of(tag)
        if isinstance(access, ProtocolError):
            raise access
        operation = {key: value for key, value in access.operation.items() if key != "elements"}
        code = access.kind.code if access.kind is not None else types.STRUCTURE
        if "pccc" in operation:
            return file_write(operation, first, values)
        if access.attribute:
            return operation | {
                "method": "set_attribute_single",
                "data": values,
                "tag_type": code,
            }
        if access.first is not None:
            operation.pop("words", None)
            path = [*operation["path"][:-1], {"element": access.first + first}]
            more = {"method": "write", "path": path, "data": values, "tag_type": code}
            return operation | more | {"elements": len(values)}
        if "bit" in operation:
            return operation | {"method": "write", "data": values, "tag_type": types.BOOL.code}
        known = await self._type_for_writing(access)
        if known is not None:
            code, operation["handle"] = known
        operation["path"] = element(operation["path"], first)
        return operation | {
            "method": "write",
            "data": values,
            "elements": len(values),
            "tag_type": code,
        }

    async def _type_for_writing(self, access: TagAccess) -> tuple[int, int] | None:
        """What the device holds the tag as; strings and structures are looked at before a write."""
        known = self._types.get(access.tag)
        if known is not None or (access.kind is not None and access.kind.kind != "string"):
            return known
        connection = await self._live()
        exchange = make_exchange({**access.operation, "elements": 1}, {})
        await connection.run(self._single(connection, exchange))
        if isinstance(exchange, ReadTag) and exchange.type is not None:
            self._types[access.tag] = exchange.type
            return exchange.type
        return None

    # -- forwarding -------------------------------------------------------------------------------

    @property
    def cip(self) -> "EnipDriver":
        """Its devices understand CIP."""
        return self

    def relay(
        self,
        number: int,
        first: int,
        requests: Sequence[bytes],
        group: RouteGroup,
        timeout_s: float,
    ) -> bool:
        """Send requests of a group; False where nothing is taken now."""
        connection = self._connection
        if connection is None:
            return False
        if group.carriage:
            sent = self._links.relay(connection, number, first, requests, group)
            self._counters["forwards"] += len(requests) if sent else 0
            return sent
        path = self._route + group.route_path
        route = UnconnectedRoute(route_path=path).allowing(timeout_s) if path else DIRECT
        if connection.session.echoes:
            hops = group.hops + 1
            sent = connection.relay(number, first, requests, route, hops=hops)
        else:
            sent = not connection.closed
            for place, request in enumerate(requests if sent else (), first):
                self._begin_alone(connection, number, place, request, route, timeout_s)
        if sent:
            self._counters["forwards"] += len(requests)
        return sent

    def _link_alone(self, connection: OriginatorConnection, number: int, request: bytes) -> None:
        timeout_s = self.device.timeout_s
        self._begin_alone(connection, number, 0, request, DIRECT, timeout_s)

    def _begin_alone(self, *what: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._relay_alone(*what))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relay_alone(
        self,
        connection: OriginatorConnection,
        number: int,
        place: int,
        request: bytes,
        route: UnconnectedRoute,
        timeout_s: float,
    ) -> None:
        """Relay a request to a target that sends no sender context back: one at a time."""
        carrier = Carrier(route)
        try:
            _, reply = await connection.request(request, timeout_s=timeout_s, carrier=carrier)
        except EnipStatusError as error:
            self._relayed(Relayed(number, place, [], error.status))
        except (OSError, OriginatorError, ProtocolError):
            return  # late, or lost with the connection: both are noticed by who asked
        else:
            self._relayed(Relayed(number, place, [reply]))

    async def ask(self, request: bytes) -> MessageRouterReply:
        """The reply of the device itself to a Message Router request.

        Raises:
            DeviceError: not connected.
            OSError, OriginatorError: no reply.
        """
        connection = await self._live()
        carrier = self._carrier(connection)
        reply, _ = await connection.request(
            request, timeout_s=self.device.timeout_s, carrier=carrier
        )
        return reply

    def _relayed(self, relayed: Relayed) -> bool:
        if self._connection is not None and self._links.relayed(self._connection, relayed):
            return True
        if not relayed.status:
            return self.ends.replied(relayed.number, relayed.place, relayed.replies)
        words = ENCAPSULATION_TEXTS.get(relayed.status, "unknown status")
        text = f"encapsulation status 0x{relayed.status:02x}: {words}"
        error = DeviceError(Failure.EXCEPTION, text, codes=(relayed.status,), connected=True)
        self.ends.refused(relayed.number, relayed.place, error)
        return True

    def describe(self) -> dict[str, Any]:
        """Session, connection, identity and counters."""
        connection = self._connection
        described: dict[str, Any] = {
            "identity": self._identity,
            "packets": "multiple" if self._batches else "single",
            "counters": dict(self._counters),
            "connections_carried": len(self._links),
        }
        if connection is not None and not connection.closed:
            carrier = connection.carrier
            described["session"] = f"0x{connection.session.session:08x}"
            described["outstanding"] = connection.session.outstanding
            described["carrier"] = (
                f"class 3, {carrier.budget.request} bytes" if carrier.connection else "unconnected"
            )
        return described


def shown(error: BaseException) -> str:
    """An error's text on one line, bounded, without control characters."""
    text = str(error) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_SHOWN])


def _unreachable(error: Exception) -> Failure:
    """Why there is no connection: what the system said, where it said something."""
    said = failure_of(error.__cause__) if isinstance(error.__cause__, OSError) else None
    return said if said in UNREACHABLE else Failure.NOT_CONNECTED
