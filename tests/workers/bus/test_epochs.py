"""Epochs grow, whatever the clock and the disk do."""

import pathlib

import pytest

from cpppod.workers.bus.epochs import MAX_EPOCH, MAX_JUMP, EpochError, unused_epoch
from cpppod.workers.state import StateDirectory


def next_epoch(folder: pathlib.Path, publisher: str, now_ms: int) -> int:
    return unused_epoch(StateDirectory(folder), publisher, now_ms)


def test_epoch_is_the_clock_and_grows_even_if_that_goes_back(tmp_path: pathlib.Path) -> None:
    assert next_epoch(tmp_path, "p", 1_000) == 1_000
    second = next_epoch(tmp_path, "p", 1_000)
    assert 1_000 < second <= 1_002 + MAX_JUMP
    assert second < next_epoch(tmp_path, "p", 5) <= second + 2 + MAX_JUMP
    assert next_epoch(tmp_path, "p", 2**40) == 2**40


def test_publishers_have_epochs_of_their_own(tmp_path: pathlib.Path) -> None:
    next_epoch(tmp_path, "p", 1_000)
    assert next_epoch(tmp_path, "q", 10) == 10


@pytest.mark.parametrize("text", ["", "1", "x y\n", "\0\0\0", f"1 {MAX_EPOCH}", "1 -5", "1 1e9"])
def test_torn_file_leaves_the_clock_to_decide_and_is_kept(
    tmp_path: pathlib.Path, text: str
) -> None:
    next_epoch(tmp_path, "p", 1_000)
    (tmp_path / "epochs" / "p").write_text(text)
    assert next_epoch(tmp_path, "p", 2_000) == 2_000
    assert (tmp_path / "epochs" / "p").read_text() == "1 2000\n"
    (aside,) = (tmp_path / "epochs").glob("p.damaged-*")
    assert aside.read_text() == text


def test_file_of_a_newer_version_is_refused(tmp_path: pathlib.Path) -> None:
    next_epoch(tmp_path, "p", 1_000)
    (tmp_path / "epochs" / "p").write_text("2 5000\n")
    with pytest.raises(EpochError, match="epochs/p: schema 2 is newer"):
        next_epoch(tmp_path, "p", 2_000)


def test_epoch_stays_within_what_every_language_can_say(tmp_path: pathlib.Path) -> None:
    assert next_epoch(tmp_path, "p", 2**60) == MAX_EPOCH


def test_where_the_clock_is_behind_an_old_copy_gives_no_number_out_again(
    tmp_path: pathlib.Path,
) -> None:
    """An old copy of the state and a clock that was set back: the next number may be used."""
    next_epoch(tmp_path, "p", 5_000)
    first = next_epoch(tmp_path, "p", 1_000)
    (tmp_path / "epochs" / "p").write_text("1 5000\n")  # the copy
    second = next_epoch(tmp_path, "p", 1_000)
    assert first > 5_000 < second
    assert first != second  # one time in a million it is


def test_a_directory_that_takes_nothing_gives_epochs_all_the_same(tmp_path: pathlib.Path) -> None:
    (tmp_path / "not a folder").write_text("")
    state = StateDirectory(tmp_path / "not a folder")
    assert unused_epoch(state, "p", 1_000) == 1_000
