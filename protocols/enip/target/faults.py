"""Faults of a simulated EtherNet/IP target: what its replies become on the wire.

    KIND[:ARGUMENT][,tag=NAME][,service=0x4C][,rate=0.1][,times=N]

    late:S[-S] silent drip:S split:S     when the bytes leave, and in how many pieces
    half-open                            the connection stays, nothing more comes
    hang-up[:S]                          the connection is closed after the reply, or once nothing
                                         more was asked for so many seconds
    no-context context                   the sender context is not sent back; is another one
    session[:N] status:N command:N length:N   the encapsulation header lies
    no-session[:STATUS]                  RegisterSession is refused
    sequence[:N] repeat-zero             a class 3 reply has another count; a request that counts 0
                                         is taken for a repeat, and not answered
    truncate[:N] twice stale             the end is missing; sent again; after the one before it
    noise-before[:HEX|N] noise-after[:HEX|N]  bytes that belong to nobody
    refused:STATUS[:EXTENDED]            a refusal
    limit:N[:STATUS]                     requests of more bytes are refused (status 0x11)
    partial[:N]                          status 6 with the first N bytes of the data, or half of it
    bytes:N type:CODE service:CODE       so many bytes too many (or too few), of another type, the
                                         reply to another service

With `tag` (any element or member of it) or `service` only requests for it are concerned, also
within a Multiple Service Packet: its reply alone is changed, or all that carries it is late.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cpppod.protocols.cip.epath import Symbol, decode
from cpppod.protocols.cip.message_router import (
    REPLY,
    UNCONNECTED_SEND,
    MessageRouterReply,
    MessageRouterRequest,
    Service,
)
from cpppod.protocols.cip.objects.multiple import packed
from cpppod.protocols.cip.route_table import split_packet
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.enip.encapsulation import Command, Frame
from cpppod.protocols.model.errors import EncodeError, ProtocolError
from cpppod.protocols.model.faults import (
    Chance,
    FaultList,
    Number,
    shared_kinds,
    split_fault,
)

# Of a Message Router message in a frame's data: where it begins, and where its item's size stands.
_MESSAGE_AT: dict[int, int] = {Command.SEND_RR_DATA: 16, Command.SEND_UNIT_DATA: 22}
_SIZE_AT: dict[int, int] = {Command.SEND_RR_DATA: 14, Command.SEND_UNIT_DATA: 18}
_SEQUENCE_AT = 20
_CONNECTION_MANAGER = b"\x02\x20\x06\x24\x01"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and which replies it strikes.

    Attributes:
        tag: a tag's name, folded; service: of the request.
        rate: share of the replies concerned; times: how many more, None without end.
    """

    kind: str
    argument: str = ""
    tag: str | None = None
    service: int | None = None
    rate: float = 1.0
    times: int | None = None

    def __str__(self) -> str:
        text = f"{self.kind}:{self.argument}" if self.argument else self.kind
        text += "" if self.tag is None else f",tag={self.tag}"
        text += "" if self.service is None else f",service=0x{self.service:02x}"
        text += "" if self.rate == 1.0 else f",rate={self.rate:g}"
        return text if self.times is None else f"{text},times={self.times}"

    def selects(self, request: bytes) -> bool:
        """Whether it is meant for that Message Router request."""
        if self.service is not None and request[:1] != bytes((self.service,)):
            return False
        return self.tag is None or tag_of(request) == self.tag


@dataclass(frozen=True, slots=True)
class Message:
    """A reply on its way out.

    Attributes:
        request, reply: the frames; `previous`: the last reply's bytes before this one.
        length: that its header tells, None: as it is.
        delay_s: before the first byte; pause_s: between pieces of `piece` bytes (0: all at once).
        before, after: bytes around it; repeat: how often it is sent; cut: bytes missing at its end.
        hang_up_s: close so long after it, unless more is asked meanwhile; None: stay.
    """

    request: Frame
    reply: Frame
    previous: bytes = b""
    length: int | None = None
    delay_s: float = 0.0
    pause_s: float = 0.0
    piece: int = 0
    before: bytes = b""
    after: bytes = b""
    repeat: int = 1
    cut: int = 0
    silent: bool = False
    half_open: bool = False
    hang_up_s: float | None = None

    def encode(self) -> bytes:
        """All bytes that leave."""
        if self.silent or self.half_open:
            return b""
        frame = self.reply.encode()
        if self.length is not None:
            frame = frame[:2] + struct.pack("<H", self.length) + frame[4:]
        frame = frame[: max(0, len(frame) - self.cut)]
        return self.before + frame * self.repeat + self.after


