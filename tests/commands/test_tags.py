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


L5X = Path(__file__).parents[1] / "tags" / "press.L5X"
LIST = "name,address,type,Cabinet\npressure,40001,REAL,A3\nlevel,40003,INT,\nbad,x,INT,\n"


def test_an_imported_list_is_a_configuration_that_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "boiler 1.csv"
    source.write_text(LIST)
    words = ["tags", "import", "csv", str(source), "-o", str(tmp_path / "conf.d"), "--json"]
    assert cpppod.main([*words, "--address", "10.0.0.7:502"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["source_tags"], report["taken"], len(report["left_out"])) == (3, 2, 1)
    path = tmp_path / "conf.d" / "boiler_1.toml"
    (device,) = checked(path).plant.devices
    assert (device.name, device.address) == ("boiler_1", "10.0.0.7:502")
    assert cpppod.main(["tags", "export", "csv", "-c", str(path)]) == 0
    assert capsys.readouterr().out == LIST.replace("bad,x,INT,\n", "")


def test_a_second_import_keeps_what_was_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, path = tmp_path / "list.csv", tmp_path / "conf.d" / "list.toml"
    source.write_text(LIST)
    words = ["tags", "import", "csv", str(source), "-o", str(path.parent)]
    assert cpppod.main(words) == 0
    edited = path.read_text().replace('"pressure"', '"pressure", unit = "bar"')
    path.write_text(f"{edited}# mine\n")
    source.write_text(LIST.replace("40001,REAL", "40011,REAL").replace("level", "height"))
    capsys.readouterr()
    assert cpppod.main(words) == 0
    assert "merged: 1 tags new, 1 changed, 1 gone" in capsys.readouterr().out
    text = path.read_text()
    assert '"pressure", unit = "bar", address = "40011"' in text and "# mine" in text
    assert '"height"' in text and '"level"' not in text
    assert checked(path).plant.devices[0].groups[0].tags[0].unit == "bar"
    again = path.read_text()
    assert cpppod.main(words) == 0
    assert path.read_text() == again


def test_a_file_that_no_import_wrote_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, path = tmp_path / "list.csv", tmp_path / "list.toml"
    source.write_text(LIST)
    path.write_text("# mine\n")
    assert cpppod.main(["tags", "import", "csv", str(source), "-o", str(path)]) == 1
    assert "no import has written it" in capsys.readouterr().err
    assert path.read_text() == "# mine\n"


def test_an_l5x_becomes_a_configuration_and_a_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, simulator = tmp_path / "press.toml", tmp_path / "press.json"
    words = ["import", "l5x", str(L5X), "-o", str(path), "--simulator", str(simulator)]
    assert cpppod.main(["tags", *words, "--route-path", "1/0"]) == 0
    assert "15 tags in the source: 12 taken as" in capsys.readouterr().out
    (device,) = checked(path).plant.devices
    assert (device.enabled, device.route_path) == (False, "1/0")
    assert json.loads(simulator.read_text())["tags"]["Pumps"] == "Motor[2]"


@pytest.mark.parametrize("kind", ["kepware", "l5x", "csv"])
def test_a_list_that_is_none_is_one_line_on_stderr(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "list"
    source.write_bytes(b"\xff\x00 nothing")
    assert cpppod.main(["tags", "import", kind, str(source)]) == 1
    assert cpppod.main(["tags", "import", kind, str(tmp_path / "none")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("cpppod tags import: ") for line in lines)


def test_an_address_or_a_driver_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "list.csv"
    source.write_text(LIST)
    words = ["tags", "import", "csv", str(source)]
    assert cpppod.main([*words, "--address", "10.0.0.7"]) == 1
    assert cpppod.main([*words, "--driver", "nonsense"]) == 1
    assert cpppod.main([*words, "--driver", "modbus-rtu"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "--address" in said[0]
    assert said[1].endswith("devices of driver nonsense are not known here")
    assert "name it in a column device.line" in said[2]


def test_without_an_output_the_configuration_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "list.csv"
    source.write_text(LIST)
    assert cpppod.main(["tags", "import", "csv", str(source)]) == 0
    said = capsys.readouterr()
    assert tomllib.loads(said.out)["device"]["list"]["enabled"] is False
    assert "3 tags in the source: 2 taken as 2 tags, 1 left out" in said.err
