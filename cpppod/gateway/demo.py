"""The demo plant: a configuration and the simulated devices that go with it.

`etc/demo.toml` is what a plant engineer would write; `etc/demo-plant.toml` lists the simulators,
each a command of this package, that take the place of the machines. supervisord runs them from an
include of its own. A serial line ends in `demo/` in the runtime directory.

    python -m cpppod.demo modbus_sim -a 127.0.0.1:15020 ...     one simulator, bound to supervisord
"""

import importlib
import io
import os
import signal
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from cpppod.gateway.parent import PARENT_VARIABLE, die_with_parent

if TYPE_CHECKING:
    from cpppod.gateway.daemon import Start
    from cpppod.gateway.supervision import Program

SHIPPED = Path(str(resources.files("cpppod"))) / "etc"
CONFIGURATION = SHIPPED / "demo.toml"
PLANT = SHIPPED / "demo-plant.toml"
FIRST = 5  # simulators start before the workers that will ask them
FOLDER = "demo"  # in the runtime directory


def simulators(folder: Path, plant: Path = PLANT) -> "tuple[Program, ...]":
    """The simulators' programs; `folder` is where the ends of serial lines lie."""
    from cpppod.gateway.supervision import Program

    found = []
    for simulator in tomllib.loads(plant.read_text(encoding="utf-8"))["simulator"]:
        words = [word.replace("{demo}", str(folder)) for word in simulator["command"]]
        command = (sys.executable, "-m", "cpppod.demo", *words)
        found.append(Program(f"simulator-{simulator['name']}", command, FIRST))
    return tuple(found)


def with_simulators(how: "Start") -> "Start":
    """`how` to start, with the demo's simulators and a state that goes when the demo goes."""
    from cpppod.gateway.directories import choose

    folder = choose(how.runtime, how.state).runtime / FOLDER
    return replace(how, simulators=simulators(folder), state_below_runtime=True)


def main(arguments: Sequence[str]) -> int:
    """Run one command of this package as a simulator."""
    if not arguments or not arguments[0].isidentifier():
        print("usage: python -m cpppod.demo COMMAND ARGUMENT ...", file=sys.stderr)
        return 2
    if parent := os.environ.get(PARENT_VARIABLE):
        die_with_parent(signal.SIGKILL, int(parent))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a line at once, even with PYTHONUNBUFFERED
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    sys.argv = list(arguments)
    command = importlib.import_module(f"cpppod.commands.{arguments[0]}")
    return int(command.main() or 0)