def tag_of(request: bytes) -> str:
    """The name of the tag that a Message Router request is for, folded; "" where it is for none."""
    try:
        segments = decode(MessageRouterRequest.decode(request).path)
    except ProtocolError:
        return ""
    return next((item.name.casefold() for item in segments if isinstance(item, Symbol)), "")


def router_request(frame: Frame) -> bytes:
    """The Message Router request in a frame, out of its Unconnected Send if it is in one."""
    at = _MESSAGE_AT.get(frame.command)
    message = b"" if at is None else frame.data[at:]
    if message[:1] == bytes((UNCONNECTED_SEND,)) and message[1:6] == _CONNECTION_MANAGER:
        try:
            return UnconnectedSend.decode(message[6:]).request
        except ProtocolError:
            return message
    return message


def _packet(request: bytes, reply: bytes) -> list[tuple[bytes, bytes]]:
    """Requests and replies within a packet; empty where it is none, or was refused whole."""
    asked = list(_members(request))
    if not asked or reply[:1] != bytes((Service.MULTIPLE_SERVICE_PACKET | REPLY,)):
        return []
    try:
        return list(zip(asked, split_packet(reply[4 + 2 * reply[3] :]), strict=True))
    except (IndexError, ValueError, ProtocolError):
        return []


def _members(request: bytes) -> list[bytes]:
    """The requests within a packet; none where it is none."""
    if request[:1] != bytes((Service.MULTIPLE_SERVICE_PACKET,)):
        return []
    try:
        return split_packet(MessageRouterRequest.decode(request).data)
    except ProtocolError:
        return []


def parse_fault(text: str) -> Fault:
    """The fault that `text` describes.

    Raises:
        EncodeError: there is no such fault, or its argument cannot be understood.
    """
    kind, argument, given = split_fault(text, KINDS, _OPTIONS)
    fault = Fault(kind, argument, **given)
    try:
        Faults(lambda: 0.5).apply(replace(fault, tag=None, service=None), _PROBE).encode()
    except (ValueError, IndexError, struct.error):
        raise EncodeError(f"fault {kind}: {argument!r} is no argument of it", status=3) from None
    return fault


