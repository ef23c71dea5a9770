"""Items inside SendRRData and SendUnitData, and what is wrong with those of others."""

import pytest

from cpppod.protocols.enip.cpf import (
    MAX_MESSAGE,
    ConnectedMessage,
    Item,
    ItemType,
    UnconnectedMessage,
    decode_items,
    encode_items,
)
from cpppod.protocols.enip.encapsulation import MAX_DATA
from cpppod.protocols.model.errors import DecodeError, EncodeError

SOCKADDR = Item(ItemType.SOCKADDR_TO, bytes.fromhex("0002af120a000005") + bytes(8))


def test_messages_survive_encoding_with_their_socket_addresses() -> None:
    for message in (
        UnconnectedMessage(b"\x4c\0", 8),
        UnconnectedMessage(b"\x4c\0", 8, (SOCKADDR,)),
        UnconnectedMessage(b"\x4c\0", 8, (SOCKADDR, SOCKADDR)),
    ):
        assert UnconnectedMessage.decode(message.encode()) == message
    connected = ConnectedMessage(0x11223344, 0xFFFF, b"\x4c\0", 8)
    assert ConnectedMessage.decode(connected.encode()) == connected


def test_connected_message_reads_past_items_behind_it() -> None:
    data = ConnectedMessage(7, 1, b"\x4c\0").encode()
    data = data[:6] + b"\3\0" + data[8:] + encode_items([SOCKADDR])[2:]
    assert ConnectedMessage.decode(data) == ConnectedMessage(7, 1, b"\x4c\0")


def test_longest_message_makes_a_frame_and_one_byte_more_is_refused() -> None:
    assert len(ConnectedMessage(1, 1, bytes(MAX_MESSAGE)).encode()) == MAX_DATA
    assert len(UnconnectedMessage(bytes(MAX_MESSAGE)).encode()) <= MAX_DATA
    with pytest.raises(EncodeError):
        ConnectedMessage(1, 1, bytes(MAX_MESSAGE + 1)).encode()
    with pytest.raises(EncodeError):
        UnconnectedMessage(bytes(MAX_MESSAGE + 1)).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "count"),
        ("01", "count"),
        ("0100", "header"),
        ("0100 b200", "header"),
        ("0100 b200 0200 4c", "longer"),
        ("0200 0000 0000 b200", "header"),
        ("0500", "5 items"),
        ("ffff", "65535 items"),
    ],
)
def test_items_that_claim_more_than_there_is_are_refused(data: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_items(bytes.fromhex(data))


def test_as_many_items_as_any_message_has_are_read() -> None:
    items = tuple(Item(0x9000 + number, b"x") for number in range(4))
    assert decode_items(encode_items(items)) == items


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("00000000 0000", 0x65),
        ("", 0x65),
        ("01000000 0000 0200 0000 0000 b200 0200 4c00", 0x03),
        ("00000000 0000 0000", 0x03),
        ("00000000 0000 0100 0000 0000", 0x03),
        ("00000000 0000 0200 0100 0000 b200 0200 4c00", 0x03),
        ("00000000 0000 0200 0000 0100 00 b200 0200 4c00", 0x03),
        ("00000000 0000 0200 0000 0000 b100 0200 4c00", 0x03),
        ("00000000 0000 0300 0000 0000 b200 0200 4c00 0080 0f00" + "00" * 15, 0x03),
        ("00000000 0000 0300 0000 0000 b200 0200 4c00 0280 1000" + "00" * 16, 0x03),
    ],
)
def test_unconnected_data_of_the_wrong_shape_is_refused(data: str, status: int) -> None:
    with pytest.raises(DecodeError) as caught:
        UnconnectedMessage.decode(bytes.fromhex(data))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "data",
    [
        "00000000 0000 0200 0000 0000 b100 0400 0100 4c00",
        "00000000 0000 0200 a100 0300 010000 b100 0400 0100 4c00",
        "00000000 0000 0200 a100 0400 01000000 b200 0400 0100 4c00",
        "00000000 0000 0200 a100 0400 01000000 b100 0100 01",
    ],
)
def test_connected_data_of_the_wrong_shape_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        ConnectedMessage.decode(bytes.fromhex(data))
