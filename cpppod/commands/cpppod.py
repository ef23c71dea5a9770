"""`cpppod`: the gateway daemon.

cpppod [FILE ...]            /etc/cpppod/cpppod.toml and conf.d/*.toml
cpppod --check [FILE ...]    only say whether the configuration is well
cpppod --demo                the demo plant, with simulated devices
cpppod tags COMMAND ...      tag lists: `cpppod.commands.tags`
cpppod install-service       a service of systemd: `cpppod.commands.install_service`
cpppod completion SHELL      what Tab completes: `cpppod.commands.completion`
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from cpppod.commands.parser import CommandParser

DEFAULT_FILE = "/etc/cpppod/cpppod.toml"
EPILOG = """\
examples:
  cpppod --demo                              a simulated plant, until Ctrl-C
  cpppod --check plant.toml                  what is wrong with it, or what it amounts to
  cpppod plant.toml                          run it
  cpppod tags --help                         bring tag lists in, give them out, browse devices
  cpppod --schema > cpppod.schema.json       for editors
  cpppod install-service                     run it under systemd
  source <(cpppod completion bash)           complete its words and those of all its programs

cpppoctl asks and steers what runs.

exit status: 0 done, 1 refused or failed, 2 wrong usage
"""
DONE, REFUSED = 0, 1
VERBS = {  # first words that are no file; `./tags` is one
    "tags": "cpppod.commands.tags",
    "install-service": "cpppod.commands.install_service",
    "completion": "cpppod.commands.completion",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = CommandParser(
        prog="cpppod",
        description="Industrial gateway for EtherNet/IP (CIP), Modbus and text devices.",
        epilog=EPILOG,
    )
    add = options.add_argument
    add("files", nargs="*", metavar="FILE", help=f"the configuration to run ({DEFAULT_FILE})")
    add(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="the same as FILE, with conf.d/*.toml beside it; may be repeated",
    )
    add(
        "--check",
        nargs="*",
        metavar="FILE",
        default=None,
        help="check the configuration, list what is wrong with it, and start nothing",
    )
    add("--schema", action="store_true", help="print the JSON Schema of the configuration file")
    add("--demo", action="store_true", help="run the demo plant: every device is simulated")
    add("--runtime", default="", metavar="DIR", help="sockets (/run/cpppod, or the user's own)")
    add("--state", default="", metavar="DIR", help="history and journals (/var/lib/cpppod)")
    add(
        "--exec",
        dest="become",
        action="store_true",
        default=None,
        help="become supervisord, as under systemd and in a container",
    )
    add(
        "--foreground",
        dest="become",
        action="store_false",
        help="stay the parent of supervisord, as on a terminal",
    )
    add("--plain", action="store_true", default=None, help="log lines instead of the live table")
    add("--json", action="store_true", help="with --check: the result as JSON")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words and (verb := VERBS.get(words[0])) is not None:
            main_of_verb: Callable[[Sequence[str]], int] = import_module(verb).main
            return main_of_verb(words[1:])
        options = parser().parse_args(words)
        for file in options.files:
            if not os.path.lexists(file):
                known = ", ".join(VERBS)
                parser().error(f"{file!r} is neither a configuration file nor a command ({known})")
        return _obey(options)
    except BrokenPipeError:  # the reader of our output has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED


def _obey(options: argparse.Namespace) -> int:
    options.config = options.files + options.config
    if options.schema:
        from cpppod import configuration

        print(json.dumps(configuration.schema(), indent=2))
        return DONE
    if options.check is not None:
        files = options.check or options.config or [_demo_file() if options.demo else DEFAULT_FILE]
        return check(files, as_json=options.json)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    from cpppod import configuration
    from cpppod.gateway.daemon import Start, start
    from cpppod.gateway.directories import DirectoryError

    how = Start(options.runtime, options.state, options.become, options.plain)
    files = options.config or [_demo_file() if options.demo else DEFAULT_FILE]
    try:
        loaded = configuration.load([Path(file).absolute() for file in files])
        if options.demo:
            from cpppod.gateway.demo import with_simulators

            how = replace(with_simulators(how), demo=not options.config)
        return start(loaded, how)
    except configuration.ConfigurationError as error:
        return _complain(error.problems)
    except DirectoryError as error:
        print(f"cpppod: {error}", file=sys.stderr)
        return REFUSED


def _demo_file() -> str:
    from cpppod.gateway.demo import CONFIGURATION

    return str(CONFIGURATION)


def _complain(problems: Sequence[Any]) -> int:
    for problem in problems:
        print(problem, file=sys.stderr)
    if [problem.file for problem in problems] == [DEFAULT_FILE]:
        print("cpppod: --config FILE names another; --demo needs none", file=sys.stderr)
    count = len(problems)
    print(
        f"cpppod: configuration: {count} mistake{'s' * (count != 1)}; nothing was started",
        file=sys.stderr,
    )
    return REFUSED


def check(files: Sequence[str], *, as_json: bool = False) -> int:
    """Say whether the configuration in `files` is well, and what it amounts to."""
    from cpppod import configuration
    from cpppod.configuration import report

    try:
        loaded = configuration.load([Path(file).absolute() for file in files])
    except configuration.ConfigurationError as error:
        if as_json:
            print(json.dumps({"ok": False, "problems": [each.plain() for each in error.problems]}))
            return REFUSED
        return _complain(error.problems)
    plain = report.plain(loaded)
    print(json.dumps(plain) if as_json else "\n".join(report.lines(plain)))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
