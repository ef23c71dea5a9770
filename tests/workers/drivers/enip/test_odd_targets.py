"""EtherNet/IP devices that misbehave the way real ones do, polled and written by the driver."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality
from cpppod.workers.drivers.enip.driver import EnipDriver, make_driver
from tests.client.hostile_target import hostile_target, wrapped
from tests.patience import PATIENCE_S
from tests.workers.drivers.enip.test_driver import SCADA_1, Ends, asked

SEVEN = bytes.fromhex("cc000000c40007000000")
GOOD = int(Quality.GOOD)


def with_driver(
    address: tuple[str, int], work: Callable[[EnipDriver], Awaitable[Any]], **model: Any
) -> Any:
    async def run() -> Any:
        device = Device("d", "enip", f"{address[0]}:{address[1]}", timeout_s=5.0, model=model)
        driver = make_driver(device)
        await driver.open()
        try:
            return await work(driver)
        finally:
            await driver.close()

    return asyncio.run(run())


def tags(count: int) -> tuple[Tag, ...]:
    return tuple(Tag(f"t{number}", f"T{number}", "DINT") for number in range(count))


def test_a_device_that_closes_after_each_reply_has_all_its_values() -> None:
    requests: list[bytes] = []

    def answer(frame: Frame, request: bytes) -> bytes:
        requests.append(request)
        return wrapped(frame, SEVEN)

    async def work(driver: EnipDriver) -> Any:
        return await driver.poll(Group("g", 1.0, tags(4)))

    with hostile_target(answer, replies=1) as address:
        samples = with_driver(address, work, multiple=False)
    assert samples == {f"t{number}": (7, GOOD) for number in range(4)}
    assert len(requests) <= 7, "what was answered is not asked again"


def test_a_write_after_the_device_closed_goes_over_a_new_connection() -> None:
    written: list[bytes] = []

    def answer(frame: Frame, request: bytes) -> bytes:
        if request[0] == 0x4D:
            written.append(request[-4:])
            return wrapped(frame, b"\xcd\0\0\0")
        return wrapped(frame, SEVEN)

    async def work(driver: EnipDriver) -> list[Any]:
        outcomes = []
        for value in (1, 2, 3):
            outcomes.append(await driver.write([(tags(1)[0], 0, [value])]))
            async with asyncio.timeout(PATIENCE_S):
                while driver._connection is not None and not driver._connection.ended:
                    await asyncio.sleep(0)
        return outcomes

    with hostile_target(answer, replies=1) as address:
        outcomes = with_driver(address, work)
    assert [(outcome.failure, outcome.unknown) for outcome in outcomes] == [(None, False)] * 3
    assert written == [b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0"]


def test_a_device_that_sends_no_context_back_is_polled_written_and_relayed_to() -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        bare = Frame(frame.command, frame.data, frame.session)
        if request[0] == 0x4D:
            return wrapped(bare, b"\xcd\0\0\0")
        return wrapped(bare, SEVEN)

    async def work(driver: EnipDriver) -> Any:
        ends = Ends(driver)
        assert driver.relay(5, 7, [SCADA_1, SCADA_1], asked(), 5.0)
        samples = await driver.poll(Group("g", 1.0, tags(4)))
        outcome = await driver.write([(tags(1)[0], 0, [1])])
        told = [await ends.told.get() for _ in range(2)]
        return samples, outcome, told

    with hostile_target(answer, echoes=False) as address:
        samples, outcome, told = with_driver(address, work, multiple=False)
    assert samples == {f"t{number}": (7, GOOD) for number in range(4)}
    assert outcome.failure is None
    assert sorted(told) == [(5, 7, SEVEN), (5, 8, SEVEN)]
