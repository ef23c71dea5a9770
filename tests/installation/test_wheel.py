"""The wheel in an environment of its own: nothing of the checkout is needed to run the demo."""

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from cpppod.control_client import ControlClient
from tests import peers
from tests.patience import INSTALL_S, PATIENCE_S, within
from tests.supervision.supervised import is_alive, until
from tests.supervision.test_foreground import family, lines_until

pytestmark = pytest.mark.timeout(INSTALL_S)

ROOT = Path(__file__).parents[2]
SOURCES = ("cpppod", "protocols", "workers", "etc", "systemd", "setup.cfg", "pyproject.toml")
TEXTS = ("README.md", "LICENSE")
NEEDS_SETUPTOOLS = 77


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    version = importlib.metadata.version("setuptools")
    if int(version.split(".")[0]) < NEEDS_SETUPTOOLS:
        peers.missing(f"setuptools {NEEDS_SETUPTOOLS}", "make setup")
    copy = tmp_path_factory.mktemp("source")
    for name in (*SOURCES, *TEXTS):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, symlinks=True, ignore=ignored)
        elif source.exists():
            shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(out)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(copy)], check=True, timeout=INSTALL_S)
    (built,) = out.glob("cpppod-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel, and of ours only what the wheel needs."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    words = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=INSTALL_S)
    packages = sysconfig.get_path("purelib", vars={"base": str(home)})
    # A plain path: the .pth files over there, the checkout's among them, are not obeyed.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


PLACES = {  # folder of the checkout -> where the wheel has it
    "cpppod": "cpppod",
    "workers": "cpppod/workers",
    "protocols": "cpppod/protocols",
    "etc": "cpppod/etc",
    "systemd": "cpppod/systemd",
}
FOR_READERS = {".md"}  # of the sources, not of the program


def in_the_tree() -> set[str]:
    """Names that the wheel should have: every module of ours, and all data beside them."""
    return {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for folder, package in PLACES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in FOR_READERS
    }


def test_the_wheel_has_every_module_and_all_data_of_the_tree_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == in_the_tree()


def test_it_is_imported_from_where_it_was_installed(environment: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [environment / "python", "-c", "import cpppod; print(cpppod.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert told.stdout.startswith(str(environment.parent))


def test_every_command_says_its_version(environment: Path, tmp_path: Path) -> None:
    entries = importlib.metadata.distribution("cpppod").entry_points
    scripts = [entry.name for entry in entries if entry.group == "console_scripts"]
    assert "cpppod" in scripts
    for script in ("cpppod", "cpppoctl", "enip_server", "modbus_sim"):
        told = subprocess.run(
            [environment / script, "--version"], capture_output=True, text=True, cwd=tmp_path
        )
        assert told.returncode == 0, told.stderr
        assert "0." in told.stdout


def own_network() -> list[str]:
    """What begins a command that is to have ports of its own: the demo's are fixed."""
    words = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
    probe = subprocess.run([*words, "ip", "link", "set", "lo", "up"], check=False)
    if probe.returncode != 0:
        peers.missing("a network namespace", "run as root, with iproute2 and util-linux")
    return [*words, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


@within(5)
def test_the_demo_runs_from_it_and_ends(environment: Path, tmp_path: Path, within_s: float) -> None:
    runtime = tmp_path / "r"
    begun = time.monotonic()
    process = subprocess.Popen(
        [*own_network(), str(environment / "cpppod"), "--demo", "--runtime", str(runtime)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        lines = lines_until(process.stdout, "ready after")
        print(f"ready after {time.monotonic() - begun:.1f} s", *lines, sep="\n")
        everybody = family(process.pid)

        def all_up() -> bool:
            with ControlClient.connect(str(runtime)) as gateway:
                return all(row["state"] == "online" for row in gateway.ask("devices")["devices"])

        until(all_up, "all devices online")
        with ControlClient.connect(str(runtime)) as gateway:
            told = [row["name"] for row in gateway.ask("devices")["devices"]]
            demo = tomllib.loads((ROOT / "etc" / "demo.toml").read_text())
            assert told == list(demo["device"])

            def numbers() -> list[float]:
                tags = ["boiler.cycles", "mixer.turns", "meter_1.reading", "press.total"]
                return [row["value"] for row in gateway.ask("read", tags=tags)["values"]]

            until(lambda: None not in numbers(), "a value of each")
            first = numbers()
            until(
                lambda: all(now > then for now, then in zip(numbers(), first, strict=True)),
                "moving values",
            )
    finally:
        process.send_signal(signal.SIGINT)
        stopping = time.monotonic()
        lines_until(process.stdout, "cpppod: stopped")
        process.wait(PATIENCE_S)
    assert time.monotonic() - stopping < within_s
    assert not [pid for pid in everybody if is_alive(pid)]
    assert not runtime.exists()
