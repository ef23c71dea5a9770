"""Who is there: the commands that are answered to anyone, over TCP and UDP.

Source: CIP Networks Library Vol. 2, 2-4.
"""

from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip import discovery
from cpppod.protocols.enip.encapsulation import HEADER
from cpppod.protocols.enip.target.reply_frames import (
    LEGACY,
    LIST_IDENTITY,
    LIST_INTERFACES,
    LIST_SERVICES,
)


def list_reply(target: Target, command: int, address: str, port: int) -> bytes | None:
    """The data of a list command's reply; None for other commands."""
    if command == LIST_SERVICES:
        return discovery.encode_list(discovery.ServiceItem().encode())
    if command == LIST_IDENTITY:
        return discovery.encode_list(target.identity.item(address, port).encode())
    if command == LIST_INTERFACES:
        return discovery.encode_list()
    if command == LEGACY:
        return discovery.encode_list(discovery.LegacyItem(address, port).encode())
    return None


def answer_datagram(target: Target, data: bytes, address: str, port: int) -> bytes | None:
    """The reply to a UDP datagram; only the list commands are ever answered."""
    if len(data) < HEADER.size:
        return None
    command, length, session, _status, context, options = HEADER.unpack_from(data)
    if length != len(data) - HEADER.size or options:
        return None
    body = list_reply(target, command, address, port)
    if body is None:
        return None
    return HEADER.pack(command, len(body), session, 0, context, 0) + body
