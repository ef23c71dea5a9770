"""The answering side: only the cells it was given, malformed requests refused."""

import socket
import struct

import pytest

from cpppod.modbus.server import Server
from cpppod.protocols.modbus import rtu, tcp
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.diagnostics import (
    decode_identification,
    read_device_identification,
)
from cpppod.protocols.modbus.faults import Faults, Message, parse_fault
from cpppod.protocols.modbus.pdu import decode_reply
from cpppod.protocols.modbus.server import RtuRequests, Unit, request_length
from cpppod.protocols.model.errors import EncodeError
from tests.patience import PATIENCE_S


@pytest.fixture
def unit() -> Unit:
    made = Unit()
    made.define(Table.COILS, 0, [1, 0] * 8)
    made.define(Table.DISCRETE_INPUTS, 0, [1] * 8)
    made.define(Table.INPUT_REGISTERS, 0, range(10))
    made.define(Table.HOLDING_REGISTERS, 0, range(200))
    return made


@pytest.mark.parametrize(
    ("request_hex", "reply_hex"),
    [
        ("0100000008", "010155"),
        ("0200000008", "0201ff"),
        ("0300010002", "030400010002"),
        ("0400090001", "04020009"),
        ("050000ff00", "050000ff00"),
        ("0600010007", "0600010007"),
        ("0f000000030105", "0f00000003"),
        ("100001000204000a000b", "1000010002"),
        ("16000400f20025", "16000400f20025"),
        ("1700030002000500010200ff", "170400030004"),
        ("0800001234", "0800001234"),
        ("07", "0700"),
    ],
)
def test_every_function_answers_as_specified(unit: Unit, request_hex: str, reply_hex: str) -> None:
    assert unit.respond(bytes.fromhex(request_hex)).hex() == reply_hex


@pytest.mark.parametrize(
    ("request_hex", "code"),
    [
        ("03", 3),
        ("0300000000", 3),
        ("030000007e", 3),
        ("030000ffff", 3),
        ("0300000001ff", 3),
        ("0100000000", 3),
        ("01000007d1", 3),
        ("0500001234", 3),
        ("10000000010400010002", 3),
        ("100000000102", 3),
        ("0f000000080200ff", 3),
        ("1700000001", 3),
        ("14070600", 1),
        ("41", 1),
        ("03ffff0001", 2),
        ("0300c70002", 2),
        ("0600c80001", 2),
        ("1000c7000204000a000b", 2),
        ("2b0e0500", 3),
        ("2b0d0100", 1),
    ],
)  # fmt: skip
def test_what_is_malformed_or_not_there_is_refused(unit: Unit, request_hex: str, code: int) -> None:
    request = bytes.fromhex(request_hex)
    before = dict(unit.tables[Table.HOLDING_REGISTERS])
    assert unit.respond(request) == bytes((request[0] | 0x80, code))
    assert unit.tables[Table.HOLDING_REGISTERS] == before


def test_a_write_that_reaches_beyond_its_cells_changes_none(unit: Unit) -> None:
    unit.respond(bytes.fromhex("1000c6000306000a000b000c"))
    assert unit.read(Table.HOLDING_REGISTERS, 198, 2) == [198, 199]


def test_requests_are_found_in_noise_and_silence_ends_the_unknown_ones() -> None:
    read = rtu.encode(1, bytes.fromhex("0300000001"))
    write = rtu.encode(1, bytes.fromhex("100001000204000a000b"))
    frames = RtuRequests()
    found = frames.receive_data(b"\xff\0" + read[:3])
    found += frames.receive_data(read[3:] + write + b"\x07")
    assert [frame for _, _, frame in found] == [read, write]
    assert frames.silence() is None
    unknown = rtu.encode(5, b"\x41\x01\x02")
    assert frames.receive_data(unknown) == []
    assert frames.silence() == (5, b"\x41\x01\x02", unknown)
    frames.receive_data(b"\xa5" * 4000)
    assert frames.pending <= 2 * rtu.MAX_FRAME


REPLY = Message(b"\x01\x03\0\0\0\x01\x84\x0a", 1, b"\x03\x02\0\x07", None, b"old")


def struck(text: str, message: Message = REPLY, chance: float = 0.5) -> Message:
    faults = Faults(lambda: chance)
    faults.add(parse_fault(text))
    return faults.strike(message)


def test_faults_change_the_bytes_that_leave() -> None:
    good = REPLY.encode()
    assert struck("truncate:3").encode() == good[:-3]
    assert struck("crc").encode()[:-1] == good[:-1]
    assert struck("crc").encode() != good
    assert struck("noise-before:ff00").encode() == b"\xff\x00" + good
    assert struck("noise-after:4").encode()[:-4] == good
    assert struck("twice").encode() == good * 2
    assert struck("stale").encode() == b"old" + good
    assert struck("echo").encode() == REPLY.request + good
    assert struck("unit:9").encode()[0] == 9
    assert struck("exception:2").encode() == rtu.encode(1, b"\x83\x02")
    assert struck("count:1").encode() == rtu.encode(1, b"\x03\x04\0\x07\0\0")
    assert struck("bytes:250").encode() == rtu.encode(1, b"\x03\xfa\0\x07")
    assert struck("silent").encode() == b""
    assert struck("refuse:0-5").encode() == rtu.encode(1, b"\x83\x02")
    assert struck("refuse:1-5").encode() == good
    assert struck("late:1-3").delay_s == 2.0
    assert (struck("drip:0.01").piece, struck("drip:0.01").pause_s) == (1, 0.01)
    tcp = Message(b"", 1, b"\x03\x02\0\x07", (0x0102, 0, None))
    assert struck("transaction:zero", tcp).encode()[:2] == b"\0\0"
    assert struck("transaction:swap", tcp).encode()[:2] == b"\x02\x01"
    assert struck("protocol:1", tcp).encode()[2:4] == b"\0\x01"
    assert struck("length:3", tcp).encode()[4:6] == b"\0\x03"


