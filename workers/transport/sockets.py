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
