"""Tags of a controller out of Rockwell's CSV export."""

import json
from pathlib import Path

import pytest

from cpppod.commands import cpppod
from cpppod.tags import l5x, rockwell_csv
from cpppod.tags.source import Wishes

EXPORT = """remark,"CSV-Import-Export"
remark,"Version = RSLogix 5000 v20.01"
0.3
TYPE,SCOPE,NAME,DESCRIPTION,DATATYPE,SPECIFIER,ATTRIBUTES
TAG,,Speed,"of the $Qbelt$Q$Nin m/min",REAL,,"(RADIX := Float, ExternalAccess := Read/Write)"
TAG,,Counts,"","DINT[2,3]","","(RADIX := Decimal, ExternalAccess := Read Only)"
COMMENT,,Counts,"of the first",,"Counts[0,1]",
TAG,Main,Cycle,,TIMER,,"(ExternalAccess := Read/Write)"
TAG,,Secret,,DINT,,"(ExternalAccess := None)"
TAG,,Recipe,,MyRecipe,,"(ExternalAccess := Read/Write)"
ALIAS,,Fast,,,Speed,"(ExternalAccess := Read/Write)"
"""


def test_every_row_is_a_tag_or_a_line_of_the_report() -> None:
    made = l5x.read(rockwell_csv.as_l5x(EXPORT, name="press"), Wishes(address="10.0.0.5:44818"))
    (device,) = made.tables()["device"].values()
    tags = {tag["name"]: tag for group in device["group"] for tag in group["tags"]}
    assert tags["Speed"]["type"] == "REAL"
    assert tags["Speed"]["description"] == 'of the "belt" in m/min'
    assert (tags["Fast"]["address"], tags["Fast"]["type"]) == ("Fast", "REAL")
    assert tags["Program_Main_Cycle_PRE"]["address"] == "Program:Main.Cycle.PRE"
    assert {"Secret", "Recipe"}.isdisjoint(tags)
    lines = "\n".join(made.report.lines())
    assert "6 tags in the source: 4 taken" in lines
    assert "Recipe: its type MyRecipe is not described in the file" in lines


def test_another_table_is_none() -> None:
    assert rockwell_csv.is_export(EXPORT)
    assert not rockwell_csv.is_export("name,address,type\nspeed,40001,INT\n")


@pytest.mark.parametrize("kind", ["csv", "l5x"])
def test_the_command_takes_it(kind: str, tmp_path: Path) -> None:
    listed = tmp_path / "press.csv"
    listed.write_text(EXPORT, encoding="utf-8")
    served = tmp_path / "press.json"
    place = ["-o", str(tmp_path / "conf.d"), "--simulator", str(served)]
    assert cpppod.main(["tags", "import", kind, str(listed), *place]) == 0
    assert json.loads(served.read_text(encoding="utf-8"))["tags"]["Speed"] == "REAL"
    assert (tmp_path / "conf.d" / "press.toml").exists()
