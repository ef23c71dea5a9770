"""Attempts to write by CIP, as the audit tells them: what was asked, of which tag, what came of it.

request ─► tried(...)   tag, first element, old, new: out of its path and data, as far as known
reply   ─► settled(...) general status, extended words, whether the outcome is unknown

service  4D 53   Write Tag, fragmented      type, count, [offset,] values
         4E      Read-Modify-Write          masks; class 6 has another service of that number
         10 02 04  Set Attribute ...        bytes
         4B      Execute PCCC               a file's address and bytes, where it writes
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cpppod.protocols.cip import epath, types
from cpppod.protocols.cip.epath import Logical, LogicalType, Segment, Symbol
from cpppod.protocols.cip.message_router import (
    REPLY,
    UNCONNECTED_SEND,
    MessageRouterReply,
    MessageRouterRequest,
    Service,
)
from cpppod.protocols.cip.pccc import PCCC_CLASS, PcccRequest
from cpppod.protocols.cip.request import Tried
from cpppod.protocols.cip.route_table import split_packet
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus, words_of
from cpppod.protocols.cip.symbols import Reference
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.writing import MAX_TOLD

WRITE_SERVICES = frozenset((0x02, 0x04, 0x10, 0x4B, 0x4D, 0x4E, 0x53))
PCCC_WRITES = frozenset((0x00, 0x26, 0xAA, 0xAB))  # functions of command 0F
CONNECTION_MANAGER = 6
MOST = MAX_TOLD + 1  # elements that are looked at: the record keeps one less

Resolve = Callable[[Sequence[Segment]], Reference | None]


def tried(service: int, path: Sequence[Segment], data: bytes, resolve: Resolve) -> Tried | None:
    """What a request would write; None where it is no write.

    Args:
        resolve: path -> what it names here, None for nothing (another device's, or a wrong one).
    """
    first = path[0] if path else None
    on_class = first.value if isinstance(first, Logical) and not first.kind else None
    if on_class == CONNECTION_MANAGER or (service == 0x4B and on_class != PCCC_CLASS):
        return None
    if service == 0x4B:
        return _pccc(data)
    reference = resolve(path)
    at, count, new = _NEW.get(service, _raw)(data, reference)
    begin = reference.first if reference else _element(path)
    old = None if reference is None else _old(reference, at, count)
    return Tried(_name(path, reference), begin + at, old, new)


def _element(path: Sequence[Segment]) -> int:
    last = path[-1] if path else None
    is_element = isinstance(last, Logical) and last.kind is LogicalType.ELEMENT
    return last.value if is_element and isinstance(last, Logical) else 0


def _name(path: Sequence[Segment], reference: Reference | None) -> str:
    """The tag's name as everybody knows it; the path as it stands where it names nothing here."""
    bare = list(path)
    while bare and isinstance(bare[-1], Logical) and bare[-1].kind is LogicalType.ELEMENT:
        bare.pop()
    if reference is None:
        return epath.to_text(bare)
    variable = reference.variable
    if reference.member is not None:
        return f"{variable.device}.{reference.member.name}"
    names = [item.name for item in bare if isinstance(item, Symbol)]
    if isinstance(bare[0], Symbol) and len(names) == 1:
        return variable.name
    if isinstance(bare[0], Symbol):
        return epath.to_text(bare)
    return ".".join([variable.name, *names])


_Asked = tuple[int, int, Any]  # elements from the first one, how many, their values


def _typed(data: bytes, reference: Reference | None, *, fragmented: bool = False) -> _Asked:
    try:
        code, _, rest = types.split_type(data)
    except ProtocolError:
        return _raw(data, reference)
    size = 6 if fragmented else 2
    count = int.from_bytes(rest[:2], "little")
    offset = int.from_bytes(rest[2:6], "little") if fragmented else 0
    kind = types.BY_CODE.get(code)
    payload = rest[size:]
    if kind is None or not kind.size:
        return 0, count, _text(kind, payload, count)
    there = min(count, len(payload) // kind.size, MOST)
    values: list[Any] = kind.unpack(payload, there)
    begin = offset // kind.size
    return begin, max(min(count - begin, len(payload) // kind.size), 0), values


def _text(kind: Any, payload: bytes, count: int) -> Any:
    """Strings of varying size as such; a structure's bytes."""
    if kind is not None:
        try:
            return kind.unpack(payload, min(count, MOST))
        except (ProtocolError, ValueError):
            pass
    return [payload]


def _fragment(data: bytes, reference: Reference | None) -> _Asked:
    return _typed(data, reference, fragmented=True)


def _masks(data: bytes, reference: Reference | None) -> _Asked:
    size = int.from_bytes(data[:2], "little")
    masks = data[2:]
    words = f"or 0x{masks[:size][::-1].hex()} and 0x{masks[size : 2 * size][::-1].hex()}"
    return 0, 1, [words]


def _raw(data: bytes, reference: Reference | None) -> _Asked:
    if reference is not None and reference.bit is None and reference.kind.size:
        count, odd = divmod(len(data), reference.kind.size)
        if count and not odd:
            return 0, count, _values(reference, data, count)
    return 0, 1, [data]


_NEW: dict[int, Callable[[bytes, Reference | None], _Asked]] = {
    0x4D: _typed,
    0x53: _fragment,
    0x4E: _masks,
}


def _old(reference: Reference, at: int, count: int) -> list[Any] | None:
    """The elements as they are known now; None where nobody knows."""
    variable = reference.variable
    if variable.attribute is not None or not count:
        return None
    if any(sample.quality for sample in reference.samples):
        return None
    count = min(count, MOST, max(reference.available - at, 0))
    if variable.strings is not None:
        held = variable.strings[reference.at + at : reference.at + at + count]
        return list(reference.kind.unpack(b"".join(held)))
    if reference.bit is not None:
        return [bool(variable.data[reference.at + reference.bit // 8] >> reference.bit % 8 & 1)]
    begin = reference.at + at * reference.kind.size
    return _values(reference, variable.data[begin : begin + count * reference.kind.size], count)


def _values(reference: Reference, raw: bytes | bytearray, count: int) -> list[Any]:
    kind = reference.kind
    if isinstance(kind, types.DataType):
        return list(kind.unpack(bytes(raw), min(count, MOST)))
    return [bytes(raw[at : at + kind.size]) for at in range(0, len(raw), kind.size)][:MOST]


def _pccc(data: bytes) -> Tried | None:
    try:
        request = PcccRequest.decode(data)
    except ProtocolError:
        return None
    if request.command != 0x0F or request.function not in PCCC_WRITES:
        return None
    return Tried(f"@0x67 PCCC function 0x{request.function:02x}", 0, None, [request.data])


def settled(attempt: Tried, reply: bytes, *, why: str = "") -> Tried:
    """The attempt with what its reply says came of it."""
    if reply[2:] == b"\0\0":
        return attempt  # by far the most are done
    try:
        decoded = MessageRouterReply.decode(reply)
    except ProtocolError:
        return replace(
            attempt, status=int(GeneralStatus.GENERAL_ERROR), unknown=True, why="the reply is none"
        )
    status, extended = decoded.status, tuple(decoded.extended)
    if decoded.service & ~REPLY == Service.EXECUTE_PCCC and not status:
        return replace(attempt, **_pccc_status(decoded.data))
    unanswered = extended[:1] == (ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT,)
    unknown = status == GeneralStatus.CONNECTION_FAILURE and unanswered
    text = why or (words_of(status, extended) if status else "")
    return replace(attempt, status=status, extended=extended, unknown=unknown, why=text)


def _pccc_status(data: bytes) -> dict[str, Any]:
    at = data[0] + 1 if data else 0
    status = data[at] if at < len(data) else 0
    if not status:
        return {}
    return {"status": status, "why": f"PCCC status 0x{status:02x}"}


def relayed(request: bytes) -> list[Tried]:
    """The writes in a request that goes to another device: of its members, where it is a packet."""
    try:
        message = MessageRouterRequest.decode(request)
        path = epath.decode(message.path)
        if message.service == Service.MULTIPLE_SERVICE_PACKET:
            return [each for member in split_packet(message.data) for each in relayed_one(member)]
    except CipError:
        return []
    return relayed_one(request) if path else []


def relayed_one(request: bytes) -> list[Tried]:
    """The write that one request is, as a list of none or one."""
    try:
        message = MessageRouterRequest.decode(request)
        path = epath.decode(message.path)
    except ProtocolError:
        return []
    if message.service not in WRITE_SERVICES:
        return []
    found = tried(message.service, path, message.data, lambda path: None)
    return [] if found is None else [found]


def relayed_outcomes(request: bytes, attempts: Sequence[Tried], reply: bytes) -> list[Tried]:
    """The attempts of `relayed(request)` with what the reply says of each."""
    packet = request[:1] == bytes((Service.MULTIPLE_SERVICE_PACKET,))
    if not packet or reply[:1] == bytes((UNCONNECTED_SEND | REPLY,)):
        return [settled(each, reply) for each in attempts]
    try:
        decoded = MessageRouterReply.decode(reply)
        members = split_packet(MessageRouterRequest.decode(request).data)
        replies = split_packet(decoded.data)
    except ProtocolError:
        return [settled(each, reply) for each in attempts]
    writes = [at for at, member in enumerate(members) if relayed_one(member)]
    found = []
    for attempt, at in zip(attempts, writes, strict=True):
        found.append(settled(attempt, replies[at] if at < len(replies) else reply))
    return found
