"""Faults of a simulated device: what its replies become on the wire.

    KIND[:ARGUMENT][,unit=N][,function=N][,address=N[-N]][,rate=0.1][,times=N]

    late:S[-S] silent drip:S split:S             when the bytes leave, and in how many pieces
    transaction[:zero|swap|N] unit[:N] protocol[:N] length:N function:N     the header lies
    count:N bytes:N                              so many registers or bytes too many (or too few)
    truncate[:N] crc                             the end is missing or wrong
    exception:CODE busy acknowledge nocode       a refusal; one without its code
    noise-before[:HEX|N] noise-after[:HEX|N]     bytes that belong to nobody
    twice stale echo                   the reply again; the one before it first; the request
    refuse:FIRST-LAST                            these offsets are illegal (exception 2)
    limit:N[:CODE]                               reads of more cells are refused (exception 3)
    half-open                                    the connection stays, nothing more comes
    hang-up[:S]                                  the connection is closed after the reply, or once
                                                 nothing more was asked for so many seconds

Several faults may be set; those that apply to a request change its reply in the order given. With
`address` (an offset, or the first and last) only requests that touch those cells are concerned:
`silent,address=75` is a hole.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.pdu import EXCEPTION, exception_reply
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.faults import (
    Chance,
    FaultList,
    Number,
    shared_kinds,
    split_fault,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and which replies it strikes.

    Attributes:
        address: first and last offset of the cells that a request must touch.
        rate: share of the replies concerned; times: how many more, None without end.
    """

    kind: str
    argument: str = ""
    unit: int | None = None
    function: int | None = None
    address: tuple[int, int] | None = None
    rate: float = 1.0
    times: int | None = None

    def __str__(self) -> str:
        text = f"{self.kind}:{self.argument}" if self.argument else self.kind
        for name in ("unit", "function", "times"):
            value = getattr(self, name)
            if value is not None:
                text += f",{name}={value}"
        if self.address is not None:
            text += f",address={self.address[0]}-{self.address[1]}"
        return text if self.rate == 1.0 else f"{text},rate={self.rate:g}"


@dataclass(frozen=True, slots=True)
class Message:
    """A reply on its way out.

    Attributes:
        request: the request's ADU; `previous`: the last reply's bytes before this one.
        header: transaction, protocol, length (None: as it is) of a TCP reply; None on a line.
        delay_s: before the first byte; pause_s: between pieces of `piece` bytes (0: all at once).
        before, after: bytes around it; repeat: how often it is sent.
        hang_up_s: close so long after it, unless more is asked meanwhile; None: stay.
    """

    request: bytes
    unit: int
    pdu: bytes
    header: tuple[int, int, int | None] | None
    previous: bytes = b""
    delay_s: float = 0.0
    pause_s: float = 0.0
    piece: int = 0
    before: bytes = b""
    after: bytes = b""
    repeat: int = 1
    cut: int = 0
    bad_crc: bool = False
    silent: bool = False
    half_open: bool = False
    hang_up_s: float | None = None

    @property
    def request_pdu(self) -> bytes:
        """What was asked."""
        return self.request[1:-2] if self.header is None else self.request[7:]

    def touches(self, first: int, last: int) -> bool:
        """Whether the request is for cells of which one lies in `first` to `last`."""
        pdu = self.request_pdu
        if len(pdu) < 5 or pdu[0] not in _ADDRESSED:
            return False
        address, count = map(int, struct.unpack_from(">HH", pdu, 1))
        count = 1 if pdu[0] in _ONE_CELL else count
        return address <= last and first < address + count

    def encode(self) -> bytes:
        """All bytes that leave."""
        if self.silent or self.half_open:
            return b""
        if self.header is None:
            frame = rtu.encode(self.unit, self.pdu)
            if self.bad_crc:
                frame = frame[:-1] + bytes((frame[-1] ^ 0x01,))
        else:
            transaction, protocol, length = self.header
            length = len(self.pdu) + 1 if length is None else length
            frame = struct.pack(">HHHB", transaction, protocol, length, self.unit) + self.pdu
        if self.cut:
            frame = frame[: max(0, len(frame) - self.cut)]
        return self.before + frame * self.repeat + self.after


def parse_fault(text: str) -> Fault:
    """The fault that `text` describes.

    Raises:
        EncodeError: there is no such fault, or its argument cannot be understood.
    """
    kind, argument, given = split_fault(text, _KINDS, _OPTIONS)
    fault = Fault(kind, argument, **given)
    probe = Message(b"\x01\x03\0\0\0\x01", 1, b"\x03\x02\0\0", (1, 0, None), b"x")
    try:
        _KINDS[kind](probe, argument, lambda: 0.5).encode()
    except (ValueError, IndexError, struct.error):
        raise EncodeError(f"fault {kind}: {argument!r} is no argument of it", status=3) from None
    return fault


