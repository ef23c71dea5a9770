"""The manifests of the Modbus driver: units behind a TCP address, units on a serial line."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Tag
from cpppod.workers.devices.driver import DeviceFrame, Driver, Link
from cpppod.workers.devices.spec import (
    Browsed,
    DriverSpec,
    Mistake,
    Place,
    Progress,
    SimulatedDevice,
)

RTU_UNITS = range(1, 248)
STRINGS = ("STRING", "SSTRING")
REGISTERS = "1:40001-40010=21,0"
GROUP = """
timeout = "500ms"

[[device.unit.group]]
name = "all"
period = "1s"
tags = [
    { name = "level", address = 40001, unit = "mm" },
    { name = "setpoint", address = "HR:1", writable = true },
]
"""


def _make_tcp(device: Device, link: Link | None, frame: DeviceFrame) -> Driver:
    from cpppod.workers.drivers.modbus.driver import make_driver

    return make_driver(device, link, frame)


def _make_rtu(device: Device, link: Link | None, frame: DeviceFrame) -> Driver:
    from cpppod.workers.drivers.modbus.driver import make_driver

    return make_driver(device, link, frame, rtu=True)


async def _scan_tcp(device: Device, where: str, progress: Progress) -> Browsed:
    from cpppod.workers.drivers.modbus.scan import scan_registers

    return await scan_registers(device, where, progress)


async def _scan_rtu(device: Device, where: str, progress: Progress) -> Browsed:
    from cpppod.workers.drivers.modbus.scan import scan_registers

    return await scan_registers(device, where, progress, rtu=True)


def _check(device: Device) -> tuple[bool, list[Mistake]]:
    """Whether its model counts addresses from 0; and what is wrong with the model."""
    from cpppod.protocols.modbus.model import Model

    mistakes: list[Mistake] = []
    try:
        Model.of_device(device.model, device.options)
    except EncodeError as error:
        mistakes.append(("model", None, f"a model that is well ({error})"))
    return device.model.get("zero_based") is True, mistakes


def _check_rtu(device: Device) -> tuple[bool, list[Mistake]]:
    zero_based, mistakes = _check(device)
    if device.unit not in RTU_UNITS:
        mistakes.append(("unit", device.unit, "1 to 247 on a serial line"))
    return zero_based, mistakes


def _check_tag(tag: Tag, zero_based: Any) -> Iterator[Mistake]:
    from cpppod.protocols.modbus.address import FORMS, parse_address
    from cpppod.protocols.modbus.registers import BITS, codec

    if tag.type in STRINGS and not tag.size:
        yield "size", None, f"the bytes that the {tag.type} takes on the device"
        return
    try:
        address = parse_address(tag.address, zero_based=zero_based)
    except EncodeError:
        yield "address", tag.address, f"a Modbus address: {FORMS}"
        return
    if tag.writable and not address.table.writable:
        yield "writable", True, f"false: {tag.address} can only be read"
    if address.table.has_bits:
        if tag.type != "BOOL":
            yield "type", tag.type, f"BOOL: {tag.address} holds bits"
        return
    if address.bit is not None and BITS.get(tag.type, 0) > 16:
        yield "type", tag.type, f"none: {tag.address} is a bit of one register; or bit = N"
        return
    try:
        codec(tag, address.bit)
    except EncodeError as error:
        yield "type", tag.type, f"what lies in registers ({error})"


def _bit_of(address: str) -> int | None:
    """The bit of `40020.3`."""
    from cpppod.protocols.modbus.address import parse_address

    try:
        return parse_address(address).bit
    except EncodeError:
        return None


def _status_text(status: int, extended: int) -> str:
    from cpppod.protocols.modbus.pdu import EXCEPTION_TEXTS

    return EXCEPTION_TEXTS.get(status, "unknown exception")


TCP = DriverSpec(
    name="modbus-tcp",
    title="Modbus TCP devices, and units behind a Modbus gateway",
    place=Place.ADDRESS,
    make=_make_tcp,
    default_port=502,
    shares_address=True,
    settings="cpppod.workers.drivers.modbus.settings:ModbusSettings",
    elsewhere=frozenset({"unit"}),
    check=_check,
    check_tag=_check_tag,
    bit_of=_bit_of,
    status_text=_status_text,
    metrics=("stale_replies", "bad_replies", "crc_errors", "noise_bytes", "echoes"),
    simulator=SimulatedDevice(
        "cpppod.commands.modbus_sim",
        ("-a", "{address}", REGISTERS),
        f'[device.unit]\ndriver = "modbus-tcp"\naddress = "{{address}}"{GROUP}',
    ),
    browse=_scan_tcp,
    browse_where="addresses: 40001-40100,30001-30020 (default: the first 1000 of each kind)",
)

RTU = replace(
    TCP,
    name="modbus-rtu",
    title="Modbus RTU units on a serial line, or on one behind a device server",
    place=Place.LINE,
    make=_make_rtu,
    default_port=None,
    shares_address=False,
    check=_check_rtu,
    browse=_scan_rtu,
    simulator=SimulatedDevice(
        "cpppod.commands.modbus_sim",
        ("-a", "{address}", REGISTERS),
        '[line.hall]\nport = "{address}"\n\n'
        f'[device.unit]\ndriver = "modbus-rtu"\nline = "hall"{GROUP}',
    ),
)
