"""Files of a SQLite store that cannot be used: found out, put aside, declared.

    readings-2026-11-30.sqlite                            empty, cut, malformed, not a store's
    readings-2026-11-30.sqlite.damaged-20261130T120000Z   what it was, with its log beside it
    gap "store file damaged"                              from that day's beginning until then
    gap "index damaged", "index lost"                     gaps declared earlier are not known

What a file put aside has cost is said by its name: a gap that could not be stored at once is stored
when the store is next opened.
"""

import re
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cpppod.protocols.model.errors import DecodeError
from cpppod.workers.historian.stores.encoding import unpack
from cpppod.workers.historian.stores.store import ALL, DamagedError, Gap
from cpppod.workers.state import DAMAGED, may_use, put_aside

READINGS, MINUTES, INDEX = "readings", "minutes", "index"
SCHEMA = 2  # of every file; what is newer is not ours to judge
DAY_US = 86_400_000_000
FILE_DAMAGED, INDEX_DAMAGED, INDEX_LOST = "store file damaged", "index damaged", "index lost"
TABLES = {
    READINGS: {"blocks", "keyframes", "publishers", "topics", "tags"},
    MINUTES: {"minutes"},
    INDEX: {"cursors", "gaps", "quarantine"},
}
_EVERYTHING = {
    READINGS: (
        "SELECT samples FROM blocks",
        "SELECT count(*) FROM blocks INDEXED BY blocks_by_time",
        "SELECT samples FROM keyframes",
        *(f"SELECT * FROM {name}" for name in ("publishers", "topics", "tags")),
    ),
    MINUTES: ("SELECT * FROM minutes",),
    INDEX: tuple(f"SELECT * FROM {name}" for name in ("cursors", "gaps", "quarantine")),
}
_NO_CURSORS = "SELECT 1 FROM cursors WHERE " + " OR ".join(
    f"typeof({name}) <> 'integer'"
    for name in ("segment", "offset", "epoch", "sequence", "gateway_us")
)
_NAME = re.compile(r"(readings|minutes|index)(?:-(\d{4,}-\d\d-\d\d))?\.sqlite")
_ASIDE = re.compile(_NAME.pattern + re.escape(DAMAGED) + r"(\d{8}T\d{6}Z)(?:-(\d+))?")
_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # no such table, for one: no statement of ours has a mistake
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_FORMAT,
    }
)
_UNREADABLE = (DecodeError, zlib.error, LookupError, TypeError, ValueError)  # a row's content


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What fails because of a file's content names it.

    Raises:
        DamagedError: in the place of what the body raised.
    """
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNUSABLE:
            raise
        raise DamagedError(path, str(error)) from error
    except _UNREADABLE as error:
        raise DamagedError(path, repr(error)) from error


def problem_of(path: Path, *, quick: bool = False) -> str:
    """Why a file that is there cannot be used; "" where it can, or was written by a newer version.

    Args:
        quick: look at its head and tables only; else every page and every row is read.

    Raises:
        sqlite3.Error, OSError: it cannot be told now.
    """
    if not path.is_file():
        return "not a file"
    if not may_use(path):
        return "no permission"
    try:
        with naming(path), closing(_connect(path)) as database:
            return _problem(database, _kind(path), quick)
    except DamagedError as error:
        return error.reason


def _problem(database: sqlite3.Connection, kind: str, quick: bool) -> str:
    if database.execute("PRAGMA user_version").fetchone()[0] > SCHEMA:
        return ""
    found = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if missing := TABLES[kind] - found:
        return f"no tables {', '.join(sorted(missing))}" if found else "empty"
    if quick:
        return ""
    for query in _EVERYTHING[kind]:  # quick_check of SQLite 3.40 finds faults that are none
        for row in database.execute(query):
            if len(row) == 1 and isinstance(row[0], bytes):
                unpack(row[0], 3)
    if kind == INDEX and database.execute(_NO_CURSORS).fetchone():
        return "cursors that are none"
    return ""


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=5.0)


def _kind(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # only a store's own files are looked at
    return match[1]


def put_file_aside(path: Path, why: str) -> None:
    """Rename a file of the store, and its log with it, so that what is in them can be looked for.

    Raises:
        OSError: it stays.
    """
    aside = put_aside(path, why)
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        log.rename(aside.with_name(f"{aside.name}-wal"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


def gaps_of(folder: Path, day_files: set[str]) -> list[Gap]:
    """What the files put aside in a store have cost, each as the same gap whenever it is asked.

    Args:
        day_files: days whose readings are there: their minutes can be made anew.
    """
    found = []
    for path in folder.glob(f"*{DAMAGED}*"):
        match = _ASIDE.fullmatch(path.name)
        if match is None or (match[1] == MINUTES and match[2] in day_files):
            continue
        at_us = _stamp_us(match[3])
        if match[1] == INDEX:
            found.append(whole_gap(INDEX_DAMAGED, day_files, at_us, match[4]))
        elif match[2]:
            found.append(day_gap(match[2], at_us, match[4]))
    return found


def day_gap(day: str, at_us: int, count: str | None = None) -> Gap:
    """Readings of a day that are not there any more, as was noticed at that time."""
    begins_us = day_us(day)
    ends_us = min(max(at_us, begins_us), begins_us + DAY_US - 1)
    return _gap(FILE_DAMAGED, begins_us, ends_us, at_us, count)


def whole_gap(reason: str, days: set[str], at_us: int, count: str | None = None) -> Gap:
    """Gaps of any time up to then may have been declared, and are not known any more."""
    begins_us = min((day_us(day) for day in days), default=at_us)
    return _gap(reason, min(begins_us, at_us), at_us, at_us, count)


def _gap(reason: str, from_us: int, to_us: int, at_us: int, count: str | None) -> Gap:
    # a gap's key has no times: what tells two of one second apart is in its epoch
    epoch = at_us // 1000 + from_us // DAY_US + 1_000_000 * int(count or 0)
    return Gap("", epoch, ALL, ALL, 0, 0, -1, -1, reason, from_us, to_us)


def day_us(day: str) -> int:
    """When a UTC day begins."""
    return int(datetime.strptime(f"{day} +0000", "%Y-%m-%d %z").timestamp()) * 1_000_000


def _stamp_us(stamp: str) -> int:
    when = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return int(when.timestamp()) * 1_000_000


def now_us() -> int:
    """The wall clock, in whole seconds as the names of files put aside have it."""
    return int(time.time()) * 1_000_000
