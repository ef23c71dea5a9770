"""What the SQLite store knows besides readings: gateways and whose history they adopted, cursors,
gaps, quarantined records; in one small file."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cpppod.workers.historian.stores.sqlite.damage import SCHEMA
from cpppod.workers.historian.stores.sqlite.day import connect
from cpppod.workers.historian.stores.store import Batch, Cursor, Gap

NAME = "index.sqlite"
MAX_QUARANTINED = 10_000  # records kept to look at; what is beyond is declared a gap all the same

_TABLES = """
CREATE TABLE IF NOT EXISTS cursors (
    publisher TEXT NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, gateway_us INTEGER NOT NULL,
    segment_epoch INTEGER NOT NULL, created_us INTEGER NOT NULL, gateway TEXT NOT NULL,
    PRIMARY KEY (gateway, publisher)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (
    publisher TEXT NOT NULL, epoch INTEGER NOT NULL, device TEXT NOT NULL, group_name TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, blocks INTEGER NOT NULL, samples INTEGER NOT
    NULL, reason TEXT NOT NULL, from_us INTEGER NOT NULL, to_us INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    PRIMARY KEY (gateway, publisher, epoch, device, group_name, first, last, reason))
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gaps_by_time ON gaps (from_us);
CREATE TABLE IF NOT EXISTS quarantine (
    publisher TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    reason TEXT NOT NULL, topic BLOB NOT NULL, body BLOB NOT NULL, gateway TEXT NOT NULL,
    PRIMARY KEY (gateway, publisher, epoch, sequence)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gateways (
    id TEXT PRIMARY KEY, since_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS adoptions (
    gateway TEXT NOT NULL, adopted TEXT NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (gateway, adopted)) WITHOUT ROWID;
"""
_DAYS = """
CREATE TABLE IF NOT EXISTS days (day TEXT PRIMARY KEY, readings INTEGER NOT NULL) WITHOUT ROWID
"""  # which files of schema 2 made by older versions lack, and do without
_FROM_1 = (
    """
ALTER TABLE cursors RENAME TO cursors_1;
ALTER TABLE gaps RENAME TO gaps_1;
DROP INDEX IF EXISTS gaps_by_time;
ALTER TABLE quarantine RENAME TO quarantine_1;
"""
    + _TABLES
    + """
INSERT INTO cursors SELECT *, 0, 0, '' FROM cursors_1;
INSERT INTO gaps SELECT *, '' FROM gaps_1;
INSERT INTO quarantine SELECT *, '' FROM quarantine_1;
DROP TABLE cursors_1;
DROP TABLE gaps_1;
DROP TABLE quarantine_1;
"""
)


class IndexFile:
    """The index of a store that is being written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._database = connect(self._path, tables=_TABLES, schema=SCHEMA, from_1=_FROM_1)
        self._database.execute(_DAYS)
        self._inode = self._path.stat().st_ino

    @property
    def in_place(self) -> bool:
        """Whether the file is still the one of its name: nobody put an old copy there."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def cursors(self, gateway: str) -> dict[str, Cursor]:
        """How far each publisher's journal of a gateway is stored."""
        rows = self._database.execute("SELECT * FROM cursors WHERE gateway = ?", (gateway,))
        return {row[0]: Cursor(*row[1:-1]) for row in rows}

    def learn(self, gateway: str, now_us: int) -> list[str]:
        """Make a gateway known; all that are."""
        if gateway:
            self._database.execute(
                "INSERT OR IGNORE INTO gateways VALUES (?, ?)", (gateway, now_us)
            )
        return known_gateways(self._database)

    def adopt(self, gateway: str, adopted: str, now_us: int) -> None:
        """Join another gateway's history to that of `gateway`."""
        row = (gateway, adopted, now_us)
        self._database.execute("INSERT OR IGNORE INTO adoptions VALUES (?, ?, ?)", row)

    def adoptions(self) -> list[tuple[str, str]]:
        """Who adopted whom."""
        return adoptions(self._database)

    def commit(
        self, batch: Batch, gateway: str = "", added: Mapping[str, int] | None = None
    ) -> None:
        """Store everything of a batch but its readings, of which each day's file was given some."""
        if not (batch.gaps or batch.quarantined or batch.cursors or added):
            return
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(f"INSERT OR IGNORE INTO gaps VALUES ({'?, ' * 11}?)", batch.gaps)
            if batch.quarantined:
                held = database.execute("SELECT count(*) FROM quarantine").fetchone()[0]
                database.executemany(
                    "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?)",
                    batch.quarantined[: max(0, MAX_QUARANTINED - held)],
                )
            database.executemany(
                f"INSERT OR REPLACE INTO cursors VALUES ({'?, ' * 8}?)",
                ((publisher, *cursor, gateway) for publisher, cursor in batch.cursors.items()),
            )
            database.executemany(
                "INSERT INTO days VALUES (?, ?)"
                " ON CONFLICT (day) DO UPDATE SET readings = readings + excluded.readings",
                (added or {}).items(),
            )
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def has_gap(self, reason: str, since_us: int, until_us: int) -> bool:
        """Whether a gap of that reason begins within that time."""
        query = "SELECT 1 FROM gaps WHERE reason = ? AND from_us BETWEEN ? AND ? LIMIT 1"
        return self._database.execute(query, (reason, since_us, until_us)).fetchone() is not None

    def days(self) -> dict[str, int]:
        """How many readings each day's file was given at least."""
        return dict(self._database.execute("SELECT day, readings FROM days"))

    def set_day(self, day: str, readings: int) -> None:
        """Note how many readings a day's file has; a negative number: there is none any more."""
        if readings < 0:
            self._database.execute("DELETE FROM days WHERE day = ?", (day,))
        else:
            self._database.execute("INSERT OR REPLACE INTO days VALUES (?, ?)", (day, readings))

    def forget_gaps(self, until_us: int) -> None:
        """Drop gaps of days that are gone themselves."""
        self._database.execute("DELETE FROM gaps WHERE to_us < ?", (until_us,))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def known_gateways(database: sqlite3.Connection) -> list[str]:
    """Every gateway that ever wrote; none in an index of schema 1."""
    if database.execute("PRAGMA user_version").fetchone()[0] < 2:
        return []
    return [name for (name,) in database.execute("SELECT id FROM gateways ORDER BY since_us")]


def adoptions(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Who adopted whom."""
    if database.execute("PRAGMA user_version").fetchone()[0] < 2:
        return []
    return database.execute("SELECT gateway, adopted FROM adoptions").fetchall()


def read_gaps(database: sqlite3.Connection, device: str, since_us: int, until_us: int) -> list[Gap]:
    """Gaps that touch that time and concern the device ("": any)."""
    rows: Iterable[Any] = database.execute(
        "SELECT * FROM gaps WHERE from_us <= ? AND to_us >= ?"
        " AND (device = ? OR device = '' OR ? = '') ORDER BY from_us",
        (until_us, since_us, device, device),
    )
    return [Gap(*row) for row in rows]
