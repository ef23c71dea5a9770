"""`cpppod install-service`: the gateway as a service of systemd, from what the package has in it.

    etc/systemd/system/cpppod.service   starts the cpppod of the environment that this command is in
    etc/sysusers.d/cpppod.conf          user and groups
    etc/sysctl.d/cpppod.conf            ports kept free
    etc/cpppod/cpppod.toml              an example, where there is none yet

Then it has systemd read them, where it was not given another --root. What stands there in another
form is replaced, but for the configuration; what differs at a site belongs into drop-ins.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cpppod
from cpppod.commands.parser import CommandParser

PACKAGE = Path(cpppod.__file__).parent
BUILT_FOR = "/opt/cpppod/bin/"  # in the unit
UNIT = "etc/systemd/system/cpppod.service"
CONFIGURATION = "etc/cpppod/cpppod.toml"
FILES = {  # in the package -> below the root
    "systemd/cpppod.service": UNIT,
    "systemd/sysusers.d/cpppod.conf": "etc/sysusers.d/cpppod.conf",
    "systemd/sysctl.d/cpppod.conf": "etc/sysctl.d/cpppod.conf",
    "etc/cpppod.toml": CONFIGURATION,
}
COMMANDS = (
    ("systemd-sysusers",),
    ("sysctl", "-q", "-p", "/etc/sysctl.d/cpppod.conf"),
    ("systemctl", "daemon-reload"),
)
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # by ProtectHome= and PrivateTmp=
EPILOG = """\
examples:
  /opt/cpppod/bin/cpppod install-service    and then, as it says: systemctl enable --now cpppod
  cpppod install-service --root image/      into a tree that is to become a machine's
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = CommandParser(
        prog="cpppod install-service",
        description="Install the gateway's unit, user, groups and an example configuration.",
        epilog=EPILOG,
    )
    options.add_argument("--root", default="/", metavar="DIR", help="install below it, and no more")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    options = parser().parse_args(arguments)
    root, programs = Path(options.root), Path(sys.prefix) / "bin"
    here = root == Path("/")
    if here and shutil.which("systemctl") is None:
        text = "no systemd here; --root DIR writes the files alone"
        print(f"cpppod install-service: {text}", file=sys.stderr)
        return 1
    if here and str(programs).startswith(tuple(f"{place}/" for place in HIDDEN)):
        print(
            f"cpppod install-service: {programs}: the unit hides {', '.join(HIDDEN)} from the "
            "gateway; try an environment such as /opt/cpppod",
            file=sys.stderr,
        )
        return 1
    try:
        for source, name in FILES.items():
            _install(PACKAGE / source, root / name, programs)
        if here:
            for words in COMMANDS:
                subprocess.run(words, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cpppod install-service: {error}; try it as root", file=sys.stderr)
        return 1
    print(f"next: edit /{CONFIGURATION}; {programs}/cpppod --check; systemctl enable --now cpppod")
    return 0


def _install(source: Path, target: Path, programs: Path) -> None:
    """Put `source` there, with the paths of `programs` in it, and say so."""
    if target.name == Path(CONFIGURATION).name and target.exists():
        print(f"kept      {target}")
        return
    text = source.read_text("utf-8").replace(BUILT_FOR, f"{programs}/")
    is_there = target.exists() and target.read_text("utf-8") == text
    if not is_there:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = target.with_name(f".{target.name}.new")
        made.write_text(text, "utf-8")
        made.chmod(0o644)
        shutil.move(made, target)
    print(f"{'unchanged' if is_there else 'installed'} {target}")


if __name__ == "__main__":
    sys.exit(main())
