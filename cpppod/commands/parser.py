"""The parser that every command's line has: what cannot be meant is one line and exit status 2.

enip_client: unrecognized arguments: --speed; try enip_client --help
"""

import argparse
from typing import Any, NoReturn

from cpppod import __version__

USAGE = 2  # exit status


class CommandParser(argparse.ArgumentParser):
    """A parser with `--version`, whose description and examples are shown as they are written."""

    has_version = True

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **how})
        if self.has_version:
            self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and what to do, and end with exit status 2."""
        self.exit(USAGE, f"{self.prog}: {message}; try {self.prog} --help\n")


class VerbParser(CommandParser):
    """The parser of a command's verb; the version is the command's."""

    has_version = False
