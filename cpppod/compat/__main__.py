"""python -m cpppod.compat: run a program that was written for cpppo."""

import os
import runpy
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cpppod.compat import install, write_package

if TYPE_CHECKING:
    import argparse

EPILOG = """\
examples:
  python -m cpppod.compat my_poller.py 10.0.0.5
  python -m cpppod.compat -m cpppo.server.enip.client --print SCADA[0-9]
  python -m cpppod.compat --write-package lib/     then: PYTHONPATH=lib python my_poller.py

exit status: the program's; 1 where it is not there, 2 wrong usage
"""


def parser() -> "argparse.ArgumentParser":
    """The command line, up to the program's own arguments."""
    from cpppod.commands.parser import CommandParser

    made = CommandParser(
        prog="python -m cpppod.compat",
        usage="%(prog)s [-h] (SCRIPT | -m MODULE | --write-package DIR) [ARGS ...]",
        description="Run a program that was written for cpppo, on cpppod.",
        epilog=EPILOG,
    )
    made.add_argument("-m", dest="module", metavar="MODULE", help="run a module: cpppo.server.enip")
    made.add_argument("--write-package", metavar="DIR", help="write a package `cpppo` into DIR")
    made.add_argument("script", nargs="?", metavar="SCRIPT", help="run a file")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program that the command line names; its own exit leaves this function too."""
    given = list(sys.argv[1:] if argv is None else argv)
    own, rest = _split(given)
    if len(own) == 1 and not own[0].startswith("-"):  # as a rule: no parser is needed
        install(children=True)
        return run_script(own[0], rest)
    arguments = parser().parse_args(own)
    if arguments.write_package:
        try:
            print(write_package(arguments.write_package))
        except OSError as error:
            print(f"cpppod.compat: {error}", file=sys.stderr)
            return 1
        return 0
    if not arguments.module:
        parser().error("a script or -m MODULE is needed")
    install(children=True)
    return run_module(arguments.module, rest)


def run_module(name: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m` does; 1 where there is none of that name."""
    sys.argv = [name, *arguments]
    sys.path.insert(1, "")  # behind our names, should another cpppo be there
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        if error.name is not None and not name.startswith(error.name):
            raise  # what the module itself imports is not there
        print(f"cpppod.compat: {error}", file=sys.stderr)
        return 1
    return 0


def run_script(path: str, arguments: Sequence[str]) -> int:
    """Run a file as `python FILE` does; 1 where it is not there."""
    if not os.path.exists(path):
        print(f"cpppod.compat: there is no {path}", file=sys.stderr)
        return 1
    sys.argv = [path, *arguments]
    sys.path.insert(1, os.path.dirname(os.path.realpath(path)))  # behind our names
    runpy.run_path(path, run_name="__main__")
    return 0


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """Our arguments and the program's: those after the script or the module's name."""
    for index, argument in enumerate(given):
        if argument == "-m" or argument == "--write-package":
            return given[: index + 2], given[index + 2 :]
        if not argument.startswith("-"):
            return given[: index + 1], given[index + 1 :]
    return given, []


if __name__ == "__main__":
    sys.exit(main())
