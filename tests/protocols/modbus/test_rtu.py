"""RTU frames are found in noise, and nothing else is taken for one."""

import random

import pytest

from cpppod.protocols.modbus import pdu, rtu
from cpppod.protocols.modbus.pdu import ReplyMismatch
from cpppod.protocols.model.failures import Failure

READ = pdu.read(3, 0, 2)
SENT = rtu.encode(1, READ.pdu)
GOOD = rtu.encode(1, bytes.fromhex("0304deadbeef"))


def test_crc_is_the_specifications() -> None:
    assert rtu.encode(1, bytes.fromhex("0300000001")).hex() == "010300000001840a"
    assert rtu.crc16(GOOD) == 0


@pytest.mark.parametrize("before", ["", "00", "ffffff", "0103", "01030401", SENT.hex()])
@pytest.mark.parametrize("after", ["", "00", GOOD.hex()])
def test_the_reply_is_found_whatever_is_around_it(before: str, after: str) -> None:
    heard = bytes.fromhex(before) + GOOD + bytes.fromhex(after)
    found = rtu.find_reply(heard, 1, READ)
    assert found is not None
    assert found.pdu == bytes.fromhex("0304deadbeef")
    assert found.end == len(bytes.fromhex(before)) + len(GOOD)


@pytest.mark.parametrize(
    "frame",
    [
        GOOD[:-1] + bytes((GOOD[-1] ^ 1,)),
        GOOD[:-3],
        rtu.encode(2, bytes.fromhex("0304deadbeef")),
        rtu.encode(0, bytes.fromhex("0304deadbeef")),
        rtu.encode(1, bytes.fromhex("0404deadbeef")),
        SENT,
    ],
    ids=["CRC", "cut", "unit 2", "unit 0", "function 4", "own echo"],
)
def test_what_is_no_answer_is_not_found(frame: bytes) -> None:
    assert rtu.find_reply(frame, 1, READ) is None


@pytest.mark.parametrize("data", ["030211ad", "030adead" + "beef" * 4, "03fadeadbeef"])
def test_a_frame_with_another_count_is_found_and_refused(data: str) -> None:
    found = rtu.find_reply(rtu.encode(1, bytes.fromhex(data)), 1, READ)
    assert found is not None
    with pytest.raises(ReplyMismatch):
        pdu.decode_reply(READ, found.pdu)


def test_an_echoed_request_of_the_length_of_its_reply_is_no_answer() -> None:
    request = pdu.read(1, 0x0312, 24)  # its 8 bytes look like three bytes of coils
    assert rtu.find_reply(rtu.encode(1, request.pdu), 1, request) is None


def test_random_noise_is_never_a_reply() -> None:
    dice = random.Random(7)
    for _ in range(3000):
        heard = dice.randbytes(40)
        found = rtu.find_reply(heard, 1, READ)
        assert found is None or found.pdu[:1] in (b"\x03", b"\x83")


@pytest.mark.parametrize(
    ("heard", "failure", "words"),
    [
        (b"", Failure.TIMEOUT, "no reply"),
        (SENT, Failure.TIMEOUT, "echo seen"),
        (rtu.encode(2, bytes.fromhex("0304deadbeef")), Failure.TIMEOUT, "unit 2 answered"),
        (rtu.encode(1, bytes.fromhex("0404deadbeef")), Failure.TIMEOUT, "function 0x04"),
        (GOOD[:-2], Failure.GARBLED, "CRC wrong or reply cut short"),
        (SENT + GOOD[:-2], Failure.TIMEOUT, "echo seen"),
        (b"\xff" * 20, Failure.TIMEOUT, "20 bytes of noise"),
    ],
)
def test_what_was_heard_instead_is_named_and_said_in_words(
    heard: bytes, failure: Failure, words: str
) -> None:
    named, said = rtu.diagnose(heard, SENT, 1)
    assert named is failure
    assert words in said


def test_silences_follow_the_line_settings() -> None:
    one = rtu.character_s(19_200, parity="E")
    assert one == pytest.approx(11 / 19_200)
    assert rtu.silence_s(19_200, one) == pytest.approx(3.5 * 11 / 19_200)
    assert rtu.gap_s(9_600, rtu.character_s(9_600, parity="N")) == pytest.approx(1.5 * 10 / 9_600)
    assert rtu.silence_s(115_200, rtu.character_s(115_200)) == 0.00175
    assert rtu.gap_s(115_200, rtu.character_s(115_200)) == 0.00075
