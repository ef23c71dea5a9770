"""The manifest of the EtherNet/IP driver."""

from collections.abc import Iterator
from typing import Any

from cpppod.protocols.model.errors import ProtocolError
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

CONFIGURATION = """\
[device.controller]
driver = "enip"
address = "{address}"
timeout = "500ms"

[[device.controller.group]]
name = "all"
period = "1s"
tags = [
    { name = "level", address = "Level", type = "REAL" },
    { name = "setpoint", address = "Setpoint", type = "DINT", writable = true },
]
"""


def _make(device: Device, link: Link | None, frame: DeviceFrame) -> Driver:
    from cpppod.workers.drivers.enip.driver import make_driver

    return make_driver(device, link, frame)


async def _browse(device: Device, where: str, progress: Progress) -> Browsed:
    from cpppod.workers.drivers.enip.browse import browse_tags

    return await browse_tags(device, where, progress)


def _check(device: Device) -> tuple[str, list[Mistake]]:
    """Its dialect; and which of its structures are none."""
    from cpppod.workers.drivers.enip.whole import structure_path

    mistakes: list[Mistake] = []
    dialect, structures = str(device.options.get("dialect", "")), device.options.get("structures")
    if dialect and structures:
        mistakes.append(("structures", structures, "none: data files have no structures"))
    for address in structures or ():
        try:
            structure_path(address)
        except (ProtocolError, ValueError) as error:
            mistakes.append(("structures", address, f"addresses of structures ({error})"))
    return dialect, mistakes


def _check_tag(tag: Tag, settings: Any) -> Iterator[Mistake]:
    from cpppod.workers.drivers.enip.tags import tag_operation

    try:
        tag_operation(tag, settings)
    except (ProtocolError, ValueError) as error:
        yield "address", tag.address, f"a tag or attribute of a controller ({error})"


def _status_text(status: int, extended: int) -> str:
    from cpppod.protocols.cip.status import words_of

    return words_of(status, [extended] if extended else [])


def _in_words(data: bytes, reply: bool) -> str:
    from cpppod.protocols.enip.described import describe_bytes

    return describe_bytes(data, reply=reply)


SPEC = DriverSpec(
    name="enip",
    title="EtherNet/IP controllers and devices",
    place=Place.ADDRESS,
    make=_make,
    status_text=_status_text,
    default_port=44818,
    settings="cpppod.workers.drivers.enip.settings:EnipSettings",
    from_model=frozenset({"in_flight"}),
    elsewhere=frozenset({"in_flight", "route_path", "connected"}),
    check=_check,
    check_tag=_check_tag,
    relay=True,
    in_words=_in_words,
    metrics=("polls", "messages", "write_requests", "forwards", "late"),
    simulator=SimulatedDevice(
        "cpppod.commands.enip_server",
        ("-a", "{address}", "Level=REAL", "Setpoint=DINT"),
        CONFIGURATION,
    ),
    browse=_browse,
    browse_where="what the names of the tags begin with: Program:Main, Pump",
)
