"""cpppod on a terminal or a pipe: starts, shows, stops, and leaves nothing."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from cpppod import control_client
from cpppod.control_client import ControlClient
from cpppod.gateway import directories
from tests.patience import PATIENCE_S, within
from tests.ports import free_port
from tests.supervision.supervised import is_alive, until

CPPPOD = [sys.executable, "-m", "cpppod.commands.cpppod", "--foreground"]


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f") / "r"


@pytest.fixture
def command(runtime: Path) -> list[str]:
    """The command line of a small gateway with a device that is not there."""
    file = runtime.parent / "cpppod.toml"
    file.write_text(
        f'[gateway]\ncpppo_cfg = false\n[[listener]]\naddress = "127.0.0.1:{free_port()}"\n'
        f'[metrics]\nenabled = false\n[[tag]]\nname = "answer"\ntype = "DINT"\nvalue = 42\n'
        f'[device.absent]\ndriver = "modbus-tcp"\naddress = "127.0.0.1:{free_port()}"\n'
        '[[device.absent.group]]\nname = "g"\nperiod = "1s"\n'
        'tags = [{ name = "t", address = 40001 }]\n'
    )
    state = str(runtime.parent / "s")
    return [*CPPPOD, "-c", str(file), "--runtime", str(runtime), "--state", state]


@pytest.fixture
def process(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """The gateway in the foreground, its output on a pipe."""
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    yield started
    if started.poll() is None:
        started.kill()
    started.wait()
    assert started.stdout is not None
    started.stdout.close()


def lines_until(stream: IO[str] | None, text: str) -> list[str]:
    """The lines of output up to one with `text` in it."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line.rstrip())
        if text in line:
            return lines
    raise AssertionError("\n".join(lines))


def family(pid: int) -> list[int]:
    """`pid` and all that descend from it."""
    found = [pid]
    for each in found:
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
    return found


@within(5)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_and_leaves_nothing(
    process: "subprocess.Popen[str]", runtime: Path, number: int, within_s: float
) -> None:
    lines = lines_until(process.stdout, "ready after")
    assert any("EtherNet/IP (main)" in line for line in lines)
    assert any(str(runtime / "control.sock") in line for line in lines)
    everybody = family(process.pid)
    assert len(everybody) >= 6
    begun = time.monotonic()
    process.send_signal(number)
    lines_until(process.stdout, "cpppod: stopped")
    assert process.wait(PATIENCE_S) == 0
    assert time.monotonic() - begun < within_s
    assert not [pid for pid in everybody if is_alive(pid)]
    assert not runtime.exists()


def test_a_killed_parent_takes_the_gateway_with_it(process: "subprocess.Popen[str]") -> None:
    lines_until(process.stdout, "ready after")
    everybody = family(process.pid)
    process.kill()
    process.wait()
    until(lambda: not [pid for pid in everybody if is_alive(pid)], "nobody left")


@within(1)
def test_a_killed_supervisord_leaves_no_orphan_and_is_reported(
    process: "subprocess.Popen[str]", within_s: float
) -> None:
    lines_until(process.stdout, "ready after")
    _parent, supervisord, *workers = family(process.pid)
    os.kill(supervisord, signal.SIGKILL)
    begun = time.monotonic()
    until(lambda: not [pid for pid in workers if is_alive(pid)], "no orphans")
    assert time.monotonic() - begun < within_s
    lines_until(process.stdout, "supervisord ended by itself")
    assert process.wait(PATIENCE_S) == 1


def test_a_second_gateway_in_the_same_place_is_refused(
    process: "subprocess.Popen[str]", command: list[str]
) -> None:
    lines_until(process.stdout, "ready after")
    second = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert second.returncode == 1
    assert "a gateway runs there already" in second.stderr
    assert process.poll() is None


@within(1)
def test_workers_killed_by_hand_are_running_again(
    process: "subprocess.Popen[str]", runtime: Path, within_s: float
) -> None:
    lines_until(process.stdout, "ready after")
    with ControlClient.connect(str(runtime)) as gateway:
        before = {row["name"]: row for row in gateway.ask("status")["workers"]}
    grown_up = time.monotonic() + 1.1  # younger, a killed worker counts as crashed
    until(lambda: time.monotonic() > grown_up, "workers that are older than a second")
    victim = before["poller-absent"]["pid"]
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()

    def successor() -> bool:
        with ControlClient.connect(str(runtime)) as gateway:
            rows = {row["name"]: row for row in gateway.ask("status")["workers"]}
        row = rows["poller-absent"]
        return bool(row["pid"] != victim and row["state"] == "running")

    until(successor, "its successor")
    assert time.monotonic() - begun < within_s


