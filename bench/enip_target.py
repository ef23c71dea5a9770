"""The EtherNet/IP target: requests per second beside a bare uvloop echo, beside cpppo, and routed.

    echo     a uvloop server that writes back what it reads, frames as long as the longer of ours
    ours     `Simulator`, one process
    cpppo    its simulator, where `make peers` has put it
    routed   a controller behind another one's route table, beside asking it directly, and beside
             cpppo routing to the same controller

The load is one process with all connections, each of which sends `depth` frames when all its
replies are there. Servers take turns in one run, best of three.
"""

import argparse
import asyncio
import multiprocessing
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.connection_manager import ForwardOpen, NetworkParameters
from cpppod.protocols.cip.message_router import MessageRouterRequest
from cpppod.protocols.cip.route_table import MAX_MEMBERS
from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER
from cpppod.simulator import Settings, Simulator

ROOT = pathlib.Path(__file__).parents[1]
CPPPO = ROOT / ".peers" / "cpppo" / "bin" / "python"
GRID = tuple((connections, depth) for connections in (1, 8, 64) for depth in (1, 20))
WARM_S = 0.2
TRIES = 3
REGISTER = HEADER.pack(0x65, 4, 0, 0, bytes(8), 0) + b"\1\0\0\0"
TAGS = ["SCALAR=DINT", "ARRAY=DINT[100]", *(f"T{number}=DINT" for number in range(20))]


def read(tag: str, count: int = 1) -> bytes:
    """Read Tag."""
    path = epath.encode(epath.parse_tag(tag))
    return MessageRouterRequest(0x4C, path, count.to_bytes(2, "little")).encode()


def packet(count: int) -> bytes:
    """That many scalars in a Multiple Service Packet."""
    assert count <= MAX_MEMBERS
    members = [read(f"T{number}") for number in range(count)]
    offsets, at = [], 2 + 2 * count
    for member in members:
        offsets.append(at)
        at += len(member)
    table = b"".join(value.to_bytes(2, "little") for value in (count, *offsets))
    data = table + b"".join(members)
    return MessageRouterRequest(0x0A, epath.class_path(2, 1), data).encode()


REQUESTS = {
    "scalar": read("SCALAR"),
    "array of 100": read("ARRAY", 100),
    "20 in a packet": packet(20),
}


class Load(asyncio.Protocol):
    """One connection that sends again when all its replies are there."""

    def __init__(self, message: bytes, depth: int, *, connected: bool, registers: bool) -> None:
        self.message = message
        self.depth = depth
        self.connected = connected
        self.registers = registers
        self.done = 0
        self.reply_size = 0
        self._got = 0
        self._head = b""
        self._blobs: list[bytes] = []
        self._turn = 0
        self._stage = 0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Begin: register, or send at once to an echo."""
        self._transport = transport
        if self.registers:
            transport.write(REGISTER)
        else:
            self._blobs = [self.message * self.depth]
            self.reply_size = len(self.message)
            self._go()

    def _rr(self, handle: bytes, message: bytes) -> bytes:
        data = UnconnectedMessage(message).encode()
        session = int.from_bytes(handle, "little")
        return HEADER.pack(0x6F, len(data), session, 0, b"_bench__", 0) + data

    def _prepare(self, handle: bytes, connection: int) -> None:
        session = int.from_bytes(handle, "little")
        if not connection:
            self._blobs = [self._rr(handle, self.message) * self.depth]
            return
        for first in (0, self.depth):
            parts = []
            for number in range(first + 1, first + self.depth + 1):
                data = ConnectedMessage(connection, number, self.message).encode()
                parts.append(HEADER.pack(0x70, len(data), session, 0, b"_bench__", 0) + data)
            self._blobs.append(b"".join(parts))

    def _go(self) -> None:
        self._transport.write(self._blobs[self._turn % len(self._blobs)])
        self._turn += 1

    def data_received(self, data: bytes) -> None:
        """Count replies by their bytes."""
        if self._stage < 2 and self.registers:
            self._open(data)
            return
        self._got += len(data)
        if not self.reply_size:
            self.reply_size = HEADER.size + int.from_bytes(data[2:4], "little")
        wanted = self.reply_size * self.depth
        if self._got >= wanted:
            self._got -= wanted
            self.done += self.depth
            self._go()

    def _open(self, data: bytes) -> None:
        if self._stage == 0:
            self._head = data[4:8]
            if self.connected:
                self._stage = 1
                self._transport.write(self._rr(self._head, forward_open(id(self) & 0xFFFF)))
                return
            self._prepare(self._head, 0)
        else:
            self._prepare(self._head, int.from_bytes(data[44:48], "little"))
        self._stage = 2
        self._go()


def forward_open(serial: int) -> bytes:
    """A Large Forward Open."""
    size = NetworkParameters(4000)
    return ForwardOpen(
        *(0, serial, serial, 0x1009, serial, 2_000_000, 2_000_000, size, size),
        connection_path=epath.class_path(2, 1),
        large=True,
    ).encode()


async def rate(
    port: int, make: Callable[[], Load], connections: int, seconds: float
) -> tuple[float, int]:
    """(replies a second, bytes of one)."""
    loop = asyncio.get_running_loop()
    loads = []
    for _ in range(connections):
        _, load = await loop.create_connection(make, "127.0.0.1", port)
        loads.append(load)
    await asyncio.sleep(WARM_S)
    before, begun = sum(load.done for load in loads), time.perf_counter()
    await asyncio.sleep(seconds)
    done = sum(load.done for load in loads) - before
    elapsed = time.perf_counter() - begun
    for load in loads:
        load._transport.abort()
    return done / elapsed, loads[0].reply_size


class Echo(asyncio.Protocol):
    """Writes back what it reads."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self.transport.write(data)


