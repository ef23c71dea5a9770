"""What only the SQLite store does: a file a day, bounds, roll-ups, damage put aside."""

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cpppod.workers.historian.stores.buckets import Bucket
from cpppod.workers.historian.stores.questions import ask_buckets
from cpppod.workers.historian.stores.sqlite.damage import DAY_US
from cpppod.workers.historian.stores.sqlite.minutes import decode_minutes, encode_minutes
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader, day_files, is_open_day
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore, day_of
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    Gap,
    Minute,
    PoisonError,
    Reading,
    SchemaError,
    StoreError,
)

DAY0 = int(datetime(2023, 11, 14, tzinfo=UTC).timestamp()) * 1_000_000
MINUTE = 60_000_000


def reading(sequence: int, at_us: int, value: Any, tags: int = 1) -> Reading:
    names = [f"t{n}" for n in range(tags)]
    return Reading(
        "p", 1, sequence, "boiler", "fast", at_us, at_us, 0, tags, names, [value] * tags, 0
    )


def store(folder: Path, **limits: Any) -> SqliteStore:
    limits = {"free_bytes": 1, **limits}
    clock = iter(range(0, 1_000_000_000, 5_000))  # every look is time for upkeep
    found = SqliteStore(folder, SqliteLimits(**limits), monotonic=lambda: float(next(clock)))
    found.open()
    return found


def fill(kept: SqliteStore, days: int, per_day: int = 20, tags: int = 1) -> None:
    for day in range(days):
        kept.commit(
            Batch(
                [
                    reading(day * per_day + n + 1, DAY0 + day * DAY_US + n * MINUTE, float(n), tags)
                    for n in range(per_day)
                ]
            )
        )


def days(folder: Path) -> list[int]:
    return sorted(
        (datetime.fromisoformat(day) - datetime(2023, 11, 14)).days for day in day_files(folder)
    )


def upkeep(kept: SqliteStore) -> int:
    slices = 1
    while kept.maintain(0):
        slices += 1
        assert slices < 1_000
    return slices


def test_each_utc_day_has_a_file(tmp_path: Path) -> None:
    kept = store(tmp_path)
    midnight = DAY0 + DAY_US
    kept.commit(Batch([reading(1, midnight - 1, 1), reading(2, midnight, 2)]))
    assert sorted(day_files(tmp_path)) == ["2023-11-14", "2023-11-15"]
    found = SqliteReader(tmp_path).samples("boiler", "t0", midnight - 1, midnight)
    assert [sample.value for sample in found] == [1, 2]
    assert day_of(midnight) == "2023-11-15"


def test_retention_removes_whole_days_oldest_first(tmp_path: Path) -> None:
    kept = store(tmp_path, retention_s=2 * 86_400.0)
    kept.commit(Batch(gaps=[Gap("p", 1, "", "", 1, 1, 1, 1, "old", DAY0, DAY0 + 1)]))
    fill(kept, 6)
    kept.commit(Batch(cursors={"p": Cursor(1, 1, 1, 1, 1)}))
    assert days(tmp_path) == [3, 4, 5]
    assert SqliteReader(tmp_path).gaps("", 0, 2**52) == []
    assert kept.state().removed_days == 3


def test_a_clock_that_jumps_to_2036_removes_one_day_at_most(tmp_path: Path) -> None:
    kept = store(tmp_path, retention_s=2 * 86_400.0)
    fill(kept, 3)
    kept.commit(Batch([reading(1_000, 2_085_978_496_000_000, 1)]))
    kept.commit(Batch(cursors={"p": Cursor(1, 1, 1, 1, 1)}))
    assert len(days(tmp_path)) == 3
    assert days(tmp_path)[:2] == [1, 2]


def test_the_size_is_bounded_and_the_newest_day_stays(tmp_path: Path) -> None:
    kept = store(tmp_path, bytes=300_000)
    fill(kept, 8, per_day=100, tags=50)
    kept.commit(Batch(cursors={"p": Cursor(1, 1, 1, 1, 1)}))
    assert days(tmp_path)[-1] == 7
    assert 1 <= len(days(tmp_path)) < 6


