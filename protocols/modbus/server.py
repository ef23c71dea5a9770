"""The answering side of Modbus: sparse tables of one unit, and the reply to any request.

A `Unit` holds only the cells that it was given; a request that touches another is refused with
exception 2, a malformed one with exception 3, an unknown function with 1. Whether all cells of a
request are there costs as many look-ups as it names, however many there are.

Source: Modbus Application Protocol Specification V1.1b3, 6 and the state diagrams there.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cpppod.protocols.modbus import pdu, rtu
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.pdu import ExceptionCode, Function, exception_reply

READ_DEVICE_IDENTIFICATION = 14  # MEI type of function 43
CONFORMITY_BASIC_STREAM = 0x01
MAX_OBJECTS_LENGTH = 240  # bytes of the objects in one reply: a PDU has 253
ONE_OBJECT = 4  # read code: a single object; the others are streams up to these objects:
_LAST_OBJECTS = {1: 0x02, 2: 0x7F, 3: 0xFF}  # basic, regular, extended


class Refusal(Exception):
    """A request is answered with this exception code."""

    def __init__(self, code: ExceptionCode) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(slots=True)
class Unit:
    """One unit's cells: table -> offset -> value.

    Attributes:
        identification: objects of function 43/14: vendor, product code, revision.
        written: called after a write with (table, offset, count).
        requests: how many were answered, of any kind.
    """

    tables: dict[Table, dict[int, int]] = field(
        default_factory=lambda: {table: {} for table in Table}
    )
    identification: Sequence[str] = ("cpppod", "modbus_sim", "1")
    written: Callable[[Table, int, int], None] | None = None
    requests: int = 0

    def define(self, table: Table, offset: int, values: Iterable[int]) -> None:
        """Give the unit these cells."""
        cells = self.tables[table]
        for at, value in enumerate(values, offset):
            cells[at] = int(value)

    def read(self, table: Table, offset: int, count: int) -> list[int]:
        """Cells in order.

        Raises:
            Refusal: one of them is not there.
        """
        cells = self.tables[table]
        try:
            return [cells[at] for at in range(offset, offset + count)]
        except KeyError:
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS) from None

    def write(self, table: Table, offset: int, values: Sequence[int]) -> None:
        """Change cells; none of them is changed where one is not there."""
        self.read(table, offset, len(values))
        self.tables[table].update(enumerate(values, offset))
        if self.written is not None:
            self.written(table, offset, len(values))

    def respond(self, request: bytes) -> bytes:
        """The reply PDU to a request PDU, a refusal included."""
        self.requests += 1
        function = request[0] if request else 0
        answer = _ANSWERS.get(function)
        try:
            if answer is None:
                raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
            return answer(self, request)
        except Refusal as refusal:
            return exception_reply(function, refusal.code)


def request_length(frame: bytes | bytearray, start: int = 0) -> int | None:
    """Bytes of the request PDU that begins at `start`; None where that is not known yet.

    A length of 0 says that the function is unknown, so that only silence ends the frame.
    """
    have = len(frame) - start
    if have < 1:
        return None
    function = frame[start]
    fixed = _LENGTHS.get(function)
    if fixed is not None:
        return fixed
    at = _COUNT_AT.get(function)
    if at is None:
        return 0
    return None if have <= at else at + 1 + frame[start + at]


class RtuRequests:
    """Finds request frames in what a line carries; one per line.

    A frame is taken as soon as it is complete; noise before it is skipped. What silence ends is a
    frame of an unknown function, or nothing.
    """

    def __init__(self) -> None:
        self._heard = bytearray()

    def receive_data(self, data: bytes) -> list[tuple[int, bytes, bytes]]:
        """(unit, PDU, whole frame) of the requests that `data` completes."""
        self._heard += data
        found = []
        while (request := self._next()) is not None:
            found.append(request)
        if len(self._heard) > 2 * rtu.MAX_FRAME:
            del self._heard[: -rtu.MAX_FRAME]
        return found

    def silence(self) -> tuple[int, bytes, bytes] | None:
        """The line fell silent: the frame that this ended, if it was one."""
        heard = bytes(self._heard)
        self._heard.clear()
        if len(heard) < rtu.MIN_FRAME or rtu.crc16(heard):
            return None
        return heard[0], heard[1:-2], heard

    @property
    def pending(self) -> int:
        """Bytes that are no frame yet."""
        return len(self._heard)

    def _next(self) -> tuple[int, bytes, bytes] | None:
        heard = self._heard
        for start in range(len(heard) - rtu.MIN_FRAME + 1):
            length = request_length(heard, start + 1)
            if not length or start + length + 3 > len(heard):
                continue
            frame = bytes(heard[start : start + length + 3])
            if rtu.crc16(frame) == 0:
                del heard[: start + length + 3]
                return frame[0], frame[1:-2], frame
        return None


_LENGTHS = {1: 5, 2: 5, 3: 5, 4: 5, 5: 5, 6: 5, 7: 1, 8: 5, 11: 1, 12: 1, 17: 1, 22: 7, 43: 4}
_COUNT_AT = {15: 5, 16: 5, 23: 9}


def _words(request: bytes, count: int, *, exact: bool = True) -> tuple[int, ...]:
    """The first words of a request's data, which must be all of it where `exact`."""
    if len(request) < 1 + 2 * count or (exact and len(request) != 1 + 2 * count):
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    return struct.unpack_from(f">{count}H", request, 1)


