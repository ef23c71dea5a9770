"""Kepware's projects and CSV files: what their tags come to."""

import json
from typing import Any

import pytest

from cpppod.tags import kepware
from cpppod.tags.source import ImportRefused, Wishes
from cpppod.tags.tables import Imported

NOTHING = Wishes()
HEADER = (
    "Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate,Scaling,Raw Low,Raw High,"
    "Scaled Low,Scaled High,Scaled Data Type,Clamp Low,Clamp High,Eng Units,Description,"
    "Negate Value\n"
)


def tag(name: str, address: str, kind: int = 5, **keys: Any) -> dict[str, Any]:
    return {
        "common.ALLTYPES_NAME": name,
        "servermain.TAG_ADDRESS": address,
        "servermain.TAG_DATA_TYPE": kind,
        "servermain.TAG_READ_WRITE_ACCESS": 1,
        "servermain.TAG_SCAN_RATE_MILLISECONDS": 100,
        **{f"servermain.TAG_{key}": value for key, value in keys.items()},
    }


def project(*tags: dict[str, Any], driver: str = "Modbus TCP/IP Ethernet", **device: Any) -> str:
    whole = {
        "common.ALLTYPES_NAME": "Pump 1",
        "servermain.DEVICE_ID_STRING": "<10.1.2.3>.2",
        **{key.replace("__", "."): value for key, value in device.items()},
        "tags": list(tags[:1]),
        "tag_groups": [
            {
                "common.ALLTYPES_NAME": "Motor",
                "tags": list(tags[1:2]),
                "tag_groups": [{"common.ALLTYPES_NAME": "Deep", "tags": list(tags[2:])}],
            }
        ],
    }
    channel = {
        "common.ALLTYPES_NAME": "Well",
        "servermain.MULTIPLE_TYPES_DEVICE_DRIVER": driver,
        "devices": [whole],
    }
    return json.dumps({"project": {"channels": [channel]}})


def found(made: Imported) -> list[dict[str, Any]]:
    return [
        tag
        for device in made.tables().get("device", {}).values()
        for group in device["group"]
        for tag in group["tags"]
    ]


def one(address: str, kind: int = 5, *, wishes: Wishes = NOTHING, **keys: Any) -> dict[str, Any]:
    device = {key: keys.pop(key) for key in list(keys) if "__" in key}
    made = kepware.read(project(tag("t", address, kind, **keys), **device), wishes)
    if not found(made):
        (left,) = made.report.left_out
        return {"why": left.said}
    (table,) = found(made)
    return {key: value for key, value in table.items() if key != "name"}


ADDRESSES = [
    ("400001", 5, {"address": "HR:0", "type": "UINT"}),
    ("40001", 4, {"address": "HR:0", "type": "INT"}),
    ("300010", 8, {"address": "IR:9", "type": "REAL", "word_order": "little"}),
    ("000017", 1, {"address": "CO:16", "type": "BOOL"}),
    ("100001[16]", 21, {"address": "DI:0", "type": "BOOL", "length": 16}),
    ("400012.3", 1, {"address": "HR:11.3", "type": "WORD"}),
    ("400001[10]", 25, {"address": "HR:0", "type": "UINT", "length": 10}),
    ("400001[2][3]", 24, {"address": "HR:0", "type": "INT", "length": 6}),
    ("400101.20H", 0, {"address": "HR:100", "type": "STRING", "size": 20}),
    (
        "400101.20L",
        0,
        {"address": "HR:100", "type": "STRING", "size": 20, "byte_order": "little"},
    ),
    ("400001", -1, {"address": "HR:0", "type": "UINT"}),
    ("000001", -1, {"address": "CO:0", "type": "BOOL"}),
    ("465536", 5, {"address": "HR:65535", "type": "UINT"}),
    ("R0001", 5, {"why": "its address 'R0001' is none of Modbus"}),
    ("400001", 1, {"why": "its type Boolean does not lie at 400001"}),
    ("000001", 5, {"why": "its type Word does not lie at 000001"}),
    ("400001", 12, {"why": "its type Date does not lie at 400001"}),
]


