"""What devices say that they have, as their drivers' `browse` tells it."""

import asyncio
from collections.abc import Iterator

import pytest

from cpppod.modbus import Server
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device
from cpppod.simulator import Settings, Simulator
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.spec import DRIVERS, Browsed
from tests.ports import free_port


def browse(driver: str, address: str, where: str = "", **keys: object) -> Browsed:
    spec = DRIVERS.find(driver)
    assert spec is not None and spec.browse is not None
    device = Device("d", driver, address, timeout_s=5.0, **keys)  # type: ignore[arg-type]
    return asyncio.run(spec.browse(device, where, lambda done, of: None))


@pytest.fixture(scope="module")
def plc() -> Iterator[str]:
    tags = ["Speed=REAL", "Grid=INT[2,3]", "Flags=BOOL[64]", "Text=STRING82", "Clock=TIMER[2]"]
    with Simulator([*tags, "A_very_long_name_of_a_tag_that_has_forty=DINT"], Settings()) as running:
        yield ":".join(map(str, running.address))


def test_a_controllers_tags_and_the_members_of_its_structures_are_tags(plc: str) -> None:
    found = browse("enip", plc)
    assert found.left_out == ()
    assert [(tag.address, tag.type, tag.length) for tag in found.tags[:4]] == [
        ("Speed", "REAL", 1),
        ("Grid", "INT", 6),
        ("Flags", "DWORD", 2),
        ("Text", "STRING", 1),
    ]
    assert ("Clock_1_ACC", "Clock[1].ACC", "DINT") in [
        (tag.name, tag.address, tag.type) for tag in found.tags
    ]
    assert sum(tag.address.startswith("Clock[0].") for tag in found.tags) == 6
    assert not any(tag.writable for tag in found.tags)


def test_a_beginning_chooses_among_the_tags_without_regard_to_case(plc: str) -> None:
    assert [tag.address for tag in browse("enip", plc, "sp").tags] == ["Speed"]


@pytest.fixture(scope="module")
def unit() -> Iterator[str]:
    with Server(
        "127.0.0.1:0", "40001-40010=21", "40013=22", "30005=7", "1=1", "10001-10003=0"
    ) as running:
        yield running.address


def test_a_units_cells_are_found_between_those_that_it_refuses(unit: str) -> None:
    found = browse("modbus-tcp", unit, "40001-40020,IR:0-5")
    addresses = [tag.address for tag in found.tags]
    assert addresses == [*(f"HR:{at}" for at in range(10)), "HR:12", "IR:4"]
    assert {tag.type for tag in found.tags} == {"UINT"}
    assert found.tags[10].description == "22 when scanned"
    refused = "exception 2: illegal data address"
    spans = ["HR:10-11", "HR:13-19", "IR:0-3", "IR:5"]
    assert found.left_out == tuple((span, refused) for span in spans)


def test_without_a_place_the_first_thousand_of_each_table_are_asked(unit: str) -> None:
    found = browse("modbus-tcp", unit)
    assert len(found.tags) == 10 + 1 + 1 + 1 + 3
    assert [tag.type for tag in found.tags if tag.address[:2] in ("CO", "DI")] == ["BOOL"] * 4
    last = [span for span, _ in found.left_out if span.startswith("IR")]
    assert last == ["IR:0-3", "IR:5-999"]


@pytest.mark.parametrize("where", ["40001-30002", "40002-40001", "x", "40001.1", "40001-"])
def test_a_place_that_is_none_is_refused_before_anything_is_sent(unit: str, where: str) -> None:
    with pytest.raises(DeviceError) as caught:
        browse("modbus-tcp", unit, where)
    assert caught.value.failure is Failure.BAD_VALUE


@pytest.mark.parametrize("driver", ["enip", "modbus-tcp"])
def test_a_device_that_is_not_there_is_an_error(driver: str) -> None:
    with pytest.raises(DeviceError) as caught:
        browse(driver, f"127.0.0.1:{free_port()}")
    assert caught.value.failure is Failure.REFUSED


def test_a_device_without_a_tag_list_says_so() -> None:
    with (
        Simulator(["Level=REAL"], Settings(plc="micrologix")) as running,
        pytest.raises(DeviceError) as caught,
    ):
        browse("enip", ":".join(map(str, running.address)))
    assert "does not list its tags" in caught.value.text
