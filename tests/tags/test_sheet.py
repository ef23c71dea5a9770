"""Tags as a CSV table: in, and out again the same."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.tags import sheet, toml
from cpppod.tags.source import ImportRefused, Wishes

SMALL = """\
device,device.driver,device.address,group,group.period,name,address,type,scale,unit,Cabinet
boiler,modbus-tcp,10.0.0.7:502,fast,1s,pressure,40001,REAL,,bar,A3
boiler,modbus-tcp,10.0.0.7:502,fast,1s,level,40003,INT,0.1,"mm, wet",
mixer,modbus-tcp,10.0.0.8:502,slow,10s,total,000001,BOOL,,,B1
boiler,modbus-tcp,10.0.0.7:502,slow,10s,state,40009,UINT,,,
"""


def round_trip(text: str) -> str:
    made = sheet.read(text, Wishes())
    file = toml.text_of(made.tables, comment=[made.shape.comment()])
    return sheet.write(tomllib.loads(file), sheet.remembered(file))


VARIANTS = [
    SMALL,
    SMALL.replace("\n", "\r\n"),
    "\ufeff" + SMALL.replace("mm, wet", "mm").replace('"', "").replace(",", ";"),
    SMALL.replace(",", "\t").replace("mm\t wet", "mm").replace('"', ""),
    "name,address\na,40001\nb,40002\n",
]


@pytest.mark.parametrize("text", VARIANTS)
def test_a_table_is_the_same_after_it_was_a_configuration(text: str) -> None:
    assert round_trip(text) == text


def test_what_a_row_says_is_in_the_tag_and_an_unknown_column_in_its_notes() -> None:
    made = sheet.read(SMALL, Wishes())
    boiler = made.tables["device"]["boiler"]
    assert (boiler["driver"], boiler["address"]) == ("modbus-tcp", "10.0.0.7:502")
    assert [(group["name"], group["period"]) for group in boiler["group"]] == [
        ("fast", "1s"),
        ("slow", "10s"),
    ]
    assert boiler["group"][0]["tags"][0] == {
        "name": "pressure",
        "address": "40001",
        "type": "REAL",
        "unit": "bar",
        "notes": {"Cabinet": "A3"},
    }
    assert boiler["group"][0]["tags"][1]["scale"] == 0.1
    assert made.report.remarks == ["kept as notes: Cabinet"]


def test_rows_that_cannot_be_are_left_out_with_the_reason() -> None:
    text = (
        "name;address;type;scale;writable\n"
        "a;40001;INT;0,1;\n"
        "b;4x;INT;;\n"
        "c;40001;WRONG;;\n"
        "d;40001;INT;;maybe\n"
        "e;40001;INT;2;TRUE\n"
        "E;40002;INT;;\n"
        ";;;;\n"
        "9;40002;;;\n"
    )
    report = sheet.read(text, Wishes(), name="list").report
    said = {each.source.split()[1]: each.said for each in report.left_out}
    assert said["2"] == "scale: '0,1': expected a number with a decimal point"
    assert said["3"].startswith("address = '4x': expected a Modbus address")
    assert said["4"].startswith("type: a type: BOOL")
    assert said["5"].startswith("writable: 'maybe'")
    assert said["7"] == "another row of this device has its name"
    assert said["9"].startswith("name: a name")
    assert [each.names for each in report.taken] == [("list.e",)]
    assert len(report.outcomes) == 7


def test_a_list_without_a_device_is_of_the_file_and_of_the_wishes() -> None:
    text = "name,address,type\nspeed,Pump.Speed,REAL\n"
    made = sheet.read(text, Wishes(driver="enip", address="10.0.0.5:44818"), name="press 1")
    assert made.tables["device"]["press_1"]["address"] == "10.0.0.5:44818"
    nowhere = sheet.read(text, Wishes(driver="enip"), name="press 1")
    assert nowhere.tables["device"]["press_1"]["enabled"] is False
    assert "no address" in nowhere.report.remarks[0]


@pytest.mark.parametrize("text", ["", "a,b\n", "name\nx\n", "\ufeff"])
def test_what_is_no_table_of_tags_is_refused(text: str) -> None:
    with pytest.raises(ImportRefused):
        sheet.read(text, Wishes())


texts = st.text(st.sampled_from("aZ09 ,;\"'#=[]{}°ü漢\\€"), max_size=12)


@given(
    st.lists(
        st.tuples(st.integers(0, 65_535), texts, texts, st.floats(0.001, 1e6), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_any_table_that_was_given_out_comes_back_the_same(
    rows: list[tuple[int, str, str, float, bool]],
) -> None:
    tags = [
        {
            "name": f"t{number}",
            "address": f"HR:{at}",
            "type": "INT",
            "scale": scale,
            "writable": writable,
            "unit": unit,
            "notes": {"x": note} if note else {},
        }
        for number, (at, unit, note, scale, writable) in enumerate(rows)
    ]
    group = {"name": "g", "period": "1s", "tags": tags}
    tables = {"device": {"d": {"driver": "modbus-tcp", "address": "1.2.3.4:502", "group": [group]}}}
    first = sheet.write(tables, sheet.Shape())
    assert round_trip(first) == first
