"""The commands of `cpppoctl` that move recordings; they need a store, not the daemon.

cpppoctl export /var/lib/cpppod/history plant.hst --tags 'boiler.*' --from '2026-11-22 12:00:00'
cpppoctl export /var/lib/cpppod/history plant.csv --wide --tags 'boiler.*'
cpppoctl import plant.hst /tmp/history --device boiler
"""

import argparse
import fnmatch
import json
import sys
from collections.abc import Callable
from typing import Any

from cpppod.history.csv_export import STDOUT, export_csv
from cpppod.history.files import COMPRESSIONS
from cpppod.history.playback import moment_us
from cpppod.history.recording import END_US, RecordingError
from cpppod.history.transfer import export_history, import_history
from cpppod.workers.historian.stores.opening import store_examples
from cpppod.workers.historian.stores.store import StoreError

NAMES_SHOWN = 20  # of those left out
Add = Callable[..., argparse.ArgumentParser]


def add_commands(add: Add) -> None:
    """Add these commands' parsers."""
    command = add(
        "export",
        None,
        "write stored values as a history file, or as CSV where its name ends in .csv",
        example="cpppoctl export /var/lib/cpppod/history plant.hst --tags 'boiler.*'",
    )
    command.add_argument("source", metavar="SOURCE", help=store_examples())
    command.add_argument("file", metavar="FILE", help="the history file (.hst), appended to; "
        "or .csv, written anew; - is CSV on standard output")  # fmt: skip
    command.add_argument(
        "--wide", action="store_true", help="CSV with a column for each tag, not a line each"
    )
    command.add_argument(
        "--gateway", default=None, metavar="ID", help="whose, where several fill the store"
    )
    command.add_argument("--compress", choices=COMPRESSIONS, default="", help="as FILE.0.gz ...")
    _add_choice(command)
    command = add(
        "import",
        None,
        "put a history file into a store",
        example="cpppoctl import plant.hst /tmp/history --device boiler",
    )
    command.add_argument("source", metavar="FILE", help="a history file, rotated ones too")
    command.add_argument("store", metavar="STORE", help=store_examples())
    command.add_argument("--device", default="", help="of registers, and tags without one")
    _add_choice(command)


def _add_choice(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--tags", action="append", default=[], metavar="PATTERN", help="boiler.*; all tags")
    add("--from", dest="begin", type=moment_us, default=0, metavar="TIME", help="its beginning")
    add("--to", dest="end", type=moment_us, default=END_US, metavar="TIME", help="its end")


def export(given: argparse.Namespace) -> int:
    """`cpppoctl export`: the exit status, 1 also where a pattern matched nothing."""
    seen: set[str] = set()
    choice = (given.source, given.file, given.tags, given.begin, given.end)
    how: dict[str, Any] = {"gateway": given.gateway, "seen": seen}
    status = _done(
        given,
        (lambda: export_csv(*choice, wide=given.wide, **how))
        if given.file == STDOUT or given.file.endswith(".csv")
        else (lambda: export_history(*choice, compress=given.compress, **how)),
        "records written",
        quiet=given.file == STDOUT,
    )
    missing = [] if status else [each for each in given.tags if not fnmatch.filter(seen, each)]
    for pattern in missing:
        text = f"no tag matches {pattern!r} in that time; try --tags '*'"
        print(f"cpppoctl: export: {text}", file=sys.stderr)
    return status or int(bool(missing))


def bring_in(given: argparse.Namespace) -> int:
    """`cpppoctl import`: the exit status, 1 also where a name had to be left out."""
    left_out: dict[str, str] = {}
    status = _done(
        given,
        lambda: import_history(
            given.source,
            given.store,
            given.tags,
            device=given.device,
            since_us=given.begin,
            until_us=given.end,
            left_out=left_out,
        ),
        "readings are new in the store",
    )
    for tag, reason in list(left_out.items())[:NAMES_SHOWN]:
        print(f"cpppoctl: import: {tag!r} is left out: {reason}", file=sys.stderr)
    if len(left_out) > NAMES_SHOWN:
        more = len(left_out) - NAMES_SHOWN
        print(f"cpppoctl: import: {more} more names are left out", file=sys.stderr)
    return status or int(bool(left_out))


def _done(
    given: argparse.Namespace, work: Callable[[], int], what: str, *, quiet: bool = False
) -> int:
    try:
        count = work()
    except (RecordingError, StoreError, OSError) as error:
        print(f"cpppoctl: {given.command}: {error}", file=sys.stderr)
        return 1
    if quiet:
        return 0
    print(json.dumps({"count": count}) if given.json else f"{count} {what}")
    return 0
