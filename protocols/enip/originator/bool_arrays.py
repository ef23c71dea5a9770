"""Elements of BOOL arrays: a Logix controller holds BOOL[n] in DWORDs, and addresses those.

    Bits[33]   read    DWORD 33 // 32, and of it bit 33 % 32
               write   that DWORD's type, then Read-Modify-Write with a mask of that bit

Nothing but the type in a reply tells such an array from one of real BOOLs (0xC1), whose elements
are what their numbers say. So an element is asked for, or written, as it is named; where the reply
is a DWORD, or a refusal for its type or number, the words that would hold it are looked at. A range
that the target has as DWORDs stays one of DWORDs.

Source: Logix 5000 Data Access (1756-PM020), "Accessing BOOL arrays".
"""

import struct
from collections.abc import Sequence
from typing import Any

from cpppod.protocols.cip.message_router import MessageRouterReply, Service
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.cip.types import BOOL, DWORD
from cpppod.protocols.enip.originator.carrier import MessageBudget
from cpppod.protocols.enip.originator.exchange import (
    TYPE_MISMATCH,
    Exchange,
    Part,
    ReadTag,
    WriteTag,
)
from cpppod.protocols.enip.originator.operations import Operation, parse_path
from cpppod.protocols.enip.originator.route import encode_path
from cpppod.protocols.enip.originator.values import Layouts

WORD = 32  # bits
BEYOND_END = 0x2105
_EVERY = (1 << WORD) - 1
_MASKS = struct.Struct("<HII")


def bit_of_array(operation: Operation) -> int | None:
    """The element that the operation's path ends with; None where it names none.

    `words` in an operation says that an element is one of the words.
    """
    path = operation.get("path", b"")
    if isinstance(path, bytes) or "words" in operation:
        return None
    segments = parse_path(path) if isinstance(path, str) else path
    element = segments[-1].get("element") if segments else None
    return None if element is None else int(element)


def words_of(operation: Operation, first: int, count: int) -> Operation:
    """The read of the DWORDs that hold `count` bits from bit `first` on."""
    path = operation["path"]
    segments = parse_path(path) if isinstance(path, str) else list(path)
    words = (first % WORD + count + WORD - 1) // WORD
    return {
        **{key: value for key, value in operation.items() if key not in ("data", "tag_type")},
        "method": "read",
        "path": [*segments[:-1], {"element": first // WORD}],
        "elements": words,
        "words": True,
    }


def bits_of(words: list[int], first: int, count: int) -> list[bool]:
    """`count` bits of words, from bit `first` of the first word on."""
    return [bool(words[at // WORD] >> at % WORD & 1) for at in range(first, first + count)]


def is_beyond(status: int, extended: Sequence[int]) -> bool:
    """Whether a refusal says that there is no such element."""
    beyond = status == GeneralStatus.GENERAL_ERROR and tuple(extended[:1]) == (BEYOND_END,)
    return beyond or status == GeneralStatus.PATH_DESTINATION_UNKNOWN


class ReadElements(ReadTag):
    """Read elements as they are named, or as bits where the array is one of BOOLs in DWORDs."""

    def __init__(self, operation: Operation, path: bytes, layouts: Layouts, first: int) -> None:
        super().__init__(operation, path, layouts)
        self.first = first
        self.words: ReadTag | None = None

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self.words is None or self.done:
            return super().next_part(budget)
        part = self.words.next_part(budget)
        if part is not None:
            part.exchange = self
        return part

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        if self.words is not None:
            self.words.receive(part, reply)
            if self.words.done:
                self._take_words(self.words)
            return
        super().receive(part, reply)
        if self.done and not self.in_flight and self._may_be_bits():
            self.done = False
            operation = words_of(self.operation, self.first, self.elements)
            self.words = ReadTag(operation, encode_path(operation["path"]), self.layouts)

    def _may_be_bits(self) -> bool:
        if not self.status:
            scalar = "elements" not in self.operation
            return scalar and self.type is not None and self.type[0] == DWORD.code
        return self.first > 0 and is_beyond(self.status, self.extended)

    def _take_words(self, words: ReadTag) -> None:
        """The bits, where the words are some; else what was said at first."""
        self.done = True
        if words.status and not self.status:
            self.fail(words.status, words.extended)
        elif not words.status and words.type is not None and words.type[0] == DWORD.code:
            self.status, self.extended, self.type = 0, (), (BOOL.code, 0)
            self.value = bits_of(words.value, self.first % WORD, self.elements)


class WriteElements(Exchange):
    """Write BOOLs to elements of an array: as such, or as bits of the DWORDs that hold them."""

    code = "Write Tag "
    exclusive = True

    def __init__(self, operation: Operation, path: bytes, layouts: Layouts, first: int) -> None:
        super().__init__(operation, path)
        self.first = first
        self.values = [bool(value) for value in operation["data"]]
        look = words_of(operation, first, 1)
        self.look = ReadTag(look, encode_path(look["path"]), layouts)
        self.plain = WriteTag(operation, path, layouts)
        self.masks: list[tuple[bytes, bytes]] | None = None  # (path, masks) of each word to write

    def next_part(self, budget: MessageBudget) -> Part | None:
        if self.done or self.in_flight:
            return None
        if not self.plain.done:
            part = self.plain.next_part(budget)
        elif self.masks is None:
            part = self.look.next_part(budget)
        else:
            path, masks = self.masks[0]
            head = bytes((Service.READ_MODIFY_WRITE_TAG, len(path) >> 1))
            part = Part(self, head + path + masks, 0, 0)
        if part is not None:
            part.exchange = self
            self.in_flight += 1
        return part

    def receive(self, part: Part, reply: MessageRouterReply) -> None:
        self.in_flight -= 1
        self.reply = reply
        if not self.plain.done:
            self.plain.receive(part, reply)
            self.done = self.plain.done and not self._may_be_bits()
            self.status, self.extended = self.plain.status, self.plain.extended
            self.value = self.plain.value
        elif self.masks is None:
            self.look.receive(part, reply)
            packed = self.look.type is not None and self.look.type[0] == DWORD.code
            self.masks = self._masks() if packed else None
            self.done = self.look.done and not packed
        elif reply.status:
            self.fail(reply.status, reply.extended)
        else:
            del self.masks[0]
            self.status, self.extended = 0, ()
            self.value = self.done = not self.masks

    def _may_be_bits(self) -> bool:
        status, extended = self.plain.status, self.plain.extended
        other = status == GeneralStatus.GENERAL_ERROR and extended[:1] == (TYPE_MISMATCH,)
        return other or is_beyond(status, extended)

    def _masks(self) -> list[tuple[bytes, bytes]]:
        """For each word, in order: its path, and which of its bits become 1 and which 0."""
        words: dict[int, tuple[int, int]] = {}
        for bit, on in enumerate(self.values, self.first):
            set_, clear = words.get(bit // WORD, (0, _EVERY))
            mask = 1 << bit % WORD
            words[bit // WORD] = (set_ | mask, clear) if on else (set_, clear & ~mask)
        path: Any = self.look.operation["path"]
        return [
            (encode_path([*path[:-1], {"element": word}]), _MASKS.pack(4, *masks))
            for word, masks in words.items()
        ]
