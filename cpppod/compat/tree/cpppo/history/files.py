"""History files under cpppo's names."""

import json
from collections.abc import Iterable
from typing import IO, Any

from cpppod.history import DataError, HistoryExhausted, IframeError, loader, reader, timestamp
from cpppod.history import logger as _logger
from cpppod.history import opener as _opener

__all__ = [
    *("DataError", "HistoryExhausted", "IframeError", "loader", "logger", "opener"),
    *("parse_record", "reader"),
]


def opener(path: Any, mode: str = "rb", bufsize: int = 4096) -> IO[bytes]:
    """A history file opened, packed or not; what `bufsize` said is chosen by itself."""
    return _opener(path, mode)


class logger(_logger):
    """An open history file to append to."""

    def _append(self, line: str | bytes) -> bool:
        return super()._append(line.encode("utf-8") if isinstance(line, str) else line)


def parse_record(
    fd: Iterable[bytes], n: int = -1, encoding: str | None = None
) -> tuple[int, tuple[timestamp, Any, str]]:
    """(line number, (time, serial number, data as text)) of the next record.

    Raises:
        StopIteration: there is none.
        ValueError: the line is no record.
    """
    for line in fd:
        n += 1
        text = line.decode(encoding or "ascii").lstrip()
        if text and not text.startswith("#"):
            when, serial, data = text.split("\t", 2)
            return n, (timestamp(when), json.loads(serial), data)
    raise StopIteration("Empty file")
