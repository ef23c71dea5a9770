"""The target's side of one EtherNet/IP TCP connection: bytes in, bytes out, in order.

    receive_data(bytes, now) -> bytes to write         frames that are whole are answered
    commands                 -> (ticket, command)      what must leave before its reply can be made
    complete(ticket, result, now) -> bytes to write    in its turn: later replies wait in slots
    departures               <- requests of groups     what leaves along a route, and has room to
    take_output(now)         -> bytes to write         after `departures` have touched it

    no session --RegisterSession--> registered --UnRegisterSession--> closing

What a request's bytes mean is remembered: a repeated read costs a look-up of what follows the
header's sender context. A request that must leave reserves its slot; an exclusive one (a write)
holds back what follows it, and so does one along a route without room. What is held back stays as
bytes: beyond `MAX_WAITING` of them the shell is not to read on. `closing` tells the shell to write
what there is and close.

Source: CIP Networks Library Vol. 2, chapter 2; Vol. 1, 3-4 (class 3 connections).
"""

import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from cpppod.protocols.cip.failures import refused, unrouted
from cpppod.protocols.cip.image import Reply
from cpppod.protocols.cip.message_router import UNCONNECTED_SEND
from cpppod.protocols.cip.objects.connection_manager import Connection
from cpppod.protocols.cip.request import (
    UNCONNECTED_CAPACITY,
    Carriage,
    Command,
    ForwardNeeded,
    Origin,
    Pending,
)
from cpppod.protocols.cip.status import ConnectionStatus, GeneralStatus
from cpppod.protocols.cip.target import Target
from cpppod.protocols.cip.unconnected_send import timeout_s
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER, MAX_DATA
from cpppod.protocols.enip.hops import REGISTER_CONTEXT, hops_of
from cpppod.protocols.enip.target.departures import Departures, Way
from cpppod.protocols.enip.target.lanes import Lanes
from cpppod.protocols.enip.target.list_commands import list_reply
from cpppod.protocols.enip.target.remembered import TURN, RememberedReplies
from cpppod.protocols.enip.target.reply_frames import (
    INVALID_COMMAND,
    INVALID_LENGTH,
    INVALID_SESSION,
    KNOWN_COMMANDS,
    MESSAGE,
    NOP,
    REGISTER,
    SEND_RR_DATA,
    SEND_UNIT_DATA,
    SEQUENCE,
    UNREGISTER,
    UNSUPPORTED_REVISION,
    Header,
    error_frame,
    rr_pieces,
    rr_wrap,
    unit_wrap,
    weight,
)
from cpppod.protocols.enip.target.slots import Run, Slots
from cpppod.protocols.model.errors import DecodeError

MAX_WAITING = 65_536  # bytes held back: 600 reads; whoever sends more has to wait
ARRIVALS_S = 0.01  # bytes that come within it count as come together
PLAUSIBLE = 600  # bytes: an unknown command with more before any session is no EtherNet/IP


