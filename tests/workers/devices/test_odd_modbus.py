"""Modbus devices that misbehave the way real ones do, polled and written over a wire."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Line, Tag
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.wire import Wire
from tests.workers.devices.plant import (
    SILENT_S,
    Published,
    device,
    make_plant,
    polled,
    registers,
    simulated,
    simulated_line,
    tcp_endpoint,
    write,
)

HOLDING = Table.HOLDING_REGISTERS
FAR = registers(0, 2, writable=True) + registers(500, 2) + registers(900, 2)  # three requests


def answered(wire: Wire, result: str = "ok") -> int:
    """How many reads of the device had that result."""
    return wire.devices["d"].counters.requests["read", result]


async def until_all_good(published: Published, tags: tuple[Tag, ...]) -> None:
    """Return when every tag has a good value."""
    await published.until(lambda: all(published.quality(f"d.{tag.name}") == 0 for tag in tags))


def test_a_device_that_closes_after_each_reply_has_all_its_values_and_is_written() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-41000=7", faults=("hang-up",))
        async with (
            simulated(plant) as (simulator, address),
            polled(device("d", address, FAR)) as (wire, published),
        ):
            await until_all_good(published, FAR)
            await published.until_blocks(6)
            for value in range(5):
                answer = await write(wire, "d", ["r0", 0, [value]])
                assert (answer.failure, answer.unknown) == (None, False)
                assert published.value("d.r0") == value
            assert all(quality == 0 for _, quality in published.values.values())
            assert tcp_endpoint(simulator).connections >= answered(wire)
            requests = wire.devices["d"].counters.requests
            lost = requests["read", "closed"] + requests["write", "closed"]
            assert lost <= 2, "after two, its end is waited for"

    asyncio.run(scenario())


def test_a_write_after_the_device_closed_an_idle_connection_goes_over_a_new_one() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7", faults=("hang-up:0.05",))
        slow = {"period_s": 3600.0}
        async with (
            simulated(plant) as (simulator, address),
            polled(device("d", address, FAR[:2], **slow)) as (wire, published),
        ):
            await until_all_good(published, FAR[:2])
            endpoint = tcp_endpoint(simulator)
            for value in (1, 2, 3):
                while endpoint.peers:
                    await asyncio.sleep(0.01)
                answer = await write(wire, "d", ["r0", 0, [value]])
                assert (answer.failure, plant.cells(None, HOLDING)[0]) == (None, value)

    asyncio.run(scenario())


def test_a_write_that_was_sent_is_not_sent_again_where_the_connection_then_ends() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7")
        slow = {"period_s": 3600.0}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, FAR[:2], **slow)) as (wire, published),
        ):
            await until_all_good(published, FAR[:2])
            sent: list[str] = []
            plant.log = sent.append
            for fault in ("hang-up,function=6", "silent,function=6"):
                plant.faults.add(parse_fault(fault))
            answer = await write(wire, "d", ["r0", 0, [9]])
            assert answer.unknown
            assert answer.failure is Failure.LOST
            assert sum(line[14:16] == "06" for line in sent) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_hole_refused_by_any_exception_is_found_and_the_other_tags_are_good(code: int) -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40050=7", faults=(f"exception:{code},address=20",))
        tags = registers(0, 50)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until_blocks(1)
            bad = {tag: s for tag, s in published.blocks[0].samples.items() if s[1] != 0}
            assert list(bad) == ["r20"]
            assert bad["r20"][1] >> 8 & 0xFF == code
            (named,) = wire.devices["d"].driver.describe()["quarantined"]
            assert named[0] == "r20"
            assert f"exception {code}" in named[1]

    asyncio.run(scenario())


def test_which_exceptions_mean_an_address_is_the_device_s_to_say() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7", faults=("exception:4,address=5",))
        only = {"options": {"address_exceptions": [2]}}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, registers(0, 10), **only)) as (_, published),
        ):
            await published.until_blocks(1)
            assert {quality & 0xFF for _, quality in published.values.values()} == {
                int(Quality.DEVICE_STATUS)
            }

    asyncio.run(scenario())


@pytest.mark.parametrize("hole", ["3", "5", "0", "9"])
def test_a_hole_that_is_not_answered_is_found_while_the_unit_answers_others(hole: str) -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7", faults=(f"silent,address={hole}",))
        tags = tuple(tag for tag in registers(0, 10) if tag.name != "r5")
        good = tuple(tag for tag in tags if tag.name != f"r{hole}")
        fast = {"timeout_s": SILENT_S, "demote_after": 2}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags, **fast)) as (wire, published),
        ):
            await until_all_good(published, good)
            described = wire.devices["d"].driver.describe()
            if hole == "5":  # nobody's: the reads go round it
                assert described["quarantined"] == []
                return
            await published.until(lambda: bool(wire.devices["d"].driver.describe()["quarantined"]))
            (named,) = wire.devices["d"].driver.describe()["quarantined"]
            assert named == [f"r{hole}", f"HR:{hole}: no reply, while the unit answers others"]
            assert wire.devices["d"].driver.describe()["boundaries_learnt"] == []

    asyncio.run(scenario())


def test_a_device_that_starts_has_values_within_two_periods_of_its_return() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-41000=7", "1-16=1", faults=("exception:2",))
        tags = (*FAR, Tag("coil", "1", type="BOOL"))
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.r0") == Quality.NOT_CONFIGURED)
            while answered(wire, "exception") < 20:
                await asyncio.sleep(0.02)
            assert wire.devices["d"].driver.describe()["quarantined"] == []
            blocks = len(published.blocks)
            plant.faults.clear()
            await until_all_good(published, tags)
            assert len(published.blocks) <= blocks + 2

    asyncio.run(scenario())


def test_a_part_of_a_device_that_starts_later_is_back_as_soon() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-41000=7", faults=("exception:2,address=500-999",))
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, FAR)) as (wire, published),
        ):
            await published.until(lambda: published.quality("d.r900") == Quality.NOT_CONFIGURED)
            assert published.quality("d.r0") == 0
            cycles = wire.devices["d"].counters.groups["fast"]
            plant.faults.clear()
            done = cycles.cycles
            await until_all_good(published, FAR)
            assert cycles.cycles <= done + 3  # one may have begun before

    asyncio.run(scenario())


@pytest.mark.parametrize(("limit", "code"), [(20, 3), (20, 2), (7, 1)])
def test_a_limit_on_contiguous_registers_is_learnt(limit: int, code: int) -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40100=7", faults=(f"limit:{limit}:{code}",))
        tags = registers(0, 100)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await until_all_good(published, tags)
            driver = wire.devices["d"].driver
            groups = wire.devices["d"].counters.groups["fast"]
            refused, cycles = answered(wire, "exception"), groups.cycles
            while groups.cycles < cycles + 3:  # with none that is refused
                if answered(wire, "exception") > refused:
                    refused, cycles = answered(wire, "exception"), groups.cycles
                await asyncio.sleep(0.02)
            assert driver.describe()["limits_learnt"] == {"registers": limit}
            assert driver.describe()["requests_per_cycle"] == -(-100 // limit)
            assert driver.describe()["quarantined"] == []
            assert all(quality == 0 for _, quality in published.values.values())

    asyncio.run(scenario())


def test_two_ranges_that_touch_and_may_not_be_read_as_one_become_a_boundary() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40100=7")
        answer = plant.faults.strike

        def strike(message: Any) -> Any:
            if message.touches(36, 36) and message.touches(37, 37):
                return parse_exception(message)
            return answer(message)

        def parse_exception(message: Any) -> Any:
            from dataclasses import replace

            return replace(message, pdu=bytes((message.pdu[0] | 0x80, 2)))

        plant.faults.strike = strike  # type: ignore[method-assign]
        plant.faults.add(parse_fault("late:0"))
        tags = registers(30, 40)
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, tags)) as (wire, published),
        ):
            await until_all_good(published, tags)
            driver = wire.devices["d"].driver
            while driver.describe()["boundaries_learnt"] != ["HR:37"]:
                await asyncio.sleep(0.02)
            assert all(quality == 0 for _, quality in published.values.values())

    asyncio.run(scenario())


def test_a_write_reads_back_what_was_written_and_no_more() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-41000=7")
        slow = {"period_s": 3600.0}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, FAR, **slow)) as (wire, published),
        ):
            await until_all_good(published, FAR)
            read, first = answered(wire), published.blocks[-1]
            plant.cells(None, HOLDING)[500] = 8
            answer = await write(wire, "d", ["r0", 0, [9]])
            assert answer.failure is None
            block = published.blocks[-1]
            assert (block.samples, block.count) == ({"r0": (9, 0)}, len(FAR))
            assert block.source_us > first.source_us
            assert block.mono_us == first.mono_us, "the others are as old as they are"
            assert answered(wire) == read + 1

    asyncio.run(scenario())


def test_after_an_unknown_outcome_the_writes_behind_it_to_other_devices_go_on(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        link = str(tmp_path / "line")
        plant = make_plant("1:40001-40010=7", "2:40001-40010=7")
        tags = registers(0, 2, writable=True)
        keys: dict[str, Any] = {"driver": "modbus-rtu", "period_s": 3600.0, "timeout_s": 0.5}
        mute = device("mute", "line", tags, unit=1, **keys)
        other = device("other", "line", tags, unit=2, **keys)
        async with (
            simulated_line(plant, link),
            polled(mute, other, line=Line("line", link)) as (wire, published),
        ):
            await published.until(lambda: published.quality("mute.r0") == 0)
            await published.until(lambda: published.quality("other.r0") == 0)
            plant.faults.add(parse_fault("silent,unit=1"))
            first = asyncio.create_task(write(wire, "mute", ["r0", 0, [1]]))
            await asyncio.sleep(0)
            second = await write(wire, "other", ["r0", 0, [2]])
            assert (await first).unknown
            assert (second.failure, second.unknown) == (None, False)
            assert plant.cells(2, HOLDING)[0] == 2

    asyncio.run(scenario())


def test_a_reply_of_another_unit_says_so_and_a_device_may_be_told_to_reply_so() -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7", faults=("unit:5",))
        tags = registers(0, 2)
        quick = {"timeout_s": SILENT_S}
        async with simulated(plant) as (_, address):
            async with polled(device("d", address, tags, **quick)) as (wire, published):
                await published.until(lambda: published.quality("d.r0") == Quality.BAD_REPLY)
                text = wire.devices["d"].counters.last_error
                assert text == "unit 1: the reply came from unit 5"
            told = {**quick, "options": {"reply_unit": 5}}
            async with polled(device("d", address, tags, **told)) as (_, published):
                await until_all_good(published, tags)

    asyncio.run(scenario())
