"""Routes of a simulated controller: requests that leave it for other EtherNet/IP devices.

    route path -> RouteTable -> host:port -> one connection each, opened on demand and kept

What cannot be reached is the Connection Manager's status: 0x0204 no answer in time, 0x0312 not
there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cpppod.protocols.cip.failures import unrouted
from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.cip.route_table import RouteTable
from cpppod.protocols.cip.status import CipError, ConnectionStatus
from cpppod.protocols.cip.unconnected_send import timeout_s
from cpppod.protocols.model.addresses import socket_address
from cpppod.workers.transport.enip_forwarder import Forwarder, onward

DEFAULT_PORT = 44_818
MAX_PASSAGES = 1_024  # requests whose way is remembered: all tags of eight busy clients


@dataclass(frozen=True, slots=True)
class ForwardedRequest:
    """What becomes of one request: who sends it on, as what, and how long it may take."""

    forwarder: Forwarder
    data: bytes
    timeout_s: float


class Routes:
    """The route table of a controller, and the connections along it."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self._forwarders = {address: _forwarder(address) for address in set(routes.values())}
        self._table: RouteTable[Forwarder] = RouteTable(
            {pattern: self._forwarders[address] for pattern, address in routes.items()}
        )
        self._passages: dict[ForwardNeeded, ForwardedRequest] = {}

    def perform(self, command: ForwardNeeded, done: Callable[[Any], None]) -> None:
        """Send a request on; `done` gets the reply."""
        passage = self._passages.get(command)
        if passage is None:
            try:
                passage = self._find(command)
            except CipError as error:
                extended = (*error.extended, ConnectionStatus.INVALID_SEGMENT_IN_PATH)[0]
                done(failure(command, extended))
                return
        answer = partial(_answer, command, done)
        passage.forwarder.forward(passage.data, passage.timeout_s, answer)

    def _find(self, command: ForwardNeeded) -> ForwardedRequest:
        """The way of a request that is new, remembered."""
        forwarder, remaining = self._table.find(command.route_path)
        allowed = timeout_s(command.priority_tick, command.timeout_ticks)
        passage = ForwardedRequest(forwarder, onward(command.request, remaining, allowed), allowed)
        if len(self._passages) >= MAX_PASSAGES:
            self._passages.pop(next(iter(self._passages)))
        self._passages[command] = passage
        return passage

    def close(self) -> None:
        """Give all connections up."""
        for forwarder in self._forwarders.values():
            forwarder.close()


def _answer(command: ForwardNeeded, done: Callable[[Any], None], result: bytes | int) -> None:
    done(result if isinstance(result, bytes) else failure(command, result))


def failure(command: ForwardNeeded, extended: int) -> bytes:
    """The Connection Manager's refusal in the form that the request came in."""
    return unrouted(command.request, command.route_path, extended, connected=command.connected)


def _forwarder(address: str) -> Forwarder:
    return Forwarder(*socket_address(address, host="127.0.0.1", port=DEFAULT_PORT))
