"""A SQLite store whose files are damaged: put aside, declared as a gap, and stored into again."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cpppod.workers.historian.stores.sqlite.damage import DAY_US, problem_of
from cpppod.workers.historian.stores.sqlite.index import NAME
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader, day_files
from cpppod.workers.historian.stores.sqlite.store import SqliteStore
from cpppod.workers.historian.stores.store import Batch, Cursor, DamagedError, Gap, StoreError
from tests.workers.historian.stores.test_sqlite import DAY0, fill, reading, store, upkeep

DECLARED = Gap("p", 1, "boiler", "fast", 5, 6, 2, 2, "not journalled", DAY0 + 5, DAY0 + 6)
TODAY = "readings-2023-11-15.sqlite"


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE somebody (elses)")


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        table = "cursors" if path.name == NAME else "keyframes"
        database.execute(f"DROP TABLE {table}")


def scribbled(path: Path) -> None:
    """Every page but the first is noise."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(range(256)) * ((len(data) - 4096) // 256))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(b"SQL"),
    "zeros": lambda path: path.write_bytes(bytes(20_000)),
    "text": lambda path: path.write_bytes(b"not a database any more" * 1_000),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut within its head": lambda path: os.truncate(path, 50),
    "scribbled": scribbled,
    "foreign": foreign,
    "without a table": without_a_table,
    "folder": folder,
}
damaged = pytest.mark.parametrize("kind", DAMAGE)


def two_days(folder: Path) -> None:
    kept = store(folder)
    kept.commit(Batch(gaps=[DECLARED], cursors={"p": Cursor(3, 400, 1, 40, DAY0)}))
    fill(kept, 2)
    kept.close()


def gaps(folder: Path) -> list[tuple[str, int, int]]:
    found = SqliteReader(folder).gaps("", 0, 2**52)
    return sorted((gap.reason, gap.from_us, gap.to_us) for gap in found)


def values(folder: Path) -> list[float]:
    return [each.value for each in SqliteReader(folder).samples("boiler", "t0", 0, 2**52)]


def aside(folder: Path) -> list[str]:
    return sorted(path.name.split(".damaged-")[0] for path in folder.glob("*.damaged-*"))


@damaged
def test_a_damaged_day_is_put_aside_declared_and_stored_into_again(
    tmp_path: Path, kind: str
) -> None:
    two_days(tmp_path)
    DAMAGE[kind](tmp_path / TODAY)
    kept = store(tmp_path)
    lost = ("store file damaged", DAY0 + DAY_US, DAY0 + 2 * DAY_US - 1)
    own = ("not journalled", DAY0 + 5, DAY0 + 6)
    assert gaps(tmp_path) == [own, lost]  # before anything else is stored
    assert kept.commit(Batch([reading(50, DAY0 + DAY_US + 5, 5.0)])) == (1, 0)
    assert values(tmp_path) == [float(n) for n in range(20)] + [5.0]
    assert aside(tmp_path) == [TODAY]
    kept.close()
    assert [Path(path).name.split(".d")[0] for path in store(tmp_path).state().damaged] == [TODAY]
    assert gaps(tmp_path) == [own, lost]  # once


@damaged
def test_a_damaged_index_is_put_aside_and_says_that_gaps_may_be_unknown(
    tmp_path: Path, kind: str
) -> None:
    two_days(tmp_path)
    DAMAGE[kind](tmp_path / NAME)
    kept = store(tmp_path)
    ((reason, from_us, _),) = gaps(tmp_path)
    assert (reason, from_us) == ("index damaged", DAY0)
    assert aside(tmp_path) == [NAME]
    kept.commit(Batch([reading(50, DAY0 + DAY_US + 5, 5.0)], [DECLARED]))
    assert len(values(tmp_path)) == 41
    assert len(gaps(tmp_path)) == 2


def test_a_lost_index_says_so_and_whose_readings_there_are_is_learnt_anew(tmp_path: Path) -> None:
    kept = SqliteStore(tmp_path, gateway="gw-1")
    kept.open()
    kept.commit(Batch([reading(1, DAY0, 1.0)._replace(gateway="gw-1")]))
    kept.close()
    (tmp_path / NAME).unlink()
    again = SqliteStore(tmp_path, gateway="gw-2")
    again.open()
    assert again.gateways() == ["gw-1", "gw-2"]
    again.close()
    ((reason, from_us, _),) = gaps(tmp_path)
    assert (reason, from_us) == ("index lost", DAY0)


