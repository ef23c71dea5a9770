"""What a session answers without understanding it anew: requests whose bytes it has seen before.

    batch     all the bytes of one read from the socket, as they came the last time
    answer    frame by frame: a known head (command, length, our session, status 0), then by
              what follows the sender context, or by the message on a class 3 connection

    offset  0        12              20        28       30           40         44        46
            head     sender context  options   timeout  CPF items    data item  sequence  message
            └─same─┘ └───copied────┘ └────── same: the key of a reply; with a sequence the
                                             part before it names the connection ──────────┘

A frame's length is positive for SendRRData, negative for SendUnitData (what stands at 44 and 46
exists there alone). Anything unusual ends the fast way: the session takes over from that frame on.
"""

from typing import Any

from cpppod.protocols.cip.image import Image, Reply
from cpppod.protocols.cip.objects.connection_manager import Connection
from cpppod.protocols.cip.reply_cache import (
    MAX_CONNECTION_COST,
    Budget,
    ReplyCache,
    hold,
    refresh,
)
from cpppod.protocols.enip.target.batch import MAX_REPLIES, MAX_REQUESTS, Batch
from cpppod.protocols.enip.target.reply_frames import (
    CONTEXT,
    DATA_ITEM,
    DATA_LENGTH,
    ITEMS,
    MESSAGE,
    OPTIONS,
    SEND_RR_DATA,
    SEQUENCE,
    TIMEOUT,
    rr_head,
    rr_tail,
    shape,
    unit_head,
    unit_lead,
    unit_shape,
)

TURN = 100  # requests that are worked out anew before others have their turn: 1.2 ms
MAX_LEARNT = 64  # heads and connections that a session remembers
CONNECTED_ITEM = b"\xb1\0"
NO_STATUS = bytes(4)


