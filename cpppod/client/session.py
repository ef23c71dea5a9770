"""A registered session: one request at a time, and requests whose reply is harvested by hand."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from cpppod.client.connection import Address, Client, SingleRequest
from cpppod.client.route import Route
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.enip.encapsulation import Command
from cpppod.protocols.enip.originator.batch import encode_batch
from cpppod.protocols.enip.originator.blocks import PacketMemory
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import CommunicationCeased
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import Operation, parse_operations
from cpppod.protocols.enip.originator.pipeline import trouble_of
from cpppod.protocols.enip.originator.plan import ReadPlan
from cpppod.protocols.enip.originator.route import RoutePath
from cpppod.protocols.enip.originator.session import Answer, State
from cpppod.protocols.model.errors import EncodeError


class _One:
    """The owner of a request that somebody waits for alone."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Answer | None = None

    def receive(self, answer: Answer) -> None:
        self.answer = answer


class SessionClient(Client):
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
            self.carrier = Carrier(self.route.hop)
            self.layouts: dict[int, Structure] = {}
            self.types: dict[bytes, tuple[int, int]] = {}
            self.packets = PacketMemory()
            self._plans: dict[tuple[tuple[str, ...], int | bool, Carrier], ReadPlan] = {}
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
        self.protocol.register(owner, deadline=deadline_of(timeout))
        self._wait(owner)

    def request(
        self, request: bytes, *, timeout: float | None = None, carrier: Carrier | None = None
    ) -> MessageRouterReply:
        """The reply to one Message Router request.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
        """
        owner = _One()
        self._send(request, owner, carrier or self.carrier, timeout)
        answer = self._wait(owner)
        assert answer.reply is not None
        return answer.reply

    def _send(self, request: bytes, owner: Any, carrier: Carrier, timeout: float | None) -> None:
        deadline = deadline_of(self.timeout if timeout is None else timeout)
        if carrier.connection is not None:
            self.protocol.send_connected(carrier.connection, request, owner, deadline=deadline)
        else:
            self.protocol.send_unconnected(request, owner, deadline=deadline, hop=carrier.hop)

    def _wait(self, owner: _One) -> Answer:
        self.flush()
        while owner.answer is None:
            if self.closed:
                raise CommunicationCeased(self.protocol.violation)
            self.pump(None)
        if owner.answer.trouble is not None:
            raise trouble_of(owner.answer, self.protocol.violation)
        return owner.answer

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
        carrier = self._lane_of(how)
        owner = SingleRequest(self, Command.SEND_RR_DATA, b"", {"method": "multiple"})
        self._send(encode_batch(requests), owner, carrier, how.get("timeout"))
        self.flush()
        return operations

    def unconnected_send(
        self, request: bytes | Operation, timeout: float | None = None, **how: Any
    ) -> None:
        """Send a request made with `send=False`, or as bytes, outside any connection."""
        self._send_loose(request, Carrier(self.route.override(how).hop), timeout, how)

    def connected_send(
        self, request: bytes | Operation, timeout: float | None = None, **how: Any
    ) -> None:
        """Send a request made with `send=False`, or as bytes, over the class 3 connection."""
        if self.carrier.connection is None:
            raise EncodeError("no class 3 connection is open", status=0x07)
        self._send_loose(request, self.carrier, timeout, how)

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

    def _lane_of(self, how: Mapping[str, Any]) -> Carrier:
        if Route.KEYS.isdisjoint(how):
            return self.carrier
        return Carrier(self.route.override(how).hop)

    def _encoded(self, operation: Operation) -> bytes:
        part = self.exchange(operation).next_part(self.carrier.budget)
        assert part is not None, "an exchange begins with a request"
        return part.request

    def _send_loose(
        self,
        request: bytes | Operation,
        carrier: Carrier,
        timeout: float | None,
        how: Mapping[str, Any],
    ) -> None:
        operation = None if isinstance(request, bytes) else request
        encoded = request if isinstance(request, bytes) else self._encoded(request)
        context = bytes(how.get("sender_context", b""))[:8]
        owner = SingleRequest(self, Command.SEND_RR_DATA, context, operation)
        deadline = deadline_of(timeout)
        if carrier.connection is not None:
            owner.command = Command.SEND_UNIT_DATA
            self.protocol.send_connected(carrier.connection, encoded, owner, deadline=deadline)
        else:
            self.protocol.send_unconnected(
                encoded, owner, deadline=deadline, hop=carrier.hop, context=context or None
            )
        self.flush()


def deadline_of(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout
