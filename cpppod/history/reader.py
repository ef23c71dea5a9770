"""Reading history files as time goes by: any moment of the past, at any speed.

    historical time = historical + (now - basis) * factor

    for (name, line, current), (when, text) in reader("plant.hst",
    historical=...).open(after=False):
        ...                             # text None: the next record is not due yet

Files are found anew at each `open`, so that rotation in the meantime does no harm.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cpppod.history.durations import format_offset
from cpppod.history.files import (
    DataError,
    HistoryExhausted,
    Record,
    first_time,
    history_files,
    lines,
    opener,
    parse_record,
)
from cpppod.history.timestamp import timestamp

Where = tuple[str, int, timestamp]  # what follows the history's name in the file's, line, now
What = tuple[timestamp | None, str | None]  # when, and the data as JSON text


class reader:
    """The history files of `path`, played from `historical` on.

    Args:
        historical: the moment of the past to begin with.
        basis: the present moment that is to correspond to it; now by default.
        factor: how much faster than time, 1 by default.

    Attributes:
        corrupt: lines that were no records, so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        historical: float | str | timestamp,
        basis: float | str | timestamp | None = None,
        factor: float | None = None,
    ) -> None:
        self.path = Path(path)
        self.historical = timestamp(historical)
        self.basis = timestamp(basis)
        self.factor = 1.0 if factor is None else float(factor)
        if self.factor <= 0:
            raise ValueError(f"factor: expected a number above 0, not {factor!r}")
        self.corrupt = 0
        self._firsts: dict[tuple[int, int], timestamp] = {}

    def __str__(self) -> str:
        passed = self.advance() - self.historical
        return f"{self.historical} {format_offset(passed)} x {self.factor:5.2f} {self.path.name}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def advance(self, now: float | timestamp | None = None) -> timestamp:
        """The moment of the past that corresponds to `now`."""
        present = time.time() if now is None else float(now)
        return self.historical + (present - self.basis.value) * self.factor

    def realtime(self, when: timestamp) -> float:
        """When, in seconds since 1970, that moment of the past is reached."""
        return self.basis.value + (when.value - self.historical.value) / self.factor

    def open(
        self,
        target: float | str | timestamp | None = None,
        after: bool = True,
        lookahead: float | None = None,
        strict: bool = False,
        encoding: str | None = None,
    ) -> Iterator[tuple[Where, What]]:
        """Records of one file, each as (file, line, moment reached), (time, JSON text).

        A record that is not due comes as (its time, None), again and again until it is. A line that
        is no record comes as (None, None), and is counted.

        Args:
            target: the moment to begin with; the one reached by default.
            after: the first file that begins at `target` or later; else the last one that begins at
                or before it, or the oldest there is.
            lookahead: seconds (of real time) to be ahead of the moment reached.
            strict: not a file that begins at `target` itself.

        Raises:
            HistoryExhausted: there is no such file.
        """
        wanted = self.advance() if target is None else timestamp(target)
        path = self._find(wanted, after=after, strict=strict)
        if path is None:
            raise HistoryExhausted(f"{self.path}: no records {'after' if after else 'at'} {wanted}")
        name = path.name[len(self.path.name) :]
        with opener(path) as file:
            for number, line in enumerate(lines(file)):
                try:
                    record = parse_record(line)
                except DataError:
                    self.corrupt += 1
                    yield (name, number, self.advance()), (None, None)
                    continue
                if record is not None:
                    yield from self._due(name, number, record, lookahead or 0.0)

    def _due(
        self, name: str, number: int, record: Record, lookahead: float
    ) -> Iterator[tuple[Where, What]]:
        """Nothing but its time until a record is due, then the record."""
        due = self.realtime(record.time) - lookahead
        while time.time() < due:
            yield (name, number, self.advance()), (record.time, None)
        yield (name, number, self.advance()), (record.time, record.text)

    def _find(self, target: timestamp, *, after: bool, strict: bool) -> Path | None:
        """The file to go on with; files without any record are passed over."""
        newest_first = [
            (begin, path)
            for path in history_files(self.path)
            if (begin := self._first(path)) is not None
        ]
        if after:
            for begin, path in reversed(newest_first):
                if begin > target or (begin == target and not strict):
                    return path
            return None
        for begin, path in newest_first:
            if begin < target or (begin == target and not strict):
                return path
        return newest_first[-1][1] if newest_first else None

    def _first(self, path: Path) -> timestamp | None:
        """When a file begins; remembered, as it does not change."""
        try:
            status = path.stat()
        except OSError:
            return None
        key = (status.st_dev, status.st_ino)
        found = self._firsts.get(key) or first_time(path)
        if found is not None:
            self._firsts[key] = found
        return found
