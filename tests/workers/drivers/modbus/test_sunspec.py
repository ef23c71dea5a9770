"""SunSpec: models found, their points read; judged by pysunspec2, both ways."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sunspec2.modbus.client as peer
from sunspec2.device import Model as PeerModel

from cpppod import configuration
from cpppod.configuration import ConfigurationError
from cpppod.modbus import Server
from cpppod.modbus.sunspec import registers
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device
from cpppod.protocols.model.values import Quality
from cpppod.workers.devices.driver import DeviceError, DeviceFrame
from cpppod.workers.devices.spec import DRIVERS
from cpppod.workers.drivers.modbus import sunspec

MODELS = [1, 103, 111, 160, 201, 701]
GOOD = int(Quality.GOOD)
HEAD = """
[device.pv]
driver = "modbus-tcp"
address = "127.0.0.1:1"
model = "sunspec"
"""


def loaded(tmp_path: Path, models: list[int], tags: str = "") -> Device:
    path = tmp_path / "pv.toml"
    group = f'[[device.pv.group]]\nname = "g"\nperiod = "1s"\nsunspec = {models}\n{tags}'
    path.write_text(f"{HEAD}\n{group}\n")
    return configuration.load([path], old_files=[]).plant.devices[0]


def served(words: list[int], base: int = 40_000) -> Server:
    server = Server("127.0.0.1:0", "1=0")
    from cpppod.protocols.modbus.address import Table

    server.plant.cells(None, Table.HOLDING_REGISTERS).update(enumerate(words, base))
    return server


def polled(address: str, device: Device) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        spec = DRIVERS.find("modbus-tcp")
        assert spec is not None
        here = replace(device, address=address, timeout_s=5.0)
        driver = spec.make(here, None, DeviceFrame())
        await driver.open()
        try:
            return await driver.poll(here.groups[0])
        finally:
            await driver.close()

    return asyncio.run(run())


@pytest.mark.parametrize("base", [40_000, 50_000, 0])
def test_the_models_are_found_wherever_they_begin(tmp_path: Path, base: int) -> None:
    values = {"103.W": 543, "103.W_SF": 1, "103.PF": -32768, "103.St": 4, "103.Hz": 5001}
    with served(registers(MODELS, values | {"103.Hz_SF": -2}), base) as server:
        samples = polled(server.address, loaded(tmp_path, [103]))
    assert samples["W"] == (5430, GOOD)
    assert samples["Hz"] == (50.01, GOOD)
    assert samples["PF"] == (None, int(Quality.NOT_IMPLEMENTED))
    assert samples["St"] == (4, GOOD)
    assert samples["St_text"] == ("MPPT", GOOD)


def test_a_model_that_the_device_has_not_is_not_configured(tmp_path: Path) -> None:
    with served(registers([1, 103])) as server:
        samples = polled(server.address, loaded(tmp_path, [160]))
    assert {worth for _, worth in samples.values()} == {int(Quality.NOT_CONFIGURED)}


def test_a_device_without_models_says_so(tmp_path: Path) -> None:
    with served([1, 2, 3]) as server, pytest.raises(DeviceError) as caught:
        polled(server.address, loaded(tmp_path, [103]))
    assert caught.value.failure is Failure.BAD_REPLY
    assert "no SunSpec models at 40000, 50000, 0" in caught.value.text


def test_a_second_model_of_one_id_and_a_bit_are_named_by_their_place(tmp_path: Path) -> None:
    tags = 'tags = [{ name = "b", address = "M103/2:14" }, { name = "f", address = "M103:40.0" }]'
    first = registers([103], {"103.W": 7})
    second = registers([103], {"103.W": 8})
    with served([*first[:-2], *second[2:]]) as server:
        device = loaded(tmp_path, [], tags)
        samples = polled(server.address, device)
    place = next(each.offset for each in points(103) if each.path == "W")
    assert place == 14
    assert samples["b"] == (8, GOOD)
    assert samples["f"][1] == GOOD


def points(model: int) -> list[Any]:
    from cpppod.protocols.modbus import sunspec as pure

    return list(pure.points(sunspec.definition(model)))


def test_browsing_makes_a_tag_of_each_point_and_the_configuration_is_well(tmp_path: Path) -> None:
    from cpppod.tags import toml
    from cpppod.tags.tables import device_table, tag_table

    with served(registers(MODELS, repeats=3)) as server:
        spec = DRIVERS.find("modbus-tcp")
        assert spec is not None and spec.browse is not None
        device = Device("d", "modbus-tcp", server.address, timeout_s=5.0)
        found = asyncio.run(spec.browse(device, "sunspec", lambda done, of: None))
        tables = [tag_table(tag) for tag in found.tags]
        groups = [("all", "1s", tables)]
        place = {"address": server.address, "model": "sunspec"}
        path = tmp_path / "pv.toml"
        path.write_text(toml.text_of({"device": {"pv": device_table("modbus-tcp", place, groups)}}))
        made = configuration.load([path], old_files=[]).plant.devices[0]
        samples = polled(server.address, made)
    names = {tag.name for tag in found.tags}
    assert {"m1_Mn", "m103_W", "m160_module_3_DCW", "m701_W"} <= names
    assert len(found.tags) > 200
    worths = [worth for _, worth in samples.values()]
    assert set(worths) <= {GOOD, int(Quality.NOT_IMPLEMENTED)}
    assert worths.count(GOOD) > 200
    assert samples["m1_Mn"] == ("Mn", GOOD)


def test_the_simulators_command_has_such_a_device() -> None:
    from cpppod.commands.modbus.sim import make_plant, parser
    from cpppod.protocols.modbus.address import Table
    from cpppod.protocols.model.errors import EncodeError

    plant = make_plant(parser().parse_args(["--sunspec", "1,103"]))
    unit = plant.find(7)
    assert unit is not None
    assert unit.read(Table.HOLDING_REGISTERS, 40_000, 3) == [0x5375, 0x6E53, 1]
    for wrong in ("x", "9999"):
        with pytest.raises(EncodeError, match="--sunspec"):
            make_plant(parser().parse_args(["--sunspec", wrong]))


def test_pysunspec2_reads_our_simulator() -> None:
    values = {"103.W": 543, "103.W_SF": 1, "1.Mn": "cpppod", "103.PF": -32768}
    with served(registers(MODELS, values)) as server:
        host, _, port = server.address.rpartition(":")
        client = peer.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=host, ipport=int(port))
        client.scan()
        found = [model.model_id for model in client.model_list]
        common, inverter = client.models[1][0], client.models[103][0]
        assert found == MODELS
        assert common.Mn.cvalue == "cpppod"
        assert (inverter.W.value, inverter.W.cvalue) == (543, 5430)
        assert inverter.PF.cvalue is None
        assert len(client.models[160][0].module) == 2
        client.close()


UNTOLD = ("pad", "sunssf", "ipaddr", "ipv6addr", "eui48")


def filled(points: dict[str, Any]) -> None:
    """Give every point of pysunspec2's model a value of its own."""
    for number, point in enumerate(points.values()):
        kind = point.pdef["type"]
        if kind == "string":
            point.value = f"text {number}"
        elif kind == "sunssf":
            point.value = -2
        elif kind in ("float32", "float64"):
            point.value = number + 0.5
        elif kind not in UNTOLD:
            point.value = number + 1


