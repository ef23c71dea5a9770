"""A virtual environment with what a lock names: what `make run`, `make test` and others begin with.

    python -m tests.installation.set_up FOLDER LOCK [--project] [--build NAME]...

    FOLDER   the environment; made by the Python that runs this where it is not there yet
    LOCK     requirements with versions and hashes; only wheels are taken
    --project   cpppod itself too, as it lies in this checkout
    --build     a package that has no wheel anywhere: built here, by the lock's own setuptools

One line on stdout a step; when it cannot, one line on stderr says what is missing, and the exit
status is 1. It needs the standard library alone.
"""

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT = ROOT / "requirements-dev.lock"
BUILD = ROOT / "requirements-build.lock"  # the setuptools that builds cpppod
ONE_INDEX = {"PIP_EXTRA_INDEX_URL": " ", "PIP_FIND_LINKS": " "}  # a blank empties the list
PATIENCE = ("--retries", "1", "--timeout", "15")  # for looking why, after an installation failed


class SetUpError(Exception):
    """The environment cannot be had; the text says why and what helps."""


def set_up(
    folder: Path, lock: Path, *, project: bool = False, build: Sequence[str] = (), pip: str = ""
) -> None:
    """Brings `folder` to what `lock` names, with cpppod itself if `project`.

    Raises:
        SetUpError: what is missing on this machine; nothing was left half-made that a second
            call would take for whole.
    """
    python = make_environment(folder)
    if pip:
        words = ["--upgrade", "pip"] if pip == "newest" else [f"pip=={pip}"]
        if run_pip(python, "install", *words).returncode != 0:
            raise SetUpError(f"pip {pip} is not to be had: {no_index(python)}")
    say(folder, f"the packages of {lock.name}")
    if build:
        install(python, lock, only="setuptools")
    install(python, lock, build=build)
    if project:
        say(folder, "cpppod itself")
        install_project(python, folder)


def say(folder: Path, what: str) -> None:
    told = os.path.relpath(folder)
    print(f"{folder.name if told.startswith('..') else told}: {what}", flush=True)


def make_environment(folder: Path) -> Path:
    """The Python of the environment `folder`, which is made if it is not there."""
    python = folder / "bin" / "python"
    if python.exists() and run_pip(python, "--version").returncode == 0:
        return python
    say(folder, f"Python {platform.python_version()} from {sys.executable}")
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        raise SetUpError(
            f"{sys.executable} has no module venv (or ensurepip): Debian has it in the package "
            "python3-venv; or name another Python: make PYTHON=/path/to/python3.11 ..."
        )
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=False)
    if made.returncode != 0:
        raise SetUpError(f"{sys.executable} -m venv {folder} failed: see its words above")
    return python


def run_pip(
    python: Path, *words: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """pip, saying errors alone."""
    return subprocess.run(
        [python, "-m", "pip", *words[:1], "-qq", "--disable-pip-version-check", *words[1:]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def show(told: subprocess.CompletedProcess[str]) -> None:
    """pip's own words on what failed, without its warnings on the way there."""
    for line in told.stderr.splitlines():
        if not line.startswith("WARNING:"):
            print(line, file=sys.stderr)


def install(python: Path, lock: Path, *, build: Sequence[str] = (), only: str = "") -> None:
    """Installs what `lock` names, or `only` that package of it.

    Raises:
        SetUpError: a package is not to be had; says which and why.
    """
    words = ["--require-hashes", *wheels_alone(build)]
    with tempfile.TemporaryDirectory() as scratch:
        wanted = lock
        if only:
            wanted = Path(scratch) / lock.name
            wanted.write_text(dict(pinned(lock))[only])
        told = run_pip(python, "install", *words, "-r", str(wanted))
    if told.returncode != 0:
        show(told)
        raise SetUpError(why_not(python, lock, words))


def wheels_alone(build: Sequence[str]) -> list[str]:
    """What has pip take wheels, and build the packages `build` with what is there."""
    words = ["--only-binary", ":all:"]
    for name in build:
        words += ["--no-binary", name]
    return [*words, "--no-build-isolation"] if build else words


def pinned(lock: Path) -> Iterator[tuple[str, str]]:
    """The requirements of `lock`, each with its name, version and hashes."""
    block: list[str] = []
    for line in lock.read_text().splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            block.append(line)
            if not line.endswith("\\"):
                yield block[0].partition("==")[0].partition("[")[0].strip(), "\n".join(block) + "\n"
                block = []


def why_not(python: Path, lock: Path, words: Sequence[str]) -> str:
    """The first package of `lock` that cannot be had, and why."""
    with tempfile.TemporaryDirectory() as scratch:
        one = Path(scratch) / "one.txt"

        def to_be_had(*what: str) -> bool:
            command = ("download", "--no-deps", *PATIENCE, "--dest", scratch, *what)
            return run_pip(python, *command).returncode == 0

        for name, requirement in pinned(lock):
            one.write_text(requirement)
            if to_be_had(*words, "-r", str(one)):
                continue
            wanted = requirement.partition(" ")[0]
            asked = run_pip(python, "index", "versions", *PATIENCE, "pip", environment=ONE_INDEX)
            if asked.returncode != 0:  # every index has pip
                return no_index(python)
            if to_be_had(*(word for word in words if word != "--require-hashes"), wanted):
                return f"the index's files of {wanted} are others than {lock.name} has hashes of"
            return (
                f"{wanted} has no wheel for this machine ({sysconfig.get_platform()}, Python "
                f"{platform.python_version()}): it would need a compiler; take a machine or a "
                f"Python that {name} has wheels for"
            )
    return f"pip could not install {lock.name}, although it has every package: see its words above"


def no_index(python: Path) -> str:
    return (
        "no package index answers: is there a network, and do pip's settings name the right index "
        f"and proxy ({os.path.relpath(python)} -m pip config list)?"
    )


def install_project(python: Path, folder: Path) -> None:
    """cpppod as it lies here, built by the locked setuptools, which the environment does not keep.

    Raises:
        SetUpError: it cannot be built or installed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tools = str(Path(scratch) / "tools")
        words = ["--require-hashes", *wheels_alone(())]
        if run_pip(python, "install", *words, "--target", tools, "-r", str(BUILD)).returncode != 0:
            raise SetUpError(why_not(python, BUILD, words))
        told = run_pip(
            python,
            "install",
            *("--no-build-isolation", "--no-deps", "--editable", str(ROOT)),
            environment={"PYTHONPATH": tools, "PYTHONWARNINGS": "ignore"},
        )
    if told.returncode != 0:
        show(told)
        raise SetUpError(f"cpppod could not be installed into {folder}: see pip's words above")


def main() -> int:
    parser = argparse.ArgumentParser(description="A virtual environment with what a lock names.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--project", action="store_true", help="cpppod itself too")
    parser.add_argument("--build", action="append", default=[], metavar="NAME")
    told = parser.parse_args()
    try:
        set_up(told.folder, told.lock, project=told.project, build=told.build)
    except SetUpError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
