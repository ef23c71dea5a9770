"""The target's side of one EtherNet/IP TCP connection: bytes in, bytes out, in order.

    receive_data(bytes, now) -> bytes to write         frames that are whole are answered
    commands                 -> (ticket, command)      what must leave before its reply can be made
    complete(ticket, result, now) -> bytes to write    in its turn: later replies wait in slots

    no session --RegisterSession--> registered --UnRegisterSession--> closing

What a request's bytes mean is remembered: a repeated read costs a look-up of what follows the
header's sender context. A request that must leave reserves its slot; an exclusive one (a write)
holds back what follows it. `closing` tells the shell to write what there is and close.

Source: CIP Networks Library Vol. 2, chapter 2; Vol. 1, 3-4 (class 3 connections).
"""

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from cpppod.protocols.cip.image import Reply
from cpppod.protocols.cip.message_router import UNCONNECTED_SEND
from cpppod.protocols.cip.objects.connection_manager import Connection
from cpppod.protocols.cip.reply_cache import (
    MAX_CONNECTION_COST,
    ForwardCache,
    ReplyCache,
    refresh,
)
from cpppod.protocols.cip.request import (
    UNCONNECTED_CAPACITY,
    Command,
    ForwardNeeded,
    Origin,
    Pending,
)
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER, MAX_DATA
from cpppod.protocols.enip.target.batch import MAX_REQUESTS, Batch
from cpppod.protocols.enip.target.list_commands import list_reply
from cpppod.protocols.enip.target.reply_frames import (
    INVALID_COMMAND,
    INVALID_LENGTH,
    INVALID_SESSION,
    KNOWN_COMMANDS,
    NOP,
    REGISTER,
    SEND_RR_DATA,
    SEND_UNIT_DATA,
    UNREGISTER,
    UNSUPPORTED_REVISION,
    Header,
    error_frame,
    rr_head,
    rr_tail,
    rr_wrap,
    shape,
    unit_head,
    unit_lead,
    unit_shape,
    unit_wrap,
)
from cpppod.protocols.enip.target.slots import Slot, Slots
from cpppod.protocols.model.errors import DecodeError

