"""A cursor is a position in one journal: another journal, or another store, is noticed and
declared."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cpppod.history.query import QuestionError, history
from cpppod.history.recording import RecordingError, moments
from cpppod.protocols.bus.journal import Kind, encode_record
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.historian.collector import Collector
from cpppod.workers.historian.stores.opening import open_reader, open_store
from cpppod.workers.historian.stores.store import AdoptionError, Gap, StoreError, WriterError
from cpppod.workers.journal.files import JournalLimits, JournalWriter, segments
from tests.patience import PATIENCE_S
from tests.postgresql_cluster import running_cluster

SECOND = 1_000_000
SMALL = JournalLimits(segment_bytes=1_000)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with running_cluster() as found:
        yield found.url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of store, empty."""
    if request.param == "sqlite":
        return str(tmp_path / "history")
    found = str(request.getfixturevalue("cluster"))
    import psycopg

    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS history CASCADE")
    return found


class Life:
    """One life of a worker of a gateway; its values are numbered on by the test."""

    def __init__(self, state: Path, epoch: int, gateway: str = "gw-a", worker: str = "p") -> None:
        self.publisher = Publisher(worker, epoch, gateway)
        folder = state / "journal" / worker
        self.writer = JournalWriter(folder, epoch, SMALL, gateway=gateway)
        self.writer.open(0.0)

    def publish(self, *values: int) -> "Life":
        for value in values:
            at_us = value * SECOND
            topic, payload = self.publisher.block(
                "boiler", "fast", 1, {"n": (value, 0)}, source_us=at_us, gateway_us=at_us, mono_us=0
            )
            sequence = self.publisher.sequence
            record = encode_record(Kind.BLOCK, topic, payload, sequence=sequence, samples=1)
            self.writer.append(record, 0.0)
        return self

    def stop(self) -> None:
        self.writer.stop(self.publisher.sequence)
        self.writer.close()

    def kill(self) -> None:
        self.writer.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def collect(state: Path, url: str, gateway: str = "gw-a") -> Collector:
    """One life of the historian, which stores all that there is."""
    store = open_store(url, {"free_bytes": 1}, gateway, instance=gateway)
    collector = Collector(
        state / "journal", store, monotonic=Clock(), gateway=gateway, since_us=SECOND
    )
    with closing(collector):
        for _ in range(50):
            collector.turn(0)
        deadline = time.monotonic() + PATIENCE_S  # a server sees late that a writer has gone
        while (
            collector.state != "storing" or collector.journals.behind_bytes >= 100
        ):  # one says stopped
            assert time.monotonic() < deadline, collector.error
            collector.turn(0)
    return collector


def stored(url: str, gateway: str | None = None) -> list[Any]:
    with closing(open_reader(url, gateway)) as reader:
        return [sample.value for sample in reader.samples("boiler", "n", 0, 2**52)]


def gaps(url: str, gateway: str | None = None) -> list[Gap]:
    with closing(open_reader(url, gateway)) as reader:
        return reader.gaps("", 0, 2**52)