class Session:
    """One client's TCP connection.

    Attributes:
        address: the peer's, as text; `local` is (address, port) on our side.
        commands: what must leave, to be drained by the shell after every call.
        closing: write what there is, then close.
        handle: session handle, 0 before RegisterSession.
        received, requests: counted for `--web` and metrics.
        rejected: refusals by reason, shared by all sessions of an endpoint.
        departures: what leaves along routes, shared likewise.
        has_more: there are requests beyond what one turn may take; the shell clears it when the
            others have had theirs, and calls `take_output`.
        relays: it is a gateway's, or a client's of ours: its requests may say their hops.
        stalled: set by the shell while the peer does not read: nothing more is begun.
        shell: what the shell knows the session by.
    """

    def __init__(
        self,
        target: Target,
        *,
        address: str,
        local: tuple[str, int],
        random_u32: Callable[[], int],
        now: float,
        may_write: bool = True,
        rejected: Counter[str] | None = None,
        departures: Departures | None = None,
    ) -> None:
        self.target = target
        self.address = address
        self.local = local
        self.handle = 0
        self.closing = False
        self.commands: list[tuple[int, Command]] = []
        self.received = 0
        self.requests = 0
        self.rejected: Counter[str] = Counter() if rejected is None else rejected
        self.opened_at = self.active_at = now
        self.partial_since = 0.0
        self.max_size = MAX_DATA
        self._random_u32 = random_u32
        self._image = target.image
        self.departures = Departures() if departures is None else departures
        self.relays = False
        self.stalled = False
        self.has_more = False
        self._spent = 0  # requests of this turn
        self.shell: Any = None
        self._remembered = RememberedReplies(
            target.image, target.replies, target.connection_replies
        )
        self._buffer = bytearray()
        self._slots = Slots()
        self._lanes = Lanes(self, self._slots, self.departures)
        self._waits: tuple[Way, ForwardNeeded] | None = None  # for room; and what of its own waits
        self._gives_up = False  # what waits is refused
        self._arrivals: deque[tuple[int, float]] = deque()  # (`received` by then, when)
        self._ready: list[bytes] = []
        self._had_connection = False
        self._origin = Origin(
            self._image, address, UNCONNECTED_CAPACITY, may_write=may_write, session=self
        )

    @property
    def outstanding(self) -> int:
        """Requests that wait for the outside, and replies that wait behind them."""
        return self._slots.requests + (self._waits is not None) + self.has_more

    @property
    def wants_data(self) -> bool:
        """Whether the shell is to go on reading."""
        return not self.closing and (self._goes_on or len(self._buffer) < MAX_WAITING)

    @property
    def _goes_on(self) -> bool:
        """Whether the next request may be begun."""
        slots = self._slots
        return not (self._waits or self.stalled or self.has_more or slots.held or slots.room <= 0)

    @property
    def has_asked(self) -> bool:
        """Whether anything but RegisterSession has come."""
        return self.requests > 1 or bool(self._buffer)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: no reply owed, no half frame, no open connection."""
        return not (self.outstanding or self._buffer or self.has_connections)

    @property
    def has_connections(self) -> bool:
        """Whether a class 3 connection of this session is open."""
        return any(item.session is self for item in self.target.manager.connections.values())

    def receive_data(self, data: bytes, now: float) -> bytes:
        """What to write after these bytes; look at `commands` and `closing` afterwards."""
        image = self._image
        image.now = now
        if now >= image.next_expiry:
            image.expire(now)
        self.active_at = now
        self.received += len(data)
        if self._buffer:
            if not self._goes_on:
                self._keep(data, now)
                return b""
            self._buffer += data
            data = bytes(self._buffer)
            self._buffer.clear()
        out: list[bytes] = []
        at, count = 0, 0
        remembered = self._remembered
        if not self._slots:
            batch = remembered.batch
            if batch is not None and batch.size == len(data):
                replies = batch.answer(data, image.version, now)
                if replies is not None:
                    self.requests += batch.count
                    self.partial_since = 0.0
                    return replies
            at, count = remembered.answer(data, now, out)
        self.requests += count
        if at:
            self.partial_since = 0.0  # what is left is another frame than was begun before
        if at < len(data):
            self._keep(data[at:] if at else data, now)
            out.append(self._work(now))
        return b"".join(out)

    def _keep(self, data: bytes, now: float) -> None:
        """Put bytes into the buffer, and note when they came."""
        self._buffer += data
        arrivals = self._arrivals
        if arrivals and now - arrivals[-1][1] < ARRIVALS_S:
            now = arrivals.pop()[1]
        arrivals.append((self.received, now))

    def _arrived(self, at: int, now: float) -> float:
        """When the byte at that place of the buffer came."""
        place = self.received - len(self._buffer) + at
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] <= place:
            arrivals.popleft()
        return arrivals[0][1] if arrivals else now

    def _work(self, now: float) -> bytes:
        """Take whole frames off the buffer until it is empty or a request holds the rest back."""
        self._image.now = now
        self._spent = 0
        out: list[bytes] = []
        buffer, at = self._buffer, 0
        while self._goes_on and not self.closing:
            before = self._slots.requests
            if not self._gives_up:
                since = self._arrived(at, now)
                at, course = self._lanes.leaving(buffer, at, since)
                self.requests += self._slots.requests - before
                if course is not None:
                    self._wait(course.way, course.command)
                if not self._goes_on:
                    break
            if len(buffer) - at < HEADER.size:
                break
            header = HEADER.unpack_from(buffer, at)
            command, length = header[0], header[1]
            if self._implausible(command, length, header[3], header[5]):
                self._reject("implausible")
                self.closing = True
                break
            end = at + HEADER.size + length
            if end > len(buffer):
                break
            frame = bytes(buffer[at:end])
            if not self._frame(frame, header, self._arrived(at, now), out):
                break
            at = end
            self._spent += weight(frame)
            self.has_more = self._spent >= TURN and len(buffer) > at
        del buffer[:at]
        if self.closing:
            buffer.clear()
        if not buffer:
            self.partial_since = 0.0
        elif at or not self.partial_since:
            self.partial_since = now
        return b"".join(out)

    def _implausible(self, command: int, length: int, status: int, options: int) -> bool:
        """Whether these bytes are another protocol's, or longer than any frame."""
        if length > self.max_size and command != NOP:
            return True
        if command in KNOWN_COMMANDS or self.handle:
            return False
        return length > PLAUSIBLE or bool(status or options)

    def _reject(self, reason: str) -> None:
        self.rejected[reason] += 1

    def _frame(
        self,
        frame: bytes,
        header: Header,
        since: float,
        out: list[bytes],
    ) -> bool:
        """Answer a frame that came at `since`; False where it stays, for it leaves and has no
        room."""
        command, _length, handle, _status, context, options = header
        if options:
            self._reject("options")
            return True
        self.requests += 1
        if command in (SEND_RR_DATA, SEND_UNIT_DATA):
            if not self.handle or handle != self.handle:
                self._reject("session")
                self._emit(error_frame(header, INVALID_SESSION), out)
            elif command == SEND_RR_DATA:
                return self._unconnected(frame, header, since, out)
            else:
                return self._connected(frame, header, since, out)
        elif command == NOP:
            return True
        elif command == REGISTER:
            self._register(frame, header, out)
        elif command == UNREGISTER:
            self.closing = True
        else:
            body = list_reply(self.target, command, *self.local)
            if body is None:
                self._reject("command")
                self._emit(error_frame(header, INVALID_COMMAND), out)
            else:
                self._emit(HEADER.pack(command, len(body), handle, 0, context, 0) + body, out)
        return True

    def _register(self, frame: bytes, header: Header, out: list[bytes]) -> None:
        command, length, _handle, _status, context, _options = header
        if length != 4:
            self._reject("length")
            self._emit(error_frame(header, INVALID_LENGTH), out)
            self.closing = True
            return
        version, flags = struct.unpack_from("<HH", frame, HEADER.size)
        if self.handle:
            self._emit(HEADER.pack(command, 0, self.handle, INVALID_COMMAND, context, 0), out)
            return
        body = struct.pack("<HH", 1, 0)
        if version != 1 or flags:
            self._reject("revision")
            self._emit(HEADER.pack(command, 4, 0, UNSUPPORTED_REVISION, context, 0) + body, out)
            return
        self.relays = context == REGISTER_CONTEXT
        while not self.handle:
            self.handle = self._random_u32()
        self._remembered.registered(self.handle)
        self._emit(HEADER.pack(command, 4, self.handle, 0, context, 0) + body, out)

    def _emit(self, frame: bytes, out: list[bytes]) -> None:
        """Send a reply, or queue it behind those that are out."""
        if self._slots:
            self._slots.settled(frame)
        else:
            out.append(frame)

    def _unconnected(
        self,
        frame: bytes,
        header: Header,
        since: float,
        out: list[bytes],
    ) -> bool:
        try:
            item = UnconnectedMessage.decode(frame[HEADER.size :])
        except DecodeError as error:
            self._reject("cpf")
            self._emit(error_frame(header, error.status), out)
            return True
        self.target.now = self._image.now
        outcome = self.target.execute(item.message, self._origin)
        if isinstance(outcome, Reply):
            message = self.target.render(item.message, outcome)
            if outcome.lasts and self.target.remember and not item.extra:
                self._emit(self._remembered.learn(frame, outcome, message), out)
                return True
            outcome = message
        elif isinstance(outcome, Pending) and item.message[0] == UNCONNECTED_SEND:
            command = outcome.command
            if isinstance(command, ForwardNeeded):
                if self.relays:
                    command = replace(command, hops=hops_of(header[4]))
                self._lanes.learn(frame, command)
                wrap = partial(rr_pieces, frame[4:8] + bytes(4), item.timeout)
                return self._leave(command, header[4], wrap, since, out)
        if isinstance(outcome, Pending) and isinstance(outcome.command, ForwardNeeded):
            hops = hops_of(header[4]) if self.relays else 0
            outcome = replace(outcome, command=replace(outcome.command, hops=hops))
        self._settle(outcome, rr_wrap(header[4], self.handle, item.timeout), out)
        return True

    def _leave(
        self,
        command: ForwardNeeded,
        mark: Any,
        wrap: Callable[[Sequence[Any], list[Any]], list[bytes]],
        since: float,
        out: list[bytes],
    ) -> bool:
        """Let a request leave; False where it stays, for its route has no room."""
        if self._gives_up:
            self._gives_up = False
            connected = command.carriage is not Carriage.UNCONNECTED
            no_room = ConnectionStatus.NO_BUFFER_MEMORY
            message = unrouted(command.message, command.route_path, no_room, connected=connected)
            self._emit(b"".join(wrap([mark], [message])), out)
            return True
        course = self.departures.course(command)
        if course.way.room <= 0:
            self.requests -= 1  # it will be counted when its turn comes
            self._wait(course.way, command)
            return False
        run = Run(self, [mark], wrap)
        self._slots.leave(run)
        self.departures.leave(course, (command.request,), run, since)
        return True

    def _wait(self, way: Way, command: ForwardNeeded) -> None:
        """The request at the head of the buffer waits for room, in the ring of its route."""
        self._waits = way, command
        way.ring.append(self)

    def proceed(self, now: float) -> None:
        """There is room on the route that the session waits for (`departures` calls this)."""
        self._waits = None
        self._ready.append(self._work(now))
        self.departures.touched[self] = None

    def expire_waiting(self, now: float) -> None:
        """Refuse what has waited for room until its own time ran out (`departures` calls this)."""
        while self._waits is not None and not self.closing:
            way, command = self._waits
            allowed = timeout_s(command.priority_tick, command.timeout_ticks)
            if self._arrived(0, now) + allowed > now:
                return
            way.ring.remove(self)
            self._waits, self._gives_up = None, True
            self._ready.append(self._work(now))
            self._gives_up = False

    def take_output(self, now: float) -> bytes:
        """What can be written now, in order, after `departures` have touched the session."""
        self._image.now = now
        out, self._ready = self._ready, []
        while True:
            out += self._slots.take_ready()
            if not self._buffer or not self._goes_on:
                break
            before = len(self._buffer)
            out.append(self._work(now))
            if len(self._buffer) == before:
                break
        return b"".join(out)

    def _settle(
        self, outcome: bytes | Pending, wrap: Callable[[bytes], bytes], out: list[bytes]
    ) -> None:
        """Send what is there, or reserve a slot for what must leave."""
        if isinstance(outcome, bytes):
            self._emit(wrap(outcome), out)
            return
        self.commands.append((self._slots.reserve(wrap, outcome), outcome.command))

    def _connected(
        self,
        frame: bytes,
        header: Header,
        since: float,
        out: list[bytes],
    ) -> bool:
        try:
            item = ConnectedMessage.decode(frame[HEADER.size :])
        except DecodeError as error:
            self._reject("cpf")
            if error.status == INVALID_LENGTH:
                self._emit(error_frame(header, error.status), out)
            return True
        now = self._image.now
        connection = self.target.manager.connections.get(item.connection_id)
        if connection is None or connection.session is not self or connection.deadline < now:
            self._reject("connection")
            self.closing = self._had_connection
            return True
        self._had_connection = True
        connection.deadline = now + connection.timeout_s
        sequence = frame[SEQUENCE:MESSAGE]
        wrap = unit_wrap(header[4], self.handle, connection.to_id, sequence)
        if sequence == connection.last_sequence:
            if connection.last_reply:
                self._emit(wrap(connection.last_reply), out)
            return True
        if connection.route:
            mark = (header[4], sequence)
            left: bool = self._carried(connection, item.message, mark, since, out)
            return left
        connection.last_sequence, connection.last_reply = sequence, b""
        self.target.now = now
        outcome = self._execute_connected(connection, item.message)
        if isinstance(outcome, Reply):
            message = _fitting(connection, self.target.render(item.message, outcome))
            if outcome.lasts and self.target.remember:
                self._remembered.learn_connected(frame, outcome, message, connection)
            connection.last_reply = message
            self._emit(wrap(message), out)
        elif isinstance(outcome, bytes):
            connection.last_reply = _fitting(connection, outcome)
            self._emit(wrap(connection.last_reply), out)
        else:

            def keep(message: bytes) -> bytes:
                message = _fitting(connection, message)
                if connection.last_sequence == sequence:
                    connection.last_reply = message
                return wrap(message)

            self._settle(outcome, keep, out)
        return True

    def _carried(
        self,
        connection: Connection,
        message: bytes,
        mark: tuple[bytes, bytes],
        since: float,
        out: list[bytes],
    ) -> bool:
        """Let a request on a connection through a route leave."""
        command = ForwardNeeded(
            connection.route,
            mark[1] + message,
            connection.priority_tick,
            connection.timeout_ticks,
            self.address,
            connection.capacity,
            Carriage.CONNECTED,
            connection.ot_id,
        )
        wrap = partial(_unit_pieces, self.handle, connection)
        if not self._leave(command, mark, wrap, since, out):
            return False
        if connection.last_sequence != mark[1]:
            connection.last_sequence, connection.last_reply = mark[1], b""
        return True

    def _execute_connected(self, connection: Connection, message: bytes) -> bytes | Reply | Pending:
        origin = Origin(
            self._image,
            self.address,
            connection.capacity,
            connected=True,
            may_write=self._origin.may_write,
            session=self,
            slack=connection.slack,
        )
        return self.target.execute(message, origin)

    def complete(self, ticket: int, result: Any, now: float) -> bytes:
        """A command's result is here: what can be written now, in order."""
        self._image.now = now
        slots = self._slots
        slot = slots.find(ticket)
        if slot is None or slot.pending is None:
            return b""
        outcome = slot.pending.resume(result)
        if isinstance(outcome, Pending):
            slots.renew(slot, outcome)
            self.commands.append((ticket, outcome.command))
            return b""
        slots.settle(slot, outcome)
        return self.take_output(now)

    def close(self) -> None:
        """The TCP connection is gone: its class 3 connections go too."""
        self.closing = True
        self._had_connection = False
        self.target.drop_session(self)
        self._remembered.clear()
        self._slots.clear()
        self._buffer.clear()
        self.commands.clear()
        if self._waits is not None:
            self._waits[0].ring.remove(self)
            self._waits = None


def _fitting(connection: Connection, message: bytes) -> bytes:
    """The reply, or instead of one longer than the connection's size that it is too large."""
    if len(message) <= connection.capacity + connection.slack:
        return message
    return refused(message, GeneralStatus.REPLY_DATA_TOO_LARGE)


def _unit_pieces(
    handle: int,
    connection: Connection,
    marks: Sequence[tuple[bytes, bytes]],
    messages: Sequence[bytes],
) -> list[bytes]:
    """SendUnitData replies; the last request's is kept for a repetition."""
    pieces = []
    for (context, sequence), message in zip(marks, messages, strict=True):
        message = _fitting(connection, message)
        if connection.last_sequence == sequence:
            connection.last_reply = message
        pieces.append(unit_wrap(context, handle, connection.to_id, sequence)(message))
    return pieces
