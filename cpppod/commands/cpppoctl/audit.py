"""`cpppoctl audit`: who wrote what, and whether the record of it is what it was.

cpppoctl audit --tag 'boiler.*' --since 1d     the newest records, oldest first
cpppoctl audit verify                          every chain looked through
cpppoctl audit verify --state DIRECTORY        without the daemon, by who may read its files
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpppod.commands.arguments import whole
from cpppod.commands.cpppoctl.history import moment
from cpppod.commands.cpppoctl.output import print_json, print_table, time_of, value
from cpppod.control_client import ControlClient, ControlError
from cpppod.protocols.model.writing import WAYS, Outcome
from cpppod.workers.audit.reading import Question, QuestionError, select, verify

Add = Callable[..., argparse.ArgumentParser]

FILTERS = ("tag", "user", "way", "outcome", "writer", "limit")
TITLES = ("time", "tag", "old", "new", "outcome", "why", "way", "user", "address", "session")
DATE = len("2026-11-30")


def add_commands(add: Add) -> None:
    """Add the command's parser."""
    command = add(
        "audit",
        audit,
        "show who wrote what, refused attempts too; `verify` says whether it is as it was written",
        example="cpppoctl audit --tag 'boiler.*' --since 1d",
    )
    command.add_argument("action", nargs="?", choices=("verify",))
    command.add_argument("--tag", metavar="PATTERN", help="of these tags; * and ?")
    command.add_argument("--user", metavar="PATTERN", help="by these users")
    command.add_argument("--way", choices=WAYS, help="that came this way")
    command.add_argument("--outcome", choices=[str(each) for each in Outcome])
    command.add_argument("--writer", metavar="WORKER", help="that this worker recorded")
    command.add_argument("--since", type=moment, metavar="TIME", help="10m, 2h, 3d ago, or a date")
    command.add_argument("--until", type=moment, metavar="TIME", help="likewise; now")
    command.add_argument(
        "--limit", type=whole(0), metavar="N", help="the newest N (100, at most 1000)"
    )
    command.add_argument(
        "--newest",
        action="append",
        default=[],
        type=anchor,
        metavar="WORKER:NUMBER:HASH",
        help="with verify: a record as the feed or the metrics told it, which an old copy lacks",
    )
    command.add_argument("--state", metavar="DIR", default="", help="read these files: no daemon")


def anchor(text: str) -> tuple[str, int, str]:
    """Worker, number and hash of a record.

    Raises:
        ArgumentTypeError: it is not of the form WORKER:NUMBER:HASH.
    """
    words = text.split(":")
    try:
        writer, number, mac = words
        int(mac, 16)
        return writer, int(number), mac.lower()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WORKER:NUMBER:HASH") from None


def audit(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl audit [verify]`, asked of the daemon."""
    if given.action == "verify":
        newest = {writer: [number, mac] for writer, number, mac in given.newest}
        return _verified(given, gateway.ask("audit", verify=True, newest=newest))
    return _shown(given, gateway.ask("audit", **_question(given)))


def offline(given: argparse.Namespace) -> int:
    """The same, out of the files of a state directory.

    Raises:
        ControlError: they cannot be read, or the question makes no sense.
    """
    state = Path(given.state)
    try:
        if given.action == "verify":
            reports = verify(state, {writer: (number, mac) for writer, number, mac in given.newest})
            plain = [report.plain() for report in reports]
            return _verified(given, {"ok": all(each.ok for each in reports), "writers": plain})
        return _shown(given, {"records": select(state, Question.of(_question(given)))})
    except QuestionError as error:
        raise ControlError("audit", str(error), "cpppoctl audit --help") from None
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        raise ControlError(f"audit in {state}", why, "as the gateway's user or root") from None


def _question(given: argparse.Namespace) -> dict[str, Any]:
    found = {name: getattr(given, name) for name in FILTERS}
    found |= {"since_us": given.since, "until_us": given.until}
    return {name: each for name, each in found.items() if each is not None}


def _shown(given: argparse.Namespace, answer: dict[str, Any]) -> int:
    if given.json:
        print_json(answer)
        return 0
    rows = [_row(record) for record in answer["records"]]
    today = time_of(time.time_ns() // 1000)[:DATE]
    if all(row[0].startswith(today) for row in rows):
        rows = [[row[0][DATE + 1 :], *row[1:]] for row in rows]
    shown = [at for at, _ in enumerate(TITLES) if not rows or any(row[at] for row in rows)]
    print_table([TITLES[at] for at in shown], [[row[at] for at in shown] for row in rows])
    return 0


def _row(record: dict[str, Any]) -> list[str]:
    first, several = record.get("first", 0), len(record.get("new") or ()) > 1
    tag = f"{record.get('tag')}[{first}]" if first or several else str(record.get("tag"))
    why = str(record.get("why", ""))
    if record.get("times", 1) > 1:
        why = f"{why} ({record['times']} times)".lstrip()
    if not record["sealed"]:
        why = f"NOT AS IT WAS WRITTEN {why}"
    return [
        time_of(record.get("time_us")),
        tag,
        _elements(record.get("old")),
        _elements(record.get("new")),
        str(record.get("outcome", "")),
        why,
        *(str(record.get(name, "")) for name in ("way", "user", "address", "session")),
    ]


def _elements(given: Any) -> str:
    return value(given[0] if isinstance(given, list) and len(given) == 1 else given)


def _verified(given: argparse.Namespace, answer: dict[str, Any]) -> int:
    if given.json:
        print_json(answer)
        return 0 if answer["ok"] else 1
    if not answer["writers"]:
        print("no audit: nothing was written yet")
    for chain in answer["writers"]:
        words = "as it was written" if chain["ok"] else "NOT AS IT WAS WRITTEN"
        newest = f", newest {chain['newest']} {chain['hash'][:12]}" if chain["newest"] else ""
        print(f"{chain['writer']}: {chain['records']} records{newest}: {words}")
        for finding in chain["findings"]:
            print(f"  {finding['kind']}  {finding['where']}  {finding['text']}")
    return 0 if answer["ok"] else 1