def test_less_free_room_than_wanted_removes_days_and_then_refuses(tmp_path: Path) -> None:
    kept = store(tmp_path)
    fill(kept, 3)
    kept.close()
    status = os.statvfs(tmp_path)
    never_free = status.f_blocks * status.f_frsize + 1
    strict = store(tmp_path, free_bytes=never_free)
    with pytest.raises(StoreError, match="free") as refused:
        strict.commit(Batch([reading(999, DAY0 + 2 * DAY_US, 1)]))
    assert refused.value.full
    assert days(tmp_path) == [2]  # the newest is never removed
    assert len(list(SqliteReader(tmp_path).samples("boiler", "t0", 0, 2**52))) == 20


def test_a_closed_day_is_rolled_up_by_the_minute(tmp_path: Path) -> None:
    kept = store(tmp_path)
    readings = [
        reading(1, DAY0 - 1, 10.0),
        reading(2, DAY0 + 15_000_000, 20.0),
        reading(3, DAY0 + 45_000_000, 40.0),
        reading(4, DAY0 + 3 * MINUTE, None)._replace(qualities=18),
        reading(5, DAY0 + DAY_US + 2 * 3_600_000_000, 1.0),
    ]
    kept.commit(Batch(readings))
    upkeep(kept)
    found = list(SqliteReader(tmp_path).minutes("boiler", "t0", DAY0, DAY0 + DAY_US))
    assert found == [
        Minute(DAY0, 10.0, (15 * 10 + 30 * 20 + 15 * 40) / 60, 40.0, 2, MINUTE),
        Minute(DAY0 + MINUTE, 40.0, 40.0, 40.0, 0, MINUTE),
        Minute(DAY0 + 2 * MINUTE, 40.0, 40.0, 40.0, 0, MINUTE),
    ]


def test_a_day_that_is_written_to_is_not_closed_by_a_clock_that_jumped(tmp_path: Path) -> None:
    now = [0.0]
    kept = SqliteStore(tmp_path, SqliteLimits(free_bytes=1), monotonic=lambda: now[0])
    kept.open()
    kept.commit(Batch([reading(1, DAY0, 1.0)]))
    kept.commit(Batch([reading(2, 2_085_978_496_000_000, 1.0)]))
    assert upkeep(kept) == 1
    now[0] += 3_601.0
    assert upkeep(kept) > 1
    assert not is_open_day(sorted(day_files(tmp_path).values())[0])


def test_a_closed_day_is_one_file_without_a_log(tmp_path: Path) -> None:
    kept = store(tmp_path)
    fill(kept, 2, per_day=200)
    upkeep(kept)
    closed, open_ = (path for _, path in sorted(day_files(tmp_path).items()))
    assert not is_open_day(closed) and is_open_day(open_)
    assert not closed.with_name(closed.name + "-wal").exists()


def test_what_comes_late_is_rolled_up_too(tmp_path: Path) -> None:
    kept = store(tmp_path)
    fill(kept, 2, per_day=200)
    upkeep(kept)
    kept.commit(Batch([reading(5_000, DAY0 + 5 * MINUTE + 1, 999.0)]))
    upkeep(kept)
    found = list(SqliteReader(tmp_path).minutes("boiler", "t0", DAY0, DAY0 + 10 * MINUTE))
    assert found[5].maximum == 999.0


def test_buckets_come_from_roll_ups_where_samples_are_gone(tmp_path: Path) -> None:
    kept = store(tmp_path, retention_s=86_400.0)
    fill(kept, 2, per_day=200)
    upkeep(kept)
    before = list(
        ask_buckets(SqliteReader(tmp_path), "boiler.t0", DAY0, DAY0 + 60 * MINUTE, 20 * MINUTE)
    )
    fill_later = [reading(9_000 + n, DAY0 + (2 + n) * DAY_US, 1.0) for n in range(2)]
    for later in fill_later:
        kept.commit(Batch([later]))
    kept.commit(Batch(cursors={"p": Cursor(1, 1, 1, 1, 1)}))
    assert days(tmp_path)[0] > 0
    after = list(
        ask_buckets(SqliteReader(tmp_path), "boiler.t0", DAY0, DAY0 + 60 * MINUTE, 20 * MINUTE)
    )
    assert after == before
    assert before[1] == Bucket(DAY0 + 20 * MINUTE, 20.0, 29.5, 39.0, 20, 20 * MINUTE)


