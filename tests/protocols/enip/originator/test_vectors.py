"""Requests as cpppo and others were recorded to send them: ours must be the same bytes.

Session handles, connection ids, serials and sender contexts belong to the run and are masked.
"""

import json
import pathlib
from typing import Any

import pytest

from cpppod.protocols.cip.types import BY_NAME
from cpppod.protocols.enip.encapsulation import Frame
from cpppod.protocols.enip.originator.carrier import Carrier
from cpppod.protocols.enip.originator.forward_open import ConnectionRequest, ForwardOpenExchange
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import parse_path
from cpppod.protocols.enip.originator.pipeline import Pipeline
from cpppod.protocols.enip.originator.route import DIRECT, UnconnectedRoute, encode_route_path
from cpppod.protocols.enip.originator.session import Class3Connection, OriginatorSession, State

VECTORS = pathlib.Path(__file__).parents[3] / "vectors"
METHODS = {
    "Read Tag": "read",
    "Read Tag Fragmented": "read",
    "Write Tag": "write",
    "Write Tag Fragmented": "write",
    "Get Attribute Single": "get_attribute_single",
    "Get Attributes All": "get_attributes_all",
    "Set Attribute Single": "set_attribute_single",
}


def recorded(*names: str) -> list[dict[str, Any]]:
    found = []
    for name in names:
        for vector in json.loads((VECTORS / f"{name}.json").read_text()):
            if vector["client"].startswith("cpppo") and vector["decoded"].get("service") in METHODS:
                found.append(vector)
    return found


def operation_of(decoded: dict[str, Any]) -> dict[str, Any]:
    service = decoded["service"]
    operation: dict[str, Any] = {
        "method": METHODS[service],
        "path": parse_path(decoded["path"]),
    }
    if "Tag" in service:
        operation["elements"] = decoded["elements"]
    if "Fragmented" in service:
        operation["offset"] = decoded["offset"]
    if "write_data" in decoded:
        operation["data"] = decoded["write_data"]
        if decoded.get("write_type"):
            operation["tag_type"] = BY_NAME[decoded["write_type"]].code
    return operation


def lane_of(decoded: dict[str, Any], session: OriginatorSession, frame: bytes) -> Carrier:
    if decoded["command"] == "SendUnitData":
        connection = Class3Connection(int.from_bytes(frame[36:40], "little"), 1, 498, 498)
        session.opened(connection, first_sequence=int.from_bytes(frame[44:46], "little"))
        return Carrier(connection=connection)
    if "route_path" not in decoded:
        return Carrier(DIRECT)
    return Carrier(UnconnectedRoute(route_path=encode_route_path(decoded["route_path"])))


def sent(operations: list[dict[str, Any]], vector: dict[str, Any], **how: Any) -> bytes:
    """The frame that our originator sends, under the recorded session and context."""
    frame = bytes.fromhex(vector["request_hex"])
    session = OriginatorSession()
    session.state = State.REGISTERED
    session.session = int.from_bytes(frame[4:8], "little")
    carrier = lane_of(vector["decoded"], session, frame)
    context = frame[12:20].rstrip(b"\0")
    pipeline = Pipeline(
        session,
        (make_exchange(operation, {}) for operation in operations),
        carrier,
        index=int(context) if context.isdigit() else 0,
        **how,
    )
    pipeline.issue(0.0)
    return session.data_to_send()


SINGLE = recorded(
    "enip_read_write", "enip_fragmented", "enip_simple", "enip_attributes", "enip_routing",
    "enip_connected", "enip_errors",
)  # fmt: skip


@pytest.mark.parametrize("vector", SINGLE, ids=[vector["id"] for vector in SINGLE])
def test_a_recorded_request_is_sent_byte_for_byte(vector: dict[str, Any]) -> None:
    expected = bytes.fromhex(vector["request_hex"])
    ours = sent([operation_of(vector["decoded"])], vector)
    if expected[28:30] == b"\0\0":  # one recording was made with no time-out in its CPF
        ours = ours[:28] + b"\0\0" + ours[30:]
    ours, expected = (frame[:12] + bytes(8) + frame[20:] for frame in (ours, expected))
    assert ours.hex() == expected.hex()


WITH_DATA = [
    vector
    for vector in SINGLE
    if vector["reply_hex"]
    and vector["decoded"].get("reply_status") in (0, None)
    and vector["decoded"].get("enip_status", 0) == 0
]


