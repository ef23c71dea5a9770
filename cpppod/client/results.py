"""What a client's operations come to: one record each, which unpacks like a 6-tuple.

for index, description, request, reply, status, value in connection.pipeline(operations): ...
for result in connection.pipeline(operations): print(result.description, result.value)
"""

from itertools import repeat
from typing import Any, NamedTuple

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.status import GeneralStatus, describe
from cpppod.protocols.enip.originator.blocks import Block
from cpppod.protocols.enip.originator.exchange import Exchange
from cpppod.protocols.enip.originator.operations import Operation, format_path

Status = int | tuple[int, list[int]]

_READS = (
    "read",
    "get_attribute_single",
    "get_attributes_all",
    "get_attribute_list",
    "pccc_read",
)


class Result(NamedTuple):
    """What came of one operation.

    Attributes:
        idx: number of the message that carried it, its sender context; the operations of one
            Multiple Service Packet share it.
        description: `Single Read  Tag  SCADA[0-3]`.
        request: the operation.
        reply: the Message Router reply that ended it.
        status: CIP general status, or (general, [extended ...]) where it has extended words.
        value: list of elements for a read, True for a write, None on failure.
    """

    idx: int
    description: str
    request: Operation
    reply: MessageRouterReply | None
    status: Status
    value: Any

    @property
    def ok(self) -> bool:
        """Whether the device did what was asked."""
        return self.value is not None

    @property
    def text(self) -> str:
        """The status in words: `general error: data type mismatch (0xff, 0x2107)`."""
        general, extended = split_status(self.status)
        return describe(general, extended)


def split_status(status: Status) -> tuple[int, list[int]]:
    """(general status, extended words)."""
    return status if isinstance(status, tuple) else (status, [])


def result_of(exchange: Exchange, *, validating: bool = False) -> Result:
    """The record of a finished exchange; `validating` gives what was written as a write's value."""
    extended = list(exchange.extended)
    status: Status = (exchange.status, extended) if extended else exchange.status
    value = exchange.value
    if validating and value is True and "data" in exchange.operation:
        value = exchange.operation["data"]
    return Result(
        exchange.index,
        exchange.description,
        exchange.operation,
        exchange.reply,
        status,
        value,
    )


def results_of(exchange: Exchange, *, validating: bool = False) -> list[Result]:
    """The records of a finished exchange: one, or one for each operation of a block."""
    if not isinstance(exchange, Block):
        return [result_of(exchange, validating=validating)]
    if exchange.exchanges:
        return [result_of(own, validating=validating) for own in exchange.exchanges]
    records = zip(
        repeat(exchange.index),
        exchange.packet.descriptions,
        exchange.operations,
        exchange.replies(),
        repeat(0),
        exchange.values,
        strict=False,
    )
    return list(map(Result._make, records))


class Tally:
    """What `process` gives: every value, and how many operations failed.

    Args:
        validating: as for `result_of`.
        printing: print a line for each.
    """

    def __init__(self, *, validating: bool, printing: bool) -> None:
        self.failures = 0
        self.values: list[Any] = []
        self._validating, self._printing = validating, printing

    def add(self, exchange: Exchange) -> None:
        """Count a finished exchange."""
        if isinstance(exchange, Block) and not exchange.exchanges and not self._printing:
            self.values += exchange.values
            return
        for result in results_of(exchange, validating=self._validating):
            if self._printing:
                print(summary_line(result))
            self.failures += not result.ok
            self.values.append(result.value)


def is_read(operation: Operation) -> bool:
    """Whether the operation changes nothing."""
    return (operation.get("method") or ("write" if "data" in operation else "read")) in _READS


def summary_line(result: Result) -> str:
    """The documented line of `--print`:

    `SCADA[0][  0-10 ]+  0 == [0, 99, ...]: 'OK'`, or `FLOAT  == [1.5]: 'OK'` without an element.
    """
    operation = result.request
    path = operation.get("path") or []
    tag = path if isinstance(path, str) else format_path(path)
    if "bit" in operation:
        tag += f".{operation['bit']}"
    if "code" in operation and not tag:
        tag = f"Service Code 0x{operation['code']:02X}"
    act = "==" if is_read(operation) else "<="
    general, extended = split_status(result.status)
    outcome = "OK"
    if general != GeneralStatus.SUCCESS:
        outcome = f"Status {general} {extended if extended else ''}"
    element = None if isinstance(path, str) or not path else path[-1].get("element")
    if element is None:
        return f"{tag:>20}              {act} {result.value!r}: {outcome!r}"
    count = int(operation.get("elements") or 1)
    last = element + count - 1
    offset = int(operation.get("offset") or 0)
    return f"{tag:>20}[{element:3d}-{last:<3d}]+{offset:3d} {act} {result.value!r}: {outcome!r}"
