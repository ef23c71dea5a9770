"""History files on disk: one name, its rotated predecessors, compressed or not.

    plant.hst          being written
    plant.hst.0        the one before      (plant.hst.0.gz, .bz2, .xz once compressed)
    plant.hst.1.gz     the one before that, and so on

A record is one line; `#` begins a comment, blank lines are nothing:

    <UTC time> TAB <JSON serial> TAB <JSON data> LF
    2026-11-22 12:53:12.799 TAB 0 TAB {"40001": 1, "40002": 2}

Data is a map from register or tag to value, or a string, which is a note.
"""

import bz2
import gzip
import json
import lzma
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from cpppod.history.timestamp import timestamp

BYTE_ORDER_MARK = "\ufeff"  # what some editors put before the first line
MAX_LINE = 16 * 1024 * 1024  # characters: a record of 200,000 registers; more is no history file

_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
COMPRESSIONS = tuple(suffix[1:] for suffix in _OPEN)


class HistoryExhausted(Exception):
    """There is no file with later, or earlier, records than those asked for."""


class DataError(ValueError):
    """A line that is no record."""


class IframeError(DataError):
    """The first record, which later ones only add to, is not there or is no record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line: when, of which serial, and its data as JSON text (`values` parses it)."""

    time: timestamp
    serial: Any
    text: str

    @property
    def values(self) -> Any:
        """The data.

        Raises:
            DataError: it is no JSON.
        """
        return parse_json(self.text)


def parse_json(text: str) -> Any:
    """The value of JSON text, however it is nested.

    Raises:
        DataError: it is no JSON, or nested deeper than the parser goes.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"no JSON data: {text[:80]!r}: {error}") from error


def opener(path: str | os.PathLike[str], mode: str = "rb") -> IO[bytes]:
    """The file, opened for bytes; what its name says is compressed is so transparently.

    Raises:
        OSError: as `open`.
    """
    opened = _OPEN.get(Path(path).suffix, open)
    return cast(IO[bytes], opened(path, mode))


def history_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files of the history `path`, newest first; where one is there compressed too, it counts
    once."""
    base = Path(path)
    name = re.compile(re.escape(base.name) + r"(?:\.(\d+))?(?:\.(?:gz|bz2|xz))?")
    found: dict[int, Path] = {}
    try:
        entries = sorted(base.parent.iterdir())
    except OSError:
        entries = []
    for entry in entries:
        match = name.fullmatch(entry.name)
        if match and entry.is_file():
            found.setdefault(-1 if match[1] is None else int(match[1]), entry)
    return [found[number] for number in sorted(found)]


def format_record(time: timestamp, serial: Any, data: Any, *, precision: int = 3) -> str:
    """The line of a record, ASCII only.

    Raises:
        DataError: JSON cannot say the serial or the data.
    """
    try:
        return f"{time.render(ms=precision)}\t{json.dumps(serial)}\t{json.dumps(data)}\n"
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot be recorded: {error}") from error


def parse_record(line: bytes) -> Record | None:
    """The record of a line; None for a comment or a blank line.

    Raises:
        DataError: not one of those, or without its line end: torn off while it was written.
    """
    text = line.decode("utf-8", "surrogateescape").removeprefix(BYTE_ORDER_MARK)
    stripped = text.lstrip()
    if not stripped or stripped.startswith("#"):
        return None
    if not stripped.endswith("\n"):
        raise DataError(f"no line end: {stripped[:80]!r}")
    parts = stripped[:-1].split("\t", 2)
    if len(parts) != 3:
        raise DataError(f"no record: {stripped[:80]!r}")
    try:
        return Record(timestamp(parts[0]), parse_json(parts[1]), parts[2])
    except ValueError as error:
        raise DataError(f"no record: {stripped[:80]!r}: {error}") from error


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of an open file; one of more than `MAX_LINE` comes in pieces that are no records.

    A compressed file that ends early or is damaged ends there: its last, cut line follows as it is.
    """
    while True:
        try:
            line = file.readline(MAX_LINE)
        except (EOFError, OSError, lzma.LZMAError):
            return
        if not line:
            return
        yield line


def first_time(path: Path) -> timestamp | None:
    """When the first record of a file that is a record is from; None: it has none, or is not
    readable."""
    try:
        with opener(path) as file:
            for line in lines(file):
                try:
                    record = parse_record(line)
                except DataError:
                    continue
                if record is not None:
                    return record.time
    except OSError:
        pass
    return None