class RememberedReplies:
    """One session's memory; replies without a connection are those of its target.

    Attributes:
        handle: the session's, 0 before it is registered.
        batch: requests known as a whole, None while there are none.
    """

    def __init__(self, image: Image, replies: ReplyCache, connected: Budget) -> None:
        self.handle = 0
        self._image = image
        self._cache = replies
        self._connected = connected
        self._replies = replies.entries
        self._ours = bytes(8)  # session and status in our replies
        self._lengths: dict[bytes, int] = {}
        self._links: dict[bytes, Connection] = {}
        self.batch: Batch | None = None
        self._seen: tuple[Any, ...] = ()
        self._refreshed = 0  # members of the replies that this turn has rendered anew

    def registered(self, handle: int) -> None:
        """The session has its handle."""
        self.handle = handle
        self._ours = handle.to_bytes(4, "little") + bytes(4)

    def clear(self) -> None:
        """The session is over: let its connections go."""
        self._links.clear()
        self.batch = None

    # -- learning ---------------------------------------------------------------------------------

    def learn(self, frame: bytes, reply: Reply, message: bytes) -> bytes:
        """Remember what a SendRRData frame is answered with, just rendered as `message`.

        Returns:
            The reply's frame.
        """
        tail = rr_tail(message, int.from_bytes(frame[TIMEOUT:ITEMS], "little"))
        reply.head = rr_head(len(message))
        if self._cache.put(frame[OPTIONS:], reply):
            reply.tail = tail
            hold(reply)
        self._know(frame, len(frame))
        return reply.head + self._ours + frame[CONTEXT:OPTIONS] + tail

    def learn_connected(
        self, frame: bytes, reply: Reply, message: bytes, connection: Connection
    ) -> None:
        """The same for a SendUnitData frame, if it is laid out as all clients do."""
        if frame[DATA_ITEM:DATA_LENGTH] != CONNECTED_ITEM:
            return
        if connection.cache is None:
            connection.cache = ReplyCache(MAX_CONNECTION_COST, self._connected)
            connection.replies = connection.cache.entries
        if connection.cache.put(frame[MESSAGE:], reply):
            _set_connected(reply, message, connection)
            hold(reply)
        self._know(frame, -len(frame))
        if len(self._links) >= MAX_LEARNT:
            self._links.clear()
        self._links[frame[OPTIONS:SEQUENCE]] = connection

    def _know(self, frame: bytes, total: int) -> None:
        head, lengths = frame[:CONTEXT], self._lengths
        if head not in lengths and len(lengths) < MAX_LEARNT and head.endswith(NO_STATUS):
            lengths[head] = total

    # -- answering --------------------------------------------------------------------------------

    def answer(self, data: bytes, now: float, out: list[bytes]) -> tuple[int, int]:
        """(offset of the first frame that is not known, how many were answered)."""
        lengths = self._lengths
        at, size, count = 0, len(data), 0
        self._refreshed = 0
        total = lengths.get(data[:CONTEXT])
        if total is not None and size > abs(total) and not size % total:
            at = self._alike(data, total, now, out)
            count = at // abs(total)
            if at == size:
                self._know_batch(data, total, out)
        while True:
            total = lengths.get(data[at : at + CONTEXT])
            if total is None:
                break
            if total > 0:
                end = at + total
                reply = self._replies.get(data[at + OPTIONS : end])
                if reply is None or end > size:
                    break
                tail = reply.tail
                if tail is None:
                    tail = self._refresh(reply, data[at + TIMEOUT : at + ITEMS])
                    if tail is None:
                        break
                out += (reply.head, self._ours, data[at + CONTEXT : at + OPTIONS], tail)
            else:
                end = at - total
                if end > size or not self._answer_connected(data, at, end, now, out):
                    break
            count += 1
            at = end
        if count == 1 and at == size:
            self._know_batch(data, size if data[0] == SEND_RR_DATA else -size, out)
        return at, count

    def _alike(self, data: bytes, total: int, now: float, out: list[bytes]) -> int:
        """The same for pipelined frames of one length, cut apart in one go."""
        first, ours, replies = data[:CONTEXT], self._ours, self._replies
        at = 0
        if total > 0:
            for head, context, key in shape(total).iter_unpack(data):
                reply = replies.get(key)
                if reply is None or head != first:
                    break
                tail = reply.tail
                if tail is None:
                    tail = self._refresh(reply, key[TIMEOUT - OPTIONS : ITEMS - OPTIONS])
                    if tail is None:
                        break
                out += (reply.head, ours, context, tail)
                at += total
            return at
        address = data[OPTIONS:SEQUENCE]
        connection = self._links.get(address)
        if connection is None or connection.deadline < now:
            return 0
        known, last, tail = connection.replies, connection.last_sequence, connection.last_reply
        for head, context, link, sequence, message in unit_shape(-total).iter_unpack(data):
            reply = known.get(message)
            if reply is None or reply.tail is None or sequence == last:
                break
            if head != first or link != address:
                break
            last, tail = sequence, reply.tail
            out += (reply.head, ours, context, reply.lead, sequence, tail)
            at -= total
        connection.last_sequence, connection.last_reply = last, tail
        connection.deadline = now + connection.timeout_s
        return at

    def _refresh(self, reply: Reply, timeout: bytes) -> bytes | None:
        """The remembered reply rendered anew; None where its tag is not fresh, or where this turn
        has rendered enough."""
        if self._refreshed >= TURN:
            return None
        message = refresh(reply)
        if message is None:
            return None
        self._refreshed += len(reply.sources)
        reply.head = rr_head(len(message))
        tail = rr_tail(message, int.from_bytes(timeout, "little"))
        reply.tail = tail
        return tail

    def _answer_connected(
        self, data: bytes, at: int, end: int, now: float, out: list[bytes]
    ) -> bool:
        """Answer one request on a class 3 connection."""
        connection = self._links.get(data[at + OPTIONS : at + SEQUENCE])
        if connection is None or connection.deadline < now:
            return False
        reply = connection.replies.get(data[at + MESSAGE : end])
        sequence = data[at + SEQUENCE : at + MESSAGE]
        if reply is None or sequence == connection.last_sequence:
            return False
        tail = reply.tail
        if tail is None:
            tail = refresh(reply) if self._refreshed < TURN else None
            if tail is None:
                return False
            self._refreshed += len(reply.sources)
            _set_connected(reply, tail, connection)
        connection.last_sequence = sequence
        connection.last_reply = tail
        connection.deadline = now + connection.timeout_s
        context = data[at + CONTEXT : at + OPTIONS]
        out += (reply.head, self._ours, context, reply.lead, sequence, tail)
        return True

    def _know_batch(self, data: bytes, total: int, out: list[bytes]) -> None:
        """Remember requests that come for the second time."""
        first = data[OPTIONS:total] if total > 0 else data[MESSAGE:-total]
        seen = (len(data), total, first, data[-8:])
        if seen != self._seen:
            self._seen = seen
            return
        connection = self._links.get(data[OPTIONS:SEQUENCE]) if total < 0 else None
        each = 4 if connection is None else 6
        lengths = {sum(map(len, out[at : at + each])) for at in range(0, len(out), each)}
        total = abs(total)
        large = len(data) > MAX_REQUESTS * total or sum(map(len, out)) > MAX_REPLIES
        if len(lengths) != 1 or large:
            return
        known, key = self._replies, OPTIONS
        if connection is not None:
            known, key = connection.replies, MESSAGE
        keys = {data[at + key : at + total] for at in range(0, len(data), total)}
        self.batch = Batch(
            data,
            b"".join(out),
            total=total,
            version=self._image.version,
            made_of=[known[each] for each in keys],
            connection=connection,
            last=out[-1],
        )


def _set_connected(reply: Reply, message: bytes, connection: Connection) -> None:
    reply.head = unit_head(len(message))
    reply.lead = unit_lead(connection.to_id, len(message))
    reply.tail = message
