"""Pipelined requests known as a whole: answered by one comparison and one join.

    unconnected  header | context | key + header | context | ... | key
    class 3      header + context + address | sequence | message + header + context + address | ...
    replies      the same, each constant piece in its place

Every other piece is constant; the varying ones (contexts, or sequence counts) go into the replies
as they came. What was worked out holds as long as nothing in the image changes (`Image.version`).
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

from cpppod.protocols.cip.objects.connection_manager import Connection

MAX_REQUESTS = 64  # of one batch: more are hardly ever in flight
_HEADER, _CONTEXT, _ADDRESS, _SEQUENCE = 12, 8, 24, 2  # bytes


@lru_cache(128)
def _layout(total: int, count: int, connected: bool) -> struct.Struct:
    """`count` requests of `total` bytes, constant and varying pieces in turn."""
    if connected:
        before, varying = _HEADER + _CONTEXT + _ADDRESS, _SEQUENCE
    else:
        before, varying = _HEADER, _CONTEXT
    body = total - before - varying
    return struct.Struct(
        f"{before}s" + f"{varying}s{body + before}s" * (count - 1) + f"{varying}s{body}s"
    )


class Batch:
    """A batch of requests of one length, and what they are answered with.

    Attributes:
        size: bytes of the requests; `count` is how many they are.
    """

    __slots__ = (
        *("_connection", "_constants", "_data", "_last", "_layout", "_parts", "_reply"),
        *("_version", "count", "size"),
    )

    def __init__(
        self,
        data: bytes,
        replies: Sequence[bytes],
        *,
        total: int,
        version: int,
        connection: Connection | None,
    ) -> None:
        """`replies` are the pieces just sent, four a request, six on a connection.

        With a connection they are start, ours, context, lead, sequence, tail; else start, ours,
        context, tail.
        """
        self.size = len(data)
        self.count = self.size // total
        self._version = version
        self._connection = connection
        self._last = replies[-1]
        self._layout = _layout(total, self.count, connection is not None)
        self._constants = self._layout.unpack(data)[::2]
        self._parts = _pieces(replies, 6 if connection is not None else 4)
        self._data = data
        self._reply = b"".join(replies)

    def answer(self, data: bytes, version: int, now: float) -> bytes | None:
        """The replies to requests that differ in nothing but what varies; None where they do."""
        if version != self._version:
            return None
        connection = self._connection
        if connection is None and data == self._data:
            return self._reply
        pieces = self._layout.unpack(data)
        if pieces[::2] != self._constants:
            return None
        if connection is not None:
            sequences = pieces[1::2]
            fresh = len(set(sequences)) == self.count
            if not fresh or connection.deadline < now or sequences[0] == connection.last_sequence:
                return None
            connection.last_sequence = sequences[-1]
            connection.last_reply = self._last
            connection.deadline = now + connection.timeout_s
        parts = self._parts
        parts[1::2] = pieces[1::2]
        return b"".join(parts)


def _pieces(replies: Sequence[bytes], each: int) -> list[bytes]:
    """The replies as one list, constant and varying pieces in turn."""
    parts: list[bytes] = []
    before = b""
    for at in range(0, len(replies), each):
        start, ours, context, *rest = replies[at : at + each]
        if len(rest) == 3:
            lead, sequence, tail = rest
            parts += (before + start + ours + context + lead, sequence)
        else:
            (tail,) = rest
            parts += (before + start + ours, context)
        before = tail
    parts.append(before)
    return parts
