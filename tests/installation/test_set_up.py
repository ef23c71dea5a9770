"""What the locks hold, and what `make` says on a machine where it cannot set up."""

import functools
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coverage_gate import judge
from tests.installation.set_up import DEVELOPMENT, ROOT, make_environment, pinned, set_up
from tests.patience import INSTALL_S
from tests.test_packaging import setup

pytestmark = pytest.mark.timeout(INSTALL_S)

RUNNING = ROOT / "requirements.lock"
LOCKS = [*sorted(ROOT.glob("requirements*.lock")), *sorted((ROOT / "tests").glob("*.lock"))]
WHEEL, SOURCE = "pure-1.0-py3-none-any.whl", "sealed-1.0.tar.gz"
CLOSED = "http://127.0.0.1:9/simple"  # nobody listens at the port discard


def versions(lock: Path) -> dict[str, str]:
    """Package -> version, of what `lock` names."""
    told = {}
    for name, requirement in pinned(lock):
        told[name] = requirement.partition("==")[2].split()[0]
    return told


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_each_package_with_hashes_and_no_place(lock: Path) -> None:
    for name, requirement in pinned(lock):
        assert re.match(rf"{re.escape(name)}(\[[a-z,-]+\])?==", requirement), requirement
        assert "--hash=sha256:" in requirement
    assert not re.search(r"://|index-url|find-links|^-", lock.read_text(), re.MULTILINE)


def test_what_tests_and_tools_add_changes_no_version_of_what_running_has() -> None:
    running, development = versions(RUNNING), versions(DEVELOPMENT)
    assert running.items() <= development.items()
    for lock in ROOT.glob("requirements-*.lock"):
        shared = versions(lock).keys() & development.keys()
        assert {name: versions(lock)[name] for name in shared}.items() <= development.items()


def test_a_lock_keeps_the_extras_that_an_old_pip_wants_to_see_pinned() -> None:
    assert "\npsycopg[binary]==" in RUNNING.read_text()
    assert "\ncoverage[toml]==" in DEVELOPMENT.read_text()


@pytest.mark.parametrize("folder", ["examples", "tests/stacks"])
def test_what_node_takes_is_named_with_versions_and_hashes_and_no_place(folder: str) -> None:
    locked = json.loads((ROOT / folder / "package-lock.json").read_text())
    wanted = json.loads((ROOT / folder / "package.json").read_text())["dependencies"]
    packages = {name: told for name, told in locked["packages"].items() if name}
    assert {f"node_modules/{name}" for name in wanted} <= packages.keys()
    assert all("integrity" in told and "resolved" not in told for told in packages.values())


def test_the_classifiers_name_the_versions_that_are_tested() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (tested,) = re.findall(r"^MATRIX := (.*)$", makefile, re.MULTILINE)
    named = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    assert named == ["3.11", *tested.split()]


def test_what_builds_the_package_is_locked_as_it_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]


