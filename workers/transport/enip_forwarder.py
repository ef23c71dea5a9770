"""One connection to another EtherNet/IP device, for requests that are passed on byte for byte.

    forward -> SendRRData, the ticket as sender context -> reply with that context -> done(reply)

It is opened by the first request, kept, and opened anew after a failure no more often than every
`RETRY_S`. Without tasks: a request costs a dictionary entry, and all share one timer. That is why
it stands beside the originator's connection, which looks into every reply: 4.5 us a request of
processor time against 30 us, with 20 in flight.
"""

import asyncio
import math
import struct
from collections.abc import Callable
from typing import Any

from cpppod.protocols.cip.status import ConnectionStatus
from cpppod.protocols.cip.unconnected_send import UnconnectedSend, ticks_for
from cpppod.protocols.enip.cpf import UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER, Command, Frame, FrameReader
from cpppod.protocols.model.errors import DecodeError

MAX_OUTSTANDING = 256  # requests at one device, waiting for the connection included
CONNECT_S = 2.0  # for the connection and its session
RETRY_S = 0.5  # between tries
_CONTEXT = struct.Struct("<Q")
_SEND_RR_DATA = int(Command.SEND_RR_DATA)
_CPF = bytes((2, 0, 0, 0, 0, 0, 0xB2, 0))  # two items: null address, unconnected data
_CPF_AT, _MESSAGE_AT = 30, 40  # in a frame
Done = Callable[[bytes | int], None]  # the reply, or the Connection Manager's extended status


def onward(request: bytes, route_path: bytes, timeout_s: float) -> bytes:
    """Data of the SendRRData that passes a request on along what is left of its route."""
    message = request
    if route_path:
        message = UnconnectedSend(request, route_path, *ticks_for(timeout_s)).encode()
    return UnconnectedMessage(message).encode()


class Forwarder(asyncio.Protocol):
    """Passes requests on to `host:port`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._reader = FrameReader()
        self._session = 0
        self._last_ticket = 0
        self._outstanding: dict[bytes, tuple[Done, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._waiting: list[tuple[bytes, bytes]] = []
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._out: list[bytes] = []

    def forward(self, data: bytes, timeout_s: float, done: Done) -> None:
        """Send a request made by `onward`; `done` is called once."""
        if len(self._outstanding) >= MAX_OUTSTANDING:
            done(ConnectionStatus.NO_BUFFER_MEMORY)
            return
        if not self._session and self._opening is None:
            if self._loop.time() < self._not_before:
                done(ConnectionStatus.LINK_ADDRESS_NOT_VALID)
                return
            self._opening = self._loop.create_task(self._open())
        self._last_ticket += 1
        ticket = _CONTEXT.pack(self._last_ticket)
        deadline = self._loop.time() + timeout_s
        self._outstanding[ticket] = (done, deadline)
        if deadline < self._timer_at:
            self._set_timer(deadline)
        if self._session:
            self._send(ticket, data)
        else:
            self._waiting.append((ticket, data))

    def _send(self, ticket: bytes, data: bytes) -> None:
        """Send a lone request; queue others, so that those of one turn leave in one write."""
        head = HEADER.pack(_SEND_RR_DATA, len(data), self._session, 0, ticket, 0)
        if len(self._outstanding) == 1:
            self._transport.write(head + data)
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += (head, data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None:
            self._transport.write(b"".join(out))

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._loop.create_connection(lambda: self, self._host, self._port)
        except (OSError, TimeoutError):
            self._fail()
        finally:
            self._opening = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a session."""
        self._transport = transport
        self._reader = FrameReader()
        self._transport.write(Frame(Command.REGISTER_SESSION, b"\1\0\0\0").encode())

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who asked."""
        at = 0 if self._reader.partial else self._take_plain(data)
        if at == len(data):
            return
        self._reader.receive_data(data[at:])
        try:
            while (frame := self._reader.next_frame()) is not None:
                self._take(frame)
        except DecodeError:
            self._transport.abort()

    def _take_plain(self, data: bytes) -> int:
        """Hand out whole replies of the usual form; the offset of the first that is not."""
        at, size = 0, len(data)
        while size - at > _MESSAGE_AT:
            command, length, _session, status, context, _options = HEADER.unpack_from(data, at)
            begin, end = at + _MESSAGE_AT, at + HEADER.size + length
            if command != _SEND_RR_DATA or status or end > size or end < begin + 4:
                break
            if data[at + _CPF_AT : begin - 2] != _CPF:
                break
            if data[begin - 2] | data[begin - 1] << 8 != end - begin:
                break
            found = self._outstanding.pop(context, None)
            if found is not None:
                found[0](data[begin:end])
            at = end
        return at

    def _take(self, frame: Frame) -> None:
        if frame.command == Command.REGISTER_SESSION:
            self._session = 0 if frame.status else frame.session
            if not self._session:
                self._transport.abort()
                return
            waiting, self._waiting = self._waiting, []
            for ticket, message in waiting:
                if ticket in self._outstanding:
                    self._send(ticket, message)
            return
        found = self._outstanding.pop(frame.context, None)
        if found is None:
            return  # too late: answered already
        done = found[0]
        if frame.command != _SEND_RR_DATA or frame.status:
            done(ConnectionStatus.LINK_ADDRESS_NOT_VALID)
            return
        try:
            message = UnconnectedMessage.decode(frame.data).message
        except DecodeError:
            message = b""
        done(message if len(message) >= 4 else int(ConnectionStatus.LINK_ADDRESS_NOT_VALID))

    def connection_lost(self, exc: Exception | None) -> None:
        """What is out has no answer any more; one that was idle is opened anew when needed."""
        self._fail(retry_s=0.0 if self._session and not self._outstanding else RETRY_S)

    def _fail(self, *, retry_s: float = RETRY_S) -> None:
        self._session = 0
        self._transport = None
        self._not_before = self._loop.time() + retry_s
        outstanding, self._outstanding = self._outstanding, {}
        self._waiting = []
        for done, _deadline in outstanding.values():
            done(ConnectionStatus.LINK_ADDRESS_NOT_VALID)

    def _set_timer(self, at: float) -> None:
        """Have `_expire` called at that second, and no later one."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at == math.inf else self._loop.call_at(at, self._expire)

    def _expire(self) -> None:
        """Answer what had no reply in time; look again when the next is due."""
        now = self._loop.time()
        late = [ticket for ticket, (_, due) in self._outstanding.items() if due <= now]
        dones = [self._outstanding.pop(ticket)[0] for ticket in late]
        self._set_timer(min((due for _, due in self._outstanding.values()), default=math.inf))
        for done in dones:
            done(ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT)

    def close(self) -> None:
        """Give the connection up."""
        if self._opening is not None:
            self._opening.cancel()
        self._set_timer(math.inf)
        if self._transport is not None:
            self._transport.abort()
