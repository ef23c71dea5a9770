"""Generations of settings files, as steps of a reload: a program that control runs.

    python -m cpppod.generation write   RUNTIME STATE FILE ...   validate; settings/<N>/ is written
    python -m cpppod.generation switch  RUNTIME STATE N          settings/current -> N, workers.conf
    python -m cpppod.generation discard RUNTIME STATE N          settings/<N>/ is removed
    python -m cpppod.generation check                            {"files", "path", "text"} on stdin

A program of its own, because reading a configuration takes pydantic, which no worker shall carry.
Each prints one JSON object: {"generation": N}, or {"problems": [text ...]} and exit status 1.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpppod.gateway import supervision
from cpppod.gateway.topology import (
    SETTINGS,
    Directories,
    current_generation,
    make_current,
    workers,
    write_generation,
)
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.plant import Worker, from_plain
from cpppod.workers.outlets.spec import UNKNOWN, roles

KEPT = 2  # generations: the one in force, and the one before, which a process may still be reading


class Refused(Exception):
    """The step was not done; `problems` says why, and nothing has changed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def write(directories: Directories, files: Sequence[str]) -> int:
    """Read the configuration anew and write it as the next generation, which is not current yet.

    Args:
        files: as the running generation names them; those of `conf.d` are looked for anew.

    Raises:
        Refused: the configuration has mistakes, or needs a restart of the whole gateway.
    """
    from cpppod import configuration  # pydantic: only this step needs it

    try:
        read = configuration.load(_roots(files))
    except configuration.ConfigurationError as error:
        raise Refused([str(problem) for problem in error.problems]) from None
    state_dir = read.plant.state_dir
    if state_dir and Path(state_dir).resolve() != directories.state.resolve():
        raise Refused([f"gateway.state_dir: {state_dir}: moving it needs a restart of the gateway"])
    generation = _next_generation(directories)
    running = _settings(directories, current_generation(directories))
    control = next((worker for worker in running if worker.role == "control"), None)
    gateway = control.gateway if control else read.plant.id
    if read.plant.id not in ("", gateway):
        raise Refused([f"gateway.id: {read.plant.id}: another one needs a restart of the gateway"])
    found = workers(
        replace(read.plant, id=gateway),
        generation,
        directories,
        files=read.files,
        owners=control.owners if control else None,
    )
    write_generation(found, directories, generation)
    return generation


def switch(directories: Directories, generation: int) -> int:
    """Make `generation` current: workers and supervisord start from it from now on.

    Raises:
        Refused: there is no such generation.
    """
    found = _settings(directories, generation)
    if not found:
        raise Refused([f"there is no generation {generation}"])
    supervision.write_workers(directories, found)
    make_current(directories, generation)
    for number in sorted(_generations(directories))[:-KEPT]:
        discard(directories, number)
    return generation


def discard(directories: Directories, generation: int) -> int:
    """Remove `generation`'s files, unless it is current."""
    if generation != current_generation(directories):
        shutil.rmtree(directories.generation(generation), ignore_errors=True)
    return generation


def check(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration in `files` would be with `text` as the file `path`."""
    from cpppod import configuration  # pydantic, again
    from cpppod.configuration import report

    path = Path(asked["path"])
    try:
        loaded = configuration.load(_roots(asked["files"]), instead={path: asked["text"]})
    except configuration.ConfigurationError as error:
        return {"problems": [str(problem) for problem in error.problems]}
    return {"problems": [], "summary": list(report.lines(report.plain(loaded)))}


def _roots(files: Sequence[str]) -> list[str]:
    """The files that were given on the command line: without those of conf.d beside the first."""
    folder = Path(files[0]).parent / "conf.d"
    return [file for file in files if Path(file).parent != folder]


def _generations(directories: Directories) -> list[int]:
    folder = directories.runtime / SETTINGS
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def _next_generation(directories: Directories) -> int:
    return max([current_generation(directories), *_generations(directories)]) + 1


def _settings(directories: Directories, generation: int) -> list[Worker]:
    """Every worker's settings of `generation`, in the order to start them."""
    found = []
    for path in sorted(directories.generation(generation).glob("*.json")):
        try:
            found.append(from_plain(Worker, json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, DecodeError):
            continue  # removed or torn meanwhile: the steps that need it say so
    known = roles()
    return sorted(found, key=lambda worker: known.get(worker.role, UNKNOWN).priority)


def main(arguments: Sequence[str]) -> int:
    """Run one step; the exit status."""
    if arguments == ["check"]:
        print(json.dumps(check(json.load(sys.stdin))))
        return 0
    if len(arguments) < 4 or arguments[0] not in ("write", "switch", "discard"):
        print(
            "usage: cpppod.generation write|switch|discard RUNTIME STATE FILE...|N, or check",
            file=sys.stderr,
        )
        return 2
    step, runtime, state, *rest = arguments
    directories = Directories(Path(runtime), Path(state))
    answer: dict[str, Any]
    try:
        if step == "write":
            answer = {"generation": write(directories, rest)}
        else:
            answer = {
                "generation": {"switch": switch, "discard": discard}[step](
                    directories, int(rest[0])
                )
            }
    except Refused as refused:
        answer = {"problems": refused.problems}
    except (OSError, ValueError) as error:
        answer = {"problems": [str(error)]}
    print(json.dumps(answer))
    return 1 if "problems" in answer else 0
