"""`cpppod completion SHELL`: what Tab completes of all the package's programs, by their parsers.

    source <(cpppod completion bash)        in ~/.bashrc
    eval "$(cpppod completion zsh)"         in ~/.zshrc, below compinit
    cpppod completion fish | source         in ~/.config/fish/config.fish

The scripts are shtab's, which is the extra `completion`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import distribution
from typing import Any

from cpppod.commands.parser import CommandParser

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
examples:
  source <(cpppod completion bash)                 in ~/.bashrc
  eval "$(cpppod completion zsh)"                  in ~/.zshrc, below compinit
  cpppod completion fish | source                  in ~/.config/fish/config.fish
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = CommandParser(
        prog="cpppod completion",
        description="Print a script that completes the words of this package's programs.",
        epilog=EPILOG,
    )
    options.add_argument("shell", choices=SHELLS, help="for which shell")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    options = parser().parse_args(arguments)
    try:
        import shtab
    except ImportError:
        text = "shtab is missing; try pip install 'cpppod[completion]'"
        print(f"cpppod completion: {text}", file=sys.stderr)
        return 1
    for made in parsers():
        _with_files(made, shtab.FILE, shtab.DIRECTORY)
        script = shtab.complete(made, shell=options.shell)
        if options.shell == "bash":  # no word of its own: a file's name
            script = script.replace("complete -o bashdefault", "complete -o bashdefault -o default")
        print(script)
    return 0


def parsers() -> Iterator[argparse.ArgumentParser]:
    """The parser of each console script, as the package's own list has them."""
    for script in distribution("cpppod").entry_points.select(group="console_scripts"):
        yield _with_verbs() if script.name == "cpppod" else _parser_of(script.module)


def _parser_of(module: str) -> argparse.ArgumentParser:
    make: Callable[[], argparse.ArgumentParser] = import_module(module).parser
    return make()


def _with_verbs() -> argparse.ArgumentParser:
    """That of `cpppod`, with its verbs in the place of its files."""
    from cpppod.commands import cpppod

    made = cpppod.parser()
    made._actions[:] = [action for action in made._actions if action.option_strings]
    commands = made.add_subparsers()
    for name, module in cpppod.VERBS.items():
        verb = _parser_of(module)
        commands.add_parser(name, help=verb.description)
        commands.choices[name] = verb
    return made


def _with_files(made: argparse.ArgumentParser, file: Any, directory: Any) -> None:
    """Say which of a parser's values are files."""
    for action in made._actions:
        if isinstance(action.choices, dict):
            for verb in action.choices.values():
                _with_files(verb, file, directory)
        elif action.metavar in ("FILE", "PATH"):
            action.complete = file  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = directory  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
