"""Orders to a running Modbus simulator: lines of text in, a JSON object per line out.

    fault KIND[:ARGUMENT][,unit=N ...]     one more fault          clear [KIND] [unit=N]
    set [UNIT:]FIRST[-LAST]=VALUE,...      change cells            get [UNIT:]FIRST[-LAST]
    faults                                 those in force          die SECONDS
    status                                 units, endpoints, requests answered

`--control PATH` is a Unix socket that only its user may use; `host:port` is a TCP port.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.modbus.specs import parse_range
from cpppod.protocols.model.addresses import socket_address
from cpppod.protocols.model.durations import parse_seconds
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.simulators.modbus.simulator import PortTaken, Simulator

LINE_LIMIT = 65_536
ANSWER_S = 5.0


class SimulatorControl:
    """Obeys orders; `serve` makes it reachable."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def serve(self, address: str) -> None:
        """Listen at a path or `host:port`.

        Raises:
            PortTaken: it cannot be had.
        """
        try:
            if is_path(address):
                self._path = Path(address)
                if self._path.is_socket():
                    self._path.unlink()
                self._server = await asyncio.start_unix_server(
                    self._converse, address, limit=LINE_LIMIT
                )
                os.chmod(address, 0o600)
            else:
                host, port = socket_address(address, host="127.0.0.1", any_port=True)
                self._server = await asyncio.start_server(
                    self._converse, host, port, limit=LINE_LIMIT
                )
        except (OSError, ValueError) as error:
            raise PortTaken(f"--control {address}: {error}") from None

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def obey(self, order: str) -> dict[str, Any]:
        """What came of one order."""
        verb, _, rest = order.strip().partition(" ")
        obey = _ORDERS.get(verb)
        if obey is None:
            return {"ok": False, "error": f"{verb!r}: one of {', '.join(_ORDERS)}"}
        try:
            return {"ok": True, "result": obey(self._simulator, rest.strip())}
        except (EncodeError, ValueError) as error:
            return {"ok": False, "error": str(error)}

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = self.obey(line.decode("utf-8", "replace"))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line beyond the limit
            pass
        finally:
            writer.close()


def _fault(simulator: Simulator, text: str) -> Any:
    simulator.plant.faults.add(parse_fault(text))
    return _faults(simulator, "")


def _faults(simulator: Simulator, text: str) -> Any:
    return [str(fault) for fault in simulator.plant.faults.active]


def _clear(simulator: Simulator, text: str) -> Any:
    kind, unit = "", None
    for word in text.split():
        if word.startswith("unit="):
            unit = int(word.removeprefix("unit="))
        else:
            kind = word
    return simulator.plant.faults.clear(kind, unit)


def _set(simulator: Simulator, text: str) -> Any:
    registers = parse_range(text)
    if not registers.values:
        raise EncodeError(f"set {text}: values are missing", status=3)
    simulator.plant.define(registers)
    return registers.count


def _get(simulator: Simulator, text: str) -> Any:
    registers = parse_range(text)
    cells = simulator.plant.cells(registers.unit, registers.first.table)
    start = registers.first.offset
    return [cells.get(at) for at in range(start, start + registers.count)]


def _die(simulator: Simulator, text: str) -> Any:
    seconds = parse_seconds(text or "1")
    simulator.die(seconds)
    return seconds


def _status(simulator: Simulator, text: str) -> Any:
    plant = simulator.plant
    requests = {str(number): unit.requests for number, unit in plant.units.items()}
    if plant.default is not None:
        requests["any"] = plant.default.requests
    return {
        "endpoints": [endpoint.address for endpoint in simulator.endpoints],
        "requests": requests,
        "faults": _faults(simulator, ""),
    }


_ORDERS: dict[str, Callable[[Simulator, str], Any]] = {
    "fault": _fault,
    "faults": _faults,
    "clear": _clear,
    "set": _set,
    "get": _get,
    "die": _die,
    "status": _status,
}


def is_path(address: str) -> bool:
    """Whether an address is a path and not `host:port`."""
    return "/" in address or ":" not in address


def tell(address: str, order: str) -> dict[str, Any]:
    """Give one order to the simulator that listens at `address`; what it answers.

    Raises:
        OSError: nobody is there, or nothing comes back.
    """
    if is_path(address):
        peer = socket.socket(socket.AF_UNIX)
        target: Any = address
    else:
        peer = socket.socket()
        target = socket_address(address, host="127.0.0.1")
    with peer:
        peer.settimeout(ANSWER_S)
        peer.connect(target)
        peer.sendall(order.encode() + b"\n")
        with peer.makefile("rb") as lines:
            line = lines.readline(LINE_LIMIT)
    if not line:
        raise OSError("the simulator closed the connection")
    answer: dict[str, Any] = json.loads(line)
    return answer
