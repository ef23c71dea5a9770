"""Devices that a gateway says are not there, and refusals that are remembered: never an answer."""

import asyncio
import struct
from typing import Any

import pytest

from cpppod.protocols.cip.status import ConnectionStatus
from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Group, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.control.table import WorkerTable
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.jobs import clock
from cpppod.workers.devices.samples import GroupImage
from cpppod.workers.devices.wire import Wire
from tests.client.hostile_target import hostile_target, wrapped
from tests.workers.control.test_table import beat
from tests.workers.devices.plant import (
    SILENT_S,
    device,
    make_plant,
    polled,
    registers,
    simulated,
    write,
)
from tests.workers.drivers.enip.test_driver import device_at, with_driver

UNITS = ("1:40001-40010=7", "9:40001-40010=9")
NO_UNIT = "the gateway says no such unit (0x0B)"


def shown(wire: Wire, name: str) -> tuple[str, str, int]:
    """State and last error as control shows them, and `cpppod_device_up`."""
    found = wire.devices[name]
    told = found.state_map(clock(), wire.connection_map())
    table = WorkerTable()
    table.expect({"p": "poller"}, 0.0)
    table.receive_beat("p", beat("p", 1, devices={name: told}), 0.0)
    rows = found.metrics(up=wire.is_up(found), now=clock())
    (up,) = (row[2] for row in rows if row[0] == "cpppod_device_up")
    return table.devices()[name]["state"], told["last_error"], up


def answered_requests(wire: Wire, name: str) -> int:
    return sum(wire.devices[name].counters.requests.values())


@pytest.mark.parametrize(
    ("code", "text"), [(11, NO_UNIT), (10, "the gateway has no path to the unit (0x0A)")]
)
def test_a_unit_that_its_gateway_denies_is_offline_demoted_and_back_when_it_answers(
    code: int, text: str
) -> None:
    async def scenario() -> None:
        plant = make_plant(*UNITS, faults=(f"exception:{code},unit=9",))
        async with simulated(plant) as (_, address):
            units = [
                device(f"u{unit}", address, registers(0, 3), unit=unit, retries=0)
                for unit in (1, 9)
            ]
            async with polled(*units) as (wire, published):
                health = wire.devices["u9"].health
                await published.until(lambda: health.state == "demoted")
                assert shown(wire, "u9") == ("offline", text, 0)
                assert published.values["u9.r0"][1] >> 8 & 0xFF == code
                assert shown(wire, "u1")[0::2] == ("online", 1)
                plant.faults.clear()
                await published.until(lambda: published.value("u9.r0") == 9)
                assert shown(wire, "u9")[0::2] == ("online", 1)

    asyncio.run(scenario())


def test_a_unit_is_offline_from_its_gateways_first_no_on() -> None:
    async def scenario() -> None:
        plant = make_plant(*UNITS, faults=("exception:11,unit=9",))
        async with simulated(plant) as (_, address):
            keys = {"unit": 9, "retries": 0, "demote_after": 10**6}
            async with polled(device("u9", address, registers(0, 3), **keys)) as (wire, published):
                await published.until(lambda: bool(published.blocks))
                assert wire.devices["u9"].health.state == "degraded"
                assert shown(wire, "u9") == ("offline", NO_UNIT, 0)
                await published.until_blocks(1)
                assert wire.connection_map()["state"] == "open"

    asyncio.run(scenario())


@pytest.mark.parametrize(("code", "unknown"), [(11, True), (10, False), (5, True), (6, False)])
def test_a_write_that_a_gateway_answers_is_unknown_where_the_unit_may_have_it(
    code: int, unknown: bool
) -> None:
    async def scenario() -> None:
        plant = make_plant(*UNITS)
        async with simulated(plant) as (_, address):
            tags = registers(0, 3, writable=True)
            async with polled(device("u9", address, tags, unit=9)) as (wire, published):
                await published.until(lambda: published.quality("u9.r0") == 0)
                plant.faults.add(parse_fault(f"exception:{code},function=6"))
                answer = await write(wire, "u9", ["r0", 0, [1]])
                failure = Failure.ABSENT if code > 9 else Failure.EXCEPTION
                assert (answer.failure, answer.unknown) == (failure, unknown)
                assert answer.codes == (code,)

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [5, 6])
def test_a_unit_that_only_ever_says_busy_is_demoted(code: int) -> None:
    async def scenario() -> None:
        plant = make_plant(*UNITS, faults=(f"exception:{code},unit=9",))
        async with simulated(plant) as (_, address):
            keys: dict[str, Any] = {"unit": 9, "retries": 0, "model": {"busy_retries": 0}}
            async with polled(device("u9", address, registers(0, 3), **keys)) as (wire, published):
                await published.until(lambda: wire.devices["u9"].health.state == "demoted")
                assert shown(wire, "u9")[2] == 0
                assert published.values["u9.r0"][1] >> 8 & 0xFF == code

    asyncio.run(scenario())


