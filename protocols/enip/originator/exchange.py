"""One operation on the wire: the requests that it takes, and what its replies amount to.

    operation ─► exchange ─► next_part() ─► request ─┐
                    ▲                                │ one, or several in flight
                    └────────── receive(part, reply) ┘        until `done`

A read or write too long for one message goes on in fragments, by itself: the first reply tells type
and size, then every further offset is known and may be asked for at once. A type that changes
between fragments, data beyond what was asked, or "more data" without any is a `SessionViolated`.

Source: Logix 5000 Data Access (1756-PM020), "Read Tag Fragmented service".
"""

import struct
from collections import deque
from typing import Any

from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.status import CipError, GeneralStatus, describe
from cpppod.protocols.cip.types import SSTRING, STRING, STRUCTURE, split_type
from cpppod.protocols.enip.originator.carrier import Carrier, MessageBudget
from cpppod.protocols.enip.originator.operations import Operation, format_path
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.enip.originator.values import (
    Layouts,
    element_size,
    pack,
    pack_structures,
    unpack,
)
from cpppod.protocols.model.errors import DecodeError, EncodeError

REPLY_HEAD = 4  # bytes in front of a reply's data where it is a success
MAX_TRANSFER = 8 * 1024 * 1024  # bytes of one read: 65,535 elements of a 128-byte structure
MAX_STALLS = 2  # replies in a row that promise more data and bring none
GUESSED_ATTRIBUTE = 128  # bytes of an attribute, or of all of an instance's
GUESSED_ELEMENT = 4  # bytes of an element whose type nobody knows yet
TYPE_MISMATCH = 0x2107

_TEXTS_AND_STRUCTURES = (STRING.code, SSTRING.code, STRUCTURE)
_HEAD = struct.Struct("<BB")
_FRAGMENT = struct.Struct("<HI")


class Part:
    """One request of an exchange; `offset` and `length` say which of its bytes it moves."""

    __slots__ = ("exchange", "length", "offset", "request")

    def __init__(self, exchange: "Exchange", request: bytes, offset: int, length: int) -> None:
        self.exchange, self.request, self.offset, self.length = exchange, request, offset, length


class Exchange:
    """One operation.

    Attributes:
        operation: the dict that it was made from.
        path: padded EPATH.
        index: number of the message that carried its first request.
        multiple: whether that was a Multiple Service Packet.
        status, extended: CIP status of the reply that ended it.
        value: what was read, True for a write, None on failure.
        mergeable: whether it may travel in a Multiple Service Packet.
        repeatable: whether its request changes nothing, so that it may be sent a second time.
        guessed: whether `estimate` is a guess, and the reply may turn out too large for a packet.
        exclusive: whether nothing may follow it before it is done: it takes several steps.
        carrier: how it travels; None as all others.
    """

    code = "        "  # of its method in a description
    mergeable = True
    repeatable = False
    guessed = False
    exclusive = False
    count = 1  # operations that it performs

    def __init__(self, operation: Operation, path: bytes) -> None:
        self.operation, self.path = operation, path
        self.index = -1
        self.multiple = False
        self.done = False
        self.status = 0
        self.extended: tuple[int, ...] = ()
        self.value: Any = None
        self.reply: MessageRouterReply | None = None
        self.in_flight = 0
        self.carrier: Carrier | None = None

    def next_part(self, budget: MessageBudget) -> Part | None:
        """The next request that can be sent now; None while replies must come first.

        Raises:
            EncodeError: a value or path that the protocol cannot say.
        """
        raise TypeError(f"{type(self).__name__} sends nothing")

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        """Take the reply to `part`.

        Raises:
            SessionViolated: it cannot be the reply of a sound device.
        """
        raise TypeError(f"{type(self).__name__} expects nothing")

    def estimate(self) -> int:
        """Bytes that its first reply is expected to have."""
        return REPLY_HEAD + 4

    def fail(self, status: int, extended: tuple[int, ...] = ()) -> None:
        """End it with this status."""
        self.status, self.extended, self.value = status, extended, None
        self.done = True

    @property
    def text(self) -> str:
        """The status in words."""
        return describe(self.status, self.extended)

    @property
    def description(self) -> str:
        """How the operation is named in results: `Single Read  Tag  SCADA[0-3]`."""
        kind = "Multi. " if self.multiple else "Single "
        return f"{kind}{self.code} {format_target(self.operation)}"

    def _request(self, service: int, data: bytes) -> bytes:
        return _HEAD.pack(service, len(self.path) >> 1) + self.path + data


