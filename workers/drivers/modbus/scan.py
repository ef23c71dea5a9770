"""Which cells a unit has: read in blocks, a refused block in halves, down to a single cell.

    where            without: the first 1000 of each table
      a block        read      a tag a cell; what was read stands in its description
                     refused   halved: exceptions 2 and 3 may concern a part of it
      exception 1    the unit has no such table
      silence        of a block: nothing is known of it; of the first: the unit is not there

It only reads, one request at a time, and never more than `MOST_REQUESTS`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.address import Address, Table, parse_address
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.pdu import ModbusException
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Line, Tag
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.devices.spec import Browsed, Progress
from cpppod.workers.drivers.modbus.exchange import Exchange, RtuExchange, TcpExchange
from cpppod.workers.drivers.modbus.sunspec import browsed
from cpppod.workers.transport.port import SerialPort, TcpPort, make_port

SUNSPEC = "sunspec"  # a place of `where`: the models that the unit tells
FIRST_CELLS = 1000  # of each table, where nothing is said
BLOCK_CELLS = 100  # what most devices give at once, and what halves well
SHORT_CELLS = 8
MOST_REQUESTS = 6000  # some minutes on a serial line; the first 1000 of all tables, all refused
REFUSED_PART = (2, 3)  # exceptions that a smaller read may not have
NO_FUNCTION = 1
BUSY = (5, 6)
TRIES = 3  # of what a busy device refuses
TABLES = (
    Table.HOLDING_REGISTERS,
    Table.INPUT_REGISTERS,
    Table.COILS,
    Table.DISCRETE_INPUTS,
)
Span = tuple[Table, int, int]  # table, first cell, how many


@dataclass(slots=True)
class Scanned:
    """What has been found so far."""

    cells: dict[tuple[Table, int], int] = field(default_factory=dict)
    left_out: list[tuple[Span, str]] = field(default_factory=list)

    def leave_out(self, span: Span, why: str) -> None:
        """Nothing of the span was read; spans come in their order."""
        table, first, count = span
        if self.left_out:
            (last_table, last_first, last_count), last_why = self.left_out[-1]
            if (last_table, last_first + last_count, last_why) == (table, first, why):
                self.left_out[-1] = (table, last_first, last_count + count), why
                return
        self.left_out.append((span, why))

    def browsed(self) -> Browsed:
        """A tag for each cell, in their order."""
        tags = []
        for (table, offset), value in sorted(self.cells.items()):
            address = str(Address(table, offset))
            kind, read = ("BOOL", bool(value)) if table.has_bits else ("UINT", value)
            name = f"{address.replace(':', '_').lower()}"
            tags.append(Tag(name, address, kind, description=f"{read} when scanned"))
        return Browsed(tuple(tags), tuple((_text(span), why) for span, why in self.left_out))


def _text(span: Span) -> str:
    table, first, count = span
    return f"{Address(table, first)}{'' if count == 1 else f'-{first + count - 1}'}"


async def scan_registers(
    device: Device, where: str, progress: Progress, *, rtu: bool = False
) -> Browsed:
    """A tag for each cell of `where` that the unit has.

    Raises:
        DeviceError: it is not there; BAD_VALUE where `where` names no cells.
    """
    if where.strip().lower() == SUNSPEC:
        return await _scan_models(device, rtu=rtu)
    model = Model.from_tables(device.model)
    try:
        spans = list(spans_of(where, zero_based=model.zero_based))
    except EncodeError as error:
        raise DeviceError(Failure.BAD_VALUE, str(error), sent=False) from None
    port, exchange = _connect(device, rtu=rtu)
    await port.open()
    try:
        scan = _Scan(device, exchange, sum(count for _, _, count in spans), progress)
        await scan.read(spans, min(BLOCK_CELLS, model.max_registers))
    finally:
        await port.close()
    return scan.found.browsed()


async def _scan_models(device: Device, *, rtu: bool) -> Browsed:
    """A tag for each point of the SunSpec models that the unit says it has."""
    port, exchange = _connect(device, rtu=rtu)
    counts: Counter[str] = Counter()

    async def read(at: int, count: int) -> list[int]:
        request = pdu.read(Table.HOLDING_REGISTERS, at, count)
        data = await exchange.transact(device.unit, request, device.timeout_s, counts=counts)
        return pdu.unpack_registers(data)

    await port.open()
    try:
        tables, left_out = await browsed(read)
    finally:
        await port.close()
    return Browsed(tuple(_tag_of(table) for table in tables), tuple(left_out))


def _tag_of(table: dict[str, Any]) -> Tag:
    """A tag of a table whose texts are by number."""
    keys = dict(table)
    for key in ("texts", "flags"):
        if key in keys:
            keys[key] = tuple(f"{number}={text}" for number, text in keys[key].items())
    keys["unavailable"] = tuple(keys.get("unavailable", ()))
    return Tag(**keys)


def spans_of(where: str, *, zero_based: bool = False) -> Iterator[Span]:
    """The cells of `40001-40100,DI:0-15`; of nothing, the first of each table.

    Raises:
        EncodeError: it names none.
    """
    if not where.strip():
        yield from ((table, 0, FIRST_CELLS) for table in TABLES)
        return
    for part in where.split(","):
        first_text, dash, last_text = part.strip().partition("-")
        first = parse_address(first_text, zero_based=zero_based)
        if ":" in first_text and last_text.isdecimal():
            last_text = f"{first_text.partition(':')[0]}:{last_text}"
        last = parse_address(last_text if dash else first_text, zero_based=zero_based)
        count = last.offset - first.offset + 1
        if first.table != last.table or first.bit is not None or last.bit is not None or count < 1:
            raise EncodeError(f"{part!r:.60}: two addresses of one kind, 40001-40100", status=2)
        yield first.table, first.offset, count


def _parts(span: Span) -> list[Span]:
    """Its halves; of a short one the cells, which is less to ask where none is there."""
    table, first, count = span
    step = 1 if count <= SHORT_CELLS else -(-count // 2)
    end = first + count
    return [(table, at, min(step, end - at)) for at in range(first, end, step)]


def _connect(device: Device, *, rtu: bool) -> tuple[TcpPort | SerialPort, Exchange]:
    if not rtu:
        settle_s = float(device.model.get("pause_after_connect_s", 0.0))
        port = TcpPort(device.address, timeout_s=device.timeout_s, settle_s=settle_s)
        return port, TcpExchange(port)
    line = Line("line", device.address, **device.options)
    serial = make_port(line, timeout_s=device.timeout_s)
    return serial, RtuExchange(serial, strip_echo=line.strip_echo)


class _Scan:
    """One scan: what it asks, and what it has `found`."""

    def __init__(self, device: Device, exchange: Exchange, cells: int, progress: Progress) -> None:
        self.found = Scanned()
        self._device = device
        self._exchange = exchange
        self._cells, self._done = cells, 0
        self._progress = progress
        self._requests = 0
        self._counts: Counter[str] = Counter()

    async def read(self, spans: list[Span], most: int) -> None:
        """Read all of `spans`, at most `most` cells at once."""
        absent: set[Table] = set()
        pending = [
            (table, at, min(most, first + count - at))
            for table, first, count in spans
            for at in range(first, first + count, most)
        ]
        while pending:
            span = pending.pop(0)
            table, _first, count = span
            if table in absent or self._requests >= MOST_REQUESTS:
                why = "not a function of it" if table in absent else "not asked: too many requests"
                self.found.leave_out(span, why)
            elif code := await self._read_block(span):
                if code == NO_FUNCTION:
                    absent.add(table)
                if code in REFUSED_PART and count > 1:
                    pending[:0] = _parts(span)
                    continue
                self.found.leave_out(span, str(ModbusException(code)))
            self._done += count
            self._progress(self._done, self._cells)

    async def _read_block(self, span: Span) -> int:
        """Take in the cells of a span; the exception code where it is refused, else 0."""
        table, first, count = span
        try:
            data = await self._ask(pdu.read(table, first, count))
        except ModbusException as error:
            return error.code
        except DeviceError as error:
            if error.failure is not Failure.TIMEOUT or self._requests == 1:
                raise
            self.found.leave_out(span, "no answer")
            return 0
        values = pdu.unpack_bits(data, count) if table.has_bits else pdu.unpack_registers(data)
        self.found.cells.update(
            ((table, first + at), int(value)) for at, value in enumerate(values)
        )
        return 0

    async def _ask(self, request: pdu.Request) -> bytes:
        for tried in range(1, TRIES + 1):
            self._requests += 1
            try:
                return await self._exchange.transact(
                    self._device.unit, request, self._device.timeout_s, counts=self._counts
                )
            except ModbusException as error:
                if error.code not in BUSY or tried == TRIES:
                    raise
        raise AssertionError("the last try returns or raises")
