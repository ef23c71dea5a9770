"""A driver before its own simulator, with a gate between: it passes, holds replies back, or cuts.

driver ──► Gate (host:port) ──► simulator (python -m ..., host:port)
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cpppod import configuration
from cpppod.protocols.model.plant import Group, Plant, Tag, Worker
from cpppod.workers.devices.driver import DeviceError, Driver, Link, Sample
from cpppod.workers.devices.plan import make_drivers, make_link, plan_wires
from cpppod.workers.devices.spec import DriverSpec, Place, SimulatedDevice
from tests.patience import PATIENCE_S
from tests.ports import free_port

POLL_S = 0.02


def at(spec: DriverSpec, port: int) -> str:
    """The address of a device of that driver at a port of loopback."""
    address = f"127.0.0.1:{port}"
    return f"rtu-over-tcp://{address}" if spec.place is Place.LINE else address


def simulator_of(spec: DriverSpec) -> SimulatedDevice:
    """What the manifest says of it."""
    assert spec.simulator is not None, f"{spec.name} names no simulator"
    return spec.simulator


def configured(spec: DriverSpec, port: int, *changes: tuple[str, str]) -> Plant:
    """The manifest's configuration for a device at that port, some of its text replaced.

    Raises:
        ConfigurationError: it has mistakes.
    """
    text = simulator_of(spec).configuration.replace("{address}", at(spec, port))
    for old, new in changes:
        assert old in text, f"{old} is not in the configuration of {spec.name}"
        text = text.replace(old, new)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cpppod.toml"
        path.write_text(text)
        return configuration.load([path], old_files=[]).plant


@contextlib.contextmanager
def simulator(spec: DriverSpec) -> Iterator[int]:
    """The simulator as a process of its own; the port that it serves."""
    port = free_port()
    made = simulator_of(spec)
    words = [word.replace("{address}", at(spec, port)) for word in made.arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", made.module, *words], stdin=subprocess.DEVNULL
    )
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            assert process.poll() is None, f"{made.module} ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline_s, f"{made.module} does not listen"
            time.sleep(POLL_S)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


@dataclass
class Gate:
    """What lies between; `address` port is where the driver connects."""

    behind: int
    port: int = field(default_factory=free_port)
    _held: list[tuple[asyncio.StreamWriter, bytes]] | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """End every connection, and take no new one."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        """From now on what the simulator says waits for `release`."""
        self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        for writer, data in held:
            writer.write(data)

    async def said(self) -> None:
        """Returns once the simulator has said something that is held back."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._held:
                await asyncio.sleep(POLL_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.behind)
        self._writers |= {writer, back}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, replies=True))
        for each in (writer, back):
            self._writers.discard(each)
            each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool = False
    ) -> None:
        while data := await reader.read(65_536):
            if replies and self._held is not None:
                self._held.append((writer, data))
            else:
                writer.write(data)
        writer.transport.abort()


@dataclass
class Driven:
    """One driver as the frame has it."""

    spec: DriverSpec
    gate: Gate
    driver: Driver
    link: Link | None
    group: Group

    @property
    def writable(self) -> Tag:
        (tag,) = (tag for tag in self.group.tags if tag.writable)
        return tag

    async def open(self) -> None:
        """Connect anew, as the frame does after a connection is of no further use."""
        if self.link is not None:
            await self.link.close()  # type: ignore[attr-defined]
            await self.link.open()  # type: ignore[attr-defined]
        await self.driver.open()

    async def close(self) -> None:
        await self.driver.close()
        if self.link is not None:
            await self.link.close()  # type: ignore[attr-defined]

    async def poll(self) -> dict[str, Sample]:
        return await self.driver.poll(self.group)

    async def poll_at_last(self) -> dict[str, Sample]:
        """A poll as the frame gets it: tried again, over a new connection where it must be."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self.poll()
                except DeviceError as error:
                    if not error.connected:
                        with contextlib.suppress(DeviceError):
                            await self.open()
                    await asyncio.sleep(POLL_S)


def _worker(plant: Plant) -> Worker:
    role = "serial" if plant.lines else "poller"
    return Worker("w", role, "", "", "", devices=plant.devices, lines=plant.lines)


@contextlib.asynccontextmanager
async def driven(spec: DriverSpec, behind: int) -> AsyncIterator[Driven]:
    """The driver, connected to the simulator at port `behind` through a gate."""
    gate = Gate(behind)
    await gate.open()
    patient = ('timeout = "500ms"', 'timeout = "2s"')  # the simulator may be kept waiting
    plans, problems = plan_wires(_worker(configured(spec, gate.port, patient)))
    assert not problems
    ((key, plan),) = plans.items()
    link = make_link(plan, asyncio.to_thread) if plan.shared else None
    drivers, problems = make_drivers(plan, link, set(plan.devices))
    assert not problems, key
    ((name, driver),) = drivers.items()
    made = Driven(spec, gate, driver, link, plan.devices[name].groups[0])
    try:
        await made.open()
        yield made
    finally:
        await made.close()
        await gate.cut()
