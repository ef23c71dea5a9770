"""Routes of a simulated controller: requests that leave it for other EtherNet/IP devices.

    route path -> RouteTable -> host:port -> one connection each, opened on demand and kept

What cannot be reached is the Connection Manager's status: 0x0204 no answer in time, 0x0312 not
there.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from cpppod.protocols.bus.groups import Gathering, ReplyGroup, RouteGroup
from cpppod.protocols.cip.connection_manager import ForwardOpen, ForwardOpenReply
from cpppod.protocols.cip.epath import class_path
from cpppod.protocols.cip.failures import refused, unrouted
from cpppod.protocols.cip.message_router import (
    REPLY,
    MessageRouterReply,
    MessageRouterRequest,
    Service,
)
from cpppod.protocols.cip.request import Carriage
from cpppod.protocols.cip.route_table import RouteTable
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus
from cpppod.protocols.cip.unconnected_send import timeout_s
from cpppod.protocols.model.addresses import socket_address
from cpppod.workers.transport.enip_forwarder import Forwarder, onward

DEFAULT_PORT = 44_818
CREDIT = 128  # requests of one path that may be out: two of them fill a `Forwarder`
WHO = bytes((Service.GET_ATTRIBUTE_SINGLE, 3)) + class_path(1, 1, 1)  # the vendor
Replied = Callable[[list[ReplyGroup]], None]


class Routes:
    """The route table of a controller, and the connections along it."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self._forwarders = {address: _forwarder(address) for address in set(routes.values())}
        self._table: RouteTable[Forwarder] = RouteTable(
            {pattern: self._forwarders[address] for pattern, address in routes.items()}
        )
        self._loop = asyncio.get_running_loop()
        self._back = Gathering()
        self._coming = False
        self.replied: Replied = lambda groups: None

    def send(self, groups: list[RouteGroup]) -> list[RouteGroup]:
        """Send groups of requests on; `replied` gets their replies, those of one turn together."""
        for group in groups:
            requests = group.messages()
            if group.carriage == Carriage.CLOSE:
                self._answered(group, 0, requests[0], refused(requests[0], 0))
                continue
            try:
                forwarder, remaining = self._table.find(group.route_path)
            except CipError as error:
                extended = (*error.extended, ConnectionStatus.INVALID_SEGMENT_IN_PATH)[0]
                for place, request in enumerate(requests):
                    self._answered(group, place, request, extended)
                continue
            allowed = timeout_s(group.priority_tick, group.timeout_ticks)
            if group.carriage == Carriage.OPEN:
                self._open(forwarder, group, requests[0], remaining)
                continue
            for place, request in enumerate(requests):
                done = partial(self._answered, group, place, request)
                forwarder.forward(onward(request, remaining, allowed), allowed, done)
        return []

    def _open(
        self, forwarder: Forwarder, group: RouteGroup, request: bytes, remaining: bytes
    ) -> None:
        """Ask the controller behind who it is: a connection to nobody is refused.

        What it carries travels as Unconnected Sends, which hold 500 bytes; upon a refusal of the
        large form every client tries the small one.
        """
        if request[0] == Service.LARGE_FORWARD_OPEN:
            no = GeneralStatus.SERVICE_NOT_SUPPORTED
            self._answered(group, 0, request, refused(request, no))
            return
        asked = ForwardOpen.decode(MessageRouterRequest.decode(request).data, large=False)
        granted = ForwardOpenReply(
            *(group.connection, asked.to_id, *asked.triad, asked.ot_rpi_us, asked.to_rpi_us)
        )
        opened = MessageRouterReply(request[0] | REPLY, 0, (), granted.encode()).encode()

        def done(result: bytes | int) -> None:
            there = isinstance(result, bytes) and result[2] != GeneralStatus.CONNECTION_FAILURE
            self._answered(group, 0, request, opened if there else result)

        allowed = timeout_s(group.priority_tick, group.timeout_ticks)
        forwarder.forward(onward(WHO, remaining, allowed), allowed, done)

    def _answered(self, group: RouteGroup, place: int, request: bytes, result: bytes | int) -> None:
        if isinstance(result, int):
            connected = bool(group.carriage)
            result = unrouted(request, group.route_path, result, connected=connected)
        self._back.add(group.id, place, (result,), CREDIT)
        if not self._coming:
            self._coming = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._coming = False
        self.replied(self._back.take())

    def close(self) -> None:
        """Give all connections up."""
        for forwarder in self._forwarders.values():
            forwarder.close()


def _forwarder(address: str) -> Forwarder:
    return Forwarder(*socket_address(address, host="127.0.0.1", port=DEFAULT_PORT))
