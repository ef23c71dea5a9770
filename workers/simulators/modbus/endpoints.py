"""Where a simulated Modbus device answers: TCP, a serial port, or a pty that it makes.

    TcpEndpoint    Modbus TCP, or RTU frames over TCP      every connection is a conversation
    PortEndpoint   a serial port of this machine           one conversation
    PtyEndpoint    a pseudo terminal, linked by name       one conversation

An endpoint can be closed and opened again at the same address: the device died and returned.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cpppod.protocols.modbus.server import RtuRequests
from cpppod.protocols.modbus.tcp import MAX_REQUEST_LENGTH, MbapStream
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.plant import Line
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.simulators.modbus.plant import Conversation, Plant
from cpppod.workers.transport.port import SerialPort
from cpppod.workers.transport.turns import TurnProtocol, Turns

SILENCE_S = 0.1  # ends a frame of an unknown function; known ones end by their length
REOPEN_S = 0.05  # between tries to have a serial port again


class PortTaken(OSError):
    """The address is in use, or may not be used; the text says which and why."""


class Endpoint(Protocol):
    """A place where the simulator answers."""

    @property
    def address(self) -> str:
        """Where that is, in words."""

    async def open(self) -> None:
        """Begin to answer.

        Raises:
            PortTaken: it cannot.
        """

    async def close(self) -> None:
        """Answer no more, and leave nothing behind."""


class _TcpPeer(TurnProtocol):
    """One connection; framing is Modbus TCP or RTU."""

    def __init__(self, endpoint: "TcpEndpoint", turns: Turns) -> None:
        super().__init__(turns)
        self._endpoint = endpoint
        self._stream = MbapStream(MAX_REQUEST_LENGTH)
        self._frames = RtuRequests()
        self._transport: asyncio.Transport | None = None
        plant = endpoint.plant
        self._conversation = Conversation(plant, self._send, self.hang_up, self._finish)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client."""
        super().connection_made(transport)
        self._transport = transport  # type: ignore[assignment]
        self._endpoint.peers.add(self)
        self._endpoint.connections += 1
        with contextlib.suppress(OSError, AttributeError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: it left."""
        super().connection_lost(error)
        self._endpoint.peers.discard(self)
        self._conversation.close()

    def data_received(self, data: bytes) -> None:
        """Requests."""
        if self._endpoint.rtu:
            for unit, pdu, frame in self._frames.receive_data(data):
                self._conversation.answer(unit, pdu, frame, None)
            return
        try:
            requests = self._stream.receive_data(data)
        except DecodeError:
            self.hang_up()
            return
        for adu in requests:
            header = (adu.transaction, 0, None)
            self._conversation.answer(adu.unit, adu.pdu, adu.encode(), header)

    def hang_up(self) -> None:
        """Close the connection."""
        self._conversation.close()
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        """Close the connection once all is written."""
        if self._transport is not None:
            self._transport.close()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


class TcpEndpoint:
    """A listening TCP port.

    Attributes:
        rtu: its frames are RTU's, not Modbus TCP's.
        connections: accepted so far.
    """

    def __init__(self, plant: Plant, host: str, port: int, *, rtu: bool = False) -> None:
        self.plant = plant
        self.rtu = rtu
        self.peers: set[_TcpPeer] = set()
        self.connections = 0
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port` as it was asked for, with the port that it has."""
        return str(SocketAddress(self._host, self._port))

    async def open(self) -> None:
        """Listen; an asked-for port 0 becomes a real one, and stays so.

        Raises:
            PortTaken: it cannot be had.
        """
        loop = asyncio.get_running_loop()
        turns = Turns()
        try:
            self._server = await loop.create_server(
                lambda: _TcpPeer(self, turns),
                self._host or "0.0.0.0",
                self._port,
                reuse_address=True,
            )
        except OSError as error:
            raise PortTaken(f"{self.address}: {_why(error)}") from None
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close the port and every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for peer in list(self.peers):
            peer.hang_up()
        if server is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 1.0)


class _LineConversation:
    """Requests off a line: complete frames at once, what silence ends afterwards."""

    def __init__(self, plant: Plant, send: Callable[[bytes], None], character_s: float) -> None:
        self._frames = RtuRequests()
        self._timer: asyncio.TimerHandle | None = None
        self.conversation = Conversation(plant, send, lambda: None)
        self.conversation.character_s = character_s

    def receive(self, data: bytes) -> None:
        for unit, pdu, frame in self._frames.receive_data(data):
            self.conversation.answer(unit, pdu, frame, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._frames.pending:
            self._timer = asyncio.get_running_loop().call_later(SILENCE_S, self._silence)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.conversation.close()

    def _silence(self) -> None:
        request = self._frames.silence()
        if request is not None:
            self.conversation.answer(*request, None)


class PtyEndpoint:
    """A pseudo terminal that it makes; `link` is where its name is to be found."""

    def __init__(self, plant: Plant, link: str = "", *, character_s: float = 0.0) -> None:
        self._plant = plant
        self._link = Path(link) if link else None
        self._character_s = character_s
        self._master = self._slave = -1
        self._line: _LineConversation | None = None
        self.address = link

    async def open(self) -> None:
        """Make the pty, set it raw, and let the link point to it."""
        import tty  # POSIX only

        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        name = os.ttyname(self._slave)
        if self._link is not None:
            _point(self._link, name)
        else:
            self.address = name
        self._line = _LineConversation(self._plant, self._send, self._character_s)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    async def close(self) -> None:
        """Hang up: whoever has it open is told."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        if self._line is not None:
            self._line.close()
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.unlink()
        os.close(self._master)
        os.close(self._slave)
        self._master = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            return
        if data and self._line is not None:
            self._line.receive(data)

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._master, data)


class PortEndpoint:
    """A serial port of this machine; had again whenever it comes back."""

    def __init__(self, plant: Plant, line: Line) -> None:
        self._plant = plant
        self._port = SerialPort(line)
        self._character_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._line: _LineConversation | None = None
        self.address = line.port

    async def open(self) -> None:
        """Open the port.

        Raises:
            PortTaken: it cannot be had.
        """
        try:
            await self._port.open()
        except DeviceError as error:
            raise PortTaken(error.text) from None
        self._line = _LineConversation(self._plant, self._send, self._character_s)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Give the port back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._line is not None:
            self._line.close()
        await self._port.close()

    async def _run(self) -> None:
        while True:
            try:
                data = await self._port.receive(3600.0)
            except DeviceError:
                await self._reopen()
                continue
            if data and self._line is not None:
                self._line.receive(data)

    async def _reopen(self) -> None:
        while True:
            await asyncio.sleep(REOPEN_S)
            with contextlib.suppress(DeviceError):
                await self._port.open()
                return

    def _send(self, data: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._write(data))
        task.add_done_callback(lambda done: done.exception())

    async def _write(self, data: bytes) -> None:
        with contextlib.suppress(DeviceError):
            await self._port.send(data)


def _point(link: Path, target: str) -> None:
    """Let `link` point to `target`, in one step.

    Raises:
        PortTaken: something that is no link is there, or it cannot be made.
    """
    if link.exists() and not link.is_symlink():
        raise PortTaken(f"{link}: exists and is no link")
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(link)
    except OSError as error:
        raise PortTaken(f"{link}: {_why(error)}") from None


def _why(error: OSError) -> str:
    known = {
        errno.EADDRINUSE: "another program has this port",
        errno.EACCES: "not permitted (ports below 1024 need a privilege)",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    return known.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
