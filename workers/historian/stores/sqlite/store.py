"""The SQLite store: a file of readings per UTC day, an index, roll-ups of closed days.

    index.sqlite                  gateways, cursors, gaps, quarantine
    readings-2026-11-22.sqlite    the day's readings (by the gateway's clock)
    minutes-2026-11-21.sqlite     a closed day by the minute
    writer-<id>.lock              held by the living gateway of that id; upkeep.lock by whoever
                                  closes and removes days
    *.damaged-*                   what could not be used (`stores.sqlite.damage`)

A commit makes the readings durable first, the cursors after: what a crash in between leaves to be
read again is there already, and stored once. Days go oldest first: beyond `retention_s`, beyond
`bytes`, and while less than `free_bytes` of the disk are free; never the newest. `retention_s`
counts days that have readings, so that a clock which jumps removes nothing.
"""

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.historian.stores.encoding import pack
from cpppod.workers.historian.stores.sqlite import writer
from cpppod.workers.historian.stores.sqlite.damage import (
    DAY_US,
    FILE_DAMAGED,
    INDEX_LOST,
    day_gap,
    day_us,
    gaps_of,
    naming,
    now_us,
    problem_of,
    put_file_aside,
    whole_gap,
)
from cpppod.workers.historian.stores.sqlite.day import DayFile, Opening, Topic
from cpppod.workers.historian.stores.sqlite.index import NAME, IndexFile
from cpppod.workers.historian.stores.sqlite.minutes import minutes_path, roll_up
from cpppod.workers.historian.stores.sqlite.reader import (
    MINUTES,
    READINGS,
    DayReader,
    SqliteReader,
    day_files,
    is_open_day,
)
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    DamagedError,
    PoisonError,
    Reading,
    Stored,
    StoreError,
    StoreState,
    check_adoption,
)
from cpppod.workers.state import clear_place, make_folder, put_aside_below

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
MAX_OPEN_DAYS = 4  # yesterday's late readings, today's, and a clock that is set to and fro
FREE_SHARE = 0.05  # of the file system stays free by default ...
FREE_AT_MOST = 1_000_000_000  # ... but no more than this many bytes
SIZE_SHARE = 0.5  # of the file system is what a store takes by default
UPKEEP_S = 10.0  # between looks at sizes
CLOSING_S = 60.0  # between looks for days to close
UNPLACED_DAYS = 3  # the newest, in which readings without a cursor are looked for
CHECKED_BYTES = 64_000_000  # of the newest day, every row of which is read first: about a second
MAX_DAMAGED = 100  # files put aside in one go
CLOSED_AFTER_S = 3_600.0  # without a reading, and with a later day there, a day is over


@dataclass(frozen=True, slots=True)
class SqliteLimits:
    """What a store may take; 0 takes the default.

    Attributes:
        retention_s: how long samples are kept; 0 for as long as there is room.
        minutes_retention_s: how long roll-ups are kept; 0 likewise.
        bytes: of all files; by default half the file system.
        free_bytes: what stays free of it; by default 5 %, at most 1 GB.
        roll_up: whether closed days are rolled up.
    """

    retention_s: float = 0.0
    minutes_retention_s: float = 0.0
    bytes: int = 0
    free_bytes: int = 0
    roll_up: bool = True


