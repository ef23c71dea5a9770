"""A Debian that systemd boots, and a gateway in it as documented: `make systemd-check`.

    debootstrap, wheels        once, kept in .hosts
    systemd-nspawn --boot      a network of its own; `systemd_trial.py` is a service in it
    its report                 a line a step, printed here; the machine powers itself off

Needs root and Debian's debootstrap and systemd-container.
"""

import shutil
import sys
from pathlib import Path

from tests.installation.hosts import (
    HOSTS,
    MOUNTED,
    PIP_CONF,
    WHEELS,
    CheckError,
    Steps,
    build_wheel,
    commands_of,
    debian,
    need,
    run,
    shelve_wheels,
)

PROGRAMS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container"}
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "procps"),
    *("python3", "python3-venv", "python3-pip", "ca-certificates"),
)
NEXT_VERSION = "0.1.999"
TRIAL_S = 400.0  # two pips, a watchdog's ten seconds, on a busy machine
TRIAL = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -u /trial/systemd_trial.py
StandardOutput=file:/trial/report
StandardError=file:/trial/report
ExecStopPost=/usr/bin/systemctl --no-block poweroff
TimeoutStartSec=380
[Install]
WantedBy=multi-user.target
"""


def main() -> int:
    """Run the check; the exit status."""
    steps = Steps()
    try:
        need(PROGRAMS)
        base = debian("systemd", PACKAGES)
        steps.done("a Debian with systemd")
        shelve_wheels()
        build_wheel(HOSTS / "next", NEXT_VERSION)
        steps.done("the wheels of requirements.lock and of this checkout")
        report = _booted(base, HOSTS / "systemd-trial")
        print(report, end="")
        steps.done("booted, tried, powered off")
        if not report.endswith("well\n"):
            raise CheckError("the trial did not come to its end")
    except CheckError as error:
        print(f"systemd-check: {error}", file=sys.stderr)
        return 1
    return 0


def _booted(base: Path, root: Path) -> str:
    """What the trial reports from within a copy of `base`."""
    shutil.rmtree(root, ignore_errors=True)
    run("cp", "-a", "--reflink=auto", str(base), str(root))
    trial = root / "trial"
    trial.mkdir()
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (root / "etc" / "pip.conf").write_text(PIP_CONF)
    shutil.copytree(WHEELS, root / MOUNTED.lstrip("/"))
    shutil.copytree(HOSTS / "next", root / "next")
    shutil.copy(Path(__file__).with_name("systemd_trial.py"), trial)
    (trial / "commands").write_text("\n".join(commands_of("On a machine of its own")))
    (trial / "upgrade").write_text("\n".join(commands_of("Upgrade and downgrade", OPERATIONS)))
    unit = root / "etc/systemd/system/trial.service"
    unit.write_text(TRIAL)
    run("systemctl", f"--root={root}", "enable", "trial.service")
    run(
        *("systemd-nspawn", "--quiet", "-D", str(root), "--private-network", "--register=no"),
        *("--keep-unit", "--boot", "--console=pipe"),
        within_s=TRIAL_S,
    )
    report = (trial / "report").read_text("utf-8")
    shutil.rmtree(root)
    return report


OPERATIONS = "docs/operations.md"

if __name__ == "__main__":
    sys.exit(main())