def make(*words: str, **environment: str) -> tuple[int, str]:
    """Exit status of make in this checkout, and the line that says why."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    told = subprocess.run(
        ["make", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**kept, **environment},
        timeout=INSTALL_S,
    )
    lines = [line for line in told.stderr.splitlines() if not line.startswith("make: ***")]
    return told.returncode, lines[-1] if lines else told.stdout


def test_a_python_that_does_not_run_is_said(tmp_path: Path) -> None:
    status, line = make("PYTHON=no-such-python", f"VENV={tmp_path}", f"{tmp_path}/.run")
    assert status == 2
    assert line.startswith("make: no-such-python does not run: install Python 3.11")


def test_too_old_a_python_is_said(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\n'
        f"exec {sys.executable} -c 'import sys; sys.version_info = (3, 9, 2); "
        'sys.version = "3.9.2 (main)"; exec(sys.argv[2])\' "$@"\n'
    )
    old.chmod(0o755)
    status, line = make(f"PYTHON={old}", f"VENV={tmp_path}/v", f"{tmp_path}/v/.run")
    assert status == 2
    assert line.startswith("make: cpppod needs Python 3.11 or later")
    assert "is 3.9.2" in line


def test_a_python_without_venv_is_said(tmp_path: Path) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    home = tmp_path / "lib" / library.name
    home.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in {"ensurepip", "site-packages", "dist-packages"}:
            (home / entry.name).symlink_to(entry)
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    status, line = make(
        f"PYTHON={python}", f"VENV={tmp_path}/v", f"{tmp_path}/v/.run", PYTHONHOME=str(tmp_path)
    )
    assert status == 2
    assert "has no module venv (or ensurepip): Debian has it in the package python3-venv" in line
    assert not (tmp_path / "v").exists()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set-up") / "environment"
    make_environment(folder)
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a package index that has pip, `pure` as a wheel and `sealed` as sources."""
    folder = tmp_path_factory.mktemp("index")
    for name, file in (("pip", "pip-99-py3-none-any.whl"), ("pure", WHEEL), ("sealed", SOURCE)):
        (folder / "simple" / name).mkdir(parents=True)
        (folder / "simple" / name / "index.html").write_text(f'<a href="{file}">{file}</a>')
    with zipfile.ZipFile(folder / "simple" / "pure" / WHEEL, "w") as wheel:
        about = "pure-1.0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: pure\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    with tarfile.open(folder / "simple" / "sealed" / SOURCE, "w:gz") as source:
        source.add(Path(__file__), "sealed-1.0/setup.py")
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()


def refusal(environment: Path, lock: Path, index: str) -> str:
    """What setting up says about `lock` where pip's index is `index`, and nothing else is."""
    command = [sys.executable, "-S", "-m", "tests.installation.set_up", environment, lock]
    settings = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": index, "PIP_RETRIES": "0"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    told = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**kept, **settings},
        timeout=INSTALL_S,
    )
    assert told.returncode == 1, told.stdout
    assert told.stdout.splitlines() == [f"environment: the packages of {lock.name}"]
    return told.stderr.splitlines()[-1]


def test_no_index_is_said(environment: Path) -> None:
    line = refusal(environment, RUNNING, CLOSED)
    assert line.startswith("make: no package index answers: is there a network")


def test_a_package_without_a_wheel_for_this_machine_is_said(
    environment: Path, index: str, tmp_path: Path
) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(f"sealed==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    line = refusal(environment, lock, index)
    assert line.startswith("make: sealed==1.0 has no wheel for this machine (")
    assert "it would need a compiler" in line


def test_other_files_than_the_locked_ones_are_said(
    environment: Path, index: str, tmp_path: Path
) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(f"pure==1.0 \\\n    --hash=sha256:{hashlib.sha256(b'other').hexdigest()}\n")
    line = refusal(environment, lock, index)
    assert line == ("make: the index's files of pure==1.0 are others than some.lock has hashes of")


def test_a_second_call_takes_the_environment_that_is_there(
    environment: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lock = tmp_path / "empty.lock"
    lock.write_text("# nothing\n")
    set_up(environment, lock)
    assert capsys.readouterr().out == "environment: the packages of empty.lock\n"


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 2)])
def test_a_version_of_python_that_is_missing_is_said_and_fails_in_ci(ci: str, status: int) -> None:
    assert make("matrix-3.99", CI=ci) == (
        status,
        "make: python3.99 does not run here: nothing was tested with it\n",
    )


@pytest.mark.parametrize(
    ("percent", "exceptions", "said"),
    [
        (95.0, {}, []),
        (94.9, {}, ["m.py: 94.9 % of its lines and branches, 95 % needed"]),
        (91.0, {"m.py": (90, "why")}, []),
        (89.0, {"m.py": (90, "why")}, ["m.py: 89.0 % of its lines and branches, 90 % needed"]),
        (96.0, {"m.py": (90, "why")}, ["m.py: 96.0 %: it needs no exception any more"]),
        (96.0, {"n.py": (90, "why")}, ["n.py: an exception for no module"]),
    ],
)
def test_the_coverage_gate_names_each_module_that_is_not_covered(
    percent: float, exceptions: dict[str, tuple[int, str]], said: list[str]
) -> None:
    assert judge({"m.py": percent}, exceptions) == said
