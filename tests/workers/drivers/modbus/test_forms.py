"""What real units need: powers of ten, sentinels, texts, write-only cells, identity, repeats."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpppod import configuration
from cpppod.configuration import ConfigurationError
from cpppod.modbus import Server
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Tag
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceFrame
from cpppod.workers.devices.spec import DRIVERS

CONFIGURATION = """
[device.m]
driver = "modbus-tcp"
address = "127.0.0.1:1"

[[device.m.group]]
name = "g"
period = "1s"
tags = [
  { name = "power", address = 40001, scale_from = "40002", writable = true, unavailable = [-32768]},
    { name = "amps", address = 40003, type = "UINT", scale_from = "40002" },
    { name = "state", address = 40004, type = "UINT", texts = { 1 = "off", 4 = "running" } },
    { name = "events", address = 40005, type = "UINT", flags = { 0 = "ground fault" } },
    { name = "command", address = 40006, type = "UINT", writable = true, write_only = true },
    { name = "high", address = "40007.15", encoding = "inverted", writable = true },
    { name = "bad", address = 40008, type = "UINT", encoding = "bcd" },
    { name = "vendor", address = "ID:0", type = "STRING" },
    { name = "none", address = "ID:200", type = "STRING" },
    { name = "coil", address = "CO:0", type = "BOOL", encoding = "inverted", writable = true },
]

[[device.m.group]]
name = "strings"
period = "1s"
repeat = { count = 2, step = 2 }
tags = [{ name = "volts", address = 40021, type = "UINT", scale = 0.1 }]
"""
GOOD = int(Quality.GOOD)


def loaded(tmp_path: Path, text: str = CONFIGURATION) -> Device:
    path = tmp_path / "cpppod.toml"
    path.write_text(text)
    return configuration.load([path], old_files=[]).plant.devices[0]


@pytest.fixture
def server() -> Iterator[Server]:
    cells = "40001=543 40002=1 40003=7 40004=4 40005=3 40006=99 40007=0 40008=65535"
    with Server("127.0.0.1:0", *f"{cells} 40021=2300 40023=2310 1=0".split()) as running:
        yield running


def driven(
    server: Server, device: Device, work: Callable[[Any, dict[str, Tag]], Awaitable[Any]]
) -> Any:
    async def run() -> Any:
        spec = DRIVERS.find("modbus-tcp")
        assert spec is not None
        device_here = replace(device, address=server.address, timeout_s=5.0)
        driver = spec.make(device_here, None, DeviceFrame())
        await driver.open()
        try:
            tags = {tag.name: tag for group in device.groups for tag in group.tags}
            return await work(driver, tags)
        finally:
            await driver.close()

    return asyncio.run(run())


def polled(server: Server, device: Device, group: int = 0) -> dict[str, Any]:
    async def work(driver: Any, tags: dict[str, Tag]) -> Any:
        return await driver.poll(device.groups[group])

    found: dict[str, Any] = driven(server, device, work)
    return found


def test_a_group_is_read_with_all_that_its_registers_mean(tmp_path: Path, server: Server) -> None:
    device = loaded(tmp_path)
    assert polled(server, device) == {
        "power": (5430, GOOD),
        "amps": (70, GOOD),
        "state": (4, GOOD),
        "state_text": ("running", GOOD),
        "events": (3, GOOD),
        "events_text": ("ground fault, bit 1", GOOD),
        "command": (None, int(Quality.NOT_YET_KNOWN)),
        "high": (True, GOOD),
        "bad": (None, int(Quality.OUT_OF_RANGE)),
        "vendor": ("cpppod", GOOD),
        "none": (None, int(Quality.NOT_CONFIGURED)),
        "coil": (True, GOOD),
    }
    assert polled(server, device, 1) == {"volts_1": (2300, GOOD), "volts_2": (2310, GOOD)}
    tags = {tag.name: tag for tag in device.groups[0].tags}
    assert tags["power"].cip_type == "REAL"
    assert tags["state_text"].cip_type == "STRING"
    assert [tag.address for tag in device.groups[1].tags] == ["40021", "HR:22"]


def test_a_factor_that_changes_or_is_not_there_is_followed(tmp_path: Path, server: Server) -> None:
    device = loaded(tmp_path)
    for factor, value in ((65534, 5.43), (3, 543000)):
        server.set(40002, factor)
        assert polled(server, device)["power"] == (value, GOOD)
    server.set(40002, 0x8000)
    missing = (None, int(Quality.NOT_IMPLEMENTED))
    assert polled(server, device)["power"] == missing
    server.set(40002, 99)
    assert polled(server, device)["power"] == (None, int(Quality.OUT_OF_RANGE))
    server.set(40001, 0x8000, 1)
    assert polled(server, device)["power"] == missing


def test_writes_take_the_factor_out_and_write_only_tags_show_what_was_written(
    tmp_path: Path, server: Server
) -> None:
    device = loaded(tmp_path)

    async def work(driver: Any, tags: dict[str, Tag]) -> Any:
        writes = [(tags["power"], 0, [1230.0]), (tags["command"], 0, [7])]
        writes += [(tags["high"], 0, [False]), (tags["coil"], 0, [False])]
        outcome = await driver.write(writes)
        return outcome, await driver.poll(device.groups[0])

    outcome, samples = driven(server, device, work)
    assert outcome.failure is None
    assert [server.get(at) for at in (40001, 40006, 40007, 1)] == [123, 7, 0x8000, 1]
    assert samples["power"] == (1230, GOOD)
    assert samples["command"] == (7, int(Quality.AS_WRITTEN))
    server.set(40002, 0x8000)

    async def refused(driver: Any, tags: dict[str, Tag]) -> Any:
        return await driver.write([(tags["power"], 0, [1.0])])

    assert driven(server, device, refused).failure is Failure.BAD_VALUE
    assert server.get(40001) == 123


MISTAKES = [
    ('{ name = "t", address = 40001, encoding = "no" }', "encoding"),
    ('{ name = "t", address = 40001, encoding = "bcd" }', "encoding"),
    ('{ name = "t", address = 1, type = "BOOL", encoding = "bcd" }', "encoding"),
    ('{ name = "t", address = 40001, zone = "Europe/Berlin" }', "zone"),
    ('{ name = "t", address = 40001, type = "LINT", encoding = "date-bcd", zone = "X/Y" }', "zone"),
    ('{ name = "t", address = 40001, texts = { a = "x" } }', "texts"),
    ('{ name = "t", address = 40001, type = "REAL", texts = { 1 = "x" } }', "texts"),
    ('{ name = "t", address = 40001, texts = { 1 = "x" }, flags = { 1 = "x" } }', "flags"),
    ('{ name = "t", address = 40001, write_only = true }', "write_only"),
    ('{ name = "t", address = 40001, scale_from = "x" }', "scale_from"),
    ('{ name = "t", address = 40001, scale_from = "1" }', "scale_from"),
    ('{ name = "t", address = 40001, exists_from = "1" }', "exists_from"),
    ('{ name = "t", address = 40001, exists_from = "x" }', "exists_from"),
    ('{ name = "t", address = "ID:0" }', "type"),
    ('{ name = "t", address = "ID:999", type = "STRING" }', "size"),
    ('{ name = "a", address = 1, type = "UINT" }', "type"),
]


@pytest.mark.parametrize(("tag", "key"), MISTAKES)
def test_what_cannot_be_is_refused_by_its_key(tmp_path: Path, tag: str, key: str) -> None:
    head = CONFIGURATION.partition("tags = [")[0]
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, f"{head}tags = [{tag}]\n")
    assert f"tags[0].{key}" in str(caught.value.problems[0])


def test_a_text_beside_a_tag_of_its_name_and_forms_without_registers_are_refused(
    tmp_path: Path,
) -> None:
    head = CONFIGURATION.partition("tags = [")[0]
    told = '{ name = "a", address = 40001, texts = { 1 = "x" } }'
    with pytest.raises(ConfigurationError, match="not in use"):
        loaded(tmp_path, f'{head}tags = [{told}, {{ name = "a_text", address = 40002 }}]\n')
    enip = head.replace("modbus-tcp", "enip")
    of_tag = told.replace("40001", '"A"')
    with pytest.raises(ConfigurationError, match="enip has no registers"):
        loaded(tmp_path, f"{enip}tags = [{of_tag}]\n")


COUNTED = """
[device.m]
driver = "modbus-tcp"
address = "127.0.0.1:1"

