"""Reading a SQLite store beside the historian that writes it: a connection per question and file.

A question goes to the days that it is about, with a day to either side: readings are filed by the
gateway's clock, and asked for by their source time.
"""

import heapq
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from cpppod.workers.historian.stores.encoding import keyframe_sample, sample_of, unpack
from cpppod.workers.historian.stores.sqlite.damage import DAY_US, SCHEMA, naming
from cpppod.workers.historian.stores.sqlite.day import Topic, topic_worth
from cpppod.workers.historian.stores.sqlite.index import NAME, adoptions, known_gateways, read_gaps
from cpppod.workers.historian.stores.sqlite.minutes import NO_GATEWAY, read_minutes
from cpppod.workers.historian.stores.store import (
    Gap,
    Minute,
    Reading,
    Sample,
    SchemaError,
    StoreError,
    family,
    heirs,
    shared_tags,
)

READINGS, MINUTES = "readings-", "minutes-"

_Result = TypeVar("_Result")
END_US = 2**52  # the year 2112
_WAL_FORMAT = 2  # bytes 18 and 19 of a database that has a log (SQLite file format, 1.3.3)

_LAST = """
SELECT source_us, samples FROM blocks WHERE topic = ? AND source_us <= ?
ORDER BY source_us DESC, sequence DESC"""
_RANGE = """
SELECT source_us, samples FROM blocks WHERE topic = ? AND source_us BETWEEN ? AND ?
ORDER BY source_us, epoch, sequence"""
_KEYFRAME = """
SELECT source_us, samples FROM keyframes WHERE topic = ? AND source_us <= ?
ORDER BY source_us DESC LIMIT 1"""
_TOPIC = """
SELECT b.source_us, p.name, b.epoch, b.sequence, b.gateway_us, b.mono_us, b.members, b.samples
FROM blocks b JOIN publishers p ON p.id = b.publisher
WHERE b.topic = ? AND b.source_us BETWEEN ? AND ? ORDER BY b.source_us, b.epoch, b.sequence"""


def day_files(folder: Path, prefix: str = READINGS) -> dict[str, Path]:
    """The files of a store by their day."""
    name = re.compile(re.escape(prefix) + r"(\d{4,}-\d\d-\d\d)\.sqlite")
    found = {}
    for path in folder.glob(f"{prefix}*.sqlite"):
        match = name.fullmatch(path.name)
        if match:
            found[match[1]] = path
    return found


