"""Frames recorded from real peers: requests come out as they were, replies decode as recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.modbus import diagnostics, pdu, rtu
from cpppod.protocols.modbus.pdu import ModbusException, ReplyMismatch, Request
from cpppod.protocols.modbus.tcp import Adu, MbapStream

VECTORS = Path(__file__).parents[2] / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    text = (VECTORS / f"{name}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)
    return found


TCP, RTU, EVIL = load("modbus_tcp"), load("modbus_rtu"), load("modbus_tcp_evil")
MALFORMED = {"modbus_tcp-042", "modbus_tcp-048", "modbus_tcp-126", "modbus_tcp-132"}
ILLEGAL = {"modbus_tcp-040", "modbus_tcp-124", "modbus_tcp-044", "modbus_tcp-128",
           "modbus_tcp-050", "modbus_tcp-134"}  # fmt: skip
FOREIGN_FUNCTION = {
    "modbus_tcp-024",
    "modbus_rtu-076",
    "modbus_tcp-044",
}  # function 0x80 of old pymodbus


def request_of(data: bytes) -> Request:
    """The request that our own functions make for what `data` (a PDU) asks."""
    function = data[0]
    words = [int.from_bytes(data[at : at + 2], "big") for at in range(1, len(data) - 1, 2)]
    if function in (1, 2, 3, 4):
        return pdu.read(function, words[0], words[1])
    if function == 5:
        return pdu.write_coil(words[0], words[1] == 0xFF00)
    if function == 6:
        return pdu.write_register(words[0], words[1])
    if function == 15:
        return pdu.write_coils(words[0], pdu.unpack_bits(data[6:], words[1]))
    if function == 16:
        return pdu.write_registers(words[0], pdu.unpack_registers(data[6:]))
    if function == 22:
        return pdu.mask_write_register(*words[:3])
    if function == 23:
        return pdu.read_write_registers(
            words[0], words[1], words[2], pdu.unpack_registers(data[10:])
        )
    if function == 8:
        return diagnostics.return_query_data(words[1])
    if function == 43:
        return diagnostics.read_device_identification(data[2], data[3])
    plain = {
        7: diagnostics.read_exception_status,
        11: diagnostics.comm_event_counter,
        17: diagnostics.report_server_id,
    }
    return plain[function]()


def check(request: Request, reply: bytes, decoded: dict[str, Any]) -> None:
    """The reply's PDU, decoded as the record says."""
    if decoded["exception"] is not None:
        with pytest.raises(ModbusException) as refused:
            pdu.decode_reply(request, reply)
        assert refused.value.code == decoded["exception"]
        return
    data = pdu.decode_reply(request, reply)
    recorded = decoded["reply"]
    if "values" in recorded:
        assert pdu.unpack_registers(data) == recorded["values"]
    elif "bits" in recorded:
        assert pdu.unpack_bits(data, decoded["request"]["count"]) == [
            bool(bit) for bit in recorded["bits"]
        ]


@pytest.mark.parametrize("vector", TCP, ids=lambda vector: vector["id"])
def test_tcp_requests_are_produced_and_replies_decoded(vector: dict[str, Any]) -> None:
    (sent,) = MbapStream().receive_data(bytes.fromhex(vector["request_hex"]))
    if vector["id"] in MALFORMED | ILLEGAL:
        return
    request = request_of(sent.pdu)
    made = Adu(sent.transaction, sent.unit, request.pdu).encode()
    assert made.hex() == vector["request_hex"]
    (reply,) = MbapStream().receive_data(bytes.fromhex(vector["reply_hex"]))
    assert (reply.transaction, reply.unit) == (sent.transaction, sent.unit)
    if vector["id"] in FOREIGN_FUNCTION:
        with pytest.raises(ReplyMismatch):
            pdu.decode_reply(request, reply.pdu)
    else:
        check(request, reply.pdu, vector["decoded"])


@pytest.mark.parametrize("vector", RTU, ids=lambda vector: vector["id"])
def test_rtu_requests_are_produced_and_replies_decoded(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["request_hex"])
    request = request_of(frame[1:-2])
    assert rtu.encode(frame[0], request.pdu) == frame
    found = rtu.find_reply(bytes.fromhex(vector["reply_hex"]), frame[0], request)
    if vector["id"] in FOREIGN_FUNCTION:
        assert found is None
        return
    assert found is not None
    check(request, found.pdu, vector["decoded"])


@pytest.mark.parametrize("identifier", sorted(MALFORMED | ILLEGAL))
def test_what_the_specification_forbids_cannot_be_asked_or_is_refused(identifier: str) -> None:
    vector = next(vector for vector in TCP if vector["id"] == identifier)
    from cpppod.protocols.modbus.address import Table
    from cpppod.protocols.modbus.server import Unit

    unit = Unit()
    for table in Table:
        unit.define(table, 0, [0] * 3000)
    sent = bytes.fromhex(vector["request_hex"])[7:]
    reply = unit.respond(sent)
    legal = identifier in ("modbus_tcp-050", "modbus_tcp-134")  # function 43 with a bad read code
    assert reply[0] == sent[0] | 0x80
    assert reply[1] == (1 if sent[0] == 65 else 3) or legal


@pytest.mark.parametrize("vector", EVIL, ids=lambda vector: vector["id"])
def test_what_an_evil_simulator_sends_is_never_a_value(vector: dict[str, Any]) -> None:
    if vector["reply_hex"] is None:
        return
    (sent,) = MbapStream().receive_data(bytes.fromhex(vector["request_hex"]))
    request = request_of(sent.pdu)
    replies = MbapStream().receive_data(bytes.fromhex(vector["reply_hex"]))
    harmless = "delay" in vector["name"]
    for reply in replies:
        if reply.transaction != sent.transaction:
            continue  # dropped by its transaction id
        if harmless:
            assert pdu.unpack_registers(pdu.decode_reply(request, reply.pdu)) == [99, 99, 99]
        else:
            with pytest.raises((ReplyMismatch, ModbusException)):
                pdu.decode_reply(request, reply.pdu)


def test_identification_objects_are_read_as_recorded() -> None:
    vector = next(vector for vector in RTU if vector["id"] == "modbus_rtu-022")
    request = diagnostics.read_device_identification(3)
    reply = bytes.fromhex(vector["reply_hex"])[1:-2]
    found = diagnostics.decode_identification(request, pdu.decode_reply(request, reply))
    assert found.objects[0] == "pymodbus"
    assert found.next_object is None


def test_a_server_id_whose_byte_count_lies_is_refused() -> None:
    assert diagnostics.decode_server_id(bytes.fromhex("0950796d6f64627573ff")) == (
        b"Pymodbus",
        True,
    )
    with pytest.raises(ReplyMismatch):
        diagnostics.decode_server_id(bytes.fromhex("0850796d6f64627573ff"))