[[device.m.group]]
name = "strings"
period = "1s"
repeat = { count = 3, step = 2, count_from = "40010" }
tags = [
    { name = "volts", address = 40021, type = "UINT", scale = 0.1 },
    { name = "on", address = "CO:0", type = "BOOL" },
]
"""


def test_blocks_are_there_as_often_as_a_register_says_now(tmp_path: Path) -> None:
    device = loaded(tmp_path, COUNTED)

    async def work(driver: Any, tags: dict[str, Tag]) -> list[dict[str, Any]]:
        polls = [await driver.poll(device.groups[0])]
        for count in (3, 0):
            unit.set(40010, count)
            polls.append(await driver.poll(device.groups[0]))
        return polls

    cells = "40010=1 40021=2300 40022=0 40023=2310 40024=0 40025=2320 1=1 2=0 3=1 4=0 5=1"
    with Server("127.0.0.1:0", *cells.split()) as unit:
        one, three, none = driven(unit, device, work)
    gone = (None, int(Quality.NOT_IMPLEMENTED))
    assert (one["volts_1"], one["volts_2"], one["on_3"]) == ((2300, GOOD), gone, gone)
    assert [three[f"volts_{n}"][0] for n in (1, 2, 3)] == [2300, 2310, 2320]
    assert three["on_3"] == (True, GOOD)
    assert set(none.values()) == {gone}
    assert set(none) == {tag.name for tag in device.groups[0].tags}


def test_without_the_count_nothing_of_it_is_known(tmp_path: Path) -> None:
    device = loaded(tmp_path, COUNTED)
    cells = "40021=2300 40022=0 40023=2310 40024=0 40025=2320 1=1 2=0 3=1 4=0 5=1"
    with Server("127.0.0.1:0", *cells.split()) as unit:
        found = driven(unit, device, lambda driver, tags: driver.poll(device.groups[0]))
    assert {value for value, _ in found.values()} == {None}
    assert int(Quality.NOT_IMPLEMENTED) not in {worth for _, worth in found.values()}
