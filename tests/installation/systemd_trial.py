"""Runs inside the machine of `systemd_check`: installs, starts, reloads, kills, upgrades, stops.

Standard library alone, as that machine's own Python. A line a step on stdout; the last is `well`.
"""

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable

PROGRAMS = "/opt/cpppod/bin"
CONFIGURATION = pathlib.Path("/etc/cpppod/cpppod.toml")
PLANT = """
[gateway]
name = "trial"
cpppo_cfg = false
[[listener]]
address = "127.0.0.1:44818"
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:1502"
[[device.boiler.group]]
name = "all"
period = "100ms"
history = true
tags = [ { name = "level", address = 40001, type = "UINT" } ]
"""
MORE = """[[device.boiler.group]]
name = "more"
period = "100ms"
tags = [ { name = "limit", address = 40002, type = "UINT", writable = true } ]
"""
SIMULATOR = ("modbus_sim", "-a", "127.0.0.1:1502", "40001-40010=7", "-m", "40001=counter")
WORST_EXPOSURE = 1.6  # docs/installation.md
PATIENCE_S = 60.0

_begun = time.monotonic()


def said(what: str) -> None:
    """A step is done."""
    global _begun
    now = time.monotonic()
    print(f"  {now - _begun:6.2f} s  {what}", flush=True)
    _begun = now


def run(command: str, *, fails: bool = False) -> str:
    """What a line of a shell says; it must succeed, or fail if `fails`."""
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, executable="/bin/bash"
    )
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{command}: {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout + (done.stderr if fails else "")


def until(ask: Callable[[], object], what: str) -> None:
    """Wait until `ask` gives something true."""
    deadline = time.monotonic() + PATIENCE_S
    while not ask():
        if time.monotonic() > deadline:
            journal = run("journalctl -u cpppod --no-pager -n 30 -o cat")
            raise SystemExit(f"not {what} within {PATIENCE_S:g} s\n{journal}")
        time.sleep(0.02)


def shown(key: str) -> str:
    """A property of the unit."""
    return run(f"systemctl show cpppod --property {key} --value").strip()


def level() -> int:
    """The value, -1 where there is none."""
    command = [f"{PROGRAMS}/cpppoctl", "read", "--json", "boiler.level"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return hash(done.stdout) if done.returncode == 0 else -1


def moves() -> bool:
    """Whether the value is there, and another a moment later."""
    before = level()
    time.sleep(0.3)
    return before != -1 and level() not in (before, -1)


def children() -> set[int]:
    """The processes of the service."""
    tasks = pathlib.Path("/sys/fs/cgroup") / shown("ControlGroup").lstrip("/") / "cgroup.procs"
    found = [tasks, *pathlib.Path("/sys/fs/cgroup").glob("**/cpppod.service/cgroup.procs")]
    there = [path for path in found if path.exists()]
    return {int(word) for word in there[0].read_text().split()} if there else set()


def documented(name: str) -> list[str]:
    """The commands of a page, with their comments."""
    return pathlib.Path(f"/trial/{name}").read_text().splitlines()


def installs() -> None:
    """The page's commands, one by one; before the last, `then edit it`."""
    *commands, last = documented("commands")
    for command in commands:
        run(command)
        said(command.partition("#")[0].strip())
    CONFIGURATION.write_text(PLANT)
    run(f"systemd-run --quiet --unit sim {PROGRAMS}/" + " ".join(SIMULATOR))
    run(f"{PROGRAMS}/cpppod --check")
    run(last)
    said(f"{last}: {shown('StatusText')}")
    until(moves, "a value that moves")
    said("a value moves")


def reloads() -> None:
    """More configuration, without another process for what did not change."""
    main = shown("MainPID")
    CONFIGURATION.write_text(PLANT + MORE)
    run("systemctl reload cpppod")
    run(f"{PROGRAMS}/cpppoctl read boiler.limit")
    assert shown("MainPID") == main
    said("systemctl reload cpppod: a new tag has its value, the main process is the same")


def rights() -> None:
    """Who is in which group may do what."""
    run("useradd --groups cpppod-viewer vera; useradd nobody2")
    run(f"runuser -u vera -- {PROGRAMS}/cpppoctl devices")
    refused = run(f"runuser -u vera -- {PROGRAMS}/cpppoctl write boiler.limit=5", fails=True)
    run(f"runuser -u nobody2 -- {PROGRAMS}/cpppoctl status", fails=True)
    said(f"a viewer sees, and does not write ({refused.strip().splitlines()[-1][:100]})")


def dies(number: signal.Signals, what: str) -> None:
    """The main process is killed or hangs: it is another one soon, and no child is left."""
    main, before = int(shown("MainPID")), children()
    os.kill(main, number)
    until(lambda: shown("MainPID") not in ("0", str(main)), "started again")
    until(lambda: shown("ActiveState") == "active", "active again")
    said(f"{what}: running again, NRestarts={shown('NRestarts')}")
    assert not before & children(), "processes of before are left"
    until(moves, "a value that moves")
    said("a value moves, nothing of before is left")


def upgrades() -> None:
    """A newer package under the running gateway: it goes on, then goes over."""
    pip, reload, restart = (line.partition("#")[0].strip() for line in documented("upgrade"))
    main, before = shown("MainPID"), children()
    pathlib.Path("/etc/pip.conf").write_text("[global]\nno-index=true\nfind-links=/shelf /next\n")
    run(pip)
    newer = run(f"{PROGRAMS}/cpppod --version").strip()
    until(moves, "a value that moves")
    assert (shown("MainPID"), children()) == (main, before), "something was started anew"
    said(f"{pip}: {newer}; the same {len(before)} processes go on, a value moves")
    CONFIGURATION.write_text(PLANT)
    run(f"PATH={PROGRAMS}:$PATH {reload}")
    until(moves, "a value that moves")
    said(f"{reload}, with another configuration: a value moves")
    run(restart)
    assert newer.split()[-1] in run(f"{PROGRAMS}/cpppoctl status"), "another version runs"
    until(moves, "a value that moves")
    said(f"{restart}: {newer} runs, a value moves")


def stops() -> None:
    """Nothing is left."""
    run("systemctl stop cpppod")
    said("systemctl stop cpppod")
    assert not children() and not os.path.exists("/run/cpppod")
    said(f"nothing is left: Result={shown('Result')}")


def main() -> None:
    """The whole trial."""
    installs()
    reloads()
    rights()
    dies(signal.SIGKILL, "kill -9 of the main process")
    dies(signal.SIGSTOP, "the main process hangs: the watchdog")
    upgrades()
    exposure = run("systemd-analyze security --no-pager cpppod | tail -1").strip()
    assert float(exposure.split(": ")[1].split()[0]) <= WORST_EXPOSURE, exposure
    said(exposure.encode("ascii", "ignore").decode())
    stops()
    print("well", flush=True)


if __name__ == "__main__":
    main()
