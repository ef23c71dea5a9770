"""Frames out of a byte stream."""

import pytest

from cpppod.protocols.enip.encapsulation import HEADER, MAX_DATA, Command, Frame, FrameReader
from cpppod.protocols.model.errors import DecodeError, EncodeError

FRAME = Frame(Command.SEND_RR_DATA, b"abc", 0x11223344, 0, b"context1")


def test_frames_come_whole_however_the_stream_is_cut() -> None:
    stream = FRAME.encode() + Frame(0x0099).encode()
    for size in range(1, len(stream)):
        reader, found = FrameReader(), []
        for start in range(0, len(stream), size):
            reader.receive_data(stream[start : start + size])
            while (frame := reader.next_frame()) is not None:
                found.append(frame)
        assert found == [FRAME, Frame(0x0099)]
        assert not reader.partial


def test_reader_knows_that_a_frame_is_not_whole_yet() -> None:
    reader = FrameReader()
    reader.receive_data(FRAME.encode()[:-1])
    assert reader.next_frame() is None
    assert reader.partial


def test_longest_frame_is_encoded_and_one_byte_more_is_not() -> None:
    reader = FrameReader()
    reader.receive_data(Frame(0x6F, bytes(MAX_DATA)).encode())
    frame = reader.next_frame()
    assert frame is not None
    assert len(frame.data) == MAX_DATA
    with pytest.raises(EncodeError) as caught:
        Frame(0x6F, bytes(MAX_DATA + 1)).encode()
    assert caught.value.status == 0x65


@pytest.mark.parametrize(("limit", "length"), [(100, 101), (MAX_DATA, MAX_DATA + 1)])
def test_oversized_claim_is_refused_on_the_header_alone(limit: int, length: int) -> None:
    reader = FrameReader(limit)
    reader.receive_data(HEADER.pack(0x6F, length, 0, 0, bytes(8), 0))
    with pytest.raises(DecodeError):
        reader.next_frame()
