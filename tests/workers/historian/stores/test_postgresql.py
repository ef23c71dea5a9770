"""What only the PostgreSQL store does: poison found by halves, retention, giving up, its view."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from cpppod.workers.historian.stores.postgresql import store as postgresql
from cpppod.workers.historian.stores.postgresql.store import PostgresqlLimits, PostgresqlStore
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    PoisonError,
    Reading,
    SchemaError,
    StoreError,
)
from tests.patience import PATIENCE_S
from tests.postgresql_cluster import Cluster, running_cluster

T0 = 1_700_000_000_000_000
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as found:
        yield found


@pytest.fixture
def url(cluster: Cluster) -> str:
    with psycopg.connect(cluster.url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS history CASCADE")
    return cluster.url


def reading(sequence: int, value: Any, *, at_us: int = T0) -> Reading:
    return Reading(
        "p", 1, sequence, "boiler", "fast", at_us + sequence, at_us, 0, 1, ["a"], [value], 0
    )


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM history.samples").fetchone()
    assert row is not None
    return int(row[0])


def test_readings_that_the_server_refuses_are_named_and_the_rest_is_kept(url: str) -> None:
    readings = [reading(n, "bad\0text" if n in (7, 30) else n) for n in range(50)]
    with closing(PostgresqlStore(url)) as store:
        store.open()
        with pytest.raises(PoisonError) as poison:
            store.commit(Batch(readings))
        assert poison.value.indices == (7, 30)
        assert count(url) == 0
        kept = [each for index, each in enumerate(readings) if index not in (7, 30)]
        assert store.commit(Batch(kept)) == (48, 0)
    assert count(url) == 48


def test_samples_are_there_to_be_asked_in_sql(url: str) -> None:
    with closing(PostgresqlStore(url)) as store:
        store.open()
        store.commit(Batch([reading(1, 2.5), reading(2, True), reading(3, "text")]))
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT value, other, quality FROM history.samples"
            " WHERE device = 'boiler' AND tag = 'a' ORDER BY time"
        ).fetchall()
    assert rows == [(2.5, None, 0), (1.0, None, 0), (None, "text", 0)]


def test_old_samples_are_deleted_a_slice_at_a_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "RETENTION_ROWS", 10)
    monkeypatch.setattr(postgresql, "UPKEEP_S", 0.0)
    limits = PostgresqlLimits(retention_s=86_400.0)
    with closing(PostgresqlStore(url, limits)) as store:
        store.open()
        store.commit(Batch([reading(n, n) for n in range(25)]))
        store.commit(Batch([reading(n, n, at_us=T0 + 2 * DAY_US) for n in range(100, 105)]))
        now_us = T0 + 2 * DAY_US
        assert not store.maintain(now_us)  # the first look only takes note of the clock
        assert [store.maintain(now_us) for _ in range(3)] == [True, True, False]
    assert count(url) == 5


def test_a_clock_that_jumps_deletes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "UPKEEP_S", 0.0)
    with closing(PostgresqlStore(url, PostgresqlLimits(retention_s=86_400.0))) as store:
        store.open()
        store.commit(Batch([reading(n, n) for n in range(5)]))
        store.maintain(T0)
        store.maintain(T0 + 4_000 * DAY_US)
    assert count(url) == 5


def test_a_call_that_hangs_can_be_given_up(url: str, cluster: Cluster) -> None:
    store = PostgresqlStore(url)
    store.open()
    errors: list[StoreError] = []

    def commit() -> None:
        try:
            store.commit(Batch([reading(1, 1)], cursors={"p": Cursor(1, 1, 1, 1, 1)}))
        except StoreError as error:
            errors.append(error)

    cluster.hang()
    caller = threading.Thread(target=commit)
    caller.start()
    assert store._connection is not None
    while store._connection.info.transaction_status != TransactionStatus.ACTIVE:
        time.sleep(0.01)  # it has not asked yet
    assert caller.is_alive()
    store.give_up()
    caller.join(PATIENCE_S)
    cluster.resume()
    assert len(errors) == 1 and not errors[0].full
    assert store.commit(Batch([reading(1, 1)])).readings in (0, 1)  # it may have arrived after all
    store.close()
    assert count(url) == 1


def test_a_schema_of_a_newer_version_is_not_touched(url: str) -> None:
    with closing(PostgresqlStore(url)) as store:
        store.open()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE history.meta SET value = '99' WHERE name = 'schema'")
    with closing(PostgresqlStore(url)) as store, pytest.raises(SchemaError, match="newer"):
        store.open()


def test_a_server_that_is_not_there_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="postgresql"):
        PostgresqlStore("postgresql://127.0.0.1:1/none").open()
