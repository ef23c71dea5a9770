"""What went over a Modbus wire, in words."""

import pytest

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.described import describe_pdu, describe_rtu, describe_tcp


@pytest.mark.parametrize(
    ("pdu", "words"),
    [
        ("0300000003", "FC3 read holding registers 0 to 2"),
        ("0400090001", "FC4 read input registers 9"),
        ("0500020000", "FC5 write single coil 2: off"),
        ("05000aff00", "FC5 write single coil 10: on"),
        ("0600010007", "FC6 write single register 1: 7"),
        ("0f000000030105", "FC15 write multiple coils 0 to 2: bits 00000101"),
        ("100001000204000a0102", "FC16 write multiple registers 1 to 2: 10, 258"),
        ("2b0e0100", "FC43 encapsulated interface 0e 01 00"),
        ("11", "FC17 report server id"),
        ("64ff", "FC100 ff"),
    ],
)
def test_a_request_says_what_it_asks_for(pdu: str, words: str) -> None:
    assert describe_pdu(bytes.fromhex(pdu), reply=False) == words


@pytest.mark.parametrize(
    ("pdu", "words"),
    [
        ("03060007010203e8", "FC3 read holding registers: 7, 258, 1000"),
        ("010105", "FC1 read coils: bits 00000101"),
        ("8302", "FC3 read holding registers: exception 2: illegal data address"),
        ("83", "FC3 read holding registers: exception 0: unknown code"),
        ("1000010002", "FC16 write multiple registers 1 to 2"),
        ("0428" + "0001" * 20, f"FC4 read input registers: {'1, ' * 16}..."),
    ],
)
def test_a_reply_says_what_it_brings(pdu: str, words: str) -> None:
    assert describe_pdu(bytes.fromhex(pdu), reply=True) == words


def test_a_piece_of_a_stream_is_told_message_by_message() -> None:
    two = bytes.fromhex("0003 0000 0006 01 03 0000 0002 0004 0000 0006 02 04 0001 0001")
    assert describe_tcp(two, reply=False) == (
        "#3 unit 1 FC3 read holding registers 0 to 1; #4 unit 2 FC4 read input registers 1"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("0003 0000 0006 01 03 00", "#3 unit 1 cut off"),
        ("0003 0007 0006 01 03 0000 0002", "12 bytes that are no message"),
        ("0003 0000 0001 01 03 0000 0002", "12 bytes that are no message"),
        ("0003", "2 bytes that are no message"),
        ("", ""),
    ],
)
def test_what_is_no_message_is_said_to_be_none(data: str, words: str) -> None:
    assert describe_tcp(bytes.fromhex(data), reply=True) == words


def test_a_frame_on_a_line_is_told_where_its_crc_is_right() -> None:
    frame = rtu.encode(3, bytes.fromhex("030000000a"))
    assert describe_rtu(frame, reply=False) == "unit 3 FC3 read holding registers 0 to 9"
    assert describe_rtu(frame[:-1] + b"\0", reply=False) == "8 bytes whose CRC is wrong"
    assert describe_rtu(b"\1", reply=True) == "1 bytes whose CRC is wrong"
