"""What the system knows of a socket: that its peer has closed, and in words why it failed."""

import os
import select
import socket
from typing import Any

SHOWN = 120  # characters of an error that has no number

_LOOKUP = {
    socket.EAI_NONAME: "no such host",
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME): "no such host",
    socket.EAI_AGAIN: "the name server does not answer",
    socket.EAI_FAIL: "the name server failed",
}

_PEER_CLOSED = getattr(select, "POLLRDHUP", select.POLLHUP) | select.POLLHUP | select.POLLERR


def family_of(host: str) -> int:
    """The address family of an IP address; of a name or "" IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listening(host: str, port: int) -> socket.socket:
    """A bound TCP socket, not listening yet; `::` is every IPv6 address, and those alone.

    Raises:
        OSError: the address is not to be had.
    """
    sock = socket.socket(family_of(host), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        only_ipv6(sock)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def only_ipv6(sock: socket.socket) -> None:
    """Have a socket bound to `::` leave IPv4 alone: its peers would be ::ffff:10.0.0.1."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def peer_closed(sock: Any) -> bool:
    """Whether the peer of a socket has closed or reset: what is sent now would be lost.

    Takes a socket, or what an asyncio transport gives as one; None is a transport that is gone.
    """
    number = -1 if sock is None else sock.fileno()
    return number < 0 or bool(closing_of(number).poll(0))


def closing_of(number: int) -> "select.poll":
    """What `poll(0)` of gives something once the peer of this file number has closed or reset."""
    poll = select.poll()
    poll.register(number, _PEER_CLOSED)
    return poll


def words(error: BaseException) -> str:
    """Why something failed, without numbers: `no such host`, `connection refused`."""
    if isinstance(error, socket.gaierror):
        return _LOOKUP.get(error.errno or 0, error.strerror or "the host cannot be looked up")
    number = getattr(error, "errno", None)
    if number is None:
        # several addresses were tried: the loop says all their errors in one without a number
        causes = getattr(error, "exceptions", ())
        return words(causes[0]) if causes else str(error)[:SHOWN] or type(error).__name__
    text = os.strerror(number)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