def test_long_steps_over_rolled_up_days_give_what_the_samples_give(tmp_path: Path) -> None:
    kept = store(tmp_path)
    readings = [
        reading(n + 1, DAY0 + n * 97_000_000, float(n % 53)) for n in range(3_000)
    ]  # three days and a bit
    kept.commit(Batch(readings, gaps=[Gap("p", 1, "", "", 1, 1, 1, 1, "x", DAY0, DAY0)]))
    hour = 60 * MINUTE
    span = (DAY0 + 5 * hour, DAY0 + 3 * DAY_US + 5 * hour, 2 * hour)
    reader = SqliteReader(tmp_path)
    before = list(ask_buckets(reader, "boiler.t0", *span))
    upkeep(kept)
    assert len(reader.rolled_up(span[0], span[1], gone_only=False)) == 3
    after = list(ask_buckets(reader, "boiler.t0", *span))
    assert len(before) == len(after) == 36
    for one, other in zip(before, after, strict=True):
        assert one[0] == other[0] and one[4:] == other[4:]
        assert one[1:4] == pytest.approx(other[1:4])


def test_minutes_are_stored_as_they_are() -> None:
    found = [
        Bucket(n * MINUTE, n * 0.1, n * 0.2, n * 0.3, n * 100, n * 1000) for n in range(1, 900)
    ]
    holes = [Bucket(5 * MINUTE, None, None, None, 3, 0)]
    kept = list(decode_minutes(encode_minutes(found + holes, 0), 0))
    assert [tuple(minute) for minute in kept] == [
        (*bucket[:4], min(bucket.samples, 65_535), bucket.good_us) for bucket in found
    ]


def test_a_damaged_day_is_put_aside_and_declared(tmp_path: Path) -> None:
    kept = store(tmp_path)
    fill(kept, 1)
    kept.close()
    (path,) = day_files(tmp_path).values()
    for name in tmp_path.glob("readings-*-wal"):
        name.unlink()
    path.write_bytes(b"not a database any more" * 200)
    again = store(tmp_path)
    again.commit(Batch([reading(50, DAY0 + 1, 5)]))
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert [
        sample.value for sample in SqliteReader(tmp_path).samples("boiler", "t0", 0, 2**52)
    ] == [5]
    (gap,) = SqliteReader(tmp_path).gaps("", 0, 2**52)
    assert (gap.reason, gap.from_us) == ("store file damaged", DAY0)


@pytest.mark.parametrize("name", ["index.sqlite", "readings-2023-11-14.sqlite"])
def test_files_of_a_newer_version_are_not_touched(tmp_path: Path, name: str) -> None:
    with sqlite3.connect(tmp_path / name) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = (tmp_path / name).read_bytes()
    kept = SqliteStore(tmp_path, SqliteLimits(free_bytes=1))
    with pytest.raises(SchemaError, match="newer"):
        kept.commit(Batch([reading(1, DAY0, 1)]))
    kept.close()
    assert (tmp_path / name).read_bytes() == before


def test_a_reading_that_no_row_can_hold_is_named_and_nothing_is_half_done(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.commit(Batch([reading(1, DAY0, 1)]))
    bad = reading(3, DAY0 + 2, 3)._replace(tags=["new"], values=[2**80])
    with pytest.raises(PoisonError) as poison:
        kept.commit(Batch([reading(2, DAY0 + 1, 2), bad]))
    assert poison.value.indices == (1,)
    assert kept.commit(Batch([reading(2, DAY0 + 1, 2)])) == (1, 0)
    found = SqliteReader(tmp_path).samples("boiler", "t0", 0, 2**52)
    assert [sample.value for sample in found] == [1, 2]
