"""Crash back-off grows, is forgotten after good work, and never ends in giving up."""

import pathlib

from cpppod.workers.process.crashes import LONGEST_WAIT_S, CrashCounter


def start(folder: pathlib.Path) -> tuple[CrashCounter, float]:
    counter = CrashCounter(folder, "poller-1")
    return counter, counter.started(now_us=1_000_000)


def test_first_start_does_not_wait(tmp_path: pathlib.Path) -> None:
    assert start(tmp_path)[1] == 0.0


def test_crashes_in_a_row_wait_twice_as_long_each_up_to_half_a_minute(
    tmp_path: pathlib.Path,
) -> None:
    waits = []
    for _ in range(9):
        counter, wait_s = start(tmp_path)
        waits.append(wait_s)
        counter.grew_up()
        counter.crashed()
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_WAIT_S, LONGEST_WAIT_S]


def test_worker_killed_in_its_prime_comes_back_at_once(tmp_path: pathlib.Path) -> None:
    for _ in range(30):
        counter, wait_s = start(tmp_path)
        counter.grew_up()
        assert wait_s == 0.0


def test_worker_that_dies_young_waits(tmp_path: pathlib.Path) -> None:
    assert [start(tmp_path)[1] for _ in range(4)] == [0.0, 0.5, 1.0, 2.0]


def test_good_work_or_a_clean_end_clears_the_count(tmp_path: pathlib.Path) -> None:
    for _ in range(5):
        counter, _ = start(tmp_path)
        counter.crashed()
    counter, wait_s = start(tmp_path)
    assert wait_s > 0
    counter.cleared()
    assert start(tmp_path)[1] == 0.0


def test_count_is_bounded_and_a_torn_file_counts_nothing(tmp_path: pathlib.Path) -> None:
    for _ in range(100):
        counter, _ = start(tmp_path)
        counter.crashed()
    assert start(tmp_path)[1] == LONGEST_WAIT_S
    (tmp_path / "crashes" / "poller-1").write_text("gar bage\n")
    assert start(tmp_path)[1] == 0.0


def test_folder_that_is_gone_does_not_stop_a_worker(tmp_path: pathlib.Path) -> None:
    counter = CrashCounter(tmp_path, "poller-1")
    (tmp_path / "crashes").rmdir()
    assert counter.started(1) == 0.0
    counter.crashed()
    assert counter.count == 1
