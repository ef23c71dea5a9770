"""Relayed requests: others' requests on our session, in groups, matched without a table.

    SendRRData, sender context  UDINT    UINT    USINT  FE
                                number   place   hops       of a request in its group (`hops`)

    send ──► frames                 requests of one length share all but context and body
    send_connected ──► frames       on others' connections: matched by sequence count
    receive_data ──► Relayed ...    the frames that are replies to ours
                 ──► bytes          whatever else has come, for the session, in whole frames

The session numbers its own requests in decimal digits, so the mark tells them apart. Which of a
group's requests are answered is for its owner to know: a reply may come late, or twice.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cpppod.protocols.cip.message_router import REPLY, UNCONNECTED_SEND
from cpppod.protocols.enip.cpf import UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER, Command
from cpppod.protocols.enip.hops import MARK
from cpppod.protocols.enip.originator.route import UnconnectedRoute
from cpppod.protocols.enip.originator.session import (
    CPF_TIMEOUT_S,
    MAX_REPLY_DATA,
    SessionViolated,
)
from cpppod.protocols.model.errors import DecodeError

OURS = 0x8000_0000  # numbers from here on are not of groups
MAX_NUMBER = OURS - 1
_CONTEXT = struct.Struct("<IHBB")
_HEAD = struct.Struct("<HHII")
_LENGTH = struct.Struct("<H")
_CONTEXT_AT, _OPTIONS_AT, _MARK_AT, _MESSAGE_AT = 12, 20, 19, 40
_ID_AT, _SEQUENCE_AT, _CONNECTED_AT = 36, 44, 46  # in a SendUnitData
_UNIT = struct.Struct("<8sIIHHHHIHH")
_ITEMS = slice(30, 38)
_RR_ITEMS = b"\2\0\0\0\0\0\xb2\0"  # two: the null address, data without connection
_SEND_RR_DATA = int(Command.SEND_RR_DATA).to_bytes(2, "little")
_SEND_UNIT_DATA = int(Command.SEND_UNIT_DATA).to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Relayed:
    """Replies to consecutive requests of group `number`, from its request `place` on.

    Attributes:
        status: encapsulation status; where it is not 0 there are no replies, but to one request.
    """

    number: int
    place: int
    replies: list[bytes]
    status: int = 0


class Relay:
    """The relayed requests of one session."""

    def __init__(self) -> None:
        self._partial = b""
        self._ends: dict[bytes, bytes] = {}  # either id -> T->O id: cpppo replies with ours
        self._on_them: dict[bytes, tuple[int, int]] = {}  # T->O id, sequence -> number, place

    @property
    def partial(self) -> bool:
        """Whether a part of a reply waits for the rest."""
        return bool(self._partial)

    def opened(self, o_t_id: int, t_o_id: int) -> None:
        """A connection of somebody else's is open."""
        key = t_o_id.to_bytes(4, "little")
        self._ends[o_t_id.to_bytes(4, "little")] = self._ends[key] = key

    def closed(self, o_t_id: int, t_o_id: int) -> None:
        """It is not any more."""
        key = t_o_id.to_bytes(4, "little")
        self._ends.pop(o_t_id.to_bytes(4, "little"), None)
        self._ends.pop(key, None)
        for each in [each for each in self._on_them if each.startswith(key)]:
            del self._on_them[each]

    def send_connected(
        self,
        session: int,
        number: int,
        place: int,
        requests: Sequence[bytes],
        o_t_id: int,
        t_o_id: int,
    ) -> bytes:
        """The frames of requests on an open connection; each begins with its sequence count."""
        pieces: list[bytes] = []
        key = t_o_id.to_bytes(4, "little")
        for request in requests:
            size = len(request)
            head = _HEAD.pack(Command.SEND_UNIT_DATA, size + 20, session, 0)
            pieces += (
                head,
                _UNIT.pack(bytes(8), 0, 0, CPF_TIMEOUT_S, 2, 0xA1, 4, o_t_id, 0xB1, size),
                request,
            )
            self._on_them[key + request[:2]] = number, place
            place += 1
        return b"".join(pieces)

    @staticmethod
    def send(
        session: int,
        number: int,
        place: int,
        requests: Sequence[bytes],
        route: UnconnectedRoute,
        hops: int = 0,
    ) -> bytes:
        """The frames of a group's requests from `place` on.

        Args:
            session: the handle.

        Raises:
            EncodeError: a request that cannot be said.
        """
        pieces: list[bytes] = []
        size = -1
        head = before = behind = b""
        for request in requests:
            if len(request) != size:
                size = len(request)
                head, before, behind = _frame(session, size, route)
            pieces += (head, _CONTEXT.pack(number, place, hops, MARK), before, request, behind)
            place += 1
        return b"".join(pieces)

    def receive_data(self, data: bytes, session: int) -> tuple[list[Relayed], bytes]:
        """Take bytes from the socket: the replies to ours, and what is the session's.

        Raises:
            SessionViolated: a reply to one of ours that is none.
        """
        if self._partial:
            data = self._partial + data
        found: list[Relayed] = []
        others: list[bytes] = []
        at, size = 0, len(data)
        while size - at >= HEADER.size:
            length = _LENGTH.unpack_from(data, at + 2)[0]
            total = HEADER.size + length
            if length > MAX_REPLY_DATA:
                others.append(data[at:])  # the session says what is wrong with it
                at = size
            elif at + total > size:
                break
            elif data[at : at + 2] == _SEND_RR_DATA and data[at + _MARK_AT] == MARK:
                at = self._take(data, at, total, session, found)
            elif data[at : at + 2] == _SEND_UNIT_DATA and self._ends:
                if not self._take_connected(data[at : at + total], session, found):
                    others.append(data[at : at + total])
                at += total
            else:
                others.append(data[at : at + total])
                at += total
        self._partial = data[at:]
        return found, b"".join(others)

    def _take(self, data: bytes, at: int, total: int, session: int, found: list[Relayed]) -> int:
        """Take replies of one length from `at` on; where the next other frame begins."""
        head = data[at : at + _CONTEXT_AT]
        if head[4:8] != session.to_bytes(4, "little"):
            raise SessionViolated("reply with another session handle")
        if head[8:12] != bytes(4) or total < _MESSAGE_AT + 4:
            return self._take_one(data, at, total, found)
        before = data[at + _OPTIONS_AT : at + _MESSAGE_AT]
        if before[10:18] != _RR_ITEMS or before[18:] != _LENGTH.pack(total - _MESSAGE_AT):
            return self._take_one(data, at, total, found)
        end = at + (len(data) - at) // total * total
        replies: list[bytes] = []
        number = next_place = -1
        cut = _cut(total).iter_unpack(memoryview(data)[at:end])
        for head_there, number_there, place, _hops, mark, before_there, reply in cut:
            if head_there != head or mark != MARK or before_there != before:
                break
            if number_there != number or place != next_place:
                replies = []
                number, next_place = number_there, place
                found.append(Relayed(number, place, replies))
            replies.append(reply)
            next_place += 1
            at += total
        return at

    def _take_connected(self, frame: bytes, session: int, found: list[Relayed]) -> bool:
        """Whether a frame is a reply on somebody else's connection."""
        key = self._ends.get(frame[_ID_AT : _ID_AT + 4])
        if key is None:
            return False
        if frame[4:8] != session.to_bytes(4, "little") or len(frame) < _CONNECTED_AT + 4:
            raise SessionViolated("not a reply on that connection")
        asked = self._on_them.pop(key + frame[_SEQUENCE_AT:_CONNECTED_AT], None)
        if asked is not None:  # else it came late, or twice
            found.append(Relayed(*asked, [frame[_CONNECTED_AT:]]))
        return True

    def _take_one(self, data: bytes, at: int, total: int, found: list[Relayed]) -> int:
        """Take a reply that is laid out in another way, or an encapsulation error."""
        status = int.from_bytes(data[at + 8 : at + 12], "little")
        number, place, *_ = _CONTEXT.unpack_from(data, at + _CONTEXT_AT)
        if status:
            found.append(Relayed(number, place, [], status))
            return at + total
        try:
            message = UnconnectedMessage.decode(data[at + HEADER.size : at + total]).message
        except DecodeError as error:
            raise SessionViolated(str(error)) from None
        if len(message) < 4:
            raise SessionViolated(f"reply of {len(message)} bytes")
        found.append(Relayed(number, place, [message]))
        return at + total


