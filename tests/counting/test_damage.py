"""Files that are damaged, disks that take nothing: the gateway runs, and says what it has not."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.commands.cpppoctl import command as cpppoctl
from tests.counting.counters import counting_devices
from tests.counting.site import Site, closing_all
from tests.gateway.running import eventually

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
FULL = 'mount -t tmpfs -o size=64k none "$0" && cat /dev/zero > "$0/ballast"; exec "$@"'
NAMESPACE = ("unshare", "-rm") if os.getuid() else ("unshare", "-m")


def in_a_namespace(script: str, state: Path) -> tuple[str, ...]:
    """A command line before a program's: it runs where `script` made `state` what it is."""
    state.mkdir(exist_ok=True)
    words = (*NAMESPACE, "sh", "-c", script, str(state))
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here, not even in a namespace")
    return words


def status(site: Site, capsys: pytest.CaptureFixture[str]) -> str:
    """`cpppoctl status`, which must find it ready."""
    capsys.readouterr()
    code = cpppoctl.main(["--socket", str(site.gateway.runtime), "status"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    return shown


def overdue(site: Site) -> list[str]:
    """What workers say that is not kept."""
    told: list[dict[str, Any]] = site.gateway.ask("status")["workers"]
    return [each for worker in told for each in worker["overdue"] if "not kept" in each]


@pytest.mark.parametrize("script", [READ_ONLY, FULL], ids=["read-only", "full"])
def test_a_state_disk_that_takes_nothing_stops_neither_polling_nor_serving(
    script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with counting_devices(1) as counters:
        site = Site(counters, "", "")
        with closing_all(site):
            below = in_a_namespace(script, site.state)
            site.gateway.launch(configuration=site.text, below=below)
            site.gateway.wait_until_well()
            site.wait_for_readings()
            eventually(lambda: len(overdue(site)) >= 4)
            shown = status(site, capsys)
            log = site.gateway.log.read_text()
            assert re.search(r"listener-\S+ .*state not kept: epochs/listener-\S+: ", shown)
            assert "not kept, the next start is another gateway" in log
            assert site.gateway.ask("read", tags=["counter_0.c0"])["values"][0]["good"]
            if script == FULL:
                assert site.gateway.process is not None
                seen = Path(f"/proc/{site.gateway.process.pid}/root{site.state}")
                (seen / "ballast").unlink()
                eventually(lambda: not overdue(site))  # written once there is room
                assert (seen / "symbols").is_dir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "symbols/{listener}.json": lambda path: path.write_bytes(b""),
    "marks/{listener}.json": lambda path: path.write_bytes(b"{"),
    "retained/{listener}.json": lambda path: path.write_bytes(bytes(100)),
    "epochs/{listener}": lambda path: path.mkdir(),
    "epochs/{poller}": lambda path: path.write_bytes(b"1 "),
    "epochs/feed": lambda path: path.mkdir(),
    "journal/{poller}/lock": lambda path: path.mkdir(),
    "gateway": lambda path: path.write_bytes(b"\x00"),
    "lock": lambda path: path.mkdir(),
}


def test_damaged_files_of_the_state_are_put_aside_and_shown_until_they_are_deleted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with counting_devices(2) as counters:
        site = Site(counters, "", "", gateway="press-7")
        with closing_all(site):
            site.start()
            roles = {row["role"]: row["name"] for row in site.gateway.ask("status")["workers"]}
            site.stop()
            paths = [site.state / name.format(**roles) for name in DAMAGE]
            for path, damage in zip(paths, DAMAGE.values(), strict=True):
                path.unlink(missing_ok=True)
                path.parent.mkdir(exist_ok=True)
                damage(path)
            site.start()
            site.gateway.wait_until_well()
            eventually(lambda: len(site.gateway.ask("status")["damaged"]) >= len(DAMAGE))
            shown = status(site, capsys)
            for path in paths:
                assert re.search(
                    rf"damaged +{re.escape(str(path))}\.damaged-\d{{8}}T\d{{6}}Z ", shown
                )
            for path in site.state.rglob("*.damaged-*"):
                path.rmdir() if path.is_dir() else path.unlink()
            eventually(lambda: site.gateway.ask("status")["damaged"] == [])


HISTORY: dict[str, tuple[str, Callable[[Path], object]]] = {
    "index cut": ("index.sqlite", lambda path: os.truncate(path, path.stat().st_size // 2)),
    "index lost": ("index.sqlite", lambda path: path.unlink()),
    "day empty": ("readings-*.sqlite", lambda path: path.write_bytes(b"")),
    "day malformed": ("readings-*.sqlite", lambda path: os.truncate(path, 5_000)),
    "day lost": ("readings-*.sqlite", lambda path: path.unlink()),
    "no folder": ("", lambda path: (path.rename(f"{path}.old"), path.write_text("in the way"))),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("index cut", "day empty") else pytest.mark.campaign)
        for kind in HISTORY
    ],
)
def test_damaged_history_is_declared_and_recorded_into_again_within_seconds(kind: str) -> None:
    """Killed while it records, its files damaged: every number is stored, or within a gap."""
    name, damage = HISTORY[kind]
    with counting_devices(2) as counters:
        site = Site(counters, "", "", gateway="press-7")
        site.url = str(site.state / "history")
        with closing_all(site):
            site.start()
            eventually(lambda: site.gateway.stored("counter_0.c0"))
            site.kill()
            (path,) = (site.state / "history").glob(name) if name else [site.state / "history"]
            damage(path)
            site.start()
            since_us = site.counters.served[-1].time_us
            eventually(lambda: site.gateway.stored("counter_0.c0", since_us=since_us))
            site.settle()
            verdict = site.verdict("press-7")
            assert verdict.undeclared == 0, verdict
            if "lost" not in kind:
                eventually(lambda: len(site.gateway.ask("status")["damaged"]) >= 1)


def copy_live(source: Path, target: Path) -> None:
    """A copy of a folder that is being written to: files come and go meanwhile."""
    subprocess.run(["cp", "-a", str(source), str(target)], capture_output=True)


def put_back(copy: Path, target: Path) -> None:
    shutil.rmtree(target)
    subprocess.run(["cp", "-a", str(copy), str(target)], check=True)


@pytest.mark.parametrize("first", ["state", "history"])
def test_a_backup_of_a_running_gateway_put_back_is_never_silence(
    first: str, tmp_path: Path
) -> None:
    """State and store copied while it records, one after the other; both put back after a stop."""
    history = tmp_path / "history"
    with counting_devices(2) as counters:
        site = Site(counters, f'path = "{history}"', str(history), gateway="press-7")
        with closing_all(site):
            folders = {"state": site.state, "history": history}
            order = [first, *(folders.keys() - {first})]
            site.start()
            for name in order:
                site.wait_for_readings(20)
                copy_live(folders[name], tmp_path / f"copy-{name}")
            site.wait_for_readings(20)
            site.stop()
            for name in order:
                put_back(tmp_path / f"copy-{name}", folders[name])
            site.start()
            site.wait_for_readings(20)
            site.settle()
            verdict = site.verdict("press-7")
    assert verdict.undeclared == 0, verdict
    assert verdict.stored > 0
