"""`cpppod tags`: tag lists brought in, and given out."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cpppod import configuration
from cpppod.commands import cpppod
from cpppod.modbus import Server
from cpppod.simulator import Settings, Simulator
from tests.patience import PATIENCE_S
from tests.ports import free_port


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cpppod.commands.cpppod", "tags", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def checked(path: Path) -> configuration.Configuration:
    """The configuration of that file alone, which is well."""
    return configuration.load([path], old_files=[])


def test_a_browsed_controller_is_a_configuration_that_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Simulator(["Speed=REAL", "Clock=TIMER", "Flags=BOOL[64]"], Settings()) as running:
        address = ":".join(map(str, running.address))
        assert cpppod.main(["tags", "browse", address, "--toml", "--name", "press 1"]) == 0
    said = capsys.readouterr()
    path = tmp_path / "press.toml"
    path.write_text(said.out)
    (device,) = checked(path).plant.devices
    assert (device.name, device.address, len(device.groups[0].tags)) == ("press_1", address, 8)
    assert "8 tags, 0 left out" in said.err


def test_a_scanned_unit_is_a_configuration_that_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server("127.0.0.1:0", "40001-40010=21") as server:
        words = ["browse", server.address, "--driver", "modbus-tcp", "--where", "40001-40011"]
        assert cpppod.main(["tags", *words, "--unit", "7", "--toml"]) == 0
        said = capsys.readouterr()
        path = tmp_path / "unit.toml"
        path.write_text(said.out)
        (device,) = checked(path).plant.devices
        assert (device.unit, len(device.groups[0].tags)) == (7, 10)
        assert "left out: HR:10: exception 2" in said.err
        assert cpppod.main(["tags", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == [{"name": "HR:10", "reason": "exception 2: illegal data address"}]


def test_a_line_is_browsed_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = f"rtu-over-tcp://127.0.0.1:{free_port()}"
    with Server(port, "40001-40003=5"):
        assert cpppod.main(["tags", "browse", port, "--where", "40001-40003", "--toml"]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "line.toml"
    path.write_text(text)
    plant = checked(path).plant
    assert plant.lines[0].port == port
    assert len(plant.devices[0].groups[0].tags) == 3
    assert tomllib.loads(text)["device"]


def test_what_cannot_be_browsed_is_one_line_on_stderr() -> None:
    nobody = run("browse", f"127.0.0.1:{free_port()}")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)
    nonsense = run("browse", "127.0.0.1:x")
    assert (nonsense.returncode, nonsense.stderr.count("\n")) == (2, 1)
    assert run().returncode == 2
    assert "browse" in run("--help").stdout
