"""Originator: the client side of one EtherNet/IP TCP connection, without sockets and clocks.

    register ──► REGISTERING ──► REGISTERED ──► send_unconnected, send_connected, forward_open ...
                      │               │
                      └──── violation, NOP beyond reason, end of stream ────► CLOSED

The shell writes `data_to_send()`, hands what it reads to `receive_data`, calls `expire(now)` when
`deadline()` has passed, and takes `Answer`s from `next_answer()`. Each answers one request:

    SendRRData    matched by its sender context, which no two outstanding requests share; by order
                  where the target does not send it back: then one is outstanding at a time
    SendUnitData  matched by the connection and the 16-bit sequence count
    others        matched by their command, in order

A reply that answers nothing we asked is a violation: the stream is given up, because the next
reply cannot be trusted either. Only the late reply to a request that timed out is dropped quietly.

Source: CIP Networks Library Vol. 2, 2-3 and 2-4; Vol. 1, 3-5 (Connection Manager).
"""

import enum
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from cpppod.protocols.cip.message_router import REPLY, UNCONNECTED_SEND, MessageRouterReply
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import Command, Frame, FrameReader
from cpppod.protocols.enip.hops import REGISTER_CONTEXT
from cpppod.protocols.enip.originator.route import DIRECT, UnconnectedRoute
from cpppod.protocols.model.errors import DecodeError, EncodeError

REGISTER_DATA = struct.pack("<HH", 1, 0)  # protocol version 1, no options
CPF_TIMEOUT_S = 8  # what a target may take before its encapsulation layer gives up
MAX_OUTSTANDING = 256  # requests; more never helps and every one is memory here and in the target
MAX_ABANDONED = 1024  # timed-out requests whose late reply is still known as such
MAX_REPLY_DATA = 65_511  # bytes of one frame: what the 16-bit length can say
MAX_UNASKED = 16  # NOPs in a row without any answer: then the peer talks to itself
CONTEXT_BYTES = 8


class SessionViolated(DecodeError):
    """The target broke the protocol: the connection is of no further use."""

    def __init__(self, text: str) -> None:
        super().__init__(text, status=0x03)


class State(enum.Enum):
    """How far the encapsulation session has come."""

    NEW = "new"
    REGISTERING = "registering"
    REGISTERED = "registered"
    CLOSED = "closed"


class RequestFailure(enum.Enum):
    """Why a request has no reply."""

    TIMEOUT = "no reply in time"
    REFUSED = "encapsulation error"
    CLOSED = "connection closed"


class Answer(NamedTuple):
    """What came of one request.

    Attributes:
        owner: what the caller gave with the request.
        reply: Message Router reply, None for the other commands and where `failure` says why.
        data: the Message Router reply as it came, or the data of a list command's reply.
        status: encapsulation status, not 0 where `failure` is REFUSED.
        frame: the encapsulation frame that brought it, None where none came.
    """

    owner: Any
    reply: MessageRouterReply | None = None
    data: bytes = b""
    status: int = 0
    failure: RequestFailure | None = None
    frame: Frame | None = None


@dataclass(frozen=True, slots=True)
class Class3Connection:
    """An open class 3 connection: how to address it, and what fits through it.

    Attributes:
        o_t_id, t_o_id: connection ids; we send to the first and hear from the second.
        o_t_size, t_o_size: bytes of one Message Router request, of one reply.
    """

    o_t_id: int
    t_o_id: int
    o_t_size: int
    t_o_size: int


@dataclass(slots=True)
class _Outstanding:
    owner: Any
    command: int
    service: int
    key: Any
    deadline: float
    wrapped: bool = False


