"""Replies that are harvested by hand, under their documented keys."""

from collections.abc import Iterator
from typing import Any

import pytest

from cpppod import client
from cpppod.simulator import Settings, Simulator
from tests.patience import PATIENCE_S

REQUEST = "enip.CIP.send_data.CPF.item[1].unconnected_send.request"


@pytest.fixture
def plc() -> Iterator[Simulator]:
    with Simulator(["SCADA=INT[1000]", "Speed=REAL"], Settings(address="127.0.0.1:0")) as running:
        running.write("SCADA", range(1000))
        yield running


def test_a_harvested_reply_tells_the_truth_about_its_frame(plc: Simulator) -> None:
    connection = client.connector(*plc.address, timeout=PATIENCE_S)
    connection.read("SCADA[0-1]", sender_context=b"mine")
    reply, _ = client.await_response(connection, timeout=PATIENCE_S)
    assert isinstance(reply, client.Response)
    message = bytes.fromhex("d2000000c30000000100")
    assert reply["enip.input"].endswith(message)
    assert reply["enip.length"] == len(reply["enip.input"]) == 16 + len(message)
    assert reply["enip.sender_context.input"] == b"mine\0\0\0\0"
    assert reply["enip.session_handle"] == connection.session
    connection.list_services(sender_context=b"services")
    listed, _ = client.await_response(connection, timeout=PATIENCE_S)
    assert isinstance(listed, client.Response)
    assert listed["enip.sender_context.input"] == b"services"
    assert listed["enip.length"] == len(listed.data) == 26
    connection.close()


def harvested(connection: client.Client) -> client.Response:
    """The next reply, which must come."""
    reply, _ = client.await_response(connection, timeout=PATIENCE_S)
    assert isinstance(reply, client.Response)
    return reply


def test_a_harvested_write_has_the_documented_keys(plc: Simulator) -> None:
    with client.connector(*plc.address, timeout=PATIENCE_S) as connection:
        connection.write("SCADA[0-1]", data=[3, 4], elements=2, tag_type=0xC3)
        reply = harvested(connection)
        connection.close()
    keys = {key: value for key, value in reply.items() if key.startswith("enip.CIP.")}
    assert keys == {
        "enip.CIP.send_data.interface": 0,
        "enip.CIP.send_data.timeout": 8,
        "enip.CIP.send_data.CPF.count": 2,
        "enip.CIP.send_data.CPF.item[0].length": 0,
        "enip.CIP.send_data.CPF.item[0].type_id": 0,
        "enip.CIP.send_data.CPF.item[1].length": 4,
        "enip.CIP.send_data.CPF.item[1].type_id": 178,
        f"{REQUEST}.status": 0,
        f"{REQUEST}.input": bytes.fromhex("d3000000"),
        f"{REQUEST}.service": 211,
        f"{REQUEST}.write_frag": True,
        f"{REQUEST}.status_ext.size": 0,
        f"{REQUEST}.status_ext.data": [],
    }
    assert "enip.CIP.send_data" in reply
    assert "enip.CIP.list_identity" not in reply
    assert reply["enip.CIP.send_data.CPF.item[1]"]["unconnected_send.request.service"] == 211


def test_what_services_bring_stands_below_their_names(plc: Simulator) -> None:
    with client.connector(*plc.address, timeout=PATIENCE_S) as connection:
        connection.write("SCADA[0-1]", data=[3, 4], elements=2, tag_type=0xC3, offset=None)
        assert harvested(connection)[f"{REQUEST}.write_tag"] is True
        connection.read("SCADA[0-1]")
        read = harvested(connection)
        connection.read("Missing", offset=None)
        refused = harvested(connection)
        connection.get_attribute_single("@1/1/1")
        single = harvested(connection)
        connection.get_attributes_all("@1/1")
        everything = harvested(connection)
        connection.multiple([connection.read("SCADA", offset=None, send=False)] * 2)
        packet = harvested(connection)
        connection.service_code(0x4B, "@1/1")
        other = harvested(connection)
        connection.close()
    assert read[f"{REQUEST}.read_frag"] == {"type": 0xC3, "data": [3, 4]}
    assert refused[f"{REQUEST}.read_tag"] is True
    assert (refused[f"{REQUEST}.status"], refused[f"{REQUEST}.status_ext.size"]) == (5, 1)
    assert single[f"{REQUEST}.get_attribute_single.data"] == [1, 0]
    assert everything[f"{REQUEST}.get_attributes_all.data"][:2] == [1, 0]
    assert packet[f"{REQUEST}.multiple.number"] == 2
    assert packet[f"{REQUEST}.multiple.offsets"] == [6, 14]
    assert packet[f"{REQUEST}.multiple.request[1].read_tag.data"] == [3]
    assert other[f"{REQUEST}.service_code"] is True


def test_a_connected_reply_tells_its_connection_and_sequence(plc: Simulator) -> None:
    connection = client.implicit(*plc.address, timeout=PATIENCE_S)
    connection.read("SCADA", offset=None)
    reply = harvested(connection)
    item = "enip.CIP.send_data.CPF.item[{}].{}".format
    assert connection.opening is not None
    assert reply[item(0, "connection_ID.connection")] == connection.opening.granted().t_o_id
    assert reply[item(1, "connection_data.sequence")] == 1
    assert reply[item(1, "connection_data.request.read_tag.type")] == 0xC3
    connection.close()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", {}),
        ("00000000 0000 0200 0000", {}),
        (
            "00000000 0000 0200 0000 0000 b200 0600 cc000000 c300",
            {"read_tag.type": 0xC3, "read_tag.data": []},
        ),
        ("00000000 0000 0200 0000 0000 b200 0500 cc000000 c3", {"read_tag.input": b"\xc3"}),
        (
            "00000000 0000 0200 0000 0000 b200 0900 cc000000 a002ce0f 05",
            {
                "read_tag.type": 0x2A0,
                "read_tag.structure_tag": 0xFCE,
                "read_tag.data.input": b"\5",
            },
        ),
        ("00000000 0000 0200 0000 0000 b200 0600 8a000000 0500", {"multiple.input": b"\5\0"}),
        ("00000000 0000 0200 0000 0000 b200 0200 cc00", {}),
    ],
)
def test_a_reply_that_is_cut_short_has_the_keys_that_it_brought(
    data: str, expected: dict[str, Any]
) -> None:
    response = client.Response(("10.0.0.5", 44818), 0x6F, 5, 0, bytes(8), bytes.fromhex(data))
    fixed = ("service", "status", "status_ext.size", "status_ext.data", "input")
    found = {
        key.removeprefix(f"{REQUEST}."): value
        for key, value in response.items()
        if key.startswith(f"{REQUEST}.") and key.removeprefix(f"{REQUEST}.") not in fixed
    }
    assert found == expected
