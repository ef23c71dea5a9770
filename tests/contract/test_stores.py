"""What every registered store does: repeats, full disks, reopenings, gaps, and every question.

A store that keeps files is given a folder; one with a server of its own has a line in `SERVERS`.
"""

import math
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cpppod.workers.historian.stores.opening import open_reader, open_store
from cpppod.workers.historian.stores.questions import ask_buckets, ask_steps
from cpppod.workers.historian.stores.settings import StoreSection
from cpppod.workers.historian.stores.spec import STORES
from cpppod.workers.historian.stores.store import (
    Batch,
    Cursor,
    Gap,
    Quarantined,
    Reading,
    Sample,
    Store,
    StoreError,
    StoreReader,
)
from cpppod.workers.registry import load
from tests.postgresql_cluster import Cluster, running_cluster

T0 = 1_700_000_000_000_000
SECOND = 1_000_000
VALUES = [
    1,
    -1,
    0.1,
    True,
    False,
    "text\t\\ \n'é",
    None,
    [1, 2.5],
    [],
    2**60,
    math.inf,
    b"\x00\xff",
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as found:
        yield found


@contextmanager
def on_server(request: pytest.FixtureRequest, folder: Path | None) -> Iterator[str]:
    """URL of an empty database; its tables are in `folder`, where that is given."""
    import psycopg

    found: Cluster = request.getfixturevalue("cluster")
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS history CASCADE")
        if folder is None:
            yield found.url
            return
        found.own(folder)
        connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        connection.execute("ALTER DATABASE postgres SET default_tablespace = small")
        try:
            yield found.url
        finally:
            connection.execute("ALTER DATABASE postgres RESET default_tablespace")
            connection.execute("DROP SCHEMA history CASCADE")
            connection.execute("DROP TABLESPACE small")


SERVERS = {"postgresql": on_server}


@contextmanager
def empty_place(name: str, request: pytest.FixtureRequest, folder: Path | None) -> Iterator[str]:
    """URL of an empty store; in `folder`, where that is given."""
    if name in SERVERS:
        with SERVERS[name](request, folder) as found:
            yield found
        return
    spec = STORES.find(name)
    assert spec is not None
    settings = load(spec.settings)()
    assert isinstance(settings, StoreSection)
    yield spec.url(settings.options(), str(folder or request.getfixturevalue("tmp_path")))


@pytest.fixture(params=[spec.name for spec in STORES])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(name: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with empty_place(name, request, None) as found:
        yield found


def opened(url: str) -> Store:
    return open_store(url, {"free_bytes": 1})


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(opened(url)) as found:
        found.open()
        yield found


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 8 MB of its own, which a database's user reaches as well."""
    folder = Path(tempfile.mkdtemp(prefix="cpppod-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if os.getuid() or subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        folder.rmdir()
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def reading(sequence: int, values: dict[str, Any], *, at_s: float = 0.0, **fields: Any) -> Reading:
    at_us = T0 + round(at_s * SECOND)
    qualities = fields.pop("qualities", 0)
    known = Reading(
        "poller-1", 1, sequence, "boiler", "fast", at_us, at_us + 7, sequence, len(values),
        list(values), list(values.values()), qualities,
    )  # fmt: skip
    return known._replace(**fields)


Ask = Callable[[StoreReader], Any]


def ask(url: str, question: Ask) -> Any:
    with closing(open_reader(url)) as reader:
        return question(reader)


def samples(url: str, tag: str = "a", since_us: int = 0, until_us: int = 2**52) -> list[Sample]:
    found: list[Sample] = ask(
        url, lambda reader: list(reader.samples("boiler", tag, since_us, until_us))
    )
    return found


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was(store: Store, url: str, value: Any) -> None:
    store.commit(Batch([reading(1, {"a": value})]))
    (found,) = samples(url)
    assert found == Sample(T0, value, 0)
    assert type(found.value) is type(value)


def test_not_a_number_comes_back_as_it_was(store: Store, url: str) -> None:
    store.commit(Batch([reading(1, {"a": math.nan})]))
    assert math.isnan(samples(url)[0].value)


def test_each_sample_has_its_quality(store: Store, url: str) -> None:
    store.commit(Batch([reading(1, {"a": 1.5, "b": None}, qualities=[0, 18 | 6 << 8])]))
    assert samples(url, "a")[0].quality == 0
    assert samples(url, "b")[0].quality == 18 | 6 << 8


def test_what_comes_twice_is_stored_once(store: Store, url: str) -> None:
    batch = Batch([reading(1, {"a": 1}), reading(2, {"a": 2}, at_s=1)])
    assert store.commit(batch) == (2, 0)
    assert store.commit(batch) == (0, 2)
    assert [sample.value for sample in samples(url)] == [1, 2]


def test_cursors_survive_reopening(store: Store, url: str) -> None:
    first, second = Cursor(1, 100, 5, 7, T0), Cursor(2, 32, 5, 9, T0 + 1)
    store.commit(Batch(cursors={"poller-1": first, "poller-2": first}))
    store.commit(Batch(cursors={"poller-1": second}))
    store.close()
    with closing(opened(url)) as again:
        assert again.open() == {"poller-1": second, "poller-2": first}


def test_gaps_are_found_by_time_and_device(store: Store, url: str) -> None:
    one = Gap("poller-1", 1, "boiler", "fast", 3, 5, 3, 30, "why", T0, T0 + 10)
    every = Gap("poller-1", 2, "", "", 0, 0, -1, -1, "restart", T0 + 20, T0 + 30)
    store.commit(Batch(gaps=[one, every]))
    store.commit(Batch(gaps=[one]))
    assert ask(url, lambda reader: reader.gaps("boiler", 0, 2**52)) == [one, every]
    assert ask(url, lambda reader: reader.gaps("pump", 0, 2**52)) == [every]
    assert ask(url, lambda reader: reader.gaps("", T0 + 11, T0 + 19)) == []


def test_a_quarantined_record_does_not_hurt_twice(store: Store) -> None:
    record = Quarantined("poller-1", 1, 1, "no block", b"boiler/fast/", b"\xc1\x00")
    store.commit(Batch(quarantined=[record]))
    store.commit(Batch(quarantined=[record]))


def test_tags_are_listed_with_their_devices(store: Store, url: str) -> None:
    store.commit(Batch([reading(1, {"a": 1, "b": 2}), reading(2, {"a": 1}, device="pump")]))
    assert ask(url, lambda reader: reader.tags()) == ["boiler.a", "boiler.b", "pump.a"]


def test_a_range_has_both_its_ends_and_is_in_order(store: Store, url: str) -> None:
    readings = [reading(n, {"a": n}, at_s=n) for n in range(1, 6)]
    store.commit(Batch(readings[::-1]))
    found = samples(url, since_us=T0 + 2 * SECOND, until_us=T0 + 4 * SECOND)
    assert [sample.value for sample in found] == [2, 3, 4]


def test_tags_are_found_without_regard_to_case(store: Store, url: str) -> None:
    store.commit(Batch([reading(1, {"Pressure": 1})]))
    assert len(samples(url, "PRESSURE")) == 1


def test_the_last_sample_before_a_time_may_be_of_long_ago(store: Store, url: str) -> None:
    readings = [reading(1, {"a": 1, "b": 1}, members=2)]
    readings += [
        reading(n, {"b": n}, at_s=n * 600, members=2) for n in range(2, 1_000)
    ]  # a week of a tag that did not change
    store.commit(Batch(readings))
    assert ask(url, lambda reader: reader.last("boiler", "a", 2**52)) == Sample(T0, 1, 0)
    at_us = T0 + 500 * 600 * SECOND
    assert ask(url, lambda reader: reader.last("boiler", "b", at_us)).value == 500
    assert ask(url, lambda reader: reader.last("boiler", "a", T0 - 1)) is None
    assert ask(url, lambda reader: reader.last("boiler", "none", 2**52)) is None


def test_a_writer_that_was_restarted_still_knows_values_of_long_ago(store: Store, url: str) -> None:
    store.commit(Batch([reading(1, {"a": 1, "b": 1}, members=2)]))
    for day in range(1, 4):
        store.close()
        with closing(opened(url)) as again:
            again.open()
            batch = [
                reading(day * 1_000 + n, {"b": n}, at_s=86_400 * day + n, members=2)
                for n in range(700)
            ]
            again.commit(Batch(batch))
    assert ask(url, lambda reader: reader.last("boiler", "a", 2**52)) == Sample(T0, 1, 0)


def test_steps_hold_the_last_value_and_end_at_a_gap(store: Store, url: str) -> None:
    gap = Gap("poller-1", 1, "", "", 0, 0, -1, -1, "restart", T0 + 4 * SECOND, T0 + 6 * SECOND)
    store.commit(
        Batch([reading(1, {"a": 1}, at_s=0.5), reading(2, {"a": 2}, at_s=6.5)], gaps=[gap])
    )
    found = ask(
        url,
        lambda reader: list(ask_steps(reader, "boiler.a", T0, T0 + 8 * SECOND, 2 * SECOND)),
    )
    assert [(s.time_us - T0, s.value, s.quality) for s in found] == [
        (2 * SECOND, 1, 0),
        (4 * SECOND, None, 16),
        (6 * SECOND, None, 16),
        (8 * SECOND, 2, 0),
    ]


def test_buckets_weigh_values_with_the_time_that_they_held(store: Store, url: str) -> None:
    store.commit(
        Batch(
            [
                reading(1, {"a": 10}, at_s=-5),
                reading(2, {"a": 20}, at_s=7.5),
                reading(3, {"a": None}, at_s=15, qualities=18),
            ]
        )
    )
    found = ask(
        url,
        lambda reader: list(ask_buckets(reader, "boiler.a", T0, T0 + 30 * SECOND, 10 * SECOND)),
    )
    assert [tuple(bucket)[1:] for bucket in found] == [
        (10.0, 12.5, 20.0, 1, 10 * SECOND),
        (20.0, 20.0, 20.0, 1, 5 * SECOND),
        (None, None, None, 0, 0),
    ]


def test_every_reading_of_a_time_comes_back(store: Store, url: str) -> None:
    readings = [
        reading(n, {"a": n, "b": None}, at_s=n, qualities=[0, 19], mono_us=0) for n in range(3)
    ]
    store.commit(Batch(readings))
    found = ask(url, lambda reader: list(reader.readings(T0 + SECOND, T0 + 2 * SECOND)))
    assert found == readings[1:]


def bulky(number: int) -> Batch:
    """A batch of 100 kB that no store can make smaller."""
    filler = random.Random(number).randbytes(50_000).hex()
    return Batch([reading(number, {"a": number, "filler": filler}, at_s=number)])


def filled(store: Store) -> tuple[int, StoreError | None]:
    """How many batches it took, and what it said then."""
    for stored in range(200):
        try:
            store.commit(bulky(stored + 1))
        except StoreError as error:
            return stored, error
    return 200, None


def test_a_full_disk_is_said_and_costs_nothing_once_there_is_room(
    name: str, request: pytest.FixtureRequest, small_disk: Path
) -> None:
    folder = small_disk / "store"
    folder.mkdir()
    with empty_place(name, request, folder) as url, closing(opened(url)) as store:
        store.open()
        stored, error = filled(store)
        assert error is not None and error.full
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        store.close()  # as the historian does after every error
        store.open()
        for number in range(stored, stored + 3):  # what was stored last, and what was not
            store.commit(bulky(number))
        store.close()
        assert [sample.value for sample in samples(url)] == list(range(1, stored + 3))


def test_everything_survives_reopening(store: Store, url: str) -> None:
    gap = Gap("poller-1", 1, "boiler", "fast", 3, 5, 3, 30, "why", T0 + 20, T0 + 30)
    cursor = Cursor(1, 100, 1, 2, T0)
    first = Batch([reading(1, {"a": 1}), reading(2, {"a": 2}, at_s=1)], [gap])
    first.cursors["poller-1"] = cursor
    store.commit(first)
    store.close()
    assert store.open() == {"poller-1": cursor}
    assert store.commit(first) == (0, 2)
    assert [sample.value for sample in samples(url)] == [1, 2]
    assert ask(url, lambda reader: reader.gaps("", 0, 2**52)) == [gap]


def test_an_unreachable_store_says_so(tmp_path: Path) -> None:
    for url in (str(tmp_path / "none"), "postgresql://127.0.0.1:1/none", "mysql://there"):
        with pytest.raises(StoreError):
            open_reader(url)
