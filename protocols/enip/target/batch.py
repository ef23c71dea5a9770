"""Requests known as a whole: one frame or pipelined ones, answered by one comparison.

    requests  frame of `total` bytes | frame | frame ...
    replies   reply of `reply` bytes | reply | reply ...

What varies from one time to the next stands at the same place in a request and its reply: the
sender context (12 to 19) without a connection, the sequence count (44, 45) on one. It is copied,
byte by byte over all frames at once, into the requests expected and the replies prepared; if what
came is what was expected, the replies are right. They hold as long as none of the remembered
replies that they are made of is rendered anew or forgotten, which is looked at where anything in
the image has changed (`Image.version`).
"""

from collections.abc import Sequence

from cpppod.protocols.cip.image import Reply
from cpppod.protocols.cip.objects.connection_manager import Connection
from cpppod.protocols.enip.target.reply_frames import CONTEXT, MESSAGE, OPTIONS, SEQUENCE

MAX_REQUESTS = 64  # of one batch: more are hardly ever in flight
MAX_REPLIES = 65_536  # bytes of the replies to it, held twice for each session
_CONTEXT_BYTES = tuple(range(CONTEXT, OPTIONS))
_SEQUENCE_BYTES = (SEQUENCE, SEQUENCE + 1)
_COUNTING = bytes(range(256)) * 2  # low bytes of sequence counts that go up by one


class Batch:
    """Requests of one length, and what they are answered with.

    Attributes:
        size: bytes of the requests; `count` is how many they are.
    """

    __slots__ = (
        *("_connection", "_data", "_expected", "_last", "_made_of", "_places", "_prepared"),
        *("_replies", "_reply", "_total", "_version", "count", "size"),
    )

    def __init__(
        self,
        data: bytes,
        replies: bytes,
        *,
        total: int,
        version: int,
        made_of: Sequence[Reply],
        connection: Connection | None,
        last: bytes,
    ) -> None:
        """`replies` are what has just been sent, all of one length, and what they are made of;
        `last` is the last message."""
        self.size = len(data)
        self.count = self.size // total
        self._total = total
        self._reply = len(replies) // self.count
        self._version = version
        self._made_of = [(reply, reply.tail) for reply in made_of]
        self._connection = connection
        self._last = last
        self._places = _CONTEXT_BYTES if connection is None else _SEQUENCE_BYTES
        self._data = data
        self._replies = replies
        self._expected = bytearray(data)
        self._prepared = bytearray(replies)

    def answer(self, data: bytes, version: int, now: float) -> bytes | None:
        """The replies to requests that differ in nothing but what varies; None where they do."""
        if version != self._version:
            if any(reply.tail is not tail for reply, tail in self._made_of):
                return None
            self._version = version
        connection = self._connection
        if connection is None and data == self._data:
            return self._replies
        expected, prepared = self._expected, self._prepared
        total, reply = self._total, self._reply
        for place in self._places:
            piece = data[place::total]
            expected[place::total] = piece
            prepared[place::reply] = piece
        if expected != data:
            return None
        if connection is not None:
            low = data[SEQUENCE::total]
            fresh = low in _COUNTING or len(set(low)) == self.count
            if (
                not fresh
                or connection.deadline < now
                or data[SEQUENCE:MESSAGE] == connection.last_sequence
            ):
                return None
            connection.last_sequence = data[SEQUENCE - total : MESSAGE - total]
            connection.last_reply = self._last
            connection.deadline = now + connection.timeout_s
        return bytes(prepared)
