"""SunSpec's models: where their points lie, and what each is as a tag."""

from typing import Any

import pytest

from cpppod.protocols.modbus import sunspec
from cpppod.protocols.modbus.address import identity_object
from cpppod.protocols.modbus.sunspec import Place, in_registers, place_of, points, tables_of
from cpppod.protocols.model.plant import Tag


def point(name: str, kind: str, size: int = 1, **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "size": size, **keys}


MODEL: dict[str, Any] = {
    "id": 999,
    "group": {
        "name": "pump",
        "points": [
            point("ID", "uint16"),
            point("L", "uint16"),
            point("W", "int16", sf="W_SF", units="W", label="Power  now"),
            point("Wh", "acc32", 2, sf=2),
            point("St", "enum16", symbols=[{"name": "OFF", "value": 1}]),
            point("Evt", "bitfield32", 2, symbols=[{"name": "HOT", "value": 3}]),
            point("Mn", "string", 4, desc="maker"),
            point("Mac", "eui48", 4),
            point("N", "count"),
            point("W_SF", "sunssf"),
            point("Pad", "pad"),
        ],
        "groups": [
            {"name": "fixed", "count": 2, "points": [point("A", "uint16", sf="W_SF")]},
            {"name": "said", "count": "N", "points": [point("B", "uint16")]},
            {"name": "fill", "count": 0, "points": [point("C", "float32", 2)]},
        ],
    },
}
OWN = 19  # registers of the model's own points


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("M103:14", Place(103, 1, 14)),
        ("m160/2:3.5", Place(160, 2, 3, 5)),
        ("40001", None),
        ("M103", None),
    ],
)
def test_a_point_is_named_by_its_place(text: str, place: Place | None) -> None:
    assert place_of(text) == place


def test_points_lie_behind_each_other_and_groups_behind_them() -> None:
    found = {each.path: each.offset for each in points(MODEL)}
    assert (found["W"], found["Wh"], found["St"], found["Pad"]) == (2, 3, 5, OWN - 1)
    assert [name for name in found if name.startswith(("fixed", "said", "fill"))] == [
        "fixed_1_A",
        "fixed_2_A",
        "said_B",
        "fill_C",
    ]


def test_groups_are_there_as_often_as_a_point_or_the_length_says() -> None:
    words = [0] * 40
    n = next(each.offset for each in points(MODEL) if each.path == "N")
    words[n] = 3
    whole = OWN + 2 + 3 + 2 * 2
    found = [each.path for each in points(MODEL, words.__getitem__, whole - 2)]
    said = [name for name in found if name.startswith("said")]
    assert said == ["said_1_B", "said_2_B", "said_3_B"]
    assert [name for name in found if name.startswith("fill")] == ["fill_1_C", "fill_2_C"]
    words[n] = 0
    assert not [each for each in points(MODEL, words.__getitem__, 0) if "said" in each.path]


def test_a_point_is_a_tag_with_its_factor_sentinel_and_texts() -> None:
    made = {path: (table, why) for table, path, why in tables_of(999, 2, points(MODEL))}
    assert "W_SF" not in made and "Pad" not in made and "ID" not in made
    assert made["W"][0] == {
        "address": "M999/2:2",
        "type": "INT",
        "unavailable": [-32768],
        "scale_from": f"M999/2:{OWN - 2}",
        "unit": "W",
        "description": "Power now",
    }
    energy, state, events, maker = (made[name][0] for name in ("Wh", "St", "Evt", "Mn"))
    assert energy is not None and energy["scale"] == 100.0
    assert state is not None and state["texts"] == {"1": "OFF"}
    assert events is not None and events["flags"] == {"3": "HOT"}
    assert maker is not None and (maker["size"], maker["description"]) == (8, "maker")
    assert made["Mac"] == (None, "a point of type eui48")
    inner = made["fixed_2_A"][0]
    assert inner is not None and inner["scale_from"] == f"M999/2:{OWN - 2}"


def test_a_tag_is_placed_where_its_model_is() -> None:
    tag = Tag("t", "M103:14.2", scale_from="M103:16")
    placed = in_registers(tag, lambda model, instance: 40_070)
    assert placed is not None
    assert (placed.address, placed.scale_from) == ("HR:40084.2", "HR:40086")
    assert in_registers(tag, lambda model, instance: None) is None
    plain = Tag("t", "40001")
    assert in_registers(plain, lambda model, instance: None) is plain
    assert sunspec.size_of({"points": [], "groups": []}) == 0


def test_objects_of_identity_are_no_cells() -> None:
    assert [identity_object(text) for text in ("ID:0", "id:255", "ID:256", "ID:x", "HR:0")] == [
        0,
        255,
        None,
        None,
        None,
    ]
