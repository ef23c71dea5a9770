"""What `make systemd-check` and `make container-check` share: a Debian, and a shelf of wheels.

    .hosts/NAME     what debootstrap made, kept for the next time
    .hosts/wheels   what requirements.lock and requirements-build.lock name, and cpppod itself

Both need root and Debian's packages, and are no part of the suite. No index is asked from inside:
pip there has the shelf and nothing else, so that the documented commands run word for word.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ROOT / ".hosts"
WHEELS = HOSTS / "wheels"
RELEASE = "bookworm"
PYTHON_VERSION = "3.11"  # that release's
MOUNTED = "/shelf"  # where a host has the shelf
PIP_CONF = f"[global]\nno-index = true\nfind-links = {MOUNTED}\ndisable-pip-version-check = true\n"
SOURCES = ("cpppod", "protocols", "workers", "etc", "systemd")


class CheckError(Exception):
    """A step did not do what it is documented to do."""


def need(programs: dict[str, str]) -> None:
    """Says which Debian packages are missing for these programs, if any.

    Raises:
        CheckError: some are, or this is not root.
    """
    missing = sorted({package for name, package in programs.items() if shutil.which(name) is None})
    if missing:
        raise CheckError(f"missing here: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise CheckError("this makes a machine of its own: run it as root")


def debian(name: str, packages: Sequence[str]) -> Path:
    """A minimal Debian with these packages in a folder of its own."""
    folder = HOSTS / name
    if not (folder / "etc" / "debian_version").exists():
        HOSTS.mkdir(exist_ok=True)
        made = HOSTS / f".{name}.new"
        shutil.rmtree(made, ignore_errors=True)
        included = f"--include={','.join(packages)}"
        run("debootstrap", "--variant=minbase", included, RELEASE, str(made))
        made.rename(folder)
    return folder


def shelve_wheels() -> None:
    """Put every wheel of the locks on the shelf, and cpppod as it is in this checkout."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    for lock in ("requirements.lock", "requirements-build.lock"):
        run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--python-version", PYTHON_VERSION, "--dest", str(WHEELS)),
            *("--requirement", str(ROOT / lock)),
        )
    for wheel in WHEELS.glob("cpppod-*.whl"):
        wheel.unlink()
    build_wheel(WHEELS)


def build_wheel(folder: Path, version: str = "") -> str:
    """A wheel of this checkout there, as another version where one is named; its version."""
    source = HOSTS / "source"
    shutil.rmtree(source, ignore_errors=True)
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored, symlinks=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    place = source / "cpppod" / "__init__.py"
    text = place.read_text("utf-8")
    found = re.search(r'__version__ = "(.*)"', text)
    assert found is not None
    place.write_text(text.replace(found[1], version or found[1]), "utf-8")
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"),
        *("--wheel-dir", str(folder), str(source)),
    )
    return version or found[1]


def commands_of(heading: str, page: str = "docs/installation.md") -> list[str]:
    """The lines of the first block of commands below a heading."""
    _, _, text = (ROOT / page).read_text("utf-8").partition(f"\n## {heading}\n")
    block = re.search(r"\n```\n(.*?)\n```\n", text, re.DOTALL)
    if block is None:
        raise CheckError(f"{page} has no commands below {heading!r}")
    return block[1].splitlines()


def run(*words: str, environment: dict[str, str] | None = None, within_s: float = 900) -> str:
    """What a program says.

    Raises:
        CheckError: it failed; the text has its last words.
    """
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-1500:]
        raise CheckError(f"{' '.join(words)[:300]}: exit status {done.returncode}: {said}")
    return done.stdout


class Steps:
    """Says each step with how long it took, and ends at the first that fails."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def done(self, what: str) -> None:
        """A step is done."""
        now = time.monotonic()
        print(f"{now - self._begun:6.1f} s  {what}", flush=True)
        self._begun = now
