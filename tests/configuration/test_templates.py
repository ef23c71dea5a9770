"""Templates: one device profile, many devices."""

from pathlib import Path

import pytest

from cpppod import configuration
from cpppod.configuration import ConfigurationError
from cpppod.protocols.model.plant import Device

TEMPLATE = """
[line.hall]
port = "/dev/ttyS0"
[template.meter]
driver = "modbus-rtu"
line = "hall"
unit = "${unit}"
parameters = { base = 0, phase = "A" }
[[template.meter.group]]
name = "power"
period = "1s"
tags = [
    { name = "watts", address = "HR:${base}", unit = "W", description = "phase ${phase}" },
    { name = "volts", address = "HR:${base+2}" },
]
"""


def devices(folder: Path, text: str) -> list[Device]:
    path = folder / "cpppod.toml"
    path.write_text(TEMPLATE + text)
    return list(configuration.load([path], old_files=[]).plant.devices)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        devices(folder, text)
    return [
        str(problem).removeprefix(f"{folder}/cpppod.toml:{problem.line or ''}").lstrip(": ")
        for problem in caught.value.problems
    ]


def test_parameters_make_devices_of_a_template(tmp_path: Path) -> None:
    one, two = devices(
        tmp_path,
        '[device.m1]\ntemplate = "meter"\nparameters = { unit = 1 }\n'
        '[device.m2]\ntemplate = "meter"\nparameters = { unit = 2, base = 100, phase = "B" }\n',
    )
    assert (one.unit, two.unit) == (1, 2)
    assert [tag.address for tag in one.groups[0].tags] == ["HR:0", "HR:2"]
    assert [tag.address for tag in two.groups[0].tags] == ["HR:100", "HR:102"]
    assert two.groups[0].tags[0].description == "phase B"


def test_a_devices_own_keys_groups_and_tags_win(tmp_path: Path) -> None:
    (device,) = devices(
        tmp_path,
        '[device.m1]\ntemplate = "meter"\nparameters = { unit = 1 }\ntimeout = "2s"\n'
        '[[device.m1.group]]\nname = "power"\nperiod = "5s"\n'
        'tags = [{ name = "volts", address = 40009 }, { name = "amps", address = 40011 }]\n'
        '[[device.m1.group]]\nname = "slow"\nperiod = "1min"\n'
        'tags = [{ name = "serial", address = 40100 }]\n',
    )
    assert device.timeout_s == 2.0
    assert [(group.name, group.period_s) for group in device.groups] == [
        ("power", 5.0),
        ("slow", 60.0),
    ]
    assert [(tag.name, tag.address) for tag in device.groups[0].tags] == [
        ("watts", "HR:0"),
        ("volts", "40009"),
        ("amps", "40011"),
    ]


def test_the_devices_name_is_a_parameter(tmp_path: Path) -> None:
    text = TEMPLATE.replace("phase ${phase}", "of ${name}")
    path = tmp_path / "cpppod.toml"
    path.write_text(text + '[device.m1]\ntemplate = "meter"\nparameters = { unit = 1 }\n')
    (device,) = configuration.load([path], old_files=[]).plant.devices
    assert device.groups[0].tags[0].description == "of m1"


def test_a_mistake_in_a_template_is_reported_once_and_there(tmp_path: Path) -> None:
    global_text = TEMPLATE.replace('unit = "W"', 'tipe = "REAL"')
    path = tmp_path / "cpppod.toml"
    path.write_text(
        global_text
        + '[device.m1]\ntemplate = "meter"\nparameters = { unit = 1 }\n'
        + '[device.m2]\ntemplate = "meter"\nparameters = { unit = 2 }\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        configuration.load([path], old_files=[])
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:13: template.meter.group[0].tags[0].tipe: 'REAL': expected no such key; "
        "did you mean type?"
    ]


def test_a_parameter_without_a_value_is_named(tmp_path: Path) -> None:
    found = problems(tmp_path, '[device.m1]\ntemplate = "meter"\n')
    assert found[0] == (
        "template.meter.unit: '${unit}': expected a parameter with a value: "
        "base, name, phase have one"
    )


def test_a_parameter_that_the_template_does_not_have_is_refused(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, '[device.m1]\ntemplate = "meter"\nparameters = { unit = 1, bass = 2 }\n'
    )
    assert found == (
        "device.m1.parameters.bass: 2: expected a parameter of the template: base, phase, unit"
    )


def test_adding_to_a_text_is_refused(tmp_path: Path) -> None:
    found = problems(
        tmp_path, '[device.m1]\ntemplate = "meter"\nparameters = { unit = 1, base = "x" }\n'
    )
    assert any("base to be a whole number" in line for line in found)


def test_a_parameter_of_the_wrong_kind_is_caught_by_the_key_it_goes_to(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, '[device.m1]\ntemplate = "meter"\nparameters = { unit = "one" }\n'
    )
    assert found == "template.meter.unit: 'one': expected a whole number"
