"""Random faults, two at a time, changing twice a second: never a wrong value, all good after."""

import asyncio
import random
import time

import pytest

from cpppod.protocols.modbus.faults import parse_fault
from cpppod.protocols.model.plant import Line
from tests.workers.devices.plant import (
    Published,
    device,
    make_plant,
    polled,
    registers,
    simulated,
)

TIMEOUT_S = 0.1
KINDS = (
    "late:0-0.19", "silent", "transaction:zero", "transaction:swap", "unit", "protocol",
    "length:3", "length:255", "function:4", "function:0x7f", "count:1", "count:-1", "bytes:3",
    "truncate:2", "exception:2", "exception:4", "busy", "acknowledge", "nocode",
    "noise-before:5", "noise-after:5", "echo", "drip:0.002", "split:0.01", "half-open",
)  # fmt: skip
TCP_ONLY = ("twice", "stale")  # on a line nothing tells a repeated reply from the next one's
CELLS = 60


def wrong(published: Published) -> int:
    return sum(
        value != 1000 + int(tag[1:])
        for block in published.blocks
        for tag, (value, quality) in block.samples.items()
        if quality == 0
    )


async def chaos(seconds: float, seed: int, *, rtu: bool) -> None:
    dice = random.Random(seed)
    plant = make_plant(*(f"HR:{at}={1000 + at}" for at in range(CELLS)))
    kinds = KINDS if rtu else KINDS + TCP_ONLY
    keys = {
        "timeout_s": TIMEOUT_S,
        "period_s": 0.01,
        "demote_after": 10**6,
        "model": {"gap_registers": 0, "max_registers": 7, "quarantine_retry_s": 1},
    }
    tags = registers(0, CELLS, type="UINT")
    async with simulated(plant, rtu=rtu) as (_, address):
        line = Line("line", f"rtu-over-tcp://{address}") if rtu else None
        driver = "modbus-rtu" if rtu else "modbus-tcp"
        where = "line" if rtu else address
        async with polled(device("d", where, tags, driver=driver, **keys), line=line) as (
            wire,
            published,
        ):
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                plant.faults.clear()
                for kind in dice.sample(kinds, 2):
                    plant.faults.add(parse_fault(f"{kind},rate={dice.choice((0.05, 0.2, 0.5))}"))
                await asyncio.sleep(0.5)
            plant.faults.clear()
            await published.until(
                lambda: all(quality == 0 for _, quality in published.values.values()), 20.0
            )
            assert wire.errors == 0
    assert wrong(published) == 0, f"seed {seed}"


@pytest.mark.parametrize("rtu", [False, True], ids=["TCP", "RTU"])
def test_no_fault_makes_a_wrong_value(rtu: bool) -> None:
    asyncio.run(chaos(3.0, 20261122, rtu=rtu))


@pytest.mark.campaign
@pytest.mark.parametrize("rtu", [False, True], ids=["TCP", "RTU"])
def test_no_fault_makes_a_wrong_value_in_150_seconds(rtu: bool) -> None:
    asyncio.run(chaos(150.0, time.monotonic_ns(), rtu=rtu))
