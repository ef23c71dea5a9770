"""docs/operations.md: its commands that change files, run on a gateway that runs."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

from cpppod.workers.historian.stores.opening import open_reader
from tests.gateway.running import RunningGateway, eventually

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()


def section(title: str) -> str:
    """The text of a section."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands(title: str) -> str:
    """The shell commands of a section."""
    (found,) = re.findall(r"```sh\n(.*?)```", section(title), re.DOTALL)
    return str(found)


def run(script: str, folder: Path, state: Path, configuration: Path) -> None:
    """Run commands of the page with this machine's places for those of an installation."""
    here = {
        "/var/lib/cpppod": str(state),
        "/opt/cpppod/bin/python": sys.executable,
        "-C /etc -cf backup/configuration.tar cpppod": (
            f"-C {configuration.parent} -cf backup/configuration.tar {configuration.name}"
        ),
        "chown -R cpppod:cpppod": "test -d",  # there is no such user here
    }
    for named, place in here.items():
        script = script.replace(named, place)
    subprocess.run(["sh", "-eu", "-c", script], cwd=folder, check=True)


def times(state: Path, tag: str) -> list[int]:
    reader = open_reader(str(state / "history"))
    try:
        device, _, name = tag.partition(".")
        return [sample.time_us for sample in reader.samples(device, name, 0, 2**62)]
    finally:
        reader.close()


def test_a_backup_of_a_running_gateway_is_restored_with_its_history(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    tag = "boiler.pressure"
    before = eventually(lambda: times(gateway.state, tag))
    run(commands("Backup"), tmp_path, gateway.state, gateway.configuration)
    gateway.wait_until_well()
    assert (tmp_path / "backup" / "configuration.tar").exists()
    restored = tmp_path / "restored"
    run(commands("Restore"), tmp_path, restored, gateway.configuration)
    assert times(restored, tag)[: len(before)] == before
    names = {path.name for path in restored.iterdir()}
    assert names >= {"gateway", "symbols", "epochs", "history"} and not names & {"lock", "journal"}
    assert (restored / "gateway").read_bytes() == (gateway.state / "gateway").read_bytes()


def test_the_line_for_cron_exports_the_week(gateway: RunningGateway, tmp_path: Path) -> None:
    """As cron runs it: `\\%` is a percent sign, and sh has the rest of the line."""
    eventually(lambda: times(gateway.state, "boiler.pressure"))
    (line,) = re.findall(r"```cron\n.*\n(.*)\n```", TEXT)
    *when, user, command = line.split(maxsplit=6)
    assert (when, user) == (["15", "0", "*", "*", "1"], "cpppod")
    command = command.replace("\\%", "%").replace("/var/lib/cpppod/week", f"{tmp_path}/week")
    command = command.replace("/var/lib/cpppod", str(gateway.state))
    command = command.replace(
        "/opt/cpppod/bin/cpppoctl", f"{sys.executable} -m cpppod.commands.cpppoctl"
    )
    subprocess.run(["sh", "-c", command], check=True)
    (file,) = tmp_path.glob("week-20*-*.csv")
    head, *rows = csv.reader(file.read_text().splitlines())
    assert head[0] == "time" and "boiler.pressure" in head
    assert all(name.startswith("boiler.") for name in head[1:])
    assert any(row[head.index("boiler.pressure")] for row in rows)


def test_what_it_asks_and_tells_a_running_gateway_is_done(gateway: RunningGateway) -> None:
    """Every cpppoctl of the page but those of an upgrade, which `make systemd-check` runs."""
    looking = re.findall(r"^cpppoctl [^#\n]*", section("Is it well, and why not"), re.MULTILINE)
    logging = re.findall(r"`(cpppoctl [^`]*)`", section("Logs"))
    restoring = re.findall(r"`(cpppoctl gateway)`", section("Restore"))
    assert (len(looking), len(logging), len(restoring)) == (4, 2, 1)
    for command in (*looking, *logging, *restoring):
        words = command.replace("kettle", "boiler").split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "cpppod.commands.cpppoctl", *words],
            env={**os.environ, "CPPPOD_SOCKET": str(gateway.runtime)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)