def answers(request: bytes, reply: bytes) -> bool:
    """Whether `reply` can be the one to `request`: its service, or a refusal to pass it on."""
    service = reply[0]
    return service == request[0] | REPLY or (service == UNCONNECTED_SEND | REPLY and bool(reply[2]))


@lru_cache(256)
def _frame(session: int, size: int, route: UnconnectedRoute) -> tuple[bytes, bytes, bytes]:
    """Frames with a request of `size` bytes: before the context, up to the request, behind it."""
    stand_in = bytes(size)
    message = route.wrap(stand_in)
    data = UnconnectedMessage(message, CPF_TIMEOUT_S).encode()
    head = _HEAD.pack(Command.SEND_RR_DATA, len(data), session, 0)
    place = len(data) - len(message) + (_wrapped_at(route) if route.send_path else 0)
    return head, bytes(4) + data[:place], data[place + size :]


def _wrapped_at(route: UnconnectedRoute) -> int:
    """Where in an Unconnected Send the request stands: behind service, path, ticks and length."""
    return 2 + len(route.send_path) + 4


@lru_cache(256)
def _cut(total: int) -> struct.Struct:
    """A frame of `total` bytes: command to status, number, place, mark, up to the reply, reply."""
    before = _MESSAGE_AT - _OPTIONS_AT
    return struct.Struct(f"<{_CONTEXT_AT}sIHBB{before}s{total - _MESSAGE_AT}s")
