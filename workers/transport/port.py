"""The wires that drivers share: a socket, or a serial port of this machine.

    TcpPort      host:port                        one connection, noticed as dead within seconds
    SerialPort   /dev/ttyUSB0, /dev/serial/by-id/...   opened exclusively; bytes as they come

Both satisfy `Link` (bytes for drivers) and `Connection` (open and close for the wire). A port that
vanishes is `DeviceError` NOT_CONNECTED, at once; opening it again follows the path anew, and if
that is gone, the `/dev/serial/by-id` name that the adapter had: it may have come back under another
number.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cpppod.protocols.modbus.rtu import character_s, silence_s
from cpppod.protocols.model.addresses import socket_address
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Line
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.tap import Tap
from cpppod.workers.transport.sockets import peer_closed, words

BUFFER_LIMIT = 65_536  # bytes nobody asked for on a socket: beyond it the stream is not trusted
SERIAL_BUFFER_LIMIT = 512  # two frames: more than that unasked is noise, and its end is what counts
HANG_UP_S = 0.05  # wait for the end of a connection that the peer ended after each reply so far
HANG_UPS = 2  # connections in a row that ended after one reply: then it does so after each
KEEPALIVE_IDLE_S, KEEPALIVE_PROBE_S, KEEPALIVE_PROBES = 3, 1, 2
USER_TIMEOUT_MS = 4_000  # unacknowledged data for so long: the peer is gone
DEFAULT_TIMEOUT_S = 2.0
PTYS = "/dev/pts/"
RTU_OVER_TCP = "rtu-over-tcp://"

Blocking = Callable[..., Awaitable[Any]]  # runs a function that may block on another thread

_BY_ID = Path("/dev/serial/by-id")


def not_connected(
    text: str, *, sent: bool = True, failure: Failure = Failure.NOT_CONNECTED
) -> DeviceError:
    """The error of a port that is gone or cannot be had."""
    return DeviceError(failure, text, sent=sent)


def failure_of(error: OSError | None) -> Failure:
    """What an error of a socket says; None is a peer that has closed."""
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED
    if isinstance(error, socket.gaierror):
        return Failure.NO_SUCH_HOST
    lost = error is None or isinstance(error, ConnectionError)
    return Failure.LOST if lost else Failure.NOT_CONNECTED


class _Received:
    """Bytes that have arrived, and who waits for them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self.error: DeviceError | None = None

    def add(self, data: bytes) -> bool:
        """Keep `data`; False where more than the limit has piled up (the oldest is dropped)."""
        self._data += data
        awaited = self._waiter is not None and not self._waiter.done()
        self._wake()
        if len(self._data) <= self._limit:
            return True
        if not awaited:
            del self._data[: -self._limit]
        return False

    def fail(self, error: DeviceError) -> None:
        """No more will come."""
        self.error = self.error or error
        self._wake()

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data

    async def wait(self, timeout_s: float) -> bytes:
        await self._news(timeout_s, there=bool(self._data))
        if self._data:
            return self.take()
        if self.error is not None:
            raise self.error
        return b""

    async def end(self, timeout_s: float) -> None:
        """Return when no more will come, or after `timeout_s`, or when something has come."""
        await self._news(timeout_s, there=False)

    async def _news(self, timeout_s: float, *, there: bool) -> None:
        if not there and self.error is None and timeout_s > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Stream(asyncio.Protocol):
    """One connection's bytes; a new one for every connection, so that a late end of an old one
    does not end the new.

    Attributes:
        requests: how often something was sent; answered: the last one after which something came.
    """

    def __init__(self, tap: Tap) -> None:
        self.received = _Received(BUFFER_LIMIT)
        self._tap = tap
        self.transport: asyncio.Transport | None = None
        self.requests = 0
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self.transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None:
            _notice_dead_peers(sock)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes."""
        self._tap.received(data)
        self.answered = self.requests
        if not self.received.add(data) and self.transport is not None:
            self.received.fail(not_connected(f"more than {BUFFER_LIMIT} bytes unasked"))
            self.transport.abort()

    @property
    def ended(self) -> bool:
        """Whether nothing more can be sent; asks the system, which may know before the loop."""
        if self.received.error is not None or self.transport is None:
            return True
        return peer_closed(self.transport.get_extra_info("socket"))

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: the peer closed, or the connection broke."""
        why = "peer closed the connection" if error is None else words(error)
        cause = error if isinstance(error, OSError) else None
        self.received.fail(not_connected(why, failure=failure_of(cause)))


