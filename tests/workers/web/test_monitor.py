"""What changed, as the page tells it."""

from typing import Any

import pytest

from cpppod.workers.web.control_link import ControlLink, Shared
from cpppod.workers.web.monitor import MAX_EVENTS, MAX_STRANGE, Monitor


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(Shared(ControlLink("nowhere"), "status"))


def events(monitor: Monitor, after: int = 0, limit: int = 10_000) -> list[dict[str, Any]]:
    return list(monitor.events(after, limit))


def test_what_anybody_can_cause_pushes_nothing_else_out(monitor: Monitor) -> None:
    monitor.note("device", "boiler", "online → offline")
    for number in range(2 * MAX_EVENTS):
        monitor.note("user", f"u{number}", "wrong password", by_anybody=True)
    monitor.note("device", "boiler", "offline → online")
    told = events(monitor)
    assert len(told) == MAX_STRANGE + 2
    assert [each["name"] for each in told if each["kind"] == "device"] == ["boiler", "boiler"]
    numbers = [each["number"] for each in told]
    assert numbers == sorted(numbers, reverse=True)


def test_events_are_told_from_a_number_on_up_to_a_limit(monitor: Monitor) -> None:
    for number in range(10):
        monitor.note("user", "anna", f"{number}", by_anybody=bool(number % 2))
    assert [each["what"] for each in events(monitor, after=6)] == ["9", "8", "7", "6"]
    assert [each["what"] for each in events(monitor, limit=3)] == ["9", "8", "7"]
