"""`modbus_sim` as documented: its lines, ranges, options, faults while it runs, and its peers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cpppod.modbus import Poller
from cpppod.protocols.modbus.motion import parse_motion
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.simulators.modbus.control import tell
from tests.patience import PATIENCE_S
from tests.ports import free_port


@contextmanager
def simulator(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running `modbus_sim`; (its process, the address it announced)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cpppod.commands.modbus_sim", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        yield process, line.strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def run(*arguments: str, timeout_s: float = PATIENCE_S) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cpppod.commands.modbus_sim", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def test_the_readmes_start_line_is_printed_for_an_address_without_host() -> None:
    port = free_port()
    with simulator("-a", f":{port}", "40001-40100=99") as (process, line):
        expected = f"Success; Started Modbus/TCP Simulator; PID = {process.pid}; address = :{port}"
        assert line == expected
        with Poller("plc", host="localhost", port=port, rate=0.05) as plc:
            plc.poll(40001)
            assert plc.wait(PATIENCE_S)
            assert plc.read(40001) == 99


@pytest.mark.parametrize(
    ("registers", "address", "value"),
    [
        ("40001-40010=99", 40_001, 99),
        ("400001-400010=99", 40_001, 99),
        ("40001=1,2,3", 40_003, 3),
        ("1-16=0,1", 2, True),
        ("10001-10016=1", 10_016, True),
        ("30001-30002=0x10", 30_002, 16),
        ("465536=7", 465_536, 7),
        ("HR:5=8", 40_006, 8),
    ],
)
def test_the_documented_ranges_are_served(registers: str, address: int, value: int) -> None:
    from cpppod.modbus import Server

    with Server("127.0.0.1:0", registers) as server:
        host, _, port = server.address.rpartition(":")
        with Poller("plc", host=host, port=int(port), rate=0.05) as plc:
            plc.poll(address)
            assert plc.wait(PATIENCE_S)
            assert plc.read(address) == value


def test_sigint_and_sigterm_end_it_with_0() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with simulator("-a", "127.0.0.1:0", "40001") as (process, _):
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-a", "127.0.0.1:0"], 2, "no registers"),
        (["-a", "127.0.0.1:0", "40001", "--evil", "nonsense"], 2, "truncate"),
        (["-a", "127.0.0.1:0", "4x"], 2, "registers"),
        (["-a", "127.0.0.1:0", "40001", "--fault", "nonsense"], 2, "one of"),
        (["-a", "127.0.0.1:0", "40001", "--move", "40001=jump"], 2, "motion"),
        (["-a", "127.0.0.1:x", "40001"], 2, "port"),
        (["-a", "/dev/nowhere", "40001"], 1, "o such file"),
        (["-c", "{", "40001"], 2, "JSON"),
        (
            ["--nonsense"],
            2,
            "unrecognized arguments: --nonsense; try modbus_sim --help",
        ),
    ],
)
def test_what_cannot_be_is_said_with_its_exit_code(
    arguments: list[str], code: int, words: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named_and_range_tries_the_next() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("-a", f"127.0.0.1:{port}", "40001")
        assert done.returncode == 1
        assert f"127.0.0.1:{port}: another program has this port" in done.stderr
        with simulator("-a", f"127.0.0.1:{port}", "-r", "20", "40001") as (_, line):
            found = int(line.rpartition(":")[2])
            assert port < found < port + 20


def test_faults_and_values_are_switched_while_it_runs(tmp_path: Path) -> None:
    control = str(tmp_path / "control")
    with simulator("-a", "127.0.0.1:0", "--control", control, "40001-40010=5") as (_, line):
        host, _, port = line.rpartition(" ")[2].rpartition(":")
        with Poller("plc", host=host, port=int(port), rate=0.05, timeout_s=0.2) as plc:
            plc.poll(40001)
            while plc.read(40001) != 5:
                plc.wait(PATIENCE_S)
            assert tell(control, "fault silent")["result"] == ["silent"]
            while plc.online:
                plc.wait(PATIENCE_S)
            assert plc.read(40001) is None
            assert tell(control, "clear silent")["result"] == 1
            assert tell(control, "set 40001=6")["ok"]
            while plc.read(40001) != 6:
                plc.wait(PATIENCE_S)
            assert tell(control, "get 40001-40002")["result"] == [6, 5]
            assert not tell(control, "nonsense")["ok"]
            assert tell(control, "status")["result"]["endpoints"] == [f"{host}:{port}"]
        done = run("--tell", control, "faults")
        assert (done.returncode, json.loads(done.stdout)) == (0, [])
        assert run("--tell", str(tmp_path / "nobody"), "faults").returncode == 1
    assert not os.path.exists(control)


def test_a_recorded_history_is_replayed_over_and_over(tmp_path: Path) -> None:
    from cpppod.commands.modbus import sim as modbus_sim
    from cpppod.history import logger

    path = tmp_path / "plant.hst"
    with logger(str(path)) as history:
        for number, value in enumerate((5, 7, 9)):
            history.write({"boiler.level": value}, now=1_000_000_000.0 + number)
    arguments = ["--move", f"40001=replay,file={path}", "-a", "127.0.0.1:0"]
    plant = modbus_sim.make_plant(modbus_sim.parser().parse_args(arguments))
    (motion,) = plant.motions
    assert [motion.cells(at) for at in (0.0, 0.9, 1.1, 2.1, 3.1)] == [[5], [5], [7], [9], [5]]
    done = run("-a", "127.0.0.1:0", "--move", f"40001=replay,file={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "none" in done.stderr


def test_a_pty_appears_under_its_link_and_goes_with_it(tmp_path: Path) -> None:
    link = tmp_path / "line"
    with simulator("--pty", str(link), "--json", "3:40001=7") as (process, line):
        announced = json.loads(line)
        assert announced == {
            "kind": "Modbus/RTU",
            "pid": process.pid,
            "address": str(link),
        }
        with Poller("plc", host=str(link), unit=3, rate=0.05) as plc:
            plc.poll(40001)
            assert plc.wait(PATIENCE_S)
            assert plc.read(40001) == 7
    assert not link.exists()


@pytest.mark.parametrize(
    ("evil", "value"),
    [
        ("truncate", None),
        ("corrupt", None),
        ("corrupt:transaction", None),
        ("corrupt:protocol", None),
        ("corrupt:unit", None),
        ("corrupt:function", None),
        ("corrupt:registers", None),
        ("delay:0.05", 5),
    ],
)
def test_evil_is_never_believed(evil: str, value: Any) -> None:
    with simulator("-a", "127.0.0.1:0", "40001=5", "--evil", evil) as (_, line):
        host, _, port = line.rpartition(" ")[2].rpartition(":")
        timeout_s = 0.2 if value is None else PATIENCE_S
        with Poller("plc", host=host, port=int(port), rate=0.05, timeout_s=timeout_s) as plc:
            plc.poll(40001)
            deadline_s = time.monotonic() + PATIENCE_S
            while not plc.wait(0.5):
                assert time.monotonic() < deadline_s
            assert plc.read(40001) == value


def test_times_of_a_motion_are_durations() -> None:
    motion = parse_motion("40001=counter,every=500ms,step=2", chance=lambda: 0.5)
    assert [motion.value(at) for at in (0.0, 0.4, 0.5, 1.0)] == [0, 0, 2, 4]
    with pytest.raises(EncodeError, match="every=soon"):
        parse_motion("40001=counter,every=soon", chance=lambda: 0.5)
