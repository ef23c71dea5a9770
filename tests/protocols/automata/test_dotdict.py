"""Dotted data: paths, indexes, backing up, and what is refused."""

import pickle
import re
from copy import copy, deepcopy
from typing import Any

import pytest

from cpppod.automata import dotdict
from cpppod.protocols.automata.dotdict import leading


def example() -> dotdict:
    data = dotdict()
    data["a.b.c"] = 1
    data["list"] = [dotdict(v=1), dotdict(v=2)]
    return data


def test_a_path_makes_levels_that_read_as_keys_and_as_attributes() -> None:
    data = example()
    assert data.a.b.c == data["a"]["b"]["c"] == data["a.b.c"] == data[".a.b.c"] == 1
    data.a.d = {"e": {"f": 2}}
    assert data["a.d.e.f"] == 2
    assert isinstance(data.a.d.e, dotdict)
    assert data == {"a": {"b": {"c": 1}, "d": {"e": {"f": 2}}}, "list": [{"v": 1}, {"v": 2}]}


@pytest.mark.parametrize("path", ["a.x..b.c", "a.x.y...b.c", "a.....a.b.c", "..a.b.c", "a.b..b.c"])
def test_dots_back_up_one_level_each_and_stop_at_the_top(path: str) -> None:
    assert example()[path] == 1


def test_setting_through_a_back_up_lands_beside() -> None:
    data = example()
    data["a.x..z"] = 3
    data["a...top"] = 4
    assert (data.a.z, data.top) == (3, 4)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("list[1].v", 2),
        ("list[-1].v", 2),
        ("list[a.b.c].v", 2),
        ("list[list[0].v].v", 2),
        ("list[(a.b.c + 3) % 2].v", 1),
        ("list[4 // 4].v", 2),
    ],
)
def test_an_index_is_a_number_or_computed_from_its_peers(path: str, value: int) -> None:
    assert example()[path] == value
    assert path in example()


@pytest.mark.parametrize(
    "path",
    [
        "list[open('x')].v",
        "list['v']",
        "list[__import__]",
        "list[1/0]",
        "list[" + "1+" * 200 + "1]",
    ],
)
def test_an_index_is_no_program(path: str) -> None:
    with pytest.raises(KeyError):
        example()[path]


def test_lists_are_set_by_index_and_flattened_into_their_paths() -> None:
    data = example()
    data["list[0].w"] = 7
    data["list[1]"] = dotdict(v=9)
    data["grid"] = [[1, 2], [3, 4]]
    data["grid[1][0]"] = 5
    assert data["grid[1][0]"] == 5
    assert list(data) == ["a.b.c", "list[0].v", "list[0].w", "list[1].v", "grid"]
    assert dict(data.items())["list[1].v"] == 9
    assert next(iter(data.values())) == 1
    assert list(data.keys(depth=1)) == ["a", "list", "grid"]
    assert len(data) == 3
    with pytest.raises(IndexError):
        data["list[7]"] = 1
    assert data.pop("list[0]") == {"v": 1, "w": 7}
    assert len(data.list) == 1


def test_what_is_missing_is_said_as_key_or_as_attribute() -> None:
    data = example()
    for path in ("zz", "a.x", "a.b.c.d", "a.", "", "list.v"):
        assert path not in data
        with pytest.raises((KeyError, TypeError)):
            data[path]
    assert "list[9].v" not in data
    assert data.get("a.x", 5) == 5
    assert data.get("list[9].v", 5) == 5
    with pytest.raises(AttributeError):
        _ = data.zz
    with pytest.raises(AttributeError):
        del data.zz


def test_a_value_is_in_the_way_of_a_path_below_it() -> None:
    data = example()
    for path in ("a.b.c.d", "a.b.c.d.e", "list[0].v.w"):
        with pytest.raises(KeyError, match="in its way"):
            data[path] = 2


def test_names_of_methods_are_refused() -> None:
    for path in ("keys", "a.items", "get.x"):
        with pytest.raises(KeyError, match="names a method"):
            example()[path] = 1


def test_a_level_is_popped_but_not_deleted() -> None:
    data = example()
    with pytest.raises(KeyError, match="it is a level"):
        del data["a"]
    del data["a.b.c"]
    assert data.a == {"b": {}}
    assert data.pop("a") == {"b": {}}
    assert data.pop("a", None) is None
    assert data.setdefault("q.r", 5) == data.setdefault("q.r", 6) == 5


def test_copies_are_of_one_level_or_of_all() -> None:
    data = example()
    shallow, deep = copy(data), deepcopy(data)
    assert shallow == deep == pickle.loads(pickle.dumps(data)) == data
    data["a.b.c"] = 2
    assert shallow["a.b.c"] == 2
    assert deep["a.b.c"] == 1
    assert "a" in dir(data)


def test_updates_take_mappings_pairs_and_names() -> None:
    data = dotdict({"x.y": 1, "z": {"w": 2}}, v=3)
    data.update([("x.q", 4)], u=5)
    assert data == {"x": {"y": 1, "q": 4}, "z": {"w": 2}, "v": 3, "u": 5}


def test_an_empty_level_is_deleted() -> None:
    data = dotdict({"a.b": 1})
    del data["a.b"], data["a"]
    assert dict.__len__(data) == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("x", "'x'"),
        ("a.x.c", "'x' on the way to 'a.x.c'"),
        ("a.b.c.d", "'d' of 'a.b.c.d': a value is in its way"),
        ("a.list[0].x", "'x' on the way"),
        ("a.b.c.list[0]", "a value is in its way"),
    ],
)
def test_what_is_missing_is_named(path: str, text: str) -> None:
    data = dotdict({"a.b.c": 1, "a.list": [dotdict(v=1)]})
    with pytest.raises(KeyError, match=re.escape(text)):
        data[path]


def test_levels_of_a_subclass_are_of_its_own_kind() -> None:
    class Own(dotdict):
        __slots__ = ()

        def _layer(self, *sources: Any) -> dotdict:
            return Own(*sources)

    data = Own({"a.b": {"c": 1}})
    assert type(data.a) is type(data.a.b) is Own
    assert not hasattr(data, "__dict__")


def test_the_first_name_of_a_path_and_the_rest() -> None:
    assert leading("a.x..b[c.d].e") == ("a", "b[c.d].e")
    assert leading("a") == ("a", None)
