"""Files of the state directory: whatever stands there, a gateway reads, writes and says so."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cpppod.workers.listener.state import ListenerState
from cpppod.workers.state import MAX_SIZE, StateDirectory, put_aside, put_aside_below

ASIDE = re.compile(r".*\.damaged-\d{8}T\d{6}Z")
NAME = "symbols/listener-main.json"


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_SIZE + 1)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "cut": lambda path: path.write_text('{"version": 1, "symbols": {"a": '),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "a list": lambda path: path.write_text("[]"),
    "infinite": lambda path: path.write_text('{"symbols": {"a": Infinity}, "templates": {}}'),
    "twice": lambda path: path.write_text('{"symbols": {"a": 5, "b": 5}, "templates": {}}'),
    "no id": lambda path: path.write_text('{"symbols": {"a": 70000}, "templates": {}}'),
    "too large": sparse,
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_ids_are_put_aside_and_go_on_behind_the_mark(tmp_path: Path, kind: str) -> None:
    state = StateDirectory(tmp_path)
    listener = ListenerState(state, "listener-main")
    first = listener.load_ids()
    given = {first.symbol(name) for name in ("a", "b")}
    listener.save_ids(first.plain)
    path = tmp_path / NAME
    path.unlink()
    DAMAGE[kind](path)
    again = listener.load_ids()
    assert again.symbol("a") > max(given)
    (aside,) = put_aside_below(tmp_path)
    assert ASIDE.fullmatch(aside) and aside.startswith(str(path))
    listener.save_ids(again.plain)
    assert json.loads(path.read_text())["symbols"] == again.symbols
    assert state.overdue() == []


@pytest.mark.parametrize("kind", sorted(DAMAGE.keys() - {"twice", "no id", "infinite"}))
def test_damaged_retained_values_and_marks_are_put_aside(tmp_path: Path, kind: str) -> None:
    listener = ListenerState(StateDirectory(tmp_path), "listener-main")
    for folder in ("retained", "marks"):
        (tmp_path / folder).mkdir()
        DAMAGE[kind](tmp_path / folder / "listener-main.json")
    assert listener.load_values() == {}
    listener.load_ids()
    assert len(put_aside_below(tmp_path)) == 2
    listener.save_values({"a": 1})
    assert listener.load_values() == {"a": 1}


def test_a_file_in_a_folders_place_is_put_aside(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    (tmp_path / "symbols").write_text("")
    assert state.read(NAME, json.loads) is None
    assert state.write(NAME, b"1")
    (tmp_path / "retained").write_text("")
    assert state.write("retained/x", b"2")
    assert [Path(each).name.split(".")[0] for each in put_aside_below(tmp_path)] == [
        "retained",
        "symbols",
    ]
    assert state.read(NAME, json.loads) == 1


def test_what_is_above_the_state_directory_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("somebody's")
    for root in (tmp_path / "file", tmp_path / "file" / "state"):
        state = StateDirectory(root)
        assert state.read(NAME, json.loads) is None
        assert not state.write(NAME, b"1")
        assert state.overdue()[0].startswith(f"state not kept: {NAME}: ")
    assert (tmp_path / "file").read_text() == "somebody's"


def test_what_could_not_be_written_is_said_and_written_once_it_can_be(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.write_text("in the way")
    state = StateDirectory(root)
    assert not state.write(NAME, b"1")
    assert not state.write(NAME, b"2")
    root.unlink()
    state.retry()
    assert (root / NAME).read_bytes() == b"2"
    assert (state.unkept, state.overdue()) == ({}, [])


def test_two_that_are_put_aside_in_one_second_are_both_kept(tmp_path: Path) -> None:
    for text in ("1", "2", "3"):
        (tmp_path / "x").write_text(text)
        put_aside(tmp_path / "x", "test")
    assert {Path(path).read_text() for path in put_aside_below(tmp_path)} == {"1", "2", "3"}
