"""The examples in docs/modbus.md work."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from cpppod.commands.modbus import poll as modbus_poll
from cpppod.commands.modbus import scan as modbus_scan
from cpppod.commands.modbus import sim as modbus_sim
from cpppod.configuration import sections
from cpppod.protocols.modbus.faults import _KINDS
from cpppod.workers.drivers.modbus.settings import ModbusSettings
from tests.workers.devices.test_verdicts import VERDICTS

PAGE = (Path(__file__).parents[2] / "docs" / "modbus.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_example_runs() -> None:
    (example,) = blocks("python")
    exec(compile(example, "docs/modbus.md", "exec"), {})


@pytest.mark.parametrize("example", blocks("toml"))
def test_a_configuration_example_is_toml_with_known_keys(example: str) -> None:
    tables = tomllib.loads(example)
    for device in tables["device"].values():
        assert set(device) <= {*sections.Device.model_fields, *ModbusSettings.model_fields}
    for line in tables.get("line", {}).values():
        sections.Line.model_validate(line)


@pytest.mark.parametrize("line", re.findall(r"^\$ (modbus_.*?)(?: &)?$", PAGE, re.MULTILINE))
def test_every_command_line_is_understood(line: str) -> None:
    name, *arguments = shlex.split(line)
    modules = {"modbus_sim": modbus_sim, "modbus_poll": modbus_poll, "modbus_scan": modbus_scan}
    options = modules[name].parser().parse_args(arguments)
    if name == "modbus_sim" and not options.tell:
        assert modbus_sim.make_plant(options).all_units()


def test_every_fault_is_listed() -> None:
    assert all(re.search(rf"`{kind}[`:\[]", PAGE) for kind in _KINDS)


def test_the_verdicts_listed_are_those_that_are_given() -> None:
    table = PAGE.partition("| device | verdict |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|", table, re.MULTILINE)
    listed = {fault: words for row, words in rows for fault in re.findall(r"`(.+?)`", row)}
    assert set(listed) == {fault for fault, _, _ in VERDICTS}
    for fault, quality, _ in VERDICTS:
        assert listed[fault].startswith(quality.partition(" (")[0])


@pytest.mark.parametrize("module", [modbus_sim, modbus_poll, modbus_scan])
def test_help_and_version_are_there(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as ended:
            module.main([option])  # type: ignore[attr-defined]
        assert ended.value.code == 0
        assert "modbus_" in capsys.readouterr().out
