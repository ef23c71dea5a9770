"""How a reply is laid out: what in it are values, and what must stay as it is.

    raw | value | raw | value ...    one `struct` takes all values out; each raw piece is compared

Source: Logix 5000 Data Access (1756-PM020), "Read Tag service"; CIP Networks Library Vol. 1, A-6.1.
"""

import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip.message_router import REPLY, Service
from cpppod.protocols.cip.types import BY_CODE, DWORD, DataType
from cpppod.protocols.enip.originator.batch import reply_slices
from cpppod.protocols.enip.originator.bool_arrays import bit_of_array
from cpppod.protocols.enip.originator.exchange import Exchange, ReadTag
from cpppod.protocols.enip.originator.operations import Operation
from cpppod.protocols.enip.originator.route import encode_path

SCALAR, BYTES = 0, -1  # counts of a pick that is no list of elements
_HEAD = 4  # bytes of a reply's head where it is a success
_PLAIN = frozenset(("method", "path", "elements", "words"))  # all that a plain read says
_MAX_PATH = 510  # bytes: its length is a USINT of words


@dataclass(frozen=True, slots=True)
class ReplyLayout:
    """What does not change in a packet's reply, and where its values are.

    Attributes:
        shape: unpacks the whole reply data.
        raw, expected: the pieces that are no values, and what they must be.
        picks: for each operation where its values begin and how many they are (or `SCALAR`,
            `BYTES`); None where it failed.
        scalars: whether every operation gave exactly one value, so that no picking is needed.
    """

    shape: struct.Struct
    raw: Callable[[tuple[Any, ...]], Any]
    expected: Any
    values: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    picks: tuple[tuple[int, int] | None, ...]
    scalars: bool

    def take(self, data: bytes) -> tuple[Any, ...] | None:
        """All values in the reply `data`, None where it is laid out otherwise."""
        if len(data) != self.shape.size:
            return None
        items = self.shape.unpack(data)
        return self.values(items) if self.raw(items) == self.expected else None


class _Sketch:
    """A layout in the making: values are noted in the order of the reply."""

    def __init__(self) -> None:
        self.shape = ["<"]
        self.raw: list[int] = []
        self.picks: list[tuple[int, int] | None] = []
        self.found = 0  # values so far
        self.position = 0  # bytes of the reply so far

    def value(self, begin: int, code: str, items: int, size: int, pick: int) -> None:
        """A value from byte `begin` on: its `struct` code, items of it, bytes, and count."""
        self.shape.append(f"{begin - self.position}s{code}")
        self.picks.append((self.found, pick))
        self.raw.append(self.found + len(self.raw))
        self.found += items
        self.position = begin + size

    def finish(self, data: bytes) -> ReplyLayout | None:
        """The layout of `data`, None where no value was noted."""
        if not self.found:
            return None
        if self.position < len(data):
            self.shape.append(f"{len(data) - self.position}s")
            self.raw.append(self.found + len(self.raw))
        compiled = struct.Struct("".join(self.shape))
        unpacked = compiled.unpack(data)
        pieces = set(self.raw)
        raw = _getter(self.raw)
        return ReplyLayout(
            compiled,
            raw,
            raw(unpacked),
            _getter([place for place in range(len(unpacked)) if place not in pieces]),
            tuple(self.picks),
            all(pick is not None and pick[1] == SCALAR for pick in self.picks),
        )


def is_scalar(operation: Operation) -> bool:
    """Whether the operation names one element rather than a range."""
    return "elements" not in operation and operation.get("method", "read") == "read"


def is_plain(operation: Operation) -> bool:
    """Whether the operation is a read without an offset, a bit, a route of its own ..."""
    return operation.keys() <= _PLAIN and operation.get("method", "read") == "read"


def read_request(operation: Operation) -> tuple[bytes, int] | None:
    """Read Tag as `ReadTag` would send it, and how many elements it asks for.

    None for whatever is more than a plain read.

    Raises:
        EncodeError: a path that cannot be said.
    """
    if not is_plain(operation):
        return None
    elements = operation.get("elements") or 1
    path = encode_path(operation.get("path", b""))
    size = len(path)
    if type(elements) is not int or not 0 < elements <= 0xFFFF or size > _MAX_PATH:
        return None
    return b"\x4c%c%b%c%c" % (size >> 1, path, elements & 0xFF, elements >> 8), elements


