"""Programs that are not ours, for tests that talk to real peers.

A peer that is missing skips the test that needs it, saying what to install; in continuous
integration (`CI=true`) it fails the test instead, so that nothing is skipped silently there.
"""

import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEERS = ROOT / ".peers"


def missing(what: str, how: str) -> None:
    """Ends the running test: `what` is not here, and `how` it would be."""
    text = f"{what} is not installed; {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def program(name: str, *, package: str = "") -> str:
    """Path of the program `name`, which Debian has in `package` (same name if not given)."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        missing(name, f"apt-get install {package or name}")
    return str(found)


def postgresql(name: str) -> str:
    """Path of a PostgreSQL server program (`initdb`, `postgres`), newest version."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        missing("PostgreSQL's server", "apt-get install postgresql")
    return str(found[-1])


def cpppo_python() -> str:
    """The Python of the environment that has cpppo and what it needs."""
    python = PEERS / "cpppo" / "bin" / "python"
    if not python.exists():
        missing("cpppo", "make peers")
    return str(python)


def sparkplug_python() -> str:
    """The Python of the environment that has pysparkplug."""
    python = PEERS / "sparkplug" / "bin" / "python"
    if not python.exists():
        missing("pysparkplug", "make peers")
    return str(python)


def stacks_python() -> str:
    """The Python of the environment that has other people's clients and servers."""
    python = PEERS / "stacks" / "bin" / "python"
    if not python.exists():
        missing("the environment of tests/stacks", "make peers")
    return str(python)


def stacks_node() -> pathlib.Path:
    """The folder of other people's clients and servers for Node.js."""
    folder = PEERS / "stacks-node" / "node_modules"
    if not folder.exists():
        missing("the Node.js packages of tests/stacks/package.json", "make peers")
    return folder


def tahu_python() -> str:
    """The Python of the environment that has tahutils."""
    python = PEERS / "tahu" / "bin" / "python"
    if not python.exists():
        missing("tahutils", "make peers")
    return str(python)


def node_modules() -> pathlib.Path:
    """The folder of Node.js packages that the examples in JavaScript need."""
    program("node", package="nodejs")
    folder = PEERS / "node" / "node_modules"
    if not folder.exists():
        missing("the Node.js packages of examples/package.json", "make peers")
    return folder


def script(name: str) -> str:
    """Path of one of our own console scripts, in the environment that runs the tests."""
    return str(pathlib.Path(sys.executable).with_name(name))
