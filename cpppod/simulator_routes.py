"""Routes of a simulated controller: requests that leave it for other EtherNet/IP devices.

    route path -> RouteTable -> host:port -> one connection each, opened on demand and kept

What cannot be reached is the Connection Manager's status: 0x0204 no answer in time, 0x0312 not
there.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cpppod.protocols.cip.message_router import REPLY, MessageRouterReply
from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.cip.route_table import RouteTable
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus
from cpppod.protocols.cip.unconnected_send import routing_failure, timeout_s
from cpppod.workers.enip_forwarder import Forwarder, answer_with

DEFAULT_PORT = 44_818


class Routes:
    """The route table of a controller, and the connections along it."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self._forwarders = {address: _forwarder(address) for address in set(routes.values())}
        self._table: RouteTable[Forwarder] = RouteTable(
            {pattern: self._forwarders[address] for pattern, address in routes.items()}
        )

    def perform(self, command: ForwardNeeded, done: Callable[[Any], None]) -> None:
        """Send a request on; `done` gets the reply."""
        try:
            forwarder, remaining = self._table.find(command.route_path)
        except CipError as error:
            extended = (*error.extended, ConnectionStatus.INVALID_SEGMENT_IN_PATH)[0]
            done(failure(command, extended))
            return
        allowed = timeout_s(command.priority_tick, command.timeout_ticks)
        answer = answer_with(done, partial(failure, command))
        forwarder.forward(command.request, remaining, allowed, answer)

    def close(self) -> None:
        """Give all connections up."""
        for forwarder in self._forwarders.values():
            forwarder.close()


def failure(command: ForwardNeeded, extended: int) -> bytes:
    """The Connection Manager's refusal in the form that the request came in."""
    if not command.connected:
        return routing_failure(extended, command.route_path)
    service = (command.request[0] if command.request else 0) | REPLY
    return MessageRouterReply(service, GeneralStatus.CONNECTION_FAILURE, (extended,)).encode()


def _forwarder(address: str) -> Forwarder:
    host, _, port = address.rpartition(":")
    return Forwarder(host or address, int(port) if host and port else DEFAULT_PORT)