def resize(terminal: int, height: int, width: int) -> None:
    """Give a terminal another size, as its window would."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def plain(seen: bytes) -> str:
    """What was written, without what moves and colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


def test_the_live_table_is_drawn_on_a_terminal(command: list[str]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # the terminal has its size before the program looks
        resize(0, 40, 140)
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES"):  # GNU readline, if loaded, has set them
            environment.pop(name, None)
        os.execve(command[0], command, environment)
    seen = b""
    try:
        while b"answer=42" not in seen or b"offline" not in seen:
            seen += os.read(terminal, 65_536)
        before = len(seen)
        resize(terminal, 12, 50)
        while not any(len(plain(frame)) > 50 for frame in seen[before:].split(b"\x1b[H")[2:-1]):
            seen += os.read(terminal, 65_536)
        shrunk = seen.split(b"\x1b[H")[-2]
        os.write(terminal, b"\x03")
        while True:
            seen += os.read(terminal, 65_536)
    except OSError:  # EIO: the other end is closed
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = plain(seen)
    assert re.search(r"device +state +rate +age +values +last error", text)
    assert re.search(r"absent +offline", text)
    assert "cpppod: stopped" in text
    lines = plain(shrunk).splitlines()
    assert len(lines) <= 12 and max(map(len, lines)) <= 50
    at_first, _table, at_last = re.split(rb"\x1b\[\?1049[hl]", seen)
    assert b"ready after" in at_first and b"offline" not in at_first
    assert b"INFO listener-main: listening" in at_first + at_last, "no line of the log is lost"


def test_what_somebody_else_put_at_our_place_is_not_used(tmp_path: Path, runtime: Path) -> None:
    runtime.symlink_to(tmp_path)
    file = tmp_path / "cpppod.toml"
    file.write_text("[gateway]\ncpppo_cfg = false\n")
    done = subprocess.run(
        [*CPPPOD, "-c", str(file), "--runtime", str(runtime), "--state", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "belongs to somebody else" in done.stderr


def test_a_path_too_long_for_a_socket_is_refused(command: list[str], tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80)
    words = [*command, "--runtime", str(deep)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert "longer than" in done.stderr
    assert not deep.exists()


def test_a_stop_from_outside_is_a_good_end(process: "subprocess.Popen[str]", runtime: Path) -> None:
    lines_until(process.stdout, "ready after")
    with ControlClient.connect(str(runtime)) as gateway:
        gateway.ask("stop")
    lines_until(process.stdout, "cpppod: stopped")
    assert process.wait(PATIENCE_S) == 0
    assert not runtime.exists()


def test_a_runtime_directory_for_everybody_gets_one_of_our_own_in_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    theirs = os.getuid() + 1
    chosen = directories.choose(str(shared), str(tmp_path / "s"), uid=theirs)
    assert chosen.runtime == shared / f"cpppod-{theirs}"
    assert directories.choose(str(shared), uid=os.getuid()).runtime == shared
    shared.chmod(0o755)
    assert directories.choose(str(shared), uid=theirs).runtime == shared  # and is refused
    own = shared / f"cpppod-{os.getuid()}"
    own.mkdir()
    (own / "control.sock").touch()
    assert control_client.candidates(str(shared)) == [own / "control.sock"]


def test_a_simulator_of_the_demo_writes_a_line_at_once(tmp_path: Path) -> None:
    """Several write to one pipe; in a container Python's output is unbuffered."""
    reading, writing = os.pipe2(os.O_DIRECT)  # keeps writes apart, as packets
    simulator = subprocess.Popen(
        [sys.executable, "-m", "cpppod.demo", "modbus_sim", "-a", "127.0.0.1:0", "40001=1"],
        stdout=writing,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    os.close(writing)
    try:
        assert re.fullmatch(rb"Success; .*\n", os.read(reading, 4096))
    finally:
        simulator.kill()
        simulator.wait()
        os.close(reading)