def echo_process(ports: Any) -> None:
    """A bare echo server."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


def target_process(ports: Any, routes: dict[str, str]) -> None:
    """A simulated controller."""

    async def serve() -> None:
        simulator = Simulator(TAGS, Settings(routes=routes, udp=False))
        await simulator.start()
        ports.put(simulator.address[1])
        await asyncio.Event().wait()

    uvloop.run(serve())


@contextmanager
def process(function: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """A server process; gives its port."""
    ports: Any = multiprocessing.Queue()
    started = multiprocessing.Process(target=function, args=(ports, *arguments), daemon=True)
    started.start()
    try:
        yield ports.get(timeout=20)
    finally:
        started.terminate()
        started.join()


@contextmanager
def cpppo_server(routes: str = "") -> Iterator[int]:
    """cpppo's simulator, with a route table in JSON where it is to route; gives its port."""
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as configuration:
        configuration.write(f"[UCMM]\nRoute = {routes}\n")
        configuration.flush()
        chosen = ["--config", configuration.name] if routes else ["--no-config"]
        command = [str(CPPPO), "-m", "cpppo.server.enip", "-A", "-a", "127.0.0.1:0"]
        with _printing_its_port([*command, *chosen, *TAGS]) as port:
            yield port


@contextmanager
def _printing_its_port(command: list[str]) -> Iterator[int]:
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert started.stdout is not None
        found = re.search(r"\('.*', (\d+)\)", started.stdout.readline())
        assert found
        yield int(found[1])
    finally:
        started.terminate()
        started.wait()


@dataclass(frozen=True)
class Row:
    """What was measured in one place of the grid."""

    what: str
    connections: int
    depth: int
    ours: float
    other: float
    other_name: str

    def __str__(self) -> str:
        ratio = self.ours / self.other if self.other else float("nan")
        place = f"{self.what:<32} {self.connections:>3} x {self.depth:<3}"
        return (
            f"{place} {self.ours:>11,.0f}/s  {self.other_name} {self.other:>11,.0f}/s  {ratio:.2f}"
        )


def best(measure: Callable[[], float]) -> float:
    """The best of some tries."""
    return max(measure() for _ in range(TRIES))


def measure_grid(seconds: float, wanted: str) -> Iterator[Row]:
    """Ours beside the echo."""
    with process(echo_process) as echo, process(target_process, {}) as ours:
        for connected in (False, True):
            for name, message in REQUESTS.items():
                what = f"{name}, {'class 3' if connected else 'unconnected'}"
                if wanted and wanted not in what:
                    continue
                for connections, depth in GRID:
                    yield _beside_echo(
                        (echo, ours), (what, message, connected), (connections, depth), seconds
                    )


