"""A recording as one table of comma-separated values, for many tags.

    long:  time,tag,value,quality                    a line for each value
    wide:  time,boiler.level,boiler.pressure ...     a line for each moment, a column for each tag

Times are ISO 8601 in UTC, a value that is not known is an empty cell. Where a tag did not change,
its cell in the wide form is empty too; a value that is not good is left out there.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from cpppod.history.recording import END_US, RecordedChange, moments

STDOUT = "-"


def export_csv(
    source: str,
    path: str,
    patterns: Sequence[str] = (),
    since_us: int = 0,
    until_us: int = END_US,
    *,
    wide: bool = False,
    gateway: str | None = None,
    seen: set[str] | None = None,
) -> int:
    """Write a recording as CSV; how many lines below the head.

    Args:
        source: a store's folder or URL, or a history file.
        path: the file, written anew; `-` is standard output.
        gateway: whose tags, where several gateways fill the store.
        seen: gets the names of the tags that were there.

    Raises:
        RecordingError: there is nothing at `source`.
        OSError: the file cannot be written.
    """
    names = set() if seen is None else seen

    def recorded() -> Iterator[RecordedChange]:
        return moments(source, patterns, since_us, until_us, gateway=gateway)

    if wide:
        for moment in recorded():  # the head needs them all
            names.update(moment.samples)
    columns, count = sorted(names), 0
    with _opened(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time", *columns] if wide else ["time", "tag", "value", "quality"])
        for moment in recorded():
            names.update(moment.samples)
            for row in _wide(moment, columns) if wide else _long(moment):
                writer.writerow(row)
                count += 1
    return count


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    if path == STDOUT:
        yield sys.stdout
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield file


def _time(moment: RecordedChange) -> str:
    return datetime.fromtimestamp(moment.time_us / 1e6, UTC).isoformat(timespec="microseconds")


def _long(moment: RecordedChange) -> Iterator[list[Any]]:
    for tag, (value, quality) in moment.samples.items():
        yield [_time(moment), tag, _cell(value), int(quality)]


def _wide(moment: RecordedChange, columns: Sequence[str]) -> Iterator[list[Any]]:
    good = {tag: value for tag, (value, quality) in moment.samples.items() if not quality}
    if good:
        yield [_time(moment), *(_cell(good.get(tag)) for tag in columns)]


def _cell(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
