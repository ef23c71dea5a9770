"""`cpppoctl export` and `import`: recordings moved without a daemon."""

import json
from pathlib import Path

import pytest

from cpppod.commands.cpppoctl.command import main
from cpppod.history import logger
from cpppod.history.query import history

T0 = 1_700_000_000


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    with logger(tmp_path / "plant.hst") as file:
        for n in range(3):
            file.write({"boiler.level": n, "40001": n}, now=T0 + n)
    return tmp_path / "plant.hst"


def test_there_and_back(plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, out = str(tmp_path / "store"), tmp_path / "out.hst"
    assert main(["import", str(plant), store, "--device", "pump"]) == 0
    assert capsys.readouterr().out == "6 readings are new in the store\n"
    with history(store) as past:
        assert past.tags() == ["boiler.level", "pump.40001"]
    arguments = ["export", store, str(out), "--tags", "boiler.*", "--from", "2023-11-14 22:13:21"]
    assert main(["--json", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["count"] >= 2
    assert '{"boiler.level": 2}' in out.read_text()


def test_what_cannot_be_moved_is_said(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(plant), str(tmp_path / "store")]) == 1
    assert "cpppoctl: import: '40001' is left out: of no device" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none"), str(tmp_path / "out.hst")]) == 1
    assert "cpppoctl: export:" in capsys.readouterr().err


def test_one_bad_name_leaves_out_itself_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logger(tmp_path / "plant.hst") as file:
        for name in (".level", "pump.", "", "pump.speed", "40001"):
            file.write({name: 1}, now=T0)
    arguments = ["import", str(tmp_path / "plant.hst"), str(tmp_path / "store"), "--device", "x"]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert told.out == "2 readings are new in the store\n"
    assert [line.split(" is left out")[0] for line in told.err.splitlines()] == [
        f"cpppoctl: import: {name!r}" for name in (".level", "pump.", "")
    ]
    assert "--device" not in told.err  # it was given
    with history(str(tmp_path / "store")) as past:
        assert past.tags() == ["pump.speed", "x.40001"]


def test_long_device_names_that_begin_alike_keep_their_readings(tmp_path: Path) -> None:
    long = "a" * 100
    with logger(tmp_path / "plant.hst") as file:
        file.write({f"{long}1.level": 1, f"{long}2.level": 2}, now=T0)
    assert main(["import", str(tmp_path / "plant.hst"), str(tmp_path / "store")]) == 0
    with history(str(tmp_path / "store")) as past:
        assert past.tags() == [f"{long}1.level", f"{long}2.level"]


LONG = """\
time,tag,value,quality
2023-11-14T22:13:20.000000+00:00,boiler.level,0,0
2023-11-14T22:13:20.000000+00:00,40001,0,0
2023-11-14T22:13:21.000000+00:00,boiler.level,1,0
2023-11-14T22:13:21.000000+00:00,40001,1,0
2023-11-14T22:13:22.000000+00:00,boiler.level,2,0
2023-11-14T22:13:22.000000+00:00,40001,2,0
"""
WIDE = """\
time,40001,boiler.level
2023-11-14T22:13:20.000000+00:00,0,0
2023-11-14T22:13:21.000000+00:00,1,1
2023-11-14T22:13:22.000000+00:00,2,2
"""


@pytest.mark.parametrize(("options", "expected"), [([], LONG), (["--wide"], WIDE)])
def test_many_tags_are_one_table_of_csv(
    plant: Path,
    tmp_path: Path,
    options: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.csv"
    assert main(["export", str(plant), str(out), *options]) == 0
    assert capsys.readouterr().out == f"{expected.count(chr(10)) - 1} records written\n"
    assert out.read_text() == expected
    assert main(["export", str(plant), "-", *options]) == 0
    assert capsys.readouterr().out == expected


def test_a_pattern_that_matches_nothing_is_said(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("out.csv", "out.hst"):
        out = str(tmp_path / name)
        assert main(["export", str(plant), out, "--tags", "boiler.*", "--tags", "press.*"]) == 1
        assert capsys.readouterr().err == (
            "cpppoctl: export: no tag matches 'press.*' in that time; try --tags '*'\n"
        )
