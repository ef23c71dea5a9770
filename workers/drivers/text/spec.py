"""The manifest of the text driver."""

from collections.abc import Iterable
from typing import Any

from cpppod.protocols.model.plant import Device, Tag
from cpppod.workers.devices.driver import DeviceFrame, Driver, Link
from cpppod.workers.devices.spec import DriverSpec, Mistake, Place, SimulatedDevice

CONFIGURATION = """\
[device.scale]
driver = "text"
model = "sics"
address = "{address}"
timeout = "500ms"

[[device.scale.group]]
name = "all"
period = "1s"
tags = [
    { name = "weight", address = "weight", type = "REAL", unit = "kg" },
    { name = "tare", address = "tare_weight", type = "REAL", writable = true },
]
"""


def _make(device: Device, link: Link | None, frame: DeviceFrame) -> Driver:
    from cpppod.workers.drivers.text.driver import make_driver

    return make_driver(device, link, frame)


def _check(device: Device) -> tuple[Any, list[Mistake]]:
    from cpppod.protocols.text.formats import check

    return check(device.model, device.options)


def _check_tag(tag: Tag, settings: Any) -> Iterable[Mistake]:
    from cpppod.protocols.text.formats import check_tag

    return check_tag(settings, tag)


SPEC = DriverSpec(
    name="text",
    title="devices that speak lines of text",
    place=Place.EITHER,
    make=_make,
    settings="cpppod.workers.drivers.text.settings:TextSettings",
    check=_check,
    check_tag=_check_tag,
    metrics=(
        "frames",
        "noise_bytes",
        "checksum_errors",
        "overlong_frames",
        "unexpected_frames",
        "dropped_frames",
        "refused",
        "turned_away",
    ),
    simulator=SimulatedDevice(
        "cpppod.workers.text_simulator", ("sics", "--tcp", "{address}"), CONFIGURATION
    ),
)
