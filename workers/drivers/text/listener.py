"""A wire that the device opens: the gateway listens, and takes one connection at a time.

    open    bind (once), then wait for the device; a device that connects anew replaces the old one
    close   drop the connection; the address stays bound for `KEPT_BOUND_S`, so that a device that
            comes back between two tries is not turned away

The bound addresses are the process's: a driver made anew by a reload takes over from the old one.
"""

import asyncio
import contextlib
import ipaddress
import logging
from typing import Any, cast

from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.tap import Tap
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.transport.port import not_connected
from cpppod.workers.transport.sockets import words

KEPT_BOUND_S = 40.0  # longer than the longest back-off between two tries to open
BUFFER_LIMIT = 65_536  # bytes not read yet, from which on the device has to wait

log = logging.getLogger("cpppod")

_bound: dict[tuple[str, int], "TcpListener"] = {}


class _Connection(asyncio.Protocol):
    """One device that has connected: its bytes, and whether it is still there."""

    def __init__(self, listener: "TcpListener") -> None:
        self._listener = listener
        self._data = bytearray()
        self._changed = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.ended = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._listener.accept(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes."""
        self._listener.tap.received(data)
        self._data += data
        if len(self._data) >= BUFFER_LIMIT and self.transport is not None:
            self.transport.pause_reading()
        self._changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: closed by the device, or broken."""
        self.end("the device closed the connection" if error is None else words(error))

    def end(self, why: str) -> None:
        """No more comes."""
        self.ended = self.ended or why
        self._changed.set()
        if self.transport is not None:
            self.transport.abort()

    @property
    def pending(self) -> bool:
        """Whether bytes are there that nobody has taken."""
        return bool(self._data)

    def take(self) -> bytes:
        """All that has arrived."""
        data = bytes(self._data)
        self._data.clear()
        if len(data) >= BUFFER_LIMIT and self.transport is not None and not self.ended:
            self.transport.resume_reading()
        return data

    async def wait(self, timeout_s: float) -> bytes:
        """What has arrived, b"" after the time-out or at the end."""
        if not self._data and not self.ended and timeout_s > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
        return self.take()


class TcpListener:
    """One address at which a device connects, as a `Link`.

    Attributes:
        tap: remembers what goes over it.
        turned_away: connections from addresses that `sources` does not allow.
    """

    silence_s = 0.0
    character_s = 0.0

    def __init__(self, address: str, *, timeout_s: float, sources: tuple[str, ...] = ()) -> None:
        self._host, self._port = socket_address(address, host="127.0.0.1", any_port=True)
        self._timeout_s = timeout_s
        self._sources = [ipaddress.ip_network(source, strict=False) for source in sources]
        self._server: asyncio.Server | None = None
        self._connection: _Connection | None = None
        self._came = asyncio.Event()
        self._unbind: asyncio.TimerHandle | None = None
        self.turned_away = 0
        self.shared: dict[str, Any] = {}
        self.tap = Tap()

    @property
    def port(self) -> int:
        """The port that is bound, 0 where none is."""
        return self._server.sockets[0].getsockname()[1] if self._server else 0

    async def open(self) -> None:
        """Wait for the device at most the time-out."""
        await self._bind()
        if self._connection is None or self._connection.ended:
            self._came.clear()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._came.wait()
            except TimeoutError:
                where = f"{SocketAddress(self._host, self._port)}"
                raise not_connected(f"no device has connected to {where} yet") from None

    async def close(self) -> None:
        """Drop the connection; stay bound for a while."""
        self._drop("closed")
        if self._server is not None and self._unbind is None:
            loop = asyncio.get_running_loop()
            self._unbind = loop.call_later(KEPT_BOUND_S, self.release)

    def release(self) -> None:
        """Give the address back."""
        if self._unbind is not None:
            self._unbind.cancel()
            self._unbind = None
        self._drop("closed")
        if self._server is not None:
            self._server.close()
            self._server = None
            _bound.pop((self._host, self._port), None)

    async def send(self, data: bytes) -> None:
        """Hand `data` to the socket of the device that is connected.

        Raises:
            DeviceError: none is; nothing was sent.
        """
        connection = self._connection
        if connection is None or connection.ended or connection.transport is None:
            why = connection.ended if connection else "no device is connected"
            raise not_connected(why, sent=False)
        self.tap.sent(data)
        connection.transport.write(data)

    async def renew(self) -> bool:
        """Wait for the device where it has closed its connection; whether that was so.

        Raises:
            DeviceError: it does not connect in time.
        """
        if self._connection is not None and not self._connection.ended:
            return False
        try:
            await self.open()
        except DeviceError as error:
            error.sent = False
            raise
        return True

    async def receive(self, timeout_s: float) -> bytes:
        """What has arrived, or b"" after `timeout_s`."""
        connection = self._connected()
        data = await connection.wait(timeout_s)
        if not data and connection.ended:
            raise not_connected(connection.ended)
        return data

    def discard(self) -> bytes:
        """Take what has arrived unasked."""
        return b"" if self._connection is None else self._connection.take()

    def accept(self, connection: _Connection) -> None:
        """A device has connected: it takes the place of one before it, if it is allowed to."""
        assert connection.transport is not None
        if self._sources and not self._allowed(connection.transport.get_extra_info("peername")):
            self.turned_away += 1
            where = f"{SocketAddress(self._host, self._port)}"
            strangers.warning(log, "text: connection turned away listener=%s", where)
            connection.end("turned away")
            return
        self._drop("another connection took its place")
        self._connection = connection
        self._came.set()

    def _connected(self) -> _Connection:
        if self._connection is None:
            raise not_connected("no device is connected", sent=False)
        if self._connection.ended and not self._connection.pending:
            raise not_connected(self._connection.ended)
        return self._connection

    async def _bind(self) -> None:
        if self._unbind is not None:
            self._unbind.cancel()
            self._unbind = None
        if self._server is not None:
            return
        key = (self._host, self._port)
        before = _bound.get(key) if self._port else None
        if before is not None:
            before.release()
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: _Connection(self), self._host, self._port, backlog=1
            )
        except OSError as error:
            raise not_connected(
                f"cannot listen at {SocketAddress(self._host, self._port)}: {words(error)}"
            ) from None
        if self._port:
            _bound[key] = self

    def _allowed(self, peer: Any) -> bool:
        address = ipaddress.ip_address(peer[0]) if peer else None
        return address is not None and any(address in network for network in self._sources)

    def _drop(self, why: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end(why)
