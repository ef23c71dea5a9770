"""`cpppod tags`: tag lists, brought in and given out.

cpppod tags import kepware plant.json -o conf.d/
cpppod tags export csv -o tags.csv
cpppod tags browse 10.0.0.5 --toml
"""

import argparse
import sys
from collections.abc import Sequence

from cpppod.commands.parser import CommandParser, VerbParser
from cpppod.commands.tags import browse, lists

NAME = "cpppod tags"
FAILED, USAGE = 1, 2
EPILOG = """\
examples:
  cpppod tags import kepware plant.json -o conf.d/     a project of Kepware
  cpppod tags import l5x press.L5X -o conf.d/ --address 10.0.0.5:44818
  cpppod tags import csv list.csv -o conf.d/           a table: name, address, type ...
  cpppod tags export csv -c cpppod.toml -o list.csv    every tag of a device as a table
  cpppod tags browse 10.0.0.5 --toml > conf.d/press.toml
  cpppod tags browse 10.0.0.7:502 --where 40001-40100  registers of a Modbus device
  cpppod tags browse /dev/ttyUSB0 --unit 3             registers of a unit on a line

exit status: 0 done, 1 refused or failed, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = CommandParser(
        prog=NAME,
        description="Tag lists: brought in, given out.",
        epilog=EPILOG,
    )
    verbs = options.add_subparsers(
        dest="verb",
        metavar="COMMAND",
        required=True,
        parser_class=VerbParser,
    )
    lists.add_import_options(verbs.add_parser("import", help="bring a tag list in"))
    lists.add_export_options(verbs.add_parser("export", help="give the tags of devices out"))
    browse.add_options(verbs.add_parser("browse", help="ask a device what it has"))
    return options


VERBS = {"import": lists.bring_in, "export": lists.give_out, "browse": browse.run}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    options = parser().parse_args(arguments)
    try:
        return VERBS[options.verb](options)
    except browse.UsageError as error:
        print(f"{NAME}: {error}; try {NAME} --help", file=sys.stderr)
        return USAGE
    except lists.Failed as error:
        print(f"{NAME} {options.verb}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
