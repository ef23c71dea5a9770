"""Lines of keys in a TOML text."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpppod.configuration.lines import KeyPath, lines_of

ROOT = Path(__file__).parents[2]
TEXT = '''\
# a plant
[gateway]
name = "x"  # [device]

[device.boiler]
address = """
a
b"""
[[device.boiler.group]]
name = 'fast]'
tags = [ { name = "a", limits = { low = 1 } },
  # one more
  { name = "b" },
]
[[device.boiler.group]]
name = "slow"
[[device.boiler.group.tag]]
"quoted key" . sub = 1
[device.other]
a.b = 2
time = 07:32:00
'''
EXPECTED: dict[KeyPath, int] = {
    ("gateway",): 2,
    ("gateway", "name"): 3,
    ("device",): 5,
    ("device", "boiler"): 5,
    ("device", "boiler", "address"): 6,
    ("device", "boiler", "group"): 9,
    ("device", "boiler", "group", 0): 9,
    ("device", "boiler", "group", 0, "name"): 10,
    ("device", "boiler", "group", 0, "tags", 0, "limits", "low"): 11,
    ("device", "boiler", "group", 0, "tags", 1): 13,
    ("device", "boiler", "group", 1): 15,
    ("device", "boiler", "group", 1, "tag", 0, "quoted key", "sub"): 18,
    ("device", "other", "a", "b"): 20,
    ("device", "other", "time"): 21,
}


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key path in a table."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(item, (*path, key))


@pytest.mark.parametrize(("path", "line"), EXPECTED.items(), ids=map(str, EXPECTED))
def test_a_key_has_the_line_that_it_stands_in(path: KeyPath, line: int) -> None:
    assert lines_of(TEXT)[path] == line


@pytest.mark.parametrize("file", sorted((ROOT / "etc").glob("**/*.toml")), ids=lambda p: p.name)
def test_every_key_of_the_shipped_files_is_found(file: Path) -> None:
    text = file.read_text()
    assert set(paths(tomllib.loads(text))) <= lines_of(text).keys()
    assert set(paths(tomllib.loads(TEXT))) <= lines_of(TEXT).keys()


@pytest.mark.parametrize(
    "text", ["", "[", "a =", "= 1", "]]", '"', "a = [", "{", "[a\nb", "a = {b"]
)
def test_what_is_no_toml_gives_some_lines_and_no_error(text: str) -> None:
    assert all(line >= 1 for line in lines_of(text).values())
