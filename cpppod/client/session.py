"""A registered session: one request at a time, and requests whose reply is harvested by hand."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from cpppod.client.connection import Address, Client, SingleRequest
from cpppod.client.core import ConnectorCore
from cpppod.client.route import Route
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.originator.batch import encode_batch
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.errors import CommunicationCeased
from cpppod.protocols.enip.originator.operations import Operation, parse_operations
from cpppod.protocols.enip.originator.pipeline import error_of
from cpppod.protocols.enip.originator.route import RoutePath
from cpppod.protocols.enip.originator.session import Answer, State
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.transport.sockets import peer_closed


class _One:
    """The owner of a request that somebody waits for alone."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Answer | None = None

    def receive(self, answer: Answer) -> None:
        self.answer = answer


class SessionClient(Client, ConnectorCore):
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
            route = Route(route_path, send_path, priority_time_tick, timeout_ticks)
            ConnectorCore.__init__(self, self.protocol, route, timeout)
            if not self.udp:
                self.register(timeout)
        except BaseException:
            self.abort("not registered")
            raise

    # -- session and connection -------------------------------------------------------------------

    def renew(self, timeout: float | None = None) -> bool:
        """Connect anew where the target has closed the connection while it was idle.

        Whether that was so. Every operation does it by itself before it sends anything; what was
        sent is never sent again.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError, ForwardOpenRefused: no way in; the
                connection is of no further use.
        """
        self.sharing.check()
        if self.udp:
            return False
        with self.sharing.lock:
            if self.closed or self.protocol.outstanding or not self._closing.poll(0):
                return False
            try:
                self._reconnect()
                self._begin(self.timeout if timeout is None else timeout)
            except BaseException:
                self.abort("connection closed by the target, and there is no other")
                raise
        return True

    @property
    def ended(self) -> bool:
        """Whether the target has closed the connection, noticed or not."""
        return not self.udp and (self.closed or peer_closed(self._socket))

    def _begin(self, timeout: float | None) -> None:
        """What a new connection needs before operations travel over it."""
        self.register(timeout)

    def register(self, timeout: float | None = None) -> None:
        """Register the session (done by the constructor)."""
        if self.protocol.state is not State.NEW:
            return
        owner = _One()
        self._ask(
            owner, timeout, partial(self.protocol.register, owner, deadline=deadline_of(timeout))
        )

    def request(
        self, request: bytes, *, timeout: float | None = None, carrier: Carrier | None = None
    ) -> MessageRouterReply:
        """The reply to one Message Router request.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
            EncodeError: the request cannot be said.
        """
        owner = _One()
        timeout = self.timeout if timeout is None else timeout
        if self.renew(timeout) and carrier is not None and carrier.connection is not None:
            carrier = self.carrier
        carrier = carrier or self.carrier
        issue = partial(self._issue, request, owner, carrier, deadline_of(timeout))
        connected = carrier.connection is not None
        answer = self._ask(
            owner, timeout, issue, lambda: self.protocol.has_room(connected=connected)
        )
        assert answer.reply is not None
        return answer.reply

    def _issue(
        self,
        request: bytes,
        owner: Any,
        carrier: Carrier,
        deadline: float,
        context: bytes | None = None,
    ) -> None:
        if carrier.connection is not None:
            self.protocol.send_connected(carrier.connection, request, owner, deadline=deadline)
        else:
            self.protocol.send_unconnected(
                request, owner, deadline=deadline, route=carrier.route, context=context
            )

    def _ask(
        self,
        owner: _One,
        timeout: float | None,
        issue: Callable[[], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """The answer to what `issue` sends, once it `has_room` beside what other threads sent."""
        if self.closed:
            raise CommunicationCeased(self.reason)
        try:
            self.send(issue, timeout, has_room)
            while True:
                seen = self.sharing.arrivals
                if owner.answer is not None:
                    break
                if self.closed:
                    raise CommunicationCeased(self.reason)
                self.pump(None, seen)
        finally:
            if owner.answer is None:
                self.forget(owner)
        if owner.answer.failure is not None:
            raise error_of(owner.answer, self.reason)
        return owner.answer

    def command(self, command: int, timeout: float | None = None, data: bytes = b"") -> bytes:
        """The data of the reply to an encapsulation command, e.g. List Identity.

        Raises:
            CommunicationCeased, ReplyTimeout, EnipStatusError: no reply, or a refusal.
            EncodeError: over UDP, where anybody may answer: harvest by hand.
        """
        if self.udp:
            raise EncodeError("replies over UDP are harvested by hand", status=0x08)
        owner = _One()
        timeout = self.timeout if timeout is None else timeout
        self.renew(timeout)
        issue = partial(
            self.protocol.send_command, command, owner, deadline=deadline_of(timeout), data=data
        )
        return self._ask(owner, timeout, issue).data

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
        self.renew(how.get("timeout"))
        requests = [self._encoded(operation) for operation in operations]
        owner = SingleRequest(self, {"method": "multiple"})
        timeout = how.get("timeout", self.timeout)
        self.send(
            partial(
                self._issue,
                *(encode_batch(requests), owner, self.carrier_of(how), deadline_of(timeout)),
            ),
            timeout,
        )
        return operations

    def unconnected_send(
        self, request: bytes | Operation, timeout: float | None = None, **how: Any
    ) -> None:
        """Send a request made with `send=False`, or as bytes, outside any connection."""
        self.renew(timeout)
        self._send_single(request, self.route.override(how).carrier, timeout, how)

    def connected_send(
        self, request: bytes | Operation, timeout: float | None = None, **how: Any
    ) -> None:
        """Send a request made with `send=False`, or as bytes, over the class 3 connection.

        Raises:
            EncodeError: no class 3 connection is open, or the request cannot be said.
        """
        self.renew(timeout)
        if self.carrier.connection is None:
            raise EncodeError("no class 3 connection is open", status=0x07)
        self._send_single(request, self.carrier, timeout, how)

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
            self.renew(how.get("timeout"))
            self._send_single(operation, self.carrier_of(operation), how.get("timeout"), how)
        return operation

    def _encoded(self, operation: Operation) -> bytes:
        part = self.exchange(operation).next_part(self.carrier.budget)
        assert part is not None, "an exchange begins with a request"
        return part.request

    def _send_single(
        self,
        request: bytes | Operation,
        carrier: Carrier,
        timeout: float | None,
        how: Mapping[str, Any],
    ) -> None:
        operation = None if isinstance(request, bytes) else request
        encoded = request if isinstance(request, bytes) else self._encoded(request)
        context = bytes(how.get("sender_context", b""))[:8] or None
        owner = SingleRequest(self, operation)
        self.send(
            partial(self._issue, encoded, owner, carrier, deadline_of(timeout), context), timeout
        )


def deadline_of(timeout: float | None) -> float:
    """When a reply is overdue (monotonic s), infinity for None."""
    return float("inf") if timeout is None else time.monotonic() + timeout
