"""ListServices, ListIdentity, ListInterfaces and the legacy 0x0001: who is there, asked by anyone.

    ListIdentity  item 0x000C  UINT 1 | sockaddr | vendor type code major minor | status | serial
                               SHORT_STRING name | USINT state
    ListServices  item 0x0100  UINT 1 | UINT flags | 16 bytes name
    legacy 0x0001 item 0x0001  UINT 1 | UINT 0 | sockaddr | 16 bytes address as text
    sockaddr                   big-endian: UINT 2 | UINT port | 4 bytes address | 8 zero

Source: CIP Networks Library Vol. 2, 2-4; the legacy command as cpppo records it from
controllers.
"""

import re
import struct
from dataclasses import dataclass

from cpppod.protocols.enip.cpf import Item, ItemType, decode_items, encode_items
from cpppod.protocols.model.errors import DecodeError

PORT = 44_818
SUPPORTS_TCP = 0x0020
SUPPORTS_CLASS_0_1_UDP = 0x0100
_SOCKADDR = struct.Struct(">HH4s8x")
_IDENTITY = struct.Struct("<HHHBBHI")
_SERVICE = struct.Struct("<HH16s")
_OCTET = re.compile(r"[01]?[0-9]?[0-9]|2[0-4][0-9]|25[0-5]")


def _address(text: str) -> bytes:
    """The four bytes of a dotted IPv4 address; zeros for any other text, IPv6 among it."""
    parts = text.split(".")
    if len(parts) != 4 or not all(_OCTET.fullmatch(part) for part in parts):
        return bytes(4)
    return bytes(int(part) for part in parts)


@dataclass(frozen=True, slots=True)
class IdentityItem:
    """One answer to ListIdentity."""

    vendor: int
    device_type: int
    product_code: int
    major: int
    minor: int
    status: int
    serial: int
    product_name: str
    state: int = 0xFF
    address: str = "0.0.0.0"
    port: int = PORT
    version: int = 1

    def encode(self) -> Item:
        """The CPF item."""
        name = self.product_name.encode("iso-8859-1", "replace")[:255]
        return Item(
            ItemType.IDENTITY,
            b"".join(
                (
                    struct.pack("<H", self.version),
                    _SOCKADDR.pack(2, self.port, _address(self.address)),
                    _IDENTITY.pack(
                        *(self.vendor, self.device_type, self.product_code),
                        *(self.major, self.minor, self.status, self.serial),
                    ),
                    bytes((len(name),)),
                    name,
                    bytes((self.state,)),
                )
            ),
        )

    @classmethod
    def decode(cls, item: Item) -> "IdentityItem":
        """The identity in an item; a missing state byte is 0xFF (unknown).

        Raises:
            DecodeError: cut short.
        """
        data = item.data
        if item.type != ItemType.IDENTITY or len(data) < 33 or len(data) < 33 + data[32]:
            raise DecodeError("no identity item", status=0)
        (version,) = struct.unpack_from("<H", data)
        _, port, address = _SOCKADDR.unpack_from(data, 2)
        vendor, kind, code, major, minor, status, serial = _IDENTITY.unpack_from(data, 18)
        end = 33 + data[32]
        return cls(
            *(vendor, kind, code, major, minor, status, serial),
            product_name=data[33:end].decode("iso-8859-1"),
            state=data[end] if len(data) > end else 0xFF,
            address=".".join(str(byte) for byte in address),
            port=port,
            version=version,
        )


@dataclass(frozen=True, slots=True)
class ServiceItem:
    """One answer to ListServices."""

    flags: int = SUPPORTS_TCP
    name: str = "Communications"
    version: int = 1

    def encode(self) -> Item:
        """The CPF item."""
        return Item(
            ItemType.SERVICES,
            _SERVICE.pack(self.version, self.flags, self.name.encode("ascii")[:15]),
        )

    @classmethod
    def decode(cls, item: Item) -> "ServiceItem":
        """The service in an item.

        Raises:
            DecodeError: cut short.
        """
        if item.type != ItemType.SERVICES or len(item.data) < _SERVICE.size:
            raise DecodeError("no service item", status=0)
        version, flags, name = _SERVICE.unpack_from(item.data)
        return cls(flags, name.split(b"\0")[0].decode("iso-8859-1"), version)


@dataclass(frozen=True, slots=True)
class LegacyItem:
    """The answer to the undocumented command 0x0001."""

    address: str = "0.0.0.0"
    port: int = PORT
    version: int = 1

    def encode(self) -> Item:
        """The CPF item."""
        head = struct.pack("<HH", self.version, 0)
        address = _address(self.address)
        text = (self.address if any(address) else "0.0.0.0").encode("ascii")
        sockaddr = _SOCKADDR.pack(2, self.port, address)
        return Item(ItemType.LEGACY_IDENTITY, head + sockaddr + text + bytes(16 - len(text)))

    @classmethod
    def decode(cls, item: Item) -> "LegacyItem":
        """The address in an item.

        Raises:
            DecodeError: cut short.
        """
        if item.type != ItemType.LEGACY_IDENTITY or len(item.data) < 20:
            raise DecodeError("no legacy item", status=0)
        version, _ = struct.unpack_from("<HH", item.data)
        _, port, _address_bytes = _SOCKADDR.unpack_from(item.data, 4)
        text = item.data[20:36].split(b"\0")[0].decode("iso-8859-1")
        return cls(text, port, version)


def encode_list(*items: Item) -> bytes:
    """The data of a list reply."""
    return encode_items(items)


def decode_identities(data: bytes) -> list[IdentityItem]:
    """All identities in a ListIdentity reply's data."""
    return [
        IdentityItem.decode(item) for item in decode_items(data) if item.type == ItemType.IDENTITY
    ]
