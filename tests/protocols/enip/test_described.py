"""Frames as dicts for people."""

import pytest

from cpppod.protocols.enip.described import MAX_SHOWN, describe_bytes, describe_frame
from cpppod.protocols.enip.encapsulation import Frame

HEAD = {"session": 5, "status": 0, "context": "0000000000000000"}


def described(command: int, data: str, *, reply: bool = False) -> dict[str, object]:
    found = describe_frame(Frame(command, bytes.fromhex(data), 5), reply=reply)
    assert {key: found.pop(key) for key in HEAD} == HEAD
    return found


def rr(message: str) -> str:
    size = len(bytes.fromhex(message)).to_bytes(2, "little").hex()
    return f"00000000 0800 0200 0000 0000 b200 {size} {message}"


def test_a_request_is_described_with_its_route() -> None:
    request = "4c05 9105534341444100 2803 0100"
    wrapped = f"5202 20062401 05 9d {len(bytes.fromhex(request)):02x}00 {request} 0100 0100"
    assert described(0x6F, rr(wrapped)) == {
        "command": "SEND_RR_DATA",
        "request": {"route": "1/0", "service": "READ_TAG", "path": "SCADA[3]", "data": "0100"},
    }


def test_a_reply_is_described_with_its_status_in_words() -> None:
    assert described(0x6F, rr("cc000500"), reply=True)["reply"] == {
        "service": "READ_TAG",
        "status": "path destination unknown (0x05)",
        "data": "",
    }


def test_the_members_of_a_packet_are_described() -> None:
    first, second = "0e03 200124013007", "0102 20012401"
    packet = f"0a02 20022401 0200 0600 0e00 {first} {second}"
    found = described(0x6F, rr(packet))["request"]
    assert found == {
        "service": "MULTIPLE_SERVICE_PACKET",
        "path": "@0x02/1",
        "requests": [
            {"service": "GET_ATTRIBUTE_SINGLE", "path": "@0x01/1/7", "data": ""},
            {"service": "GET_ATTRIBUTES_ALL", "path": "@0x01/1", "data": ""},
        ],
    }
    reply = described(0x6F, rr("8a000000 0200 0600 0a00 8e000000 81000800"), reply=True)["reply"]
    assert isinstance(reply, dict)
    assert [each["status"] for each in reply["replies"]] == [
        "success (0x00)",
        "service not supported (0x08)",
    ]


def test_a_connected_message_has_its_connection_and_sequence() -> None:
    data = "00000000 0000 0200 a100 0400 78563412 b100 0c00 0700 4c02 910154 00 0100 0000"
    found = described(0x70, data)
    assert (found["connection"], found["sequence"]) == (0x12345678, 7)
    assert found["request"] == {"service": "READ_TAG", "path": "T", "data": "01000000"}


@pytest.mark.parametrize(
    ("command", "data", "expected"),
    [
        (0x65, "01000000", {"command": "REGISTER_SESSION", "data": "01000000"}),
        (0x6F, "", {"command": "SEND_RR_DATA", "data": ""}),
        (0x99, "00", {"command": "0x99", "data": "00"}),
    ],
)
def test_other_commands_are_described_with_their_data(
    command: int, data: str, expected: dict[str, object]
) -> None:
    assert described(command, data) == expected


def test_what_cannot_be_read_is_shown_as_it_came_and_long_data_cut() -> None:
    broken = described(0x6F, "00000000 0000 0200 0000")
    assert broken["unreadable"]
    assert broken["data"] == "00000000000002000000"
    long = described(0x63, "00" * (MAX_SHOWN + 1))
    assert (long["data"], long["length"]) == ("00" * MAX_SHOWN + "...", MAX_SHOWN + 1)


def frame(command: int, data: str, status: int = 0) -> bytes:
    return Frame(command, bytes.fromhex(data), 5, status).encode()


@pytest.mark.parametrize(
    ("data", "reply", "words"),
    [
        (frame(0x6F, rr("4c05 9105534341444100 2803 0100")), False, "READ_TAG SCADA[3] 0100"),
        (frame(0x6F, rr("cc000500")), True, "READ_TAG path destination unknown (0x05)"),
        (
            frame(0x6F, rr("5202 20062401 05 9d 0a00 4c03 9103414243 00 0100 0100 0100")),
            False,
            "by 1/0 READ_TAG ABC 0100",
        ),
        (
            frame(0x6F, rr("8a000000 0200 0600 0a00 8e000000 81000800")),
            True,
            "MULTIPLE_SERVICE_PACKET success (0x00): GET_ATTRIBUTE_SINGLE success (0x00),"
            " GET_ATTRIBUTES_ALL service not supported (0x08)",
        ),
        (
            frame(0x6F, rr("0a02 20022401 0100 0400 0e03 200124013007")),
            False,
            "MULTIPLE_SERVICE_PACKET: GET_ATTRIBUTE_SINGLE @0x01/1/7",
        ),
        (frame(0x65, "01000000", 3), True, "REGISTER_SESSION status 0x03 01000000"),
        (frame(0x63, "") * 2, False, "LIST_IDENTITY; LIST_IDENTITY"),
        (frame(0x63, "")[:20], False, "cut off"),
        (frame(0x65, "01000000")[:2] + b"\xff\xff" + bytes(20), False, "frame claims 65535 bytes"),
    ],
)
def test_what_went_over_a_wire_is_a_line_of_words(data: bytes, reply: bool, words: str) -> None:
    assert describe_bytes(data, reply=reply).startswith(words)
