"""What docs/text-devices.md shows is a configuration that is well, and commands that work."""

import re
import shlex
from pathlib import Path

import pytest

from cpppod.commands.automata import main
from cpppod.configuration import load
from cpppod.protocols.model.plant import Line
from cpppod.protocols.text import checksums
from cpppod.protocols.text.formats import COMMAND_KEYS, FRAME_KEYS, KEYS
from cpppod.workers.drivers.text.driver import make_driver
from cpppod.workers.simulators import text as text_simulator
from cpppod.workers.transport.port import SerialPort

TEXT = (Path(__file__).parents[4] / "docs" / "text-devices.md").read_text(encoding="utf-8")


def test_the_configurations_are_well_and_make_drivers(tmp_path: Path) -> None:
    file = tmp_path / "cpppod.toml"
    file.write_text("\n".join(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)), encoding="utf-8")
    plant = load([file], old_files=[]).plant
    assert [device.name for device in plant.devices] == ["scale", "flow"]
    for device in plant.devices:
        link = None if ":" in device.address else SerialPort(Line("flow", "/dev/ttyUSB0"))
        assert make_driver(device, link).concurrency == 1


def test_every_key_and_checksum_is_described() -> None:
    for key in KEYS - {"frames", "commands"}:
        assert f"| `{key}` |" in TEXT
    assert all(f"`frames.NAME.{key}`" in TEXT for key in FRAME_KEYS)
    assert all(f"`commands.NAME.{key}`" in TEXT for key in COMMAND_KEYS)
    assert all(f"`{name}`" in TEXT for name in checksums.ALGORITHMS)


def test_the_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    shown = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
    for line in re.findall(r"^\$ python -m cpppod\.workers\.text_simulator (.*)$", shown, re.M):
        text_simulator.parser().parse_args(shlex.split(line))
    command, output = re.findall(r"^\$ cpppod-automata (.*?)\n(.*)", shown, re.M | re.DOTALL)[0]
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == output
