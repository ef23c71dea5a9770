"""Refusals: the replies that say why a request was not done, built here and nowhere else.

    request to a target    service | 80  00  status  n  n x UINT extended
    Unconnected Send       D2  00  01  01  extended  words of route left
    ... over a connection  as a request to a target: its client never saw an Unconnected Send

Source: CIP Networks Library Vol. 1, 2-4 and 3-5.5.
"""

from collections.abc import Sequence

from cpppod.protocols.cip.message_router import REPLY, UNCONNECTED_SEND, MessageRouterReply
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.model.errors import ProtocolError


def refusal(service: int, error: ProtocolError) -> bytes:
    """The reply that says why `service` was refused."""
    extended: tuple[int, ...] = getattr(error, "extended", ())
    data: bytes = getattr(error, "data", b"")
    return MessageRouterReply(service, error.status, extended, data).encode()


def refused(request: bytes, status: int, extended: Sequence[int] = ()) -> bytes:
    """The reply to a whole `request` (also an empty one) that was refused with `status`."""
    service = (request[0] if request else 0) | REPLY
    return MessageRouterReply(service, status, tuple(extended)).encode()


def unrouted(request: bytes, route_path: bytes, extended: int, *, connected: bool = False) -> bytes:
    """The Connection Manager's reply to a request that could not be passed on.

    Args:
        route_path: what is left of it.
        connected: whether the request came over a class 3 connection.
    """
    if connected:
        return refused(request, GeneralStatus.CONNECTION_FAILURE, (extended,))
    left = bytes((len(route_path) >> 1,))
    failure = GeneralStatus.CONNECTION_FAILURE
    return MessageRouterReply(UNCONNECTED_SEND | REPLY, failure, (extended,), left).encode()
