"""L5X: what a controller's export comes to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycomm3
import pylogix
import pytest

from cpppod.simulator import Settings, Simulator
from cpppod.simulator.defined import read_defined
from cpppod.tags import l5x
from cpppod.tags.source import ImportRefused, Wishes
from cpppod.tags.tables import Imported

FILE = Path(__file__).with_name("press.L5X")
TEXT = FILE.read_text(encoding="utf-8")
PROBLEMS = {
    "Word": "it is an alias for Local:1:I.Data, whose type the file does not tell",
    "Own": "it has no external access",
    "Msg": "its type MESSAGE is not described in the file",
}


@pytest.fixture(scope="module")
def made() -> Imported:
    return l5x.read(TEXT, Wishes(address="10.0.0.5:44818", writable=True))


def tags(made: Imported) -> dict[str, dict[str, Any]]:
    (device,) = made.tables()["device"].values()
    return {tag["address"]: tag for group in device["group"] for tag in group["tags"]}


def test_every_tag_of_the_file_is_taken_or_left_out_with_the_reason(made: Imported) -> None:
    report = made.report
    assert {each.source: each.said for each in report.left_out} == PROBLEMS
    assert len(report.taken) + len(report.left_out) == TEXT.count("<Tag Name") == 15
    assert sum(len(each.names) for each in report.taken) == len(tags(made))


def test_a_structure_comes_over_as_its_members_element_by_element(made: Imported) -> None:
    found = tags(made)
    pump = [address for address in found if address.startswith("Pumps[1]")]
    assert pump == [
        "Pumps[1].Running",
        "Pumps[1].Fault",
        "Pumps[1].Speed",
        "Pumps[1].Steps",
        *(f"Pumps[1].On.{name}" for name in ("PRE", "ACC", "EN", "TT", "DN")),
    ]
    assert found["Pumps[0].Steps"] == {
        "name": "Pumps_0_Steps",
        "address": "Pumps[0].Steps",
        "type": "DINT",
        "length": 4,
        "writable": True,
    }
    assert [address for address in found if address.startswith("Ramping")] == [
        "Ramping.EnableIn",
        "Ramping.Target",
    ]


def test_arrays_strings_and_packed_booleans_are_as_the_controller_holds_them(
    made: Imported,
) -> None:
    found = tags(made)
    assert (found["Limits"]["type"], found["Limits"]["length"]) == ("REAL", 6)
    assert (found["Flags"]["type"], found["Flags"]["length"]) == ("DWORD", 2)
    assert found["Name"]["type"] == found["Text"]["type"] == "STRING"
    assert found["Loop.SP"]["type"] == "REAL"


def test_descriptions_units_and_rights_come_over(made: Imported) -> None:
    found = tags(made)
    assert found["Total"]["description"] == "parts since midnight"
    assert found["Total"]["unit"] == "pcs"
    assert found["Pumps[1].Running"]["description"] == "second pump runs"
    assert found["Pumps[0].Speed"]["description"] == "actual speed"
    assert "writable" not in found["Pumps[0].Speed"]  # Read Only
    assert "writable" not in found["Limits"]  # a constant
    assert found["Total"]["writable"] is True
    assert not any("writable" in tag for tag in tags(l5x.read(TEXT, Wishes())).values())


def test_an_alias_has_the_type_of_what_it_stands_for(made: Imported) -> None:
    found = tags(made)
    assert (found["Feed"]["type"], found["Bit3"]["type"]) == ("REAL", "BOOL")
    assert found["Program:Main.Local_Feed"]["type"] == "REAL"
    assert found["Program:Main.Speed"]["name"] == "Program_Main_Speed"


def test_aliases_for_each_other_are_left_out() -> None:
    text = TEXT.replace('AliasFor="Pumps[1].Speed"', 'AliasFor="Bit3"').replace(
        'AliasFor="Local:1:I.Data.3"', 'AliasFor="Feed"'
    )
    report = l5x.read(text, Wishes()).report
    said = {each.source: each.said for each in report.left_out}
    assert said["Feed"].startswith("it is an alias for itself")
    assert len(report.outcomes) == 15


def test_a_structure_in_itself_and_a_huge_one_are_left_out() -> None:
    text = TEXT.replace('Name="On" DataType="TIMER"', 'Name="On" DataType="Motor"')
    report = l5x.read(text, Wishes()).report
    taken = next(each for each in report.taken if each.source == "Pumps")
    assert "its type Motor is not described" in taken.said
    text = TEXT.replace('DataType="Motor" Dimensions="2"', 'DataType="Motor" Dimensions="9000 9"')
    said = {each.source: each.said for each in l5x.read(text, Wishes()).report.left_out}
    assert said["Pumps"] == "it has more than 5000 values"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<x/>",
        "{}",
        "<RSLogix5000Content/>",
        TEXT[:-40],
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + TEXT.partition("?>")[2],
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><RSLogix5000Content>&b;'
        "</RSLogix5000Content>",
    ],
)
def test_what_is_no_l5x_or_has_entities_is_refused(text: str) -> None:
    with pytest.raises(ImportRefused, match="no L5X"):
        l5x.read(text, Wishes())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    path = tmp_path_factory.mktemp("press") / "press.json"
    path.write_text(json.dumps(l5x.simulated(TEXT)))
    structures, declared = read_defined(str(path))
    with Simulator(declared, Settings(structures=structures)) as simulator:
        yield simulator.address


SIMULATED = {
    "Total": "DINT",
    "Limits": "REAL",
    "Flags": "DWORD",
    "Pumps": "Motor",
    "Name": "Label",
    "Ramping": "Ramp",
    "Feed": "REAL",
    "Bit3": "BOOL",
    "Loop": "PID",
    "Program:Main.Speed": "REAL",
    "Program:Main.Local_Feed": "REAL",
}


def test_pycomm3_sees_the_same_tags_and_types_in_a_simulator_of_it(
    running: tuple[str, int],
) -> None:
    with pycomm3.LogixDriver(f"{running[0]}:{running[1]}", init_program_tags=True) as plc:
        found = {tag["tag_name"]: tag for tag in plc.get_tag_list("*")}
    kinds = {name: found[name]["data_type_name"] for name in SIMULATED}
    assert kinds == SIMULATED
    assert found.keys() - SIMULATED.keys() == {"Text"}
    assert found["Limits"]["dimensions"][:2] == [2, 3]
    motor = found["Pumps"]["data_type"]["internal_tags"]
    assert {name: motor[name]["data_type_name"] for name in ("Running", "Speed", "Steps")} == {
        "Running": "BOOL",
        "Speed": "REAL",
        "Steps": "DINT",
    }


def test_pylogix_sees_the_same_tags_and_types_in_a_simulator_of_it(
    running: tuple[str, int],
) -> None:
    with pylogix.PLC(*running[:1], port=running[1]) as plc:
        found = {tag.TagName: tag.DataType for tag in plc.GetTagList().Value}
    expected = {name: kind for name, kind in SIMULATED.items() if kind != "DWORD"}
    assert {name: found[name] for name in expected} == expected
