"""A second import into a file that was edited since."""

import tomllib
from typing import Any

import pytest

from cpppod.tags import merge, toml


def tag(name: str, address: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "address": address, "type": "INT", **keys}


def tables(
    *tags: dict[str, Any], more: list[dict[str, Any]] | None = None, **device: Any
) -> dict[str, Any]:
    groups = [{"name": "fast", "period": "1s", "tags": list(tags)}]
    if more:
        groups.append({"name": "slow", "period": "10s", "tags": more})
    own = {"driver": "modbus-tcp", "address": "10.0.0.7:502", **device, "group": groups}
    return {"device": {"boiler": own}}


BASE = toml.text_of(tables(tag("a", "40001"), tag("b", "40002"), tag("c", "40003")))


def merged(mine: str, theirs: dict[str, Any]) -> tuple[merge.Merged, dict[str, dict[str, Any]]]:
    found = merge.merge(BASE, mine, theirs)
    items = merge.items_of(tomllib.loads(found.text))
    return found, {path[3]: keys for path, keys in items.items() if path[2:3] == ("tag",)}


def edited(*changes: tuple[str, str]) -> str:
    text = BASE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_what_the_engineer_changed_stays_and_the_rest_follows_the_source() -> None:
    mine = edited(
        ('{ name = "a", address = "40001", type = "INT" },', '# leaks\n    { name = "a", '
         'address = "40001", type = "INT", unit = "bar" },  # sic'),
        ('address = "10.0.0.7:502"', 'address = "10.0.0.9:502"\ntimeout = "2s"'),
    )  # fmt: skip
    theirs = tables(tag("a", "40011"), tag("b", "40012"), tag("n", "40005"), unit=3)
    found, tags = merged(mine, theirs)
    assert tags["a"] == {"address": "40011", "type": "INT", "unit": "bar", "group": "fast"}
    assert tags["b"]["address"] == "40012"
    assert tags["n"]["address"] == "40005"
    assert "c" not in tags
    assert "# leaks" in found.text and "# sic" in found.text
    device = tomllib.loads(found.text)["device"]["boiler"]
    assert (device["address"], device["timeout"], device["unit"]) == ("10.0.0.9:502", "2s", 3)
    assert (found.added, found.changed, found.removed, found.said) == (1, 2, 1, [])


def test_both_changed_the_same_key_and_the_engineers_stays() -> None:
    mine = edited(('address = "40002"', 'address = "40022"'))
    found, tags = merged(mine, tables(tag("a", "40001"), tag("b", "40099"), tag("c", "40003")))
    assert tags["b"]["address"] == "40022"
    assert found.said == ["boiler.b: address: '40022' here, '40099' in the source: kept"]


def test_a_deleted_tag_stays_deleted_and_an_own_one_stays() -> None:
    mine = edited(
        ('    { name = "b", address = "40002", type = "INT" },\n',
         '    { name = "own", address = "40009" },\n'),
    )  # fmt: skip
    found, tags = merged(mine, tables(tag("a", "40001"), tag("b", "40077"), tag("c", "40003")))
    assert set(tags) == {"a", "c", "own"}
    assert found.said == ["boiler.b: deleted here, changed in the source: stays so"]


def test_a_tag_gone_from_the_source_stays_where_it_was_edited() -> None:
    mine = edited(('address = "40003", type = "INT"', 'address = "40003", type = "UINT"'))
    found, tags = merged(mine, tables(tag("a", "40001")))
    assert set(tags) == {"a", "c"}
    assert found.said == ["boiler.c: gone from the source, changed here: it stays"]
    assert found.removed == 1


def test_a_tag_moves_to_another_group_with_what_was_changed_of_it() -> None:
    mine = edited(('{ name = "b", ', '{ name = "b", unit = "mm", '))
    theirs = tables(tag("a", "40001"), tag("c", "40003"), more=[tag("b", "40002")])
    _, tags = merged(mine, theirs)
    assert tags["b"] == {"unit": "mm", "address": "40002", "type": "INT", "group": "slow"}


def test_a_source_without_anything_left_takes_its_device_away() -> None:
    found, tags = merged(BASE, {})
    assert (tags, tomllib.loads(found.text).get("device", {})) == ({}, {})


def test_an_import_of_the_same_changes_nothing() -> None:
    same = tables(tag("a", "40001"), tag("b", "40002"), tag("c", "40003"))
    mine = edited(('{ name = "b", ', '{  name="b",unit = "mm", '))
    assert merge.merge(BASE, mine, same).text == mine


@pytest.mark.parametrize("mine", ["[device", "device = 3\n", "[device]\nboiler = 3\n"])
def test_a_file_that_cannot_be_merged_with_says_so(mine: str) -> None:
    with pytest.raises(merge.NotMergeable):
        merge.merge(BASE, mine, {})
