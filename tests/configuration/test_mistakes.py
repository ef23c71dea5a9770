"""Whatever a file says, the answer is a plant or a list of problems, never a traceback."""

import copy
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpppod import configuration
from cpppod.configuration import ConfigurationError, Problem
from cpppod.configuration.problems import spell

SHIPPED = Path(configuration.__file__).parents[1] / "etc" / "cpppod.toml"
TABLES = tomllib.loads(SHIPPED.read_text())
VALUES: list[Any] = [
    *(0, -1, 2**63 - 1, 0.5, True, False, "", "x", "${unit}", "${", "1s", "@1/2/3", "127.0.0.1:1"),
    *([], [1], ["x"], [{}], [[]], {}, {"x": 1}, {"name": "boiler"}, {"name": 3}, [{"name": "a"}]),
]


def toml(value: Any) -> str:
    """A value as TOML; tables as inline tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in `value`."""
    items: Any = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = [path] if path else []
    for key, item in items:
        found += places(item, (*path, key))
    return found


def replaced(path: tuple[Any, ...], value: Any, *, key: str = "") -> dict[str, Any]:
    """The shipped tables with `value` at `path`, or beside it under another key."""
    tables = copy.deepcopy(TABLES)
    holder: Any = tables
    for step in path[:-1]:
        holder = holder[step]
    if key and isinstance(holder, dict):
        holder[key] = value
    else:
        holder[path[-1]] = value
    return tables


PLACES = places(TABLES)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(PLACES),
    value=st.sampled_from(VALUES),
    key=st.sampled_from(["", "", "template", "name", "parameters", "group", "frames", "x y"]),
)
def test_any_value_anywhere_is_understood_or_refused(
    path: tuple[Any, ...], value: Any, key: str
) -> None:
    tables = replaced(path, value, key=key)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cpppod.toml"
        file.write_text("".join(f"{json.dumps(k)} = {toml(v)}\n" for k, v in tables.items()))
        found: tuple[Problem, ...] = ()
        try:
            configuration.load([file], old_files=[])
        except ConfigurationError as error:
            found = error.problems
        assert all(problem.file == str(file) for problem in found)
        assert all(len(str(problem)) < 2000 for problem in found)


def test_a_store_whose_package_is_not_installed_is_refused_with_what_to_install(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plant.toml"
    path.write_text('[history]\nstore = "postgresql"\ndsn = "postgresql://db/plant"\n')
    code = (
        "import sys; sys.modules['psycopg'] = None  # as where it is not installed\n"
        "from cpppod.commands.cpppod import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "--check", str(path)]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 1
    wanted = "expected psycopg installed: pip install 'cpppod[postgresql]'"
    assert ran.stderr.splitlines()[0] == f"{path}:2: history.store: 'postgresql': {wanted}"
    path.write_text(f"{path.read_text()}enabled = false\n")
    assert subprocess.run(words, capture_output=True).returncode == 0


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plant.toml"
    path.write_bytes(b'\xef\xbb\xbf[gateway]\r\nname = "t"\r\ncpppo_cfg = false\r\n')
    assert configuration.load([path]).plant.name == "t"


MANY = """\
[gateway]
state_directroy = "/x"
[[listener]]
address = "plc:44818"
limits = { max_clients = "many" }
[[tag]]
name = "9lives"
type = "DINT"
[[structure]]
name = "Recipe"
members = [
  { name = "speed", type = "REEL" },
]
[line.hall]
port = "/dev/ttyUSB0"
parity = "X"
[device.boiler]
driver = "modbus-tcp"
address = "10.0.0.5:99999"
[[device.boiler.group]]
name = "fast"
period = "-1s"
tags = [
  { name = "level", address = 40001 },
  { name = "Level", address = 40002, scale = "big" },
]
[device.meter]
driver = "modbus-rtu"
line = "halle"
[device.m]
driver = "modbus-tcp"
address = "10.0.0.8:502"
model = "own"
[[computed]]
name = "double"
expression = "boiler.nothing * 2"
[[mqtt]]
name = "plant"
[web]
enabled = "yes"
[fleet]
servers = 5
[history]
retention = "30x"
[feed]
publish = "10.0.0.1:44880"
snapshot = "127.0.0.1:44881"
[prometeus]
[[route]]
path = "1/1"
device = "nobody"
"""
SAID_AT = """\
a.toml:2 gateway.state_directroy
a.toml:4 listener[0].address
a.toml:5 listener[0].limits.max_clients
a.toml:7 tag[0].name
a.toml:12 structure[0].members[0].type
a.toml:16 line.hall.parity
a.toml:19 device.boiler.address
a.toml:22 device.boiler.group[0].period
a.toml:25 device.boiler.group[0].tags[1].name
a.toml:25 device.boiler.group[0].tags[1].scale
a.toml:29 device.meter.line
a.toml:36 computed[0].expression
a.toml:37 mqtt[0].address
a.toml:40 web.enabled
a.toml:41 fleet.site
a.toml:42 fleet.servers
a.toml:44 history.retention
a.toml:46 feed.publish
a.toml:48 prometeus
a.toml:51 route[0].device
conf.d/b.toml:4 device.more.group[0].name
conf.d/b.toml:6 device.more.group[0].tags
conf.d/c.toml:2
models/own.toml:1 max_registers
models/own.toml:2 frobnicate
"""


def test_every_mistake_is_said_once_with_its_file_line_and_key(tmp_path: Path) -> None:
    """Of all kinds: sections, nested tables, files beside it, models, outlets, no TOML at all."""
    files = {
        "a.toml": MANY,
        "conf.d/b.toml": '[device.more]\ndriver = "modbus-tcp"\naddress = "10.0.0.9:502"\n'
        '[[device.more.group]]\nperiod = "1s"\ntags = []\n',
        "conf.d/c.toml": "\n[device.a\n",
        "models/own.toml": 'max_registers = "lots"\nfrobnicate = 1\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        configuration.load([tmp_path / "a.toml"], old_files=[])
    said = []
    for problem in refused.value.problems:
        file = Path(problem.file).relative_to(tmp_path)
        key = "" if problem.path[:1] == (problem.file,) else spell(problem.path)
        said.append(f"{file}:{problem.line} {key}".strip())
    assert sorted(said) == sorted(SAID_AT.splitlines())