def test_readings_that_vanish_with_a_file_or_its_log_are_a_gap(tmp_path: Path) -> None:
    two_days(tmp_path)
    shutil.copy(tmp_path / TODAY, tmp_path / "copy")
    kept = store(tmp_path)
    kept.commit(Batch([reading(50, DAY0 + DAY_US + 5, 5.0)]))
    kept.close()
    os.replace(tmp_path / "copy", tmp_path / TODAY)  # an old copy
    lost = ("store file damaged", DAY0 + DAY_US, DAY0 + 2 * DAY_US - 1)
    store(tmp_path).close()
    assert gaps(tmp_path)[1:] == [lost]
    (tmp_path / "readings-2023-11-14.sqlite").unlink()
    store(tmp_path).close()
    assert gaps(tmp_path)[1:] == [("store file damaged", DAY0, DAY0 + DAY_US - 1), lost]
    store(tmp_path).close()
    assert len(gaps(tmp_path)) == 3  # said once


def test_a_file_that_is_replaced_while_the_store_is_open_is_noticed(tmp_path: Path) -> None:
    two_days(tmp_path)
    shutil.copy(tmp_path / TODAY, tmp_path / "copy")
    kept = store(tmp_path)
    kept.commit(Batch([reading(50, DAY0 + DAY_US + 5, 5.0)]))
    os.replace(tmp_path / "copy", tmp_path / TODAY)
    (tmp_path / f"{TODAY}-wal").unlink()
    kept.commit(Batch([reading(51, DAY0 + DAY_US + 6, 6.0)]))
    assert [reason for reason, *_ in gaps(tmp_path)] == ["not journalled", "store file damaged"]
    assert 6.0 in values(tmp_path) and values(tmp_path).count(5.0) == 2  # a day each


def test_a_damaged_day_that_only_a_question_meets_is_put_aside_by_the_store(tmp_path: Path) -> None:
    two_days(tmp_path)
    kept = store(tmp_path)
    scribbled(tmp_path / "readings-2023-11-14.sqlite")
    with pytest.raises(DamagedError) as found:
        values(tmp_path)
    kept.mend(found.value)
    assert values(tmp_path) == [float(n) for n in range(20)]
    assert ("store file damaged", DAY0, DAY0 + DAY_US - 1) in gaps(tmp_path)


def test_what_can_be_read_is_not_put_aside(tmp_path: Path) -> None:
    two_days(tmp_path)
    kept = store(tmp_path)
    with pytest.raises(StoreError, match="it can be read"):
        kept.mend(DamagedError(tmp_path / TODAY, "said by somebody"))
    assert aside(tmp_path) == []
    assert problem_of(tmp_path / TODAY) == problem_of(tmp_path / NAME) == ""


def test_a_damaged_day_is_not_rolled_up_and_its_damaged_minutes_are_made_anew(
    tmp_path: Path,
) -> None:
    two_days(tmp_path)
    kept = store(tmp_path)
    upkeep(kept)
    kept.close()
    (minutes,) = tmp_path.glob("minutes-*.sqlite")
    minutes.write_bytes(b"")
    kept = store(tmp_path)
    assert aside(tmp_path) == [minutes.name]
    assert [reason for reason, *_ in gaps(tmp_path)] == ["not journalled"]  # they are made anew
    upkeep(kept)
    assert problem_of(minutes) == ""
    minutes.unlink()
    scribbled(day_files(tmp_path)["2023-11-14"])
    upkeep(kept)
    assert aside(tmp_path) == [minutes.name, "readings-2023-11-14.sqlite"]
    assert kept.commit(Batch([reading(60, DAY0 + DAY_US + 9, 9.0)])) == (1, 0)


def test_what_was_known_before_a_lost_day_is_not_known_after_it(tmp_path: Path) -> None:
    kept = store(tmp_path)
    both = reading(1, DAY0, 1.0, tags=2)
    kept.commit(Batch([both]))
    kept.commit(Batch([reading(2, DAY0 + DAY_US, 2.0, tags=2)]))
    kept.close()
    (tmp_path / TODAY).write_bytes(b"")
    kept = store(tmp_path)
    one = reading(3, DAY0 + DAY_US + 5, 3.0)._replace(members=2)
    kept.commit(Batch([one]))
    kept.commit(
        Batch([one._replace(sequence=4 + n, source_us=DAY0 + DAY_US + 6 + n) for n in range(301)])
    )
    reader = SqliteReader(tmp_path)
    assert reader.last("boiler", "t0", 2**52).value == 3.0  # type: ignore[union-attr]
    assert reader.last("boiler", "t1", 2**52).time_us == DAY0  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [NAME, TODAY])
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_stands_in_the_place_of_a_files_log_is_put_aside(
    tmp_path: Path, name: str, suffix: str
) -> None:
    two_days(tmp_path)
    (tmp_path / f"{name}{suffix}").mkdir()
    again = store(tmp_path)
    again.open()
    again.commit(Batch([reading(90, DAY0 + DAY_US + 3_600_000_000, 9.0)]))
    again.close()
    assert aside(tmp_path) == [f"{name}{suffix}"]
    assert gaps(tmp_path) == [("not journalled", DAY0 + 5, DAY0 + 6)]
    assert values(tmp_path)[-1] == 9.0
