"""What the tests of polled devices share: a simulated plant, and a wire that polls it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.modbus.specs import parse_range
from cpppod.protocols.model.plant import Device, Group, Line, Tag
from cpppod.workers.devices.device import Block, PolledDevice
from cpppod.workers.devices.driver import DeviceFrame
from cpppod.workers.devices.jobs import WriteAnswer, clock
from cpppod.workers.devices.spec import DRIVERS, shares_address
from cpppod.workers.devices.wire import Wire
from cpppod.workers.simulators.modbus.simulator import Plant, PtyEndpoint, Simulator, TcpEndpoint
from cpppod.workers.transport.port import TcpPort, make_port
from tests.patience import PATIENCE_S

ANSWERING_S = 5.0  # time-out of devices that answer: a starved process must not take them for dead
SILENT_S = 0.2  # time-out of devices that do not: a test lasts as long


@dataclass
class Published:
    """The blocks that a wire published, and what every tag is worth by them."""

    blocks: list[Block] = field(default_factory=list)
    values: dict[str, tuple[Any, int]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, block: Block) -> tuple[bytes, bytes]:
        """Publish, as a wire is given it."""
        self.blocks.append(block)
        for tag, sample in block.samples.items():
            self.values[f"{block.device}.{tag}"] = sample
        self.news.set()
        return f"{block.device}/{block.group}/".encode(), repr(block.samples).encode()

    async def until(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Return when `condition` holds after a block."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def until_blocks(self, count: int) -> None:
        """Return when so many blocks were published."""
        await self.until(lambda: len(self.blocks) >= count)

    def quality(self, tag: str) -> int | None:
        """What kind of quality a tag has, None before its first block."""
        sample = self.values.get(tag)
        return None if sample is None else sample[1] & 0xFF

    def value(self, tag: str) -> Any:
        """What a tag is worth."""
        return self.values.get(tag, (None, 0))[0]


def registers(first: int, count: int, **keys: Any) -> tuple[Tag, ...]:
    """Tags `r<first>` ... for holding registers from that offset on."""
    made = (Tag(f"r{at}", f"HR:{at}", **keys) for at in range(first, first + count))
    return tuple(made)


def device(name: str, address: str, tags: tuple[Tag, ...], **keys: Any) -> Device:
    """A Modbus TCP device with one fast group."""
    period_s = keys.pop("period_s", 0.1)
    settings: dict[str, Any] = {
        "driver": "modbus-tcp",
        "timeout_s": ANSWERING_S,
        "retries": 1,
        **keys,
    }
    return Device(name, address=address, groups=(Group("fast", period_s, tags),), **settings)


def make_plant(*specs: str, faults: tuple[str, ...] = ()) -> Plant:
    """A simulated plant with those registers and faults."""
    plant = Plant()
    for spec in specs:
        plant.define(parse_range(spec))
    for fault in faults:
        plant.faults.add(parse_fault(fault))
    return plant


@asynccontextmanager
async def simulated(
    plant: Plant, *, rtu: bool = False, port: int = 0
) -> AsyncIterator[tuple[Simulator, str]]:
    """A simulator on a port of its own; (simulator, host:port).

    One that is to close and open again needs a `port` that stays its own meanwhile.
    """
    simulator = Simulator(plant)
    address = await simulator.serve(TcpEndpoint(plant, "127.0.0.1", port, rtu=rtu))
    try:
        yield simulator, address
    finally:
        await simulator.close()


def tcp_endpoint(simulator: Simulator) -> TcpEndpoint:
    """The simulator's TCP port: its connections and peers."""
    endpoint = simulator.endpoints[0]
    assert isinstance(endpoint, TcpEndpoint)
    return endpoint


@asynccontextmanager
async def simulated_line(plant: Plant, link: str) -> AsyncIterator[Simulator]:
    """A simulator on a pty behind a link."""
    simulator = Simulator(plant)
    await simulator.serve(PtyEndpoint(plant, link))
    try:
        yield simulator
    finally:
        await simulator.close()


@asynccontextmanager
async def polled(
    *devices: Device, line: Line | None = None
) -> AsyncIterator[tuple[Wire, Published]]:
    """A wire that polls those devices: on one line, or at one address."""
    published = Published()
    address = line.port if line else devices[0].address
    link: Any = None  # where the driver's connection is its own
    if line or shares_address(devices[0].driver):
        link = make_port(line) if line else TcpPort(address, timeout_s=devices[0].timeout_s)
    drivers: list[Any] = []
    for each in devices:
        spec = DRIVERS.find(each.driver)
        assert spec is not None
        drivers.append(spec.make(each, link, DeviceFrame()))
    wire = Wire(
        "wire",
        link or drivers[0],
        publish=published.take,
        address=address,
        concurrency=1 if link else drivers[0].concurrency,
    )
    for each, driver in zip(devices, drivers, strict=True):
        wire.add(PolledDevice(each, driver, alone=len(devices) == 1, now=clock()))
    task = asyncio.create_task(wire.run())
    try:
        yield wire, published
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await wire.close()


async def write(wire: Wire, name: str, *writes: Any, timeout_s: float = PATIENCE_S) -> WriteAnswer:
    """What a device answers to a write."""
    answer: asyncio.Future[WriteAnswer] = asyncio.get_running_loop().create_future()

    def answered(result: WriteAnswer) -> None:
        if not answer.done():  # who asked may have been cancelled
            answer.set_result(result)

    wire.write(name, list(writes), time.monotonic() + timeout_s, answered)
    return await asyncio.wait_for(answer, timeout_s + 1.0)
