"""One UTC day of readings in one SQLite file: a row per block.

    blocks     publisher, epoch, sequence -> topic, times, members, samples (`stores.encoding`)
    keyframes  topic, source_us           -> all that the topic is worth then
    publishers, topics, tags              names, numbered within the file

Publishers and topics are a gateway's own; in schema 1 there were no gateways, and theirs is "".
Several gateways may write one file: new names get their numbers within a transaction.

So retention is an unlink, and a closed day is one file without a log beside it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cpppod.workers.historian.stores.encoding import pack, unpack
from cpppod.workers.historian.stores.sqlite.damage import SCHEMA
from cpppod.workers.historian.stores.store import Reading, SchemaError
from cpppod.workers.state import sync_folder

KEYFRAME_EVERY = 300  # readings: how far a search for a tag's last value goes back at most
MAX_TAG_SETS = 10_000  # sets of tags remembered per file: what deadbands leave of groups varies

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS publishers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, gateway TEXT NOT NULL, UNIQUE (gateway, name));
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, group_name TEXT NOT NULL, gateway TEXT NOT NULL,
    UNIQUE (gateway, device, group_name));
CREATE TABLE IF NOT EXISTS tags (
    topic INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (topic, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    publisher INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    topic INTEGER NOT NULL, source_us INTEGER NOT NULL, gateway_us INTEGER NOT NULL,
    mono_us INTEGER NOT NULL, members INTEGER NOT NULL, samples BLOB NOT NULL,
    PRIMARY KEY (publisher, epoch, sequence)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blocks_by_time ON blocks (topic, source_us);
CREATE TABLE IF NOT EXISTS keyframes (
    topic INTEGER NOT NULL, source_us INTEGER NOT NULL, samples BLOB NOT NULL,
    PRIMARY KEY (topic, source_us)) WITHOUT ROWID;
"""
_FROM_1 = (
    """
ALTER TABLE publishers RENAME TO publishers_1;
ALTER TABLE topics RENAME TO topics_1;
"""
    + _TABLES
    + """
INSERT INTO publishers SELECT id, name, '' FROM publishers_1;
INSERT INTO topics SELECT id, device, group_name, '' FROM topics_1;
DROP TABLE publishers_1;
DROP TABLE topics_1;
"""
)
_INSERT = "INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


