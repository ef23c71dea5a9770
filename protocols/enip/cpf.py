"""Common Packet Format: the items inside SendRRData, SendUnitData and the list replies.

    UDINT   UINT     UINT   n x (UINT type, UINT length, bytes)
    handle  timeout  count  items

    SendRRData    00 0000 null address   00B2 unconnected data (a Message Router message)
    SendUnitData  00A1 connection id     00B1 UINT sequence, then the message

Sockaddr items (0x8000, 0x8001) may follow the data item. More than four items are refused on the
count.

Source: CIP Networks Library Vol. 2, 2-6.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from cpppod.protocols.enip.encapsulation import Status
from cpppod.protocols.model.errors import DecodeError, EncodeError

MAX_MESSAGE = 65_489  # bytes: a frame's data without what stands around a connected message
MAX_ITEMS = 4  # address, data, and two sockaddr items: no legal message has more
INVALID_DATA = 0x0003  # encapsulation status for a malformed data part
_PREFIX = struct.Struct("<IHH")
_ITEM = struct.Struct("<HH")
_RR = struct.Struct("<IHHHHHH")
_UNIT = struct.Struct("<IHHHHIHHH")


class ItemType(IntEnum):
    """CPF item types (table 2-6.3)."""

    NULL_ADDRESS = 0x0000
    LEGACY_IDENTITY = 0x0001
    IDENTITY = 0x000C
    CONNECTED_ADDRESS = 0x00A1
    CONNECTED_DATA = 0x00B1
    UNCONNECTED_DATA = 0x00B2
    SERVICES = 0x0100
    SOCKADDR_OT = 0x8000
    SOCKADDR_TO = 0x8001
    SEQUENCED_ADDRESS = 0x8002


_PLAIN_RR = (0, 2, ItemType.NULL_ADDRESS, 0, ItemType.UNCONNECTED_DATA)
_PLAIN_UNIT = (0, 2, ItemType.CONNECTED_ADDRESS, 4, ItemType.CONNECTED_DATA)


@dataclass(frozen=True, slots=True)
class Item:
    """One item; `type` stays a bare int where `ItemType` does not have it."""

    type: int
    data: bytes = b""


def encode_items(items: Iterable[Item]) -> bytes:
    """The count and the items."""
    parts = [_ITEM.pack(item.type, len(item.data)) + item.data for item in items]
    return struct.pack("<H", len(parts)) + b"".join(parts)


def decode_items(data: bytes) -> tuple[Item, ...]:
    """The items of `data`, which begins with their count.

    Raises:
        DecodeError: more than `MAX_ITEMS`, or a length beyond the end.
    """
    if len(data) < 2:
        raise DecodeError("no item count", status=INVALID_DATA)
    (count,) = struct.unpack_from("<H", data)
    if count > MAX_ITEMS:
        raise DecodeError(f"{count} items", status=INVALID_DATA)
    items = []
    offset = 2
    for _ in range(count):
        if offset + _ITEM.size > len(data):
            raise DecodeError("item header cut short", status=INVALID_DATA)
        kind, length = _ITEM.unpack_from(data, offset)
        offset += _ITEM.size
        if offset + length > len(data):
            raise DecodeError("item longer than the frame", status=INVALID_DATA)
        items.append(Item(kind, bytes(data[offset : offset + length])))
        offset += length
    return tuple(items)


def _checked(data: bytes) -> tuple[Item, ...]:
    if len(data) < _PREFIX.size:
        raise DecodeError("no CPF", status=Status.INVALID_LENGTH)
    if data[:4] != b"\0\0\0\0":
        raise DecodeError("interface handle is not CIP's", status=INVALID_DATA)
    items = decode_items(data[6:])
    if len(items) < 2:
        raise DecodeError(f"{len(items)} items", status=INVALID_DATA)
    return items


class UnconnectedMessage(NamedTuple):
    """What SendRRData carries; `extra` are the sockaddr items."""

    message: bytes
    timeout: int = 0
    extra: tuple[Item, ...] = ()

    def encode(self) -> bytes:
        """The data of a SendRRData frame.

        Raises:
            EncodeError: a message longer than an item can be.
        """
        size = len(self.message)
        if size > MAX_MESSAGE:
            raise EncodeError(f"message of {size} bytes", status=Status.INVALID_LENGTH)
        if self.extra:
            items = (Item(0), Item(ItemType.UNCONNECTED_DATA, self.message), *self.extra)
            return struct.pack("<IH", 0, self.timeout) + encode_items(items)
        head = _RR.pack(0, self.timeout, 2, 0, 0, ItemType.UNCONNECTED_DATA, size)
        return head + self.message

    @classmethod
    def decode(cls, data: bytes) -> "UnconnectedMessage":
        """The message in a SendRRData frame's data.

        Raises:
            DecodeError: not a null address followed by unconnected data.
        """
        if len(data) >= _RR.size:  # as nearly all are: two items, and the second is the rest
            handle, timeout, count, address_type, length, kind, size = _RR.unpack_from(data)
            plain = (handle, count, address_type, length, kind) == _PLAIN_RR
            if plain and size == len(data) - _RR.size:
                return cls(data[_RR.size :], timeout)
        items = _checked(data)
        address, message, *extra = items
        if address.type != ItemType.NULL_ADDRESS or address.data:
            raise DecodeError("no null address item", status=INVALID_DATA)
        if message.type != ItemType.UNCONNECTED_DATA:
            raise DecodeError("no unconnected data item", status=INVALID_DATA)
        for item in extra:
            if (
                item.type not in (ItemType.SOCKADDR_OT, ItemType.SOCKADDR_TO)
                or len(item.data) != 16
            ):
                raise DecodeError("item is no socket address", status=INVALID_DATA)
        (timeout,) = struct.unpack_from("<H", data, 4)
        return cls(message.data, timeout, tuple(extra))


class ConnectedMessage(NamedTuple):
    """What SendUnitData carries on a class 3 connection."""

    connection_id: int
    sequence: int
    message: bytes
    timeout: int = 0

    def encode(self) -> bytes:
        """The data of a SendUnitData frame.

        Raises:
            EncodeError: a message longer than an item can be.
        """
        if len(self.message) > MAX_MESSAGE:
            raise EncodeError(f"message of {len(self.message)} bytes", status=Status.INVALID_LENGTH)
        head = _UNIT.pack(
            *(0, self.timeout, 2, ItemType.CONNECTED_ADDRESS, 4, self.connection_id),
            *(ItemType.CONNECTED_DATA, len(self.message) + 2, self.sequence),
        )
        return head + self.message

    @classmethod
    def decode(cls, data: bytes) -> "ConnectedMessage":
        """The message in a SendUnitData frame's data.

        Raises:
            DecodeError: not a 4-byte connection id followed by a sequence count.
        """
        if len(data) >= _UNIT.size:
            handle, timeout, count, address_type, length, number, kind, size, sequence = (
                _UNIT.unpack_from(data)
            )
            plain = (handle, count, address_type, length, kind) == _PLAIN_UNIT
            if plain and size == len(data) - _UNIT.size + 2:
                return cls(number, sequence, data[_UNIT.size :], timeout)
        address, message, *_ = _checked(data)
        if address.type != ItemType.CONNECTED_ADDRESS or len(address.data) != 4:
            raise DecodeError("no connected address item", status=INVALID_DATA)
        if message.type != ItemType.CONNECTED_DATA or len(message.data) < 2:
            raise DecodeError("no connected data item", status=INVALID_DATA)
        (timeout,) = struct.unpack_from("<H", data, 4)
        return cls(
            int.from_bytes(address.data, "little"),
            int.from_bytes(message.data[:2], "little"),
            message.data[2:],
            timeout,
        )
