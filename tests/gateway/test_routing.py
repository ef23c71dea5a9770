"""Requests with a route path: to the controller behind, or refused, and why."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

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


def test_routes_are_listed_with_the_state_of_what_they_lead_to(gateway: RunningGateway) -> None:
    route = gateway.ask("routes")["routes"][0]
    assert (route["path"], route["device"], route["state"]) == ("1/1", "press", "online")
