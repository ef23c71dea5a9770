"""The README's tour, run: its commands on a running gateway, what it shows beside what comes.

Numbers, times and column widths may differ; words and order may not. `...` stands for any lines.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cpppod.feed import subscribe
from tests.gateway.running import ROOT, RunningGateway, eventually
from tests.patience import PATIENCE_S

README = (ROOT / "README.md").read_text("utf-8")
NUMBER = re.compile(r"-?\d[\d.:-]*( ms| s|/s|/min)?|(?<= )-(?= )")


def tour() -> list[tuple[str, list[str]]]:
    """(command, lines shown) of every console block."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """What must be the same of a line of output."""
    return " ".join(NUMBER.sub("#", line).split())


def here(command: str, gateway: RunningGateway) -> str:
    """The command as it must be given for a gateway on other ports."""
    host, port = gateway.address(44818)
    command = re.sub(r"^enip_client", f"enip_client -a {host}:{port}", command)
    return command.replace("localhost:9880", "{}:{}".format(*gateway.address(9880)))


def test_there_is_a_tour() -> None:
    assert len(tour()) >= 8


@pytest.mark.parametrize(("command", "shown"), tour(), ids=[command for command, _ in tour()])
def test_the_tours_commands_answer_as_shown(
    gateway: RunningGateway, command: str, shown: list[str]
) -> None:
    if command.startswith("cpppoctl history"):  # it needs a second of history
        eventually(lambda: gateway.stored("boiler.pressure"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CPPPOD_SOCKET": str(gateway.runtime / "control.sock"),
        "COLUMNS": "160",
    }

    told = [""]

    def as_shown() -> bool:
        ran = subprocess.run(
            ["bash", "-c", here(command, gateway) + " 2>&1"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=environment,
            check=False,
        )
        told.append(ran.stdout)
        return missing(shown, told[-1]) is None

    eventually(  # a device that was kept waiting is uncertain until it is polled again
        as_shown,
        say=lambda: f"{missing(shown, told[-1])!r} in:\n{told[-1]}",
    )


def missing(shown: list[str], told: str) -> str | None:
    """The first of the lines shown that is not among those told, in their order."""
    came = [shape(line) for line in told.splitlines()]
    for line in (shape(line) for line in shown if line != "..."):
        while came and not came[0].startswith(line):  # a device may have an error to tell of
            del came[0]
        if not came:
            return line
        del came[0]
    return None


def test_the_tours_program_gets_updates(gateway: RunningGateway) -> None:
    assert 'subscribe("tcp://127.0.0.1:44880", "boiler/*")' in README
    host, port = gateway.address(44880)
    requests = "tcp://{}:{}".format(*gateway.address(44881))
    updates = subscribe(f"tcp://{host}:{port}", "boiler/*", requests=requests, timeout_s=PATIENCE_S)
    assert "boiler" in str(next(iter(updates)))
    updates.close()  # type: ignore[attr-defined]


def test_its_configuration_is_accepted(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert tomllib.loads(sample)
    file = tmp_path / "cpppod.toml"
    file.write_text(sample)
    ran = subprocess.run(
        [sys.executable, "-m", "cpppod.commands.cpppod", "--check", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_page_it_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
