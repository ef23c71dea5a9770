"""A controller of a few tags, asked without session or socket."""

import struct
from typing import Any

from cpppod.protocols.cip import structures, types
from cpppod.protocols.cip.failures import refusal
from cpppod.protocols.cip.image import Reply, Variable
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.request import Origin, Pending
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.cip.symbols import declare
from cpppod.protocols.cip.target import Outcome, Target

UDT = structures.define(
    "Motor",
    [("Speed", types.REAL, 0), ("Runs", types.BOOL, 0), ("Counts", types.DINT, 4)],
    template_id=0x101,
)


def controller(**options: Any) -> Target:
    """A ControlLogix, or another by `personality`, that counts its connection ids and its clock."""
    ids, ticks = iter(range(0x5001, 1 << 20)), iter(range(1_000_000, 1 << 40))
    target = Target(random_u32=lambda: next(ids), clock_us=lambda: next(ticks), **options)
    for variable in (
        Variable("Count", types.DINT),
        Variable("Row", types.INT, (10,)),
        Variable("Names", types.STRING, (4,)),
        Variable("Motor", UDT),
        Variable("Delay", structures.TIMER),
        declare("Bits", types.BOOL, (64,)),
    ):
        target.add_tag(variable)
    return target


def outcome(target: Target, message: bytes, **origin: Any) -> Outcome:
    """What becomes of a request."""
    return target.execute(message, Origin(target.image, "10.0.0.9", **origin))


def ask(target: Target, message: bytes, **origin: Any) -> MessageRouterReply:
    """The reply to a request that does not leave."""
    found = outcome(target, message, **origin)
    assert not isinstance(found, Pending)
    try:
        return MessageRouterReply.decode(found.render() if isinstance(found, Reply) else found)
    except CipError as error:  # a remembered read of what is no longer fresh
        return MessageRouterReply.decode(refusal(message[0], error))


def pending(target: Target, message: bytes, **origin: Any) -> Pending:
    """What a request waits for."""
    found = outcome(target, message, **origin)
    assert isinstance(found, Pending)
    return found


def resumed(found: Pending, result: Any) -> MessageRouterReply:
    """The reply once the result is there."""
    reply = found.resume(result)
    assert isinstance(reply, bytes)
    return MessageRouterReply.decode(reply)


def words(*values: int) -> bytes:
    """UINTs as they travel."""
    return struct.pack(f"<{len(values)}H", *values)
