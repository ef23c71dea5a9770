"""enip_historize: a simulated controller that records every read and write of its tags.

    enip_historize some_file.hst Tag_Name=INT[1000]

    # 2014-07-15 22:03:35.945: Started recording Tag: Tag_Name
    2014-07-15 22:03:44.186<TAB>["Tag_Name", [0, 3]]<TAB>{"write": [0, 1, 2, 3]}

Options are those of `enip_server`. It is also the example of an `Attribute` of one's own.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from cpppod.commands.enip import server as enip_server
from cpppod.commands.parser import CommandParser
from cpppod.history.logger import logger
from cpppod.history.timestamp import timestamp
from cpppod.protocols.cip.image import Variable
from cpppod.simulator.attribute import Attribute


def recording(history: logger) -> type[Attribute]:
    """A class of attributes that write what happens to them into `history`."""

    class Recorded(Attribute):
        """A tag whose reads and writes are recorded, and what goes wrong with them."""

        def __init__(self, name: str, variable: Variable) -> None:
            super().__init__(name, variable)
            history.comment(f"{timestamp()}: Started recording Tag: {name}")

        def _span(self, key: int | slice) -> tuple[int, int]:
            if not isinstance(key, slice):
                return key, key
            first, end, _ = key.indices(len(self))
            return first, end - 1

        def __getitem__(self, key: int | slice) -> Any:
            try:
                value = super().__getitem__(key)
            except Exception as error:
                self._failed("Read", key, error)
                raise
            self._record("read", key, value)
            return value

        def __setitem__(self, key: int | slice, value: Any) -> None:
            try:
                super().__setitem__(key, value)
            except Exception as error:
                self._failed("Write", key, error)
                raise
            self._record("write", key, value)

        def _record(self, what: str, key: int | slice, value: Any) -> None:
            values = list(value) if isinstance(key, slice) else [value]
            history.write({what: values}, serial=[self.name, list(self._span(key))])

        def _failed(self, what: str, key: int | slice, error: Exception) -> None:
            first, last = self._span(key)
            text = f"PLC I/O {what} Tag {self.name:>20}[{first:5}-{last:<5}] Exception: {error}"
            history.comment(f"{timestamp()}: {text}")

    return Recorded


EPILOG = """\
options and tags are those of enip_server, after FILE: enip_server --help

examples:
  enip_historize plant.hst 'Tag_Name=INT[1000]'
  enip_historize plant.hst -a 127.0.0.1:44819 --print Level=REAL

exit status: 0 done, 1 refused or failed, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """What stands before the command line of `enip_server`."""
    made = CommandParser(
        prog="enip_historize",
        usage="enip_historize FILE [OPTION ...] [TAG ...]",
        description="Simulate an EtherNet/IP controller and record every read and write of its "
        "tags.",
        epilog=EPILOG,
    )
    made.add_argument("file", metavar="FILE", help="the history file to record in; appended to")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Serve and record until stopped."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0].startswith("-"):
        if given and given[0] in ("-h", "--help", "--version"):
            parser().parse_args(given[:1])  # which ends the command
        text = "enip_historize: the first argument is the file to record in; then as enip_server"
        print(text, file=sys.stderr)
        return 2
    path, *rest = given
    with logger(path, bufsize=logger.LINE_BUF) as history:
        if not history:
            print(f"enip_historize: {path}: cannot be written; try another file", file=sys.stderr)
            return 1
        return enip_server.main(rest, attribute_class=recording(history))
