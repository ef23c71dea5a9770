"""Controllers out of a TOML file: many in one process, with structures of the user's.

[[structure]]                      shared by all controllers of the file
name = "Recipe"
members = [ { name = "speed", type = "REAL" }, { name = "steps", type = "INT", length = 8 } ]

[[controller]]
address = "127.0.0.2:44818"        or a range: "127.0.0.2-127.0.0.201:44818"
plc = "compactlogix"
tags = [ "Total=DINT", { name = "Recipes", type = "Recipe", length = [3] } ]
moves = [ "Total=counter" ]
"""

import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.model.addresses import SocketAddress, socket_address
from cpppod.protocols.model.errors import EncodeError
from cpppod.simulator import Settings, Simulator
from cpppod.simulator.defined import check_structure
from cpppod.simulator.tags import Declaration, FileError, TagError, parse_declaration, parse_delay
from cpppod.workers.transport.enip_endpoint import Limits

PORT = 44_818
MAX_RANGE = 4_096  # addresses of one range
_TABLES = {"identity", "tcpip", "routes"}


def addresses(text: str) -> list[str]:
    """`host:port` of each address in `[host[-host]][:port]`.

    Raises:
        TagError: not an address, or a range that runs backwards or too far.
    """
    first, dash, rest = text.strip().partition("-")
    try:
        if not dash:
            host, number = socket_address(first.replace("*", ""), host="", port=PORT, any_port=True)
            return [str(SocketAddress(_address_of(host), number))]
        last, number = socket_address(rest, port=PORT, any_port=True)
        low, high = ipaddress.ip_address(first.strip("[]")), ipaddress.ip_address(last)
    except ValueError as error:
        raise TagError(f"address {text!r}: {error}; expected [IP address][:port]") from None
    if low.version != high.version or not 0 <= int(high) - int(low) < MAX_RANGE:
        raise TagError(f"address {text!r}: not a range of at most {MAX_RANGE}")
    return [str(SocketAddress(str(low + step), number)) for step in range(int(high) - int(low) + 1)]


def _address_of(host: str) -> str:
    if not host:
        return "0.0.0.0"
    if host.lower() == "localhost":
        return "127.0.0.1"
    return str(ipaddress.ip_address(host))


def read_controllers(path: str, base: Settings) -> list[Simulator]:
    """The controllers that a TOML file describes; `base` says what it leaves open.

    Raises:
        FileError: the file makes no sense; the text says where.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            plain = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise FileError(f"{path}: {error}") from None
    structures = {
        str(table.get("name", "")): table.get("members") for table in plain.get("structure", [])
    }
    for name, members in structures.items():
        check_structure(path, name, members)
    found = []
    for number, table in enumerate(plain.get("controller", []), 1):
        try:
            found += controllers(table, replace(base, structures=structures))
        except (EncodeError, KeyError, TypeError, ValueError) as error:
            raise FileError(f"{path}: controller {number}: {_said(error)}") from None
    if not found:
        raise FileError(f"{path}: no [[controller]]")
    return found


def _said(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def controllers(table: Mapping[str, Any], base: Settings) -> list[Simulator]:
    """The controllers of one `[[controller]]` table: one for each of its addresses.

    Raises:
        TagError: an unknown key, or a tag that cannot be declared.
    """
    known = {item.name for item in fields(Settings)} - {"structures", "attribute_class", "limits"}
    changes: dict[str, Any] = {}
    for key, value in table.items():
        if key == "tags":
            continue
        if key == "delay" and isinstance(value, str):
            changes[key] = parse_delay(value)
            continue
        if key == "limits":
            changes[key] = Limits.configured(value)
            continue
        if key not in known:
            raise TagError(f"unknown key {key!r}; one of tags, {', '.join(sorted(known))}")
        changes[key] = tuple(value) if isinstance(value, list) else value
    settings = replace(base, **changes)
    tags = [_declaration(tag, settings.structures) for tag in table.get("tags", ())]
    return [
        Simulator(tags, replace(settings, address=address))
        for address in addresses(str(table.get("address", base.address)))
    ]


def _declaration(tag: Any, structures: Mapping[str, Any]) -> Declaration:
    names: dict[str, Structure] = dict.fromkeys(
        (name.casefold() for name in structures),  # only the names matter here
    )  # type: ignore[assignment]
    if isinstance(tag, str):
        return parse_declaration(tag, names)
    given = parse_declaration(f"{tag['name']}={tag.get('type', 'INT')}", names)
    length: int | Sequence[int] = tag.get("length", ())
    dimensions = (length,) if isinstance(length, int) else tuple(length)
    return replace(
        given,
        dimensions=() if dimensions == (1,) else dimensions,
        value=tag.get("value"),
        writable=bool(tag.get("writable", True)),
        address=_address(tag.get("address")),
    )


def _address(text: str | None) -> tuple[int, int, int] | None:
    if not text:
        return None
    return parse_declaration(f"x@{text.lstrip('@')}=INT").address