@pytest.mark.parametrize(("address", "kind", "table"), ADDRESSES)
def test_addresses_and_types_of_modbus(address: str, kind: int, table: dict[str, Any]) -> None:
    assert one(address, kind) == table


def test_how_a_device_counts_and_orders_comes_over() -> None:
    def with_flag(address: str, kind: int, **flags: bool) -> dict[str, Any]:
        keys: dict[str, Any] = {
            f"modbus_ethernet__DEVICE_{name}": value for name, value in flags.items()
        }
        return one(address, kind, **keys)

    assert with_flag("400001", 5, ZERO_BASED_ADDRESSING=False)["address"] == "HR:1"
    assert with_flag("400001.1", 1, ZERO_BASED_BIT_ADDRESSING=False)["address"] == "HR:0.0"
    assert with_flag("400001.0", 1, MODICON_BIT_ORDER=True)["address"] == "HR:0.15"
    big = with_flag("400001", 6, FIRST_WORD_LOW=False, FIRST_DWORD_LOW=False)
    assert big == {"address": "HR:0", "type": "DINT"}
    mixed = with_flag("400001", 9, FIRST_WORD_LOW=False)
    assert mixed["why"].startswith("the low word is first and the low double word last")
    assert with_flag("400001", 5, MODBUS_BYTE_ORDER=False)["byte_order"] == "little"


def test_linear_scaling_comes_over_and_what_does_not_is_said() -> None:
    ranges: dict[str, Any] = {
        "SCALING_RAW_LOW": 4000,
        "SCALING_RAW_HIGH": 20000,
        "SCALING_SCALED_LOW": 0,
        "SCALING_SCALED_HIGH": 10,
        "SCALING_SCALED_DATA_TYPE": 8,
        "SCALING_UNITS": "bar",
    }
    scaled = one("400001", 4, SCALING_TYPE=1, **ranges)
    assert (scaled["scale"], scaled["offset"]) == (10 / 16000, -2.5)
    assert (scaled["value_type"], scaled["unit"]) == ("REAL", "bar")
    negated = one("400001", 4, SCALING_TYPE=1, SCALING_NEGATE_VALUE=True, **ranges)
    assert (negated["scale"], negated["offset"]) == (-10 / 16000, 2.5)
    assert one("400001", 4, SCALING_TYPE=2, **ranges) == {"why": "its scaling is not linear"}
    flat = ranges | {"SCALING_RAW_HIGH": 4000}
    assert one("400001", 4, SCALING_TYPE=1, **flat) == {"why": "its scaling has no range"}
    clamped = project(tag("t", "400001", 4, SCALING_TYPE=1, SCALING_CLAMP_LOW=True, **ranges))
    (taken,) = kepware.read(clamped, Wishes()).report.taken
    assert taken.said == "it is not clamped to its range"


def test_nothing_is_writable_until_it_is_wished() -> None:
    assert "writable" not in one("400001")
    assert one("400001", wishes=Wishes(writable=True))["writable"] is True
    assert "writable" not in one("300001", wishes=Wishes(writable=True))
    assert "writable" not in one("400001", wishes=Wishes(writable=True), READ_WRITE_ACCESS=0)


def test_groups_are_by_scan_rate_and_folders_a_part_of_the_names() -> None:
    made = kepware.read(
        project(
            tag("Flow", "400001"),
            tag("Speed", "400002", SCAN_RATE_MILLISECONDS=2000),
            tag("Speed", "400003"),
            servermain__DEVICE_DATA_COLLECTION=False,
            modbus_ethernet__DEVICE_ETHERNET_PORT_NUMBER=5020,
        ),
        Wishes(),
    )
    (device,) = made.tables()["device"].values()
    assert (device["address"], device["unit"], device["enabled"]) == ("10.1.2.3:5020", 2, False)
    assert [(group["name"], group["period"]) for group in device["group"]] == [
        ("every_100ms", "100ms"),
        ("every_2s", "2s"),
    ]
    assert [each.names for each in made.report.taken] == [
        ("Well_Pump_1.Flow",),
        ("Well_Pump_1.Motor_Speed",),
        ("Well_Pump_1.Motor_Deep_Speed",),
    ]


