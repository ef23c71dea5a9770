"""Generations of settings files: written whole, switched at once, discarded without a trace."""

import json
import os
from pathlib import Path

import pytest

from cpppod.configuration import load
from cpppod.gateway import generation, supervision, topology
from cpppod.gateway.generation import Refused
from cpppod.gateway.topology import Directories

PLANT = """
[gateway]
name = "plant"
cpppo_cfg = false

[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:1502"
[[device.boiler.group]]
name = "fast"
period = "500ms"
tags = [{ name = "pressure", address = "HR:0", type = "INT" }]
"""
PUMP = PLANT[PLANT.index("[device") :].replace("boiler", "pump").replace("1502", "1503")


@pytest.fixture
def running(tmp_path: Path) -> tuple[Directories, Path]:
    """Directories in which generation 1 of a plant with one device is current."""
    directories = Directories(tmp_path / "run", tmp_path / "state")
    directories.bus.mkdir(parents=True)
    file = tmp_path / "etc" / "cpppod.toml"
    file.parent.mkdir()
    file.write_text(PLANT)
    read = load([file])
    workers = topology.workers(read.plant, 1, directories, files=read.files)
    topology.write_generation(workers, directories, 1)
    topology.make_current(directories, 1)
    supervision.write(directories, workers)
    return directories, file


def current_names(directories: Directories) -> set[str]:
    folder = directories.runtime / topology.SETTINGS / topology.CURRENT
    return {path.stem for path in folder.iterdir()}


def test_next_generation_is_written_but_not_current(running: tuple[Directories, Path]) -> None:
    directories, file = running
    file.write_text(PLANT + PUMP)
    assert generation.write(directories, [str(file)]) == 2
    assert (directories.generation(2) / "poller-pump.json").exists()
    assert topology.current_generation(directories) == 1
    assert "poller-pump" not in current_names(directories)
    assert "poller-pump" not in (directories.bus / "workers.conf").read_text()


def test_switch_is_seen_by_workers_and_supervisord(running: tuple[Directories, Path]) -> None:
    directories, file = running
    file.write_text(PLANT + PUMP)
    generation.switch(directories, generation.write(directories, [str(file)]))
    assert topology.current_generation(directories) == 2
    assert "poller-pump" in current_names(directories)
    assert "[program:poller-pump]" in (directories.bus / "workers.conf").read_text()


def test_configuration_with_mistakes_leaves_everything_as_it_was(
    running: tuple[Directories, Path],
) -> None:
    directories, file = running
    file.write_text(PLANT.replace("500ms", "soon").replace('"INT"', '"TINT"'))
    with pytest.raises(Refused) as caught:
        generation.write(directories, [str(file)])
    assert len(caught.value.problems) == 2
    assert set(os.listdir(directories.runtime / topology.SETTINGS)) == {"1", "current"}


def test_discarded_generation_leaves_no_file(running: tuple[Directories, Path]) -> None:
    directories, file = running
    number = generation.write(directories, [str(file)])
    generation.discard(directories, number)
    assert not directories.generation(number).exists()
    generation.discard(directories, 1)
    assert directories.generation(1).exists()  # the current one stays whatever is asked


def test_old_generations_go_but_the_one_before_stays(running: tuple[Directories, Path]) -> None:
    directories, file = running
    for _ in range(3):
        generation.switch(directories, generation.write(directories, [str(file)]))
    kept = {path.name for path in (directories.runtime / topology.SETTINGS).iterdir()}
    assert kept == {"3", "4", "current"}


def test_new_files_of_conf_d_are_read_at_a_reload(running: tuple[Directories, Path]) -> None:
    directories, file = running
    folder = file.parent / "conf.d"
    folder.mkdir()
    (folder / "pump.toml").write_text(PUMP)
    number = generation.write(directories, [str(file)])
    assert (directories.generation(number) / "poller-pump.json").exists()
    control = json.loads((directories.generation(number) / "control.json").read_text())
    again = generation.write(directories, control["options"]["files"])
    assert (directories.generation(again) / "poller-pump.json").exists()


def test_state_directory_cannot_be_moved_by_a_reload(running: tuple[Directories, Path]) -> None:
    directories, file = running
    file.write_text(PLANT.replace('name = "plant"', 'name = "plant"\nstate_directory = "/else"'))
    with pytest.raises(Refused, match="needs a restart"):
        generation.write(directories, [str(file)])


def test_program_answers_with_one_json_object(
    running: tuple[Directories, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    directories, file = running
    places = [str(directories.runtime), str(directories.state)]
    assert generation.main(["write", *places, str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {"generation": 2}
    assert generation.main(["switch", *places, "9"]) == 1
    assert json.loads(capsys.readouterr().out) == {"problems": ["there is no generation 9"]}
    assert generation.main(["write", *places, "/no/such/file.toml"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]
    assert generation.main(["dance"]) == 2