def test_faults_strike_by_unit_function_rate_and_times() -> None:
    assert struck("silent,unit=2").encode()
    assert struck("silent,function=4").encode()
    assert struck("silent,rate=0.4").encode()
    assert not struck("silent,rate=0.6").encode()
    faults = Faults(lambda: 0.5)
    faults.add(parse_fault("silent,times=2"))
    assert [bool(faults.strike(REPLY).encode()) for _ in range(3)] == [False, False, True]
    assert faults.active == []
    faults.add(parse_fault("silent,unit=1"))
    faults.add(parse_fault("crc"))
    assert faults.clear("silent") == 1
    assert [str(fault) for fault in faults.active] == ["crc"]


@pytest.mark.parametrize("text", ["", "jump", "late:x", "silent,unit=x", "silent,who=1", "refuse"])
def test_a_fault_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        parse_fault(text)


# Functions that need little: diagnostics, event counter, server id, identification


@pytest.mark.parametrize(
    ("request_hex", "reply_hex"),
    [
        ("08", "8803"),
        ("0800", "8803"),
        ("080001", "8801"),
        ("2b0e0100", "2b0e01810000 03 0006637070706f64 010a6d6f646275735f73696d 020131"),
        ("2b0e0102", "2b0e01810000 01 020131"),
        ("2b0e0109", "2b0e01810000 03 0006637070706f64 010a6d6f646275735f73696d 020131"),
        ("2b0e0402", "2b0e04810000 01 020131"),
        ("2b0e0403", "ab02"),
        ("2b0e0500", "ab03"),
        ("2b0e0000", "ab03"),
        ("2b0d0100", "ab01"),
        ("2b0e01", "ab01"),
        ("11", "110b6d6f646275735f73696dff"),
        ("", "8001"),
    ],
)
def test_rarer_function_is_answered_or_refused(
    unit: Unit, request_hex: str, reply_hex: str
) -> None:
    assert unit.respond(bytes.fromhex(request_hex)) == bytes.fromhex(reply_hex)


def test_event_counter_counts_what_was_answered(unit: Unit) -> None:
    for count in (1, 2):
        assert unit.respond(b"\x0b") == bytes((0x0B, 0, 0, 0, count))
    unit.requests = 65_535
    assert unit.respond(b"\x0b") == bytes((0x0B, 0, 0, 0, 0))


def test_basic_identification_is_the_first_three_objects_and_regular_has_all(unit: Unit) -> None:
    unit.identification = ("v", "p", "r", "url")
    assert unit.respond(bytes.fromhex("2b0e0100")).endswith(b"\2\1r")
    assert unit.respond(bytes.fromhex("2b0e0200")).endswith(b"\3\3url")


def test_objects_that_do_not_fit_one_reply_are_told_whole_and_the_rest_is_asked_for(
    unit: Unit,
) -> None:
    unit.identification = ("v" * 100, "p" * 100, "r" * 100, "u" * 300)
    found: dict[int, str] = {}
    first = 0
    for _ in range(9):
        request = read_device_identification(2, first)
        answer = unit.respond(request.pdu)
        assert len(answer) <= 253
        part = decode_identification(request, decode_reply(request, answer))
        found |= part.objects
        if part.next_object is None:
            break
        first = part.next_object
    assert found == {0: "v" * 100, 1: "p" * 100, 2: "r" * 100, 3: "u" * 238}


def test_whoever_listens_is_told_which_cells_were_written(unit: Unit) -> None:
    seen: list[tuple[Table, int, int]] = []
    unit.written = lambda table, offset, count: seen.append((table, offset, count))
    unit.respond(bytes.fromhex("1000050002040001000b"))
    unit.respond(bytes.fromhex("10ffff000204000b000c"))
    assert seen == [(Table.HOLDING_REGISTERS, 5, 2)]


@pytest.mark.parametrize(
    ("pdu", "length"),
    [("", None), ("03", 5), ("0f", None), ("0f0000000801", 7), ("0f00000008", None), ("41", 0)],
)
def test_length_of_a_request_is_known_as_soon_as_it_can_be(pdu: str, length: int | None) -> None:
    assert request_length(bytes.fromhex(pdu)) == length
    assert request_length(b"\1" + bytes.fromhex(pdu), 1) == length


@pytest.mark.parametrize(
    ("function", "counts", "size"),
    [
        (16, (0, 124), 248),
        (16, (0, 127), 254),
        (15, (0, 1969), 247),
        (15, (0, 2040), 255),
        (23, (0, 1, 0, 122), 244),
        (23, (0, 1, 0, 127), 254),
    ],
)
def test_request_that_writes_too_much_is_refused_and_its_connection_kept(
    function: int, counts: tuple[int, ...], size: int
) -> None:
    asked = struct.pack(f">B{len(counts)}HB", function, *counts, size) + bytes(size)
    with Server("127.0.0.1:0", "40001-40200=0", "1-2100=0") as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as peer:
            peer.sendall(tcp.Adu(7, 1, asked).encode() + tcp.Adu(8, 1, b"\3\0\0\0\1").encode())
            stream = tcp.MbapStream()
            replies: list[tcp.Adu] = []
            while len(replies) < 2 and (data := peer.recv(1024)):
                replies += stream.receive_data(data)
    assert replies == [
        tcp.Adu(7, 1, bytes((function | 0x80, 3))),
        tcp.Adu(8, 1, b"\3\2\0\0"),
    ]