def _count(value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    return value


def _read_bits(unit: Unit, request: bytes) -> bytes:
    offset, count = _words(request, 2)
    values = unit.read(Table(request[0]), offset, _count(count, pdu.MAX_READ_BITS))
    data = pdu.pack_bits([bool(value) for value in values])
    return bytes((request[0], len(data))) + data


def _read_registers(unit: Unit, request: bytes) -> bytes:
    offset, count = _words(request, 2)
    values = unit.read(Table(request[0]), offset, _count(count, pdu.MAX_READ_REGISTERS))
    return struct.pack(f">BB{count}H", request[0], 2 * count, *values)


def _write_coil(unit: Unit, request: bytes) -> bytes:
    offset, value = _words(request, 2)
    if value not in (0, 0xFF00):
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    unit.write(Table.COILS, offset, [int(value != 0)])
    return request


def _write_register(unit: Unit, request: bytes) -> bytes:
    offset, value = _words(request, 2)
    unit.write(Table.HOLDING_REGISTERS, offset, [value])
    return request


def _write_coils(unit: Unit, request: bytes) -> bytes:
    offset, count = _words(request, 2, exact=False)
    _count(count, pdu.MAX_WRITE_BITS)
    data = _counted(request, 5, (count + 7) // 8)
    unit.write(Table.COILS, offset, [int(bit) for bit in pdu.unpack_bits(data, count)])
    return request[:5]


def _write_registers(unit: Unit, request: bytes) -> bytes:
    offset, count = _words(request, 2, exact=False)
    data = _counted(request, 5, 2 * _count(count, pdu.MAX_WRITE_REGISTERS))
    unit.write(Table.HOLDING_REGISTERS, offset, pdu.unpack_registers(data))
    return request[:5]


def _mask_write(unit: Unit, request: bytes) -> bytes:
    offset, and_mask, or_mask = _words(request, 3)
    (value,) = unit.read(Table.HOLDING_REGISTERS, offset, 1)
    unit.write(
        Table.HOLDING_REGISTERS, offset, [(value & and_mask) | (or_mask & ~and_mask & 0xFFFF)]
    )
    return request


def _read_write(unit: Unit, request: bytes) -> bytes:
    offset, count, at, written = _words(request, 4, exact=False)
    _count(count, pdu.MAX_READ_REGISTERS)
    data = _counted(request, 9, 2 * _count(written, pdu.MAX_READ_WRITE_REGISTERS))
    unit.read(Table.HOLDING_REGISTERS, offset, count)  # nothing is written if this is refused
    unit.write(Table.HOLDING_REGISTERS, at, pdu.unpack_registers(data))
    values = unit.read(Table.HOLDING_REGISTERS, offset, count)
    return struct.pack(f">BB{count}H", request[0], 2 * count, *values)


def _counted(request: bytes, at: int, size: int) -> bytes:
    """The data behind a byte count, which must be `size` and all there."""
    if len(request) != at + 1 + size or request[at] != size:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    return request[at + 1 :]


def _exception_status(unit: Unit, request: bytes) -> bytes:
    return bytes((request[0], 0))


def _diagnostics(unit: Unit, request: bytes) -> bytes:
    if len(request) < 3:
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    if request[1:3] != b"\0\0":  # return query data is the one that needs no state
        raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
    return request


def _event_counter(unit: Unit, request: bytes) -> bytes:
    return struct.pack(">BHH", request[0], 0, unit.requests & 0xFFFF)


def _server_id(unit: Unit, request: bytes) -> bytes:
    name = unit.identification[1].encode()[:200]
    return bytes((request[0], len(name) + 1)) + name + b"\xff"


def _identification(unit: Unit, request: bytes) -> bytes:
    """Device identification, as a stream or one object of it; whole objects, and where to go on."""
    if len(request) != 4 or request[1] != READ_DEVICE_IDENTIFICATION:
        raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
    code, first = request[2], request[3]
    if code not in (*_LAST_OBJECTS, ONE_OBJECT):
        raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
    objects = list(enumerate(unit.identification))
    if code == ONE_OBJECT:
        objects = [item for item in objects if item[0] == first]
        if not objects:
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
    else:
        objects = objects[: _LAST_OBJECTS[code] + 1]
        objects = objects[first:] or objects
    body, count = b"", 0
    for number, text in objects:
        raw = text.encode()[: MAX_OBJECTS_LENGTH - 2]
        if len(body) + 2 + len(raw) > MAX_OBJECTS_LENGTH:
            break
        body += bytes((number, len(raw))) + raw
        count += 1
    following = objects[count][0] if count < len(objects) else 0
    more = 0xFF if count < len(objects) else 0
    conformity = CONFORMITY_BASIC_STREAM | 0x80
    return bytes((*request[:3], conformity, more, following, count)) + body


_ANSWERS: dict[int, Callable[[Unit, bytes], bytes]] = {
    Function.READ_COILS: _read_bits,
    Function.READ_DISCRETE_INPUTS: _read_bits,
    Function.READ_HOLDING_REGISTERS: _read_registers,
    Function.READ_INPUT_REGISTERS: _read_registers,
    Function.WRITE_SINGLE_COIL: _write_coil,
    Function.WRITE_SINGLE_REGISTER: _write_register,
    Function.READ_EXCEPTION_STATUS: _exception_status,
    Function.DIAGNOSTICS: _diagnostics,
    Function.GET_COMM_EVENT_COUNTER: _event_counter,
    Function.WRITE_MULTIPLE_COILS: _write_coils,
    Function.WRITE_MULTIPLE_REGISTERS: _write_registers,
    Function.REPORT_SERVER_ID: _server_id,
    Function.MASK_WRITE_REGISTER: _mask_write,
    Function.READ_WRITE_MULTIPLE_REGISTERS: _read_write,
    Function.ENCAPSULATED_INTERFACE: _identification,
}
