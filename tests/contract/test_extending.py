"""The packages of docs/extending.md, installed as anybody's would be, in a gateway that runs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.control_client import ControlError
from tests.gateway.running import ROOT, RunningGateway, eventually
from tests.patience import INSTALL_S

pytestmark = pytest.mark.timeout(INSTALL_S)

TEXT = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
FILE = re.compile(r"^\*\*`([\w./]+)`\*\*\n\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
MIRROR = """
[history]
store = "lines"

[[mirror]]
name = "hall"
path = "{path}"
"""


def write_package(section: str, folder: Path) -> Path:
    """The package that a section of the page shows, file by file."""
    files = FILE.findall(section)
    assert "pyproject.toml" in dict(files)
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def install(sections: list[str], factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which a program finds the packages of those sections installed."""
    target = factory.mktemp("installed")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    words += ["--no-build-isolation", "--target", str(target)]
    packages = [str(write_package(each, factory.mktemp("package"))) for each in sections]
    subprocess.run([*words, *packages], check=True, timeout=INSTALL_S)
    return {"PYTHONPATH": str(target)}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which a program finds the store and the outlet installed."""
    return install(
        [text for text in SECTIONS if text.startswith(("A store", "An outlet"))], tmp_path_factory
    )


def check(text: str, folder: Path, environment: dict[str, str]) -> str:
    """What `cpppod --check` says of a configuration, errors first."""
    path = folder / "plant.toml"
    path.write_text(text)
    words = [sys.executable, "-m", "cpppod.commands.cpppod", "--check", str(path)]
    ran = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, **environment}, cwd=folder
    )
    return ran.stderr + ran.stdout


def test_their_mistakes_are_named_by_key(tmp_path: Path, environment: dict[str, str]) -> None:
    text = """
    [history]
    store = "lines"
    file = "history.lines"
    [[mirror]]
    name = "hall"
    pth = "/tmp/values.json"
    [[mirror]]
    name = "Hall"
    path = "values.json"
    """
    said = check(text, tmp_path, environment)
    assert "history.file: 'history.lines': expected an absolute path" in said
    assert "mirror[0].pth: '/tmp/values.json': expected no such key; did you mean path?" in said
    assert "mirror[1].path: 'values.json': expected an absolute path" in said
    assert "history.store" not in said


def test_without_the_packages_their_names_are_refused(tmp_path: Path) -> None:
    said = check('[history]\nstore = "lines"\n[[mirror]]\nname = "hall"\n', tmp_path, {})
    assert "history.store: 'lines': expected one of 'sqlite' or 'postgresql'" in said
    assert "mirror: " in said and "expected no such section" in said


def test_a_package_that_cannot_be_imported_says_so_where_it_is_used(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    information = tmp_path / "broken-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[cpppod.outlets]\nbroken = nowhere:SPEC\n")
    paths = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    said = check("[broken]\n", tmp_path, {"PYTHONPATH": paths})
    assert "no such section; package broken cannot be imported: ModuleNotFoundError" in said
    assert "workers: control, feed, router" in check("", tmp_path, {"PYTHONPATH": paths})


def test_the_store_keeps_the_contract(environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "lines"]
    words.append(str(ROOT / "tests" / "contract" / "test_stores.py"))
    ran = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None and int(passed[1]) > 25


@pytest.fixture
def plant(tmp_path: Path, environment: dict[str, str]) -> Iterator[RunningGateway]:
    """The demo's plant with history in the store, and the outlet."""
    gateway = RunningGateway()
    shipped = (ROOT / "etc" / "demo.toml").read_text()
    mirror = MIRROR.format(path=gateway.folder / "values.json")
    try:
        gateway.start_simulators()
        gateway.start(configuration=shipped + mirror, environment=environment)
        yield gateway
    finally:
        gateway.stop()


def test_both_run_in_a_gateway(plant: RunningGateway) -> None:
    path = plant.folder / "values.json"

    def mirrored() -> bool:
        return path.exists() and "boiler.pressure" in json.loads(path.read_text())

    assert eventually(mirrored)
    assert eventually(lambda: plant.stored("boiler.pressure"))
    assert (plant.state / "history.lines").stat().st_size > 0
    row = plant.workers()["mirror-hall"]
    assert row["role"] == "mirror"

    os.kill(row["pid"], signal.SIGKILL)
    path.unlink()
    assert eventually(mirrored)
    assert eventually(lambda: plant.workers()["mirror-hall"]["pid"] != row["pid"])

    text = plant.configuration.read_text().replace("values.json", "others.json")
    plant.configuration.write_text(text)
    told = plant.ask("reload")
    assert (told["plan"]["sections"], told["restarted"]) == (["mirror"], [])
    path = plant.folder / "others.json"
    assert eventually(mirrored)

    plant.configuration.write_text(text.replace(str(plant.folder), "/nowhere"))
    with pytest.raises(ControlError, match="mirror-hall: /nowhere: no such folder"):
        plant.ask("reload")
