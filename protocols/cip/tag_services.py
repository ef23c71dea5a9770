"""Tag services: Read and Write Tag, their Fragmented forms, and Read-Modify-Write.

    0x4C  UINT count                                  type, data; status 6 and a part where too long
    0x52  UINT count, UDINT byte offset               offset within the range asked for
    0x4D  type, UINT count, data                      what follows count x size is ignored
    0x53  type, UINT count, UDINT byte offset, data   count is the total of all fragments
    0x4E  UINT size, OR mask, AND mask                value = value OR or AND and

A read becomes a `Reply` that can be remembered; a write to a device's tag becomes a `WriteNeeded`.

Source: Logix 5000 Data Access (1756-PM020).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.cip import structures, types
from cpppod.protocols.cip.failures import cip_status, refusal
from cpppod.protocols.cip.image import Image, Reply, Variable
from cpppod.protocols.cip.message_router import REPLY, MessageRouterReply
from cpppod.protocols.cip.request import CallNeeded, Origin, Pending, WriteNeeded
from cpppod.protocols.cip.status import CipError, GeneralStatus, TagStatus
from cpppod.protocols.cip.structures import Structure
from cpppod.protocols.cip.symbols import Reference
from cpppod.protocols.cip.types import DataType
from cpppod.protocols.model.errors import EncodeError, ProtocolError
from cpppod.protocols.model.writing import WriteRefused

Outcome = bytes | Reply | Pending
MASK_SIZES = (1, 2, 4, 8, 12)  # 12: a TIMER, COUNTER or CONTROL as a whole
_READ_SUCCESS = b"\xcc\0\0\0"
_COUNT = struct.Struct("<H")
_COUNT_OFFSET = struct.Struct("<HI")


def beyond_end(extended: int = TagStatus.ELEMENTS_BEYOND_END) -> CipError:
    """Elements, or an offset, past the tag's end."""
    return CipError(status=GeneralStatus.GENERAL_ERROR, extended=(extended,))


def short() -> CipError:
    """The request ends before its own fields do."""
    return CipError(status=GeneralStatus.NOT_ENOUGH_DATA)


def _mismatch() -> CipError:
    return CipError(status=GeneralStatus.GENERAL_ERROR, extended=(TagStatus.TYPE_MISMATCH,))


def _success(service: int) -> bytes:
    return bytes((service | REPLY, 0, 0, 0))


def plain_name(message: bytes) -> str:
    """The name in `4C n 91 length name [pad] 0001`, "" where the request is another."""
    if len(message) < 8 or message[0] != 0x4C or message[2] != 0x91:
        return ""
    size = message[3]
    padded = size + (size & 1)
    whole = len(message) == padded + 6 and 2 * message[1] == padded + 2
    if not whole or message[-2:] != b"\1\0":
        return ""
    return message[4 : 4 + size].decode("iso-8859-1")


def plain_reply(variable: Variable, room: int) -> Reply | None:
    """The first element of a local tag, None where it is not simply a piece of its memory."""
    if variable.error or variable.device or variable.attribute is not None:
        return None
    size = variable.type.size
    prefix = _READ_SUCCESS + variable.type.header
    length = len(prefix) + size
    if not size or length > room:
        return None
    memory = variable.data

    def render() -> bytes:
        return prefix + memory[:size]

    return Reply(render, (variable,), length)


def read(service: int, reference: Reference, data: bytes, origin: Origin) -> Outcome:
    """Read Tag (0x4C) or Read Tag Fragmented (0x52).

    Raises:
        CipError: a request cut short, a count that does not fit, or an injected error.
    """
    fragmented = service == 0x52
    layout = _COUNT_OFFSET if fragmented else _COUNT
    if len(data) < layout.size:
        raise short()
    count, offset = layout.unpack_from(data) if fragmented else (*layout.unpack_from(data), 0)
    if not count:
        raise CipError(status=GeneralStatus.INVALID_PARAMETER_VALUE)
    variable = reference.variable
    if variable.error:
        raise CipError(status=variable.error)
    room = origin.capacity + (0 if fragmented else origin.slack) - 4
    if count > reference.available:
        reference = _as_bools(reference, count)
    if variable.attribute is not None:
        return _read_attribute(service, reference, (count, offset), room, origin)
    if variable.strings is not None:
        elements = variable.strings[reference.at : reference.at + count]
        return _string_reply(service, reference.kind, elements, offset, room - 2)
    if isinstance(reference, _Bools):
        return _bools_reply(service, reference, (count, offset), room - 2, origin)
    return _memory_reply(service, reference, (count, offset), room, origin)


