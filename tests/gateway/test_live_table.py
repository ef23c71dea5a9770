"""The live table at the sizes of terminals: it never folds a line, and never has too many."""

import io
from typing import Any

import pytest
from rich.console import Console

from cpppod.gateway.live_table import LOG_ROWS, render

NAMES = [f"reactor_cooling_{number}" for number in range(13)]
LOG = [f"2026-11-30 12:00:{second:02d},000 INFO poller-boiler: {'x' * 200}" for second in range(60)]


def status(names: list[str], **more: Any) -> dict[str, Any]:
    """What the control socket says of a gateway with these devices."""
    row = {"state": "online", "rate_hz": 2.5, "age_s": 0.1, "tags_bad": 0, "last_error": "x" * 90}
    counts = {"devices": 13, "devices_up": 13, "workers": 9, "workers_running": 9}
    told = {"name": "plant", "version": "0.1.0", "up_s": 5.0, "ready": True, "summary": counts}
    return {**told, "devices": [{"name": name, **row} for name in names], **more}


def readings(names: list[str]) -> list[dict[str, Any]]:
    values = [f"{name}.{tag}" for name in names for tag in ("pressure", "temperature", "level")]
    good = {"value": 4.21, "unit": "bar", "good": True}
    return [{"tag": tag, **good} for tag in (*values, *(f"local_{at}" for at in range(9)))]


def drawn(width: int, height: int, names: list[str], **more: Any) -> list[str]:
    """The lines of the screen."""
    console = Console(file=io.StringIO(), width=width, height=height)
    notes = ("open http://127.0.0.1:8880/#token=" + "t" * 32,)
    shown = render(status(names, **more), readings(names), height, notes=notes, log=LOG)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (60, 16), (40, 12), (132, 25)])
@pytest.mark.parametrize("count", [0, 1, 7, 13])
def test_the_screen_is_full_and_nothing_is_folded(width: int, height: int, count: int) -> None:
    lines = drawn(width, height, NAMES[:count])
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("reactor") for line in lines) >= min(count, 3)


def test_thirteen_devices_have_a_line_each_at_80_by_24_and_the_log_the_rest() -> None:
    lines = drawn(80, 24, NAMES)
    assert [line.split()[0] for line in lines[3:16]] == NAMES
    assert all("online" in line and "pressure=4.21 bar" in line for line in lines[3:16])
    assert lines[-1].startswith("2026-11-30 12:00:59")
    assert sum("INFO" in line for line in lines) == 24 - 17 >= LOG_ROWS


def test_devices_without_room_are_counted() -> None:
    lines = drawn(60, 16, NAMES)
    shown = sum(line.startswith("reactor_cooling_") for line in lines)
    assert f"... and {13 - shown} more: cpppoctl devices" in lines
    assert sum("INFO" in line for line in lines) == LOG_ROWS


def test_what_keeps_it_from_being_ready_is_said_first() -> None:
    assert (
        "not ready: historian"
        in drawn(80, 24, NAMES, ready=False, not_ready={"historian": "starting"})[0]
    )