def connect(path: Path, *, tables: str, schema: int, from_1: str = "") -> sqlite3.Connection:
    """A connection that commits when told to, durably; tables made, schema checked.

    Args:
        from_1: how tables of schema 1 become those of `schema`.

    Raises:
        sqlite3.Error: as it says.
        SchemaError: written by a newer version.
    """
    if not path.exists():
        _make(path, tables, schema)
    database = sqlite3.connect(
        path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=32
    )
    try:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found > schema:
            raise SchemaError(f"{path}: schema {found} is newer than this version's {schema}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        if found < schema:
            database.execute("BEGIN IMMEDIATE")
            found = database.execute("PRAGMA user_version").fetchone()[0]
        if found < schema:  # nobody else made them meanwhile
            for statement in (from_1 if found == 1 else tables).split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version={schema}")
        if database.in_transaction:
            database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _make(path: Path, tables: str, schema: int) -> None:
    """Make a file with its tables, which appears as a whole: an empty one is a damaged one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.new")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(part)) as database:
            database.executescript(f"{tables} PRAGMA user_version={schema};")
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another gateway made it meanwhile
            os.link(part, path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


Worth = dict[int, tuple[Any, int, int]]  # tag number -> value, quality, source_us
Topic = tuple[str, str, str]  # device, group, gateway
Opening = Callable[[Topic], dict[str, tuple[Any, int, int]]]  # tag -> the same


class _Latest:
    """What a topic is worth after the last reading written, by tag number."""

    __slots__ = ("samples", "since_keyframe")

    def __init__(self) -> None:
        self.samples: Worth = {}
        self.since_keyframe = KEYFRAME_EVERY  # a file's first reading gets one, if it is not whole


class DayFile:
    """A day that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = connect(path, tables=_TABLES, schema=SCHEMA, from_1=_FROM_1)
        self._inode = path.stat().st_ino
        self._publishers: dict[tuple[str, str], int] = {
            (name, gateway): key
            for key, name, gateway in self._rows("SELECT id, name, gateway FROM publishers")
        }
        self._topics: dict[Topic, int] = {
            (device, group, gateway): key
            for key, device, group, gateway in self._rows("SELECT * FROM topics")
        }
        self._tags: dict[int, dict[str, int]] = {}
        for topic, number, name in self._rows("SELECT topic, number, name FROM tags"):
            self._tags.setdefault(topic, {})[name] = number
        self._sets: dict[tuple[int, tuple[str, ...]], tuple[Sequence[int], bool]] = {}
        self._latest: dict[int, _Latest] = {}

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._database.execute(query, values).fetchall()

    @property
    def in_place(self) -> bool:
        """Whether the file is still the one of its name: nobody replaced or removed it."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def count(self) -> int:
        """How many readings there are: about a second for ten million."""
        return int(self._rows("SELECT count(*) FROM blocks")[0][0])

    def begin(self) -> None:
        """Begin a transaction."""
        self._database.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the transaction durable."""
        self._database.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction; close this object then, it remembers names that are gone."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def close(self, *, for_good: bool = False) -> None:
        """Close; `for_good` leaves one file without a log, which can be read from read-only
        media."""
        if for_good:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.execute("PRAGMA journal_mode=DELETE")
        self._database.close()

    def add(self, readings: Iterable[Reading], opening: Opening | None = None) -> int:
        """Add readings within a transaction; how many are new.

        Args:
            opening: what groups were worth when the day began.
        """
        before = self._database.total_changes
        keyframes: list[tuple[int, int, bytes]] = []
        rows = [self._row(reading, keyframes, opening) for reading in readings]
        extra = self._database.total_changes - before
        self._database.executemany(_INSERT, rows)
        added = self._database.total_changes - before - extra
        if keyframes:
            self._database.executemany(
                "INSERT OR IGNORE INTO keyframes VALUES (?, ?, ?)", keyframes
            )
        return added

    def _row(
        self,
        reading: Reading,
        keyframes: list[tuple[int, int, bytes]],
        opening: Opening | None,
    ) -> tuple[Any, ...]:
        key = (reading.device, reading.group, reading.gateway)
        topic = self._topic(key)
        numbers, in_order = self._numbers(topic, tuple(reading.tags))
        latest = self._latest.get(topic)
        if latest is None:
            latest = self._latest[topic] = self._restore(topic, key, opening)
        if len(reading.tags) >= reading.members:
            latest.since_keyframe = 0
        elif latest.since_keyframe >= KEYFRAME_EVERY:
            if latest.samples:
                keyframes.append((topic, reading.source_us, _keyframe(latest.samples)))
            latest.since_keyframe = 0
        else:
            latest.since_keyframe += 1
        self._remember(latest, numbers, reading)
        samples = pack([None if in_order else numbers, reading.values, reading.qualities])
        return (
            self._publisher(reading.publisher, reading.gateway),
            *reading[1:3],
            topic,
            *reading[5:9],
            samples,
        )

    def _remember(self, latest: _Latest, numbers: Sequence[int], reading: Reading) -> None:
        source_us, qualities, known = reading.source_us, reading.qualities, latest.samples
        if type(qualities) is int:
            for number, value in zip(numbers, reading.values, strict=True):
                known[number] = (value, qualities, source_us)
            return
        for at, number in enumerate(numbers):
            known[number] = (reading.values[at], reading.quality(at), source_us)

    def _publisher(self, name: str, gateway: str) -> int:
        key = self._publishers.get((name, gateway))
        if key is None:
            insert = "INSERT INTO publishers (name, gateway) VALUES (?, ?)"
            key = self._publishers[name, gateway] = self._new(insert, (name, gateway))
        return key

    def _topic(self, topic: Topic) -> int:
        key = self._topics.get(topic)
        if key is None:
            insert = "INSERT INTO topics (device, group_name, gateway) VALUES (?, ?, ?)"
            key = self._topics[topic] = self._new(insert, topic)
        return key

    def _new(self, insert: str, values: Sequence[Any]) -> int:
        """The number of a name's row that is put in."""
        number = self._database.execute(insert, values).lastrowid
        assert number is not None  # it is an insert
        return number

    def _numbers(self, topic: int, tags: tuple[str, ...]) -> tuple[Sequence[int], bool]:
        """The numbers of `tags`, and whether they are 0, 1, 2 ..."""
        known = self._sets.get((topic, tags))
        if known is not None:
            return known
        names = self._tags.setdefault(topic, {})
        new = [(topic, len(names) + at, tag) for at, tag in enumerate(_unknown(names, tags))]
        if new:
            self._database.executemany("INSERT INTO tags VALUES (?, ?, ?)", new)
            names.update((tag, number) for _, number, tag in new)
        numbers = [names[tag] for tag in tags]
        if len(self._sets) >= MAX_TAG_SETS:
            self._sets.clear()
        found = self._sets[topic, tags] = (numbers, numbers == list(range(len(numbers))))
        return found

    def _restore(self, topic: int, key: Topic, opening: Opening | None) -> _Latest:
        """What the topic was worth before the first reading since the file was opened."""
        latest = _Latest()
        values = topic_worth(self._database, topic)
        if not values and opening is not None:
            names = self._tags[topic]
            for tag, sample in opening(key).items():
                if tag not in names:
                    names[tag] = len(names)
                    self._database.execute(
                        "INSERT INTO tags VALUES (?, ?, ?)", (topic, names[tag], tag)
                    )
                values[names[tag]] = sample
        latest.samples = values
        return latest

    def last_values(self, key: Topic) -> dict[str, tuple[Any, int, int]]:
        """Tag -> value, quality and source time after the file's last reading of that group."""
        topic = self._topics.get(key)
        if topic is None:
            return {}
        latest = self._latest.get(topic)
        values = latest.samples if latest is not None else topic_worth(self._database, topic)
        return {
            tag: values[number]
            for tag, number in self._tags.get(topic, {}).items()
            if number in values
        }


def topic_worth(database: sqlite3.Connection, topic: int) -> Worth:
    """What a file says that a topic is worth, by tag number: its last keyframe and all since."""
    values: Worth = {}
    keyframe = database.execute(
        "SELECT source_us, samples FROM keyframes WHERE topic=? ORDER BY source_us DESC LIMIT 1",
        (topic,),
    ).fetchone()
    since_us = 0
    if keyframe is not None:
        since_us, row = keyframe
        numbers, found, qualities, times = unpack(row, 4)
        values.update(zip(numbers, zip(found, qualities, times, strict=True), strict=True))
    for source_us, row in database.execute(
        "SELECT source_us, samples FROM (SELECT * FROM blocks WHERE topic=? AND source_us>=?"
        " ORDER BY source_us DESC, sequence DESC LIMIT ?) ORDER BY source_us, sequence",
        (topic, since_us, KEYFRAME_EVERY + 1),
    ).fetchall():
        numbers, found, qualities = unpack(row, 3)
        for at, value in enumerate(found):
            quality = qualities if type(qualities) is int else qualities[at]
            values[at if numbers is None else numbers[at]] = (value, quality, source_us)
    return values


def _unknown(names: dict[str, int], tags: Iterable[str]) -> list[str]:
    return [tag for tag in dict.fromkeys(tags) if tag not in names]


def _keyframe(samples: Worth) -> bytes:
    values, qualities, times = zip(*samples.values(), strict=True)
    return pack([list(samples), values, qualities, times])