def is_open_day(path: Path) -> bool:
    """Whether the file still has a write-ahead log, as only a day that is written to should."""
    with open(path, "rb") as file:
        head = file.read(20)
    return len(head) == 20 and head[18] == _WAL_FORMAT


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; on read-only media, too.

    Raises:
        sqlite3.Error: as it says.
    """
    address = f"file:{quote(str(path))}?mode=ro"
    database = sqlite3.connect(address, uri=True, timeout=5.0, check_same_thread=False)
    try:
        database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        database.close()
        database = sqlite3.connect(f"{address}&immutable=1", uri=True, check_same_thread=False)
    return database


class DayReader:
    """A day's readings, of the gateways in `family`; None: of all."""

    def __init__(self, path: Path, family: frozenset[str] | None = None) -> None:
        self._family = family
        self._database = connect_to_read(path)
        found = self._database.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA:
            self.close()
            raise SchemaError(f"{path}: schema {found} is newer than this version's {SCHEMA}")
        self._gateway = "gateway" if found > 1 else NO_GATEWAY
        self._database.execute("BEGIN")  # one state of the file for all that follows

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _knows(self, gateway: str) -> bool:
        return self._family is None or gateway in self._family

    def tags(self) -> list[tuple[str, str]]:
        """All of the day's tags: gateway and `device.tag`."""
        query = (
            f"SELECT {self._gateway}, device || '.' || name"
            " FROM tags JOIN topics ON topics.id = tags.topic"
        )
        return [row for row in self._database.execute(query) if self._knows(row[0])]

    def publishers(self) -> list[str]:
        """Whose readings there are, by gateway."""
        query = f"SELECT DISTINCT {self._gateway} FROM publishers"
        return [gateway for (gateway,) in self._database.execute(query)]

    def count(self) -> int:
        """How many readings there are."""
        return int(self._database.execute("SELECT count(*) FROM blocks").fetchone()[0])

    def _places(self, device: str, tag: str) -> list[tuple[int, int]]:
        """Topic and number of a tag: in several groups where it was moved from one to another."""
        rows = self._database.execute(
            f"SELECT {self._gateway}, topic, number FROM tags JOIN topics ON topics.id = tags.topic"
            " WHERE device = ? COLLATE NOCASE AND name = ? COLLATE NOCASE",
            (device, tag),
        ).fetchall()
        return [row[1:] for row in rows if self._knows(row[0])]

    def samples(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Sample]:
        """The tag's samples of that time in order."""
        places = self._places(device, tag)
        if len(places) == 1:
            yield from self._samples(*places[0], since_us, until_us)
            return
        found = [sample for place in places for sample in self._samples(*place, since_us, until_us)]
        yield from sorted(found, key=lambda sample: sample.time_us)

    def _samples(self, topic: int, number: int, since_us: int, until_us: int) -> Iterator[Sample]:
        for source_us, row in self._database.execute(_RANGE, (topic, since_us, until_us)):
            sample = sample_of(row, number, source_us)
            if sample is not None:
                yield sample

    def last(self, device: str, tag: str, until_us: int) -> Sample | None:
        """The tag's last sample at or before then; of an earlier day, if that is what it was."""
        found = [
            sample
            for place in self._places(device, tag)
            if (sample := self._last(*place, until_us)) is not None
        ]
        return max(found, key=lambda sample: sample.time_us, default=None)

    def _last(self, topic: int, number: int, until_us: int) -> Sample | None:
        keyframe = self._database.execute(_KEYFRAME, (topic, until_us)).fetchone()
        for source_us, row in self._database.execute(_LAST, (topic, until_us)):
            sample = sample_of(row, number, source_us)
            if sample is not None:
                return sample
            if keyframe is not None and source_us < keyframe[0]:
                break
        return keyframe_sample(keyframe[1], number) if keyframe is not None else None

    def last_places(self, gateway: str) -> dict[str, tuple[int, int, int]]:
        """Epoch, sequence and gateway's time of the last reading of each of its publishers."""
        publishers = self._database.execute(
            f"SELECT id, name FROM publishers WHERE {self._gateway} = ?", (gateway,)
        ).fetchall()
        found = {}
        for number, name in publishers:
            row = self._database.execute(
                "SELECT epoch, sequence, gateway_us FROM blocks WHERE publisher = ?"
                " ORDER BY epoch DESC, sequence DESC LIMIT 1",
                (number,),
            ).fetchone()
            if row is not None:
                found[name] = row
        return found

    def last_values(self, key: Topic) -> dict[str, tuple[Any, int, int]]:
        """Tag -> value, quality and source time after the day's last reading of that group."""
        topic = self._database.execute(
            f"SELECT id FROM topics WHERE device = ? AND group_name = ? AND {self._gateway} = ?",
            key,
        ).fetchone()
        if topic is None:
            return {}
        values = topic_worth(self._database, topic[0])
        names = self._database.execute("SELECT name, number FROM tags WHERE topic = ?", topic)
        return {name: values[number] for name, number in names if number in values}

    def readings(self, since_us: int, until_us: int) -> Iterator[Reading]:
        """Every reading of that time, in order of time."""
        query = f"SELECT id, device, group_name, {self._gateway} FROM topics"
        topics = self._database.execute(query).fetchall()
        lines = [
            self._readings(topic, since_us, until_us) for topic in topics if self._knows(topic[3])
        ]
        yield from heapq.merge(*lines, key=_when)

    def _readings(
        self, topic: tuple[int, str, str, str], since_us: int, until_us: int
    ) -> Iterator[Reading]:
        names = [
            name
            for (name,) in self._database.execute(
                "SELECT name FROM tags WHERE topic = ? ORDER BY number", topic[:1]
            )
        ]
        for row in self._database.execute(_TOPIC, (topic[0], since_us, until_us)):
            numbers, values, qualities = unpack(row[7], 3)
            tags = names[: len(values)] if numbers is None else [names[at] for at in numbers]
            key = (*row[1:4], *topic[1:3], row[0], *row[4:7])
            yield Reading._make((*key, tags, values, qualities, topic[3]))


def _when(reading: Reading) -> tuple[int, str, int, int]:
    return (reading.source_us, *reading[:3])


