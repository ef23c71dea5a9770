"""From journals into the store: everything once, gaps declared, and nothing lost to a failing
store."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.journal import HEAD, SEGMENT, Kind, encode_record, scan
from cpppod.protocols.bus.publisher import Publisher
from cpppod.workers.historian.collector import Collector
from cpppod.workers.historian.stores.sqlite.reader import SqliteReader
from cpppod.workers.historian.stores.sqlite.store import SqliteLimits, SqliteStore
from cpppod.workers.historian.stores.store import (
    Batch,
    Gap,
    PoisonError,
    Sample,
    Stored,
    StoreError,
    StoreState,
)
from cpppod.workers.journal.files import JournalLimits, JournalWriter, segment_path, segments
from cpppod.workers.state import put_aside_below

T0 = 1_700_000_000_000_000
NO_LIMIT = SqliteLimits(free_bytes=1)


class Worker:
    """A publisher of counters with a journal: what a poller is to the historian."""

    def __init__(self, root: Path, epoch: int = 1, limits: JournalLimits | None = None) -> None:
        self.publisher = Publisher("poller-1", epoch)
        self.writer = JournalWriter(root / "poller-1", epoch, limits or JournalLimits())
        self.writer.open(0.0)

    def publish(self, value: Any, *, journalled: bool = True) -> bytes:
        at_us = T0 + self.publisher.epoch * 1_000_000_000 + self.publisher.sequence * 1_000
        topic, payload = self.publisher.block(
            "boiler", "fast", 2, {"a": (value, 0), "b": (-value, 0)},
            source_us=at_us, gateway_us=at_us, mono_us=at_us,
        )  # fmt: skip
        record = encode_record(
            Kind.BLOCK, topic, payload, sequence=self.publisher.sequence, samples=2
        )
        if journalled:
            self.writer.append(record, 0.0)
        return record


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def collect(collector: Collector, turns: int = 50) -> None:
    """Turns until nothing is new, as time goes by."""
    for _ in range(turns):
        if not collector.turn(T0):
            assert isinstance(collector._monotonic, Clock)
            collector._monotonic.now += 1.0
            if not collector.turn(T0):
                return


def collector_of(tmp_path: Path, store: Any = None) -> Collector:
    kept = store or SqliteStore(tmp_path / "history", NO_LIMIT)
    return Collector(tmp_path / "journal", kept, monotonic=Clock())


def stored(tmp_path: Path) -> list[Any]:
    reader = SqliteReader(tmp_path / "history")
    return [sample.value for sample in reader.samples("boiler", "a", 0, 2**60)]


def gaps(tmp_path: Path) -> list[Gap]:
    return SqliteReader(tmp_path / "history").gaps("", 0, 2**60)


def test_readings_are_stored_and_their_segments_deleted(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal", limits=JournalLimits(segment_bytes=2_000))
    for value in range(100):
        worker.publish(value)
    collector = collector_of(tmp_path)
    collect(collector)
    assert stored(tmp_path) == list(range(100))
    assert len(segments(tmp_path / "journal" / "poller-1")) == 1
    assert collector.counters.samples == 200
    assert gaps(tmp_path) == []


def test_a_live_journal_is_followed(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    collector = collector_of(tmp_path)
    for value in range(5):
        worker.publish(value)
        collect(collector)
        assert stored(tmp_path)[-1] == value


def test_half_a_record_waits_for_its_other_half(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    collector = collector_of(tmp_path)
    record = worker.publish(1, journalled=False)
    worker.writer.append(record[:30], 0.0)
    collect(collector)
    worker.writer.append(record[30:], 0.0)
    collect(collector)
    assert stored(tmp_path) == [1]
    assert gaps(tmp_path) == []


def test_a_new_life_of_a_worker_is_a_gap_with_the_times_before_and_after(tmp_path: Path) -> None:
    first = Worker(tmp_path / "journal", epoch=1)
    first.publish(1)
    first.writer.close()
    collector = collector_of(tmp_path)
    collect(collector)
    second = Worker(tmp_path / "journal", epoch=2)
    second.publish(2)
    collect(collector)
    (gap,) = gaps(tmp_path)
    assert (gap.epoch, gap.first, gap.reason) == (1, 2, "publisher restarted")
    assert (gap.from_us, gap.to_us) == (T0 + 1_000_000_000, T0 + 2_000_000_000)
    assert stored(tmp_path) == [1, 2]


def test_what_a_journal_had_to_drop_is_a_gap_to_the_sample(tmp_path: Path) -> None:
    limits = JournalLimits(bytes=4_000, segment_bytes=1_000)
    worker = Worker(tmp_path / "journal", limits=limits)
    for value in range(100):
        worker.publish(value)
        worker.writer.trim(0.0)
    collector = collector_of(tmp_path)
    collect(collector)
    kept, declared = stored(tmp_path), gaps(tmp_path)
    assert kept == list(range(kept[0], 100))
    assert sum(gap.samples for gap in declared) + 2 * len(kept) == 200
    assert {gap.reason for gap in declared} == {"journal over its limits"}


def test_a_whole_life_that_was_dropped_is_declared_with_the_times_around_it(
    tmp_path: Path,
) -> None:
    limits = JournalLimits(bytes=0)
    for epoch in (1, 2, 3):
        life = Worker(tmp_path / "journal", epoch, limits)
        life.publish(epoch)
        if epoch == 1:
            collect(first := collector_of(tmp_path))
            first.close()
        if epoch == 3:
            life.writer.trim(0.0)
        life.writer.close()
    collect(collector_of(tmp_path))
    assert stored(tmp_path) == [1, 3]
    assert sorted((gap.epoch, gap.samples, gap.reason) for gap in gaps(tmp_path)) == [
        (1, -1, "publisher restarted"),
        (2, -1, "publisher restarted"),
        (2, 2, "journal over its limits"),
    ]


def test_a_segment_dropped_after_its_first_half_was_stored_declares_its_second_half(
    tmp_path: Path,
) -> None:
    limits = JournalLimits(bytes=0, segment_bytes=1_000)
    worker = Worker(tmp_path / "journal", limits=limits)
    for value in range(3):
        worker.publish(value)
    collector = collector_of(tmp_path)
    collect(collector)
    collector.close()
    for value in range(3, 20):
        worker.publish(value)
    worker.writer.trim(0.0)
    collect(again := collector_of(tmp_path))
    kept, declared = stored(tmp_path), gaps(tmp_path)
    assert kept[:3] == [0, 1, 2]
    assert 2 * len(kept) + sum(gap.samples for gap in declared) == 40
    assert again.counters.duplicates == 0


def test_a_damaged_record_is_a_gap_and_what_follows_is_read(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    records = [worker.publish(value) for value in range(5)]
    path = segment_path(tmp_path / "journal" / "poller-1", 1)
    data = bytearray(path.read_bytes())
    data[SEGMENT.size + len(records[0]) + HEAD.size + 5] ^= 0xFF
    path.write_bytes(data)
    collect(collector_of(tmp_path))
    assert stored(tmp_path) == [0, 2, 3, 4]
    (gap,) = gaps(tmp_path)
    assert (gap.first, gap.last, gap.reason) == (2, 2, "journal damaged")


@pytest.mark.parametrize("claimed", [100_000, 9_000, 2**31], ids=["behind all", "short", "huge"])
@pytest.mark.parametrize("life", [1, 2], ids=["the same life goes on", "another life"])
def test_a_damaged_length_hides_nothing(tmp_path: Path, claimed: int, life: int) -> None:
    """A record that claims more than there is looks like one that is being written."""
    worker = Worker(tmp_path / "journal", limits=JournalLimits(segment_bytes=2_000))
    records = [worker.publish(value) for value in range(5)]
    path = segment_path(tmp_path / "journal" / "poller-1", 1)
    data = bytearray(path.read_bytes())
    at = len(data) - sum(map(len, records[1:]))
    data[at : at + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(data)
    if life == 2:
        worker.writer.close()
        worker = Worker(tmp_path / "journal", life)
        worker.publish(5)
    while len(segments(tmp_path / "journal" / "poller-1")) < 2:
        worker.publish(worker.publisher.sequence)
    collect(collector_of(tmp_path))
    values = stored(tmp_path)
    assert values[:4] == [0, 2, 3, 4]
    gap = gaps(tmp_path)[0]
    assert (gap.first, gap.last, gap.reason) == (2, 2, "journal damaged")


def test_half_a_record_where_the_same_life_goes_on_is_damage(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal", limits=JournalLimits(segment_bytes=2_000))
    while len(segments(tmp_path / "journal" / "poller-1")) < 2:
        worker.publish(worker.publisher.sequence)
    path = segment_path(tmp_path / "journal" / "poller-1", 1)
    path.write_bytes(path.read_bytes()[:-10])
    worker.publish(worker.publisher.sequence)
    collect(collector_of(tmp_path))
    last = worker.publisher.sequence
    assert stored(tmp_path) == [each for each in range(last) if each != last - 3]
    (gap,) = gaps(tmp_path)
    assert (gap.first, gap.last, gap.reason) == (last - 2, last - 2, "journal damaged")


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_a_segment_that_cannot_be_read_is_put_aside_and_declared(tmp_path: Path, kind: str) -> None:
    """Also one that is there before its writer is, which would have cleared it."""
    worker = Worker(tmp_path / "journal", limits=JournalLimits(segment_bytes=2_000))
    folder = tmp_path / "journal" / "poller-1"
    while len(segments(folder)) < 3:
        worker.publish(worker.publisher.sequence)
    path = segment_path(folder, 2)
    held = scan(path.read_bytes(), SEGMENT.size)[0]
    path.unlink()
    make: dict[str, Callable[[Path], object]] = {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "loop": lambda each: each.symlink_to(each),
    }
    make[kind](path)
    collect(collector_of(tmp_path))
    assert len(stored(tmp_path)) == worker.publisher.sequence - len(held)
    (gap,) = gaps(tmp_path)
    assert (gap.first, gap.last) == (held[0].sequence, held[-1].sequence)
    assert len(put_aside_below(tmp_path / "journal")) == 1


def test_a_damaged_segment_that_is_dropped_for_want_of_room_is_declared_whole(
    tmp_path: Path,
) -> None:
    limits = JournalLimits(bytes=3_000, segment_bytes=2_000)
    worker = Worker(tmp_path / "journal", limits=limits)
    folder = tmp_path / "journal" / "poller-1"
    worker.publish(0)
    collect(collector_of(tmp_path))
    while len(segments(folder)) < 3:
        worker.publish(worker.publisher.sequence)
    data = bytearray(segment_path(folder, 1).read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment_path(folder, 1).write_bytes(data)
    worker.writer.trim(0.0)
    assert min(segments(folder)) > 1
    collect(collector_of(tmp_path))
    values = stored(tmp_path)
    declared = [range(gap.first - 1, gap.last) for gap in gaps(tmp_path)]
    assert {*values, *(each for gap in declared for each in gap)} == set(
        range(worker.publisher.sequence)
    )


@pytest.mark.parametrize("size", [1, 25, 5_000, 1 << 20, 64 << 20])
def test_zeros_that_a_power_failure_leaves_are_passed_at_once(tmp_path: Path, size: int) -> None:
    worker = Worker(tmp_path / "journal")
    worker.publish(0)
    path = segment_path(tmp_path / "journal" / "poller-1", 1)
    os.truncate(path, path.stat().st_size + size)
    os.lseek(worker.writer._file, 0, os.SEEK_END)
    worker.publish(1)
    worker.publish(2)
    collect(collector_of(tmp_path), turns=500)
    assert stored(tmp_path) == [0, 1, 2]
    assert [gap.reason for gap in gaps(tmp_path)] == ["journal damaged"]


def test_damage_whose_end_is_not_read_yet_is_found_again_after_a_restart(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    worker.publish(0)
    bad = bytearray(worker.publish(1, journalled=False))
    bad[-1] ^= 0xFF
    worker.writer.append(bytes(bad), 0.0)
    collect(first := collector_of(tmp_path))
    first.close()
    worker.publish(2)
    collect(collector_of(tmp_path))
    assert stored(tmp_path) == [0, 2]
    assert [gap.reason for gap in gaps(tmp_path)] == ["journal damaged"]


def test_a_record_that_is_no_block_goes_to_quarantine_and_is_declared(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    worker.publish(0)
    poison = encode_record(Kind.BLOCK, b"boiler/fast/", b"\xc1", sequence=2, samples=2)
    worker.writer.append(poison, 0.0)
    collector = collector_of(tmp_path)
    collect(collector)
    (gap,) = gaps(tmp_path)
    assert (gap.device, gap.group, gap.first, gap.samples) == ("boiler", "fast", 2, 2)
    assert gap.reason.startswith("quarantined")
    assert collector.counters.quarantined == 1


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "journal" / "poller-1"
    folder.mkdir(parents=True)
    newer = segment_path(folder, 1)
    newer.write_bytes(SEGMENT.pack(b"cpppodJ\n", 2, 0, 1, 1) + b"what comes then")
    collector = collector_of(tmp_path)
    collect(collector)
    assert newer.exists()
    assert collector.journals.errors > 0


class Failing:
    """A store whose commits fail as told, then are kept."""

    def __init__(self, *errors: StoreError) -> None:
        self.errors = list(errors)
        self.kept: list[Batch] = []
        self.durable: dict[str, Any] = {}

    def open(self) -> dict[str, Any]:
        return dict(self.durable)

    def cursors(self, gateway: str) -> dict[str, Any]:
        return {}

    def gateways(self) -> list[str]:
        return []

    def adoptions(self) -> list[tuple[str, str]]:
        return []

    def adopt(self, adopted: str, now_us: int) -> None:
        pass

    def commit(self, batch: Batch) -> Stored:
        if self.errors:
            raise self.errors.pop(0)
        self.kept.append(batch)
        self.durable |= batch.cursors
        return Stored(len(batch.readings), 0)

    def maintain(self, now_us: int) -> bool:
        return False

    def state(self) -> StoreState:
        return StoreState()

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("full", "state"), [(False, "down"), (True, "full")])
def test_a_store_that_fails_gets_the_same_readings_again(
    tmp_path: Path, full: bool, state: str
) -> None:
    worker = Worker(tmp_path / "journal")
    for value in range(3):
        worker.publish(value)
    store = Failing(StoreError("no", full=full), StoreError("no", full=full))
    collector = collector_of(tmp_path, store)
    assert not collector.turn(T0)
    assert collector.state == state
    worker.publish(3)
    collector._monotonic.now += 10.0  # type: ignore[attr-defined]
    assert not collector.turn(T0)
    collector._monotonic.now += 10.0  # type: ignore[attr-defined]
    collect(collector)
    assert [reading.values[0] for batch in store.kept for reading in batch.readings] == [0, 1, 2, 3]
    assert collector.state == "storing"
    assert collector.counters.store_errors == 2


class Slow(Failing):
    """A store that takes no more than some samples before its time is up."""

    def __init__(self, clock: Clock, most: int) -> None:
        super().__init__()
        self.clock = clock
        self.most = most

    def commit(self, batch: Batch) -> Stored:
        if batch.samples() > self.most:
            self.clock.now += 5.0
            raise StoreError("statement timeout")
        return super().commit(batch)


def test_a_store_that_is_too_slow_gets_smaller_batches(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    for value in range(30_000):
        worker.publish(value)
    clock = Clock()
    store = Slow(clock, most=1_000)
    collector = Collector(tmp_path / "journal", store, monotonic=clock)
    for _ in range(200):
        collector.turn(T0)
        clock.now += 5.0
    values = [reading.values[0] for batch in store.kept for reading in batch.readings]
    assert values == list(range(30_000))


def test_poison_does_not_hold_up_the_others(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    for value in range(4):
        worker.publish(value)
    store = Failing(PoisonError("text with NUL", [1, 3]))
    collect(collector_of(tmp_path, store))
    batch = store.kept[0]
    assert [reading.values[0] for reading in batch.readings] == [0, 2]
    assert [(gap.first, gap.samples) for gap in batch.gaps] == [(2, 2), (4, 2)]
    assert [record.sequence for record in batch.quarantined] == [2, 4]


def test_what_was_stored_before_a_crash_is_not_stored_twice(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    for value in range(10):
        worker.publish(value)
    collect(collector_of(tmp_path))
    (tmp_path / "history" / "index.sqlite").unlink()  # the cursors were not durable yet
    for name in ("-wal", "-shm"):
        (tmp_path / "history" / f"index.sqlite{name}").unlink(missing_ok=True)
    again = collector_of(tmp_path)
    collect(again)
    assert again.counters.duplicates == 10
    assert stored(tmp_path) == list(range(10))


def test_a_sample_keeps_its_own_time_and_quality(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    topic, payload = worker.publisher.block(
        "boiler", "fast", 2, {"a": (None, 18), "b": (2.5, 0)},
        source_us=T0 + 5, gateway_us=T0 + 9, mono_us=7,
    )  # fmt: skip
    worker.writer.append(encode_record(Kind.BLOCK, topic, payload, sequence=1, samples=2), 0.0)
    collect(collector_of(tmp_path))
    reader = SqliteReader(tmp_path / "history")
    assert reader.last("boiler", "a", 2**60) == Sample(T0 + 5, None, 18)
    assert reader.last("boiler", "b", 2**60) == Sample(T0 + 5, 2.5, 0)


def test_a_backlog_is_drained(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "journal")
    for value in range(5_000):
        worker.publish(value)
    collector = collector_of(tmp_path)
    collect(collector)
    assert len(stored(tmp_path)) == 5_000


def test_what_is_behind_counts_from_what_is_stored_also_while_the_store_is_away(
    tmp_path: Path,
) -> None:
    worker = Worker(tmp_path / "journal")
    store = Failing()
    collector = collector_of(tmp_path, store)
    worker.publish(0)
    collect(collector)
    assert collector.journals.behind_bytes == 0
    store.errors = [StoreError("down")] * 1_000
    sizes = []
    for _ in range(5):
        for value in range(100):
            worker.publish(value)
        collector._monotonic.now += 10.0  # type: ignore[attr-defined]
        collector.turn(T0)
        sizes.append(collector.journals.behind_bytes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] > 4 * sizes[0] > 0
    never = collector_of(tmp_path, Closed())
    never.turn(T0)
    assert never.state == "down"
    assert never.journals.behind_bytes >= sizes[-1]  # nothing is known to be stored


class Closed(Failing):
    """A store that cannot even be opened."""

    def open(self) -> dict[str, Any]:
        raise StoreError("no route to it")
