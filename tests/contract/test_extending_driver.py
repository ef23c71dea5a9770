"""The driver of docs/extending.md, installed as anybody's would be, in a gateway that runs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.test_extending import SECTIONS, check, install
from tests.gateway.running import ROOT, RunningGateway, eventually
from tests.ports import free_port

DEVICE = """
[metrics]
enabled = false

[[listener]]
address = "127.0.0.1:44818"

[device.board]
driver = "echo"
address = "127.0.0.1:{port}"

[[device.board.group]]
name = "all"
period = "200ms"
tags = [
    {{ name = "level", address = "level", type = "DINT", scale = 0.5 }},
    {{ name = "setpoint", address = "setpoint", type = "DINT", writable = true, maximum = 50.0 }},
]
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which a program finds the driver installed."""
    (section,) = (section for section in SECTIONS if section.startswith("A driver"))
    return install([section], tmp_path_factory)


def test_the_driver_keeps_the_contract(environment: dict[str, str]) -> None:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "-k",
        "echo",
    ]
    words.append(str(ROOT / "tests" / "contract" / "test_drivers.py"))
    ran = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None and int(passed[1]) >= 12


def test_its_mistakes_are_named_by_key(tmp_path: Path, environment: dict[str, str]) -> None:
    text = DEVICE.format(port=1).replace('"echo"', '"echo"\ngreeting = "a=b"\nqueue = 3')
    text = text.replace('address = "level"', 'address = "lev el", length = 2')
    said = check(text, tmp_path, environment)
    assert "device.board.greeting: 'a=b': expected text without =" in said
    assert 'device.board.queue: 3: expected no such key without driver = "text"' in said
    assert "group[0].tags[0].address: 'lev el': expected a name: letters, digits and _" in said
    assert "group[0].tags[0].length: 2: expected 1: a line is one value" in said
    said = check(text.replace('"echo"', '"ecko"'), tmp_path, environment)
    assert (
        "driver: 'ecko': expected one of 'modbus-tcp', 'modbus-rtu', 'enip', 'text' or 'echo'"
        in said
    )


def test_without_the_package_its_name_is_refused(tmp_path: Path) -> None:
    said = check(DEVICE.format(port=1), tmp_path, {})
    assert "'echo': expected one of 'modbus-tcp', 'modbus-rtu', 'enip' or 'text'" in said


def test_a_package_that_cannot_be_used_says_so_where_it_is_named(tmp_path: Path) -> None:
    information = tmp_path / "broken-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[cpppod.drivers]\necho = nowhere:SPEC\n")
    paths = {"PYTHONPATH": str(tmp_path)}
    said = check(DEVICE.format(port=1), tmp_path, paths)
    assert "device.board.driver: 'echo': expected a driver that can be used (package broken" in said
    said = check(DEVICE.format(port=1).replace('"echo"', '"text"'), tmp_path, paths)
    assert "broken" not in said


def test_its_keys_are_in_the_schema(environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "cpppod.commands.cpppod", "--schema"]
    ran = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    assert '"description": "echo: said after every connect, and echoed"' in ran.stdout
    assert '"echo"' in ran.stdout


@pytest.fixture
def gateway(environment: dict[str, str]) -> Iterator[RunningGateway]:
    """A gateway with one board."""
    port = free_port()
    words = [sys.executable, "-m", "cpppod_echo.simulator", f"127.0.0.1:{port}"]
    board = subprocess.Popen(words, env={**os.environ, **environment})
    running = RunningGateway()
    try:
        running.ports[port] = port
        running.start(configuration=DEVICE.format(port=port), environment=environment)
        yield running
    finally:
        running.stop()
        board.send_signal(signal.SIGINT)
        board.wait()


def test_a_gateway_serves_its_values_and_writes_them(gateway: RunningGateway) -> None:
    assert gateway.value("board.level") == 10.5
    written = gateway.ask("write", writes=[["board.setpoint", 7]])
    assert written
    eventually(lambda: gateway.value("board.setpoint") == 7)
    (row,) = gateway.devices().values()
    assert (row["driver"], row["state"], row["worker"]) == ("echo", "online", "poller-board")
