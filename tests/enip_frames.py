"""Frames of an EtherNet/IP client, made by hand for the tests of targets."""

import struct
from collections.abc import Iterable

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.connection_manager import ForwardOpen, NetworkParameters
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest
from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.enip.cpf import ConnectedMessage, UnconnectedMessage
from cpppod.protocols.enip.encapsulation import HEADER

CONTEXT = b"context1"
REGISTER = HEADER.pack(0x65, 4, 0, 0, CONTEXT, 0) + struct.pack("<HH", 1, 0)


def frame(command: int, data: bytes = b"", session: int = 0, context: bytes = CONTEXT) -> bytes:
    """An encapsulation frame."""
    return HEADER.pack(command, len(data), session, 0, context, 0) + data


def rr(message: bytes, session: int, context: bytes = CONTEXT) -> bytes:
    """SendRRData with a Message Router request."""
    return frame(0x6F, UnconnectedMessage(message).encode(), session, context)


def unit(message: bytes, session: int, connection: int, sequence: int) -> bytes:
    """SendUnitData with a Message Router request."""
    return frame(0x70, ConnectedMessage(connection, sequence, message).encode(), session)


def request(service: int, path: str | bytes, data: bytes = b"") -> bytes:
    """A Message Router request; a path as text is a tag's, or `@class/instance/...`."""
    raw = path if isinstance(path, bytes) else epath.encode(epath.parse_path(path))
    return MessageRouterRequest(service, raw, data).encode()


def read(tag: str, count: int = 1) -> bytes:
    """Read Tag."""
    return request(0x4C, tag, struct.pack("<H", count))


def write(tag: str, code: int, raw: bytes, count: int = 1) -> bytes:
    """Write Tag of an elementary type."""
    return request(0x4D, tag, struct.pack("<HH", code, count) + raw)


def packet(members: Iterable[bytes]) -> bytes:
    """A Multiple Service Packet."""
    given = list(members)
    at = 2 + 2 * len(given)
    offsets = []
    for member in given:
        offsets.append(at)
        at += len(member)
    table = struct.pack(f"<{len(given) + 1}H", len(given), *offsets)
    return request(0x0A, "@2/1", table + b"".join(given))


def routed(message: bytes, route: str, *, ticks: tuple[int, int] = (5, 157)) -> bytes:
    """The request in an Unconnected Send."""
    return UnconnectedSend(message, epath.encode(epath.parse_route_path(route)), *ticks).encode()


def forward_open(
    path: str = "1/0/@2/1", *, size: int = 500, large: bool = False, serial: int = 1
) -> bytes:
    """A Forward Open of class 3."""
    return ForwardOpen(
        0,
        0x1001,
        serial,
        0x1009,
        42,
        2_000_000,
        2_000_000,
        NetworkParameters(size),
        NetworkParameters(size),
        epath.encode(epath.parse_connection_path(path)),
        multiplier=1,
        large=large,
    ).encode()


def frames(data: bytes) -> list[bytes]:
    """The frames in a stream of bytes."""
    found = []
    while data:
        end = HEADER.size + int.from_bytes(data[2:4], "little")
        found.append(data[:end])
        data = data[end:]
    return found


def reply_of(data: bytes) -> MessageRouterReply:
    """The Message Router reply in one frame."""
    assert HEADER.unpack_from(data)[3] == 0, f"encapsulation status {data[8:12].hex()}"
    if data[0] == 0x6F:
        return MessageRouterReply.decode(UnconnectedMessage.decode(data[24:]).message)
    return MessageRouterReply.decode(ConnectedMessage.decode(data[24:]).message)
