"""Multiple Service Packet (0x0A on the Message Router): many requests in one, answered in order.

    UINT n | n x UINT offset from the first byte of n | requests
    the reply likewise; status 0x1E where any of them failed

Members run one after another: one that must leave is waited for before the next. A packet of reads
alone is remembered like a read. Each gets the space that remains; nested packets are refused, and
on a connection those whose shortest replies would not fit its size.

Source: CIP Networks Library Vol. 1, 5-3.6; Logix 5000 Data Access (1756-PM020).
"""

import struct
from collections.abc import Sequence
from typing import Any, Protocol

from cpppod.protocols.cip.failures import refusal
from cpppod.protocols.cip.image import Reply, Source
from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.request import Origin, Pending
from cpppod.protocols.cip.route_table import split_packet
from cpppod.protocols.cip.status import CipError, GeneralStatus

Outcome = bytes | Reply | Pending
_READS = frozenset((Service.READ_TAG, Service.READ_TAG_FRAGMENTED))
LEAST_REPLY = 8  # bytes kept for each member that is still to come


class Executor(Protocol):
    """Who executes the members."""

    def execute(self, message: bytes, origin: Origin) -> Outcome:
        """What becomes of one request."""

    def plain_read(self, message: bytes, room: int) -> Reply | None:
        """The reply to the plainest of reads, None where `execute` is to be asked."""


def serve(executor: Executor, data: bytes, origin: Origin) -> Outcome:
    """The reply to a packet.

    Raises:
        CipError: the status to refuse the packet with.
    """
    members = split_packet(data)
    room = origin.capacity - 6 - 2 * len(members)
    if origin.connected and room < LEAST_REPLY * len(members):
        raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
    return _advance(executor, members, [], room, origin)


def _advance(
    executor: Executor,
    members: Sequence[bytes],
    done: list[bytes | Reply],
    room: int,
    origin: Origin,
) -> Outcome:
    """Execute what remains of the members; those already done stand in `done`, as bytes."""
    settled = len(done)  # before it all are bytes
    while len(done) < len(members):
        kept = LEAST_REPLY * (len(members) - len(done) - 1)
        plain = executor.plain_read(members[len(done)], room - kept)
        if plain is not None:
            room -= plain.cost
            done.append(plain)
            continue
        inner = Origin(
            origin.image,
            origin.address,
            max(room - kept, 6),
            connected=False,
            may_write=origin.may_write,
            wrapped=origin.wrapped,
            packed=True,
            session=origin.session,
        )
        member = members[len(done)]
        if member[0] not in _READS:
            done[settled:] = _rendered(members[settled:], done[settled:])
            settled = len(done)
        outcome = executor.execute(member, inner)
        if isinstance(outcome, Pending):
            return _wait(executor, members, _rendered(members, done), room, origin, outcome)
        if isinstance(outcome, bytes):
            if len(outcome) > max(room - kept, LEAST_REPLY):
                outcome = refusal(member[0], CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE))
            room -= len(outcome)
        else:
            room -= outcome.cost
        done.append(outcome)
    return _finish(members, done)


def _wait(
    executor: Executor,
    members: Sequence[bytes],
    done: list[bytes | Reply],
    room: int,
    origin: Origin,
    pending: Pending,
) -> Pending:
    def resume(result: Any) -> bytes | Pending:
        reply = pending.resume(result)
        if isinstance(reply, Pending):
            return _wait(executor, members, done, room, origin, reply)
        outcome = _advance(executor, members, [*done, reply], room - len(reply), origin)
        return outcome.render() if isinstance(outcome, Reply) else outcome

    return Pending(pending.command, resume, pending.exclusive)


def _rendered(members: Sequence[bytes], done: Sequence[bytes | Reply]) -> list[bytes | Reply]:
    """The replies so far as bytes: a write follows, and they are from before it."""
    return [
        item if isinstance(item, bytes) else _render(member, item)
        for member, item in zip(members, done, strict=False)
    ]


def _render(member: bytes, reply: Reply) -> bytes:
    """Its bytes, or why its tag is not fresh in as many words as its place in the packet holds."""
    try:
        return reply.render()
    except CipError as error:
        error.extended = error.extended[: max(reply.cost - 4, 2) // 2]
        return refusal(member[0], error)


def _finish(members: Sequence[bytes], done: Sequence[bytes | Reply]) -> bytes | Reply:
    replies = [item for item in done if isinstance(item, Reply)]
    if len(replies) < len(done):
        return packed([item for item in _rendered(members, done) if isinstance(item, bytes)])
    sources: dict[int, Source] = {}
    for reply in replies:
        for source in reply.sources:
            sources[id(source)] = source
    cost = sum(reply.cost + 2 for reply in replies) + 6
    renders: list[tuple[bytes, Reply]] = list(zip(members, replies, strict=True))

    def render() -> bytes:
        packet.lasts = True
        rendered = []
        for member, reply in renders:
            try:
                rendered.append(reply.render())
            except CipError as error:
                rendered.append(refusal(member[0], error))
                packet.lasts = False
        return packed(rendered)

    packet = Reply(render, tuple(sources.values()), cost)
    packet.parts = len(replies)
    return packet


def packed(replies: Sequence[bytes]) -> bytes:
    """The reply to a packet, of the replies to its members."""
    count = len(replies)
    offsets, at, failed = [], 2 + 2 * count, 0
    for reply in replies:
        offsets.append(at)
        at += len(reply)
        failed = failed or reply[2]
    status = GeneralStatus.EMBEDDED_SERVICE_ERROR if failed else 0
    table = struct.pack(f"<{count + 1}H", count, *offsets)
    return MessageRouterReply(
        Service.MULTIPLE_SERVICE_PACKET, status, (), table + b"".join(replies)
    ).encode()
