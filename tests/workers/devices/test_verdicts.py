"""Misbehaving devices as `modbus_sim --fault` makes them, and the gateway's verdict in words."""

import asyncio

import pytest

from cpppod.protocols.model.values import explain
from tests.workers.devices.plant import (
    SILENT_S,
    device,
    make_plant,
    polled,
    registers,
    simulated,
)

WELL = "good"
SILENT = "device did not answer in time"
WRONG = "device's reply does not answer the request"
VERDICTS = [  # fault, the quality of a value in words, what the device's state says
    ("silent", SILENT, "unit 1: no reply in 0.2 s"),
    ("late:9", SILENT, "unit 1: no reply in 0.2 s"),
    ("half-open", SILENT, "unit 1: no reply in 0.2 s"),
    ("truncate:2", SILENT, "unit 1: no reply in 0.2 s"),
    ("transaction:7", SILENT, "unit 1: no reply in 0.2 s"),
    ("unit:5", WRONG, "unit 1: the reply came from unit 5"),
    ("protocol:9", WRONG, "protocol 9 is not Modbus"),
    ("length:9999", WRONG, "a message of 9999 bytes"),
    ("bytes:3", WRONG, "unit 1: "),
    ("count:2", WRONG, "unit 1: "),
    ("nocode", WRONG, "unit 1: "),
    ("exception:4", "device refused (status 0x04)", ""),
    ("busy", "device refused (status 0x06)", ""),
    ("exception:2", "device knows no such address (status 0x02)", ""),
    ("hang-up", WELL, ""),
    ("split:0.001", WELL, ""),
    ("drip:0.001", WELL, ""),
    ("noise-after:a5", WELL, ""),
    ("limit:1", WELL, ""),
    ("twice", WELL, ""),
]


@pytest.mark.parametrize(("fault", "quality", "words"), VERDICTS, ids=[v[0] for v in VERDICTS])
def test_the_verdict_on_a_misbehaving_device_is_said(fault: str, quality: str, words: str) -> None:
    async def scenario() -> None:
        plant = make_plant("40001-40010=7", faults=(fault,))
        quick = {"timeout_s": SILENT_S, "retries": 0, "demote_after": 100}
        async with (
            simulated(plant) as (_, address),
            polled(device("d", address, registers(0, 3), **quick)) as (wire, published),
        ):
            await published.until_blocks(1)
            assert explain(published.values["d.r0"][1]) == quality
            assert wire.devices["d"].counters.last_error.startswith(words)
            if quality == WELL:
                assert published.value("d.r0") == 7

    asyncio.run(scenario())
