"""One line at 19,200 baud with 31 units, one of them dead, one slow, and four writers."""

import asyncio
from pathlib import Path

import pytest

from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.model.plant import Device, Group, Line, Tag
from cpppod.workers.devices.jobs import WriteAnswer, clock
from cpppod.workers.devices.wire import Wire
from cpppod.workers.simulators.modbus.simulator import PortEndpoint, Simulator
from tests.paced_pty import PacedLine
from tests.patience import PATIENCE_S
from tests.workers.devices.plant import Published, make_plant, polled, write

UNITS = range(1, 32)
DEAD, SLOW = 13, 7
WRITERS = (1, 10, 20, 30)
PERIOD_S = 1.0
WRITE_EVERY_S = 1.0


def unit(number: int) -> Device:
    tags = (Tag("a", "40001"), Tag("b", "40002", writable=True))
    return Device(
        f"u{number}",
        "modbus-rtu",
        "line",
        unit=number,
        timeout_s=0.2 if number == DEAD else 2.0,
        groups=(Group("fast", PERIOD_S, tags),),
    )


def cycles(wire: Wire) -> dict[str, int]:
    return {
        name: device.counters.groups["fast"].cycles
        for name, device in wire.devices.items()
        if name != f"u{DEAD}"
    }


async def work(
    folder: Path, seconds: float, *, dead: bool, least: int = 0
) -> tuple[dict[str, int], PacedLine, list[WriteAnswer], Published]:
    """Cycles of the live units in so many seconds after the line has settled.

    Args:
        least: go on until each of them has so many.
    """
    line = PacedLine(folder)
    plant = make_plant(*(f"{number}:40001-40002={number}" for number in UNITS))
    plant.faults.add(parse_fault(f"late:0.1,unit={SLOW}"))
    if dead:
        plant.faults.add(parse_fault(f"silent,unit={DEAD}"))
    simulator = Simulator(plant)
    await simulator.serve(PortEndpoint(plant, Line("units", str(line.units.link))))
    answers: list[WriteAnswer] = []

    async def writer(wire: Wire, number: int) -> None:
        value = 0
        while True:
            value += 1
            answers.append(await write(wire, f"u{number}", ["b", 0, [value]]))
            await asyncio.sleep(WRITE_EVERY_S)

    port = Line("line", str(line.gateway.link))
    async with polled(*(unit(number) for number in UNITS), line=port) as (wire, published):
        lost = wire.devices[f"u{DEAD}"]
        await published.until(lambda: min(cycles(wire).values()) >= 1)
        if dead:
            await published.until(lambda: lost.health.state == "demoted")
        writers = [asyncio.create_task(writer(wire, number)) for number in WRITERS]
        before, started_s = cycles(wire), clock().mono_s

        def done() -> bool:
            fewest = min(now - before[name] for name, now in cycles(wire).items())
            return clock().mono_s - started_s >= seconds and fewest >= least

        await published.until(done, seconds + PATIENCE_S)
        after = cycles(wire)
        for task in writers:
            task.cancel()
    await simulator.close()
    line.close()
    return {name: after[name] - before[name] for name in after}, line, answers, published


def check(result: tuple[dict[str, int], PacedLine, list[WriteAnswer], Published]) -> None:
    _, line, answers, published = result
    assert line.collisions == 0
    assert answers
    failed = [answer for answer in answers if answer.failure is not None]
    assert all(answer.unknown for answer in failed)  # a busy machine may miss a reply: it says so
    for block in published.blocks:
        number = int(block.device[1:])
        for tag, (value, quality) in block.samples.items():
            assert quality or tag == "b" or value == number


def test_31_units_share_a_line_without_a_collision_and_the_dead_one_costs_nobody(
    tmp_path: Path,
) -> None:
    check(asyncio.run(work(tmp_path, 4.0, dead=True, least=3)))


@pytest.mark.campaign
def test_live_units_keep_their_rate_within_5_percent_with_a_dead_one(tmp_path: Path) -> None:
    counts = {False: 0, True: 0}
    for number in range(6):  # in turn, so that what else the machine does strikes both alike
        dead = bool(number % 2)
        result = asyncio.run(work(tmp_path, 20.0, dead=dead))
        check(result)
        assert sum(answer.failure is not None for answer in result[2]) <= 0.02 * len(result[2])
        counts[dead] += sum(result[0].values())
    print(f"cycles in 60 s: {counts[False]} with all alive, {counts[True]} with one dead")
    assert counts[True] >= 0.95 * counts[False]
