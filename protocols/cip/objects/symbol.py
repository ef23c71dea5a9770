"""Symbol (0x6B) and Template (0x6C) objects: what tag browsers ask.

    0x55 on 0x6B  UINT n, n x UINT attribute  ->  repeated UDINT instance and what was asked for
                  1 name 2 type 3, 5, 6 addresses and control 7 size 8 dimensions 10 external access
    0x03 on 0x6C  1 handle 2 member count 3 UINT 4 definition words 5 structure size
    0x4C on 0x6C  UDINT offset, UINT length  ->  that part of the definition

Pages hold whole entries; status 6 while more follow.

Source: Logix 5000 Data Access (1756-PM020); observed clients.
"""

import struct
from collections.abc import Callable

from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.objects.attributes import CipInstance, constant
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.cip.symbols import Entry, Scope, Symbols

BASE_TAG = 1 << 26  # software control bit that an alias lacks (pycomm3)
MAX_LISTED = 16  # attributes in one request: the object has eight


def _name(entry: Entry) -> bytes:
    raw = entry.name.encode("iso-8859-1", "replace")
    return struct.pack("<H", len(raw)) + raw


_ATTRIBUTES: dict[int, Callable[[Entry], bytes]] = {
    1: _name,
    2: lambda entry: struct.pack("<H", entry.type_word),
    3: lambda entry: struct.pack("<I", entry.instance << 4),
    5: lambda entry: struct.pack("<I", entry.instance << 8),
    6: lambda entry: struct.pack("<I", 0 if entry.alias else BASE_TAG),
    7: lambda entry: struct.pack("<H", entry.size & 0xFFFF),
    8: lambda entry: struct.pack("<III", *entry.dimensions),
    10: lambda entry: b"\2" if entry.read_only else b"\0",
}


def list_symbols(scope: Scope, start: int, data: bytes, origin: Origin) -> bytes:
    """Get Instance Attribute List (0x55) of a scope, from instance `start` on.

    Raises:
        CipError: the status to refuse with.
    """
    if len(data) < 2:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    (count,) = struct.unpack_from("<H", data)
    if count > MAX_LISTED or len(data) < 2 + 2 * count:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    asked = struct.unpack_from(f"<{count}H", data, 2)
    if any(number not in _ATTRIBUTES for number in asked):
        raise CipError(status=GeneralStatus.ATTRIBUTE_LIST_ERROR)
    room = origin.capacity - 4
    parts: list[bytes] = []
    size, status = 0, 0
    for instance in scope.page(start):
        entry = scope.entries[instance]
        line = struct.pack("<I", instance) + b"".join(_ATTRIBUTES[key](entry) for key in asked)
        if size + len(line) > room and parts:
            status = GeneralStatus.PARTIAL_TRANSFER
            break
        size += len(line)
        parts.append(line)
    return MessageRouterReply(
        Service.GET_INSTANCE_ATTRIBUTE_LIST, status, (), b"".join(parts)
    ).encode()


def symbol_instance(entry: Entry) -> CipInstance:
    """A symbol's attributes, for the attribute services."""
    return CipInstance({key: constant(make(entry)) for key, make in _ATTRIBUTES.items()})


def template_instance(symbols: Symbols, number: int) -> CipInstance:
    """A template's attributes.

    Raises:
        CipError: PATH_DESTINATION_UNKNOWN.
    """
    words = (len(symbols.template_body(number)) + 20) // 4
    structure = symbols.templates[number]
    return CipInstance(
        {
            1: constant(struct.pack("<H", structure.handle)),
            2: constant(struct.pack("<H", len(structure.members))),
            3: constant(struct.pack("<H", 0)),
            4: constant(struct.pack("<I", words)),
            5: constant(struct.pack("<I", structure.size)),
        }
    )


def read_template(symbols: Symbols, number: int, data: bytes, origin: Origin) -> bytes:
    """Read Template (0x4C).

    Raises:
        CipError: the status to refuse with.
    """
    body = symbols.template_body(number)
    if len(data) < 6:
        raise CipError(status=GeneralStatus.NOT_ENOUGH_DATA)
    offset, length = struct.unpack_from("<IH", data)
    if offset > len(body):
        raise CipError(status=GeneralStatus.INVALID_PARAMETER)
    asked = body[offset : offset + length]
    part = asked[: max(origin.capacity - 4, 0)]
    status = GeneralStatus.PARTIAL_TRANSFER if len(part) < len(asked) else 0
    return MessageRouterReply(Service.READ_TAG, status, (), part).encode()