def read_layout(
    operations: Sequence[Operation], data: bytes
) -> tuple[ReplyLayout, list[tuple[int, int]]] | None:
    """The layout of a packet's reply in which every plain read succeeded, and the tags' types.

    None where one failed or gave anything but all elements of a type of fixed size.

    Raises:
        SessionViolated: another count of replies, or offsets that lie.
    """
    slices = reply_slices(data, len(operations))
    alike = _alike(operations, slices, data)
    if alike is not None:
        return alike
    sketch = _Sketch()
    types: list[tuple[int, int]] = []
    for operation, (start, end) in zip(operations, slices, strict=True):
        begin = start + _HEAD + 2
        known = _READ_HEADS.get(data[start:begin])
        if known is None:
            return None
        kind, letter = known
        elements = operation.get("elements")
        if kind is DWORD and elements is None and bit_of_array(operation) is not None:
            return None
        count = elements or 1
        if end - begin != count * kind.size:
            return None
        pick = SCALAR if elements is None else count
        sketch.value(begin, f"{count}{letter}", count, count * kind.size, pick)
        types.append((kind.code, 0))
    layout = sketch.finish(data)
    return None if layout is None else (layout, types)


def _alike(
    operations: Sequence[Operation], slices: Sequence[tuple[int, int]], data: bytes
) -> tuple[ReplyLayout, list[tuple[int, int]]] | None:
    """The same for scalars of one type, without looking at each; None for anything else."""
    count = len(slices)
    first = slices[0][0] + _HEAD + 2
    head = data[slices[0][0] : first]
    known = _READ_HEADS.get(head)
    if known is None or any("elements" in operation for operation in operations):
        return None
    kind, letter = known
    if [end - start for start, end in slices].count(len(head) + kind.size) != count:
        return None
    if kind is DWORD:
        return None
    shape = struct.Struct(f"<{first}s{letter}" + f"{len(head)}s{letter}" * (count - 1))
    raw = operator.itemgetter(slice(0, None, 2))
    expected = raw(shape.unpack(data))
    if expected.count(head) != count - 1:
        return None
    picks = tuple((place, SCALAR) for place in range(count))
    values = operator.itemgetter(slice(1, None, 2))
    layout = ReplyLayout(shape, raw, expected, values, picks, scalars=True)
    return layout, [(kind.code, 0)] * count


def learn_layout(
    operations: Sequence[Operation], exchanges: Sequence[Exchange], data: bytes, *, batch: bool
) -> ReplyLayout | None:
    """The layout of the reply that ended `exchanges`, None where a value is not of a fixed size."""
    sketch = _Sketch()
    overhead = _HEAD if batch else 0  # of a reply's head, in front of its data
    starts = [start for start, _ in reply_slices(data, len(operations))] if batch else [0]
    for exchange, start in zip(exchanges, starts, strict=True):
        if exchange.status:
            sketch.picks.append(None)
            continue
        fixed = _fixed(exchange)
        if fixed is None:
            return None
        head, code, items, size, pick = fixed
        sketch.value(start + overhead + head, code, items, size, pick)
    return sketch.finish(data)


def _letter(kind: DataType) -> str:
    return "?" if kind.kind == "bool" else kind.letter


_READ_HEADS = {
    bytes((Service.READ_TAG | REPLY, 0, 0, 0)) + kind.header: (kind, _letter(kind))
    for kind in BY_CODE.values()
    if kind.size
}


def _fixed(exchange: Exchange) -> tuple[int, str, int, int, int] | None:
    """(bytes before the value, `struct` code, items, bytes, pick) of a value of a fixed size."""
    value = exchange.value
    if isinstance(exchange, ReadTag):
        kind = BY_CODE.get(exchange.type[0]) if exchange.type else None
        if kind is None or not kind.size or "bit" in exchange.operation:
            return None
        count = len(value)
        pick = SCALAR if is_scalar(exchange.operation) else count
        return 2, f"{count}{_letter(kind)}", count, count * kind.size, pick
    raw = exchange.reply.data if exchange.reply is not None else b""
    if not raw or value != list(raw):
        return None
    return 0, f"{len(raw)}s", 1, len(raw), BYTES


def _getter(positions: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that picks these items of a tuple, as a tuple."""
    alternate = list(positions) == list(range(positions[0], positions[-1] + 1, 2))
    if alternate and len(positions) > 1:
        return operator.itemgetter(slice(positions[0], positions[-1] + 1, 2))
    if len(positions) == 1:
        only = positions[0]
        return operator.itemgetter(slice(only, only + 1))
    return operator.itemgetter(*positions)
