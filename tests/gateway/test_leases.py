"""Leases in a gateway: they show and are counted, end with new rights, and outlive who dies."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cpppod.protocols.cip.message_router import MessageRouterReply
from tests.enip_frames import REGISTER, frames, read, routed, rr, write
from tests.gateway.running import RunningGateway, eventually, kill
from tests.gateway.test_failures import pick
from tests.patience import PATIENCE_S


class Client:
    """One session, which asks along route 1/1."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._socket = socket.create_connection(gateway.address(44818), PATIENCE_S)
        self._handle = int.from_bytes(self._exchange(REGISTER)[4:8], "little")

    def _exchange(self, frame: bytes) -> bytes:
        self._socket.sendall(frame)
        data = b""
        while not frames(data):
            data += self._socket.recv(4_096)
        return data

    def ask(self, message: bytes) -> MessageRouterReply:
        reply = self._exchange(rr(routed(message, "1/1"), self._handle))
        return MessageRouterReply.decode(reply[40:])

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[Client]:
    """A client of a gateway, which is afterwards as it was."""
    client, before = Client(gateway), gateway.configuration.read_text()
    yield client
    client.close()
    if gateway.configuration.read_text() != before:
        gateway.configuration.write_text(before)
        gateway.ask("reload")
    gateway.wait_until_well()


def route(gateway: RunningGateway) -> dict[str, Any]:
    row: dict[str, Any] = gateway.ask("routes")["routes"][0]
    return row


def leased(gateway: RunningGateway, client: Client) -> str:
    """Who holds the route; somebody does, once he has asked."""

    def holder() -> str:
        assert client.ask(read("Total")).status == 0
        held: str = route(gateway).get("leased_to", "")
        return held

    return eventually(holder)


def test_lease_shows_and_what_goes_along_it_is_counted(
    gateway: RunningGateway, client: Client
) -> None:
    assert gateway.workers()[leased(gateway, client)]["role"] == "listener"
    before = route(gateway)["requests"]
    for _ in range(200):
        assert client.ask(read("Total")).status == 0
    eventually(lambda: route(gateway)["requests"] >= before + 200)


def test_rights_that_a_reload_brings_hold_for_who_had_a_lease(
    gateway: RunningGateway, client: Client
) -> None:
    leased(gateway, client)
    assert client.ask(write("Recipe[4]", 0xC3, b"\1\0")).status == 0
    text = gateway.configuration.read_text()
    limited = text.replace('path = "1/1"', 'path = "1/1"\nread_only = true', 1)
    assert limited != text
    gateway.configuration.write_text(limited)
    gateway.ask("reload")
    assert client.ask(write("Recipe[4]", 0xC3, b"\2\0")).status == 0x0F
    assert client.ask(read("Total")).status == 0
    assert eventually(lambda: route(gateway).get("leased_to", "?") == "")


@pytest.mark.parametrize("who", ["owner", "router"])
def test_requests_go_on_after_who_gave_or_keeps_a_lease_has_died(
    gateway: RunningGateway, client: Client, who: str
) -> None:
    leased(gateway, client)
    owner = gateway.devices()["press"]["worker"]
    worker = pick(gateway, "router") if who == "router" else gateway.workers()[owner]
    eventually(lambda: gateway.workers()[worker["name"]]["up_s"] > 1.5)  # else it would back off
    kill(worker["pid"])
    statuses = set()

    def works() -> bool:
        reply = client.ask(read("Total"))
        statuses.add((reply.status, tuple(reply.extended)))
        return not reply.status

    eventually(works)
    assert statuses <= {(0, ()), (1, (0x0204,)), (1, (0x0301,)), (1, (0x0312,))}
    leased(gateway, client)