def format_target(operation: Operation) -> str:
    """The operation's path with its range: `SCADA[0-3]`, `@0x0001/1/7`."""
    path = operation.get("path", "")
    if isinstance(path, str | bytes):
        return path if isinstance(path, str) else path.hex()
    path = list(path)
    elements = operation.get("elements")
    last = path[-1].get("element") if path else None
    if last is None or elements is None:
        text = format_path(path)
    else:
        text = f"{format_path(path[:-1])}[{last}-{last + elements - 1}]"
    return f"{text}.{operation['bit']}" if "bit" in operation else text


def _check_range(elements: int, offset: int) -> None:
    """Refuse what a tag service cannot say: elements travel in a UINT, offsets in a UDINT."""
    if not 0 < elements <= 0xFFFF:
        raise EncodeError(f"{elements} elements", status=0x09)
    if not 0 <= offset <= 0xFFFF_FFFF:
        raise EncodeError(f"byte offset {offset}", status=0x09)


class ReadTag(Exchange):
    """Read Tag, going on with Read Tag Fragmented; fragmented from the start with an offset."""

    repeatable = True

    def __init__(self, operation: Operation, path: bytes, layouts: Layouts) -> None:
        super().__init__(operation, path)
        self.layouts = layouts
        self.elements = int(operation.get("elements") or 1)
        offset = operation.get("offset")
        self.fragmented = offset is not None
        self.start = self.position = int(offset or 0)
        self.code = "Read  Frag" if self.fragmented else "Read  Tag "
        self.type: tuple[int, int] | None = None
        self.end: int | None = None  # byte offset behind the last element, where it is known
        self.chunk = 0
        self.budget: MessageBudget | None = None
        self.stalls = 0
        self.pieces: dict[int, bytes] = {}
        self.received = 0
        self.gaps: deque[tuple[int, int]] = deque()
        _check_range(self.elements, self.start)

    def estimate(self) -> int:
        return REPLY_HEAD + 2 + self.elements * GUESSED_ELEMENT

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self.done:
            return None
        self.budget = budget
        if self.gaps:
            return self._fragment(*self.gaps.popleft())
        if self.type is None:
            if self.in_flight:
                return None
            if self.fragmented:
                return self._fragment(self.position, 0)
            return self._issue(
                self._request(Service.READ_TAG, struct.pack("<H", self.elements)), 0, 0
            )
        if self.end is None:
            return None if self.in_flight else self._fragment(self.position, 0)
        if self.position >= self.end:
            return None
        length = min(self.chunk, self.end - self.position)
        part = self._fragment(self.position, length)
        self.position += length
        return part

    def ask_again(self) -> None:
        """The connection is lost: what was in flight is to be asked anew; what came stays."""
        self.in_flight = 0
        if self.end is None:
            return
        self.gaps.clear()
        at = self.start
        for offset in sorted(self.pieces):
            if offset > at:
                self.gaps.append((at, offset - at))
            at = offset + len(self.pieces[offset])
        self.position = at

    def _fragment(self, offset: int, length: int) -> Part:
        data = _FRAGMENT.pack(self.elements, offset)
        return self._issue(self._request(Service.READ_TAG_FRAGMENTED, data), offset, length)

    def _issue(self, request: bytes, offset: int, length: int) -> Part:
        self.in_flight += 1
        return Part(self, request, offset, length)

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.in_flight -= 1
        if self.done:
            return
        self.reply = reply
        if reply.status not in (GeneralStatus.SUCCESS, GeneralStatus.PARTIAL_TRANSFER):
            if reply.status == GeneralStatus.REPLY_DATA_TOO_LARGE and not self.fragmented:
                self.fragmented = True  # a device that refuses rather than sends what fits
                return
            self.fail(reply.status, reply.extended)
            return
        more = reply.status == GeneralStatus.PARTIAL_TRANSFER
        if more and not reply.data:
            self._stall(part)
            return
        try:
            code, handle, data = split_type(reply.data)
        except CipError as error:
            raise SessionViolated(f"reply without a type: {error}") from None
        if self.type is None:
            self._learn(code, handle, len(data))
        elif self.type != (code, handle):
            raise SessionViolated("the type changed between fragments")
        self._store(part, data, more=more)

    def _stall(self, part: Part) -> None:
        self.stalls += 1
        if self.stalls >= MAX_STALLS:
            raise SessionViolated("more data promised, and none sent")
        self.fragmented = True
        if self.end is not None:
            self.gaps.append((part.offset, part.length))

    def _learn(self, code: int, handle: int, length: int) -> None:
        self.type = code, handle
        size = element_size(code, handle, self.layouts)
        self.end = self.elements * size if size else None
        self.chunk = length
        if self.budget is not None:  # a first reply may be longer than a fragment's can be
            fits = self.budget.reply - REPLY_HEAD - (4 if code == STRUCTURE else 2)
            self.chunk = max(min(length, fits // size * size if size else fits), 1)

    def _store(self, part: Part, data: bytes, *, more: bool) -> None:
        if not data and more:
            self._stall(part)
            return
        if self.end is None:
            self._store_open(part, data, more=more)
            return
        behind = part.offset + len(data)
        if behind > self.end or (not more and behind < self.end):
            raise SessionViolated(f"{behind} bytes of {self.end}")
        expected = part.length or len(data)
        if len(data) < expected:
            self.chunk = len(data)
            self.gaps.append((behind, expected - len(data)))
        self._keep(part.offset, data[:expected])
        if not part.length:  # the first reply: what follows is now known
            self.position = behind
        if self.received == self.end - self.start:
            self._finish()

    def _store_open(self, part: Part, data: bytes, *, more: bool) -> None:
        self._keep(part.offset, data)
        self.position = part.offset + len(data)
        if not more:
            self._finish()

    def _keep(self, offset: int, data: bytes) -> None:
        self.stalls = 0
        self.received += len(data)
        if self.received > MAX_TRANSFER:
            raise SessionViolated(f"more than {MAX_TRANSFER} bytes of one tag")
        self.pieces[offset] = data

    def _finish(self) -> None:
        assert self.type is not None
        data = b"".join(self.pieces[offset] for offset in sorted(self.pieces))
        self.pieces.clear()
        try:
            value = unpack(*self.type, data, self.layouts)
        except DecodeError as error:
            raise SessionViolated(str(error)) from None
        opaque = self.type[0] == STRUCTURE and len(value) == 1 and isinstance(value[0], bytes)
        if not self.start and len(value) != self.elements and not opaque:
            raise SessionViolated(f"{len(value)} elements, {self.elements} asked for")
        self.value, self.done = value, True


class ReadBit(ReadTag):
    """Read the word that a bit lies in; the value is [bool]."""

    def _finish(self) -> None:
        super()._finish()
        bit = self.operation["bit"]
        assert self.type is not None
        if not isinstance(self.value[0], int) or bit >= 8 * element_size(*self.type, {}):
            self.fail(GeneralStatus.GENERAL_ERROR, (TYPE_MISMATCH,))
            return
        self.value = [bool(self.value[0] >> bit & 1)]


class WriteTag(Exchange):
    """Write Tag, or as many Write Tag Fragmented as it takes."""

    def __init__(
        self,
        operation: Operation,
        path: bytes,
        layouts: Layouts,
        *,
        known: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(operation, path)
        values = operation["data"]
        code, handle = operation.get("tag_type") or 0xC3, 0
        if known is not None and code in _TEXTS_AND_STRUCTURES:
            code, handle = known
        self.elements = int(operation.get("elements") or len(values))
        if code == STRUCTURE:
            handle = operation.get("handle", handle)
            self.data = pack_structures(handle, values, layouts)
            self.header = struct.pack("<HH", code, handle)
        else:
            self.data = pack(code, values)
            self.header = struct.pack("<H", code)
        self.size = element_size(code, handle, layouts) or 1
        offset = operation.get("offset")
        self.start = self.position = int(offset or 0)
        self.fragmented = offset is not None
        self.code = "Write Frag" if self.fragmented else "Write Tag "
        self.confirmed = 0
        _check_range(self.elements, self.start + len(self.data))

    def next_part(self, budget: MessageBudget) -> Part | None:
        end = self.start + len(self.data)
        if self.done or (self.position >= end and (self.in_flight or self.confirmed)):
            return None
        left = end - self.position
        plain = 2 + len(self.path) + len(self.header) + 2
        if not self.fragmented and plain + left <= budget.request:
            self.position = end
            data = self.header + struct.pack("<H", self.elements) + self.data
            return self._issue(self._request(Service.WRITE_TAG, data), left)
        self.fragmented = True
        fits = (budget.request - plain - 4) // self.size * self.size
        if fits <= 0:
            fits = budget.request - plain - 4
        if fits <= 0:
            raise EncodeError("no room for a single element", status=0x15)
        length = min(left, fits)
        offset = self.position - self.start
        data = self.header + _FRAGMENT.pack(self.elements, self.position)
        self.position += length
        piece = self.data[offset : offset + length]
        return self._issue(self._request(Service.WRITE_TAG_FRAGMENTED, data + piece), length)

    def _issue(self, request: bytes, length: int) -> Part:
        self.in_flight += 1
        return Part(self, request, self.position, length)

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.in_flight -= 1
        if self.done:
            return
        self.reply = reply
        if reply.status != GeneralStatus.SUCCESS:
            self.fail(reply.status, reply.extended)
            return
        self.confirmed += part.length
        if self.confirmed >= len(self.data):
            self.value, self.done = True, True


class WriteBit(Exchange):
    """Set or clear one bit by Read-Modify-Write; the word's size is read first."""

    code = "Write Tag "
    exclusive = True

    def __init__(self, operation: Operation, path: bytes, layouts: Layouts) -> None:
        super().__init__(operation, path)
        self.word = ReadTag({**operation, "elements": 1}, path, layouts)

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self.done or self.in_flight:
            return None
        if not self.word.done:
            part = self.word.next_part(budget)
            if part is not None:
                part.exchange = self
                self.in_flight += 1
            return part
        assert self.word.type is not None
        size = element_size(*self.word.type, {})
        mask = 1 << self.operation["bit"]
        on = bool(self.operation["data"][0])
        every = (1 << 8 * size) - 1
        data = (
            struct.pack("<H", size)
            + (mask if on else 0).to_bytes(size, "little")
            + (every if on else every & ~mask).to_bytes(size, "little")
        )
        self.in_flight += 1
        return Part(self, self._request(Service.READ_MODIFY_WRITE_TAG, data), 0, 0)

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.in_flight -= 1
        if not self.word.done:
            self.word.receive(part, reply)
            self._after_reading()
            return
        self.reply = reply
        if reply.status:
            self.fail(reply.status, reply.extended)
        else:
            self.value, self.done = True, True

    def _after_reading(self) -> None:
        word = self.word
        if not word.done:
            return
        if word.status:
            self.fail(word.status, word.extended)
            return
        assert word.type is not None
        if (
            not isinstance(word.value[0], int)
            or word.type[0] == 0xC1
            or self.operation["bit"] >= 8 * element_size(*word.type, {})
        ):
            self.fail(GeneralStatus.GENERAL_ERROR, (TYPE_MISMATCH,))


class Call(Exchange):
    """One request and its reply: the attribute services, and any service by its code.

    The value of a read is the reply's data as a list of bytes, or the elements of the operation's
    `tag_type` where a Get Attribute names one; True for a service that replies without data.
    """

    def __init__(
        self,
        operation: Operation,
        path: bytes,
        service: int,
        data: bytes = b"",
        *,
        code: str = "",
        reads: bool = True,
    ) -> None:
        super().__init__(operation, path)
        self.service, self.data, self.reads = service, data, reads
        self.code = (code or f"0x{service:02X}").ljust(10)[:10]
        self.sent = False

    def estimate(self) -> int:
        return REPLY_HEAD + (GUESSED_ATTRIBUTE if self.reads else 0)

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self.sent:
            return None
        self.sent = True
        return Part(self, self._request(self.service, self.data), 0, 0)

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.reply = reply
        too_large = reply.status == GeneralStatus.REPLY_DATA_TOO_LARGE
        if too_large and self.repeatable and self.multiple:
            self.multiple = self.sent = (
                False  # its reply was longer than guessed: alone it has room
            )
            return
        if reply.status and not (reply.status == GeneralStatus.PARTIAL_TRANSFER and reply.data):
            self.fail(reply.status, reply.extended)
            return
        self.status, self.extended, self.done = reply.status, reply.extended, True
        self.value = self._value(reply.data) if self.reads else True

    def _value(self, data: bytes) -> Any:
        code = self.operation.get("tag_type")
        if not code or not self.code.startswith("G_A_S"):
            return list(data)
        try:
            return unpack(code, 0, data, {})
        except DecodeError as error:
            raise SessionViolated(str(error)) from None
