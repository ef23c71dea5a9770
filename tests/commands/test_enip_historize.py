"""enip_historize records what clients read and write."""

import json
import re
from pathlib import Path

import pytest
from pycomm3 import LogixDriver

from cpppod.commands.enip.historize import main, recording
from cpppod.history.logger import logger
from cpppod.simulator import Settings, Simulator
from tests import peers


def test_reads_and_writes_are_recorded_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "some_file.hst"
    with logger(path, bufsize=logger.LINE_BUF) as history:
        settings = Settings(attribute_class=recording(history))
        with (
            Simulator(["Tag_Name=INT[1000]"], settings) as plc,
            LogixDriver("{}:{}".format(*plc.address)) as client,
        ):
            assert client.write(("Tag_Name{4}", [0, 1, 2, 3])).error is None
            assert client.read("Tag_Name[1]{2}").value == [1, 2]
    lines = path.read_text().splitlines()
    assert re.match(r"# \d{4}-\d\d-\d\d .*: Started recording Tag: Tag_Name$", lines[0])
    records = [line.split("\t") for line in lines[1:]]
    shown = [(json.loads(serial), json.loads(data)) for _, serial, data in records]
    assert (["Tag_Name", [0, 3]], {"write": [0, 1, 2, 3]}) in shown
    assert (["Tag_Name", [1, 2]], {"read": [1, 2]}) in shown


def test_file_is_the_first_argument() -> None:
    assert main([]) == 2
    assert main(["--print", "X=INT"]) == 2


def test_help_and_version_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for option, shown in (("--help", "enip_historize FILE"), ("--version", "enip_historize 0.")):
        with pytest.raises(SystemExit) as ended:
            main([option])
        assert ended.value.code == 0
        assert shown in capsys.readouterr().out


def test_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    assert main([str(tmp_path), "X=INT"]) == 1


def test_name_is_one_of_the_console_scripts() -> None:
    assert peers.script("enip_historize")
