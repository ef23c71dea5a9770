"""The rarer functions as requests, and replies that lie about their lengths."""

import pytest

from cpppod.protocols.modbus import diagnostics
from cpppod.protocols.modbus.pdu import ReplyMismatch, decode_reply

IDENTIFY = diagnostics.read_device_identification()


def test_requests_are_those_of_the_specification() -> None:
    assert diagnostics.read_exception_status().pdu.hex() == "07"
    assert diagnostics.return_query_data(0x1234).pdu.hex() == "0800001234"
    assert diagnostics.comm_event_counter().pdu.hex() == "0b"
    assert diagnostics.report_server_id().pdu.hex() == "11"
    assert IDENTIFY.pdu.hex() == "2b0e0100"
    assert diagnostics.read_device_identification(4, 2).pdu.hex() == "2b0e0402"


def test_server_id_tells_whether_the_device_runs() -> None:
    request = diagnostics.report_server_id()
    for status, runs in (("ff", True), ("00", False)):
        data = decode_reply(request, bytes.fromhex("1103 6162" + status))
        assert diagnostics.decode_server_id(data) == (b"ab", runs)


@pytest.mark.parametrize("data", ["", "01", "0361ff", "0161ff"])
def test_server_id_whose_count_lies_is_refused(data: str) -> None:
    with pytest.raises(ReplyMismatch):
        diagnostics.decode_server_id(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("data", "next_object"),
    [("0e0181000001 0003616263", None), ("0e0181ff0201 0003616263", 2)],
)
def test_identification_tells_its_objects_and_where_to_go_on(
    data: str, next_object: int | None
) -> None:
    found = diagnostics.decode_identification(IDENTIFY, bytes.fromhex(data))
    assert (found.objects, found.next_object) == ({0: "abc"}, next_object)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "0e01810000",
        "0e0281000000",
        "0d0181000000",
        "0e0181000001",
        "0e0181000001 00",
        "0e0181000001 0004616263",
        "0e0181000002 0003616263",
        "0e0181000001 0003616263 01",
    ],
)
def test_identification_that_lies_or_answers_another_question_is_refused(data: str) -> None:
    with pytest.raises(ReplyMismatch):
        diagnostics.decode_identification(IDENTIFY, bytes.fromhex(data))