def day_of(time_us: int) -> str:
    """The UTC day of a time, as files are named after it."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%d")


class SqliteStore:
    """The store in a folder; see the module."""

    def __init__(
        self,
        folder: Path,
        limits: SqliteLimits | None = None,
        *,
        gateway: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.gateway = gateway
        self.limits = limits or SqliteLimits()
        self._monotonic = monotonic
        self._index: IndexFile | None = None
        self._lock = -1  # of this gateway's id
        self._keeper = -1  # of who closes and removes days
        self._days: dict[str, DayFile] = {}
        self._state = StoreState()
        self._looked = -UPKEEP_S
        self._upkept = -CLOSING_S
        self._removed = 0
        self._written: dict[str, float] = {}  # day -> when this process last wrote to it
        self._work: Iterator[bool] | None = None
        self._damaged: tuple[str, ...] = ()  # files put aside, as of the last look
        self._aside: set[str] = set()  # names of those that this process put aside

    def _doing(self, work: Callable[[], _Result]) -> _Result:
        """What `work` gives; what turns out to be damaged is put aside, then it is done again."""
        for _ in range(MAX_DAMAGED):
            try:
                return work()
            except DamagedError as error:
                self._put_aside(error)
            except (OSError, sqlite3.Error) as error:
                self._let_go()
                raise _store_error(self.folder, error) from error
        raise StoreError(f"{self.folder}: more than {MAX_DAMAGED} damaged files at once")

    def _put_aside(self, error: DamagedError) -> None:
        began_anew = self._index is not None and error.path.name == NAME
        self._let_go()
        try:
            if not os.path.lexists(error.path):
                return  # somebody else did
            why = problem_of(error.path)
            if not why:
                raise StoreError(f"{error}, yet it can be read")
            put_file_aside(error.path, why)
            self._aside.add(error.path.name)
        except (OSError, sqlite3.Error) as trouble:
            raise _store_error(self.folder, trouble) from trouble
        if began_anew:
            raise StoreError(f"{error}; put aside, it is opened anew")

    def mend(self, error: DamagedError) -> None:
        self._put_aside(error)
        self._doing(self._opened)

    def open(self) -> dict[str, Cursor]:
        def cursors() -> dict[str, Cursor]:
            found = self._of_index(lambda index: index.cursors(self.gateway))
            return self._unplaced(found) | found

        return self._doing(cursors)

    def _unplaced(self, placed: dict[str, Cursor]) -> dict[str, Cursor]:
        """Publishers that have readings and no cursor: a crash, or a copy, came in between.

        Their cursors know what was stored last, and no place in a journal.
        """
        found: dict[str, Cursor] = {}
        for _, path in sorted(day_files(self.folder).items())[-UNPLACED_DAYS:]:
            with naming(path), closing(DayReader(path)) as reader:
                last = reader.last_places(self.gateway)
            for publisher, (epoch, sequence, gateway_us) in last.items():
                if publisher not in placed:
                    found[publisher] = Cursor(0, 0, epoch, sequence, gateway_us)
        return found

    def _opened(self) -> IndexFile:
        """The index, opened if need be, by the only living gateway of its id."""
        if self._index is not None and not self._index.in_place:
            self._let_go()
        if self._index is None:
            make_folder(self.folder, root=self.folder.parent)
            if self.gateway and self._lock < 0:
                self._lock = writer.lock(self.folder, self.gateway)
            if self._keeper < 0:
                self._keeper = writer.lock_upkeep(self.folder)
            index = self._checked()
            self._index = index
            with naming(self.folder / NAME):
                known = index.learn(self.gateway, time.time_ns() // 1000)
            logger.info("store opened folder=%s gateways=%s", self.folder, ",".join(known))
        return self._index

    def _checked(self) -> IndexFile:
        """The index; all files looked at, and what is lost declared.

        Raises:
            DamagedError: the first that cannot be used.
        """
        days, path = day_files(self.folder), self.folder / NAME
        minutes = day_files(self.folder, MINUTES)
        for file in (path, *days.values(), *minutes.values()):
            for suffix in ("-wal", "-shm"):
                clear_place(file.with_name(file.name + suffix))
        is_lost = bool(days) and not os.path.lexists(path) and NAME not in self._aside
        if os.path.lexists(path) and (why := problem_of(path)):
            raise DamagedError(path, why)
        newest = days[max(days)] if days else None
        for file in (*days.values(), *minutes.values()):
            _check(file, quick=file != newest or _is_large(file))
        with naming(path):
            index = IndexFile(self.folder)
            try:
                self._declare(index, days, is_lost)
            except BaseException:
                index.close()
                raise
        self._damaged = tuple(put_aside_below(self.folder))
        return index

    def _declare(self, index: IndexFile, days: dict[str, Path], is_lost: bool) -> None:
        """Store as gaps what is not there any more; whose readings are is learnt from them."""
        index.commit(Batch(gaps=gaps_of(self.folder, set(days))))
        if days and not index.learn("", 0):
            for gateway in sorted(_gateways(days.values())):
                index.learn(gateway, time.time_ns() // 1000)
                is_lost = is_lost or NAME not in self._aside
        if is_lost:
            logger.error("store has readings and no index folder=%s", self.folder)
            index.commit(Batch(gaps=[whole_gap(INDEX_LOST, set(days), now_us())]))
        counted = index.days()
        for day in counted.keys() - days.keys():
            if index.has_gap(FILE_DAMAGED, day_us(day), day_us(day)):
                index.set_day(day, -1)  # it was put aside
            else:
                self._declare_lost(index, day, -1)
        for day in sorted(days)[-UNPLACED_DAYS:]:
            if day in counted:
                with naming(days[day]), closing(DayReader(days[day])) as reader:
                    held = reader.count()
                if held < counted[day]:
                    self._declare_lost(index, day, held)

    def _declare_lost(self, index: IndexFile, day: str, held: int) -> None:
        """A day has fewer readings than it was given."""
        logger.error("readings are gone folder=%s day=%s left=%d", self.folder, day, max(held, 0))
        index.commit(Batch(gaps=[day_gap(day, now_us())]))
        index.set_day(day, held)

    def _of_index(self, ask: Callable[[IndexFile], _Result]) -> _Result:
        index = self._opened()
        with naming(self.folder / NAME):
            return ask(index)

    def cursors(self, gateway: str) -> dict[str, Cursor]:
        return self._doing(lambda: self._of_index(lambda index: index.cursors(gateway)))

    def gateways(self) -> list[str]:
        return self._doing(lambda: self._of_index(lambda index: index.learn("", 0)))

    def adoptions(self) -> list[tuple[str, str]]:
        return self._doing(lambda: self._of_index(lambda index: index.adoptions()))

    def adopt(self, adopted: str, now_us: int) -> None:
        def join(index: IndexFile) -> None:
            alive = writer.is_alive(self.folder, adopted)
            check_adoption(self.gateway, adopted, index.learn("", 0), index.adoptions(), alive)
            index.adopt(self.gateway, adopted, now_us)

        self._doing(lambda: self._of_index(join))

    def close(self) -> None:
        self._let_go()
        for lock in (self._lock, self._keeper):
            if lock >= 0:
                os.close(lock)
        self._lock = self._keeper = -1

    def _let_go(self) -> None:
        """Close the files, but hold the lock."""
        self._close_days()
        if self._index is not None:
            self._index.close()
            self._index = None
        self._work = None

    def commit(self, batch: Batch) -> Stored:
        if self._index is not None and not self._index.in_place:
            raise StoreError(f"{self.folder}: another copy was put there; it is opened anew")
        try:
            return self._doing(lambda: self._commit(batch))
        except EncodeError as error:
            self._close_days()  # they remember names that were rolled back
            raise PoisonError(str(error), _unsayable(batch.readings)) from error

    def _commit(self, batch: Batch) -> Stored:
        self._opened()
        self._keep_free(self._monotonic())
        added = {
            day: self._commit_day(day, readings)
            for day, readings in _by_day(batch.readings).items()
        }
        self._of_index(lambda index: index.commit(batch, self.gateway, added))
        stored = sum(added.values())
        return Stored(stored, len(batch.readings) - stored)

    def _commit_day(self, day: str, readings: list[Reading]) -> int:
        file = self._day(day)
        with naming(file.path):
            file.begin()
            try:
                added = file.add(readings, self._opening(day))
                file.commit()
            except BaseException:
                file.rollback()
                raise
        self._written[day] = self._monotonic()
        return added

    def _day(self, day: str) -> DayFile:
        file = self._days.pop(day, None)
        if file is not None and not file.in_place:
            file.close()
            file = None
        if file is None:
            while len(self._days) >= MAX_OPEN_DAYS:
                self._days.pop(next(iter(self._days))).close()
            file = self._open_day(day)
        self._days[day] = file  # the latest used last
        return file

    def _open_day(self, day: str) -> DayFile:
        path = self.folder / f"{READINGS}{day}.sqlite"
        if os.path.lexists(path):
            _check(path, quick=True)
        minutes_path(self.folder, day).unlink(missing_ok=True)  # made anew when it is over
        with naming(path):
            file = DayFile(path)
            try:
                given, held = self._of_index(IndexFile.days).get(day, 0), file.count()
                if held < given:  # another copy was put there
                    self._of_index(lambda index: self._declare_lost(index, day, held))
            except BaseException:
                file.close()
                raise
        return file

    def _opening(self, day: str) -> Opening:
        def worth(key: Topic) -> dict[str, tuple[Any, int, int]]:
            files = day_files(self.folder)
            before = max((found for found in files if found < day), default="")
            if not before or self._of_index(
                lambda index: index.has_gap(FILE_DAMAGED, day_us(before) + 1, day_us(day))
            ):
                return {}  # what was known before what is lost is not known after it
            if before in self._days:
                return self._days[before].last_values(key)
            with naming(files[before]), closing(DayReader(files[before])) as reader:
                return reader.last_values(key)

        return worth

    def _close_days(self) -> None:
        for file in self._days.values():
            try:
                file.rollback()
                file.close()
            except sqlite3.Error as error:
                logger.warning("store file not closed path=%s error=%s", file.path, error)
        self._days.clear()

    def state(self) -> StoreState:
        return replace(self._state, damaged=self._damaged)

    def _keep_free(self, now: float) -> None:
        """Make room before a commit; refuse it while there is none to be made."""
        if now - self._looked >= UPKEEP_S or self._free() < self._floor():
            self._looked = now
            self._damaged = tuple(put_aside_below(self.folder))
            if self._keeper < 0:
                self._keeper = writer.lock_upkeep(self.folder)
            if self._keeper >= 0:
                self._remove_days()
        if self._free() < self._floor():
            raise StoreError(f"{self.folder}: less than {self._floor()} bytes free", full=True)

    def _free(self) -> int:
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def _floor(self) -> int:
        if self.limits.free_bytes:
            return self.limits.free_bytes
        status = os.statvfs(self.folder)
        return min(int(status.f_blocks * status.f_frsize * FREE_SHARE), FREE_AT_MOST)

    def _bound(self) -> int:
        if self.limits.bytes:
            return self.limits.bytes
        status = os.statvfs(self.folder)
        return int(status.f_blocks * status.f_frsize * SIZE_SHARE)

    def _remove_days(self) -> None:
        """Unlink the oldest days that are beyond the limits."""
        days = sorted(day_files(self.folder).items())
        minutes = sorted(day_files(self.folder, MINUTES).items())
        removed = self._removed
        self._remove_old(days, self.limits.retention_s)
        self._remove_old(minutes, self.limits.minutes_retention_s)
        bound, floor = self._bound(), self._floor()
        for line in (days, minutes):  # the minutes of a day outlive its samples
            while len(line) > 1 and (self._size() > bound or self._free() < floor):
                self._remove(*line.pop(0))
        if days and self._removed > removed:
            left_us = day_us(min(line[0][0] for line in (days, minutes) if line))
            self._of_index(lambda index: index.forget_gaps(left_us))
        oldest = day_us(days[0][0]) if days else -1
        self._state = StoreState(self._size(), oldest, self._free(), self._removed)

    def _remove_old(self, line: list[tuple[str, Path]], retention_s: float) -> None:
        kept = int(-(-retention_s // 86_400)) + 1  # the day that is running counts besides
        while retention_s and len(line) > kept:
            self._remove(*line.pop(0))

    def _remove(self, day: str, path: Path) -> None:
        open_day = self._days.pop(day, None) if path.name.startswith(READINGS) else None
        if open_day is not None:
            open_day.close()
        if path.name.startswith(READINGS):
            self._of_index(lambda index: index.set_day(day, -1))
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        self._removed += 1
        logger.info("store file removed to make room path=%s", path)

    def _size(self) -> int:
        total = 0
        for entry in os.scandir(self.folder):
            total += entry.stat().st_size if entry.is_file() else 0
        return total

    def maintain(self, now_us: int) -> bool:
        return self._doing(self._step)

    def _step(self) -> bool:
        """A slice of upkeep; whether there is more."""
        if self._work is None:
            now = self._monotonic()
            if now - self._upkept < CLOSING_S:
                return False
            self._upkept = now
            self._opened()
            self._work = self._upkeep()
        work, self._work = self._work, None  # what fails begins anew
        more = next(work, False)
        self._work = work if more else None
        return more

    def _upkeep(self) -> Iterator[bool]:
        """Roll up and close each day that is over, a slice at a time."""
        files = day_files(self.folder)
        for day, path in sorted(files.items())[:-1]:
            written = self._written.get(day)
            if written is not None and self._monotonic() - written < CLOSED_AFTER_S:
                continue
            if self._keeper < 0 or self._is_shared():
                if day in self._days:
                    self._days.pop(day).close()
                continue
            if is_open_day(path):
                with naming(path):
                    file = self._days.pop(day, None) or DayFile(path)
                    file.close(for_good=True)
                yield True
            if self.limits.roll_up and not minutes_path(self.folder, day).exists():
                with naming(path), closing(DayReader(path)) as reader:
                    tags = sorted(reader.tags())
                for _ in roll_up(self.folder, day, tags, self._reader_of):
                    yield True

    def _is_shared(self) -> bool:
        """Whether another gateway is alive that may write to any day: none is closed then."""
        assert self._index is not None
        known = self._index.learn("", 0)
        return any(writer.is_alive(self.folder, name) for name in known if name != self.gateway)

    def _reader_of(self, gateway: str) -> SqliteReader:
        return SqliteReader(self.folder, gateway, alone=True)


def _unsayable(readings: list[Reading]) -> list[int]:
    """Which readings no row can hold."""
    found = []
    for index, reading in enumerate(readings):
        try:
            pack([reading.values, reading.qualities])
        except EncodeError:
            found.append(index)
    return found


def _by_day(readings: list[Reading]) -> dict[str, list[Reading]]:
    """The readings of each day, in their order."""
    if not readings:
        return {}
    if len({reading.gateway_us // DAY_US for reading in readings}) == 1:
        return {day_of(readings[0].gateway_us): readings}
    found: dict[str, list[Reading]] = {}
    for reading in readings:
        found.setdefault(day_of(reading.gateway_us), []).append(reading)
    return found


def _check(path: Path, *, quick: bool) -> None:
    """Raises DamagedError where a file cannot be used."""
    if why := problem_of(path, quick=quick):
        raise DamagedError(path, why)


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > CHECKED_BYTES


def _gateways(paths: Iterable[Path]) -> set[str]:
    """Whose readings are in files of days."""
    found: set[str] = set()
    for path in paths:
        with naming(path), closing(DayReader(path)) as reader:
            found.update(reader.publishers())
    return found - {""}


def _store_error(folder: Path, error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # less what SQLite says in detail
    full = code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in NO_SPACE
    return StoreError(f"{folder}: {error}", full=full)
