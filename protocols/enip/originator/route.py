"""Where a request goes: the Unconnected Send around it, and paths given as dicts, text or bytes.

UnconnectedRoute(send path, route path)   wraps in an Unconnected Send to the send path (`@6/1`)
DIRECT                       sends the request as it is: simple devices, class 3 connections
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.epath import Logical, LogicalType, Port, Segment
from cpppod.protocols.cip.unconnected_send import (
    CONNECTION_MANAGER_PATH,
    UnconnectedSend,
    ticks_for,
)
from cpppod.protocols.enip.originator.operations import parse_path
from cpppod.protocols.model.errors import EncodeError

PRIORITY_TIME_TICK = 5  # 2**5 = 32 ms a tick ...
TIMEOUT_TICKS = 157  # ... 157 of them: 5.024 s

RoutePath: TypeAlias = str | bool | int | Iterable[Any] | Mapping[str, Any] | None

_LOGICAL = {
    "class": LogicalType.CLASS,
    "instance": LogicalType.INSTANCE,
    "attribute": LogicalType.ATTRIBUTE,
    "element": LogicalType.ELEMENT,
    "connection": LogicalType.CONNECTION_POINT,
}
_PORT_KEYS = frozenset(("port", "link"))


@dataclass(frozen=True, slots=True)
class UnconnectedRoute:
    """How a request leaves: `send_path` is the padded EPATH of who unwraps it, b"" for nobody.

    Attributes:
        route_path: padded EPATH of port segments.
        priority_time_tick: 2**n ms is one tick.
        timeout_ticks: ticks that the request may take on its way.
    """

    send_path: bytes = CONNECTION_MANAGER_PATH
    route_path: bytes = b""
    priority_time_tick: int = PRIORITY_TIME_TICK
    timeout_ticks: int = TIMEOUT_TICKS

    def wrap(self, request: bytes) -> bytes:
        """The request as it goes into the CPF item; the very object where nothing is added."""
        if not self.send_path:
            return request
        wrapper = UnconnectedSend(
            request, self.route_path, self.priority_time_tick, self.timeout_ticks
        )
        return wrapper.encode(self.send_path)

    @property
    def overhead(self) -> int:
        """Bytes added around a request, at most."""
        if not self.send_path:
            return 0
        return 2 + len(self.send_path) + 4 + 1 + 2 + len(self.route_path)

    def allowing(self, timeout_s: float) -> "UnconnectedRoute":
        """The same way with at least `timeout_s` for the target to answer."""
        tick, ticks = ticks_for(timeout_s)
        return UnconnectedRoute(self.send_path, self.route_path, tick, ticks)


DIRECT = UnconnectedRoute(send_path=b"")


def encode_path(path: str | bytes | Iterable[Mapping[str, Any]]) -> bytes:
    """The padded EPATH of a path: text of the mini-language, segments as dicts, or bytes as is.

    Raises:
        EncodeError: not a path (`OperationError` where it is text).
    """
    if isinstance(path, bytes):
        return path
    if isinstance(path, str):
        path = parse_path(path) if path.strip() else []
    encoded = [_encode(segment) for segment in path]
    return encoded[0] if len(encoded) == 1 else b"".join(encoded)


def _encode(segment: Mapping[str, Any]) -> bytes:
    name = segment.get("symbolic")
    if isinstance(name, str) and len(segment) == 1:
        return epath.encode_symbol(name)
    return epath.encode((_segment(segment),))


def encode_route_path(route_path: RoutePath) -> bytes:
    """The padded EPATH of `1/0`, `{"port": 1, "link": 0}`, a list of those, JSON of any of them;
    b"" for None, False, 0, "" and [].

    Raises:
        EncodeError: anything else.
    """
    if not route_path:
        return b""
    if isinstance(route_path, str):
        return epath.encode(epath.parse_route_path(route_path))
    if isinstance(route_path, Mapping):
        route_path = [route_path]
    if isinstance(route_path, bool | int | float):
        raise EncodeError(f"route path {route_path!r}: expected port and link", status=0x04)
    hops = [dict(hop) if isinstance(hop, Mapping) else hop for hop in route_path]
    return epath.encode(epath.parse_route_path(json.dumps(hops)))


def _segment(segment: Mapping[str, Any]) -> Segment:
    port, link = segment.get("port"), segment.get("link", 0)
    if isinstance(port, int) and isinstance(link, int | str) and segment.keys() <= _PORT_KEYS:
        return Port(port, link)
    if len(segment) == 1:
        ((key, value),) = segment.items()
        kind = _LOGICAL.get(key)
        if kind is not None and isinstance(value, int):
            return Logical(kind, value)
    raise EncodeError(f"unknown path segment {segment!r}", status=0x04)
