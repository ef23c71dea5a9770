"""The route table: where a request goes, by the first segment of its route path.

    "1/1"  "1/2-7"  "2/10.0.0.5"        port and link, a range of links, an address
    local path, or none                 served here
    in the table                        leaves, without its first segment
    neither                             0x0311 no route has that port, 0x0312 no link matches

Only configured routes: an address out of a packet is compared, never dialled.

Source: CIP Networks Library Vol. 1, 3-5.5; cpppo's `Route` and `Route Path`.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.epath import MAX_HOPS, Port
from cpppod.protocols.cip.message_router import MessageRouterRequest, Service
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus
from cpppod.protocols.model.errors import EncodeError, ProtocolError

MAX_LINKS = 256  # of one range: links are bytes
_PATTERN = re.compile(r"^\s*([\w-]+)\s*[/,]\s*(?:(\d+)(?:\s*-\s*(\d+))?|([A-Za-z0-9.:_-]+))\s*$")
Destination = TypeVar("Destination")


def ports_of(route_path: bytes) -> tuple[Port, ...]:
    """The port segments of a route path.

    Raises:
        CipError: PATH_SEGMENT_ERROR for more than `MAX_HOPS`, or anything but ports.
    """
    segments = epath.decode(route_path, limit=MAX_HOPS)
    ports = tuple(item for item in segments if isinstance(item, Port))
    if len(ports) != len(segments):
        raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
    return ports


def refused(extended: int) -> CipError:
    """The Connection Manager's refusal."""
    return CipError(status=GeneralStatus.CONNECTION_FAILURE, extended=(extended,))


def circular() -> CipError:
    """The refusal of a request that has come back: no way leads on from here."""
    return refused(ConnectionStatus.LINK_ADDRESS_NOT_VALID)


def links(pattern: str) -> list[tuple[int, str]]:
    """The (port, link) pairs that a route's pattern stands for.

    Raises:
        EncodeError: neither `port/link`, `port/first-last` nor `port/address`.
    """
    found = _PATTERN.match(pattern)
    if not found:
        raise EncodeError(
            f"route {pattern!r}: expected port/link, port/first-last or port/address", status=0
        )
    port, first, last, address = found.groups()
    if not (number := epath.port_number(port)):
        raise EncodeError(f"route {pattern!r}: port {port}", status=0)
    if address is not None:
        return [(number, _folded(address))]
    low, high = int(first), int(last or first)
    if not 0 <= low <= high < MAX_LINKS:
        raise EncodeError(f"route {pattern!r}: links 0 to 255, ascending", status=0)
    return [(number, str(link)) for link in range(low, high + 1)]


