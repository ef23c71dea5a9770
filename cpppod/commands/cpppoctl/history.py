"""The commands of `cpppoctl` about the past: history, and play, which serves it again.

cpppoctl history boiler.pressure --since 10m             a table
cpppoctl history boiler.pressure --since 2h --csv        time,value,quality,reason
cpppoctl history boiler.pressure --since 1d --step 1h    least, mean and greatest of each hour
cpppoctl history boiler.pressure --since 1d --plot       a picture, as wide as the terminal
cpppoctl history 'boiler.*' mixer.load --csv             time,tag,value,quality,reason
cpppoctl history 'boiler.*' --since 1d --step 1m --wide  time,boiler.level,boiler.pressure
"""

import argparse
import csv
import fnmatch
import importlib
import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from cpppod.commands.arguments import whole
from cpppod.commands.cpppoctl.output import print_json, print_table, time_of, value
from cpppod.control_client import ControlClient, ControlError
from cpppod.history.durations import parse_seconds
from cpppod.protocols.model.values import explain

Add = Callable[..., argparse.ArgumentParser]

PLOT_LINES = 12
PLOT_LEAST = 20  # columns
MARGIN = 12  # columns for the numbers beside the picture
LEVELS = " ▁▂▃▄▅▆▇█"
PLAYBACK = "cpppod.history.playback"


def add_commands(add: Add) -> None:
    """Add these commands' parsers."""
    command = add(
        "history",
        history,
        "show the stored values of tags",
        example="cpppoctl history boiler.pressure --since 10m --plot",
    )
    command.add_argument("tags", nargs="+", metavar="TAG", help="tag or pattern: 'boiler.*'")
    command.add_argument(
        "--since",
        default="10m",
        type=moment,
        metavar="TIME",
        help="how long ago (10m, 2h, 3d) or when (2026-11-22T14:00); 10m",
    )
    command.add_argument("--until", default="0", type=moment, metavar="TIME", help="likewise; now")
    command.add_argument("--limit", type=whole(0), default=0, metavar="N", help="at most N rows")
    command.add_argument(
        "--step",
        default="",
        type=step,
        metavar="TIME",
        help="least, mean and greatest value of each TIME instead of every value",
    )
    shape = command.add_mutually_exclusive_group()
    shape.add_argument("--csv", action="store_true", help="comma-separated, with a head line; "
        "of several tags a line for each value")  # fmt: skip
    shape.add_argument("--wide", action="store_true", help="CSV with a column for each tag")
    shape.add_argument("--plot", action="store_true", help="a picture in the terminal")
    if importlib.util.find_spec(PLAYBACK):
        command = add("play", None, "serve stored values again, as they came")
        importlib.import_module(PLAYBACK).add_arguments(command)


def play(given: argparse.Namespace) -> int:
    """`cpppoctl play`: needs the store, not the daemon."""
    status: int = importlib.import_module(PLAYBACK).run(given)
    return status


def moment(text: str) -> int:
    """Microseconds since 1970 of `10m` (ago), or of an ISO date and time, local unless it says.

    Raises:
        ArgumentTypeError: neither a duration nor a date.
    """
    try:
        return time.time_ns() // 1000 - round(parse_seconds(text) * 1e6)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1e6)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 10m, 2h ... nor a date") from None


