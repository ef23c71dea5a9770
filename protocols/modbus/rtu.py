"""Modbus RTU: unit, PDU and CRC; frames are told apart by silence, and by nothing else.

    USINT  PDU  UINT little-endian
    unit        CRC-16, polynomial 0xA001 (reflected), initial value 0xFFFF

The master knows what it asked, so it looks for the one reply that can be right (unit, function,
length, CRC) anywhere in what it hears: noise before and after does no harm, and nothing else is
ever taken for the answer.

Source: Modbus over Serial Line Specification V1.02, 2.5.1.
"""

from dataclasses import dataclass

from cpppod.protocols.modbus.pdu import EXCEPTION, MAX_PDU, Answer, Request
from cpppod.protocols.model.failures import Failure

MIN_FRAME = 4
MAX_FRAME = MAX_PDU + 3
BROADCAST = 0
EXCEPTION_FRAME = 5
FAST_BAUDRATE = 19_200  # above it the specification fixes t1.5 and t3.5
GAP_FIXED_S, SILENCE_FIXED_S = 0.00075, 0.00175


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _crc_table()


def crc16(data: bytes | bytearray | memoryview) -> int:
    """The CRC of `data`; over a whole frame with its CRC it is 0."""
    crc = 0xFFFF
    table = _TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def encode(unit: int, pdu: bytes) -> bytes:
    """The frame with its CRC."""
    frame = bytes((unit,)) + pdu
    return frame + crc16(frame).to_bytes(2, "little")


def character_s(
    baudrate: int, *, bytesize: int = 8, parity: str = "E", stopbits: float = 1
) -> float:
    """Seconds of one character: start, data, parity and stop bits."""
    return (1 + bytesize + (parity.upper() != "N") + stopbits) / baudrate


def gap_s(baudrate: int, one_character_s: float) -> float:
    """t1.5: more idle time than this within a frame breaks it."""
    return GAP_FIXED_S if baudrate > FAST_BAUDRATE else 1.5 * one_character_s


def silence_s(baudrate: int, one_character_s: float) -> float:
    """t3.5: so much idle time ends a frame."""
    return SILENCE_FIXED_S if baudrate > FAST_BAUDRATE else 3.5 * one_character_s


@dataclass(frozen=True, slots=True)
class Found:
    """A frame within what was heard: its PDU and where it ends."""

    pdu: bytes
    end: int


def find_reply(heard: bytes | bytearray, unit: int, request: Request) -> Found | None:
    """The first frame in `heard` that `unit` may have sent in answer to `request`.

    The request itself, which an adapter may echo, is not taken for an answer but where the answer
    is an echo (functions 5, 6, 22).
    """
    function = request.function
    own = encode(unit, request.pdu)
    for start in range(len(heard) - MIN_FRAME + 1):
        if heard[start] != unit:
            continue
        if heard[start + 1] == function | EXCEPTION:
            lengths: tuple[int, ...] = (EXCEPTION_FRAME,)
        elif heard[start + 1] == function:
            lengths = _lengths(request, heard, start)
        else:
            continue
        for length in lengths:
            frame = heard[start : start + length]
            if len(frame) < length or crc16(frame):
                continue
            if frame == own and request.answer != Answer.ECHO:
                continue
            return Found(bytes(frame[1:-2]), start + length)
    return None


def _lengths(request: Request, heard: bytes | bytearray, start: int) -> tuple[int, ...]:
    """How long the reply at `start` may be: as asked for, or as it says itself.

    The latter answers another question, but it is a frame: to be refused by name, not waited out.
    """
    length = request.reply_length
    if request.answer == Answer.OTHER:
        return tuple(range(MIN_FRAME, min(len(heard) - start, MAX_FRAME) + 1))
    assert length is not None
    if request.answer == Answer.DATA and start + 2 < len(heard):
        return (length + 3, heard[start + 2] + 5)
    return (length + 3,)


def diagnose(heard: bytes | bytearray, sent: bytes, unit: int) -> tuple[Failure, str]:
    """What was heard instead of a reply: `GARBLED` where it may have been one, and in words."""
    if not heard:
        return Failure.TIMEOUT, "no reply"
    rest = bytes(heard)
    echo = ""
    if rest.startswith(sent):
        echo, rest = "echo seen (set strip_echo)", rest[len(sent) :]
        if not rest:
            return Failure.TIMEOUT, f"no reply, {echo}"
        echo = f"{echo}, "
    if len(rest) >= MIN_FRAME and len(rest) <= MAX_FRAME and not crc16(rest):
        if rest[0] != unit:
            return Failure.TIMEOUT, f"{echo}unit {rest[0]} answered for {unit}"
        return Failure.TIMEOUT, f"{echo}function {rest[1]:#04x} answered {sent[1]:#04x}"
    if bytes((unit, sent[1])) in rest or bytes((unit, sent[1] | EXCEPTION)) in rest:
        failure = Failure.TIMEOUT if echo else Failure.GARBLED
        return failure, f"{echo}CRC wrong or reply cut short ({len(rest)} bytes)"
    return Failure.TIMEOUT, f"{echo}{len(rest)} bytes of noise ({rest[:8].hex()})"
