"""Programs on other people's stacks (`programs/`), run in their own environments.

A client is given operations and gives back their results (see `programs/answering.py`); a server
runs as long as its `with`.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import peers
from tests.patience import PATIENCE_S

PROGRAMS = Path(__file__).with_name("programs")


def command(program: str, *arguments: str) -> list[str]:
    """How `program` (such as `jsmodbus_client.js`) is started."""
    if program.endswith(".js"):
        return [peers.program("node", package="nodejs"), str(PROGRAMS / program), *arguments]
    return [peers.stacks_python(), str(PROGRAMS / program), *arguments]


def environment(program: str) -> dict[str, str]:
    path = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    return path | ({"NODE_PATH": str(peers.stacks_node())} if program.endswith(".js") else {})


def ask(program: str, arguments: list[str], operations: list[list[Any]]) -> list[Any]:
    """The results of `operations`, in order; what was refused is `{"error": ..., "code": ...}`."""
    done = subprocess.run(
        command(program, *arguments),
        input=json.dumps(operations),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(program),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results: list[Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(results) == len(operations)
    return results


@contextlib.contextmanager
def served(program: str, *arguments: str) -> Iterator[None]:
    """Runs a server until the end of the `with`."""
    process = subprocess.Popen(
        command(program, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(program),
    )
    assert process.stdout is not None
    try:
        told = process.stdout.readline()
        assert told == "ready\n", told + process.communicate(timeout=PATIENCE_S)[1]
        yield
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
