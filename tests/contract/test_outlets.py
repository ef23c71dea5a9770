"""What every registered outlet does: refused by key, killed, slow, reloaded; polling goes on.

An outlet without a worker of its own is control's work: control is killed and stopped then.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod import configuration
from cpppod.workers.outlets.spec import OUTLETS, OutletSpec
from tests.gateway.running import RunningGateway, eventually

SPECS = list(OUTLETS)
CHANGES = {  # section -> a line for it that changes nothing else
    "feed": 'replay_age = "90s"',
    "history": 'retention = "100d"',
    "metrics": "enabled = false",
    "web": 'hosts = ["plant"]',
    "mqtt": 'keep_alive = "15s"',
    "fleet": "live = false",
    "collector": 'retention = "100d"',
}
ADDED = {  # section that the demo has not -> a table of it, whose other side is not there
    "fleet": '[fleet]\nsite = "contract"\nservers = ["nats://127.0.0.1:1"]\n',
    "collector": '[collector]\nsites = ["contract"]\nservers = ["nats://127.0.0.1:1"]\n',
    "mqtt": '[[mqtt]]\nname = "contract"\naddress = "127.0.0.1:1"\n',
}


@pytest.fixture(params=SPECS, ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> OutletSpec:
    found: OutletSpec = request.param
    return found


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_wrong_key_of_its_section_is_refused_by_its_place(
    spec: OutletSpec, tmp_path: Path
) -> None:
    path = tmp_path / "plant.toml"
    head = f"[[{spec.section}]]\nname = 'one'" if spec.many else f"[{spec.section}]"
    path.write_text(f"{head}\nno_such_key = 1\n")
    with pytest.raises(configuration.ConfigurationError) as refused:
        configuration.load([path], old_files=[])
    place = (spec.section, 0, "no_such_key") if spec.many else (spec.section, "no_such_key")
    assert place in [problem.path for problem in refused.value.problems]


def worker_of(gateway: RunningGateway, spec: OutletSpec) -> str:
    """The worker that does the outlet's work; added where there is none yet."""
    if spec.section in ADDED and ADDED[spec.section] not in gateway.configuration.read_text():
        with gateway.configuration.open("a") as file:
            file.write(f"\n{ADDED[spec.section]}")
        gateway.ask("reload")
        gateway.wait_until_well()
    role = spec.name if spec.program else "control"
    return next(name for name, row in gateway.workers().items() if row["role"] == role)


def polls(gateway: RunningGateway, count: int) -> bool:
    """Whether the boiler is polled `count` times more: its journal says so, and needs nobody."""
    folder = gateway.state / "journal" / "poller-boiler"
    seen: set[int] = set()

    def enough() -> bool:
        with contextlib.suppress(FileNotFoundError):  # a segment that is stored is removed
            seen.update(path.stat().st_mtime_ns for path in folder.glob("*.journal"))
        return len(seen) > count

    return eventually(enough)


@pytest.fixture
def changeable(gateway: RunningGateway) -> Iterator[RunningGateway]:
    """The gateway, whose configuration is afterwards what it was."""
    before = gateway.configuration.read_text()
    yield gateway
    if gateway.configuration.read_text() != before:
        gateway.configuration.write_text(before)
        gateway.ask("reload")
    gateway.wait_until_well()


def test_killed_it_comes_back_and_costs_nobody_a_poll(
    spec: OutletSpec, changeable: RunningGateway
) -> None:
    gateway = changeable
    name = worker_of(gateway, spec)
    others = {each: row["pid"] for each, row in gateway.workers().items() if each != name}
    os.kill(gateway.workers()[name]["pid"], signal.SIGKILL)
    assert polls(gateway, 5)
    gateway.wait_until_well()
    rows = gateway.workers()
    assert {each: rows[each]["pid"] for each in others} == others


def test_standing_still_it_holds_nobody_up(spec: OutletSpec, changeable: RunningGateway) -> None:
    gateway = changeable
    name = worker_of(gateway, spec)
    pid = gateway.workers()[name]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert polls(gateway, 5)
    finally:
        with contextlib.suppress(ProcessLookupError):  # the watchdog was quicker
            os.kill(pid, signal.SIGCONT)
    gateway.wait_until_well()


def test_a_reload_changes_it_and_restarts_nobody(
    spec: OutletSpec, changeable: RunningGateway
) -> None:
    gateway = changeable
    worker_of(gateway, spec)
    pids = {name: row["pid"] for name, row in gateway.workers().items()}
    text = gateway.configuration.read_text()
    head = f"[[{spec.section}]]\n" if spec.many else f"[{spec.section}]\n"
    line = f"{head}{CHANGES[spec.section]}\n"
    changed = text.replace(head, line) if head in text else f"{text}\n{line}"
    gateway.configuration.write_text(changed)
    told = gateway.ask("reload")
    assert told["plan"]["sections"] == [spec.section]
    assert (told["applied"], told["restarted"]) == (True, [])
    generation = told["plan"]["generation"]
    eventually(lambda: all(row["generation"] == generation for row in gateway.workers().values()))
    assert {name: row["pid"] for name, row in gateway.workers().items()} == pids
