"""Connection Manager (class 0x06): Forward Open and Close, and the connections that are open.

    Forward Open    triad already open -> the old connection gives way (its client has restarted);
                    from another address: 0x0100, for it is another client's
                    path 1/0 20 02 24 01 -> Message Router here
                    path through a route -> carried: the device behind opens one too; requests leave
                            along the route with their sequence counts
    connection      O>T id ours, T>O id the originator's; dies of RPI x 4 x 2**multiplier of silence

Source: CIP Networks Library Vol. 1, 3-5.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.connection_manager import (
    MAX_MULTIPLIER,
    MIN_MULTIPLIER_S,
    ForwardClose,
    ForwardOpen,
    ForwardOpenReply,
    Triad,
    closed_reply,
    failure_data,
    open_failure,
)
from cpppod.protocols.cip.epath import ElectronicKey, Logical, LogicalType, Segment
from cpppod.protocols.cip.image import Reply
from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.objects.attributes import CipClass, CipInstance, constant
from cpppod.protocols.cip.objects.identity import Identity
from cpppod.protocols.cip.objects.spec import Controller, ObjectSpec
from cpppod.protocols.cip.reply_cache import ReplyCache
from cpppod.protocols.cip.request import Carriage, ForwardNeeded, Origin, Pending
from cpppod.protocols.cip.route_table import RouteDecision, RoutePolicy
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus
from cpppod.protocols.model.errors import DecodeError

CONNECTION_MANAGER_CLASS = 0x06
MAX_CONNECTIONS = 512  # of a target, all sessions: twice the sessions it accepts
MAX_PER_SESSION = 32  # a client opens one, a gateway one per device behind it
MIN_SIZE = 8  # bytes: sequence, reply header and nothing else
# Bytes of a Read Tag reply beyond a Large Forward Open's size: pycomm3 fills its 4,000 bytes with
# data alone, and counts neither sequence, header nor type. A small one's size is never exceeded.
READ_SLACK = 8
CLOSING = bytes(2)  # a close says nothing but which connection
_ROUTER_INSTANCE = (Logical(LogicalType.CLASS, 2), Logical(LogicalType.INSTANCE, 1))


@dataclass(slots=True, eq=False)
class Connection:
    """A class 3 connection that is open.

    Attributes:
        capacity: bytes of the longest Message Router reply; `slack` more of a Read Tag's.
        route: route path that its requests leave along, b"" where they are served here.
        deadline: monotonic second at which it is dead.
        last_sequence: b"" before its first request; `last_reply` answers a repetition.
    """

    ot_id: int
    to_id: int
    triad: Triad
    capacity: int
    timeout_s: float
    deadline: float
    session: Any
    route: bytes = b""
    last_sequence: bytes = b""
    last_reply: bytes = b""
    replies: dict[bytes, Reply] = field(default_factory=dict)
    cache: ReplyCache | None = None
    priority_tick: int = 0x05
    timeout_ticks: int = 0x9D
    slack: int = 0


class ConnectionManager:
    """Opens and closes the connections of one target.

    `random_u32` gives unpredictable ids; 0 and ids in use are passed over.

    Attributes:
        leave: takes what must leave for its own sake, nobody waits for it.
    """

    def __init__(
        self, identity: Identity, policy: RoutePolicy, random_u32: Callable[[], int]
    ) -> None:
        self.identity = identity
        self.policy = policy
        self.connections: dict[int, Connection] = {}
        self.triads: dict[Triad, Connection] = {}
        self.random_u32 = random_u32
        self.leave: Callable[[ForwardNeeded], None] | None = None
        self.opened = 0

    def forward_open(
        self, service: int, data: bytes, origin: Origin, now: float
    ) -> bytes | Pending:
        """Open a connection (0x54), or a large one (0x5B).

        Raises:
            CipError: a request that cannot be understood, or a large one through a route.
        """
        large = service == Service.LARGE_FORWARD_OPEN
        asked = ForwardOpen.decode(data, large=large)
        try:
            _check_form(asked)
            route = self._way(asked)
            self._check(asked, origin)
        except CipError as error:
            if error.status != GeneralStatus.CONNECTION_FAILURE:
                raise
            return open_failure(service, asked.triad, *error.extended)
        if not route:
            return self._opened(service, asked, origin, now)
        return self._carry(service, asked, origin, now, route)

    def _carry(
        self, service: int, asked: ForwardOpen, origin: Origin, now: float, route: bytes
    ) -> Pending:
        """Have the device behind the route open a connection: what it says is the answer."""
        number = self._unused_id()
        request = replace(asked, connection_path=_behind(asked.connection_path)).encode()
        command = ForwardNeeded(
            *(route, request, asked.priority_tick, asked.timeout_ticks, origin.address),
            carriage=Carriage.OPEN,
            connection=number,
        )

        def answer(result: Any) -> bytes:
            try:
                reply = MessageRouterReply.decode(result)
                if reply.status:
                    extended = tuple(reply.extended)
                    data = failure_data(asked.triad)
                    return MessageRouterReply(service, reply.status, extended, data).encode()
                granted = ForwardOpenReply.decode(reply.data)
                self._check(asked, origin)  # others may have opened theirs meanwhile
            except CipError as error:
                self._give_up(command)
                return open_failure(service, asked.triad, *error.extended)
            except DecodeError:
                missing = ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT
                return open_failure(service, asked.triad, missing)
            return self._opened(service, asked, origin, now, number, route, granted)

        return Pending(command, answer, exclusive=False)

    def _give_up(self, opened: ForwardNeeded) -> None:
        """Have the device close what nobody wants any more."""
        if self.leave is not None:
            self.leave(replace(opened, request=CLOSING, carriage=Carriage.CLOSE))

    def _way(self, asked: ForwardOpen) -> bytes:
        """The route of a connection path, b"" for none; its rest must be a Message Router."""
        path: tuple[Segment, ...] = epath.decode(asked.connection_path)
        if path and isinstance(path[0], ElectronicKey):
            self._check_key(path[0])
            path = path[1:]
        ports, rest = epath.split_ports(path)
        if len(ports) > epath.MAX_HOPS:
            raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
        if rest and isinstance(rest[0], ElectronicKey):
            rest = rest[1:]
        way = self.policy.decide(ports)
        if tuple(rest) != _ROUTER_INSTANCE:
            raise _refused(ConnectionStatus.INVALID_APPLICATION_PATH)
        return epath.encode(ports) if way is RouteDecision.FORWARD else b""

    def _check_key(self, key: ElectronicKey) -> None:
        ours = self.identity
        if key.vendor not in (0, ours.vendor) or key.product_code not in (0, ours.product_code):
            raise _refused(ConnectionStatus.VENDOR_OR_PRODUCT_MISMATCH)
        if key.device_type not in (0, ours.device_type):
            raise _refused(ConnectionStatus.DEVICE_TYPE_MISMATCH)
        major, compatible = key.major & 0x7F, key.major & 0x80
        if compatible:
            fits = major == ours.major and 0 < key.minor <= ours.minor
        else:
            fits = major in (0, ours.major) and key.minor in (0, ours.minor)
        if major and not fits:
            raise _refused(ConnectionStatus.REVISION_MISMATCH)

    def _check(self, asked: ForwardOpen, origin: Origin) -> None:
        if asked.ot.kind != 2 or asked.to.kind != 2:
            raise _refused(ConnectionStatus.INVALID_CONNECTION_TYPE)
        if asked.to.size < MIN_SIZE or asked.ot.size < MIN_SIZE:
            raise _refused(ConnectionStatus.INVALID_CONNECTION_SIZE)
        if not asked.ot_rpi_us or not asked.to_rpi_us:
            raise _refused(ConnectionStatus.RPI_NOT_SUPPORTED)
        known = self.triads.get(asked.triad)
        address = origin.address
        if known is not None and getattr(known.session, "address", address) != address:
            raise _refused(ConnectionStatus.CONNECTION_IN_USE)
        held = sum(1 for item in self.connections.values() if item.session is origin.session)
        if asked.triad not in self.triads and (
            held >= MAX_PER_SESSION or len(self.connections) >= MAX_CONNECTIONS
        ):
            raise _refused(ConnectionStatus.OUT_OF_CONNECTIONS)

    def _opened(
        self,
        service: int,
        asked: ForwardOpen,
        origin: Origin,
        now: float,
        ot_id: int = 0,
        route: bytes = b"",
        granted: ForwardOpenReply | None = None,
    ) -> bytes:
        old = self.triads.get(asked.triad)
        if old is not None:
            self.drop(old)
        ot_id = ot_id or self._unused_id()
        timeout_s = asked.timeout_s
        connection = Connection(
            *(ot_id, asked.to_id, asked.triad, asked.to.size - 2, timeout_s),
            deadline=now + max(MIN_MULTIPLIER_S, timeout_s),
            session=origin.session,
            route=route,
            priority_tick=asked.priority_tick,
            timeout_ticks=asked.timeout_ticks,
            slack=READ_SLACK if asked.large else 0,
        )
        self.connections[ot_id] = connection
        self.triads[asked.triad] = connection
        self.opened += 1
        intervals = (asked.ot_rpi_us, asked.to_rpi_us)
        if granted is not None:
            intervals = (granted.ot_api_us, granted.to_api_us)
        opened = ForwardOpenReply(*(ot_id, asked.to_id, *asked.triad, *intervals))
        return MessageRouterReply(service, 0, (), opened.encode()).encode()

    def _unused_id(self) -> int:
        ot_id = self.random_u32()
        while not ot_id or ot_id in self.connections:
            ot_id = self.random_u32()
        return ot_id

    def forward_close(self, service: int, data: bytes, origin: Origin) -> bytes:
        """Close a connection (0x4E); only the address that opened it may.

        Raises:
            CipError: another address opened the connection.
        """
        asked = ForwardClose.decode(data)
        found = self.triads.get(asked.triad)
        if found is None:
            return open_failure(service, asked.triad, ConnectionStatus.CONNECTION_NOT_FOUND)
        opener = getattr(found.session, "address", "")
        if opener != origin.address:
            raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION, data=closed_reply(asked.triad))
        self.drop(found)
        return MessageRouterReply(service, 0, (), closed_reply(asked.triad)).encode()

    def drop(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection.ot_id, None)
        if self.triads.get(connection.triad) is connection:
            del self.triads[connection.triad]
        connection.deadline = -1.0
        if connection.route:
            opener = getattr(connection.session, "address", "")
            ticks = connection.priority_tick, connection.timeout_ticks
            opened = ForwardNeeded(connection.route, b"", *ticks, opener)
            self._give_up(replace(opened, connection=connection.ot_id))
        if connection.cache is not None:
            connection.cache.clear()

    def drop_session(self, session: Any) -> None:
        """Forget all connections of a session that ended."""
        for connection in [item for item in self.connections.values() if item.session is session]:
            self.drop(connection)

    def expire(self, now: float) -> list[Connection]:
        """Drop the connections whose originators are silent; they are returned."""
        dead = [item for item in self.connections.values() if item.deadline <= now]
        for connection in dead:
            self.drop(connection)
        return dead


def _behind(path: bytes) -> bytes:
    """A connection path without the key and the ports that lead to the device."""
    segments: tuple[Segment, ...] = epath.decode(path)
    if isinstance(segments[0], ElectronicKey):
        segments = segments[1:]
    return epath.encode(epath.split_ports(segments)[1])


def _check_form(asked: ForwardOpen) -> None:
    """What no connection of ours can be, wherever its path leads."""
    if asked.ot.kind == asked.to.kind == 0:
        raise _refused(ConnectionStatus.NULL_FORWARD_OPEN_NOT_SUPPORTED)
    if asked.multiplier > MAX_MULTIPLIER:
        raise _refused(ConnectionStatus.INVALID_TIMEOUT_MULTIPLIER)
    if asked.transport & 0x0F != 3 or asked.ot.kind == 0 or asked.to.kind == 0:
        raise _refused(ConnectionStatus.TRANSPORT_NOT_SUPPORTED)


def _refused(extended: int) -> CipError:
    return CipError(status=GeneralStatus.CONNECTION_FAILURE, extended=(extended,))


def _of(controller: Controller) -> CipClass:
    found = CipClass(CONNECTION_MANAGER_CLASS)
    found.add(1, CipInstance({number: constant(bytes(2)) for number in range(1, 9)}))
    return found


OBJECTS = (ObjectSpec(CONNECTION_MANAGER_CLASS, _of),)
