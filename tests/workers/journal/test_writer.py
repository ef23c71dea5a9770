"""The journal: what is on disk before it is published, and what is declared when it is not."""

import asyncio
import functools
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest

from cpppod.protocols.bus.journal import (
    HEAD,
    SEGMENT,
    Kind,
    decode_hole,
    decode_segment,
    encode_record,
    scan,
)
from cpppod.workers.journal import writer as journal_writer
from cpppod.workers.journal.files import TOMBSTONE, JournalWriter, segment_path, segments
from cpppod.workers.journal.writer import Journal, JournalLimits
from cpppod.workers.process.io_thread import IoThread
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is only busy is waited for; the test of a slow one says how long."""
    monkeypatch.setattr(journal_writer, "APPEND_WAIT_S", PATIENCE_S)


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """`test` as pytest can call it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def read(folder: Path) -> list[tuple[int, int, int]]:
    """(kind, sequence, samples) of every record, in order."""
    found = []
    for number, suffix in segments(folder).items():
        data = segment_path(folder, number, suffix).read_bytes()
        records, _, stop = scan(data, SEGMENT.size)
        assert stop == ""
        found += [(record.kind, record.sequence, record.samples) for record in records]
    return found


async def fill(journal: Journal, sequences: Iterable[int]) -> list[bool]:
    return [
        await journal.append(b"boiler/fast/", b"x" * 100, sequence=sequence, samples=3)
        for sequence in sequences
    ]


@in_a_loop
async def test_an_appended_block_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "poller-1", 7, IoThread())
    await journal.open()
    assert await journal.append(b"boiler/fast/", b"payload", sequence=5, samples=2)
    data = segment_path(tmp_path / "poller-1", 1).read_bytes()
    assert decode_segment(data).epoch == 7
    records, _, _ = scan(data, SEGMENT.size)
    assert [(item.topic, item.body, item.sequence) for item in records] == [
        (b"boiler/fast/", b"payload", 5)
    ]
    await journal.close()


@in_a_loop
async def test_each_life_of_a_worker_begins_a_segment(tmp_path: Path) -> None:
    for epoch in (1, 2):
        journal = Journal(tmp_path, epoch, IoThread())
        await journal.open()
        await fill(journal, range(3))
        await journal.close()
    epochs = [decode_segment(segment_path(tmp_path, n).read_bytes()).epoch for n in (1, 2)]
    assert epochs == [1, 2]


@in_a_loop
async def test_segments_are_bounded_in_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, IoThread(), limits=JournalLimits(segment_bytes=1_000))
    await journal.open()
    assert all(await fill(journal, range(30)))
    await journal.close()
    assert [sequence for _, sequence, _ in read(tmp_path)] == list(range(30))
    assert all(path.stat().st_size <= 1_000 for path in tmp_path.glob("*.journal"))


def test_beyond_its_bound_a_journal_drops_the_oldest_and_says_what_was_in_it(
    tmp_path: Path,
) -> None:
    writer = JournalWriter(tmp_path, 1, JournalLimits(bytes=3_000, segment_bytes=1_000))
    writer.open(0.0)
    record = _record(0)
    for sequence in range(40):
        writer.append(_record(sequence), 0.0)
    dropped = writer.trim(0.0)
    writer.close()
    found = read(tmp_path)
    assert [sequence for _, sequence, _ in found] == list(range(40))
    lost = [sequence for kind, sequence, _ in found if kind == Kind.LOST]
    assert lost == list(range(len(lost)))
    assert dropped == 3 * len(lost) == writer.counters.dropped_samples
    kept = sum(path.stat().st_size for path in tmp_path.glob("*.journal"))
    assert 3_000 - 1_000 - len(record) < kept <= 3_000


def test_a_segment_that_is_too_old_is_dropped(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, 1, JournalLimits(age_s=60.0, segment_s=10.0))
    writer.open(0.0)
    writer.append(_record(1), 0.0)
    writer.append(_record(2), 11.0)
    assert writer.trim(50.0) == 0
    assert writer.trim(65.0) == 3
    assert segments(tmp_path) == {1: TOMBSTONE, 2: ".journal"}
    writer.close()


def test_a_second_writer_of_the_same_journal_is_refused(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path, 1)
    first.open(0.0)
    with pytest.raises(BlockingIOError):
        JournalWriter(tmp_path, 2).open(0.0)
    first.close()


@in_a_loop
async def test_blocks_that_could_not_be_written_are_declared_once_the_journal_works(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.write_text("in the way")
    folder = state / "journal" / "p"
    journal = Journal(folder, 1, IoThread())
    assert not await journal.open()
    assert await fill(journal, range(4, 7)) == [False] * 3
    assert journal.overdue() == ["journal"]
    state.unlink()
    assert await fill(journal, range(7, 8)) == [True]
    await journal.close()
    data = segment_path(folder, 1).read_bytes()
    block, gap = scan(data, SEGMENT.size)[0]
    assert (block.kind, block.sequence) == (Kind.BLOCK, 7)
    hole = decode_hole(gap.body)
    assert (hole.first, hole.last, hole.blocks, hole.samples) == (4, 6, 3, 9)
    assert (gap.topic, hole.reason) == (b"boiler/fast/", "not journalled")


@in_a_loop
async def test_whatever_stands_in_a_journals_place_is_put_aside(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    root.write_text("")
    folder = root / "p"
    journal = Journal(folder, 1, IoThread())
    assert await fill(journal, range(1, 2)) == [True]
    await journal.close()
    (folder / "lock").unlink()
    (folder / "lock").mkdir()
    segment_path(folder, 2).mkdir()
    again = Journal(folder, 2, IoThread())
    assert await fill(again, range(1, 2)) == [True]
    await again.close()
    assert sorted(segments(folder)) == [1, 3]
    aside = [path.name.split(".damaged-")[0] for path in tmp_path.rglob("*.damaged-*")]
    assert sorted(aside) == [segment_path(folder, 2).name, "journal", "lock"]


@in_a_loop
async def test_a_slow_disk_holds_a_block_back_for_no_more_than_its_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    io = IoThread()
    journal = Journal(tmp_path, 1, io)
    await journal.open()
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    hung = io.call(hang)
    begun = time.monotonic()
    for sequence in range(1, 101):
        kept = await journal.append(b"boiler/fast/", b"late", sequence=sequence, samples=1)
        assert not kept
    assert time.monotonic() - begun < 2.5  # 50 ms for all of them together; 5 s if each waited
    assert journal.counters.late == 100
    release.set()
    await hung
    await journal.close()
    assert [sequence for _, sequence, _ in read(tmp_path)] == list(range(1, 101))  # late, and there


def test_limits_come_from_options_with_or_without_their_prefix() -> None:
    wanted = JournalLimits(bytes=5, age_s=6.0)
    assert JournalLimits.from_options({"journal_bytes": 5, "journal_age_s": 6.0, "x": 1}) == wanted
    assert JournalLimits.from_options({"bytes": 5, "age_s": 6.0}) == wanted


def test_half_a_record_after_a_full_disk_is_cut_off(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, 1)
    writer.open(0.0)
    writer.append(_record(1), 0.0)
    os.write(writer._file, _record(2)[: HEAD.size + 3])
    writer._undo()
    writer.append(_record(3), 0.0)
    writer.close()
    assert [sequence for _, sequence, _ in read(tmp_path)] == [1, 3]


def _record(sequence: int) -> bytes:
    return encode_record(Kind.BLOCK, b"boiler/fast/", bytes(100), sequence=sequence, samples=3)