def _beside_echo(
    ports: tuple[int, int],
    asked: tuple[str, bytes, bool],
    place: tuple[int, int],
    seconds: float,
) -> Row:
    what, message, connected = asked
    connections, depth = place

    def make() -> Load:
        return Load(message, depth, connected=connected, registers=True)

    rates, echoes, size = [], [], 0
    for _ in range(TRIES):
        measured, size = uvloop.run(rate(ports[1], make, connections, seconds))
        rates.append(measured)
        frame = bytes(max(size, len(message) + 40))

        def echo(frame: bytes = frame) -> Load:
            return Load(frame, depth, connected=False, registers=False)

        echoes.append(uvloop.run(rate(ports[0], echo, connections, seconds))[0])
    return Row(what, connections, depth, max(rates), max(echoes), "echo")


def measure_cpppo(seconds: float) -> Iterator[Row]:
    """Ours beside cpppo, scalars."""
    if not CPPPO.exists():
        print("cpppo is not installed: make peers", file=sys.stderr)
        return
    message = REQUESTS["scalar"]
    with cpppo_server() as theirs, process(target_process, {}) as ours:
        for connections, depth in ((1, 1), (8, 1), (8, 20)):

            def make(depth: int = depth) -> Load:
                return Load(message, depth, connected=False, registers=True)

            fast = uvloop.run(rate(ours, make, connections, seconds))[0]
            slow = uvloop.run(rate(theirs, make, connections, max(seconds, 2.0)))[0]
            yield Row("scalar, unconnected", connections, depth, fast, slow, "cpppo")


def measure_routed(seconds: float) -> Iterator[Row]:
    """A controller behind a route beside the same asked directly."""
    with (
        process(target_process, {}) as behind,
        process(target_process, {"1/1": f"127.0.0.1:{behind}"}) as router,
    ):
        direct, wrapped = REQUESTS["scalar"], routed(REQUESTS["scalar"])
        for place in ((1, 1), (8, 4), (8, 20)):
            through = beside = 0.0
            for _ in range(TRIES):
                through = max(through, _unconnected(router, wrapped, place, seconds))
                beside = max(beside, _unconnected(behind, direct, place, seconds))
            yield Row("routed", *place, through, beside, "direct")
        if not CPPPO.exists():
            return
        with cpppo_server(f'{{"1/1": "127.0.0.1:{behind}"}}') as theirs:
            place = (8, 4)
            fast = best(lambda: _unconnected(router, wrapped, place, seconds))
            slow = best(lambda: _unconnected(theirs, wrapped, place, max(seconds, 2.0)))
            yield Row("routed", *place, fast, slow, "cpppo")


def routed(message: bytes) -> bytes:
    """The message in an Unconnected Send along 1/1."""
    return UnconnectedSend(message, epath.encode(epath.parse_route_path("1/1"))).encode()


def _unconnected(port: int, message: bytes, place: tuple[int, int], seconds: float) -> float:
    connections, depth = place

    def make() -> Load:
        return Load(message, depth, connected=False, registers=True)

    return uvloop.run(rate(port, make, connections, seconds))[0]


def start_time() -> float:
    """Seconds until a server of 10,000 tags answers."""
    tags = [f"Tag_{number}=DINT" for number in range(10_000)]
    command = [sys.executable, "-m", "cpppod.commands.enip_server", "-A", "-U", "-a", "127.0.0.1:0"]
    begun = time.perf_counter()
    started = subprocess.Popen([*command, "--no-config", *tags], stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        started.stdout.readline()
        return time.perf_counter() - begun
    finally:
        started.terminate()
        started.wait()


def main(argv: list[str] | None = None) -> int:
    """Print a row per place of the grid."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="per measurement")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    arguments = parser.parse_args([] if argv is None else argv)
    for row in measure_grid(arguments.seconds, arguments.only):
        print(row, flush=True)
    for row in measure_cpppo(arguments.seconds):
        print(row, flush=True)
    for row in measure_routed(arguments.seconds):
        print(row, flush=True)
    print(f"10,000 tags: answering after {min(start_time() for _ in range(TRIES)):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
