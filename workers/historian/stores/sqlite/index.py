"""What the SQLite store knows besides readings: cursors, gaps, quarantined records; in one small
file."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cpppod.workers.historian.stores.sqlite.day import connect
from cpppod.workers.historian.stores.store import Batch, Cursor, Gap

SCHEMA = 1
NAME = "index.sqlite"
MAX_QUARANTINED = 10_000  # records kept to look at; what is beyond is declared a gap all the same

_TABLES = """
CREATE TABLE IF NOT EXISTS cursors (
    publisher TEXT PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, gateway_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (
    publisher TEXT NOT NULL, epoch INTEGER NOT NULL, device TEXT NOT NULL, group_name TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, blocks INTEGER NOT NULL, samples INTEGER NOT
    NULL, reason TEXT NOT NULL, from_us INTEGER NOT NULL, to_us INTEGER NOT NULL,
    PRIMARY KEY (publisher, epoch, device, group_name, first, last, reason)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gaps_by_time ON gaps (from_us);
CREATE TABLE IF NOT EXISTS quarantine (
    publisher TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    reason TEXT NOT NULL, topic BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (publisher, epoch, sequence)) WITHOUT ROWID;
"""


class IndexFile:
    """The index of a store that is being written."""

    def __init__(self, folder: Path) -> None:
        self._database = connect(folder / NAME, tables=_TABLES, schema=SCHEMA)

    def cursors(self) -> dict[str, Cursor]:
        """How far each publisher's journal is stored."""
        rows = self._database.execute("SELECT * FROM cursors").fetchall()
        return {row[0]: Cursor(*row[1:]) for row in rows}

    def commit(self, batch: Batch) -> None:
        """Store everything of a batch but its readings."""
        if not (batch.gaps or batch.quarantined or batch.cursors):
            return
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(
                "INSERT OR IGNORE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", batch.gaps
            )
            if batch.quarantined:
                held = database.execute("SELECT count(*) FROM quarantine").fetchone()[0]
                database.executemany(
                    "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?)",
                    batch.quarantined[: max(0, MAX_QUARANTINED - held)],
                )
            database.executemany(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?)",
                ((publisher, *cursor) for publisher, cursor in batch.cursors.items()),
            )
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def forget_gaps(self, until_us: int) -> None:
        """Drop gaps of days that are gone themselves."""
        self._database.execute("DELETE FROM gaps WHERE to_us < ?", (until_us,))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def read_gaps(database: sqlite3.Connection, device: str, since_us: int, until_us: int) -> list[Gap]:
    """Gaps that touch that time and concern the device ("": any)."""
    rows: Iterable[Any] = database.execute(
        "SELECT * FROM gaps WHERE from_us <= ? AND to_us >= ?"
        " AND (device = ? OR device = '' OR ? = '') ORDER BY from_us",
        (until_us, since_us, device, device),
    )
    return [Gap(*row) for row in rows]
