"""What schema 1 and the journals before gateways had ids left behind is opened and gone on from:
the same rows, cursors and ids, and no gap invented; what this version writes, that one refuses.

The files are told of in `tests/vectors/stores_v1/make.py.txt`.
"""

import json
import lzma
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.journal import VERSION
from cpppod.workers.historian.collector import Collector
from cpppod.workers.historian.stores.opening import open_reader, open_store
from cpppod.workers.historian.stores.questions import ask_range
from cpppod.workers.historian.stores.sqlite.damage import SCHEMA
from cpppod.workers.listener.state import ListenerState
from cpppod.workers.state import StateDirectory
from tests import peers
from tests.postgresql_cluster import running_cluster
from tests.workers.historian.test_positions import Clock, Life

VECTORS = Path(__file__).parents[2] / "vectors" / "stores_v1"
WORKER = "serial-hall"


class Old:
    """A state directory and a store as they were left; `expected` is what was read from them."""

    def __init__(self, name: str, state: Path, url: str) -> None:
        self.state = state
        self.url = url
        self.expected: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())

    def rows(self, gateway: str | None = None) -> dict[str, list[list[Any]]]:
        with closing(open_reader(self.url, gateway)) as reader:
            return {
                tag: [list(sample) for sample in ask_range(reader, tag, 0, 2**52)]
                for tag in reader.tags()
            }

    def gaps(self) -> list[list[Any]]:
        with closing(open_reader(self.url)) as reader:
            return [list(gap)[:11] for gap in reader.gaps("", 0, 2**52)]

    def collect(self) -> Collector:
        store = open_store(self.url, {"free_bytes": 1}, "gw-new", instance="test")
        collector = Collector(
            self.state / "journal", store, monotonic=Clock(), gateway="gw-new", since_us=1
        )
        with closing(collector):
            for _ in range(20):
                collector.turn(0)
        assert collector.state == "storing", collector.error
        return collector


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(VECTORS / f"{name}-state.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "state"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with running_cluster() as found:
        yield found.url


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    state = unpacked(request.param, tmp_path)
    if request.param == "sqlite":
        return Old("sqlite", state, str(state / "history"))
    url = str(request.getfixturevalue("cluster"))
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS history CASCADE")
    dump = lzma.decompress((VECTORS / "postgresql.sql.xz").read_bytes())
    command = [peers.postgresql("psql"), "-q", "-v", "ON_ERROR_STOP=1", url]
    subprocess.run(command, input=dump, stdout=subprocess.DEVNULL, check=True)
    return Old("postgresql", state, url)


def test_what_was_stored_is_read_without_a_migration(old: Old) -> None:
    for gateway in (None, "gw-new"):
        assert old.rows(gateway) == old.expected["rows"]
    assert old.gaps() == old.expected["gaps"]


def test_cursors_stay_and_the_rest_of_the_journal_follows_without_a_gap(old: Old) -> None:
    with closing(open_store(old.url, {"free_bytes": 1}, "gw-new", instance="test")) as store:
        assert store.open() == {}
        kept = {name: list(cursor)[:5] for name, cursor in store.cursors("").items()}
    assert kept == old.expected["cursors"]
    assert old.rows() == old.expected["rows"]
    collector = old.collect()
    assert collector.counters.duplicates == 0
    assert old.gaps() == old.expected["gaps"]
    values = [value for _, value, _ in old.rows()["counter_0.n"]]
    known = [value for _, value, _ in old.expected["rows"]["counter_0.n"]]
    served = [n for n, _ in old.expected["served"]]
    assert values[: len(known)] == known
    assert values == served[: len(values)]  # the last one may have been in hand
    assert len(values) > len(known)


def test_the_next_life_continues_it_and_the_kill_before_is_the_only_new_gap(old: Old) -> None:
    last_us = max(time_us for _, time_us in old.expected["served"])
    later = last_us // 1_000_000 + 60
    Life(old.state, later * 1000, "gw-new", WORKER).publish(later).stop()
    old.collect()
    (new,) = [gap for gap in old.gaps() if gap not in old.expected["gaps"]]
    assert new[8] == "publisher restarted"
    with closing(open_store(old.url, {"free_bytes": 1}, "gw-new", instance="test")) as store:
        (cursor,) = store.open().values()
        assert cursor.created_us and cursor.segment_epoch == later * 1000


def test_ids_and_retained_values_are_the_same(old: Old) -> None:
    state = ListenerState(StateDirectory(old.state), "listener-main")
    allotment = state.load_ids()
    assert allotment.plain == old.expected["symbols"]
    assert state.load_values() == old.expected["retained"]["values"]
    last = max(old.expected["symbols"]["symbols"].values())
    assert allotment.symbol("new") == last + 1


def test_the_view_keeps_its_columns_and_its_rows(old: Old) -> None:
    if not old.url.startswith("postgresql"):
        pytest.skip("a SQLite store has no view")
    import psycopg

    old.collect()
    with psycopg.connect(old.url) as connection:
        cursor = connection.execute("SELECT * FROM history.samples LIMIT 1")
        names = [column.name for column in cursor.description or ()]
        count = connection.execute("SELECT count(*) FROM history.samples").fetchone()
        apart = connection.execute("SELECT * FROM history.gateway_samples LIMIT 1").description
    assert (
        names
        == (
            "time device tag value other quality group_name publisher epoch sequence gateway_time"
        ).split()
    )
    assert count == (sum(len(rows) for rows in old.rows().values()),)
    assert apart is not None and [column.name for column in apart] == ["gateway", *names]


def test_an_older_version_is_told_so_before_it_changes_anything(old: Old) -> None:
    """It looks at the schema first: of the index, of each day, of the database."""
    old.collect()
    if old.url.startswith("postgresql"):
        import psycopg

        with psycopg.connect(old.url) as connection:
            row = connection.execute("SELECT value FROM history.meta WHERE name = 'schema'")
            assert row.fetchone() == ("2",)
        return
    for path in (old.state / "history").glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (2,)
    assert SCHEMA == 2
    assert VERSION == 1  # its journals can be read by it: what it does not know it passes over
