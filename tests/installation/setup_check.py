"""Set-up in new environments, under pips old and new: what `make setup-check` runs.

    python -m tests.installation.setup_check              every pip of PIPS, then unlocked
    python -m tests.installation.setup_check unlocked     the newest of everything, alone

Each locked environment gets its pip first, then what tests need and cpppod itself, from the index
that pip is set to; then every console script says its version. The unlocked one has what the index
has today: it runs the demo plant until its first values. Its failure is a line in continuous
integration (`CI=true`), since nothing of ours caused it, and a failure elsewhere.
"""

import configparser
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.installation.set_up import (
    DEVELOPMENT,
    ROOT,
    SetUpError,
    make_environment,
    run_pip,
    set_up,
)

# Python 3.11.0 brought 22.3, Debian 12 has 23.0.1, Python 3.11.7 brings 23.2.1.
PIPS = ("22.3", "23.0.1", "23.2.1", "newest")
SOURCES = ("cpppod", "protocols", "workers", "etc", "systemd")
FIRST_VALUES = ("boiler.cycles", "mixer.turns", "meter_1.reading", "press.total")
FIRST_VALUES_S = 60  # a machine that starts ten processes while others do the same


def locked(pip: str, folder: Path) -> str:
    """The environment of `make test` under `pip`; says how many scripts told their version."""
    set_up(folder, DEVELOPMENT, project=True, pip=pip)
    return every_script(folder)


def unlocked(folder: Path) -> str:
    """cpppod with the newest of everything; says how long the demo took to its first values.

    Raises:
        SetUpError: it cannot be installed, or has no values.
    """
    python = make_environment(folder)
    source = folder / "source"  # a build leaves its files beside what it builds
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for words in (("--upgrade", "pip"), (str(source),)):
        told = run_pip(python, "install", *words)
        if told.returncode != 0:
            raise SetUpError(f"pip install {words[-1]}: {told.stderr.strip()}")
    return f"{every_script(folder)}, {first_values(folder)}"


def every_script(folder: Path) -> str:
    """How many console scripts told their version.

    Raises:
        SetUpError: one of them did not.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    scripts = [line.partition("=")[0].strip() for line in filter(None, lines)]
    for script in scripts:
        command = [str(folder / "bin" / script), "--version"]
        told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if told.returncode != 0:
            raise SetUpError(f"{script} --version: {told.stderr.strip()}")
    return f"{len(scripts)} scripts told their version"


def first_values(folder: Path) -> str:
    """Runs the demo plant, in a network of its own where that can be had; says when it had values.

    Raises:
        SetUpError: it had none within FIRST_VALUES_S.
    """
    runtime = str(folder / "runtime")
    begun = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*own_network(), str(folder / "bin" / "cpppod"), "--demo", "--runtime", runtime],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
        try:
            while not has_values(folder, runtime):
                if process.poll() is not None or time.monotonic() - begun > FIRST_VALUES_S:
                    raise SetUpError(f"no values: {(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.3)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    return f"first values after {time.monotonic() - begun:.1f} s"


def has_values(folder: Path, runtime: str) -> bool:
    """Whether the demo plant has a good value of each kind of device."""
    command = [str(folder / "bin" / "cpppoctl"), "--socket", runtime, "read", *FIRST_VALUES]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def own_network() -> list[str]:
    """What begins a command that is to have ports of its own: the demo's are fixed."""
    words = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("unshare") is None:
        return []
    able = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if able else []


def check(name: str, job: Callable[[Path], str]) -> bool:
    """Does `job` in a folder that is gone afterwards, and prints a line on it."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cpppod-") as scratch:
        try:
            told, good = job(Path(scratch) / name), True
        except SetUpError as error:
            told, good = f"FAILED: {error}", False
    print(f"{name}: {told}: {time.monotonic() - begun:.0f} s", flush=True)
    return good


def main(words: list[str]) -> int:
    os.environ["PIP_NO_COMPILE"] = "1"  # what runs once need not be compiled ahead
    good = True
    if words != ["unlocked"]:
        for pip in PIPS:
            good &= check(f"pip-{pip}", functools.partial(locked, pip))
    newest = check("unlocked", unlocked)
    return 0 if good and (newest or os.environ.get("CI") == "true") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
