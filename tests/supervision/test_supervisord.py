"""supervisord as cpppod runs it: stops, restarts, orphans, output, notifications."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpppod.gateway.supervision import Program
from tests.patience import PATIENCE_S, within
from tests.supervision.supervised import Supervised, is_alive, until

SLEEPER = ("/bin/sleep", "1000")
DEAF = ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 100; done")
BOUND = (
    sys.executable,
    "-c",
    "import os, signal, time; from cpppod.gateway.parent import die_with_parent; "
    "die_with_parent(signal.SIGKILL, int(os.environ['CPPPOD_SUPERVISOR_PID'])); time.sleep(1000)",
)


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


@within(5)
def test_forty_programs_of_which_three_ignore_sigterm_stop(runtime: Path, within_s: float) -> None:
    programs = [Program(f"p{number}", SLEEPER) for number in range(37)]
    programs += [Program(f"deaf{number}", DEAF) for number in range(3)]
    with Supervised(runtime, programs) as supervised:
        pids = supervised.wait_for(40)
        begun = time.monotonic()
        supervised.call("supervisor.stopAllProcesses", False)
        supervised.call("supervisor.shutdown")
        assert supervised.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begun < within_s
        assert not [pid for pid in pids.values() if is_alive(pid)]


@within(2)  # supervisord alone takes 0.2 s a group
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_all_groups_at_once(runtime: Path, number: int, within_s: float) -> None:
    programs = [Program(f"p{number}", SLEEPER) for number in range(20)]
    with Supervised(runtime, programs) as supervised:
        pids = supervised.wait_for(20)
        begun = time.monotonic()
        supervised.process.send_signal(number)
        assert supervised.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begun < within_s
        assert not [pid for pid in pids.values() if is_alive(pid)]


@within(0.9)
def test_a_killed_program_is_back_and_the_others_stay(runtime: Path, within_s: float) -> None:
    programs = [Program("one", SLEEPER), Program("two", SLEEPER)]
    with Supervised(runtime, programs) as supervised:
        before = supervised.wait_for(2)
        until(
            lambda: supervised.call("supervisor.getProcessInfo", "one")["statename"] == "RUNNING",
            "the first second",
        )
        begun = time.monotonic()
        os.kill(before["one"], signal.SIGKILL)
        children = Path(f"/proc/{supervised.process.pid}/task/{supervised.process.pid}/children")
        until(  # without a call to supervisord, which would wake it
            lambda: (
                len(new := set(map(int, children.read_text().split()))) == 2
                and before["one"] not in new
            ),
            "its successor",
        )
        assert time.monotonic() - begun < within_s
        assert supervised.pids()["two"] == before["two"]


@within(1)
def test_programs_bound_to_supervisord_die_with_it(runtime: Path, within_s: float) -> None:
    programs = [Program(f"p{number}", BOUND) for number in range(5)]
    with Supervised(runtime, programs) as supervised:
        pids = supervised.wait_for(5)
        until(lambda: all(_is_bound(pid) for pid in pids.values()), "five bound programs")
        supervised.process.kill()
        supervised.process.wait()
        begun = time.monotonic()
        until(lambda: not any(map(is_alive, pids.values())), "no orphans")
        assert time.monotonic() - begun < within_s


def _is_bound(pid: int) -> bool:
    """Whether the program is in its sleep, and so past prctl."""
    try:
        return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


def test_output_goes_to_standard_output_even_when_that_is_a_socket(runtime: Path) -> None:
    ours, theirs = socket.socketpair()
    shout = Program("shout", ("/bin/sh", "-c", "echo hello from below >&2; sleep 1000"))
    with Supervised(runtime, [shout], stdout=theirs):
        theirs.close()
        ours.settimeout(PATIENCE_S)
        heard = b""
        while b"hello from below" not in heard:
            heard += ours.recv(4096)
    while ours.recv(4096):  # ends when the copier has ended
        pass
    ours.close()


def test_notifications_are_sent_by_supervisord_and_programs_do_not_see_the_socket(
    runtime: Path,
) -> None:
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    systemd.settimeout(PATIENCE_S)
    systemd.bind(str(runtime / "notify"))
    tell = Program("tell", ("/bin/sh", "-c", 'echo "[$NOTIFY_SOCKET$WATCHDOG_USEC]"; sleep 1000'))
    environment = {"NOTIFY_SOCKET": str(runtime / "notify"), "WATCHDOG_USEC": "10000000"}
    with Supervised(runtime, [tell], environment=environment) as supervised:
        assert supervised.call("cpppod.notify", "READY=1\nSTATUS=well") is True
        text, ancillary, _flags, _address = systemd.recvmsg(4096, 1024)
        assert text == b"READY=1\nSTATUS=well"
        assert int.from_bytes(ancillary[0][2][:4], sys.byteorder) == supervised.process.pid
        assert supervised.process.stdout is not None
        for line in supervised.process.stdout:
            if line.strip() == b"[]":
                break
    systemd.close()


def test_without_systemd_a_notification_is_not_an_error(runtime: Path) -> None:
    with Supervised(runtime, [], environment={"NOTIFY_SOCKET": ""}) as supervised:
        assert supervised.call("cpppod.notify", "READY=1") is False


def test_a_program_bound_to_a_parent_that_is_gone_does_not_begin() -> None:
    code = (
        "import os, signal\nfrom cpppod.gateway.parent import die_with_parent\n"
        "die_with_parent(signal.SIGTERM, 1 if os.getppid() != 1 else 2)\nprint('began')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, b"")
