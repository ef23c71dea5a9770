"""`cpppod tags browse`: what a device says that it has, as a table or a configuration."""

import argparse
import asyncio
import json
import sys
from typing import Any

from cpppod.commands.arguments import period, seconds, whole
from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.protocols.model.naming import name_of
from cpppod.protocols.model.plant import Device
from cpppod.tags import toml
from cpppod.tags.tables import device_table, tag_table
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.spec import DRIVERS, Browsed, DriverSpec, Place
from cpppod.workers.transport.port import RTU_OVER_TCP

NAME = "cpppod tags browse"
DONE, FAILED = 0, 1


class UsageError(Exception):
    """What the command line cannot mean."""


def add_options(options: argparse.ArgumentParser) -> None:
    """Add its options."""
    add = options.add_argument
    add("address", help=f"host[:port], a serial port, or {RTU_OVER_TCP}host:port")
    add("--driver", default="", choices=["", *_browsable()], metavar="NAME",
        help=f"{', '.join(_browsable())} (default: that of the port, or enip)")  # fmt: skip
    wheres = "; ".join(f"{name}: {spec.browse_where}" for name, spec in _browsable().items())
    add("--where", default="", help=f"only a part of it. {wheres}")
    add("--unit", type=whole(0, 255), default=1, help="Modbus unit (default %(default)s)")
    add("--route-path", default="", help="behind the address, as 1/0 (EtherNet/IP)")
    add("--baudrate", type=whole(1), default=19_200, help="of a serial port (default %(default)s)")
    add("--parity", default="E", choices=("E", "N", "O"), help="of a serial port (default E)")
    add("--timeout", type=seconds, default=1.0, help="seconds for a reply (default %(default)g)")
    add("--name", default="", help="of the device in what is written")
    add("--period", type=period, default="1s", help="of its group (default %(default)s)")
    add("--toml", action="store_true", help="write a configuration file")
    add("--json", action="store_true", help="write JSON")


def _browsable() -> dict[str, DriverSpec]:
    return {spec.name: spec for spec in DRIVERS if spec.browse is not None}


def run(options: argparse.Namespace) -> int:
    """Do it; the exit status.

    Raises:
        UsageError: the command line means nothing.
    """
    return asyncio.run(_browse(options))


async def _browse(options: argparse.Namespace) -> int:
    spec, place = _target(options)
    line = {} if ":" in place else {"baudrate": options.baudrate, "parity": options.parity}
    device = Device(
        name="",
        driver=spec.name,
        address=place,
        unit=options.unit,
        timeout_s=options.timeout,
        route_path=options.route_path,
        options=line,
    )
    assert spec.browse is not None
    try:
        found = await spec.browse(device, options.where, _progress)
    except DeviceError as error:
        print(f"{NAME}: {options.address}: {error.text}", file=sys.stderr)
        return FAILED
    finally:
        _progress(0, 0)
    _show(spec, device, found, options)
    return DONE


def _target(options: argparse.Namespace) -> tuple[DriverSpec, str]:
    """The driver to ask with, and the address as it takes it.

    Raises:
        UsageError: no such driver, or no address of it.
    """
    known = _browsable()
    address = options.address
    if address.startswith(("/", RTU_OVER_TCP)):
        lines = [spec for spec in known.values() if spec.place is Place.LINE]
        return known.get(options.driver) or lines[0], address
    try:
        host, port = socket_address(address, host="127.0.0.1", port=0)
    except ValueError as error:
        raise UsageError(f"{address}: {error}") from None
    by_port = {spec.default_port: spec for spec in known.values() if spec.default_port}
    spec = known.get(options.driver) or by_port.get(port) or known["enip"]
    return spec, str(SocketAddress(host, port or spec.default_port or 0))


def _progress(done: int, total: int) -> None:
    """Say how far it is, where somebody watches; 0 of 0 takes it back."""
    if sys.stderr.isatty():
        of = f" of {total}" if total else ""
        print(f"\r\x1b[Kasked {done}{of}" if done else "\r\x1b[K", end="", file=sys.stderr)


def _show(spec: DriverSpec, device: Device, found: Browsed, options: argparse.Namespace) -> None:
    tags = [tag_table(tag) for tag in found.tags]
    if options.json:
        left_out = [{"name": name, "reason": why} for name, why in found.left_out]
        print(json.dumps({"driver": spec.name, "tags": tags, "left_out": left_out}))
        return
    if options.toml:
        print(_toml(spec, device, tags, options), end="")
    else:
        width = max((len(str(tag["address"])) for tag in tags), default=0)
        for tag in tags:
            size = f"[{tag['length']}]" if "length" in tag else ""
            what = f"{tag['type']}{size}"
            print(f"{tag['address']:<{width}}  {what:<12}  {tag.get('description', '')}".rstrip())
    for name, why in found.left_out:
        print(f"{NAME}: left out: {name}: {why}", file=sys.stderr)
    print(f"{NAME}: {len(tags)} tags, {len(found.left_out)} left out", file=sys.stderr)


def _toml(
    spec: DriverSpec, device: Device, tags: list[dict[str, Any]], options: argparse.Namespace
) -> str:
    name = name_of(options.name or device.address)
    tables: dict[str, Any] = {}
    place = {"address": device.address}
    if spec.place is Place.LINE:
        place = {"line": f"{name}_line"[-40:].lstrip("_0123456789")}
        tables["line"] = {place["line"]: {"port": device.address, **device.options}}
    if options.unit != 1:
        place |= {"unit": options.unit}
    if options.route_path:
        place |= {"route_path": options.route_path}
    groups = [("all", options.period, tags)] if tags else []
    tables["device"] = {name: device_table(spec.name, place, groups)}
    return toml.text_of(tables, comment=[f"Browsed at {options.address}"])
