"""What `--check` says that it understood of devices, what it warns of, and what it refuses."""

from pathlib import Path

import pytest

from cpppod.configuration import ConfigurationError, load, report

DEVICE = """
[device.meter]
driver = "modbus-tcp"
address = "127.0.0.1:1502"
"""
GROUP = """
[[device.meter.group]]
name = "fast"
period = "1s"
tags = [
    { name = "a", address = "HR:0", type = "REAL" },
    { name = "b", address = "HR:100", type = "INT" },
    { name = "c", address = "1", type = "BOOL" },
]
"""


def said(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "plant.toml"
    file.write_text(text)
    return list(report.lines(report.plain(load([file]))))


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        said(tmp_path, text)
    return str(caught.value)


def test_what_a_poll_takes_is_said(tmp_path: Path) -> None:
    lines = said(tmp_path, DEVICE + GROUP)
    wanted = "3 requests a cycle for 3 registers and 1 coils or inputs"
    assert f"meter (127.0.0.1:1502 unit 1): fast every 1 s, 3 tags, {wanted}" in lines


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        (
            '"1s"',
            "1000",
            "is read every 1000 s (17 min); a number is seconds",
        ),
        ("HR:100", "HR:1", "a and b share registers from HR:1 on"),
    ],
)
def test_the_unlikely_is_warned_of(tmp_path: Path, old: str, new: str, warning: str) -> None:
    lines = said(tmp_path, DEVICE + GROUP.replace(old, new))
    assert any(line.startswith("warning: device meter:") and warning in line for line in lines)


def test_a_device_without_groups_is_warned_of(tmp_path: Path) -> None:
    assert "warning: device meter: no group: nothing of it is read" in said(tmp_path, DEVICE)


@pytest.mark.parametrize("unit", [1, 2])
def test_a_unit_of_an_address_is_one_device(tmp_path: Path, unit: int) -> None:
    text = DEVICE + DEVICE.replace("meter", "other").replace("1502", "1502") + f"unit = {unit}\n"
    if unit == 2:
        assert said(tmp_path, text)
        return
    assert "another: unit 1 at 127.0.0.1:1502 is meter" in mistakes(tmp_path, text)


def test_a_unit_of_a_line_is_one_device(tmp_path: Path) -> None:
    line = '[line.hall]\nport = "/dev/ttyUSB0"\n'
    each = '[device.{}]\ndriver = "modbus-rtu"\nline = "hall"\n'
    text = mistakes(tmp_path, line + each.format("a") + each.format("b"))
    assert "another: unit 1 at hall is a" in text


def test_a_hexadecimal_number_is_no_coil(tmp_path: Path) -> None:
    text = mistakes(tmp_path, DEVICE + GROUP.replace('address = "1"', 'address = "0x10"'))
    assert "CO:0x10" in text or "a Modbus address" in text
    assert said(tmp_path, DEVICE + GROUP.replace('address = "1"', 'address = "CO:0x10"'))
