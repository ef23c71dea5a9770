"""A Modbus device that does not exist: a plant and the endpoints that it answers on.

Simulator ─ Plant        units, faults, moving values       (`workers.modbus_plant`)
          └ endpoints    TCP, RTU over TCP, serial, pty     (`workers.modbus_endpoints`)
"""

import asyncio
from typing import Any

from cpppod.workers.simulators.modbus.endpoints import (
    REOPEN_S,
    Endpoint,
    PortEndpoint,
    PortTaken,
    PtyEndpoint,
    TcpEndpoint,
)
from cpppod.workers.simulators.modbus.plant import Plant

MOVE_S = 0.1  # how often moving values move

__all__ = [
    "Endpoint",
    "Plant",
    "PortEndpoint",
    "PortTaken",
    "PtyEndpoint",
    "Simulator",
    "TcpEndpoint",
]


class Simulator:
    """A plant and the endpoints that it answers on; moves its values while it runs."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.endpoints: list[Endpoint] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, endpoint: Endpoint) -> str:
        """Answer there too; returns its address.

        Raises:
            PortTaken: it cannot.
        """
        await endpoint.open()
        self.endpoints.append(endpoint)
        if not self._tasks:
            self._spawn(self._move())
        return endpoint.address

    async def close(self) -> None:
        """Answer nowhere any more."""
        for task in list(self._tasks):
            task.cancel()
        for endpoint in self.endpoints:
            await endpoint.close()
        self.endpoints.clear()

    def die(self, seconds: float) -> None:
        """Vanish, connections and all, and return after that time."""
        self._spawn(self._die(seconds))

    async def _die(self, seconds: float) -> None:
        for endpoint in self.endpoints:
            await endpoint.close()
        await asyncio.sleep(seconds)
        for endpoint in self.endpoints:
            while True:
                try:
                    await endpoint.open()
                    break
                except PortTaken:
                    await asyncio.sleep(REOPEN_S)

    async def _move(self) -> None:
        while True:
            self.plant.advance()
            await asyncio.sleep(MOVE_S)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