MAX_OUTSTANDING = 64  # requests of one session that wait for the outside
MAX_LEARNT = 64  # header and connection prefixes a session remembers
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
        self._cache = target.replies
        self._replies = target.replies.entries
        self._own_forwards = ForwardCache()
        self._forwards = self._own_forwards.entries
        self._buffer = bytearray()
        self._slots = Slots()
        self._had_connection = False
        self._lengths: dict[bytes, int] = {}
        self._links: dict[bytes, Connection] = {}
        self._ours = bytes(8)
        self._batch: Batch | None = None
        self._seen: tuple[Any, ...] = ()
        self._origin = Origin(
            self._image, address, UNCONNECTED_CAPACITY, may_write=may_write, session=self
        )

    @property
    def outstanding(self) -> int:
        """Requests that wait for the outside, and replies that wait behind them."""
        return len(self._slots)

    @property
    def wants_data(self) -> bool:
        """Whether the shell is to go on reading."""
        return not self._slots.held and len(self._slots) < MAX_OUTSTANDING and not self.closing

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
            self._buffer += data
            return self._work(now)
        out: list[bytes] = []
        at = 0
        if not self._slots:
            batch = self._batch
            if batch is not None and batch.size == len(data):
                known = batch.answer(data, image.version, now)
                if known is not None:
                    self.requests += batch.count
                    return known
            at = self._repeated(data, now, out)
        if self._forwards:
            at = self._leaving(data, at)
        if at < len(data):
            self._buffer += data[at:] if at else data
            out.append(self._work(now))
        return b"".join(out)

    def _repeated(self, data: bytes, now: float, out: list[bytes]) -> int:
        """Answer from memory; the offset of the first frame that it does not know."""
        lengths = self._lengths
        at, size, count = 0, len(data), 0
        total = lengths.get(data[:12])
        if total is not None and size > abs(total) and not size % total:
            at = self._alike(data, total, now, out)
            count = at // abs(total)
            if at == size:
                self._know_batch(data, total, out)
        while True:
            total = lengths.get(data[at : at + 12])
            if total is None:
                break
            if total > 0:
                end = at + total
                reply = self._replies.get(data[at + 20 : end])
                if reply is None or end > size:
                    break
                tail = reply.tail
                if tail is None:
                    tail = self._refresh(reply, data[at + 20 : end])
                    if tail is None:
                        break
                out += (reply.head, self._ours, data[at + 12 : at + 20], tail)
            else:
                end = at - total
                if end > size or not self._repeated_unit(data, at, end, now, out):
                    break
            count += 1
            at = end
        if count == 1 and at == size:
            self._know_batch(data, size if data[0] == SEND_RR_DATA else -size, out)
        self.requests += count
        return at

    def _leaving(self, data: bytes, at: int) -> int:
        """Give slots to known requests that leave; the offset of the first frame that is none."""
        forwards, slots, handle = self._forwards, self._slots, self.handle
        size = len(data)
        while not slots.held and len(slots) < MAX_OUTSTANDING:
            total = self._lengths.get(data[at : at + 12], 0)
            end = at + total
            pending = forwards.get(data[at + 20 : end])
            if total <= 0 or end > size or pending is None:
                break
            timeout = int.from_bytes(data[at + 28 : at + 30], "little")
            ticket = slots.reserve(rr_wrap(data[at + 12 : at + 20], handle, timeout), pending)
            self.commands.append((ticket, pending.command))
            self.requests += 1
            at = end
        return at

    def _know_batch(self, data: bytes, total: int, out: list[bytes]) -> None:
        """Remember requests that come for the second time while nothing changes."""
        version = self._image.version
        first = data[20:total] if total > 0 else data[46:-total]
        seen = (len(data), total, version, first, data[-8:])
        if seen != self._seen:
            self._seen = seen
            return
        connection = self._links.get(data[20:44]) if total < 0 else None
        each = 4 if connection is None else 6
        lengths = {sum(map(len, out[at : at + each])) for at in range(0, len(out), each)}
        if len(lengths) == 1 and len(data) <= MAX_REQUESTS * abs(total):
            self._batch = Batch(
                data,
                b"".join(out),
                total=abs(total),
                version=version,
                connection=connection,
                last=out[-1],
            )

    def _alike(self, data: bytes, total: int, now: float, out: list[bytes]) -> int:
        """The same for pipelined frames of one length, cut apart in one go."""
        first, ours, replies = data[:12], self._ours, self._replies
        at = 0
        if total > 0:
            for header, context, key in shape(total).iter_unpack(data):
                reply = replies.get(key)
                if reply is None or header != first:
                    break
                tail = reply.tail
                if tail is None:
                    tail = self._refresh(reply, key)
                    if tail is None:
                        break
                out += (reply.head, ours, context, tail)
                at += total
            return at
        address = data[20:44]
        connection = self._links.get(address)
        if connection is None or connection.deadline < now:
            return 0
        known, last, tail = connection.replies, connection.last_sequence, connection.last_reply
        for header, context, link, sequence, message in unit_shape(-total).iter_unpack(data):
            reply = known.get(message)
            if reply is None or reply.tail is None or sequence == last:
                break
            if header != first or link != address:
                break
            last, tail = sequence, reply.tail
            out += (reply.head, ours, context, reply.lead, sequence, tail)
            at -= total
        connection.last_sequence, connection.last_reply = last, tail
        connection.deadline = now + connection.timeout_s
        return at

    def _repeated_unit(self, data: bytes, at: int, end: int, now: float, out: list[bytes]) -> bool:
        """The same for a request on a class 3 connection."""
        connection = self._links.get(data[at + 20 : at + 44])
        if connection is None or connection.deadline < now:
            return False
        reply = connection.replies.get(data[at + 46 : end])
        sequence = data[at + 44 : at + 46]
        if reply is None or sequence == connection.last_sequence:
            return False
        tail = reply.tail
        if tail is None:
            try:
                tail = refresh(reply)
            except CipError:
                return False
            reply.head = unit_head(len(tail))
            reply.lead = unit_lead(connection.to_id, len(tail))
            reply.tail = tail
        connection.last_sequence = sequence
        connection.last_reply = tail
        connection.deadline = now + connection.timeout_s
        out += (reply.head, self._ours, data[at + 12 : at + 20], reply.lead, sequence, tail)
        return True

    def _refresh(self, reply: Reply, key: bytes) -> bytes | None:
        """The remembered reply rendered anew; None where its tag is not fresh."""
        try:
            message = refresh(reply)
        except CipError:
            return None
        timeout = int.from_bytes(key[8:10], "little")
        reply.head = rr_head(len(message))
        tail = rr_tail(message, timeout)
        reply.tail = tail
        return tail

    def _work(self, now: float) -> bytes:
        """Take whole frames off the buffer until it is empty or a request holds the rest back."""
        out: list[bytes] = []
        buffer, at = self._buffer, 0
        while not self._slots.held and not self.closing and len(self._slots) < MAX_OUTSTANDING:
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
            at = end
            self._frame(frame, header, now, out)
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
        now: float,
        out: list[bytes],
    ) -> None:
        command, _length, handle, _status, context, options = header
        if options:
            self._reject("options")
            return
        self.requests += 1
        if command in (SEND_RR_DATA, SEND_UNIT_DATA):
            if not self.handle or handle != self.handle:
                self._reject("session")
                self._emit(error_frame(header, INVALID_SESSION), out)
            elif command == SEND_RR_DATA:
                self._unconnected(frame, header, now, out)
            else:
                self._connected(frame, header, now, out)
        elif command == NOP:
            return
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
        while not self.handle:
            self.handle = self._random_u32()
        self._ours = struct.pack("<II", self.handle, 0)
        self._emit(HEADER.pack(command, 4, self.handle, 0, context, 0) + body, out)

    def _emit(self, frame: bytes, out: list[bytes]) -> None:
        """Send a reply, or queue it behind those that are out."""
        if self._slots:
            self._slots.append(Slot(0, frame, _same, None))
        else:
            out.append(frame)

    def _learn(self, frame: bytes, total: int) -> None:
        """Know this header again: command, length, our session, status 0."""
        if len(self._lengths) < MAX_LEARNT:
            self._lengths[frame[:12]] = total

    def _unconnected(
        self,
        frame: bytes,
        header: Header,
        now: float,
        out: list[bytes],
    ) -> None:
        known = self._forwards.get(frame[20:])
        if known is not None:
            wrap = rr_wrap(header[4], self.handle, int.from_bytes(frame[28:30], "little"))
            self._settle(known, wrap, out)
            return
        try:
            item = UnconnectedMessage.decode(frame[HEADER.size :])
        except DecodeError as error:
            self._reject("cpf")
            self._emit(error_frame(header, error.status), out)
            return
        wrap = rr_wrap(header[4], self.handle, item.timeout)
        self.target.now = now
        outcome = self.target.execute(item.message, self._origin)
        if isinstance(outcome, Reply):
            message = self.target.render(item.message, outcome)
            if self.target.remember and not item.extra:
                self._cache.put(frame[20:], outcome)
                if header[3] == 0:
                    self._learn(frame, len(frame))
            self._emit(wrap(message), out)
        else:
            command = outcome.command if isinstance(outcome, Pending) else None
            if isinstance(command, ForwardNeeded) and item.message[0] == UNCONNECTED_SEND:
                self._own_forwards.put(frame[20:], Pending(command, _same, exclusive=False))
                if header[3] == 0:
                    self._learn(frame, len(frame))
            self._settle(outcome, wrap, out)

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
        now: float,
        out: list[bytes],
    ) -> None:
        try:
            item = ConnectedMessage.decode(frame[HEADER.size :])
        except DecodeError as error:
            self._reject("cpf")
            if error.status == INVALID_LENGTH:
                self._emit(error_frame(header, error.status), out)
            return
        connection = self.target.manager.connections.get(item.connection_id)
        if connection is None or connection.session is not self or connection.deadline < now:
            self._reject("connection")
            self.closing = self._had_connection
            return
        self._had_connection = True
        connection.deadline = now + connection.timeout_s
        wrap = unit_wrap(header[4], self.handle, connection.to_id, frame[44:46])
        sequence = frame[44:46]
        if sequence == connection.last_sequence:
            if connection.last_reply:
                self._emit(wrap(connection.last_reply), out)
            return
        connection.last_sequence, connection.last_reply = sequence, b""
        self.target.now = now
        outcome = self._execute_connected(connection, item.message)
        if isinstance(outcome, Reply):
            message = self.target.render(item.message, outcome)
            if self.target.remember and frame[40:42] == b"\xb1\0":
                self._remember(connection, item.message, outcome, frame)
            connection.last_reply = message
            self._emit(wrap(message), out)
        elif isinstance(outcome, bytes):
            connection.last_reply = outcome
            self._emit(wrap(outcome), out)
        else:

            def keep(message: bytes) -> bytes:
                if connection.last_sequence == sequence:
                    connection.last_reply = message
                return wrap(message)

            self._settle(outcome, keep, out)

    def _execute_connected(self, connection: Connection, message: bytes) -> bytes | Reply | Pending:
        if connection.route:
            command = ForwardNeeded(
                connection.route,
                message,
                connection.priority_tick,
                connection.timeout_ticks,
                self.address,
                connection.capacity,
                connected=True,
            )
            return Pending(command, _same, exclusive=False)
        origin = Origin(
            self._image,
            self.address,
            connection.capacity,
            connected=True,
            may_write=self._origin.may_write,
            session=self,
        )
        return self.target.execute(message, origin)

    def _remember(self, connection: Connection, message: bytes, reply: Reply, frame: bytes) -> None:
        if connection.cache is None:
            connection.cache = ReplyCache(MAX_CONNECTION_COST)
            connection.replies = connection.cache.entries
        connection.cache.put(message, reply)
        self._learn(frame, -len(frame))
        if len(self._links) >= MAX_LEARNT:
            self._links.clear()
        self._links[frame[20:44]] = connection

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
        out = slots.take_ready()
        if self._buffer:
            out.append(self._work(now))
        return b"".join(out)

    def close(self) -> None:
        """The TCP connection is gone: its class 3 connections go too."""
        self.closing = True
        self._had_connection = False
        self.target.manager.drop_session(self)
        self._links.clear()
        self._batch = None
        self._slots.clear()
        self._buffer.clear()
        self.commands.clear()


def _same(message: Any) -> bytes:
    result: bytes = message
    return result
