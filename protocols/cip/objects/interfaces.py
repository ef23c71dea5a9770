"""The objects of the network interface: TCP/IP (0xF5), Ethernet Link (0xF6) and Port (0xF4).

    TCP/IP 1 status 2 capability 3 control 4 path to link (UINT words, EPATH)
           5 UDINT address, mask, gateway, dns1, dns2, STRING domain   6 STRING host name
    Link   1 speed 2 flags 3 MAC 4 counters 5 media counters 6 control 7 type 8 state 10 label
    Port   1 type 2 number 3 link object 4 name 7 node address

Addresses are UDINTs: 192.168.0.5 travels as 05 00 A8 C0.

Source: CIP Networks Library Vol. 2, 5-4 and 5-5; Vol. 1, 3-7.
"""

import json
import re
import struct
from collections.abc import Mapping
from typing import Any

from cpppod.protocols.cip.objects.attributes import CipClass, CipInstance, constant
from cpppod.protocols.cip.objects.identity import stored
from cpppod.protocols.cip.objects.spec import Controller, Number, ObjectSpec, String
from cpppod.protocols.cip.types import SSTRING, STRING
from cpppod.protocols.model.errors import EncodeError

TCPIP_CLASS = 0xF5
LINK_CLASS = 0xF6
PORT_CLASS = 0xF4
_LINK_PATH = bytes.fromhex("20f62401")
_OCTET = re.compile(r"[01]?[0-9]?[0-9]|2[0-4][0-9]|25[0-5]")
_ADDRESS_KEYS = ("ip_address", "network_mask", "gateway_address", "dns_primary", "dns_secondary")


def _udint_address(text: Any) -> bytes:
    parts = str(text or "0.0.0.0").split(".")
    if len(parts) != 4 or not all(_OCTET.fullmatch(part) for part in parts):
        raise EncodeError(f"address {text!r}: expected dotted IPv4", status=0)
    return bytes(int(part) for part in reversed(parts))


def _section(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key.strip().lower().replace("_", " "): value
        for key, value in values.items()
        if value is not None
    }


def interface_configuration(values: Any) -> bytes:
    """Attribute 5 from a map (or its JSON) with `ip_address`, `network_mask` ... `domain_name`.

    Raises:
        EncodeError: not a map, or an address that cannot be understood.
    """
    if isinstance(values, str):
        try:
            values = json.loads(values or "{}")
        except (ValueError, RecursionError) as error:
            raise EncodeError(f"Interface Configuration: {error}", status=0) from None
    if not isinstance(values, Mapping):
        raise EncodeError("Interface Configuration: expected a map", status=0)
    addresses = b"".join(_udint_address(values.get(key)) for key in _ADDRESS_KEYS)
    return addresses + STRING.pack([str(values.get("domain_name") or "")])


_FLAT_KEYS = {"name server": "dns_primary", "name server 2": "dns_secondary"}


def _flat(section: Mapping[str, Any]) -> dict[str, Any]:
    """The TOML file's flat keys as attribute 5's map."""
    return {_FLAT_KEYS.get(key, key.replace(" ", "_")): value for key, value in section.items()}


def tcpip_class(values: Mapping[str, Any], *, writable: bool = False) -> CipClass:
    """The TCP/IP Interface object from a configuration's section.

    Raises:
        EncodeError: a value that its attribute cannot hold.
    """
    section = _section(values)

    def number(key: str, default: int) -> bytes:
        value = section.get(key, section.get(key.removeprefix("interface "), default))
        try:
            return struct.pack("<I", int(value))
        except (ValueError, TypeError, struct.error) as error:
            raise EncodeError(f"{key}: {error}", status=0) from None

    path = struct.pack("<H", len(_LINK_PATH) // 2) + _LINK_PATH
    held = {
        1: number("interface status", 2),
        2: number("configuration capability", 48),
        3: number("configuration control", 0),
        4: path,
        5: interface_configuration(section.get("interface configuration", _flat(section))),
        6: STRING.pack([str(section.get("host name") or "")]),
    }
    attributes = {number: stored(held, number, writable=writable) for number in held}
    attributes[8] = constant(b"\1")
    attributes[13] = constant(struct.pack("<H", 120))
    found = CipClass(TCPIP_CLASS, revision=4)
    found.add(1, CipInstance(attributes, everything=range(1, 7)))
    return found


def link_class(mac: bytes = bytes.fromhex("00001bc0ffee")) -> CipClass:
    """The Ethernet Link object: 100 Mbit/s full duplex, link up, counters at zero."""
    attributes = {
        1: struct.pack("<I", 100),
        2: struct.pack("<I", 0x0F),
        3: mac,
        4: bytes(44),
        5: bytes(48),
        6: bytes(4),
        7: b"\2",
        8: b"\1",
        9: b"\1",
        10: SSTRING.pack(["port 1"]),
    }
    found = CipClass(LINK_CLASS, revision=3)
    instance = CipInstance({number: constant(data) for number, data in attributes.items()})
    instance.everything = range(1, 11)
    found.add(1, instance)
    return found


def port_class(slot: int = 0) -> CipClass:
    """The Port object: backplane port 1 and TCP/IP port 2."""
    found = CipClass(PORT_CLASS)
    ports = {
        1: (1, 1, bytes.fromhex("20662401"), "Backplane", bytes((1, slot))),
        2: (4, 2, bytes.fromhex("20f52401"), "Ethernet", bytes.fromhex("0200")),
    }
    for number, (kind, port, link, name, node) in ports.items():
        attributes = {
            1: struct.pack("<H", kind),
            2: struct.pack("<H", port),
            3: struct.pack("<H", len(link) // 2) + link,
            4: SSTRING.pack([name]),
            7: node,
        }
        found.add(number, CipInstance({key: constant(data) for key, data in attributes.items()}))
    listing = struct.pack("<6H", 0, 0, 1, 1, 4, 2)
    class_attributes = {
        1: struct.pack("<H", 1),
        2: struct.pack("<H", 2),
        3: struct.pack("<H", 2),
        8: struct.pack("<H", 2),
        9: listing,
    }
    found.add(0, CipInstance({key: constant(data) for key, data in class_attributes.items()}))
    return found


def _tcpip(controller: Controller) -> CipClass:
    return tcpip_class(controller.settings.get("tcpip", {}), writable=controller.writable)


OBJECTS = (
    ObjectSpec(
        TCPIP_CLASS,
        _tcpip,
        title="TCP/IP Interface",
        table="tcpip",
        settings={
            "status": Number(0xFFFF_FFFF),
            "configuration_capability": Number(0xFFFF_FFFF),
            "configuration_control": Number(0xFFFF_FFFF),
            "ip_address": String(),
            "network_mask": String(),
            "gateway_address": String(),
            "name_server": String(),
            "name_server_2": String(),
            "domain_name": String(48),
            "host_name": String(64),
        },
    ),
    ObjectSpec(LINK_CLASS, lambda controller: link_class()),
    ObjectSpec(PORT_CLASS, lambda controller: port_class()),
)
