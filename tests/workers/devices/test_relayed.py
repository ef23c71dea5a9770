"""Groups to an EtherNet/IP device over a wire: devices that close, restart, and are replaced."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cpppod.protocols.bus.groups import RouteGroup, sizes_of
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.model.plant import Device
from cpppod.simulator import Settings, Simulator
from cpppod.workers.devices.device import PolledDevice
from cpppod.workers.devices.jobs import clock
from cpppod.workers.devices.wire import Wire
from cpppod.workers.drivers.enip.driver import make_driver
from cpppod.workers.transport.enip_endpoint import Limits
from tests.enip_frames import read
from tests.patience import PATIENCE_S
from tests.ports import free_port

TAGS = ["A=DINT[200]"]


class Asker:
    """Asks for elements of A, and keeps the ledger of what was answered."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.answers: list[tuple[int, bytes]] = []  # (element, reply), as they came

    async def ask(self, elements: Sequence[int], timeout_s: float = PATIENCE_S) -> None:
        """Returns when each of them is answered; twice is an error."""
        open_yet = set(range(len(elements)))
        done = asyncio.get_running_loop().create_future()

        def answer(first: int, replies: Sequence[bytes], credit: int) -> None:
            for place, reply in enumerate(replies, first):
                open_yet.remove(place)
                self.answers.append((elements[place], reply))
            if not open_yet:
                done.set_result(None)

        bodies = [read(f"A[{element}]") for element in elements]
        deadline_us = int((time.monotonic() + timeout_s) * 1e6)
        sizes, joined = sizes_of(bodies), b"".join(bodies)
        group = RouteGroup(1, "", deadline_us, 5, 157, b"", sizes, joined)
        self._wire.forward("plc", group, answer)
        await asyncio.wait_for(done, PATIENCE_S)

    def right(self) -> list[int]:
        """The elements that were answered with a value."""
        return [element for element, reply in self.answers if not reply[2]]

    def statuses(self) -> set[tuple[int, tuple[int, ...]]]:
        """What was answered; a value that is not its element's is an error."""
        found = set()
        for element, reply in self.answers:
            decoded = MessageRouterReply.decode(reply)
            if not decoded.status:
                assert decoded.data == b"\xc4\0" + element.to_bytes(4, "little")
            found.add((decoded.status, tuple(decoded.extended)))
        return found


@asynccontextmanager
async def asked(address: tuple[str, int]) -> AsyncIterator[Asker]:
    """A wire to the device, which nobody polls."""
    device = Device("plc", "enip", f"{address[0]}:{address[1]}", timeout_s=PATIENCE_S)
    driver = make_driver(device)
    wire = Wire(
        "wire", driver, publish=lambda block: (b"", b""), address=device.address,
        concurrency=driver.concurrency,
    )  # fmt: skip
    wire.add(PolledDevice(device, driver, alone=True, now=clock()))
    task = asyncio.create_task(wire.run())
    try:
        yield Asker(wire)
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await wire.close()


async def started(**settings: object) -> Simulator:
    plc = Simulator(TAGS, Settings(udp=False, **settings))  # type: ignore[arg-type]
    await plc.start()
    plc["A"] = list(range(200))
    return plc


def test_first_request_after_the_device_closed_a_silent_session_is_answered() -> None:
    async def scenario() -> None:
        plc = await started(limits=Limits(idle_s=0.01))
        endpoint = plc._endpoint
        assert endpoint is not None
        async with asked(plc.address) as asker:
            for _ in range(4):
                cut = endpoint.rejected["idle"]
                await asker.ask(range(20))
                async with asyncio.timeout(PATIENCE_S):
                    while endpoint.rejected["idle"] == cut:
                        await asyncio.sleep(0.01)
            assert asker.statuses() == {(0, ())}
            assert len(asker.answers) == 80
        await plc.stop()

    asyncio.run(scenario())


def test_each_request_is_answered_once_while_the_device_restarts() -> None:
    async def scenario() -> None:
        address = f"127.0.0.1:{free_port()}"
        plc = await started(address=address)
        over = asyncio.Event()
        requests = 0

        async def ask(asker: Asker) -> None:
            nonlocal requests
            while not over.is_set():
                elements = [(requests * 7 + place) % 200 for place in range(50)]
                requests += len(elements)
                await asker.ask(elements)
                await asyncio.sleep(0.001)  # while it is away the answer comes at once

        async with asked(plc.address) as asker:
            asking = asyncio.create_task(ask(asker))
            for _ in range(4):
                right = len(asker.right())
                async with asyncio.timeout(PATIENCE_S):
                    while len(asker.right()) < right + 200:
                        await asyncio.sleep(0.005)
                await plc.stop()
                plc = await started(address=address)
            over.set()
            await asking
            assert len(asker.answers) == requests
            assert asker.statuses() <= {(0, ()), (1, (0x0204,)), (1, (0x0312,))}
        await plc.stop()

    asyncio.run(scenario())


def test_device_that_is_removed_answers_what_is_out_and_what_waits() -> None:
    async def scenario() -> None:
        plc = await started()
        async with asked(plc.address) as asker:
            await asker.ask([1])
            plc.delay = (PATIENCE_S, PATIENCE_S)
            asking = asyncio.create_task(asker.ask(range(30)))
            wire = asker._wire
            async with asyncio.timeout(PATIENCE_S):
                while not wire._relayed:
                    await asyncio.sleep(0.005)
            wire.remove("plc")
            await asking
            assert {status for status, _ in asker.statuses()} == {0, 1}
            assert len(asker.answers) == 31
        await plc.stop()

    asyncio.run(scenario())


def test_wire_that_is_closed_answers_what_is_out_and_what_waits() -> None:
    async def scenario() -> None:
        plc = await started()
        async with asked(plc.address) as asker:
            await asker.ask([1])
            plc.delay = (PATIENCE_S, PATIENCE_S)
            asking = asyncio.create_task(asker.ask(range(30)))
            async with asyncio.timeout(PATIENCE_S):
                while not asker._wire._relayed:
                    await asyncio.sleep(0.005)
        await asking
        assert asker.statuses() == {(0, ()), (1, (0x0204,))}
        await plc.stop()

    asyncio.run(scenario())


def test_deadline_is_kept_where_the_device_does_not_answer() -> None:
    async def scenario() -> None:
        plc = await started()
        async with asked(plc.address) as asker:
            await asker.ask([1])
            plc.delay = (PATIENCE_S, PATIENCE_S)
            await asker.ask(range(30), timeout_s=0.2)
            assert asker.statuses() == {(0, ()), (1, (0x0204,)), (1, (0x0301,))}
        await plc.stop()

    asyncio.run(scenario())