class TcpPort:
    """One TCP connection as a `Link`.

    That the peer has closed it meanwhile is found out by using it: what is to be sent goes over a
    new one. A peer that closes after each reply is waited for, so that nothing is sent into the end
    of a connection, where nobody would know what became of it.

    Attributes:
        connections: how many were made so far: a parser of the stream starts anew with each.
        line: the line behind it, where there is one.
        shared: what the drivers of this port share, by a name of theirs.
        tap: remembers what goes over it.
    """

    silence_s = 0.0
    character_s = 0.0

    def __init__(
        self,
        address: str,
        *,
        default_port: int | None = 502,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        settle_s: float = 0.0,
        blocking: Blocking | None = None,
    ) -> None:
        self._address = socket_address(address, host="127.0.0.1", port=default_port)
        self._timeout_s = timeout_s
        self._settle_s = settle_s
        self._blocking = blocking or asyncio.to_thread
        self._stream: _Stream | None = None
        self._hang_ups = 0
        self.connections = 0
        self.line: Line | None = None
        self.shared: dict[str, Any] = {}
        self.tap = Tap()

    async def open(self) -> None:
        """Connect within the time-out; then wait as long as the device needs before it listens."""
        await self.close()
        where = self._address
        try:
            async with asyncio.timeout(self._timeout_s):
                host = await self._resolve()
                loop = asyncio.get_running_loop()
                _, self._stream = await loop.create_connection(
                    lambda: _Stream(self.tap), host, where.port
                )
        except TimeoutError:
            raise not_connected(f"{where} did not accept within {self._timeout_s:g} s") from None
        except OSError as error:
            text = f"{where}: {words(error)}"
            raise not_connected(text, failure=failure_of(error)) from None
        self.connections += 1
        if self._settle_s:
            await asyncio.sleep(self._settle_s)

    async def close(self) -> None:
        """Disconnect; what was received is forgotten."""
        stream, self._stream = self._stream, None
        if stream is not None and stream.ended:
            self._hang_ups = self._hang_ups + 1 if stream.answered == 1 else 0
        if stream is not None and stream.transport is not None:
            stream.received.fail(not_connected("closed"))
            stream.transport.abort()

    async def send(self, data: bytes) -> None:
        """Hand `data` to the socket, that of a new connection where the peer has closed this one.

        Raises:
            DeviceError: there is none to be had; `data` was not sent.
        """
        await self.renew()
        stream = self._connected()
        assert stream.transport is not None, "made, or `open` raises"
        stream.requests += 1
        self.tap.sent(data)
        stream.transport.write(data)

    async def renew(self) -> bool:
        """Connect anew where the peer has closed the connection; whether that was so.

        Raises:
            DeviceError: it cannot be had; nothing was sent.
        """
        stream = self._connected()
        single = stream.requests == stream.answered == 1
        if single and self._hang_ups >= HANG_UPS:
            await stream.received.end(HANG_UP_S)
        if not stream.ended:
            if (single and self._hang_ups >= HANG_UPS) or stream.answered > 1:
                self._hang_ups = 0  # it goes on with this one
            return False
        try:
            await self.open()
        except DeviceError as error:
            error.sent = False
            raise
        return True

    async def receive(self, timeout_s: float) -> bytes:
        """What has arrived, or b"" after `timeout_s`."""
        return await self._connected().received.wait(timeout_s)

    def discard(self) -> bytes:
        """Take what has arrived unasked."""
        return b"" if self._stream is None else self._stream.received.take()

    def _connected(self) -> _Stream:
        if self._stream is None:
            raise not_connected("not open", sent=False)
        return self._stream

    async def _resolve(self) -> str:
        """The address behind the host name; looked up off the loop."""
        host, port = self._address
        if all(part.isdecimal() for part in host.split(".")) or ":" in host:
            return host
        found = await self._blocking(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        return str(found[0][4][0])


def _notice_dead_peers(sock: Any) -> None:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (
        ("TCP_NODELAY", 1),
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_PROBE_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    for level, option, value in options:
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, value)


class SerialPort:
    """A serial port as a `Link`, opened exclusively: no other process gets it while we have it.

    Attributes:
        shared: what the drivers of this port share, by a name of theirs.
    """

    def __init__(self, line: Line, *, blocking: Blocking | None = None) -> None:
        self.line = line
        self.character_s = character_s(
            line.baudrate, bytesize=line.bytesize, parity=line.parity, stopbits=line.stopbits
        )
        self.silence_s = silence_s(line.baudrate, self.character_s)
        self.shared: dict[str, Any] = {}
        self.tap = Tap()
        self._blocking = blocking or asyncio.to_thread
        self._serial: Any = None
        self._received = _Received(SERIAL_BUFFER_LIMIT)
        self._stable_name = ""

    async def open(self) -> None:
        """Open and set up the port, off the loop."""
        await self.close()
        try:
            self._serial = await self._blocking(self._open)
        except (OSError, ValueError) as error:
            raise not_connected(f"{self.line.port}: {_port_trouble(error)}") from None
        self._received = _Received(SERIAL_BUFFER_LIMIT)
        asyncio.get_running_loop().add_reader(self._serial.fileno(), self._readable)

    async def close(self) -> None:
        """Give the port back."""
        port, self._serial = self._serial, None
        if port is not None:
            with contextlib.suppress(OSError, ValueError):
                asyncio.get_running_loop().remove_reader(port.fileno())
            with contextlib.suppress(OSError):
                await self._blocking(port.close)
        self._received.fail(not_connected("closed"))

    async def send(self, data: bytes) -> None:
        """Write `data`; returns once the system has all of it."""
        self.tap.sent(data)
        view = memoryview(data)
        while view:
            if self._serial is None or self._received.error is not None:
                why = self._received.error.text if self._received.error else "not open"
                raise not_connected(why, sent=len(view) < len(data))
            try:
                view = view[os.write(self._serial.fileno(), view) :]
            except BlockingIOError:
                await asyncio.sleep(self.character_s * len(view))
            except OSError as error:
                self._gone(words(error))

    async def renew(self) -> bool:
        """Never: a port that is gone is opened again by who owns the line."""
        return False

    async def receive(self, timeout_s: float) -> bytes:
        """What has arrived, or b"" after `timeout_s`."""
        return await self._received.wait(timeout_s)

    def discard(self) -> bytes:
        """Take what has arrived unasked, also what the system still holds."""
        if self._serial is not None and self._received.error is None:
            self._readable()
        return self._received.take()

    def _readable(self) -> None:
        try:
            data = os.read(self._serial.fileno(), 4096)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(words(error))
            return
        if data:
            self.tap.received(data)
            self._received.add(data)
        elif not os.isatty(self._serial.fileno()):
            self._gone("unplugged")

    def _gone(self, why: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            asyncio.get_running_loop().remove_reader(self._serial.fileno())
        self._received.fail(not_connected(f"{self.line.port}: {why}"))

    def _open(self) -> Any:
        import fcntl  # Linux and macOS only, as serial lines are here
        import termios

        import serial  # only processes that have a serial line load it

        line = self.line
        path = line.port
        if self._stable_name and not os.path.exists(path):
            path = self._stable_name
        bits = (line.bytesize, line.parity.upper(), line.stopbits)
        is_pty = os.path.realpath(path).startswith(PTYS)
        if is_pty:
            bits = (8, "N", 1)  # a pty has no parity, and the C library objects to setting it
        try:
            port = serial.Serial(
                path,
                line.baudrate,
                *bits,
                timeout=0,
                write_timeout=0,
                exclusive=True,
            )
        except termios.error as error:
            raise OSError(*error.args) from None
        try:
            if not is_pty:  # its maker holds it open: the mark would outlive us, the lock does not
                fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
            if line.rs485:
                port.rs485_mode = _rs485(line.rs485)
            port.reset_input_buffer()
        except BaseException:
            port.close()
            raise
        self._stable_name = _name_by_id(path) or self._stable_name
        return port


def _rs485(settings: dict[str, Any]) -> Any:
    """Settings of the kernel's RS-485 control, by the names of pyserial's."""
    from serial.rs485 import RS485Settings

    return RS485Settings(
        rts_level_for_tx=bool(settings.get("rts_level_for_tx", True)),
        rts_level_for_rx=bool(settings.get("rts_level_for_rx", False)),
        delay_before_tx=settings.get("delay_before_tx"),
        delay_before_rx=settings.get("delay_before_rx"),
    )


def _name_by_id(path: str) -> str:
    """The stable name of an adapter, "" where it has none."""
    try:
        target = os.path.realpath(path)
        for link in _BY_ID.iterdir():
            if os.path.realpath(link) == target:
                return str(link)
    except OSError:
        pass
    return ""


def _port_trouble(error: Exception) -> str:
    """Why a port cannot be had, in words that say what to do."""
    number = getattr(error, "errno", None)
    if number == 11:  # EAGAIN of the exclusive lock
        return "another process has it open"
    if number == 16:  # EBUSY of TIOCEXCL
        return "another process has it open exclusively"
    if number is not None:
        return words(error)
    return str(error)[:120]


def make_port(
    line: Line, *, timeout_s: float = DEFAULT_TIMEOUT_S, blocking: Blocking | None = None
) -> TcpPort | SerialPort:
    """The port of a line: `rtu-over-tcp://host:port` is a socket, all else a path."""
    if line.port.startswith(RTU_OVER_TCP):
        address = line.port.removeprefix(RTU_OVER_TCP)
        port = TcpPort(address, timeout_s=timeout_s, blocking=blocking)
        port.line = line
        return port
    return SerialPort(line, blocking=blocking)
