"""Multiple Service Packet as its sender sees it: requests in, replies out, nothing taken on trust.

    UINT n | n x UINT offset | n requests or replies       offsets count from the first byte of n

Offsets in a reply must ascend from the end of their table: replies that overlap, alias or leave the
message are a `SessionViolated`.

Source: CIP Networks Library Vol. 1, A-6.1; Logix 5000 Data Access (1756-PM020).
"""

import itertools
import struct
from collections.abc import Sequence

from cpppod.protocols.cip.epath import class_path
from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.model.errors import DecodeError

MESSAGE_ROUTER_PATH = class_path(0x02, 1)
HEAD = bytes((Service.MULTIPLE_SERVICE_PACKET, len(MESSAGE_ROUTER_PATH) >> 1)) + MESSAGE_ROUTER_PATH
REQUEST_OVERHEAD = len(HEAD) + 2  # bytes beside the requests and their offsets
REPLY_OVERHEAD = 4 + 2
OFFSET_BYTES = 2
MAX_SERVICES = 1024  # in one packet; a 16-bit offset cannot reach many more


def encode_batch(requests: Sequence[bytes]) -> bytes:
    """The Multiple Service Packet that carries `requests` to the Message Router."""
    count = len(requests)
    offsets = []
    offset = 2 + 2 * count
    for request in requests:
        offsets.append(offset)
        offset += len(request)
    return HEAD + struct.pack(f"<H{count}H", count, *offsets) + b"".join(requests)


def reply_slices(data: bytes, count: int) -> list[tuple[int, int]]:
    """(start, end) of each of the `count` replies in a packet's reply data.

    Raises:
        SessionViolated: another count, or offsets that lie.
    """
    table = 2 + 2 * count
    if len(data) < table:
        raise SessionViolated(f"packet of {len(data)} bytes for {count} replies")
    found, *offsets = struct.unpack_from(f"<{count + 1}H", data)
    if found != count:
        raise SessionViolated(f"{found} replies to {count} requests")
    offsets.append(len(data))
    if offsets[0] != table:
        raise SessionViolated(f"first reply at {offsets[0]}, not at {table}")
    for start, end in itertools.pairwise(offsets):
        if end - start < 4:
            raise SessionViolated("replies in a packet overlap or are cut short")
    return list(itertools.pairwise(offsets))


def decode_batch(data: bytes, services: Sequence[int]) -> list[MessageRouterReply]:
    """The replies to requests of these service codes, in order.

    Raises:
        SessionViolated: another count, offsets that lie, or a reply to another service.
    """
    replies = []
    slices = reply_slices(data, len(services))
    for service, (start, end) in zip(services, slices, strict=True):
        try:
            reply = MessageRouterReply.decode(data[start:end])
        except DecodeError as error:
            raise SessionViolated(f"reply in a packet: {error}") from None
        if reply.service != service | 0x80:
            raise SessionViolated(
                f"service 0x{reply.service:02x} answers 0x{service:02x} in a packet"
            )
        replies.append(reply)
    return replies
