"""Identity object (class 0x01): who the target says it is, there and in ListIdentity.

    1 vendor UINT  2 device type UINT  3 product code UINT  4 revision 2 x USINT  5 status WORD
    6 serial UDINT  7 name SHORT_STRING  8 state USINT  9 consistency UINT  10 heartbeat USINT

Get Attributes All gives 1 to 8: pylogix takes the last byte for the state.

Source: CIP Networks Library Vol. 1, 5-2; defaults as cpppo documents them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cpppod.protocols.cip.objects.attributes import Attribute, CipClass, CipInstance
from cpppod.protocols.cip.objects.spec import Controller, Number, ObjectSpec, String
from cpppod.protocols.cip.types import SSTRING
from cpppod.protocols.enip.discovery import IdentityItem
from cpppod.protocols.model.errors import EncodeError

IDENTITY_CLASS = 0x01


@dataclass(frozen=True, slots=True)
class Identity:
    """The values of the Identity object; `revision` is major in the low byte."""

    vendor: int = 1
    device_type: int = 14
    product_code: int = 54
    revision: int = 2836
    status: int = 12640
    serial: int = 7079450
    product_name: str = "1756-L61/B LOGIX5561"
    state: int = 255
    consistency: int = 0
    heartbeat: int = 0

    @property
    def major(self) -> int:
        """Major revision."""
        return self.revision & 0xFF

    @property
    def minor(self) -> int:
        """Minor revision."""
        return self.revision >> 8

    def item(self, address: str, port: int) -> IdentityItem:
        """Its answer to ListIdentity."""
        return IdentityItem(
            vendor=self.vendor,
            device_type=self.device_type,
            product_code=self.product_code,
            major=self.major,
            minor=self.minor,
            status=self.status,
            serial=self.serial,
            product_name=self.product_name,
            state=self.state,
            address=address,
            port=port,
        )


# Configuration keys, as cpppo.cfg has them and in the TOML file's spelling
_KEYS = {
    "vendor number": "vendor",
    "vendor id": "vendor",
    "vendor": "vendor",
    "device type": "device_type",
    "product code number": "product_code",
    "product code": "product_code",
    "product revision": "revision",
    "revision": "revision",
    "status word": "status",
    "status": "status",
    "serial number": "serial",
    "serial": "serial",
    "product name": "product_name",
    "state": "state",
    "configuration consistency value": "consistency",
    "heartbeat interval": "heartbeat",
}
_REVISIONS = {"major revision": (0xFF00, 0), "minor revision": (0x00FF, 8)}
_LIMITS = {"serial": 0xFFFFFFFF} | dict.fromkeys(("state", "heartbeat", *_REVISIONS), 0xFF)


def configured(identity: Identity, values: Mapping[str, Any]) -> Identity:
    """`identity` with the values of a configuration's section; unknown keys are left alone.

    Raises:
        EncodeError: a value that its attribute cannot hold.
    """
    changes: dict[str, Any] = {}
    for key, value in values.items():
        folded = key.strip().lower().replace("_", " ")
        if folded in _REVISIONS and value is not None:
            kept, shift = _REVISIONS[folded]
            revision = changes.get("revision", identity.revision)
            changes["revision"] = revision & kept | _number(folded, value) << shift
            continue
        name = _KEYS.get(folded)
        if name is None or value is None:
            continue
        changes[name] = str(value).strip() if name == "product_name" else _number(name, value)
    return replace(identity, **changes)


def _number(name: str, value: Any) -> int:
    if name == "revision" and isinstance(value, str) and value.count(".") == 1:
        major, minor = value.split(".")
        return _number("major revision", major) | _number("minor revision", minor) << 8
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise EncodeError(f"{name} {value!r}: expected a number", status=0) from None
    if not 0 <= number <= _LIMITS.get(name, 0xFFFF):
        raise EncodeError(f"{name} {number}: out of range", status=0)
    return number


def identity_class(identity: Identity, *, writable: bool = False) -> CipClass:
    """The Identity object's class; its attributes are read-only unless `writable`."""
    values = (
        struct.pack("<H", identity.vendor),
        struct.pack("<H", identity.device_type),
        struct.pack("<H", identity.product_code),
        struct.pack("<H", identity.revision),
        struct.pack("<H", identity.status),
        struct.pack("<I", identity.serial),
        SSTRING.pack([identity.product_name]),
        bytes((identity.state,)),
        struct.pack("<H", identity.consistency),
        bytes((identity.heartbeat,)),
    )
    held = dict(enumerate(values, 1))
    instance = CipInstance(
        {number: stored(held, number, writable=writable) for number in held},
        everything=range(1, 9),
    )
    found = CipClass(IDENTITY_CLASS)
    found.add(1, instance)
    return found


def stored(held: dict[int, bytes], number: int, *, writable: bool) -> Attribute:
    """An attribute whose bytes stand in `held`."""

    def put(data: bytes) -> None:
        held[number] = data

    size = len(held[number])
    return Attribute(lambda: held[number], put if writable else None, size if writable else 0)


def _of(controller: Controller) -> CipClass:
    return identity_class(controller.identity, writable=controller.writable)


OBJECTS = (
    ObjectSpec(
        IDENTITY_CLASS,
        _of,
        title="Identity",
        table="identity",
        settings={
            "vendor_id": Number(),
            "device_type": Number(),
            "product_code": Number(),
            "major_revision": Number(0xFF),
            "minor_revision": Number(0xFF),
            "status": Number(),
            "serial_number": Number(0xFFFF_FFFF),
            "product_name": String(32),
            "state": Number(0xFF),
            "configuration_consistency_value": Number(),
            "heartbeat_interval": Number(0xFF),
        },
    ),
)