class SqliteReader:
    """A store in a folder, for questions.

    Args:
        gateway: who asks; None: nobody in particular.
        alone: that gateway's own history, without what it adopted.
    """

    def __init__(self, folder: Path, gateway: str | None = None, *, alone: bool = False) -> None:
        if not folder.is_dir():
            raise StoreError(f"{folder}: no store of history there")
        self.folder = folder
        self._family: frozenset[str] | None = None
        if gateway is not None:
            self._family = frozenset((gateway,)) if alone else family(gateway, self._links()[1])

    def _index(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        """What the index answers; None where there is none."""
        path = self.folder / NAME
        if not path.exists():
            return None
        try:
            with naming(path), closing(connect_to_read(path)) as database:
                return ask(database)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    def _links(self) -> tuple[list[str], list[tuple[str, str]]]:
        """The gateways that the index knows, and who adopted whom."""
        return self._index(lambda found: (known_gateways(found), adoptions(found))) or ([], [])

    def gateways(self) -> list[str]:
        return heirs(*self._links())

    def times(self, device: str, tag: str) -> dict[str, tuple[int, int]]:
        gateways, links = self.gateways(), self._links()[1]
        found: dict[str, tuple[int, int]] = {}
        for gateway in gateways if len(gateways) > 1 else ():
            one = SqliteReader(self.folder, gateway, alone=True)
            one._family = family(gateway, links) - {""}
            first = next(one.samples(device, tag, 0, END_US), None)
            last = one.last(device, tag, END_US)
            if first is not None and last is not None:
                found[gateway] = (first.time_us, last.time_us)
        return found

    def shared(self) -> dict[str, list[str]]:
        if len(self.gateways()) < 2:
            return {}
        found: dict[str, set[str]] = {}
        for gateway, tag in self._each(day_files(self.folder).values(), DayReader.tags):
            found.setdefault(tag.lower(), set()).add(gateway)
        return shared_tags(found, self._links()[1])

    def close(self) -> None:
        """Nothing is held between questions."""

    def _days(self, since_us: int, until_us: int, prefix: str = READINGS) -> list[Path]:
        first, last = _day_number(since_us) - 1, _day_number(until_us) + 1
        found = []
        for day, path in sorted(day_files(self.folder, prefix).items()):
            if first <= datetime.strptime(day, "%Y-%m-%d").toordinal() <= last:
                found.append(path)
        return found

    def _each(
        self, paths: Iterable[Path], ask: Callable[[DayReader], Iterable[_Result]]
    ) -> Iterator[_Result]:
        """What each day answers, one after the other; one removed meanwhile is passed over."""
        for path in paths:
            try:
                with naming(path), closing(DayReader(path, self._family)) as reader:
                    yield from ask(reader)
            except sqlite3.Error as error:
                if path.exists():
                    raise StoreError(f"{path}: {error}") from error

    def tags(self) -> list[str]:
        found = self._each(day_files(self.folder).values(), DayReader.tags)
        return sorted({name for _, name in found})

    def samples(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Sample]:
        last_us = since_us

        def ask(reader: DayReader) -> Iterator[Sample]:
            return reader.samples(device, tag, last_us, until_us)

        for sample in self._each(self._days(since_us, until_us), ask):
            last_us = max(last_us, sample.time_us)
            yield sample

    def last(self, device: str, tag: str, until_us: int) -> Sample | None:
        def ask(reader: DayReader) -> list[Sample]:
            sample = reader.last(device, tag, until_us)
            return [] if sample is None else [sample]

        return next(self._each(self._days(0, until_us)[::-1], ask), None)

    def gaps(self, device: str, since_us: int, until_us: int) -> list[Gap]:
        found = self._index(lambda index: read_gaps(index, device, since_us, until_us)) or []
        known = None if self._family is None else self._family | {""}
        return [gap for gap in found if known is None or gap.gateway in known]

    def minutes(self, device: str, tag: str, since_us: int, until_us: int) -> Iterator[Minute]:
        for path in self._days(since_us, until_us, MINUTES):
            try:
                with naming(path), closing(connect_to_read(path)) as database:
                    yield from read_minutes(database, device, tag, since_us, until_us, self._family)
            except sqlite3.Error as error:
                raise StoreError(f"{path}: {error}") from error

    def rolled_up(self, since_us: int, until_us: int, *, gone_only: bool) -> list[tuple[int, int]]:
        with_samples = day_files(self.folder) if gone_only else {}
        found = []
        for day in sorted(day_files(self.folder, MINUTES)):
            begin_us = int(datetime.strptime(f"{day} +0000", "%Y-%m-%d %z").timestamp()) * 1_000_000
            if day not in with_samples and begin_us < until_us and begin_us + DAY_US > since_us:
                found.append((begin_us, begin_us + DAY_US))
        return found

    def readings(self, since_us: int, until_us: int) -> Iterator[Reading]:
        days = self._days(since_us, until_us)
        yield from self._each(days, lambda reader: reader.readings(since_us, until_us))


def _day_number(time_us: int) -> int:
    clipped = min(max(time_us, 0), 253_402_300_000_000_000)  # the year 9999
    return datetime.fromtimestamp(clipped // 1_000_000, UTC).toordinal()
