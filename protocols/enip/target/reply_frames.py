"""Reply frames of a target, and how its requests are cut apart: headers, prefixes, numbers.

    SendRRData    header | options | CPF up to the message             | message
    SendUnitData  header | options | CPF up to the sequence count ("lead") | sequence | message

What a session remembers of a reply begins at the options: all before it is the request's own.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

from cpppod.protocols.enip.cpf import ItemType
from cpppod.protocols.enip.encapsulation import HEADER

_PACKET, _UNCONNECTED_SEND = b"\x0a", b"\x52"
Header = tuple[int, int, int, int, bytes, int]  # command, length, session, status ... options

NOP, LEGACY, LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES = 0x00, 0x01, 0x04, 0x63, 0x64
REGISTER, UNREGISTER, SEND_RR_DATA, SEND_UNIT_DATA = 0x65, 0x66, 0x6F, 0x70
INVALID_COMMAND, INVALID_SESSION, INVALID_LENGTH = 0x01, 0x64, 0x65
UNSUPPORTED_REVISION = 0x69
KNOWN_COMMANDS = frozenset(
    (
        *(NOP, LEGACY, LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES),
        *(REGISTER, UNREGISTER, SEND_RR_DATA, SEND_UNIT_DATA),
    )
)
# Offsets in a request's frame; the last four only where it is on a connection
CONTEXT, OPTIONS, TIMEOUT, ITEMS = 12, 20, 28, 30
DATA_ITEM, DATA_LENGTH, SEQUENCE, MESSAGE = 40, 42, 44, 46
# ... and in one with an Unconnected Send to the Connection Manager's usual path
WRAPPER, WRAPPED_LENGTH, WRAPPED = 40, 48, 50

_RR = struct.Struct("<IIHHHHHH")
_UNIT = struct.Struct("<IIHHHHIHH")
_HEAD = struct.Struct("<HH")
_WORD = struct.Struct("<H")
_RR_FRAME = struct.Struct("<HHII8sIIHHHHHH")
_RR_OVERHEAD = 16  # bytes of the frame's data around the message
_UNIT_OVERHEAD = 22


@lru_cache(256)
def shape(total: int) -> struct.Struct:
    """A frame of `total` bytes: command to status, sender context, and what it means."""
    return struct.Struct(f"{CONTEXT}s{OPTIONS - CONTEXT}s{total - OPTIONS}s")


@lru_cache(256)
def unit_shape(total: int) -> struct.Struct:
    """The same for a request on a connection: its address, sequence count and message apart."""
    address = SEQUENCE - OPTIONS
    return struct.Struct(f"{CONTEXT}s{OPTIONS - CONTEXT}s{address}s2s{total - MESSAGE}s")


def weight(frame: bytes) -> int:
    """How many requests a frame holds: those of a Multiple Service Packet count one by one."""
    at = MESSAGE if frame[0] == SEND_UNIT_DATA else WRAPPER
    if frame[at : at + 1] == _UNCONNECTED_SEND and at == WRAPPER:
        at = WRAPPED
    if frame[at : at + 1] != _PACKET:
        return 1
    at += 2 + 2 * frame[at + 1] if len(frame) > at + 1 else 0
    return max(1, int.from_bytes(frame[at : at + 2], "little"))


def error_frame(header: Header, status: int) -> bytes:
    """A reply of the header alone."""
    return HEADER.pack(header[0], 0, header[2], status, header[4], 0)


def rr_head(size: int) -> bytes:
    """Command and length of a SendRRData reply with a message of `size` bytes."""
    return _HEAD.pack(SEND_RR_DATA, size + _RR_OVERHEAD)


def rr_tail(message: bytes, timeout: int) -> bytes:
    """A SendRRData reply from its options on."""
    size = len(message)
    return _RR.pack(0, 0, timeout, 2, 0, 0, ItemType.UNCONNECTED_DATA, size) + message


@lru_cache(256)
def wrapped_shape(total: int, size: int) -> struct.Struct:
    """A frame of `total` bytes with an Unconnected Send: head, sender context, all that stands
    before the request of `size` bytes, the request, its route."""
    rest = total - WRAPPED - size
    return struct.Struct(f"{CONTEXT}s{OPTIONS - CONTEXT}s{WRAPPED - OPTIONS}s{size}s{rest}s")


def rr_pieces(
    ours: bytes, timeout: int, contexts: Sequence[bytes], messages: Sequence[bytes]
) -> list[bytes]:
    """SendRRData replies in pieces; `ours` is session and status as they stand in a header."""
    pieces: list[bytes] = []
    size = -1
    head = lead = b""
    for context, message in zip(contexts, messages, strict=True):
        if len(message) != size:
            size = len(message)
            head, lead = rr_head(size) + ours, rr_tail(b"", timeout)[:-2] + _WORD.pack(size)
        pieces += (head, context, lead, message)
    return pieces


def unit_head(size: int) -> bytes:
    """Command and length of a SendUnitData reply with a message of `size` bytes."""
    return _HEAD.pack(SEND_UNIT_DATA, size + _UNIT_OVERHEAD)


def unit_lead(to_id: int, size: int) -> bytes:
    """From the options to the sequence count of a SendUnitData reply."""
    return _UNIT.pack(
        *(0, 0, 0, 2, ItemType.CONNECTED_ADDRESS, 4, to_id, ItemType.CONNECTED_DATA, size + 2)
    )


def rr_wrap(context: bytes, handle: int, timeout: int) -> Callable[[bytes], bytes]:
    """What makes a SendRRData reply of a message."""

    def wrap(message: bytes) -> bytes:
        size = len(message)
        head = _RR_FRAME.pack(
            *(SEND_RR_DATA, size + _RR_OVERHEAD, handle, 0, context, 0),
            *(0, timeout, 2, 0, 0, ItemType.UNCONNECTED_DATA, size),
        )
        return head + message

    return wrap


def unit_wrap(context: bytes, handle: int, to_id: int, sequence: bytes) -> Callable[[bytes], bytes]:
    """What makes a SendUnitData reply of a message."""

    def wrap(message: bytes) -> bytes:
        size = len(message)
        ours = struct.pack("<II", handle, 0)
        return unit_head(size) + ours + context + unit_lead(to_id, size) + sequence + message

    return wrap
