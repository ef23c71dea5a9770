"""The systemd unit and the files beside it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.commands import cpppod as command
from cpppod.control_client import ControlClient
from tests import peers
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.supervision import seccomp_filter
from tests.supervision.supervised import is_alive

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "cpppod.service"

EVERY_KIND_OF_WORKER = """
[gateway]
cpppo_cfg = false
[[listener]]
address = "127.0.0.1:{}"
[feed]
publish = "127.0.0.1:{}"
snapshot = "127.0.0.1:{}"
[metrics]
address = "127.0.0.1:{}"
[line.hall]
port = "demo/absent"
[template.one]
[[template.one.group]]
name = "g"
period = "1s"
history = true
tags = [{{ name = "t", address = "${{address}}" }}]
[device.tcp]
template = "one"
driver = "modbus-tcp"
address = "localhost:{}"
parameters = {{ address = "HR:1" }}
[device.rtu]
template = "one"
driver = "modbus-rtu"
line = "hall"
parameters = {{ address = "HR:1" }}
[device.logix]
template = "one"
driver = "enip"
address = "localhost:{}"
parameters = {{ address = "Total" }}
[device.scale]
template = "one"
driver = "text"
address = "localhost:{}"
frames.weight = {{ request = "S", pattern = "S (?P<grams>[0-9]+)" }}
parameters = {{ address = "grams" }}
"""


def test_the_unit_is_exposed_to_one_point_six_or_less() -> None:
    analyze = peers.program("systemd-analyze", package="systemd")
    told = subprocess.run(
        [analyze, "security", "--offline=true", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level for cpppod.service: ([\d.]+)", told.stdout)
    assert found, told.stderr
    assert float(found[1]) <= 1.6


def test_the_unit_calls_the_daemon_with_options_that_it_has() -> None:
    (start,) = seccomp_filter.settings(UNIT, "ExecStart")
    program, *arguments = start.split()
    assert Path(program).name == "cpppod"
    options = command.parser().parse_args(arguments)
    assert options.become is True
    for key, verb in (("ExecReload", "reload"), ("ExecStop", "stop")):
        assert seccomp_filter.settings(UNIT, key) == [f"/opt/cpppod/bin/cpppoctl {verb}"]


def test_the_unit_listens_to_the_main_process_alone() -> None:
    assert seccomp_filter.settings(UNIT, "Type") == ["notify"]
    assert seccomp_filter.settings(UNIT, "NotifyAccess") == ["main"]
    assert "@chown" in seccomp_filter.allowed_calls(UNIT) or "chown" in (
        seccomp_filter.allowed_calls(UNIT)
    )


def test_every_port_of_the_shipped_configuration_is_reserved() -> None:
    text = (ROOT / "systemd" / "sysctl.d" / "cpppod.conf").read_text()
    assert "ip_local_reserved_ports = 44818,44880-44881" in text


def test_the_groups_of_the_control_socket_are_made() -> None:
    text = (ROOT / "systemd" / "sysusers.d" / "cpppod.conf").read_text()
    for group in ("cpppod-viewer", "cpppod-operator", "cpppod-engineer"):
        assert re.search(rf"^g {group} ", text, re.MULTILINE)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.settimeout(PATIENCE_S)
        yield listening


def hear(systemd: socket.socket, *wanted: str) -> None:
    """Listen until systemd was told all of `wanted`."""
    told, end = "", time.monotonic() + PATIENCE_S
    while not all(word in told for word in wanted):
        assert time.monotonic() < end, f"only {told!r}"
        told += systemd.recv(4096).decode() + "\n"


def test_the_gateway_starts_under_the_units_system_call_filter(
    tmp_path: Path, systemd: socket.socket
) -> None:
    file = tmp_path / "cpppod.toml"
    file.write_text(EVERY_KIND_OF_WORKER.format(*(free_port() for _ in range(7))))
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "n"),
        "RUNTIME_DIRECTORY": str(tmp_path / "r"),
        "STATE_DIRECTORY": str(tmp_path / "s"),
        "WATCHDOG_USEC": "4000000",
    }
    daemon = [sys.executable, "-m", "cpppod.commands.cpppod", "--config", str(file)]
    filtered = [sys.executable, seccomp_filter.__file__, str(UNIT), *daemon]
    with subprocess.Popen(filtered, env=environment, start_new_session=True) as process:
        try:
            hear(systemd, "READY=1", "STATUS=", "WATCHDOG=1")
            mode = Path(f"/proc/{process.pid}/status").read_text()
            assert "Seccomp:\t2" in mode, "the main process is filtered"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            with ControlClient.connect(str(tmp_path / "r")) as gateway:
                rows = gateway.ask("status")["workers"]
            assert len(rows) == 9
            assert all(row["state"] == "running" and not row["restarts"] for row in rows)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
    assert not [pid for pid in children if is_alive(int(pid))]
