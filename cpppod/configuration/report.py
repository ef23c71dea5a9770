"""What `cpppod --check` says of a configuration that is well: its size, its sources, its risks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cpppod.configuration import Configuration
from cpppod.gateway import topology
from cpppod.protocols.model.addresses import is_loopback, socket_address
from cpppod.protocols.model.plant import Device
from cpppod.workers.devices.spec import DRIVERS, has_units
from cpppod.workers.outlets.spec import OUTLETS, Source

LONG_PERIOD_S = 300.0  # beyond which a period is hardly meant in seconds

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED_PORTS = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")


def plain(configuration: Configuration) -> dict[str, Any]:
    """The result as JSON says it."""
    plant = configuration.plant
    directories = topology.Directories(Path("/run/cpppod"), Path("/var/lib/cpppod"))
    tags = [tag for device in plant.devices for group in device.groups for tag in group.tags]
    return {
        "ok": True,
        "files": list(configuration.files),
        "devices": len(plant.devices),
        "tags": len(tags),
        "writable_tags": sum(tag.writable for tag in tags),
        "local_tags": sum(len(listener.tags) for listener in plant.listeners),
        "routes": len(plant.routes),
        "understood": [_understood(device) for device in plant.devices],
        "workers": [worker.name for worker in topology.workers(plant, 0, directories)],
        "cpppo_cfg": [
            {"key": item.key, "value": item.value, "file": item.file, "option": item.option}
            for item in configuration.taken
        ],
        "warnings": list(warnings(configuration)),
    }


def lines(plain: dict[str, Any]) -> Iterator[str]:
    """The result for people."""
    for file in plain["files"]:
        yield f"{file}: well"
    yield (
        f"{plain['devices']} devices with {plain['tags']} tags"
        f" ({plain['writable_tags']} writable),"
        f" {plain['local_tags']} local tags, {plain['routes']} routes"
    )
    for device in plain["understood"]:
        for group in device["groups"]:
            cost = f", {group['cost']}" if group["cost"] else ""
            yield (
                f"{device['name']} ({device['where']}): {group['name']} every"
                f" {group['period_s']:g} s, {group['tags']} tags{cost}"
            )
    yield f"workers: {', '.join(plain['workers'])}"
    for item in plain["cpppo_cfg"]:
        value = json.dumps(item["value"])
        yield f"taken from {item['file']}: {item['option']}: {item['key']} = {value}"
    for warning in plain["warnings"]:
        yield f"warning: {warning}"


def warnings(configuration: Configuration) -> Iterator[str]:
    """What works, and yet should be known."""
    plant = configuration.plant
    addresses = [(f"listener {each.name}", each.address) for each in plant.listeners]
    for outlet in plant.outlets:
        addresses += [(f"{outlet.section} {key}", each) for key, each in outlet.addresses.items()]
    if ports := _unreserved({socket_address(address).port for _what, address in addresses}):
        listed = ",".join(map(str, ports))
        yield (
            f"ports {listed} lie in the range of outgoing connections, one of which can hold them;"
            f" sysctl net.ipv4.ip_local_reserved_ports={listed} keeps them free"
        )
    for what, address in addresses:
        if not is_loopback(address):
            yield f"{what}: {address} can be reached from other machines"
    for device in plant.devices:
        yield from _unlikely(device)
    yield from _about_journals(configuration)
    yield from _about_writes(configuration)


def _understood(device: Device) -> dict[str, Any]:
    """What a device's table was understood as."""
    spec = DRIVERS.find(device.driver)
    where = device.address
    if spec is not None and has_units(spec):
        where += f" unit {device.unit}"
    return {
        "name": device.name,
        "driver": device.driver,
        "where": where,
        "groups": [
            {
                "name": group.name,
                "period_s": group.period_s,
                "tags": len(group.tags),
                "cost": spec.understood(device, group) if spec is not None else "",
            }
            for group in device.groups
        ],
    }


def _unlikely(device: Device) -> Iterator[str]:
    """What of a device can be, and is hardly meant."""
    if not device.groups:
        yield f"device {device.name}: no group: nothing of it is read"
    for group in device.groups:
        if group.period_s > LONG_PERIOD_S:
            seconds = f"{group.period_s:g}"
            yield (
                f"device {device.name}: group {group.name} is read every {seconds} s"
                f' ({group.period_s / 60:.0f} min); a number is seconds, "{seconds}ms" is not'
            )
    spec = DRIVERS.find(device.driver)
    for text in spec.unlikely(device) if spec is not None else ():
        yield f"device {device.name}: {text}"


def _about_journals(configuration: Configuration) -> Iterator[str]:
    plant = configuration.plant
    if any(group.history for device in plant.devices for group in device.groups):
        return
    for outlet in plant.outlets:
        spec = OUTLETS.find(outlet.kind)
        if spec is not None and spec.reads is Source.JOURNALS and not outlet.groups:
            section, name = outlet.section, outlet.name
            yield f"{section}: no group has history = true: {name} has nothing to read"


def _about_writes(configuration: Configuration) -> Iterator[str]:
    plant = configuration.plant
    writable = [
        f"{device.name}.{tag.name}"
        for device in plant.devices
        for group in device.groups
        for tag in group.tags
        if tag.writable
    ]
    for listener in plant.listeners:
        alone = is_loopback(listener.address)
        if writable and not alone and not listener.write_sources:
            yield (
                f"listener {listener.name}: every client may write {len(writable)} tags of devices"
                f" ({', '.join(writable[:3])}{' ...' * (len(writable) > 3)});"
                f" write_sources would name those that may"
            )


def _unreserved(ports: set[int]) -> list[int]:
    """Those of `ports` that an outgoing connection may be given."""
    low, high = _ephemeral_ports()
    return sorted(port for port in ports - _reserved_ports() if low <= port <= high)


def _ephemeral_ports() -> tuple[int, int]:
    try:
        low, high = PORT_RANGE.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 32_768, 60_999  # Linux's own default


def _reserved_ports() -> set[int]:
    try:
        text = RESERVED_PORTS.read_text().strip()
    except OSError:
        return set()
    ports: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _dash, high = part.partition("-")
        ports.update(range(int(low), int(high or low) + 1))
    return ports