def spans(url: str) -> list[tuple[str, int, int]]:
    """Each gap's reason and its times in seconds."""
    return [(gap.reason, gap.from_us // SECOND, gap.to_us // SECOND) for gap in gaps(url)]


def test_a_state_directory_made_anew_is_recorded_on_and_the_loss_declared(
    tmp_path: Path, url: str
) -> None:
    state = tmp_path / "state"
    Life(state, 100).publish(*range(1, 60)).kill()
    collect(state, url)
    Life(state, 200).publish(60).kill()  # not collected, and lost
    shutil.rmtree(state)
    Life(state, 300).publish(70, 71).kill()
    collect(state, url)
    assert stored(url) == [*range(1, 60), 70, 71]
    assert spans(url) == [("journal lost", 59, 70)]


def test_a_new_journal_whose_numbers_have_caught_up_is_read_from_its_beginning(
    tmp_path: Path, url: str
) -> None:
    state = tmp_path / "state"
    Life(state, 100).publish(*range(1, 60)).kill()
    collect(state, url)
    last = max(segments(state / "journal" / "p"))
    shutil.rmtree(state)
    Life(state, 300).publish(*range(100, 200)).kill()
    assert max(segments(state / "journal" / "p")) > last > 1
    collect(state, url)
    assert stored(url) == [*range(1, 60), *range(100, 200)]
    assert spans(url) == [("journal lost", 59, 100)]


def test_an_old_copy_of_the_state_is_gone_on_from(tmp_path: Path, url: str) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    life = Life(state, 100).publish(*range(1, 20))
    collect(state, url)
    shutil.copytree(state, copy)
    life.publish(*range(20, 60)).kill()
    collect(state, url)
    shutil.rmtree(state)
    shutil.copytree(copy, state)
    Life(state, 200).publish(*range(80, 90)).kill()
    collect(state, url)
    assert stored(url) == [*range(1, 60), *range(80, 90)]
    assert ("journal lost", 59, 80) in spans(url)


def test_an_old_copy_of_the_store_is_gone_on_from(tmp_path: Path) -> None:
    state, history, copy = tmp_path / "state", tmp_path / "history", tmp_path / "copy"
    life = Life(state, 100).publish(*range(1, 20))
    collect(state, str(history))
    shutil.copytree(history, copy)
    life.publish(*range(20, 60)).kill()
    collect(state, str(history))  # and the segments up to there are deleted
    shutil.rmtree(history)
    shutil.copytree(copy, history)
    Life(state, 200).publish(60, 61).kill()
    collect(state, str(history))
    found = stored(str(history))
    assert found[:19] == list(range(1, 20)) and found[-2:] == [60, 61]
    ((reason, begins, ends),) = [each for each in spans(str(history)) if "missing" in each[0]]
    assert (reason, begins) == ("journal segments missing", 19)
    assert not [n for n in range(1, 62) if n not in found and not begins <= n <= ends]


@pytest.mark.parametrize("lost", [True, False])
def test_readings_without_a_cursor_are_gone_on_from(tmp_path: Path, lost: bool) -> None:
    """A crash between a day's commit and the index', with the journal kept and without it."""
    state, history = tmp_path / "state", tmp_path / "history"
    life = Life(state, 100).publish(1, 2, 3)
    collect(state, str(history))
    with closing(sqlite3.connect(history / "index.sqlite", isolation_level=None)) as index:
        index.execute("DELETE FROM cursors")
    if lost:
        shutil.rmtree(state)
        Life(state, 200).publish(5, 6).kill()
    else:
        life.publish(4, 5, 6)
    collect(state, str(history))
    assert stored(str(history)) == ([1, 2, 3, 5, 6] if lost else [1, 2, 3, 4, 5, 6])
    assert spans(str(history)) == ([("journal lost", 3, 5)] if lost else [])


def test_a_clock_that_was_set_back_over_a_lost_journal_leaves_one_gap(
    tmp_path: Path, url: str
) -> None:
    state = tmp_path / "state"
    Life(state, 500).publish(*range(100, 110)).kill()
    collect(state, url)
    shutil.rmtree(state)
    life = Life(state, 200).publish(10)
    collector = Collector(
        state / "journal",
        open_store(url, {"free_bytes": 1}, "gw-a", instance="gw-a"),
        monotonic=Clock(),
        gateway="gw-a",
        since_us=SECOND,
    )
    with closing(collector):
        for value in range(11, 15):
            for _ in range(5):
                collector.turn(0)
            life.publish(value)
        for _ in range(5):
            collector.turn(0)
    assert sorted(stored(url)) == [*range(10, 15), *range(100, 110)]
    ((reason, _, _),) = spans(url)
    assert reason == "journal lost"


def test_a_store_replaced_under_the_historian_is_noticed(tmp_path: Path) -> None:
    state, history, copy = tmp_path / "state", tmp_path / "history", tmp_path / "copy"
    life = Life(state, 100).publish(1, 2)
    collect(state, str(history))
    shutil.copytree(history, copy)
    store = open_store(str(history), {"free_bytes": 1}, "gw-a")
    with closing(
        Collector(state / "journal", store, monotonic=Clock(), gateway="gw-a", since_us=SECOND)
    ) as collector:
        life.publish(3, 4)
        collector.turn(0)
        for path in history.iterdir():
            path.unlink()
        shutil.copytree(copy, history, dirs_exist_ok=True)
        life.publish(5, 6)
        for _ in range(20):
            collector.turn(0)
    assert stored(str(history)) == [1, 2, 3, 4, 5, 6]  # the journal still had them


def test_an_empty_store_says_what_it_has_not(tmp_path: Path, url: str) -> None:
    state = tmp_path / "state"
    life = Life(state, 100).publish(*range(1, 60))
    collect(state, url)
    life.publish(60).kill()
    collect(state, str(tmp_path / "other"))
    found = stored(str(tmp_path / "other"))
    assert found[-1] == 60 and found[0] > 1
    assert spans(str(tmp_path / "other")) == [("journal segments missing", 1, found[0])]


def test_two_gateways_fill_one_store_and_their_tags_are_apart(tmp_path: Path, url: str) -> None:
    for number, gateway in enumerate(("gw-a", "gw-b", "gw-a", "gw-b")):
        first = 1 + number * 10
        Life(tmp_path / gateway, 100 + number, gateway).publish(*range(first, first + 10)).stop()
        collect(tmp_path / gateway, url, gateway)
    assert stored(url, "gw-a") == [*range(1, 11), *range(21, 31)]
    assert stored(url, "gw-b") == [*range(11, 21), *range(31, 41)]
    assert {gap.reason for gap in gaps(url)} == {"stopped"}
    assert all(gap.gateway == "gw-a" for gap in gaps(url, "gw-a"))
    with history(url) as past:
        assert past.gateways() == ["gw-a", "gw-b"]
        with pytest.raises(QuestionError, match="of several gateways, name one: gw-a, gw-b"):
            past.last("Boiler.n")
    with history(url, gateway="gw-b") as past:
        last = past.last("boiler.n")
        assert last is not None and last.value == 40
    with pytest.raises(RecordingError, match="of several gateways"):
        list(moments(url))
    assert [change.samples["boiler.n"][0] for change in moments(url, gateway="gw-a")] == [
        *range(1, 11), *range(21, 31),
    ]  # fmt: skip


def test_two_living_gateways_of_one_id_are_told_apart(tmp_path: Path, url: str) -> None:
    first = open_store(url, {"free_bytes": 1}, "gw-a", instance="here")
    second = open_store(url, {"free_bytes": 1}, "gw-a", instance="copy")
    other = open_store(url, {"free_bytes": 1}, "gw-b", instance="other")
    with closing(first), closing(second), closing(other):
        first.open()
        other.open()
        with pytest.raises(WriterError, match="another living gateway of the id gw-a"):
            second.open()
        first.close()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                assert second.open() == {}
                break
            except StoreError:  # a server needs a moment to see that the first has gone
                continue
        else:
            pytest.fail("the lock was not given back")


def test_a_copy_that_was_refused_keeps_its_journal_and_is_stored_afterwards(
    tmp_path: Path, url: str
) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    life = Life(state, 100).publish(1, 2, 3)
    collect(state, url)
    shutil.copytree(state, copy)
    life.kill()
    Life(state, 200).publish(4, 5).stop()
    Life(copy, 201).publish(6, 7, 8).stop()
    living = open_store(url, {"free_bytes": 1}, "gw-a", instance="first")
    living.open()
    refused = Collector(
        copy / "journal",
        open_store(url, {"free_bytes": 1}, "gw-a", instance="copy"),
        monotonic=Clock(),
        gateway="gw-a",
    )
    with closing(living), closing(refused):
        for _ in range(5):
            refused.turn(0)
        assert refused.state == "refused"
        assert refused.journals.behind_bytes > 100  # told although nothing can be stored
        assert "gw-a" in refused.error
    collect(state, url)
    collect(copy, url)
    assert sorted(stored(url)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_history_is_adopted_and_then_asked_as_one(tmp_path: Path, url: str) -> None:
    Life(tmp_path / "old", 100, "gw-old").publish(1, 2).stop()
    collect(tmp_path / "old", url, "gw-old")
    Life(tmp_path / "new", 100, "gw-new").publish(3, 4).stop()
    collect(tmp_path / "new", url, "gw-new")
    assert (stored(url, "gw-old"), stored(url, "gw-new")) == ([1, 2], [3, 4])
    with history(url) as past:  # a machine that was replaced, and nobody in particular asks
        assert [sample.value for sample in past.range("boiler.n")] == [1, 2, 3, 4]
    assert len(list(moments(url))) == 4
    with closing(open_store(url, {"free_bytes": 1}, "gw-new", instance="x")) as store:
        store.open()
        for name, why in (("gw-none", "never wrote"), ("gw-new", "itself")):
            with pytest.raises(AdoptionError, match=why):
                store.adopt(name, 1)
        with closing(open_store(url, {"free_bytes": 1}, "gw-old", instance="y")) as alive:
            alive.open()
            with pytest.raises(AdoptionError, match="alive"):
                store.adopt("gw-old", 1)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                store.adopt("gw-old", 1)
                break
            except AdoptionError:  # a server needs a moment to see that it has gone
                assert time.monotonic() < deadline
        assert store.adoptions() == [("gw-new", "gw-old")]
    assert stored(url, "gw-new") == [1, 2, 3, 4]
    with closing(open_reader(url)) as reader:
        assert reader.gateways() == ["gw-new"]


def test_a_journal_of_a_lost_id_goes_on_where_the_old_one_was(tmp_path: Path, url: str) -> None:
    state = tmp_path / "state"
    Life(state, 100, "gw-a").publish(1, 2, 3).stop()
    collect(state, url, "gw-a")
    Life(state, 200, "gw-b").publish(4, 5).stop()
    collector = collect(state, url, "gw-b")
    assert collector.counters.duplicates == 0
    assert (stored(url, "gw-a"), stored(url, "gw-b")) == ([1, 2, 3], [4, 5])
    assert [gap.reason for gap in gaps(url)] == ["stopped"]


def test_a_clean_stop_is_a_gap_with_both_times_and_nothing_lost(tmp_path: Path, url: str) -> None:
    state = tmp_path / "state"
    before_us = time.time_ns() // 1000
    Life(state, 100).publish(1, 2, 3).stop()
    collect(state, url)
    assert gaps(url) == []  # its end is not known yet
    assert len(segments(state / "journal" / "p")) == 1
    later = time.time_ns() // 1_000_000_000 + 10
    Life(state, 200).publish(later).kill()
    collect(state, url)
    (gap,) = gaps(url)
    assert (gap.reason, gap.blocks, gap.samples, gap.first, gap.last) == ("stopped", 0, 0, 0, 0)
    assert before_us <= gap.from_us < gap.to_us == later * SECOND
    Life(state, 300).publish(later + 5).kill()
    collect(state, url)
    assert [gap.reason for gap in gaps(url)] == ["stopped", "publisher restarted"]


def test_a_life_that_recorded_nothing_and_was_killed_is_no_stop(tmp_path: Path, url: str) -> None:
    state = tmp_path / "state"
    Life(state, 100).publish(1).stop()
    Life(state, 200).kill()
    Life(state, 300).publish(2).kill()
    collect(state, url)
    assert "publisher restarted" in [gap.reason for gap in gaps(url)]


def test_what_is_lost_behind_an_old_copy_lasts_until_the_next_reading(
    tmp_path: Path, url: str
) -> None:
    """The historian has read the old journal, which ended in good order, before anything new."""
    state, old = tmp_path / "state", tmp_path / "old"
    Life(state, 100).publish(1, 2).stop()
    shutil.copytree(state, old)
    Life(state, 200).publish(3, 4).kill()
    collect(state, url)
    shutil.rmtree(state)
    shutil.copytree(old, state)
    store = open_store(url, {"free_bytes": 1}, "gw-a", instance="gw-a")
    collector = Collector(
        state / "journal", store, monotonic=Clock(), gateway="gw-a", since_us=SECOND
    )
    with closing(collector):
        for _ in range(20):
            collector.turn(0)
        Life(state, 400).publish(8, 9).kill()
        for _ in range(20):
            collector.turn(0)
    assert stored(url) == [1, 2, 3, 4, 8, 9]
    assert ("publisher restarted", 4, 8) in spans(url)


def test_a_copy_of_a_stopped_gateway_that_is_put_back_may_have_had_other_lives(
    tmp_path: Path, url: str
) -> None:
    """State and store of one moment, so that nothing else tells what was lost since."""
    state, old = tmp_path / "state", tmp_path / "old"
    Life(state, 100).publish(1, 2).stop()
    collect(state, url)
    shutil.copytree(state, old)
    state.rename(tmp_path / "lost")  # with all that later lives have published
    shutil.copytree(old, state)
    Life(state, 400).publish(8, 9).kill()
    collect(state, url)
    assert stored(url) == [1, 2, 8, 9]
    assert spans(url) == [("publisher restarted", 2, 8)]
