"""Modbus PDUs: requests, and the only replies that answer them.

    request   function  address   quantity or value ...          (big-endian)
    reply     function  byte count  data                         1 2 3 4 23
              function  what the request said                    5 6 15 16 22
              function + 0x80  exception code                    any

A reply is matched to its request in full: function, byte count, echoed address and value. What does
not answer the question is a `ReplyMismatch`, whatever its checksum or transaction id says.

These few PDUs are written here and not taken from pymodbus because its decoder takes a reply of the
wrong function, count or length for good; the rarer functions in `diagnostics` are pymodbus's.

Source: Modbus Application Protocol Specification V1.1b3, 6.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cpppod.protocols.model.errors import DecodeError, EncodeError

MAX_PDU = 253
MAX_READ_BITS = 2000
MAX_WRITE_BITS = 1968
MAX_READ_REGISTERS = 125
MAX_WRITE_REGISTERS = 123
MAX_READ_WRITE_REGISTERS = 121  # of function 23's write part
EXCEPTION = 0x80  # bit of an exception reply's function code


class Function(IntEnum):
    """Function codes; an unknown one stays an int."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_SINGLE_COIL = 5
    WRITE_SINGLE_REGISTER = 6
    READ_EXCEPTION_STATUS = 7
    DIAGNOSTICS = 8
    GET_COMM_EVENT_COUNTER = 11
    WRITE_MULTIPLE_COILS = 15
    WRITE_MULTIPLE_REGISTERS = 16
    REPORT_SERVER_ID = 17
    MASK_WRITE_REGISTER = 22
    READ_WRITE_MULTIPLE_REGISTERS = 23
    ENCAPSULATED_INTERFACE = 43


class ExceptionCode(IntEnum):
    """Why a device refuses."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    SERVER_DEVICE_BUSY = 6
    MEMORY_PARITY_ERROR = 8
    GATEWAY_PATH_UNAVAILABLE = 10
    GATEWAY_TARGET_FAILED_TO_RESPOND = 11


EXCEPTION_TEXTS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge: still working on it",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}


class ModbusException(Exception):
    """The device refused with this exception code; the connection is fine."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}: {EXCEPTION_TEXTS.get(code, 'unknown code')}")
        self.code = code


class ReplyMismatch(DecodeError):
    """A reply that does not answer its request: never a value.

    Attributes:
        foreign: it may well be the answer to somebody else's request; the right one may follow.
    """

    def __init__(self, message: str, *, foreign: bool = False) -> None:
        super().__init__(message, status=ExceptionCode.SERVER_DEVICE_FAILURE)
        self.foreign = foreign


class Answer(IntEnum):
    """What the data of a reply is."""

    DATA = 1  # byte count and that many bytes
    ECHO = 2  # the request itself
    HEAD = 3  # the first five bytes of the request
    OTHER = 4  # known to `diagnostics` only


@dataclass(frozen=True, slots=True)
class Request:
    """One request and what its answer looks like.

    Attributes:
        size: bytes of data in an `Answer.DATA` reply.
    """

    pdu: bytes
    answer: Answer
    size: int = 0

    @property
    def function(self) -> int:
        """The function code."""
        return self.pdu[0]

    @property
    def reply_length(self) -> int | None:
        """Bytes of the normal reply's PDU; None where it depends on the device."""
        if self.answer == Answer.DATA:
            return 2 + self.size
        return {Answer.ECHO: len(self.pdu), Answer.HEAD: 5}.get(self.answer)

    def __str__(self) -> str:
        words = struct.unpack_from(">HH", self.pdu, 1) if len(self.pdu) >= 5 else ()
        return f"FC{self.function} " + " ".join(str(word) for word in words)


_HEAD = struct.Struct(">BHH")
_READS = {
    Function.READ_COILS: MAX_READ_BITS,
    Function.READ_DISCRETE_INPUTS: MAX_READ_BITS,
    Function.READ_HOLDING_REGISTERS: MAX_READ_REGISTERS,
    Function.READ_INPUT_REGISTERS: MAX_READ_REGISTERS,
}


def read(function: int, address: int, count: int) -> Request:
    """Read `count` coils, inputs or registers from `address` on.

    Raises:
        EncodeError: more than a reply can hold, or beyond address 65535.
    """
    limit = _READS.get(Function(function)) if function in _READS else None
    if limit is None:
        raise EncodeError(f"function {function} reads nothing", status=1)
    _check_range(address, count, limit)
    size = 2 * count if limit == MAX_READ_REGISTERS else (count + 7) // 8
    return Request(_HEAD.pack(function, address, count), Answer.DATA, size)


def write_coil(address: int, value: bool) -> Request:
    """Set one coil (function 5)."""
    _check_range(address, 1, 1)
    return Request(_HEAD.pack(5, address, 0xFF00 if value else 0), Answer.ECHO)


