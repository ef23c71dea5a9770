"""docs/operations.md: its commands that change files, run on a gateway that runs."""

import re
import subprocess
import sys
from pathlib import Path

from cpppod.workers.historian.stores.opening import open_reader
from tests.gateway.running import RunningGateway, eventually

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()


def commands(section: str) -> str:
    """The shell commands of a section."""
    part = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
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