def _folded(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower()


def key_of(port: Port) -> tuple[int, str]:
    """How the table knows a segment."""
    return port.port, str(port.link) if isinstance(port.link, int) else _folded(port.link)


class RouteTable(Generic[Destination]):
    """First segments to destinations."""

    def __init__(self, routes: Mapping[str, Destination] | None = None) -> None:
        self._table: dict[tuple[int, str], Destination] = {}
        for pattern, destination in (routes or {}).items():
            self.add(pattern, destination)

    def __bool__(self) -> bool:
        return bool(self._table)

    def add(self, pattern: str, destination: Destination) -> None:
        """Take in a route; the first that claims a link keeps it.

        Raises:
            EncodeError: the pattern is malformed.
        """
        for key in links(pattern):
            self._table.setdefault(key, destination)

    def get(self, port: Port) -> Destination | None:
        """Where requests beginning with this segment go, or None."""
        return self._table.get(key_of(port))

    def find(self, route_path: bytes) -> tuple[Destination, bytes]:
        """(destination, remaining route path) of a request.

        Raises:
            CipError: PATH_SEGMENT_ERROR, or CONNECTION_FAILURE with what is wrong with the route.
        """
        ports = ports_of(route_path)
        if not ports:
            raise refused(ConnectionStatus.INVALID_SEGMENT_IN_PATH)
        found = self._table.get(key_of(ports[0]))
        if found is None:
            raise refused(self.missing(ports[0]))
        return found, epath.encode(ports[1:])

    def missing(self, port: Port) -> int:
        """The extended status for a segment that no route has."""
        known = any(key[0] == port.port for key in self._table)
        if known:
            return ConnectionStatus.LINK_ADDRESS_NOT_VALID
        return ConnectionStatus.PORT_NOT_AVAILABLE


class RouteDecision(Enum):
    """What becomes of a request with a route path."""

    LOCAL = "local"
    FORWARD = "forward"


@dataclass(slots=True)
class RoutePolicy:
    """Which route paths a target serves itself.

    Attributes:
        local: its own path; None serves any path (where nothing is forwarded).
        simple: only requests without a route path are served.
        forwards: whether other paths leave; else they are refused.
    """

    local: tuple[Port, ...] | None = None
    simple: bool = False
    forwards: bool = False

    def decide(self, ports: Sequence[Port]) -> RouteDecision:
        """Served here, or forwarded.

        Raises:
            CipError: CONNECTION_FAILURE with what is wrong with the route.
        """
        if not ports:
            return RouteDecision.LOCAL
        if self.simple:
            raise refused(ConnectionStatus.PORT_NOT_AVAILABLE)
        if self.local is None and not self.forwards:
            return RouteDecision.LOCAL
        local = self.local if self.local is not None else (Port(1, 0),)
        if [key_of(port) for port in ports] == [key_of(port) for port in local]:
            return RouteDecision.LOCAL
        if self.forwards:
            return RouteDecision.FORWARD
        if local and ports[0].port == local[0].port:
            raise refused(ConnectionStatus.LINK_ADDRESS_NOT_VALID)
        raise refused(ConnectionStatus.PORT_NOT_AVAILABLE)


READ_ONLY_SERVICES = frozenset(
    (
        Service.GET_ATTRIBUTES_ALL,
        Service.GET_ATTRIBUTE_LIST,
        Service.GET_ATTRIBUTE_SINGLE,
        Service.READ_TAG,
        Service.READ_TAG_FRAGMENTED,
        Service.GET_INSTANCE_ATTRIBUTE_LIST,
    )
)
# Members of a Multiple Service Packet, which its bytes bound too: 400 of the shortest reads fill a
# connection of 4,000 bytes, our own client packs so many, and more would keep everybody waiting.
MAX_MEMBERS = 1_024


@dataclass(frozen=True, slots=True)
class AllowList:
    """What may pass a route: only reads, only some classes, only from some networks."""

    read_only: bool = False
    classes: frozenset[int] = frozenset()
    sources: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def configured(
        cls, *, read_only: bool, classes: Sequence[int], sources: Sequence[str]
    ) -> "AllowList":
        """From a route's settings.

        Raises:
            EncodeError: a source that is no network.
        """
        return cls(read_only, frozenset(classes), networks(sources))

    @property
    def by_request(self) -> bool:
        """Whether it depends on the request who may pass."""
        return self.read_only or bool(self.classes)

    def check_source(self, source: str) -> None:
        """Let requests of that address pass, as far as the address decides.

        Raises:
            CipError: PRIVILEGE_VIOLATION.
        """
        if self.sources and not within(source, self.sources):
            raise CipError("source", status=GeneralStatus.PRIVILEGE_VIOLATION)

    def may_pass(self, request: bytes) -> bool:
        """Whether the request may pass. But for packets, its service and path decide it."""
        try:
            if self.by_request:
                self._check_message(request, depth=0)
        except CipError:
            return False
        return True

    def check(self, request: bytes, source: str) -> None:
        """Let the request pass.

        Raises:
            CipError: PRIVILEGE_VIOLATION.
        """
        self.check_source(source)
        if not self.may_pass(request):
            raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION)

    def _check_message(self, message: bytes, depth: int) -> None:
        try:
            request = MessageRouterRequest.decode(message)
            path = epath.decode(request.path)
        except ProtocolError:
            raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION) from None
        first = path[0] if path else None
        class_id = first.value if isinstance(first, epath.Logical) and not first.kind else None
        if request.service == Service.MULTIPLE_SERVICE_PACKET and class_id == 2 and not depth:
            for member in split_packet(request.data):
                self._check_message(member, depth + 1)
            return
        if self.read_only and (request.service not in READ_ONLY_SERVICES or class_id == 6):
            raise CipError("read only", status=GeneralStatus.PRIVILEGE_VIOLATION)
        symbolic = 0x6B if isinstance(first, epath.Symbol) else class_id
        if self.classes and symbolic not in self.classes:
            raise CipError("class", status=GeneralStatus.PRIVILEGE_VIOLATION)


def networks(
    sources: Sequence[str],
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Networks from CIDR texts.

    Raises:
        EncodeError: a text that is not a route.
    """
    try:
        return tuple(ipaddress.ip_network(source, strict=False) for source in sources)
    except ValueError as error:
        raise EncodeError(str(error), status=0) from None


def within(source: str, allowed: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether an address (what follows a blank is ignored) lies in one of the networks."""
    try:
        address = ipaddress.ip_address(source.split(" ")[0])
    except ValueError:
        return False
    return any(address in network for network in allowed)


def split_packet(data: bytes) -> list[bytes]:
    """The members of a Multiple Service Packet's data.

    Raises:
        CipError: NOT_ENOUGH_DATA for an offset beyond the end, INVALID_PARAMETER where members
            overlap, run backwards or are more than `MAX_MEMBERS`.
    """
    if len(data) < 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    count = int.from_bytes(data[:2], "little")
    head = 2 + 2 * count
    if not 0 < count <= MAX_MEMBERS:
        raise CipError(status=GeneralStatus.INVALID_PARAMETER)
    if len(data) < head + 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    if count == 1:
        return [data[head:]]  # pylogix gives a single member a wrong offset
    offsets = [int.from_bytes(data[at : at + 2], "little") for at in range(2, head, 2)]
    ends = [*offsets[1:], len(data)]
    if offsets[0] < head or offsets[-1] > len(data):
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    if any(begin >= end for begin, end in zip(offsets, ends, strict=True)):
        raise CipError(status=GeneralStatus.INVALID_PARAMETER)
    return [data[begin:end] for begin, end in zip(offsets, ends, strict=True)]