@pytest.mark.parametrize("vector", WITH_DATA, ids=[vector["id"] for vector in WITH_DATA])
def test_a_recorded_reply_gives_the_recorded_values(vector: dict[str, Any]) -> None:
    decoded = vector["decoded"]
    request = bytes.fromhex(vector["request_hex"])
    session = OriginatorSession()
    session.state = State.REGISTERED
    session.session = int.from_bytes(request[4:8], "little")
    carrier = lane_of(decoded, session, request)
    context = request[12:20].rstrip(b"\0")
    pipeline = Pipeline(
        session,
        [make_exchange(operation_of(decoded), {})],
        carrier,
        index=int(context) if context.isdigit() else 0,
    )
    pipeline.issue(0.0)
    sent_frame = session.data_to_send()
    reply = bytearray.fromhex(vector["reply_hex"])
    reply[12:20] = sent_frame[12:20]  # recorded with another client's context
    session.receive_data(bytes(reply))
    while (answer := session.next_answer()) is not None:
        answer.owner.receive(answer)
    result = pipeline.next_result()
    assert result is not None
    assert result.status == 0
    if "data" not in decoded:
        assert result.value is True
    elif decoded.get("type") == "REAL":
        assert result.value == pytest.approx(decoded["data"])
    elif decoded.get("type") == "BOOL":
        assert result.value == [bool(value) for value in decoded["data"]]
    else:
        assert result.value == decoded["data"]


def test_enough_was_recorded() -> None:
    assert len(SINGLE) > 70


def test_a_recorded_multiple_service_packet_is_sent_byte_for_byte() -> None:
    vectors = json.loads((VECTORS / "enip_multiple.json").read_text())
    vector = next(item for item in vectors if item["id"] == "enip_multiple-000")
    operations: list[dict[str, Any]] = [
        {"method": "write", "path": "SCADA[1]", "tag_type": 0xC3, "data": [7]},
        {"path": "SCADA[0]", "elements": 4},
        {"method": "write", "path": "F", "tag_type": 0xCA, "data": [3.5]},
        {"path": "F"},
        {"path": "SC"},
    ]
    assert sent(operations, vector, multiple=500).hex() == vector["request_hex"]


def test_a_recorded_forward_open_is_asked_for_byte_for_byte() -> None:
    vectors = json.loads((VECTORS / "enip_forward_open.json").read_text())
    cpppo = [vector for vector in vectors if vector["name"].startswith("cpppo_conn")]
    assert len(cpppo) == 2
    for vector, size in zip(cpppo, (510, 4000), strict=True):
        request = router_request(vector)
        wanted = ConnectionRequest(
            connection_path=bytes.fromhex("010020022401"),
            size=size,
            multiplier=0,
            connection_serial=int.from_bytes(request[16:18], "little"),
            o_t_id=int.from_bytes(request[8:12], "little"),
            t_o_id=int.from_bytes(request[12:16], "little"),
            timeout_ticks=157,
        )
        assert ForwardOpenExchange(wanted).request().hex() == request.hex()


def router_request(vector: dict[str, Any]) -> bytes:
    """The Message Router request of a recorded SendRRData."""
    return bytes.fromhex(vector["request_hex"])[40:]


def test_register_session_is_sent_as_recorded() -> None:
    vectors = json.loads((VECTORS / "enip_session.json").read_text())
    session = OriginatorSession()
    session.register(None, deadline=1.0)
    sent, recorded = session.data_to_send(), bytes.fromhex(vectors[0]["request_hex"])
    assert sent[:12] + sent[20:] == recorded[:12] + recorded[20:]
    assert sent[12:20] == b"cpppod\0\0", "the sender context, to see whether it comes back"


def test_list_requests_are_sent_as_recorded() -> None:
    for vector in json.loads((VECTORS / "enip_list.json").read_text()):
        expected = bytes.fromhex(vector["request_hex"])
        session = OriginatorSession()
        session.session = int.from_bytes(expected[4:8], "little")
        command = int.from_bytes(expected[:2], "little")
        session.send_command(command, None, deadline=1.0, context=expected[12:20])
        assert session.data_to_send() == expected


def test_an_encoded_frame_is_what_the_recorder_saw() -> None:
    frame = Frame(0x66, b"", 7)
    assert frame.encode().hex() == "66000000" + "07000000" + "00" * 16
