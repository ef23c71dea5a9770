"""Message Router requests and replies as bytes."""

import pytest

from cpppod.protocols.cip.failures import refusal
from cpppod.protocols.cip.message_router import MessageRouterReply, MessageRouterRequest
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import DecodeError, EncodeError


def test_path_of_so_many_words_is_encoded_and_of_one_more_or_of_odd_bytes_is_not() -> None:
    longest = MessageRouterRequest(0x4C, bytes(510), b"\1\0")
    assert MessageRouterRequest.decode(longest.encode()) == longest
    for size in (511, 512, 1):
        with pytest.raises(EncodeError) as caught:
            MessageRouterRequest(0x4C, bytes(size)).encode()
        assert caught.value.status == 0x26


@pytest.mark.parametrize("message", [b"", b"\x4c", b"\x4c\x01", b"\x4c\x01\x91", b"\x4c\xff\x91"])
def test_request_shorter_than_its_path_is_refused(message: bytes) -> None:
    with pytest.raises(CipError) as caught:
        MessageRouterRequest.decode(message)
    assert caught.value.status == 0x13


@pytest.mark.parametrize("message", ["", "cc0000", "4c000000", "cc000001", "cc00ff01 05"])
def test_what_is_no_reply_is_refused(message: str) -> None:
    with pytest.raises(DecodeError):
        MessageRouterReply.decode(bytes.fromhex(message))


def test_reply_says_its_status_in_words_and_keeps_data_behind_them() -> None:
    reply = MessageRouterReply.decode(bytes.fromhex("cc00ff01 0521 aabb"))
    assert reply == MessageRouterReply(0xCC, 0xFF, (0x2105,), b"\xaa\xbb")
    assert "general error" in reply.text
    assert reply.encode() == bytes.fromhex("cc00ff01 0521 aabb")


def test_refusal_carries_status_words_and_data_of_its_error() -> None:
    error = CipError(status=0x0F, extended=(1, 2), data=b"\7")
    assert refusal(0x4E, error) == bytes.fromhex("ce000f02 01000200 07")
    assert refusal(0x4E, EncodeError("no", status=0x15)) == bytes.fromhex("ce001500")