def step(text: str) -> int:
    """Microseconds of `1m`; 0 for "".

    Raises:
        ArgumentTypeError: not a duration.
    """
    try:
        return round(parse_seconds(text) * 1e6)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def history(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl history TAG ...`: the exit status, 1 also where a pattern matched nothing."""
    tags, missing = _named(gateway, given.tags)
    if given.wide:
        _print_wide(gateway, given, tags)
    elif [*tags, *missing] == given.tags and len(tags) == 1:  # as it has always been
        _show(gateway, given, tags[0])
    elif given.json:
        print_json({"tags": [_plain(tag, *_asked(gateway, given, tag)) for tag in tags]})
    else:
        _print_many(gateway, given, tags)
    for pattern in missing:
        text = f"history: no stored tag matches {pattern!r}; try cpppoctl history '*' --limit 1"
        print(f"cpppoctl: {text}", file=sys.stderr)
    return int(bool(missing))


def _named(gateway: ControlClient, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tags in the order given, each once, patterns replaced by what is stored; patterns of none."""
    stored: list[str] = []
    patterns = {text: _pattern(text) for text in given}
    if any(patterns.values()):
        after: str | None = ""
        while after is not None:
            answer = gateway.ask("history", after=after)
            stored += answer["tags"]
            after = answer.get("next")
    found: dict[str, None] = {}
    missing = []
    for text in given:
        pattern = patterns[text]
        names = fnmatch.filter(stored, pattern) if pattern else [text]
        found |= dict.fromkeys(names)
        missing += [] if names else [text]
    return list(found), missing


def _pattern(text: str) -> str:
    """What stored tags are looked for by: a device's name means all of its; "" of a tag's name."""
    if any(character in text for character in "*?["):
        return text
    return "" if "." in text else f"{text}.*"


def _asked(
    gateway: ControlClient, given: argparse.Namespace, tag: str
) -> tuple[Iterator[list[Any]], list[str]]:
    """The rows of a tag, and their columns, which are there once the first row is."""
    question: dict[str, Any] = {"tag": tag, "until_us": given.until}
    if given.plot:
        width = max(shutil.get_terminal_size().columns - MARGIN, PLOT_LEAST)
        length_us = max((given.until - given.since) // width, 1)
        question |= {"step_us": length_us, "aggregate": "mean"}
    elif given.step:
        question |= {"step_us": given.step, "aggregate": "mean"}
    columns: list[str] = []
    return rows(gateway, question, given.since, given.limit, columns), columns


def _show(gateway: ControlClient, given: argparse.Namespace, tag: str) -> None:
    """One tag."""
    found, columns = _asked(gateway, given, tag)
    if given.plot:
        print("\n".join(plot(tag, [row[2] for row in found], given.since, given.until)))
    elif given.json:
        print_json(_plain(tag, found, columns))
    elif given.csv:
        _print_csv(found, columns)
    else:
        _print_rows(list(found) or _held(gateway, given, tag), columns)


def _print_many(gateway: ControlClient, given: argparse.Namespace, tags: list[str]) -> None:
    """Several tags, one after the other: pictures, or one table with a column for the tag."""
    if given.plot:
        for tag in tags:
            _show(gateway, given, tag)
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    cells: list[list[str]] = []
    head: list[str] = []
    for tag in tags:
        found, columns = _asked(gateway, given, tag)
        for row in found:
            if given.csv:
                if not head:
                    head = ["time", "tag", *_head(columns)[1:]]
                    writer.writerow(head)
                when, *rest = _csv_cells(row, columns)
                writer.writerow([when, tag, *rest])
            else:
                when, *rest = _cells(row, columns)
                head = list(_TITLES[columns[1] == "value"])
                cells.append([when, tag, *rest])
    if not given.csv:
        head = head or list(_TITLES[True])
        print_table(("time", "tag", *head[1:]), cells)


def _print_wide(gateway: ControlClient, given: argparse.Namespace, tags: list[str]) -> None:
    """A line for each moment, a column for each tag: its good value then, or its mean of a step.

    A cell is empty where the tag did not change, or is not good.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["time", *tags])
    moments: dict[int, list[Any]] = {}
    for column, tag in enumerate(tags):
        found, columns = _asked(gateway, given, tag)
        for row in found:
            sampled = columns[1] == "value"
            worth = (None if row[2] else row[1]) if sampled else row[2]
            if worth is not None:
                moments.setdefault(row[0], [None] * len(tags))[column] = worth
    for time_us in sorted(moments):
        writer.writerow([_csv_time(time_us), *moments[time_us]])


def _held(gateway: ControlClient, given: argparse.Namespace, tag: str) -> list[list[Any]]:
    """The last value before the time that was asked for: nothing changed since."""
    answer = gateway.ask("history", tag=tag, since_us=0, until_us=given.since, aggregate="last")
    listed: list[list[Any]] = answer["rows"]
    if listed:
        print(f"no change since {time_of(given.since)}; before it:", file=sys.stderr)
    return listed


def rows(
    gateway: ControlClient,
    question: dict[str, Any],
    since_us: int,
    limit: int,
    columns: list[str],
) -> Iterator[list[Any]]:
    """Every row that answers the question, page by page; `columns` gets their names."""
    left = limit
    while True:
        answer = gateway.ask("history", **question, since_us=since_us, limit=left)
        columns[:] = answer["columns"]
        yield from answer["rows"]
        if limit:
            left -= len(answer["rows"])
        if answer["next_us"] is None or (limit and left <= 0):
            return
        since_us = answer["next_us"]


def _cells(row: list[Any], columns: list[str]) -> list[str]:
    if columns[1] == "value":
        return [time_of(row[0]), value(row[1]), explain(row[2])]
    return [time_of(row[0]), *(value(each) for each in row[1:5])]


_TITLES = {  # of samples, of steps
    True: ("time", ">value", "quality"),
    False: ("time", ">least", ">mean", ">greatest", ">samples"),
}


def _print_rows(found: list[list[Any]], columns: list[str]) -> None:
    cells = [_cells(row, columns) for row in found]
    print_table(_TITLES[not columns or columns[1] == "value"], cells)


def _plain(tag: str, found: Iterator[list[Any]], columns: list[str]) -> dict[str, Any]:
    listed = list(found)
    return {"tag": tag, "columns": columns, "rows": listed}


def _print_csv(found: Iterator[list[Any]], columns: list[str]) -> None:
    """Times are ISO 8601 in UTC, numbers as they are, nothing for no value."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    head_written = False
    for row in found:
        if not head_written:
            head_written = True
            writer.writerow(_head(columns))
        writer.writerow(_csv_cells(row, columns))


def _head(columns: list[str]) -> list[str]:
    return ["time", *columns[1:], *(["reason"] if columns[1] == "value" else [])]


def _csv_cells(row: list[Any], columns: list[str]) -> list[Any]:
    reason = [explain(row[2])] if columns[1] == "value" else []
    return [_csv_time(row[0]), *row[1:], *reason]


def _csv_time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="microseconds")


def plot(tag: str, means: list[Any], since_us: int, until_us: int) -> list[str]:
    """The picture, a line each; where there is no value there is nothing drawn.

    Raises:
        ControlError: there is no number to draw.
    """
    numbers = [float(each) for each in means if isinstance(each, int | float)]
    if not numbers:
        raise ControlError(tag, "no numbers in that time", "cpppoctl history without --plot")
    low, high = min(numbers), max(numbers)
    span = high - low or 1.0
    steps = PLOT_LINES * (len(LEVELS) - 1)
    heights = [
        1 + round((float(each) - low) / span * (steps - 1)) if isinstance(each, int | float) else 0
        for each in means
    ]
    lines = []
    for line in range(PLOT_LINES - 1, -1, -1):
        floor = line * (len(LEVELS) - 1)
        bar = "".join(LEVELS[min(max(height - floor, 0), len(LEVELS) - 1)] for height in heights)
        label = {PLOT_LINES - 1: value(high), 0: value(low)}.get(line, "")
        lines.append(f"{label:>{MARGIN - 2}} {bar}".rstrip())
    left, right = time_of(since_us)[:19], time_of(until_us)[:19]
    gap = max(len(means) - len(left) - len(right), 1)
    lines.append(f"{'':>{MARGIN - 2}} {left}{'':<{gap}}{right}")
    return lines