class OriginatorSession:
    """One TCP connection's client side; no two calls may overlap.

    Attributes:
        state: see the module's picture.
        session: handle given by RegisterSession, 0 before.
        violation: why the stream was given up, "" while it is sound.
        late: replies that came after their time-out and were dropped.
        echoes: the target sends sender contexts back, as far as is known.
    """

    def __init__(self, *, max_reply_data: int = MAX_REPLY_DATA) -> None:
        self.late = 0
        self._max_reply_data = max_reply_data
        self.restart()

    def restart(self) -> None:
        """Begin on a new connection; only while nothing is outstanding."""
        self.state = State.NEW
        self.session = 0
        self.violation = ""
        self._reader = FrameReader(self._max_reply_data)
        self._output = bytearray()
        self._outstanding: dict[Any, _Outstanding] = {}
        self._abandoned: deque[Any] = deque(maxlen=MAX_ABANDONED)
        self._abandoned_set: set[Any] = set()
        self._answers: deque[Answer] = deque()
        self._serial = 0
        self._sequences: dict[int, int] = {}
        self._ends: dict[int, Class3Connection] = {}
        self._aliases: dict[int, int] = {}  # either id -> T->O id: cpppo replies with ours
        self._unasked = 0
        self.echoes = False
        self._proven = False  # it has, with the reply to a request

    # -- what the shell moves -------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """The bytes to write now; they are handed out once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes read from the socket; b"" is the end of the stream.

        Raises:
            SessionViolated: close the socket. All that was outstanding is answered CLOSED.
        """
        if self.state is State.CLOSED:
            return
        if not data:
            self.close("connection closed by the target")
            return
        self._reader.receive_data(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                self._receive(frame)
        except DecodeError as error:
            self.close(str(error))
            if isinstance(error, SessionViolated):
                raise
            raise SessionViolated(str(error)) from None

    @property
    def partial(self) -> bool:
        """Whether a part of a reply waits for the rest."""
        return self._reader.partial

    def next_answer(self) -> Answer | None:
        """The next request that is over, in the order of arrival; None when there is none."""
        return self._answers.popleft() if self._answers else None

    def deadline(self) -> float | None:
        """When `expire` has something to do, None while nothing is outstanding."""
        if not self._outstanding:
            return None
        return min([entry.deadline for entry in self._outstanding.values()])

    def expire(self, now: float) -> None:
        """Give up every request whose deadline is not after `now`."""
        for key in [k for k, entry in self._outstanding.items() if entry.deadline <= now]:
            self._abandon(key)

    def close(self, reason: str = "closed") -> None:
        """The socket is gone: whatever is outstanding is over."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.violation = reason
        for entry in self._outstanding.values():
            self._answers.append(Answer(entry.owner, failure=RequestFailure.CLOSED))
        self._outstanding.clear()
        self._ends.clear()
        self._aliases.clear()

    @property
    def outstanding(self) -> int:
        """Requests sent that are not over."""
        return len(self._outstanding)

    def has_room(self, *, connected: bool) -> bool:
        """Whether one more request may be sent beside those that are outstanding.

        Unconnected requests go one by one until the target has sent a sender context back.
        """
        if len(self._outstanding) >= MAX_OUTSTANDING:
            return False
        return connected or self.echoes or not self._unconnected()

    def _unconnected(self) -> list[Any]:
        """The keys of unconnected requests that are outstanding."""
        rr = Command.SEND_RR_DATA
        return [key for key, entry in self._outstanding.items() if entry.command == rr]

    def forget(self, owner: Any) -> None:
        """Give up every request of `owner`: nobody waits for its answer any more."""
        for key in [k for k, entry in self._outstanding.items() if entry.owner is owner]:
            self._abandon(key, answer=False)

    # -- requests -------------------------------------------------------------------------------

    def register(self, owner: Any, *, deadline: float) -> None:
        """Ask for a session; the answer's owner is `owner` and `session` is set by then.

        Raises:
            EncodeError: it was asked before.
        """
        if self.state is not State.NEW:
            raise EncodeError("registered before", status=0x01)
        self.state = State.REGISTERING
        context = REGISTER_CONTEXT
        self._send(Command.REGISTER_SESSION, REGISTER_DATA, owner, deadline, context)

    def unregister(self) -> None:
        """End the session; there is no reply, the target closes the connection."""
        if self.state is State.REGISTERED:
            self._output += Frame(Command.UNREGISTER_SESSION, b"", self.session).encode()
            self.close("session ended")

    def send_command(
        self, command: int, owner: Any, *, deadline: float, data: bytes = b"", context: bytes = b""
    ) -> None:
        """Send a command outside CIP: List Services, List Identity, List Interfaces, legacy."""
        self._send(command, data, owner, deadline, _padded(context))

    def send_unconnected(
        self,
        request: bytes,
        owner: Any,
        *,
        deadline: float,
        route: UnconnectedRoute = DIRECT,
        context: bytes | None = None,
    ) -> None:
        """Send a Message Router request over the session, wrapped as `route` says.

        Args:
            context: sender context, up to 8 bytes; made unique if it is in use. None numbers it.

        Raises:
            EncodeError: not registered, too much outstanding, or a request that cannot be said.
        """
        self._check(connected=False)
        wrapped = route.wrap(request)
        key = self._unique(context)
        data = UnconnectedMessage(wrapped, CPF_TIMEOUT_S).encode()
        self._output += Frame(Command.SEND_RR_DATA, data, self.session, context=key).encode()
        entry = _Outstanding(
            owner, Command.SEND_RR_DATA, request[0], key, deadline, wrapped is not request
        )
        self._outstanding[key] = entry

    def send_connected(
        self, connection: Class3Connection, request: bytes, owner: Any, *, deadline: float
    ) -> None:
        """Send a Message Router request over an open class 3 connection.

        Raises:
            EncodeError: not registered, not an open connection, or too much outstanding.
        """
        self._check(connected=True)
        if connection.t_o_id not in self._ends:
            raise EncodeError("connection is not open", status=0x07)
        sequence = self._sequences[connection.t_o_id]
        key = (connection.t_o_id, sequence)
        if key in self._outstanding:
            raise EncodeError("every sequence count is outstanding", status=0x02)
        self._sequences[connection.t_o_id] = sequence % 0xFFFF + 1
        self._abandoned_set.discard(key)
        data = ConnectedMessage(connection.o_t_id, sequence, request, CPF_TIMEOUT_S).encode()
        self._output += Frame(Command.SEND_UNIT_DATA, data, self.session).encode()
        self._outstanding[key] = _Outstanding(
            owner, Command.SEND_UNIT_DATA, request[0], key, deadline
        )

    def opened(self, connection: Class3Connection, *, first_sequence: int = 1) -> None:
        """A Forward Open succeeded: replies of this connection are expected from now on.

        No sequence count is 0: a target may take it for a repetition of what it holds.
        """
        self._ends[connection.t_o_id] = connection
        self._aliases[connection.o_t_id] = connection.t_o_id
        self._aliases[connection.t_o_id] = connection.t_o_id
        self._sequences[connection.t_o_id] = first_sequence

    def closed(self, connection: Class3Connection) -> None:
        """A Forward Close was sent, or the target dropped the connection."""
        self._ends.pop(connection.t_o_id, None)
        self._aliases.pop(connection.o_t_id, None)
        self._aliases.pop(connection.t_o_id, None)

    def _check(self, *, connected: bool) -> None:
        if self.state is not State.REGISTERED:
            raise EncodeError(f"no session: {self.state.value}", status=0x64)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            raise EncodeError(f"{MAX_OUTSTANDING} requests outstanding", status=0x02)

    def _send(
        self, command: int, data: bytes, owner: Any, deadline: float, context: bytes = bytes(8)
    ) -> None:
        if self.state is State.CLOSED:
            raise EncodeError("connection closed", status=0x64)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            raise EncodeError(f"{MAX_OUTSTANDING} requests outstanding", status=0x02)
        self._serial += 1
        key = (command, self._serial, context)
        self._output += Frame(command, data, self.session, context=context).encode()
        self._outstanding[key] = _Outstanding(owner, command, 0, key, deadline)

    def _unique(self, context: bytes | None) -> bytes:
        """`context` as 8 bytes that nothing outstanding or abandoned uses."""
        if context is None:
            self._serial += 1
            context = b"%d" % self._serial
        key = _padded(context)
        while key in self._outstanding or key in self._abandoned_set:
            self._serial = self._serial + 1 & 0xFFFF_FFFF
            key = context[:4].ljust(4, b"\0") + self._serial.to_bytes(4, "little")
        return key

    # -- replies --------------------------------------------------------------------------------

    def _receive(self, frame: Frame) -> None:
        if frame.command == Command.NOP:
            self._unasked += 1
            if self._unasked > MAX_UNASKED:
                raise SessionViolated("endless NOPs")
            return
        if frame.command == Command.SEND_RR_DATA:
            self._receive_unconnected(frame)
        elif frame.command == Command.SEND_UNIT_DATA:
            self._receive_connected(frame)
        else:
            self._receive_command(frame)
        self._unasked = 0

    def _receive_command(self, frame: Frame) -> None:
        """A reply to a command outside CIP: the oldest outstanding of that command."""
        for key, entry in self._outstanding.items():
            if entry.command == frame.command and isinstance(key, tuple) and len(key) == 3:
                break
        else:
            if self._drop_abandoned(lambda k: isinstance(k, tuple) and k[0] == frame.command):
                return
            raise SessionViolated(f"command 0x{frame.command:04x} was not asked")
        alike = sum(entry.command == frame.command for entry in self._outstanding.values())
        if key[2] != frame.context and alike > 1:
            raise SessionViolated("sender context differs")
        del self._outstanding[key]
        if frame.command == Command.REGISTER_SESSION:
            self._registered(entry, frame)
        elif frame.status:
            self._answers.append(
                Answer(
                    entry.owner,
                    status=frame.status,
                    failure=RequestFailure.REFUSED,
                    data=frame.data,
                    frame=frame,
                )
            )
        else:
            self._answers.append(Answer(entry.owner, data=frame.data, frame=frame))

    def _registered(self, entry: _Outstanding, frame: Frame) -> None:
        if frame.status:
            self.state = State.NEW
            self._answers.append(
                Answer(
                    entry.owner, status=frame.status, failure=RequestFailure.REFUSED, frame=frame
                )
            )
            return
        if not frame.session:
            raise SessionViolated("session handle 0")
        self.session, self.state = frame.session, State.REGISTERED
        self.echoes = frame.context == REGISTER_CONTEXT
        self._answers.append(Answer(entry.owner, data=frame.data))

    def _receive_unconnected(self, frame: Frame) -> None:
        entry = self._outstanding.pop(frame.context, None)
        if entry is not None:
            self.echoes = self._proven = True
        elif self._drop_abandoned(lambda key: key == frame.context):
            return
        else:
            entry = self._by_order()
        self._check_session(frame, entry)
        if frame.status:
            self._answers.append(
                Answer(
                    entry.owner, status=frame.status, failure=RequestFailure.REFUSED, frame=frame
                )
            )
            return
        self._answer(entry, frame, frame.data)

    def _by_order(self) -> _Outstanding:
        """The one request that a reply without its sender context can answer.

        Raises:
            SessionViolated: there is none, or it may be the late reply to an earlier one.
        """
        keys = self._unconnected()
        late = any(isinstance(key, bytes) for key in self._abandoned_set)
        if self._proven or late or len(keys) != 1:
            raise SessionViolated("reply to a sender context that was not sent")
        self.echoes = False
        return self._outstanding.pop(keys[0])

    def _receive_connected(self, frame: Frame) -> None:
        if frame.status:
            raise SessionViolated(f"encapsulation status 0x{frame.status:02x} on a connection")
        message = ConnectedMessage.decode(frame.data)
        key = (self._aliases.get(message.connection_id, 0), message.sequence)
        entry = self._outstanding.pop(key, None)
        if entry is None:
            if self._drop_abandoned(lambda other: other == key):
                return
            shown = f"0x{message.connection_id:08x}"
            raise SessionViolated(f"reply on connection {shown} answers nothing asked")
        self._check_session(frame, entry)
        self._answer(entry, frame, message.message)

    def _check_session(self, frame: Frame, entry: _Outstanding) -> None:
        if frame.session != self.session:
            self._outstanding[entry.key] = entry
            raise SessionViolated("reply with another session handle")

    def _answer(self, entry: _Outstanding, frame: Frame, data: bytes) -> None:
        try:
            if entry.command == Command.SEND_RR_DATA:
                data = UnconnectedMessage.decode(data).message
            reply = MessageRouterReply.decode(data)
            if reply.service != entry.service | REPLY and not _routing_failed(entry, reply):
                raise SessionViolated(
                    f"service 0x{reply.service:02x} answers 0x{entry.service:02x}"
                )
        except DecodeError:
            self._outstanding[entry.key] = entry  # so that `close` answers it
            raise
        self._answers.append(Answer(entry.owner, reply, data, 0, None, frame))

    def _abandon(self, key: Any, *, answer: bool = True) -> None:
        entry = self._outstanding.pop(key)
        if len(self._abandoned) == self._abandoned.maxlen:
            self._abandoned_set.discard(self._abandoned[0])
        self._abandoned.append(key)
        self._abandoned_set.add(key)
        if answer:
            self._answers.append(Answer(entry.owner, failure=RequestFailure.TIMEOUT))

    def _drop_abandoned(self, matches: Any) -> bool:
        """Whether a reply is the late one to a request given up; it is counted and forgotten."""
        for key in self._abandoned_set:
            if matches(key):
                self._abandoned_set.discard(key)
                self.late += 1
                return True
        return False


def _routing_failed(entry: _Outstanding, reply: MessageRouterReply) -> bool:
    """Whether the reply is an Unconnected Send's own: the request did not reach its target."""
    own = reply.service == UNCONNECTED_SEND | REPLY
    return entry.wrapped and own and reply.status not in (0, GeneralStatus.PARTIAL_TRANSFER)


def _padded(context: bytes) -> bytes:
    if len(context) > CONTEXT_BYTES:
        raise EncodeError(f"sender context of {len(context)} bytes", status=0x01)
    return context.ljust(CONTEXT_BYTES, b"\0")
