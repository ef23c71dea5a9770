"""A Modbus server for programs: sparse registers, stopped without leaving sockets."""

from types import TracebackType
from typing import Any

from cpppod.modbus.client import SERIAL_DEFAULTS, LoopThread
from cpppod.protocols.modbus.address import from_number
from cpppod.protocols.modbus.specs import parse_range
from cpppod.protocols.model.addresses import socket_address
from cpppod.protocols.model.plant import Line
from cpppod.workers.simulators.modbus.simulator import (
    Plant,
    PortEndpoint,
    PtyEndpoint,
    Simulator,
    TcpEndpoint,
)
from cpppod.workers.transport.port import RTU_OVER_TCP


class Server:
    """Serves registers over Modbus TCP, RTU on a serial port, a pty, or RTU over TCP.

        with Server("127.0.0.1:0", "40001-40100=99") as server:
            print(server.address)

    Args:
        address: `host:port` (port 0 takes a free one), the path of a serial port,
            `rtu-over-tcp://host:port`, or `pty:LINK` for a pseudo terminal linked at LINK.
        registers: ranges as `modbus_sim` takes them; only these cells are there.
        settings: of a serial port: baudrate, bytesize, parity, stopbits.
    """

    def __init__(self, address: str, *registers: str, **settings: Any) -> None:
        self.plant = Plant()
        for text in registers:
            self.plant.define(parse_range(text))
        self._thread = LoopThread(f"modbus server {address}")
        self._simulator = Simulator(self.plant)
        endpoint: Any
        if address.startswith("pty:"):
            endpoint = PtyEndpoint(self.plant, address.removeprefix("pty:"))
        elif address.startswith(RTU_OVER_TCP):
            listen = socket_address(address.removeprefix(RTU_OVER_TCP), host="", any_port=True)
            endpoint = TcpEndpoint(self.plant, *listen, rtu=True)
        elif "/" in address:
            line = Line("line", address, **(SERIAL_DEFAULTS | settings))
            endpoint = PortEndpoint(self.plant, line)
        else:
            listen = socket_address(address, host="", any_port=True)
            endpoint = TcpEndpoint(self.plant, *listen)
        try:
            self.address = self._thread.call(lambda: self._simulator.serve(endpoint))
        except BaseException:
            self._thread.stop()
            raise

    def get(self, address: int, unit: int | None = None) -> int | None:
        """What a cell holds; None where it is not there."""
        cell = from_number(address)
        return self.plant.cells(unit, cell.table).get(cell.offset)

    def set(self, address: int, *values: int, unit: int | None = None) -> None:
        """Change cells, or add them, from `address` on."""
        cell = from_number(address)
        self.plant.cells(unit, cell.table).update(enumerate(values, cell.offset))

    def stop(self) -> None:
        """Close every connection and socket."""
        if not self._thread.loop.is_closed():
            self._thread.call(self._simulator.close)
            self._thread.stop()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