class Faults(FaultList[Fault, Message]):
    """The faults in force."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(chance, _KINDS)

    def clear(self, kind: str = "", unit: int | None = None) -> int:
        """End all faults, or those of a kind or a unit; returns how many."""
        return self.end(
            lambda fault: (not kind or fault.kind == kind) and unit in (None, fault.unit)
        )

    def concerns(self, fault: Fault, message: Message) -> bool:
        """By unit, function and cells."""
        function = message.pdu[0] & ~EXCEPTION if message.pdu else 0
        if fault.unit not in (None, message.unit) or fault.function not in (None, function):
            return False
        return fault.address is None or message.touches(*fault.address)


def _transaction(message: Message, argument: str, chance: Chance) -> Message:
    if message.header is None:
        return message
    was, protocol, length = message.header
    swapped = (was & 0xFF) << 8 | was >> 8
    known = {"": was + 1 & 0xFFFF, "zero": 0, "swap": swapped}
    number = known[argument] if argument in known else int(argument, 0) & 0xFFFF
    return replace(message, header=(number, protocol, length))


def _protocol(message: Message, argument: str, chance: Chance) -> Message:
    if message.header is None:
        return message
    transaction, _, length = message.header
    return replace(message, header=(transaction, int(argument or "1", 0), length))


def _length(message: Message, argument: str, chance: Chance) -> Message:
    if message.header is None:
        return message
    transaction, protocol, _ = message.header
    return replace(message, header=(transaction, protocol, int(argument or "3", 0)))


def _unit(message: Message, argument: str, chance: Chance) -> Message:
    number = int(argument, 0) if argument else message.unit + 1
    return replace(message, unit=number & 0xFF)


def _function(message: Message, argument: str, chance: Chance) -> Message:
    number = int(argument or "0x7f", 0)
    return replace(message, pdu=bytes((number & 0xFF,)) + message.pdu[1:])


def _count(message: Message, argument: str, chance: Chance) -> Message:
    """Registers too many or too few, with a byte count that agrees."""
    more = int(argument or "1")
    data = message.pdu[2:]
    data = data + b"\0\0" * more if more > 0 else data[: max(0, len(data) + 2 * more)]
    return replace(message, pdu=bytes((message.pdu[0], len(data) & 0xFF)) + data)


def _bytes(message: Message, argument: str, chance: Chance) -> Message:
    """A byte count that does not agree with the data."""
    count = int(argument or "3", 0)
    return replace(message, pdu=message.pdu[:1] + bytes((count & 0xFF,)) + message.pdu[2:])


def _truncate(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, cut=int(argument or "1"))


def _crc(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, bad_crc=True)


def _exception(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, pdu=exception_reply(message.pdu[0], int(argument or "4", 0) & 0xFF))


def _busy(message: Message, argument: str, chance: Chance) -> Message:
    return _exception(message, "6", chance)


def _acknowledge(message: Message, argument: str, chance: Chance) -> Message:
    return _exception(message, "5", chance)


def _no_code(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, pdu=exception_reply(message.pdu[0], 1)[:1])


def _twice(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, repeat=2)


def _stale(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, before=message.before + message.previous)


def _echo(message: Message, argument: str, chance: Chance) -> Message:
    return replace(message, before=message.request + message.before)


def _refuse(message: Message, argument: str, chance: Chance) -> Message:
    return _exception(message, "2", chance) if message.touches(*_range(argument)) else message


def _limit(message: Message, argument: str, chance: Chance) -> Message:
    most, _, code = argument.partition(":")
    pdu = message.request_pdu
    if len(pdu) < 5 or pdu[0] not in _READS or struct.unpack_from(">H", pdu, 3)[0] <= int(most):
        return message
    return _exception(message, code or "3", chance)


def _range(text: str) -> tuple[int, int]:
    """The first and last of `75` or `75-80`."""
    first, _, last = text.partition("-")
    return int(first, 0), int(last or first, 0)


_READS = (1, 2, 3, 4)
_ONE_CELL = (5, 6, 22)
_ADDRESSED = (*_READS, *_ONE_CELL, 15, 16)
_OPTIONS: dict[str, Number] = {
    "unit": lambda value: int(value, 0),
    "function": lambda value: int(value, 0),
    "address": _range,
}


_KINDS: dict[str, Callable[[Message, str, Chance], Message]] = {
    **shared_kinds(piece=4),
    "transaction": _transaction,
    "protocol": _protocol,
    "length": _length,
    "unit": _unit,
    "function": _function,
    "count": _count,
    "bytes": _bytes,
    "truncate": _truncate,
    "crc": _crc,
    "exception": _exception,
    "busy": _busy,
    "acknowledge": _acknowledge,
    "nocode": _no_code,
    "twice": _twice,
    "stale": _stale,
    "echo": _echo,
    "refuse": _refuse,
    "limit": _limit,
}