def peers_words(model: int) -> tuple[list[int], dict[str, Any]]:
    """A model's registers by pysunspec2's encoder, and what its points are worth by it."""
    made = PeerModel(model, model_len=48 if model == 160 else 0)
    own, modules = made.points, made.groups.get("module", [])
    for points in (own, *(each.points for each in modules)):
        filled(points)
    own["ID"].value = model
    for each in modules:
        for point in each.points.values():
            point.resolve_sf()
    raw = made.get_mb()
    words = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
    words[1] = len(words) - 2
    told = [(name, point) for name, point in own.items() if name not in ("ID", "L")]
    for first in modules[:1]:
        told += [(f"module_{name}", each) for name, each in first.points.items()]
    worth = {name: each.cvalue for name, each in told if each.pdef["type"] not in UNTOLD}
    return words, worth


@pytest.mark.parametrize("model", MODELS)
def test_our_driver_reads_a_pymodbus_server_filled_by_pysunspec2(
    tmp_path: Path, model: int
) -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    own, worth = peers_words(model)
    words = [0x5375, 0x6E53, *own, 0xFFFF, 0]
    device = loaded(tmp_path, [model])

    async def scenario() -> dict[str, Any]:
        data = SimData(40_000, values=words, datatype=DataType.REGISTERS)
        server: Any = ModbusTcpServer(SimDevice(1, simdata=[data]), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        spec = DRIVERS.find("modbus-tcp")
        assert spec is not None
        here = replace(device, address=f"127.0.0.1:{port}", timeout_s=5.0)
        driver = spec.make(here, None, DeviceFrame())
        await driver.open()
        try:
            return await driver.poll(here.groups[0])
        finally:
            await driver.close()
            await server.shutdown()

    samples = asyncio.run(scenario())
    scales = {tag.name: tag.scale for tag in device.groups[0].tags}
    for name, value in worth.items():
        found, quality = samples[name]
        assert quality == GOOD, name
        if isinstance(value, str):
            assert found == value
        else:
            assert found * scales[name] == pytest.approx(value, rel=1e-6), name


def test_models_that_are_not_known_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SunSpec has no model 9999"):
        loaded(tmp_path, [9999])


def test_without_the_package_the_mistake_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sunspec, "PACKAGE", "no_such_package")
    sunspec.definition.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install cpppod\[sunspec\]"):
        loaded(tmp_path, [103])
    sunspec.definition.cache_clear()
