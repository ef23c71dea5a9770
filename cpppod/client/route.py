"""How a client's requests are wrapped: route path, send path and times, with their defaults."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from cpppod.protocols.cip import epath
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.forward_open import (
    LARGE_SIZE,
    MESSAGE_ROUTER,
    ConnectionRequest,
)
from cpppod.protocols.enip.originator.route import (
    DIRECT,
    PRIORITY_TIME_TICK,
    TIMEOUT_TICKS,
    RoutePath,
    UnconnectedRoute,
    encode_path,
    encode_route_path,
)
from cpppod.protocols.model.errors import EncodeError

DEFAULT_ROUTE_PATH = "1/0"  # a guess at where a ControlLogix' processor sits
DEFAULT_SEND_PATH = "@6/1"  # the Connection Manager


class Route:
    """Route path, send path and times; None takes the default, False or "" means none.

    Raises:
        EncodeError: times out of range.
    """

    KEYS: ClassVar[frozenset[str]] = frozenset(
        {"route_path", "send_path", "priority_time_tick", "timeout_ticks"}
    )

    def __init__(
        self,
        route_path: RoutePath = None,
        send_path: str | None = None,
        priority_time_tick: int | None = None,
        timeout_ticks: int | None = None,
    ) -> None:
        self.route_path = DEFAULT_ROUTE_PATH if route_path is None else route_path
        self.send_path = DEFAULT_SEND_PATH if send_path is None else send_path
        self.tick = PRIORITY_TIME_TICK if priority_time_tick is None else priority_time_tick
        self.ticks = TIMEOUT_TICKS if timeout_ticks is None else timeout_ticks
        if not 0 <= self.tick <= 15:
            raise EncodeError(f"priority_time_tick {self.tick}: 0 to 15", status=0x20)
        if not 1 <= self.ticks <= 255:
            raise EncodeError(f"timeout_ticks {self.ticks}: 1 to 255", status=0x20)

    @cached_property
    def unconnected(self) -> UnconnectedRoute:
        """How an unconnected request is wrapped."""
        if not self.send_path:
            return DIRECT
        return UnconnectedRoute(
            encode_path(self.send_path), encode_route_path(self.route_path), self.tick, self.ticks
        )

    @property
    def carrier(self) -> Carrier:
        """Unconnected messages that are wrapped so."""
        return Carrier(self.unconnected)

    def override(self, keys: Mapping[str, Any]) -> "Route":
        """This route with what `keys` has of `KEYS`."""
        return Route(
            keys.get("route_path", self.route_path),
            keys.get("send_path", self.send_path),
            keys.get("priority_time_tick", self.tick),
            keys.get("timeout_ticks", self.ticks),
        )


def connection_request(
    route: Route, connection_path: str | None, parameters: Mapping[str, Any]
) -> ConnectionRequest:
    """The class 3 connection to ask for.

    Raises:
        EncodeError: `connection_path` or the route path cannot be understood.
    """
    if connection_path is not None:
        path = epath.encode(epath.parse_connection_path(connection_path))
    else:
        path = (encode_route_path(route.route_path) if route.send_path else b"") + MESSAGE_ROUTER
    size = int(parameters.get("size", LARGE_SIZE))
    rpi_us = int(parameters.get("RPI", ConnectionRequest().rpi_us))
    return ConnectionRequest(connection_path=path, size=size, rpi_us=rpi_us)
