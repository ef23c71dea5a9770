"""Faults of a simulated device, byte for byte, and texts that describe none."""

import struct

import pytest

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.faults import Fault, Faults, Message, parse_fault
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.faults import MAX_NOISE

# the reply to "read two registers from 0": 1 and 2
PDU = bytes.fromhex("030400010002")
REQUEST = bytes.fromhex("0007 0000 0006 01 0300000002")
TCP = Message(REQUEST, 1, PDU, (7, 0, None), previous=b"before")
LINE = Message(rtu.encode(1, REQUEST[7:]), 1, PDU, None, previous=b"before")


def struck(text: str, message: Message = TCP, chance: float = 0.5) -> Message:
    faults = Faults(lambda: chance)
    faults.add(parse_fault(text))
    return faults.strike(message)


def tcp(pdu: bytes = PDU, *, transaction: int = 7, protocol: int = 0, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit) + pdu


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("transaction", tcp(transaction=8)),
        ("transaction:zero", tcp(transaction=0)),
        ("transaction:swap", tcp(transaction=0x0700)),
        ("transaction:0x1234", tcp(transaction=0x1234)),
        ("protocol", tcp(protocol=1)),
        ("protocol:5", tcp(protocol=5)),
        ("length:9", tcp()[:5] + b"\x09" + tcp()[6:]),
        ("unit", tcp(unit=2)),
        ("unit:255", tcp(unit=255)),
        ("function", tcp(b"\x7f" + PDU[1:])),
        ("function:0x83", tcp(b"\x83" + PDU[1:])),
        ("count", tcp(bytes.fromhex("0306000100020000"))),
        ("count:-1", tcp(bytes.fromhex("03020001"))),
        ("count:-9", tcp(bytes.fromhex("0300"))),
        ("bytes", tcp(b"\3\3" + PDU[2:])),
        ("truncate:3", tcp()[:-3]),
        ("truncate:99", b""),
        ("exception:2", tcp(b"\x83\2")),
        ("exception", tcp(b"\x83\4")),
        ("busy", tcp(b"\x83\6")),
        ("acknowledge", tcp(b"\x83\5")),
        ("nocode", tcp(b"\x83")),
        ("noise-before:abcd", b"\xab\xcd" + tcp()),
        ("noise-after:3", tcp() + b"\x80" * 3),
        ("noise-after", tcp() + b"\x80" * 8),
        ("twice", tcp() * 2),
        ("stale", b"before" + tcp()),
        ("echo", REQUEST + tcp()),
        ("refuse:1-5", tcp(b"\x83\2")),
        ("refuse:1", tcp(b"\x83\2")),
        ("refuse:2-5", tcp()),
        ("limit:2", tcp()),
        ("limit:1", tcp(b"\x83\3")),
        ("limit:1:2", tcp(b"\x83\2")),
        ("silent", b""),
        ("half-open", b""),
        ("crc", tcp()),
    ],
)
def test_reply_leaves_as_the_fault_has_it(text: str, frame: bytes) -> None:
    assert struck(text).encode() == frame


@pytest.mark.parametrize("text", ["transaction", "protocol", "length"])
def test_line_has_no_header_that_could_lie(text: str) -> None:
    assert struck(text, LINE).encode() == rtu.encode(1, PDU)


def test_line_has_a_checksum_and_its_requests_are_refused_by_their_offsets() -> None:
    right = rtu.encode(1, PDU)
    assert struck("crc", LINE).encode() == right[:-1] + bytes((right[-1] ^ 1,))
    assert struck("refuse:0", LINE).encode() == rtu.encode(1, b"\x83\2")
    short = Message(rtu.encode(1, b"\x07"), 1, b"\x07\0", None)
    assert struck("refuse:0", short).encode() == rtu.encode(1, b"\x07\0")
    written = Message(rtu.encode(1, bytes.fromhex("0600000007")), 1, PDU, None)
    assert struck("refuse:1-9", written).encode() == rtu.encode(1, PDU)


@pytest.mark.parametrize(
    ("text", "delay_s", "pause_s", "piece"),
    [
        ("late", 5.0, 0.0, 0),
        ("late:0.5", 0.5, 0.0, 0),
        ("late:500ms-1min", 30.25, 0.0, 0),
        ("late:1-3", 2.0, 0.0, 0),
        ("drip", 0.0, 0.01, 1),
        ("drip:0.2", 0.0, 0.2, 1),
        ("split", 0.0, 0.06, 4),
        ("split:0.1-0.3", 0.0, 0.2, 4),
    ],
)
def test_bytes_leave_late_or_in_pieces(
    text: str, delay_s: float, pause_s: float, piece: int
) -> None:
    message = struck(text)
    assert (message.delay_s, message.pause_s, message.piece) == (delay_s, pause_s, piece)


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "late:soon",
        "late:1-",
        "transaction:x",
        "protocol:65536",
        "length:-1",
        "length:65536",
        "count:x",
        "noise-before:abc",
        f"noise-before:{MAX_NOISE + 1}",
        "refuse",
        "refuse:a-b",
        "crc,unit=x",
        "crc,rate=often",
        "crc,colour=1",
    ],
)
def test_text_that_describes_no_fault_is_refused_before_it_is_in_force(text: str) -> None:
    with pytest.raises(EncodeError):
        parse_fault(text)


def test_as_much_noise_as_may_be_is_made() -> None:
    assert len(struck(f"noise-after:{MAX_NOISE}").after) == MAX_NOISE


@pytest.mark.parametrize(
    "text",
    [
        "crc",
        "late:1-3,unit=2,function=3,times=4,rate=0.5",
        "exception:2,unit=0",
        "silent,address=3-7",
    ],
)
def test_fault_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_fault(text)) == text


def test_fault_strikes_its_unit_and_function_so_many_times_and_by_chance() -> None:
    faults = Faults(lambda: 0.5)
    faults.add(parse_fault("busy,unit=1,function=3,times=2"))
    other_unit = Message(REQUEST, 2, PDU, (7, 0, None))
    other_function = Message(REQUEST, 1, b"\4" + PDU[1:], (7, 0, None))
    assert faults.strike(other_unit) == other_unit
    assert faults.strike(other_function) == other_function
    assert [faults.strike(TCP).pdu for _ in range(3)] == [b"\x83\6", b"\x83\6", PDU]
    assert not faults.active
    faults.add(parse_fault("busy,rate=0.5"))
    assert faults.strike(TCP) == TCP
    faults.add(Fault("busy", times=0))
    assert faults.strike(TCP) == TCP


def test_faults_are_ended_by_kind_by_unit_or_all() -> None:
    faults = Faults(lambda: 0.5)
    for text in ("crc,unit=1", "crc,unit=2", "busy,unit=1"):
        faults.add(parse_fault(text))
    assert faults.clear("crc", 2) == 1
    assert faults.clear("late") == 0
    assert faults.clear(unit=1) == 2
    faults.add(parse_fault("crc"))
    assert faults.clear() == 1


def test_reply_without_bytes_is_struck_too() -> None:
    assert struck("silent", Message(REQUEST, 1, b"", (7, 0, None))).encode() == b""
