"""One connection to another EtherNet/IP device, for requests that are passed on byte for byte.

    forward -> SendRRData, the ticket as sender context -> reply with that context -> done(reply)

It is opened by the first request, kept, and opened anew after a failure no more often than every
`RETRY_S`. Without tasks: a request costs two dictionary entries and a timer.
"""

import asyncio
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from cpppod.protocols.cip.status import ConnectionStatus
from cpppod.protocols.cip.unconnected_send import UnconnectedSend, ticks_for
from cpppod.protocols.enip.cpf import UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER, Frame, FrameReader
from cpppod.protocols.errors import DecodeError

MAX_OUTSTANDING = 256  # requests at one device, waiting for the connection included
CONNECT_S = 2.0  # for the connection and its session
RETRY_S = 0.5  # between tries
_CONTEXT = struct.Struct("<Q")
Done = Callable[[bytes | int], None]  # the reply, or the Connection Manager's extended status


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
        self._outstanding: dict[bytes, tuple[Done, asyncio.TimerHandle]] = {}
        self._waiting: list[tuple[bytes, bytes]] = []
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._out: list[bytes] = []

    def forward(self, request: bytes, route_path: bytes, timeout_s: float, done: Done) -> None:
        """Pass a request on; `done` is called once."""
        if len(self._outstanding) >= MAX_OUTSTANDING:
            done(ConnectionStatus.NO_BUFFER_MEMORY)
            return
        if not self._session and self._opening is None:
            if self._loop.time() < self._not_before:
                done(ConnectionStatus.LINK_ADDRESS_NOT_VALID)
                return
            self._opening = self._loop.create_task(self._open())
        message = request
        if route_path:
            message = UnconnectedSend(request, route_path, *ticks_for(timeout_s)).encode()
        self._last_ticket += 1
        ticket = _CONTEXT.pack(self._last_ticket)
        timer = self._loop.call_later(timeout_s, self._expire, ticket)
        self._outstanding[ticket] = (done, timer)
        if self._session:
            self._send(ticket, message)
        else:
            self._waiting.append((ticket, message))

    def _send(self, ticket: bytes, message: bytes) -> None:
        """Queue a request; all of one turn of the loop leave in one write."""
        data = UnconnectedMessage(message).encode()
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(HEADER.pack(0x6F, len(data), self._session, 0, ticket, 0))
        self._out.append(data)

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
        self._transport.write(Frame(0x65, b"\1\0\0\0").encode())

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who asked."""
        self._reader.receive_data(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                self._take(frame)
        except DecodeError:
            self._transport.abort()

    def _take(self, frame: Frame) -> None:
        if frame.command == 0x65:
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
        done, timer = found
        timer.cancel()
        if frame.command != 0x6F or frame.status:
            done(ConnectionStatus.LINK_ADDRESS_NOT_VALID)
            return
        try:
            message = UnconnectedMessage.decode(frame.data).message
        except DecodeError:
            message = b""
        done(message if len(message) >= 4 else int(ConnectionStatus.LINK_ADDRESS_NOT_VALID))

    def connection_lost(self, exc: Exception | None) -> None:
        """What is out has no answer any more."""
        self._fail()

    def _fail(self) -> None:
        self._session = 0
        self._transport = None
        self._not_before = self._loop.time() + RETRY_S
        outstanding, self._outstanding = self._outstanding, {}
        self._waiting = []
        for done, timer in outstanding.values():
            timer.cancel()
            done(ConnectionStatus.LINK_ADDRESS_NOT_VALID)

    def _expire(self, ticket: bytes) -> None:
        found = self._outstanding.pop(ticket, None)
        if found is not None:
            found[0](ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT)

    def close(self) -> None:
        """Give the connection up."""
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()


def answer_with(
    done: Callable[[Any], None], failure: Callable[[int], bytes]
) -> Callable[[bytes | int], None]:
    """Hand on a reply, or `failure` of a status."""
    return partial(_answer, done, failure)


def _answer(
    done: Callable[[Any], None], failure: Callable[[int], bytes], result: bytes | int
) -> None:
    done(result if isinstance(result, bytes) else failure(result))
