"""The manifests of the Modbus driver: units behind a TCP address, units on a serial line."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Tag
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

    mistakes: list[Mistake] = [
        (f"model.{key}", value, wanted) for key, value, wanted in Model.mistakes(device.model)
    ]
    try:
        Model.of_device(device.model, device.options)
    except EncodeError as error:
        if not mistakes:
            mistakes.append(("model", None, f"a model that is well ({error})"))
    return device.model.get("zero_based") is True, mistakes


def _check_rtu(device: Device) -> tuple[bool, list[Mistake]]:
    zero_based, mistakes = _check(device)
    if device.unit not in RTU_UNITS:
        mistakes.append(("unit", device.unit, "1 to 247 on a serial line"))
    return zero_based, mistakes


def _check_tag(tag: Tag, zero_based: Any) -> Iterator[Mistake]:
    from cpppod.protocols.modbus.address import FORMS, identity_object, parse_address
    from cpppod.protocols.modbus.encodings import TEXTS
    from cpppod.protocols.modbus.forms import codec_of
    from cpppod.protocols.modbus.registers import BITS
    from cpppod.workers.drivers.modbus.zones import zone_of

    if identity_object(tag.address) is not None:
        yield from _check_identity(tag)
        return
    tag = _at_any_place(tag)
    told = bool(tag.holds) or tag.encoding not in TEXTS
    if tag.type in STRINGS and not tag.size and not told:
        yield "size", None, f"the bytes that the {tag.type} takes on the device"
        return
    try:
        address = parse_address(tag.address, zero_based=zero_based)
    except EncodeError:
        yield "address", tag.address, f"a Modbus address: {FORMS}"
        return
    if tag.writable and not address.table.writable:
        yield "writable", True, f"false: {tag.address} can only be read"
    for key in ("scale_from", "exists_from"):
        if (other := getattr(tag, key)) and not _is_register(other, zero_based):
            yield key, other, "the address of a register"
            return
    if address.table.has_bits:
        if tag.type != "BOOL":
            yield "type", tag.type, f"BOOL: {tag.address} holds bits"
        for key in ("encoding", "unavailable", "scale_from"):
            if getattr(tag, key) not in ("", (), "inverted"):
                yield key, getattr(tag, key), f"none: {tag.address} holds bits"
        return
    if address.bit is not None and BITS.get(tag.type, 0) > 16:
        yield "type", tag.type, f"none: {tag.address} is a bit of one register; or bit = N"
        return
    try:
        codec_of(tag, address.bit, zone_of(tag.zone))
        if tag.encoding.startswith("date-") and tag.writable:
            yield "writable", True, f"false: {tag.encoding} is not written"
    except EncodeError as error:
        key = "encoding" if tag.encoding else "type"
        yield key, getattr(tag, key), f"what lies in registers ({error})"
    except LookupError:
        yield "zone", tag.zone, "the name of a zone, such as Europe/Berlin"


def _is_register(text: str, zero_based: bool) -> bool:
    """Whether it is the address of a whole register."""
    from cpppod.protocols.modbus.address import parse_address

    try:
        address = parse_address(text, zero_based=zero_based)
    except EncodeError:
        return False
    return not address.table.has_bits and address.bit is None


def _at_any_place(tag: Tag) -> Tag:
    """A point of a model as if it lay where its offset says: all else of it can be checked."""
    from cpppod.protocols.modbus.sunspec import in_registers

    return in_registers(tag, lambda model, instance: 0) or tag


def _points_of(models: list[int]) -> list[dict[str, Any]]:
    """Tables of the tags of SunSpec's models.

    Raises:
        ValueError: one has no definition here.
    """
    from cpppod.workers.drivers.modbus.sunspec import NoDefinition, tables

    try:
        return list(tables(models))
    except NoDefinition as error:
        raise ValueError(str(error)) from None


def _check_identity(tag: Tag) -> Iterator[Mistake]:
    if tag.type not in STRINGS:
        yield "type", tag.type, "STRING: what a device says of itself is text"
    if tag.writable:
        yield "writable", True, f"false: {tag.address} can only be read"


def _shift(address: str, cells: int) -> str:
    """`40001` and 10 is HR:10; what is no address stays as it is, and is a mistake later."""
    from cpppod.protocols.modbus.address import Address, parse_address

    try:
        at = parse_address(address)
        return str(Address(at.table, at.offset + cells, at.bit)) if cells else address
    except EncodeError:
        return address


def _understood(device: Device, group: Group) -> str:
    """How many requests a poll of the group takes, and of how much."""
    from cpppod.protocols.modbus.model import Model
    from cpppod.workers.drivers.modbus.register_map import DeviceCells

    cells = DeviceCells(device, Model.of_device(device.model, device.options))
    blocks = cells.blocks(group)
    kinds = {False: "registers", True: "coils or inputs"}
    counts = {
        kind: sum(block.count for block in blocks if block.table.has_bits is bits)
        for bits, kind in kinds.items()
    }
    told = [f"{count} {kind}" for kind, count in counts.items() if count]
    plural = "s" * (len(blocks) != 1)
    return f"{len(blocks)} request{plural} a cycle for {' and '.join(told) or 'nothing'}"


def _unlikely(device: Device) -> Iterator[str]:
    """Values that share registers, though none of them is a bit."""
    from itertools import pairwise

    from cpppod.protocols.modbus.model import Model
    from cpppod.workers.drivers.modbus.register_map import DeviceCells

    cells = DeviceCells(device, Model.of_device(device.model, device.options))
    found = [
        cells[tag.name]
        for group in device.groups
        for tag in group.tags
        if tag.name in cells and not tag.write_only
    ]
    items = sorted(
        (each.item for each in found if each.codec is not None and each.codec.encode is not None),
        key=lambda item: (item.table, item.address),
    )
    for before, after in pairwise(items):
        if before.table == after.table and after.address < before.end:
            where = cells[after.key].address
            yield f"{before.key} and {after.key} share registers from {where} on"


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


def _tcp_in_words(data: bytes, reply: bool) -> str:
    from cpppod.protocols.modbus.described import describe_tcp

    return describe_tcp(data, reply=reply)


def _rtu_in_words(data: bytes, reply: bool) -> str:
    from cpppod.protocols.modbus.described import describe_rtu

    return describe_rtu(data, reply=reply)


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
    shift=_shift,
    points=_points_of,
    understood=_understood,
    unlikely=_unlikely,
    in_words=_tcp_in_words,
    metrics=("stale_replies", "bad_replies", "crc_errors", "noise_bytes", "echoes"),
    simulator=SimulatedDevice(
        "cpppod.commands.modbus_sim",
        ("-a", "{address}", REGISTERS),
        f'[device.unit]\ndriver = "modbus-tcp"\naddress = "{{address}}"{GROUP}',
    ),
    browse=_scan_tcp,
    browse_where="addresses: 40001-40100,30001-30020 (default: the first 1000 of each kind), "
    "or sunspec: the models that the device says it has",
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
    in_words=_rtu_in_words,
    browse=_scan_rtu,
    simulator=SimulatedDevice(
        "cpppod.commands.modbus_sim",
        ("-a", "{address}", REGISTERS),
        '[line.hall]\nport = "{address}"\n\n'
        f'[device.unit]\ndriver = "modbus-rtu"\nline = "hall"{GROUP}',
    ),
)
