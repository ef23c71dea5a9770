"""Refusals: the replies that say why a request was not done, built here and nowhere else.

    Failure ── cip_status ──► general status, extended words       the only such table

    request to a target    service | 80  00  status  n  n x UINT extended
    Unconnected Send       D2  00  01  01  extended  words of route left  00
    ... over a connection  as a request to a target: its client never saw an Unconnected Send

Source: CIP Networks Library Vol. 1, 2-4 and 3-5.5.
"""

from collections.abc import Sequence

from cpppod.protocols.cip.message_router import REPLY, UNCONNECTED_SEND, MessageRouterReply
from cpppod.protocols.cip.status import ConnectionStatus, GeneralStatus
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.failures import Failure

_UNREACHED = (GeneralStatus.CONNECTION_FAILURE, ConnectionStatus.LINK_ADDRESS_NOT_VALID)
_UNANSWERED = (GeneralStatus.CONNECTION_FAILURE, ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT)
_STATUS: dict[Failure, tuple[int, ...]] = {
    Failure.NOT_WRITABLE: (GeneralStatus.ATTRIBUTE_NOT_SETTABLE,),
    Failure.NOT_ALLOWED: (GeneralStatus.PRIVILEGE_VIOLATION,),
    Failure.TOO_OFTEN: (GeneralStatus.RESOURCE_UNAVAILABLE,),
    Failure.NO_AUDIT: (GeneralStatus.DEVICE_STATE_CONFLICT,),
    Failure.BAD_VALUE: (GeneralStatus.INVALID_ATTRIBUTE_VALUE,),
    Failure.BAD_PARAMETER: (GeneralStatus.INVALID_PARAMETER,),
    Failure.NO_SUCH_TAG: (GeneralStatus.PATH_DESTINATION_UNKNOWN,),
    Failure.NOTHING_ASKED: (GeneralStatus.NOT_ENOUGH_DATA,),
    Failure.UNSUPPORTED: (GeneralStatus.SERVICE_NOT_SUPPORTED,),
    Failure.PAUSED: (GeneralStatus.DEVICE_STATE_CONFLICT,),
    Failure.NO_ROOM: (GeneralStatus.RESOURCE_UNAVAILABLE,),
    Failure.UNDELIVERED: (GeneralStatus.CONNECTION_FAILURE, ConnectionStatus.NO_BUFFER_MEMORY),
    Failure.NOT_CONNECTED: _UNREACHED,
    Failure.REFUSED: _UNREACHED,
    Failure.NO_SUCH_HOST: _UNREACHED,
    Failure.EXCEPTION: (GeneralStatus.VENDOR_SPECIFIC_ERROR,),  # and the device's own codes
}  # all others: nobody has answered


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
    left = bytes((len(route_path) >> 1, 0))
    failure = GeneralStatus.CONNECTION_FAILURE
    return MessageRouterReply(UNCONNECTED_SEND | REPLY, failure, (extended,), left).encode()


def cip_status(failure: Failure | None, codes: Sequence[int] = ()) -> tuple[int, list[int]]:
    """General status and extended words for a failure; (0, []) for none.

    Args:
        codes: the device's own with `EXCEPTION` and `CIP_STATUS`.
    """
    if failure is None:
        return GeneralStatus.SUCCESS, []
    if failure is Failure.CIP_STATUS:
        words = tuple(codes) or (GeneralStatus.GENERAL_ERROR,)
    else:
        words = _STATUS.get(failure, _UNANSWERED)
        words += tuple(codes) if failure is Failure.EXCEPTION else ()
    return int(words[0]), [int(word) for word in words[1:]]


def unanswered(
    request: bytes, route_path: bytes, failure: Failure, *, connected: bool = False
) -> bytes:
    """The reply to a routed request that its device has not answered; as `unrouted`."""
    status, extended = cip_status(failure)
    if status == GeneralStatus.CONNECTION_FAILURE:
        return unrouted(request, route_path, extended[0], connected=connected)
    return refused(request, status, extended)
