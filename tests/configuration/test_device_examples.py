"""The configurations of examples/devices, each before words as the real device has them."""

import asyncio
import runpy
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpppod import configuration
from cpppod.modbus import Server
from cpppod.modbus.sunspec import registers
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceFrame
from cpppod.workers.devices.spec import DRIVERS

FOLDER = Path(__file__).parents[2] / "examples" / "devices"
GOOD, ABSENT = int(Quality.GOOD), int(Quality.NOT_IMPLEMENTED)


def floats(*values: float) -> list[int]:
    return list(struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}f", *values)))


HOLDING, INPUT = Table.HOLDING_REGISTERS, Table.INPUT_REGISTERS
Words = dict[tuple[Table, int], list[int]]
DEVICES: dict[str, tuple[Words, dict[str, Any]]] = {
    "eastron-sdm630": (
        {
            (INPUT, 0): floats(230.5, 231.25, 229.75, 1.5, 0.0, 2.25),
            (INPUT, 52): floats(812.5),
            (INPUT, 70): floats(50.0, 1234.5, 12.25),
        },
        {"voltage_l1": 230.5, "current_l3": 2.25, "power": 812.5, "exported": 12.25},
    ),
    "huawei-sun2000": (
        {
            (HOLDING, 32000): [0b110],
            (HOLDING, 32016): [6103, 0x7FFF],
            (HOLDING, 32064): [0, 4711],
            (HOLDING, 32080): [0xFFFF, 0xFFF6],
            (HOLDING, 32085): [5002],
            (HOLDING, 32087): [412],
            (HOLDING, 32089): [512],
            (HOLDING, 32106): [2, 1],
            (HOLDING, 32114): [0, 1234],
        },
        {
            "state_text": "grid-connected, grid-connected normally",
            "pv1_voltage": 610.3,
            "pv1_current": None,
            "input_power": 4711,
            "power": -10,
            "frequency": 50.02,
            "status_text": "on-grid",
            "yield_total": 1310.73,
        },
    ),
    "solaredge": (
        {
            (HOLDING, 40000): registers(
                [1, 103],
                {
                    "1.Mn": "SolarEdge",
                    "103.A": 215,
                    "103.A_SF": -1,
                    "103.W": 543,
                    "103.W_SF": 1,
                    "103.St": 4,
                    "103.VAr": -32768,
                },
            )
        },
        {"Mn": "SolarEdge", "A": 21.5, "W": 5430, "St_text": "MPPT", "VAr": None},
    ),
    "victron-gx": (
        {
            (HOLDING, 800): [0x6162, 0x6364, 0x6566, 0x3031, 0x3233, 0x3435],
            (HOLDING, 817): [950, 0, 0, 0xFF38],
            (HOLDING, 840): [528, 0xFFE2, 0xFF62, 87, 2],
            (HOLDING, 850): [1200],
        },
        {
            "serial": "abcdef012345",
            "grid_l1": -200,
            "battery_voltage": 52.8,
            "battery_current": -3.0,
            "battery_power": -158,
            "battery_state_text": "discharging",
            "pv_power": 1200,
        },
    ),
    "sungrow-sh": (
        {
            (INPUT, 5007): [415],
            (INPUT, 5010): [3800, 0xFFFF],
            (INPUT, 5016): [0x1234, 0x0001],
            (INPUT, 12999): [0x0040],
            (INPUT, 13007): [500, 0, 0xFF38, 0xFFFF],
            (INPUT, 13019): [2104],
            (INPUT, 13022): [965],
        },
        {
            "temperature": 41.5,
            "mppt1_current": None,
            "dc_power": 0x11234,
            "state_text": "running",
            "load_power": 500,
            "export_power": -200,
            "battery_level": 96.5,
        },
    ),
    "schneider-pm5000": (
        {
            (HOLDING, 1844): [26, 11 << 8 | 30, 17 << 8 | 24, 36_000],
            (HOLDING, 2999): floats(12.5),
            (HOLDING, 3027): [0xFFC0, 0],
            (HOLDING, 3059): floats(8.25),
            (HOLDING, 3109): floats(50.0),
            (HOLDING, 3203): [0, 0, 1, 0],
        },
        {
            "clock": "2026-11-30T16:24:36Z",
            "current_a": 12.5,
            "voltage_an": None,
            "delivered": 65.536,
        },
    ),
}


def test_each_example_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(DEVICES)


@pytest.mark.parametrize("name", DEVICES)
def test_a_devices_words_come_out_as_its_manual_says(name: str) -> None:
    words, expected = DEVICES[name]
    plant = configuration.load([FOLDER / f"{name}.toml"], old_files=[]).plant
    device = plant.devices[0]
    tags = {tag.name: tag for group in device.groups for tag in group.tags}

    async def poll(address: str) -> dict[str, Any]:
        spec = DRIVERS.find("modbus-tcp")
        assert spec is not None
        here = replace(device, driver="modbus-tcp", address=address, timeout_s=5.0)
        driver = spec.make(here, None, DeviceFrame())
        await driver.open()
        try:
            samples: dict[str, Any] = {}
            for group in here.groups:
                samples |= await driver.poll(group)
            return samples
        finally:
            await driver.close()

    with Server("127.0.0.1:0", f"{device.unit}:1=0") as server:
        for (table, offset), cells in words.items():
            server.plant.cells(device.unit, table).update(enumerate(cells, offset))
        samples = asyncio.run(poll(server.address))
    for tag, value in expected.items():
        found, quality = samples[tag]
        if value is None:
            assert (found, quality) == (None, ABSENT), tag
        elif isinstance(value, str):
            assert (found, quality) == (value, GOOD), tag
        else:
            assert quality == GOOD, tag
            assert found * tags[tag].scale == pytest.approx(value), tag


def test_the_documented_lines_beside_others_are_those_that_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = Path(__file__).parents[2]
    forms = runpy.run_path(str(root / "bench" / "forms.py"))
    forms["main"]()
    assert capsys.readouterr().out in (root / "docs" / "tags.md").read_text(encoding="utf-8")
