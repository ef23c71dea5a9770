"""Others' class 3 connections to one device: for each of theirs, one that we open for them.

    OPEN       Forward Open under numbers of ours ──► the device's answer, whatever it is
    CONNECTED  SendUnitData on it, sequence counts as they came ──► replies
    CLOSE      Forward Close; nobody waits for what comes of it

    open ── the TCP connection is lost ──► lost ── next request ──► opened again, then sent

Sizes, intervals and time-out are the client's: the device drops a connection that its client has
left, and so does the gateway.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cpppod.protocols.bus.groups import RouteGroup
from cpppod.protocols.cip.connection_manager import (
    ForwardClose,
    ForwardOpen,
    ForwardOpenReply,
    open_failure,
)
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest, Service
from cpppod.protocols.cip.request import Carriage
from cpppod.protocols.cip.status import ConnectionStatus
from cpppod.protocols.enip.originator.relay import OURS, Relayed
from cpppod.protocols.enip.originator.route import DIRECT
from cpppod.protocols.model.errors import DecodeError, ProtocolError
from cpppod.protocols.model.failures import Failure
from cpppod.workers.devices.driver import DeviceError, RelayEnds
from cpppod.workers.transport.enip_connection import OriginatorConnection

MAX_LINKS = 64  # connections of others to one device: controllers have 256 at most for everybody
VENDOR = 0x1234
CLOSED = bytes((0x80, 0, 0, 0))  # what a close is answered with


@dataclass(slots=True)
class Link:
    """One connection at the device.

    Attributes:
        asked: the Forward Open that opened it, under our numbers.
        o_t_id: what the device gave it, 0 while it is not open.
        opening_s: since when it has been waited for.
    """

    asked: ForwardOpen
    o_t_id: int = 0
    opening_s: float = 0.0
    used_s: float = 0.0


class Links:
    """The connections along routes to one device.

    Args:
        route: what leads to the device from the one that we are connected to.
        timeout_s: for a Forward Open of ours.
        alone: sends (number, request) to a target that sends no sender context back, in its turn;
            the reply comes by `relayed`.
    """

    def __init__(
        self,
        route: bytes,
        ends: RelayEnds,
        timeout_s: float,
        alone: Callable[[OriginatorConnection, int, bytes], None],
    ) -> None:
        self._route = route
        self._alone = alone
        self._ends = ends
        self._timeout_s = timeout_s
        self._links: dict[int, Link] = {}
        self._openings: dict[int, tuple[int, Link]] = {}  # number -> (connection, link)
        self._last = OURS

    def __len__(self) -> int:
        return len(self._links)

    def relay(
        self,
        connection: OriginatorConnection,
        number: int,
        first: int,
        requests: Sequence[bytes],
        group: RouteGroup,
    ) -> bool:
        """Do what a group asks; False where it has to wait."""
        now_s = asyncio.get_running_loop().time()
        if group.carriage == Carriage.OPEN:
            return self._open(connection, number, requests[0], group, now_s)
        if group.carriage == Carriage.CLOSE:
            self._close(connection, group.connection)
            self._later(number, first, CLOSED)
            return True
        link = self._links.get(group.connection)
        if link is None:
            loop = asyncio.get_running_loop()
            error = DeviceError(Failure.NOT_CONNECTED, "no such connection", connected=True)
            for place in range(first, first + len(requests)):
                loop.call_soon(self._ends.refused, number, place, error)
            return True
        if not link.o_t_id:
            self._open_again(connection, group.connection, link, now_s)
            return False
        link.used_s = now_s
        ids = link.o_t_id, link.asked.to_id
        return connection.relay_connected(number, first, requests, *ids)

    def relayed(self, connection: OriginatorConnection, relayed: Relayed) -> bool:
        """Hear a reply; whether it was to a request of ours, and nobody else's."""
        found = self._openings.pop(relayed.number, None)
        if found is not None:
            self._opened(connection, *found, relayed)
        if relayed.number < OURS:
            return False
        if found is not None:
            self._ends.ready()
        return True

    def lost(self) -> None:
        """The TCP connection is gone, and so is what was open over it."""
        self._openings.clear()
        for link in self._links.values():
            link.o_t_id, link.opening_s = 0, 0.0

    # Opening and closing

    def _open(
        self,
        connection: OriginatorConnection,
        number: int,
        request: bytes,
        group: RouteGroup,
        now_s: float,
    ) -> bool:
        large = request[0] == Service.LARGE_FORWARD_OPEN
        try:
            asked = ForwardOpen.decode(MessageRouterRequest.decode(request).data, large=large)
        except ProtocolError as error:
            self._later(number, 0, MessageRouterReply(request[0], error.status).encode())
            return True
        for key, link in list(self._links.items()):
            if link.used_s + link.asked.timeout_s < now_s:
                del self._links[key]
        if len(self._links) + len(self._openings) >= MAX_LINKS:
            full = ConnectionStatus.OUT_OF_CONNECTIONS
            self._later(number, 0, open_failure(request[0], asked.triad, full))
            return True
        path = self._route + group.route_path + asked.connection_path
        link = Link(_numbered(replace(asked, connection_path=path)))
        hops = group.hops + 1
        if not self._send(connection, number, link.asked.encode(), hops):
            return False
        self._openings[number] = group.connection, link
        return True

    def _open_again(
        self, connection: OriginatorConnection, key: int, link: Link, now_s: float
    ) -> None:
        """Open what was lost with the TCP connection."""
        if link.opening_s and now_s - link.opening_s < self._timeout_s:
            return
        link.asked = _numbered(link.asked)
        number = self._next()
        if self._send(connection, number, link.asked.encode()):
            link.opening_s = now_s
            self._openings[number] = key, link

    def _opened(
        self, connection: OriginatorConnection, key: int, link: Link, relayed: Relayed
    ) -> None:
        """The device has answered a Forward Open."""
        self._links.pop(key, None)
        try:
            reply = MessageRouterReply.decode(relayed.replies[0]) if relayed.replies else None
            if reply is None or reply.status:
                return
            granted = ForwardOpenReply.decode(reply.data)
        except DecodeError:
            return
        link.o_t_id, link.opening_s = granted.ot_id, 0.0
        link.used_s = asyncio.get_running_loop().time()
        self._links[key] = link
        connection.relay_on(granted.ot_id, link.asked.to_id)

    def _close(self, connection: OriginatorConnection, key: int) -> None:
        link = self._links.pop(key, None)
        if link is None or not link.o_t_id:
            return
        connection.relay_off(link.o_t_id, link.asked.to_id)
        asked = link.asked
        closing = ForwardClose(*asked.triad, asked.connection_path)
        self._send(connection, self._next(), closing.encode())

    def _send(
        self, connection: OriginatorConnection, number: int, request: bytes, hops: int = 1
    ) -> bool:
        """Send a request of a connection's life; False where nothing can be sent just now."""
        if connection.session.echoes:
            return connection.relay(number, 0, [request], DIRECT, hops=hops)
        if not connection.closed:
            self._alone(connection, number, request)
        return not connection.closed

    def _next(self) -> int:
        """A number that no group of the frame's has."""
        self._last = OURS + (self._last + 1) % OURS
        return self._last

    def _later(self, number: int, place: int, reply: bytes) -> None:
        """Answer a request ourselves, once it counts as sent."""
        asyncio.get_running_loop().call_soon(self._ends.replied, number, place, [reply])


def _numbered(asked: ForwardOpen) -> ForwardOpen:
    """Under numbers that nothing else of this process has."""
    return replace(
        asked,
        ot_id=0,
        to_id=int.from_bytes(os.urandom(4), "little") | 1,
        connection_serial=int.from_bytes(os.urandom(2), "little"),
        originator_vendor=VENDOR,
        originator_serial=os.getpid(),
    )
