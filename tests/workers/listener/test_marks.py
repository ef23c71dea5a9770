"""Ids that clients remember are never given out again, also when the file that has them is lost."""

from pathlib import Path

from cpppod.workers.listener.state import SOMEWHERE, ListenerState
from cpppod.workers.state import StateDirectory


def test_ids_after_a_lost_file_were_never_given_out(tmp_path: Path) -> None:
    state = ListenerState(StateDirectory(tmp_path), "listener-main")
    first = state.load_ids()
    given = {first.symbol(name) for name in ("a", "b", "c")}
    layouts = {first.template(name) for name in ("x", "y")}
    state.save_ids(first.plain)
    (tmp_path / "symbols" / "listener-main.json").unlink()
    second = state.load_ids()
    fresh = {second.symbol(name) for name in ("c", "b", "d")}
    assert min(fresh) > max(given)
    assert second.template("y") > max(layouts)
    state.save_ids(second.plain)
    (tmp_path / "symbols" / "listener-main.json").unlink()
    assert state.load_ids().symbol("a") > max(fresh)  # the mark has grown along


def test_ids_of_a_state_directory_made_anew_begin_somewhere(tmp_path: Path) -> None:
    begins = [
        ListenerState(StateDirectory(tmp_path / str(at)), "listener-main").load_ids().symbol("a")
        for at in range(20)
    ]
    assert len(set(begins)) > 10
    assert all(1 <= number <= SOMEWHERE for number in begins)
