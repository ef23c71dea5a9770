"""Replies are matched to their requests in full."""

import pytest

from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.pdu import ModbusException, ReplyMismatch
from cpppod.protocols.modbus.tcp import MbapStream
from cpppod.protocols.model.errors import DecodeError, EncodeError

READ_TWO = pdu.read(3, 0, 2)

# replies to "function 3, address 0, count 2" and what they are, by the rows of reliability.md 3
WRONG = {
    "M09 one register": "030211ad",
    "M10 byte count 3": "0303deadbe",
    "M11 byte count 250": "03fadeadbeef",
    "M12 ten registers": "0314" + "dead" * 10,
    "M13 function 4": "0404deadbeef",
    "M16 exception without code": "83",
    "M18 function 7f": "7f04deadbeef",
    "exception with more": "830200",
    "no byte count": "03",
    "nothing": "",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_reply_that_does_not_answer_is_refused(name: str) -> None:
    with pytest.raises(ReplyMismatch) as wrong:
        pdu.decode_reply(READ_TWO, bytes.fromhex(WRONG[name]))
    assert not wrong.value.foreign


def test_an_exception_to_another_function_may_be_anothers() -> None:
    with pytest.raises(ReplyMismatch) as wrong:
        pdu.decode_reply(READ_TWO, b"\x84\x02")
    assert wrong.value.foreign


@pytest.mark.parametrize("code", [2, 0xEE])
def test_an_exception_keeps_its_code(code: int) -> None:
    with pytest.raises(ModbusException) as refused:
        pdu.decode_reply(READ_TWO, bytes((0x83, code)))
    assert refused.value.code == code


def test_a_write_is_confirmed_only_by_what_was_written() -> None:
    request = pdu.write_registers(4, [1, 2, 3])
    assert pdu.decode_reply(request, bytes.fromhex("1000040003")) == b""
    for other in ("1000040002", "1000050003", "100004000300"):
        with pytest.raises(ReplyMismatch):
            pdu.decode_reply(request, bytes.fromhex(other))
    single = pdu.write_register(4, 7)
    assert pdu.decode_reply(single, single.pdu) == b""
    with pytest.raises(ReplyMismatch):
        pdu.decode_reply(single, pdu.write_register(4, 8).pdu)


@pytest.mark.parametrize(
    ("function", "address", "count"),
    [(3, 0, 0), (3, 0, 126), (1, 0, 2001), (3, 65_535, 2), (3, -1, 1), (6, 0, 1)],
)
def test_reads_beyond_the_protocols_limits_are_not_made(
    function: int, address: int, count: int
) -> None:
    with pytest.raises(EncodeError):
        pdu.read(function, address, count)


def test_writes_beyond_the_protocols_limits_are_not_made() -> None:
    with pytest.raises(EncodeError):
        pdu.write_registers(0, [0] * 124)
    with pytest.raises(EncodeError):
        pdu.write_coils(0, [True] * 1969)
    with pytest.raises(EncodeError):
        pdu.read_write_registers(0, 1, 0, [0] * 122)
    with pytest.raises(EncodeError):
        pdu.write_register(0, 65_536)


@pytest.mark.parametrize("header", ["000100010006", "000100000001", "000100000000", "0001000000ff",
                                    "00010000ffff"])  # fmt: skip
def test_a_header_that_cannot_be_ends_the_trust_in_the_stream(header: str) -> None:
    with pytest.raises(DecodeError):
        MbapStream().receive_data(bytes.fromhex(header) + b"\x01\x03\x04\xde\xad\xbe\xef")


def test_messages_are_cut_alike_however_their_bytes_arrive() -> None:
    whole = bytes.fromhex("000100000007010304deadbeef000200000003018302")
    expected = MbapStream().receive_data(whole)
    assert [adu.transaction for adu in expected] == [1, 2]
    for at in range(1, len(whole)):
        stream = MbapStream()
        assert stream.receive_data(whole[:at]) + stream.receive_data(whole[at:]) == expected
