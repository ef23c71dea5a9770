"""Lines that strangers cause: few, whatever they do, and what was left out is counted and said."""

import io
import logging
from collections.abc import Iterator

import pytest

from cpppod.workers.process.limited_log import BURST, MAX_KINDS, REFILL_S, LimitedLog


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    log = logging.getLogger("flooded")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    yield text
    log.removeHandler(handler)


LOG = logging.getLogger("flooded")


def test_what_was_left_out_is_said_with_the_next_line_and_counted(output: io.StringIO) -> None:
    now = [0.0]
    limited = LimitedLog(lambda: now[0])
    for uid in range(BURST + 5):
        limited.warning(LOG, "peer refused uid=%d why=%r", uid, "x")
    assert len(output.getvalue().splitlines()) == BURST
    now[0] += REFILL_S
    limited.warning(LOG, "peer refused uid=%d why=%r", 99, "x")
    assert output.getvalue().splitlines()[-1] == "peer refused uid=99 why='x' left_out=5"
    assert limited.metrics() == [["cpppod_log_left_out_total", {"line": "peer refused"}, 5]]


def test_end_of_a_flood_is_said_by_the_beat(output: io.StringIO) -> None:
    now = [0.0]
    limited = LimitedLog(lambda: now[0])
    for _ in range(BURST + 5):
        limited.warning(LOG, "peer refused uid=%d", 1)
    limited.tell()
    assert len(output.getvalue().splitlines()) == BURST
    now[0] += REFILL_S
    limited.tell()
    limited.tell()
    assert output.getvalue().splitlines()[BURST:] == ["peer refused: further lines left_out=5"]


def test_an_hour_of_floods_of_every_kind_is_under_a_megabyte(output: io.StringIO) -> None:
    now = [0.0]
    limited = LimitedLog(lambda: now[0])
    defect = ValueError("x" * 300)
    for _ in range(36_000):  # ten times a second, of twenty kinds
        now[0] += 0.1
        for kind in range(19):
            limited.warning(LOG, "peer refused why=%r", "§" * 5_000, kind=str(kind))
        limited.error(LOG, "request failed", exc_info=defect)
        limited.tell()
    size = len(output.getvalue().encode())
    assert 10_000 < size < 1_000_000
    said = sum(
        int(line.rpartition("left_out=")[2].split()[0])
        for line in output.getvalue().splitlines()
        if "left_out=" in line
    )
    counted = sum(row[2] for row in limited.metrics())
    assert counted - said <= 20 * 600  # what the present minute has left out


def test_level_that_is_not_logged_takes_nothing(output: io.StringIO) -> None:
    limited = LimitedLog(lambda: 0.0)
    LOG.setLevel(logging.ERROR)
    for _ in range(1_000):
        limited.info(LOG, "peer refused")
    LOG.setLevel(logging.INFO)
    limited.info(LOG, "peer refused")
    assert output.getvalue() == "peer refused\n"


def test_kinds_are_bounded_too(output: io.StringIO) -> None:
    limited = LimitedLog(lambda: 0.0)
    for number in range(10 * MAX_KINDS):
        limited.info(LOG, f"defect {number}")
    assert len(output.getvalue().splitlines()) == MAX_KINDS + BURST
