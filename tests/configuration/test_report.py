"""What `cpppod --check` warns of: what works, and yet should be known."""

from pathlib import Path

from cpppod import configuration
from cpppod.configuration import report

DEVICE = """
[device.boiler]
driver = "modbus-tcp"
address = "10.0.0.5:502"
[[device.boiler.group]]
name = "fast"
period = 1
history = {history}
tags = [{{ name = "level", address = 40001 }}]
"""


def warnings(text: str, folder: Path) -> list[str]:
    path = folder / "plant.toml"
    path.write_text(text)
    found = report.plain(configuration.load([path], old_files=[]))["warnings"]
    return [warning for warning in found if "ephemeral" not in warning and "ports" not in warning]


def test_an_outlet_that_others_can_reach_is_named_by_section_and_key(tmp_path: Path) -> None:
    text = '[metrics]\naddress = "0.0.0.0:9880"\n'
    wanted = "metrics address: 0.0.0.0:9880 can be reached from other machines"
    assert warnings(text, tmp_path) == [wanted]
    assert warnings(f"{text}enabled = false\n", tmp_path) == []


def test_a_reader_of_journals_that_nobody_writes_is_named(tmp_path: Path) -> None:
    text = "[history]\nenabled = true\n"
    wanted = "history: no group has history = true: historian has nothing to read"
    assert warnings(text + DEVICE.format(history="false"), tmp_path) == [wanted]
    assert warnings(text + DEVICE.format(history="true"), tmp_path) == []
    assert warnings("", tmp_path) == []
