"""The audit on disk: killed at any moment, full disks, rotation; what forgers do to its files."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.workers.audit.files import HEAD, AuditFile, AuditLimits, files_of, fingerprint, key_of
from cpppod.workers.audit.reading import Question, QuestionError, select, verify
from tests.patience import PATIENCE_S

WRITER = """
import sys
from cpppod.workers.audit.files import AuditFile, AuditLimits
audit = AuditFile(sys.argv[1], "control", AuditLimits(file_bytes=20_000, files=3))
number = 0
while True:
    audit.append([{"tag": "a", "new": [number + each]} for each in range(1 + number % 5)])
    number += 1
    if number % 7 == 0:
        audit.sync()
    print(audit.newest[0], flush=True)
"""


def write(state: Path, count: int, *, limits: AuditLimits | None = None) -> AuditFile:
    audit = AuditFile(state, "control", limits)
    for number in range(count):
        audit.append([{"tag": "boiler.level", "time_us": number, "new": [number]}])
    audit.sync()
    audit.close()
    return audit


def folder(state: Path) -> Path:
    return state / "audit" / "control"


def kinds(state: Path) -> list[str]:
    return [finding.kind for report in verify(state) for finding in report.findings]


def test_writer_killed_at_any_moment_goes_on_and_all_verifies(tmp_path: Path) -> None:
    chance = random.Random(14)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 400)):
            told = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
        process.stdout.close()
        (report,) = verify(tmp_path)
        assert report.ok, report.findings
        assert report.newest >= int(told)
    assert len(files_of(folder(tmp_path))) <= 4


@pytest.mark.parametrize("left", [1, 10, 200])
def test_half_a_last_line_is_torn_before_and_after_the_next_record(
    tmp_path: Path, left: int
) -> None:
    write(tmp_path, 3)
    (path,) = files_of(folder(tmp_path))
    with open(path, "ab") as file:
        file.write((b'{"n":4,"writer":"control","key":"' + b"x" * 300)[:left])
    assert kinds(tmp_path) == ["torn"]
    write(tmp_path, 2)
    assert kinds(tmp_path) == ["torn"]
    assert verify(tmp_path)[0].newest == 5


def test_record_cut_off_by_a_forger_stays_missing_after_the_next_start(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (path,) = files_of(folder(tmp_path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    (cut,) = verify(tmp_path)[0].findings
    assert (cut.kind, cut.text) == ("cut", "record 3 is missing at the end, by its head")
    write(tmp_path, 1)
    (removed,) = verify(tmp_path)[0].findings
    assert (removed.kind, removed.text) == ("removed", "record 3 is missing before this")


def test_half_of_a_record_that_was_on_the_disk_is_torn_and_its_number_not_given_again(
    tmp_path: Path,
) -> None:
    write(tmp_path, 3)
    (path,) = files_of(folder(tmp_path))
    path.write_bytes(path.read_bytes()[:-80])
    assert kinds(tmp_path) == ["torn"]
    write(tmp_path, 1)
    assert kinds(tmp_path) == ["torn"]
    assert verify(tmp_path)[0].newest == 4


def test_cut_that_leaves_half_a_line_is_cut(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (path,) = files_of(folder(tmp_path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-80])
    assert kinds(tmp_path) == ["cut", "changed"]
    write(tmp_path, 1)
    assert "removed" in kinds(tmp_path)


def remove_oldest(state: Path) -> None:
    files_of(folder(state))[0].unlink()


def remove_middle(state: Path) -> None:
    files_of(folder(state))[1].unlink()


def forge_head(state: Path) -> None:
    path = folder(state) / HEAD
    path.write_bytes(path.read_bytes().replace(b'"newest":40', b'"newest":39'))


def remove_head(state: Path) -> None:
    (folder(state) / HEAD).unlink()


def remove_head_and_last(state: Path) -> None:
    remove_head(state)
    path = files_of(folder(state))[-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def other_key(state: Path) -> None:
    (state / "audit" / "key").write_bytes(b"n" * 32)


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        (remove_oldest, "removed"),
        (remove_middle, "removed"),
        (forge_head, "changed"),
        (remove_head, "removed"),
        (remove_head_and_last, "removed"),
        (other_key, "other key"),
    ],
)
def test_what_is_done_to_files_is_found(
    tmp_path: Path, forge: Callable[[Path], None], kind: str
) -> None:
    write(tmp_path, 40, limits=AuditLimits(file_bytes=2_000, files=8))
    assert kinds(tmp_path) == []
    assert len(files_of(folder(tmp_path))) > 3
    forge(tmp_path)
    assert kind in kinds(tmp_path)
    assert not verify(tmp_path)[0].ok
    for _ in range(2):  # nor is it hidden by those that come after
        write(tmp_path, 1, limits=AuditLimits(file_bytes=2_000, files=8))
        assert not verify(tmp_path)[0].ok


def test_oldest_files_go_and_the_chain_stays(tmp_path: Path) -> None:
    write(tmp_path, 300, limits=AuditLimits(file_bytes=2_000, files=3))
    assert len(files_of(folder(tmp_path))) == 3
    assert sum(path.stat().st_size for path in files_of(folder(tmp_path))) < 4 * 2_500
    (report,) = verify(tmp_path)
    assert (report.findings, report.newest) == ([], 300)
    assert report.records < 300


def test_chain_put_back_as_it_was_is_found_by_what_left_the_machine(tmp_path: Path) -> None:
    number, mac = write(tmp_path, 3).newest
    assert verify(tmp_path, {"control": (number, mac[:12])})[0].ok
    (found,) = verify(tmp_path, {"control": (4, mac)})[0].findings
    assert (found.kind, found.text) == (
        "cut",
        "record 4 is missing at the end, by what was told elsewhere",
    )
    (found,) = verify(tmp_path, {"control": (3, "0" * 12)})[0].findings
    assert found.kind == "changed"
    assert not verify(tmp_path, {"listener-main": (7, mac)})[1].ok
    assert fingerprint(mac) == int(mac[:12], 16)


def test_full_disk_costs_records_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = AuditFile(tmp_path, "control")
    audit.append([{"new": 1}])
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    for _ in range(2):
        with pytest.raises(OSError, match="no space left"):
            audit.append([{"new": 2}])
    monkeypatch.setattr(os, "write", real)
    audit.append([{"new": 3}])
    audit.sync()
    (report,) = verify(tmp_path)
    assert [(each.kind, each.text) for each in report.findings] == [
        ("not written", "2 attempts before record 2 could not be written down")
    ]
    assert report.ok


def test_second_writer_of_a_chain_is_refused(tmp_path: Path) -> None:
    first, second = AuditFile(tmp_path, "control"), AuditFile(tmp_path, "control")
    first.append([{}])
    with pytest.raises(OSError, match=r"."):
        second.append([{}])
    first.close()
    second.append([{}])
    assert kinds(tmp_path) == ["not written"]


def test_files_and_key_are_the_gateways_alone(tmp_path: Path) -> None:
    before = os.umask(0o077)  # as every worker has it
    try:
        write(tmp_path, 1)
    finally:
        os.umask(before)
    for path in (tmp_path / "audit").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert key_of(tmp_path) == (tmp_path / "audit" / "key").read_bytes()
    assert len(key_of(tmp_path)) == 32


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_bytes(b"x"),
    "zeros": lambda path: path.write_bytes(bytes(32)),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "nowhere": lambda path: path.symlink_to(path / "none"),
}
PLACES = ("audit/key", "audit/control/head", "audit/control/lock", f"audit/control/{1:016}.jsonl")


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("audit", "file"),
        ("audit/control", "file"),
        ("audit/key", "file"),
        ("audit/key", "zeros"),
        *((place, kind) for place in PLACES for kind in ("folder", "pipe", "loop", "nowhere")),
    ],
)
def test_what_stands_in_the_place_of_a_file_or_folder_is_put_aside(
    tmp_path: Path, place: str, kind: str
) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    IN_THE_WAY[kind](path)
    write(tmp_path, 2)
    assert verify(tmp_path)[0].records == 2
    assert verify(tmp_path)[0].ok
    assert list(tmp_path.rglob("*.damaged-*"))


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_a_file_of_the_chain_that_cannot_be_read_is_put_aside_and_missing(
    tmp_path: Path, kind: str
) -> None:
    """Three files; the newest, then all that there was, is not one any more."""
    limits = AuditLimits(file_bytes=1)
    for _ in range(3):
        write(tmp_path, 1, limits=limits)
    paths = files_of(tmp_path / "audit" / "control")
    assert len(paths) == 3
    paths[-1].unlink()
    IN_THE_WAY[kind](paths[-1])
    write(tmp_path, 1, limits=limits)
    (report,) = verify(tmp_path)
    assert not report.ok and report.newest == 4  # its number is never given again
    assert [each.kind for each in report.findings] == ["removed"]


def record(**given: Any) -> dict[str, Any]:
    return {"tag": "boiler.level", "user": "alice", "way": "web", "outcome": "done", **given}


@pytest.mark.parametrize(
    ("question", "times"),
    [
        ({}, [1, 2, 3, 4]),
        ({"limit": 2}, [3, 4]),
        ({"tag": "BOILER.*"}, [1, 2, 4]),
        ({"user": "bob"}, [2]),
        ({"way": "cip"}, [3]),
        ({"outcome": "failed"}, [4]),
        ({"since_us": 2, "until_us": 3}, [2, 3]),
        ({"writer": "nobody"}, []),
    ],
)
def test_records_are_selected_from_all_chains_by_time(
    tmp_path: Path, question: dict[str, Any], times: list[int]
) -> None:
    control, listener = AuditFile(tmp_path, "control"), AuditFile(tmp_path, "listener-main")
    control.append([record(time_us=1), record(time_us=2, user="bob")])
    listener.append([record(time_us=3, way="cip", tag="SCADA")])
    control.append([record(time_us=4, outcome="failed")])
    found = select(tmp_path, Question.of(question))
    assert [each["time_us"] for each in found] == times
    assert all(each["sealed"] for each in found)


def test_record_that_was_changed_is_shown_as_such(tmp_path: Path) -> None:
    write(tmp_path, 2)
    (path,) = files_of(folder(tmp_path))
    path.write_bytes(path.read_bytes().replace(b'"new":[1]', b'"new":[7]'))
    assert [each["sealed"] for each in select(tmp_path, Question())] == [True, False]
    assert json.dumps(select(tmp_path, Question()))


@pytest.mark.parametrize(
    "arguments", [{"limit": 0}, {"limit": 1001}, {"limit": True}, {"tag": 5}, {"since_us": "x"}]
)
def test_question_that_makes_no_sense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(QuestionError, match="expected"):
        Question.of(arguments)
