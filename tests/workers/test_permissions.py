"""Files that may not be used, as those of another user: what can be moved out of the way is."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.workers.audit.files import AuditFile
from cpppod.workers.audit.reading import verify
from cpppod.workers.historian.stores.sqlite.store import SqliteStore
from cpppod.workers.historian.stores.store import Batch
from cpppod.workers.journal.files import JournalWriter
from cpppod.workers.state import StateDirectory, lock, put_aside_below
from tests.workers.historian.stores.test_sqlite import DAY0, reading, store

NOBODY = 65_534


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory of a user for whom permissions count, who runs the test."""
    time.strptime("1", "%S")  # imports a module, which that user may not
    folder, before = Path(tempfile.mkdtemp(prefix="cpppod-", dir="/tmp")), os.geteuid()
    if before == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(before)
        for path in folder.rglob("*"):
            path.chmod(stat.S_IRWXU)
        shutil.rmtree(folder)


def write(state: Path) -> None:
    audit = AuditFile(state, "control")
    audit.append([{"tag": "boiler.level"}])
    audit.sync()
    audit.close()


def stored(folder: Path, number: int) -> SqliteStore:
    kept = store(folder)
    kept.commit(Batch([reading(number, DAY0 + number, number)]))
    kept.close()
    return kept


@pytest.mark.parametrize("place", ["readers/mqtt.json", "readers"])
def test_a_file_or_folder_of_the_state_is_put_aside(state: Path, place: str) -> None:
    files = StateDirectory(state)
    files.write("readers/mqtt.json", b"1")
    (state / place).chmod(0)
    assert files.read("readers/mqtt.json", int) is None
    assert files.write("readers/mqtt.json", b"2")
    assert files.read("readers/mqtt.json", int) == 2
    assert len(put_aside_below(state)) == 1


def test_a_folder_is_put_aside_before_anything_is_read(state: Path) -> None:
    files = StateDirectory(state)
    files.write("readers/mqtt.json", b"1")
    (state / "readers").chmod(0)
    assert files.write("readers/mqtt.json", b"2")
    assert len(put_aside_below(state)) == 1


def test_a_lock_is_put_aside(state: Path) -> None:
    (state / "lock").touch(0)
    os.close(lock(state / "lock"))


@pytest.mark.parametrize("place", ["audit", "audit/control", "files"])
def test_the_audit_goes_on(state: Path, place: str) -> None:
    write(state)
    paths = [p for p in state.rglob("*") if p.is_file()] if place == "files" else [state / place]
    for path in paths:
        path.chmod(0)
    write(state)
    assert verify(state)[0].records >= 1
    assert put_aside_below(state)


@pytest.mark.parametrize("place", ["history", "files"])
def test_a_store_is_recorded_into_again(state: Path, place: str) -> None:
    folder = state / "history"
    stored(folder, 1)
    paths = list(folder.iterdir()) if place == "files" else [folder]
    for path in paths:
        path.chmod(0)
    stored(folder, 2)
    assert put_aside_below(state)


def test_a_journal_is_written_behind_segments_that_nobody_may_read(state: Path) -> None:
    folder = state / "journal" / "poller"
    for epoch in (1, 2):
        writer = JournalWriter(folder, epoch)
        writer.open(0.0)
        writer.close()
        for path in folder.iterdir():
            path.chmod(0)
    assert len(put_aside_below(state)) == 2  # the first segment, and the lock


def test_what_cannot_be_moved_is_said(state: Path) -> None:
    state.chmod(stat.S_IRUSR | stat.S_IXUSR)
    files = StateDirectory(state)
    assert not files.write("readers/mqtt.json", b"1")
    assert files.overdue() == ["state not kept: readers/mqtt.json: Permission denied"]
    state.chmod(stat.S_IRWXU)
    files.retry()
    assert files.overdue() == []
