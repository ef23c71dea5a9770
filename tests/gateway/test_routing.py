"""Requests with a route path: to the controller behind, or refused, and why."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pycomm3 import LogixDriver
from pylogix import PLC

from tests.gateway.running import RunningGateway, eventually
from tests.patience import PATIENCE_S
from tests.peers import cpppo_python


def routed(gateway: RunningGateway, route_path: str, *operations: str) -> list[dict[str, Any]]:
    """What our client is told, by operation."""
    host, port = gateway.address(44818)
    client = [sys.executable, "-m", "cpppod.commands.enip_client", "-a", f"{host}:{port}"]
    done = subprocess.run(
        [*client, "--json", "--route-path", route_path, *operations],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_route_path_reaches_the_controller_behind(gateway: RunningGateway) -> None:
    polled = gateway.value("press.total")
    answer = routed(gateway, "1/1", "Total", "Recipe[1]=77", "Recipe[1]")
    assert [each["status"] for each in answer] == [0, 0, 0]
    assert answer[0]["value"][0] >= polled
    assert answer[2]["value"] == [77]
    eventually(lambda: gateway.value("press.recipe")[1] == 77)


def test_cpppo_s_client_reaches_the_controller_behind(gateway: RunningGateway) -> None:
    host, port = gateway.address(44818)
    command = [cpppo_python(), "-m", "cpppo.server.enip.client", "-a", f"{host}:{port}", "--print"]
    done = subprocess.run(
        [*command, "--route-path", '[{"port": 1, "link": 1}]', "Recipe[0-9]"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert re.search(r"Recipe.*== \[\d+(, \d+){9}\]: 'OK'", done.stdout), done.stdout


@pytest.mark.parametrize("size", [250, 504, 512, 4000, 4002])
def test_pylogix_reaches_the_controller_behind_with_any_connection_size(
    gateway: RunningGateway, size: int
) -> None:
    host, port = gateway.address(44818)
    with PLC(host, port=port) as plc:
        plc.ProcessorSlot = 1
        plc.ConnectionSize = size
        written = plc.Write("Recipe[2]", size)
        read = plc.Read("Recipe", 10)
    assert (written.Status, read.Status) == ("Success", "Success")
    assert read.Value[2] == size


def test_pycomm3_reaches_the_controller_behind_over_a_large_connection(
    gateway: RunningGateway,
) -> None:
    host, port = gateway.address(44818)
    with LogixDriver(f"{host}:{port}/bp/1") as plc:
        assert plc.connection_size == 4000
        assert plc.write(("Recipe[3]", 77)).error is None
        assert plc.read("Recipe{10}").value[3] == 77


def test_gateway_itself_is_at_its_own_route_path(gateway: RunningGateway) -> None:
    assert routed(gateway, "1/0", "shift")[0]["status"] == 0


@pytest.mark.parametrize(
    ("route_path", "extended"),
    [
        ("1/9", 0x0312),  # a port that has routes, but not to that link: link address not valid
        ("3/10.0.0.9", 0x0311),  # no such port; and no address from a packet is ever dialled
    ],
)
def test_path_without_a_route_is_refused_with_the_status_that_says_why(
    gateway: RunningGateway, route_path: str, extended: int
) -> None:
    answer = routed(gateway, route_path, "Total")[0]
    assert (answer["status"], answer["extended"]) == (1, [extended])


SLOW = """
[[route]]
path = "1/2"
device = "slow"
limit = 7

[device.slow]
driver = "modbus-tcp"
address = "127.0.0.1:15020"
unit = 255  # the simulator is every unit; 1 is the boiler

[[device.slow.group]]
name = "g"
period = "20s"
max_age = "5s"  # younger when a busy machine reads again what it wrote
tags = [{ name = "level", address = 40040, type = "UINT", writable = true }]
"""


@pytest.fixture
def slow(gateway: RunningGateway) -> Iterator[RunningGateway]:
    """The gateway with a device that is polled seldom, at the end of route 1/2."""
    before = gateway.configuration.read_text()
    gateway.configuration.write_text(before + gateway.here(SLOW))
    try:
        assert gateway.ask("reload")["applied"]
        gateway.wait_until_well()
        yield gateway
    finally:
        gateway.configuration.write_text(before)
        gateway.ask("reload")
        gateway.wait_until_well()


def test_old_value_is_as_stale_along_a_route_as_everywhere(slow: RunningGateway) -> None:
    eventually(
        lambda: slow.ask("read", tags=["slow.level"])["values"][0]["reason"].startswith("stale")
    )
    answers = [
        *routed(slow, "1/2", "level", "slow.level"),
        *routed(slow, "1/0", "slow.level"),
    ]
    assert [(each["status"], each["extended"][0]) for each in answers] == [(0xFF, 0x8002)] * 3
    written = routed(slow, "1/2", "level=(UINT)77", "level")
    assert [each["status"] for each in written] == [0, 0]
    assert written[1]["value"] == [77]
    assert slow.simulators["boiler"].tell("get 40040")["result"] == [77]
    eventually(lambda: slow.ask("routes")["routes"][1]["requests"] >= 4)  # told by beats
    route = slow.ask("routes")["routes"][1]
    assert (route["path"], route["device"], route["outstanding"]) == ("1/2", "slow", 0)


def test_routes_are_listed_with_the_state_of_what_they_lead_to(gateway: RunningGateway) -> None:
    route = gateway.ask("routes")["routes"][0]
    assert (route["path"], route["device"], route["state"]) == ("1/1", "press", "online")