class Faults(FaultList[Fault, Message]):
    """The faults in force."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(chance, _FRAMES)

    def concerns(self, fault: Fault, message: Message) -> bool:
        """By command, tag and service."""
        command = message.request.command
        if command == Command.REGISTER_SESSION:
            return fault.kind in _OF_SESSIONS
        if command not in _MESSAGE_AT or fault.kind == "no-session":
            return False
        request = router_request(message.request)
        return any(fault.selects(each) for each in (request, *_members(request)))

    def apply(self, fault: Fault, message: Message) -> Message:
        """A fault of a frame changes that, one of a reply the Message Router reply within."""
        change = _REPLIES.get(fault.kind)
        if change is None:
            return super().apply(fault, message)
        frame = message.reply
        at = _MESSAGE_AT[frame.command]
        if len(frame.data) < at + 4:
            return message
        request = router_request(message.request)
        reply = _changed(fault, request, frame.data[at:], change)
        size = _SIZE_AT[frame.command]
        told = struct.pack("<H", len(reply) + at - size - 2)
        data = frame.data[:size] + told + frame.data[size + 2 : at] + reply
        return replace(message, reply=frame._replace(data=data))


Frames = Callable[[Message, str, Chance], Message]
Replies = Callable[[bytes, MessageRouterReply, str], MessageRouterReply]


def _changed(fault: Fault, request: bytes, reply: bytes, change: Replies) -> bytes:
    """The reply, or those within it that the fault is meant for, as they become."""

    def changed(request: bytes, reply: bytes) -> bytes:
        if not fault.selects(request):
            return reply
        return change(request, MessageRouterReply.decode(reply), fault.argument).encode()

    pairs = [] if fault.selects(request) else _packet(request, reply)
    if not pairs:
        return changed(request, reply)
    return packed([changed(*pair) for pair in pairs])


def _header(message: Message, **changes: Any) -> Message:
    return replace(message, reply=message.reply._replace(**changes))


def _no_context(message: Message, argument: str, chance: Chance) -> Message:
    return _header(message, context=bytes(8))


def _context(message: Message, argument: str, chance: Chance) -> Message:
    return _header(message, context=bytes(byte ^ 0x55 for byte in message.reply.context))


def _session(message: Message, argument: str, chance: Chance) -> Message:
    number = int(argument, 0) if argument else message.reply.session + 1
    return _header(message, session=number & 0xFFFFFFFF)


def _status(message: Message, argument: str, chance: Chance) -> Message:
    return _header(message, status=int(argument or "1", 0) & 0xFFFFFFFF, data=b"")


def _command(message: Message, argument: str, chance: Chance) -> Message:
    return _header(message, command=int(argument or "0x63", 0) & 0xFFFF)


def _length(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, length=int(argument or "3", 0) & 0xFFFF)


def _no_session(message: Message, argument: str, chance: Chance) -> Message:
    return _header(message, session=0, status=int(argument or "2", 0) & 0xFFFFFFFF)


def _sequence(message: Message, argument: str, chance: Chance) -> Message:
    """The count of a class 3 reply; another frame has none."""
    frame = message.reply
    if frame.command != Command.SEND_UNIT_DATA or len(frame.data) < _SEQUENCE_AT + 2:
        return message
    (was,) = struct.unpack_from("<H", frame.data, _SEQUENCE_AT)
    number = struct.pack("<H", (int(argument, 0) if argument else was + 1) & 0xFFFF)
    data = frame.data[:_SEQUENCE_AT] + number + frame.data[_SEQUENCE_AT + 2 :]
    return _header(message, data=data)


def _repeat_zero(message: Message, argument: str, chance: Chance) -> Message:
    frame = message.request
    zero = frame.data[_SEQUENCE_AT : _SEQUENCE_AT + 2] == b"\0\0"
    if frame.command != Command.SEND_UNIT_DATA or not zero:
        return message
    return replace(message, silent=True)


def _truncate(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, cut=int(argument or "1"))


def _twice(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, repeat=2)


def _stale(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, before=message.before + message.previous)


def _refused(request: bytes, reply: MessageRouterReply, argument: str) -> MessageRouterReply:
    status, _, extended = argument.partition(":")
    words = tuple(int(word, 0) & 0xFFFF for word in extended.split("/") if word)
    return MessageRouterReply(request[0] | REPLY, int(status or "8", 0) & 0xFF, words)


def _limit(request: bytes, reply: MessageRouterReply, argument: str) -> MessageRouterReply:
    most, _, status = argument.partition(":")
    if len(request) <= int(most, 0):
        return reply
    return _refused(request, reply, status or str(int(GeneralStatus.REPLY_DATA_TOO_LARGE)))


def _partial(request: bytes, reply: MessageRouterReply, argument: str) -> MessageRouterReply:
    kept = int(argument, 0) if argument else len(reply.data) // 2
    return reply._replace(status=GeneralStatus.PARTIAL_TRANSFER, data=reply.data[:kept])


def _bytes(request: bytes, reply: MessageRouterReply, argument: str) -> MessageRouterReply:
    more = int(argument or "-1", 0)
    data = reply.data + bytes(max(0, min(more, MAX_MORE)))
    return reply._replace(data=data[: max(0, len(data) + min(more, 0))])


def _type(request: bytes, reply: MessageRouterReply, argument: str) -> MessageRouterReply:
    code = struct.pack("<H", int(argument or "0xca", 0))
    return reply._replace(data=code + reply.data[2:]) if reply.data else reply


def _service(request: bytes, reply: MessageRouterReply, argument: str) -> MessageRouterReply:
    return reply._replace(service=int(argument or "0x0e", 0) & 0x7F | REPLY)


MAX_MORE = 60_000  # bytes: a frame has room for no more
_OF_SESSIONS = ("no-session", "no-context", "context")
_PROBE = Message(
    Frame(Command.SEND_RR_DATA, bytes(16) + b"\x4c\0\1\0"),
    Frame(Command.SEND_RR_DATA, bytes(16) + b"\xcc\0\0\0\xc4\0\7\0\0\0"),
    b"x",
)
_OPTIONS: dict[str, Number] = {
    "tag": lambda value: value.casefold(),
    "service": lambda value: int(value, 0),
}
_FRAMES: dict[str, Frames] = {
    **shared_kinds(piece=20),
    "no-context": _no_context,
    "context": _context,
    "session": _session,
    "status": _status,
    "command": _command,
    "length": _length,
    "no-session": _no_session,
    "sequence": _sequence,
    "repeat-zero": _repeat_zero,
    "truncate": _truncate,
    "twice": _twice,
    "stale": _stale,
}
_REPLIES: dict[str, Replies] = {
    "refused": _refused,
    "limit": _limit,
    "partial": _partial,
    "bytes": _bytes,
    "type": _type,
    "service": _service,
}
KINDS = (*_FRAMES, *_REPLIES)
