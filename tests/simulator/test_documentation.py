"""What docs/enip_server.md shows is what happens."""

import pathlib
import re
import tomllib

from pycomm3 import LogixDriver

from cpppod.commands.enip.server import parser, simulators_of
from cpppod.protocols.enip.target.faults import KINDS, parse_fault
from cpppod.simulator import Settings
from cpppod.simulator.files import read_controllers
from tests.workers.drivers.enip.test_verdicts import VERDICTS

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "enip_server.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", DOCUMENT.read_text(), re.S | re.M)


def test_program_runs() -> None:
    (program,) = blocks("python")
    exec(compile(program, str(DOCUMENT), "exec"), {})


def test_every_option_is_described() -> None:
    described = DOCUMENT.read_text()
    for action in parser()._actions:
        names = [
            name for name in action.option_strings if name not in ("-h", "--help", "--version")
        ]
        if names and action.help != "==SUPPRESS==":
            assert any(f"{name}" in described for name in names), names


def test_every_fault_is_described_and_those_of_the_verdicts_are_faults() -> None:
    page = DOCUMENT.read_text()
    assert all(re.search(rf"`{kind}[`:\[]", page) for kind in KINDS)
    _, _, table = page.partition("| device | verdict |")
    rows = re.findall(r"^\| (.*?) \|", table.partition("\n## ")[0], re.M)
    shown = {fault for row in rows for fault in re.findall(r"`(.+?)`", row)}
    assert len(shown) >= 15
    assert [str(parse_fault(fault)) for fault in shown]
    assert {verdict[0] for verdict in VERDICTS} >= shown - {"no-session", "repeat-zero"}


def test_demo_s_command_line_is_understood() -> None:
    command = blocks("sh")[0].replace("\\\n", " ").replace("'", "").split()[1:]
    (plc,) = simulators_of(parser().parse_args([*command, "--no-config"]))
    assert plc.tags == ["Total", "Force", "Recipe"]


def test_controllers_of_the_file_serve_its_structures(tmp_path: pathlib.Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "plant.toml"
    path.write_text(text)
    assert len(read_controllers(str(path), Settings(udp=False))) == 200
    limits = 'limits = { connections = 1024, per_address = 64, idle_s = "10min" }'
    assert limits in DOCUMENT.read_text()
    path.write_text(text + limits)
    assert read_controllers(str(path), Settings())[0].settings.limits.per_address == 64
    assert tomllib.loads(text)["controller"][0]["plc"] == "compactlogix"
    path.write_text(text.replace("127.0.0.2-127.0.0.201:44818", "127.0.0.1:0"))
    (plc,) = read_controllers(str(path), Settings(udp=False))
    with plc, LogixDriver("{}:{}".format(*plc.address)) as logix:
        value = {"speed": 2.5, "enabled": True, "steps": [1, 2, 3, 4, 5, 6, 7, 8]}
        assert logix.write(("Recipes[1]", value)).error is None
        assert logix.read("Recipes[1]").value == value
        assert logix.read("Limit").value == 80.5
        assert logix.write(("Limit", 1.0)).error
