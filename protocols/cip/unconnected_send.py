"""Unconnected Send: a request wrapped with the route that it is to take, and its deadline.

    USINT  USINT  UINT    L bytes             USINT        USINT  EPATH
    tick   ticks  L       request  [00 if L]  route words  0      route path    (request data)

The time allowed is 2**tick x ticks milliseconds. libplctag leaves out the route size too where it
has no route. What a failure of routing is answered with: `failures`.

Source: CIP Networks Library Vol. 1, 3-5.5.4.
"""

import struct
from dataclasses import dataclass

from cpppod.protocols.cip.epath import class_path
from cpppod.protocols.cip.message_router import UNCONNECTED_SEND, MessageRouterRequest
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.model.errors import EncodeError

CONNECTION_MANAGER = 0x06
CONNECTION_MANAGER_PATH = class_path(CONNECTION_MANAGER, 1)
MAX_TIMEOUT_S = 10.0  # what a peer may ask for at most: 2**15 x 255 ms would be 2.3 hours
MIN_TIMEOUT_S = 0.01
_HEAD = struct.Struct("<BBH")


def timeout_s(priority_tick: int, timeout_ticks: int) -> float:
    """The time allowed in seconds, clamped to what is sensible."""
    asked = (1 << (priority_tick & 0x0F)) * timeout_ticks / 1000
    return min(max(asked, MIN_TIMEOUT_S), MAX_TIMEOUT_S)


def ticks_for(timeout: float) -> tuple[int, int]:
    """The (tick, ticks) of least error that allow at least `timeout` seconds."""
    milliseconds = max(1, round(timeout * 1000))
    for tick in range(16):
        ticks = -(-milliseconds >> tick)
        if ticks <= 255:
            return tick, max(1, ticks)
    return 15, 255


@dataclass(frozen=True, slots=True)
class UnconnectedSend:
    """An embedded Message Router request and the route path (padded EPATH of ports) it takes."""

    request: bytes
    route_path: bytes = b""
    priority_tick: int = 0x05
    timeout_ticks: int = 0x9D

    def encode_data(self) -> bytes:
        """The service's data.

        Raises:
            EncodeError: a request longer than its length can say, or a route that is no path.
        """
        if len(self.request) > 0xFFFF or len(self.route_path) & 1 or len(self.route_path) > 510:
            raise EncodeError(f"request of {len(self.request)} bytes to be routed", status=0x1A)
        return b"".join(
            (
                _HEAD.pack(self.priority_tick, self.timeout_ticks, len(self.request)),
                self.request,
                bytes(len(self.request) & 1),
                bytes((len(self.route_path) >> 1, 0)),
                self.route_path,
            )
        )

    def encode(self, path: bytes = CONNECTION_MANAGER_PATH) -> bytes:
        """The whole request, sent to the Connection Manager."""
        return MessageRouterRequest(UNCONNECTED_SEND, path, self.encode_data()).encode()

    @classmethod
    def decode(cls, data: bytes) -> "UnconnectedSend":
        """The wrapper in the data of an Unconnected Send; the route path is not looked into.

        Raises:
            CipError: NOT_ENOUGH_DATA where a length claims more than there is.
        """
        if len(data) < _HEAD.size:
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        tick, ticks, length = _HEAD.unpack_from(data)
        end = _HEAD.size + length
        if length < 2 or end > len(data):
            raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        request, rest = data[_HEAD.size : end], data[end + (length & 1) :]
        route = b""
        if len(rest) >= 2:
            route = rest[2 : 2 + 2 * rest[0]]
            if len(route) < 2 * rest[0]:
                raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
        return cls(bytes(request), bytes(route), tick, ticks)

    @property
    def timeout_s(self) -> float:
        """The time allowed in seconds, clamped."""
        return timeout_s(self.priority_tick, self.timeout_ticks)
