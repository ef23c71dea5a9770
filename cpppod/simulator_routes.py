"""Routes of a simulated controller: requests that leave it for other EtherNet/IP devices.

    route path -> RouteTable -> host:port -> one connection each, opened on demand and kept

What cannot be reached is the Connection Manager's status: 0x0204 no answer in time, 0x0312 not
there.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.cip.route_table import RouteTable
from cpppod.protocols.cip.status import CipError, ConnectionStatus
from cpppod.protocols.cip.unconnected_send import routing_failure, timeout_s
from cpppod.protocols.plant import Device
from cpppod.protocols.values import Quality
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.enip import make_driver

IN_FLIGHT = 32  # requests outstanding at one device
QUEUE = 256  # and waiting for it; beyond that they are refused
DEFAULT_PORT = 44_818


class _Destination:
    """One device behind routes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host:
            host, port = address, str(DEFAULT_PORT)
        device = Device("routed", "enip", f"{host}:{port}", in_flight=IN_FLIGHT)
        self._driver = make_driver(device)
        self._open = False
        self._lock = asyncio.Lock()
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self.waiting = 0

    async def forward(self, request: bytes, route_path: bytes, allowed_s: float) -> bytes:
        """The device's reply.

        Raises:
            DeviceError: none.
        """
        self.waiting += 1
        try:
            async with self._room:
                if not self._open:
                    await self._connect()
                try:
                    return await self._driver.forward(request, route_path, allowed_s)
                except DeviceError as error:
                    if not error.connected:
                        self._open = False
                    raise
        finally:
            self.waiting -= 1

    async def _connect(self) -> None:
        async with self._lock:
            if not self._open:
                await self._driver.open()
                self._open = True

    async def close(self) -> None:
        """Give the connection up."""
        self._open = False
        await self._driver.close()


class Routes:
    """The route table of a controller, and the connections along it."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self._destinations = {address: _Destination(address) for address in set(routes.values())}
        self._table: RouteTable[_Destination] = RouteTable(
            {pattern: self._destinations[address] for pattern, address in routes.items()}
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def perform(self, command: ForwardNeeded, done: Callable[[Any], None]) -> None:
        """Send a request on; `done` gets the reply."""
        try:
            destination, remaining = self._table.find(command.route_path)
        except CipError as error:
            done(routing_failure(_first(error.extended), command.route_path))
            return
        if destination.waiting >= QUEUE:
            done(routing_failure(ConnectionStatus.NO_BUFFER_MEMORY, command.route_path))
            return
        work = self._forward(destination, command, remaining, done)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(
        self,
        destination: _Destination,
        command: ForwardNeeded,
        remaining: bytes,
        done: Callable[[Any], None],
    ) -> None:
        allowed = timeout_s(command.priority_tick, command.timeout_ticks)
        try:
            async with asyncio.timeout(allowed):
                done(await destination.forward(command.request, remaining, allowed))
        except TimeoutError:
            timed_out = ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT
            done(routing_failure(timed_out, command.route_path))
        except DeviceError as error:
            silent = error.quality & 0xFF == Quality.TIMEOUT
            status = (
                ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT
                if silent
                else ConnectionStatus.LINK_ADDRESS_NOT_VALID
            )
            done(routing_failure(status, command.route_path))

    async def close(self) -> None:
        """Give all connections up."""
        for task in list(self._tasks):
            task.cancel()
        for destination in self._destinations.values():
            await destination.close()


def _first(extended: tuple[int, ...]) -> int:
    return extended[0] if extended else ConnectionStatus.INVALID_SEGMENT_IN_PATH
