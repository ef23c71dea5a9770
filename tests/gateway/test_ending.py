"""How a gateway begins and ends: systemd told, nothing left behind, no orphan."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.commands.cpppoctl import actions
from cpppod.commands.cpppoctl import command as cpppoctl
from tests.gateway.running import RunningGateway, children, eventually, is_alive, kill
from tests.patience import PATIENCE_S, within

SMALL = """
[gateway]
name = "small"
cpppo_cfg = false

[[listener]]
name = "main"
address = "127.0.0.1:44818"

[[tag]]
name = "shift"
type = "DINT"

[feed]
publish = ""

[metrics]
enabled = false
"""


@pytest.fixture
def small() -> Iterator[RunningGateway]:
    """A gateway of its own, without devices, not started yet."""
    gateway = RunningGateway()
    try:
        yield gateway
    finally:
        gateway.stop()


def pids_of(gateway: RunningGateway) -> list[int]:
    """supervisord's and every worker's."""
    workers = [worker["pid"] for worker in gateway.workers().values()]
    supervisor = int(Path(f"/proc/{workers[0]}/stat").read_text().rpartition(")")[2].split()[1])
    return [supervisor, *workers]


@within(5)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_everything_and_leaves_nothing(
    small: RunningGateway, number: signal.Signals, within_s: float
) -> None:
    small.start(configuration=SMALL)
    pids = pids_of(small)
    began = time.monotonic()
    assert small.interrupt(number) == 0
    assert time.monotonic() - began < within_s
    assert [pid for pid in pids if is_alive(pid)] == []
    assert not small.runtime.exists()


def test_cpppoctl_stop_returns_when_all_processes_have_ended(
    small: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "STOP_S", PATIENCE_S)
    small.start(configuration=SMALL)
    pids = pids_of(small)
    assert cpppoctl.main(["--socket", str(small.runtime), "stop"]) == 0
    assert [pid for pid in pids if is_alive(pid)] == []
    assert small.process is not None
    small.process.wait(PATIENCE_S)
    assert cpppoctl.main(["--socket", str(small.runtime), "status"]) == 3


@within(1)
def test_no_worker_outlives_a_killed_supervisord(small: RunningGateway, within_s: float) -> None:
    small.start(configuration=SMALL)
    supervisor, *workers = pids_of(small)
    kill(supervisor)
    eventually(lambda: not any(map(is_alive, workers)), within_s=within_s)
    assert small.process is not None
    assert small.process.wait(PATIENCE_S) == 1
    assert "supervisord ended by itself" in small.log.read_text()


def test_no_process_outlives_a_killed_parent(small: RunningGateway) -> None:
    small.start(configuration=SMALL)
    pids = pids_of(small)
    assert small.process is not None
    small.process.kill()
    small.process.wait()
    eventually(lambda: not any(map(is_alive, pids)))


def test_systemd_is_told_when_all_is_ready_and_that_it_goes_on(small: RunningGateway) -> None:
    path = small.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(PATIENCE_S)
        small.start("--exec", configuration=SMALL, environment={"NOTIFY_SOCKET": str(path)})
        told = systemd.recv(4096).decode()
        while "READY=1" not in told:
            assert "WATCHDOG=1" in told
            told = systemd.recv(4096).decode()
        assert "STATUS=0/0 devices up, 4/4 workers" in told
        assert systemd.recv(4096).decode() == "WATCHDOG=1"
        assert small.process is not None
        assert len(children(small.process.pid)) >= 4  # cpppod has become supervisord
        assert small.interrupt(signal.SIGTERM) == 0


def test_listener_whose_port_is_taken_stays_and_serves_when_it_is_free(
    small: RunningGateway,
) -> None:
    small.here(SMALL)  # chooses the port
    with socket.socket() as holder:
        holder.bind(small.address(44818))
        holder.listen()
        small.launch(configuration=SMALL)
        eventually(lambda: small.unwell() == ["not ready"])  # all workers run, the listener waits
        assert small.workers()["listener-main"]["restarts"] == 0
    small.wait_until_well()
    with socket.socket() as client:
        client.connect(small.address(44818))


@pytest.mark.parametrize(
    ("worker", "section"),
    [
        ("control", '[metrics]\nenabled = true\naddress = "127.0.0.1:9464"\n'),
        ("web", '[web]\nenabled = true\naddress = "127.0.0.1:8443"\n'),
    ],
)
def test_a_page_whose_port_is_taken_is_not_ready_until_it_is_free(
    small: RunningGateway, worker: str, section: str
) -> None:
    text = SMALL if worker == "web" else SMALL.replace("[metrics]\nenabled = false\n", "")
    text += section
    small.here(text)
    port = 9464 if worker == "control" else 8443
    with socket.socket() as holder:
        holder.bind(small.address(port))
        holder.listen()
        small.launch(configuration=text)
        eventually(
            lambda: (
                small.unwell() == ["not ready"]
                and list(small.ask("status")["not_ready"]) == [worker]
            )
        )
    small.wait_until_well()