def write_register(address: int, value: int) -> Request:
    """Set one holding register (function 6)."""
    _check_range(address, 1, 1)
    return Request(_HEAD.pack(6, address, _word(value)), Answer.ECHO)


def write_coils(address: int, values: Sequence[bool]) -> Request:
    """Set coils from `address` on (function 15)."""
    _check_range(address, len(values), MAX_WRITE_BITS)
    data = pack_bits(values)
    return Request(_HEAD.pack(15, address, len(values)) + bytes((len(data),)) + data, Answer.HEAD)


def write_registers(address: int, values: Sequence[int]) -> Request:
    """Set holding registers from `address` on (function 16)."""
    _check_range(address, len(values), MAX_WRITE_REGISTERS)
    data = pack_registers(values)
    return Request(_HEAD.pack(16, address, len(values)) + bytes((len(data),)) + data, Answer.HEAD)


def mask_write_register(address: int, and_mask: int, or_mask: int) -> Request:
    """Register becomes (register AND and_mask) OR (or_mask AND NOT and_mask) (function 22)."""
    _check_range(address, 1, 1)
    pdu = struct.pack(">BHHH", 22, address, _word(and_mask), _word(or_mask))
    return Request(pdu, Answer.ECHO)


def read_write_registers(
    address: int, count: int, write_address: int, values: Sequence[int]
) -> Request:
    """Write `values` from `write_address` on, then read `count` registers (function 23)."""
    _check_range(address, count, MAX_READ_REGISTERS)
    _check_range(write_address, len(values), MAX_READ_WRITE_REGISTERS)
    data = pack_registers(values)
    head = struct.pack(">BHHHHB", 23, address, count, write_address, len(values), len(data))
    return Request(head + data, Answer.DATA, 2 * count)


def decode_reply(request: Request, pdu: bytes) -> bytes:
    """The data of a reply that answers `request`: b"" where it only confirms.

    Raises:
        ModbusException: the device refused.
        ReplyMismatch: this is no answer to that question.
    """
    function = request.function
    if not pdu:
        raise ReplyMismatch("an empty reply")
    if pdu[0] == function | EXCEPTION:
        if len(pdu) != 2:
            raise ReplyMismatch(f"an exception reply of {len(pdu)} bytes")
        raise ModbusException(pdu[1])
    if pdu[0] != function:
        foreign = bool(pdu[0] & EXCEPTION)
        raise ReplyMismatch(f"function {pdu[0]:#04x} answers {function:#04x}", foreign=foreign)
    if request.answer == Answer.DATA:
        return _data(request, pdu)
    if request.answer == Answer.OTHER:
        return pdu[1:]
    expected = request.pdu if request.answer == Answer.ECHO else request.pdu[:5]
    if pdu != expected:
        raise ReplyMismatch(f"{pdu[:8].hex()} confirms another write than {expected[:8].hex()}")
    return b""


def _data(request: Request, pdu: bytes) -> bytes:
    if len(pdu) < 2:
        raise ReplyMismatch("a reply without byte count")
    if pdu[1] != request.size or len(pdu) != 2 + request.size:
        raise ReplyMismatch(
            f"{pdu[1]} bytes announced, {len(pdu) - 2} there, {request.size} asked for"
        )
    return pdu[2:]


def unpack_registers(data: bytes) -> list[int]:
    """Registers as unsigned words."""
    return list(struct.unpack(f">{len(data) // 2}H", data))


def pack_registers(values: Sequence[int]) -> bytes:
    """Registers as they travel.

    Raises:
        EncodeError: a value is no 16-bit word.
    """
    return struct.pack(f">{len(values)}H", *(_word(value) for value in values))


def unpack_bits(data: bytes, count: int) -> list[bool]:
    """Coils or inputs, the lowest address first."""
    number = int.from_bytes(data, "little")
    return [bool(number >> index & 1) for index in range(count)]


def pack_bits(values: Sequence[bool]) -> bytes:
    """Coils as they travel, padded with zeros."""
    number = sum(1 << index for index, value in enumerate(values) if value)
    return number.to_bytes((len(values) + 7) // 8, "little")


def exception_reply(function: int, code: int) -> bytes:
    """The PDU of a refusal."""
    return bytes((function & 0x7F | EXCEPTION, code))


def _check_range(address: int, count: int, limit: int) -> None:
    if not 1 <= count <= limit:
        raise EncodeError(f"{count} at once: 1 to {limit} are possible", status=3)
    if address < 0 or address + count > 65_536:
        raise EncodeError(f"address {address} x {count} is beyond 0..65535", status=2)


def _word(value: int) -> int:
    if not -32_768 <= value <= 65_535:
        raise EncodeError(f"{value} is no 16-bit word", status=3)
    return value & 0xFFFF