def test_controllers_come_over_with_their_route() -> None:
    text = project(
        tag("a", "Pump.Speed", 8),
        tag("b", "Word.3", 1),
        tag("c", "Counts[2]{10}", 26),
        tag("d", "Name.DATA/82", 0),
        tag("e", "Total", 7),
        tag("f", "Any", -1),
        tag("g", "N7:0", 4),
        driver="Allen-Bradley ControlLogix Ethernet",
        servermain__DEVICE_ID_STRING="<10.1.2.9>,1,0",
    )
    made = kepware.read(text, Wishes())
    (device,) = made.tables()["device"].values()
    assert (device["driver"], device["address"], device["route_path"]) == (
        "enip",
        "10.1.2.9:44818",
        "1/0",
    )
    tables = {table["address"]: (table["type"], table.get("length", 1)) for table in found(made)}
    assert tables == {
        "Pump.Speed": ("REAL", 1),
        "Word.3": ("BOOL", 1),
        "Counts[2]": ("DINT", 10),
        "Name": ("STRING", 1),
        "Total": ("DINT", 1),
    }
    assert [each.source[-1] for each in made.report.left_out] == ["f", "g"]
    assert "signed" in next(each.said for each in made.report.taken if each.source[-1] == "e")


def test_units_on_a_line_share_it() -> None:
    text = project(tag("a", "400001"), driver="Modbus RTU Serial", servermain__DEVICE_ID_STRING="5")
    made = kepware.read(text, Wishes())
    tables = made.tables()
    assert tables["line"]["Well"]["port"] == "/dev/ttyS0"
    assert tables["device"]["Well_Pump_1"]["unit"] == 5
    bad = text.replace('"5"', '"x"')
    assert kepware.read(bad, Wishes()).tables() == {}


def test_a_driver_that_is_not_here_leaves_its_tags_out_and_counts_them() -> None:
    made = kepware.read(project(tag("a", "R1"), tag("b", "K1"), driver="Simulator"), Wishes())
    assert made.tables() == {}
    assert {each.said for each in made.report.left_out} == {
        "its driver is Simulator: there is none here for it"
    }
    assert len(made.report.outcomes) == 2


def test_the_csv_of_a_device_is_read() -> None:
    text = (
        "\ufeff"
        + HEADER
        + '"Motor.Speed",400001,Word,1,R/W,100,Linear,0,1000,0,100,Float,0,1,"rpm","the, speed",0\n'
        + '"Run",000001,Boolean,1,RO,500,,,,,,,,,,"",\n'
        + '"Bad",K0001,Word,1,RO,500,,,,,,,,,,"",\n'
    )
    made = kepware.read(text, Wishes(), name="pumps")
    (device,) = made.tables()["device"].values()
    assert device["enabled"] is False  # the file has no address
    assert found(made)[0] == {
        "name": "Motor_Speed",
        "address": "HR:0",
        "type": "UINT",
        "scale": 0.1,
        "value_type": "REAL",
        "unit": "rpm",
        "description": "the, speed",
    }
    assert len(made.report.taken) == 2
    assert [each.source for each in made.report.left_out] == ["Bad"]
    placed = kepware.read(text, Wishes(address="10.0.0.7:502"), name="pumps")
    assert "enabled" not in placed.tables()["device"]["pumps"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"project": 3}', "a,b\n1,2\n", "{}"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ImportRefused):
        kepware.read(text, Wishes())