def test_a_device_that_dies_after_all_its_tags_were_refused_is_demoted() -> None:
    async def scenario() -> None:
        plant = make_plant("40100=1")  # none of the tags
        async with simulated(plant) as (_, address):
            keys = {"retries": 0, "timeout_s": SILENT_S}
            async with polled(device("d", address, registers(0, 3), **keys)) as (wire, published):
                refused = Quality.NOT_CONFIGURED
                await published.until(lambda: published.quality("d.r2") == refused)
                assert shown(wire, "d")[0] == "online"
                plant.faults.add(parse_fault("silent"))
                await published.until(lambda: wire.devices["d"].health.state == "demoted")
                assert published.quality("d.r0") == Quality.TIMEOUT

    asyncio.run(scenario())


def test_a_dead_device_whose_first_tag_was_refused_is_not_back_without_an_answer() -> None:
    async def scenario() -> None:
        plant = make_plant("40002-40010=7")  # the first tag, which probes read, is missing
        async with simulated(plant) as (_, address):
            keys = {"retries": 0, "timeout_s": 0.05}
            async with polled(device("d", address, registers(0, 5), **keys)) as (wire, published):
                await published.until(lambda: published.quality("d.r1") == 0)
                plant.faults.add(parse_fault("silent"))
                health = wire.devices["d"].health
                await published.until(lambda: health.state == "demoted")
                asked = answered_requests(wire, "d")
                while answered_requests(wire, "d") == asked:  # a probe in vain
                    await asyncio.sleep(0.02)
                assert health.state == "demoted"
                plant.faults.clear()
                await published.until(lambda: health.state == "online")

    asyncio.run(scenario())


GROUP = Group("g", 1.0, (Tag("one", "A", "INT"), Tag("two", "B", "INT")))
ROUTE = [
    ConnectionStatus.LINK_ADDRESS_NOT_VALID,
    ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT,
    ConnectionStatus.CONNECTION_TIMED_OUT,
    0x0311,
]


@pytest.mark.parametrize("extended", ROUTE)
def test_what_the_connection_manager_says_of_a_route_is_no_answer_of_its_end(extended: int) -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        return wrapped(frame, b"\xd2\0\1\1" + struct.pack("<H", extended) + b"\1\0\1\0")

    async def work(driver: Any) -> tuple[DeviceError, Any]:
        with pytest.raises(DeviceError) as caught:
            await driver.poll(GROUP)
        return caught.value, await driver.write([(GROUP.tags[0], 0, [1])])

    with hostile_target(answer) as address:
        error, outcome = with_driver(device_at(address, route_path="1/5"), work)
    assert (error.failure, error.codes) == (Failure.ABSENT, (1, extended))
    assert error.connected and f"(0x01/0x{extended:04X})" in error.text
    assert outcome.failure is Failure.ABSENT
    assert outcome.unknown == (extended in (0x0203, 0x0204))


def test_the_same_status_of_a_device_without_a_route_is_its_own_answer() -> None:
    def answer(frame: Frame, request: bytes) -> bytes:
        return wrapped(frame, bytes((request[0] | 0x80, 0, 1, 1)) + b"\x12\3")

    with hostile_target(answer) as address:
        samples = with_driver(device_at(address), lambda driver: driver.poll(GROUP))
    assert samples["one"][1] & 0xFF == Quality.DEVICE_STATUS


def test_no_value_is_never_good_whatever_a_driver_says() -> None:
    image = GroupImage(Group("g", 1.0, (Tag("a", "1"), Tag("b", "2", "REAL"))))
    image.accept({"a": (None, 0), "b": (None, 0)})
    assert image.last == dict.fromkeys("ab", (None, int(Quality.BAD_REPLY)))
    refused = quality(Quality.DEVICE_STATUS, status=2)
    image.accept({"a": (None, refused), "b": (None, refused)})
    assert image.last == dict.fromkeys("ab", (None, refused))