class _Bools(Reference):
    """A BOOL array's bits one by one, as clients that know no packed arrays address them."""


def _as_bools(reference: Reference, count: int) -> Reference:
    """The same request in single bits, where a packed BOOL array has so many."""
    there = 32 * reference.whole if reference.variable.attribute is None else 0
    packed = reference.kind is types.DWORD and reference.array
    if not packed or reference.first + count > there:
        raise beyond_end()
    bools = _Bools(reference.variable, types.BOOL, at=reference.at - 4 * reference.first)
    bools.first = reference.first
    bools.available = 32 * reference.whole - reference.first
    bools.samples = reference.samples
    bools.member = reference.member
    return bools


def _bools_reply(
    service: int, reference: Reference, asked: tuple[int, int], room: int, origin: Origin
) -> bytes:
    count, offset = asked
    if offset and offset >= count:
        raise beyond_end(TagStatus.OFFSET_BEYOND_END)
    _check_fresh(reference, origin.image)
    memory, base = reference.variable.data, reference.at
    chosen = range(reference.first + offset, reference.first + count)
    raw = bytes(memory[base + bit // 8] >> bit % 8 & 1 for bit in chosen)
    status = 6 if len(raw) > room else 0
    return bytes((service | REPLY, 0, status, 0)) + types.BOOL.header + raw[:room]


def _cut(size: int, offset: int, total: int, room: int) -> tuple[int, int]:
    """(bytes to send, status) of a range of `total` bytes from `offset` on."""
    if offset and offset >= total:
        raise beyond_end(TagStatus.OFFSET_BEYOND_END)
    left = total - offset
    if left <= room:
        return left, GeneralStatus.SUCCESS
    unit = size if size <= 8 else 4
    fits = max(room, 0) // unit * unit
    return fits, GeneralStatus.PARTIAL_TRANSFER


def _string_reply(
    service: int, kind: Any, elements: Sequence[bytes], offset: int, room: int
) -> bytes:
    """Strings of varying size: whole elements only, so that a client can decode each fragment."""
    position = _elements_before(elements, offset)
    sent: list[bytes] = []
    size = 0
    for element in elements[position:]:
        if size + len(element) > room:
            break
        size += len(element)
        sent.append(element)
    status = 6 if position + len(sent) < len(elements) else 0
    header: bytes = kind.header
    return bytes((service | REPLY, 0, status, 0)) + header + b"".join(sent)


def _elements_before(elements: Sequence[bytes], offset: int) -> int:
    """How many strings of varying size take up exactly `offset` bytes."""
    position, skipped = 0, 0
    while position < len(elements) and skipped < offset:
        skipped += len(elements[position])
        position += 1
    if skipped != offset or (offset and position >= len(elements)):
        raise beyond_end(TagStatus.OFFSET_BEYOND_END)
    return position


def _memory_reply(
    service: int, reference: Reference, asked: tuple[int, int], room: int, origin: Origin
) -> Reply:
    """A reply that is a slice of the variable's memory, checked for freshness at each rendering."""
    (count, offset), kind, variable = asked, reference.kind, reference.variable
    header = kind.header
    size = 1 if reference.bit is not None else kind.size
    length, status = _cut(size, offset, count * size, room - len(header))
    if status and not length and not origin.packed:  # a client would ask for ever
        raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
    prefix = bytes((service | REPLY, 0, status, 0)) + header
    memory = variable.data
    render: Callable[[], bytes]
    if reference.bit is not None:
        at, mask = reference.at + reference.bit // 8, 1 << reference.bit % 8

        def render() -> bytes:
            return prefix + (b"\1" if memory[at] & mask else b"\0")
    else:
        low = reference.at + offset
        high = low + length

        def render() -> bytes:
            return prefix + memory[low:high]

    if reference.samples:
        render = _checked(render, reference, origin.image)
    source = reference.samples[0] if len(reference.samples) == 1 else variable
    return Reply(render, (source,), len(prefix) + length)


def _checked(
    render: Callable[[], bytes], reference: Reference, image: Image
) -> Callable[[], bytes]:
    def checked() -> bytes:
        _check_fresh(reference, image)
        return render()

    return checked


def _check_fresh(reference: Reference, image: Image) -> None:
    """Refuse what is not good: an old value is never passed off as a fresh one.

    Raises:
        CipError: why there is no fresh value.
    """
    for sample in reference.samples:
        if sample.quality:
            error = sample.refuse(image.now)
            if error is not None:
                raise error


def _read_attribute(
    service: int, reference: Reference, asked: tuple[int, int], room: int, origin: Origin
) -> Pending:
    """Ask the user's own object, off the loop: it may be slow, and it may raise."""
    count, offset = asked
    variable, first, kind = reference.variable, reference.first, reference.kind
    key: int | slice = slice(first, first + count) if variable.dimensions else first
    attribute = variable.attribute

    def call() -> Any:
        return _of_type(kind, attribute[key])

    def answer(values: Any) -> bytes:
        if isinstance(values, Exception):
            return refusal(service, _attribute_error(values))
        try:
            if not kind.size:
                elements = [kind.pack([value]) for value in values]
                return _string_reply(service, kind, elements, offset, room - 2)
            raw = kind.pack(values)
            length, status = _cut(kind.size, offset, len(raw), room - len(kind.header))
        except (CipError, EncodeError) as error:
            return refusal(service, error)
        head = bytes((service | REPLY, 0, status, 0)) + kind.header
        return head + raw[offset : offset + length]

    return Pending(CallNeeded(call, f"tag {variable.name}"), answer)


def _of_type(kind: DataType | Structure, result: Any) -> list[Any]:
    """What the user's object gave, as elements of its type.

    Raises:
        EncodeError: they do not fit it.
    """
    values = list(result) if isinstance(result, list | tuple) else [result]
    kind.pack(values)
    return values


def _attribute_error(error: Exception) -> CipError:
    if isinstance(error, ProtocolError) and 0 < error.status < 0x100:
        extended = error.extended if isinstance(error, CipError) else ()
        return CipError(str(error), status=error.status, extended=extended)
    return CipError(str(error), status=GeneralStatus.GENERAL_ERROR, extended=(0x2100,))


@dataclass(slots=True)
class _Write:
    """A write request's fields: `payload` is what it carries from byte `offset` of the range on."""

    code: int
    handle: int
    count: int
    offset: int
    payload: bytes
    extra: dict[str, Any] = field(default_factory=dict)


def _parse_write(service: int, data: bytes) -> _Write:
    code, handle, rest = types.split_type(data)
    layout = _COUNT_OFFSET if service == 0x53 else _COUNT
    if len(rest) < layout.size:
        raise short()
    count, offset = layout.unpack_from(rest) if service == 0x53 else (*layout.unpack_from(rest), 0)
    if not count:
        raise CipError(status=GeneralStatus.INVALID_PARAMETER_VALUE)
    return _Write(code, handle, count, offset, rest[layout.size :])


def write(
    service: int, reference: Reference, data: bytes, origin: Origin, *, lenient: bool = False
) -> bytes | Pending:
    """Write Tag (0x4D) or Write Tag Fragmented (0x53).

    Args:
        lenient: also values of another type are taken, where none of them changes by it.
    """
    asked = _parse_write(service, data)
    variable = reference.variable
    check_writable(variable, origin)
    kind = reference.kind
    if asked.code == types.BOOL.code and kind is types.DWORD and reference.array:
        return _write_bools(service, reference, asked)
    if isinstance(kind, Structure):
        if asked.code != types.STRUCTURE or asked.handle != kind.handle:
            raise _mismatch()
    elif asked.code != kind.code:
        if not lenient:
            raise _mismatch()
        asked = _converted(asked, kind)
    if asked.count > reference.available:
        raise beyond_end()
    if variable.strings is not None or variable.attribute is not None:
        return _write_values(service, reference, asked)
    size = 1 if reference.bit is not None else kind.size
    total = asked.count * size
    if service == 0x53:
        if asked.offset + len(asked.payload) > total:
            asked.payload = asked.payload[: max(total - asked.offset, 0)]
        if asked.offset >= total:
            raise beyond_end(TagStatus.OFFSET_BEYOND_END)
        if not asked.payload:
            raise short()
    elif len(asked.payload) < total:
        raise short()
    raw = asked.payload[:total]
    if variable.device:
        return _write_device(service, reference, raw, asked.offset, origin)
    store(reference, raw, asked.offset)
    return _success(service)


def attribute_bytes(reference: Reference) -> bytes:
    """What Get Attribute Single gives of a local tag, a member or an element: bytes, no type.

    Raises:
        CipError: the injected error of the tag.
    """
    variable = reference.variable
    if variable.error:
        raise CipError(status=variable.error)
    if variable.strings is not None:
        last = reference.at + (1 if reference.indexed else reference.available)
        return b"".join(variable.strings[reference.at : last])
    return _raw(reference, _attribute_size(reference))


def count_of(reference: Reference, size: int) -> int:
    """Elements in `size` bytes from there on.

    Raises:
        CipError: not a whole number of them, not so many, or a tag without memory of its own.
    """
    variable = reference.variable
    if variable.strings is not None or variable.attribute is not None:
        raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
    count, odd = divmod(size, 1 if reference.bit is not None else reference.kind.size)
    if odd or not count:
        raise _mismatch()
    if count > reference.available:
        raise beyond_end()
    return count


def raw_values(reference: Reference, size: int, image: Image) -> bytes:
    """`size` bytes of elements as they stand on the wire, without their type.

    Raises:
        CipError: as `count_of`, the injected error of the tag, or why it is not fresh.
    """
    count_of(reference, size)
    if reference.variable.error:
        raise CipError(status=reference.variable.error)
    _check_fresh(reference, image)
    return _raw(reference, size)


def _raw(reference: Reference, size: int) -> bytes:
    memory = reference.variable.data
    if reference.bit is not None:
        return bytes((memory[reference.at + reference.bit // 8] >> reference.bit % 8 & 1,))
    return bytes(memory[reference.at : reference.at + size])


def set_attribute_bytes(reference: Reference, data: bytes) -> None:
    """What Set Attribute Single does with them: exactly as many as `attribute_bytes` gives.

    Raises:
        CipError: too few or too many; the tag is as it was.
    """
    variable = reference.variable
    if variable.strings is not None:
        values = variable.type.unpack(data)
        if reference.indexed and len(values) != 1:
            raise short() if not values else CipError(status=GeneralStatus.TOO_MUCH_DATA)
        variable.set(values, reference.at)
        return
    size = _attribute_size(reference)
    if len(data) < size:
        raise short()
    if len(data) > size:
        raise CipError(status=GeneralStatus.TOO_MUCH_DATA)
    store(reference, data, 0)


def _attribute_size(reference: Reference) -> int:
    if reference.bit is not None:
        return 1
    return reference.kind.size * (1 if reference.indexed else reference.available)


def check_writable(variable: Variable, origin: Origin) -> None:
    """Refuse what this origin, or anyone, may not write, or not so often.

    Raises:
        CipError: PRIVILEGE_VIOLATION, RESOURCE_UNAVAILABLE, or the injected error of the tag.
    """
    if variable.error:
        raise CipError(status=variable.error)
    if not variable.writable or not origin.may_write:
        raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION)
    check_rate(variable, origin.image.now)


def check_rate(variable: Variable, now: float) -> None:
    """Count a write of a local tag.

    Raises:
        CipError: RESOURCE_UNAVAILABLE: there were too many.
    """
    if variable.rate is not None:
        try:
            variable.rate.take(now)
        except WriteRefused as refused:
            raise CipError(refused.text, status=cip_status(refused.failure)[0]) from None


def store(reference: Reference, raw: bytes, offset: int) -> None:
    """Put bytes into a local tag's memory."""
    variable = reference.variable
    if reference.bit is not None:
        at, mask = reference.at + reference.bit // 8, 1 << reference.bit % 8
        memory = variable.data
        memory[at] = memory[at] | mask if raw[0] else memory[at] & ~mask
    else:
        if reference.kind is types.BOOL:
            raw = bytes(1 if byte else 0 for byte in raw)
        at = reference.at + offset
        variable.data[at : at + len(raw)] = raw
    variable.written()


_WIDENING: dict[str, frozenset[str]] = {
    "INT": frozenset(("BOOL", "SINT", "USINT")),
    "DINT": frozenset(("BOOL", "SINT", "USINT", "INT", "UINT")),
    "LINT": frozenset(("BOOL", "SINT", "USINT", "INT", "UINT", "DINT", "UDINT")),
    "UINT": frozenset(("BOOL", "USINT")),
    "UDINT": frozenset(("BOOL", "USINT", "UINT")),
    "ULINT": frozenset(("BOOL", "USINT", "UINT", "UDINT")),
    "REAL": frozenset(("SINT", "USINT", "INT", "UINT", "DINT", "UDINT")),
    "LREAL": frozenset(("SINT", "USINT", "INT", "UINT", "DINT", "UDINT", "LINT", "ULINT", "REAL")),
}
_SAME_BITS: dict[str, frozenset[str]] = {
    "SINT": frozenset(("BYTE",)),
    "USINT": frozenset(("BYTE",)),
    "INT": frozenset(("WORD",)),
    "UINT": frozenset(("WORD",)),
    "DINT": frozenset(("DWORD",)),
    "UDINT": frozenset(("DWORD",)),
    "DWORD": frozenset(("UDINT",)),
    "LINT": frozenset(("LWORD",)),
    "ULINT": frozenset(("LWORD",)),
}


def _converted(asked: _Write, kind: DataType) -> _Write:
    """The request in the tag's own type: of equal bits, or wider and of the very same values.

    Raises:
        CipError: type mismatch.
    """
    given = types.BY_CODE.get(asked.code)
    if given is None:
        raise _mismatch()
    if given.name in _SAME_BITS.get(kind.name, ()):
        return asked
    if given.name not in _WIDENING.get(kind.name, ()) or asked.offset % given.size:
        raise _mismatch()
    whole = len(asked.payload) // given.size
    values = given.unpack(asked.payload, min(asked.count, whole))
    raw = kind.pack(values)
    if given.kind != "float" and kind.unpack(raw) != values:
        raise _mismatch()
    offset = asked.offset // given.size * kind.size
    return _Write(kind.code, 0, asked.count, offset, raw)


def _write_bools(service: int, reference: Reference, asked: _Write) -> bytes:
    """BOOLs one by one into a packed array, element numbers being bits."""
    variable = reference.variable
    if variable.device or variable.attribute is not None:
        raise _mismatch()
    if reference.first + asked.count > 32 * reference.whole:
        raise beyond_end()
    if asked.offset >= asked.count:
        raise beyond_end(TagStatus.OFFSET_BEYOND_END)
    values = asked.payload[: asked.count - asked.offset]
    if len(values) < (asked.count if service == 0x4D else 1):
        raise short()
    base = reference.at - 4 * reference.first
    memory = variable.data
    for position, value in enumerate(values, reference.first + asked.offset):
        mask, at = 1 << position % 8, base + position // 8
        memory[at] = memory[at] | mask if value else memory[at] & ~mask
    variable.written()
    return _success(service)


def _given_values(service: int, reference: Reference, asked: _Write) -> tuple[int, list[Any]]:
    """(first element, values) of a write by value; a fragment holds whole elements."""
    kind, variable = reference.kind, reference.variable
    if kind.size:
        skipped, odd = divmod(asked.offset, kind.size)
        if odd or skipped >= asked.count:
            raise beyond_end(TagStatus.OFFSET_BEYOND_END)
        given = min(asked.count - skipped, len(asked.payload) // kind.size)
        values = kind.unpack(asked.payload, asked.count if service == 0x4D else given)
    elif service == 0x4D:
        skipped, values = 0, kind.unpack(asked.payload, asked.count)
    else:
        if asked.offset and variable.attribute is not None:
            raise beyond_end(TagStatus.OFFSET_BEYOND_END)  # only the object knows its lengths
        there = (variable.strings or [])[reference.at : reference.at + asked.count]
        skipped = _elements_before(there, asked.offset)
        values = kind.unpack(asked.payload)[: asked.count - skipped]
    if not values:
        raise short()
    return reference.first + skipped, values


def _write_values(service: int, reference: Reference, asked: _Write) -> bytes | Pending:
    """Write to a tag of strings of varying size, or to the user's own object."""
    variable = reference.variable
    first, values = _given_values(service, reference, asked)
    if variable.attribute is None:
        variable.set(values, first)
        return _success(service)
    attribute = variable.attribute
    single = not variable.dimensions
    key: int | slice = first if single else slice(first, first + len(values))

    def call() -> None:
        attribute[key] = values[0] if single else values

    def answer(result: Any) -> bytes:
        if isinstance(result, Exception):
            return refusal(service, _attribute_error(result))
        variable.written()
        return _success(service)

    return Pending(CallNeeded(call, f"tag {variable.name}"), answer)


def _write_device(
    service: int, reference: Reference, raw: bytes, offset: int, origin: Origin
) -> Pending:
    """A write that leaves for the device: its answer is what the client gets."""
    variable, member = reference.variable, reference.member
    if member is None:
        raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
    tag = variable.device_tags.get(member.name.casefold())
    if tag is None or not tag.writable:
        raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION)
    kind = reference.kind
    if offset % (kind.size or 1):
        raise CipError(status=GeneralStatus.INVALID_PARAMETER)
    values: list[Any]
    first = reference.first + offset // (kind.size or 1)
    if reference.bit is not None:
        values = [bool(raw[0])]
    elif kind is types.DWORD and tag.cip_type == "BOOL":
        first *= 32
        values = [bool(byte >> bit & 1) for byte in raw for bit in range(8)][: tag.length - first]
    else:
        values = kind.unpack(raw, len(raw) // kind.size)
    return device_write(service, variable, [[member.name, first, values]], origin)


def device_write(
    service: int, variable: Variable, writes: list[list[Any]], origin: Origin
) -> Pending:
    """The pending reply of a write to a device."""

    def answer(result: Any) -> bytes:
        if isinstance(result, Exception):
            return refusal(service, _attribute_error(result))
        status, extended = result[:2]
        return MessageRouterReply(service, status, tuple(extended)).encode()

    return Pending(WriteNeeded(variable.device, writes, origin.address), answer)


def read_modify_write(
    service: int, reference: Reference, data: bytes, origin: Origin
) -> bytes | Pending:
    """Read-Modify-Write (0x4E) of the first bytes of an element, or all of them.

    pycomm3 sends an AND mask of 8 bytes whatever the size.

    Raises:
        CipError: masks of another size, a tag that has no bits, or one that may not be written.
    """
    if len(data) < 2:
        raise short()
    (size,) = _COUNT.unpack_from(data)
    masks = data[2:]
    kind, variable = reference.kind, reference.variable
    check_writable(variable, origin)
    if reference.bit is not None or not _has_bits(kind):
        raise _mismatch()
    if size not in MASK_SIZES or size > kind.size:
        raise CipError(status=GeneralStatus.INVALID_PARAMETER_VALUE)
    if len(masks) < 2 * size:
        raise short()
    old = variable.data[reference.at : reference.at + kind.size]
    new = bytes((byte | masks[at]) & masks[size + at] for at, byte in enumerate(old[:size]))
    new += old[size:]
    if variable.device:
        _check_fresh(reference, origin.image)
        return _write_device(service, reference, new, 0, origin)
    if variable.attribute is not None:
        raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
    store(reference, new, 0)
    return _success(service)


def _has_bits(kind: DataType | Structure) -> bool:
    """Whether single bits of it mean something: not of text, REALs and types of the user."""
    if isinstance(kind, Structure):
        return kind in (structures.TIMER, structures.COUNTER, structures.CONTROL)
    return kind.kind in ("int", "bool")


def attribute_access(
    variable: Variable,
) -> Callable[[int, bytes | None, Origin], Pending]:
    """Get and Set Attribute Single of a tag that the user's own object answers."""
    kind, attribute = variable.type, variable.attribute
    key: int | slice = slice(0, variable.length) if variable.dimensions else 0

    def access(service: int, data: bytes | None, origin: Origin) -> Pending:
        if data is not None:
            check_writable(variable, origin)
        given = None if data is None else kind.unpack(data)

        def call() -> Any:
            if given is None:
                return _of_type(kind, attribute[key])
            attribute[key] = given if variable.dimensions else given[0]
            return []

        def answer(values: Any) -> bytes:
            if isinstance(values, Exception):
                return refusal(service, _attribute_error(values))
            try:
                return _success(service) + (kind.pack(values) if given is None else b"")
            except EncodeError as error:
                return refusal(service, error)

        return Pending(CallNeeded(call, f"tag {variable.name}"), answer)

    return access
