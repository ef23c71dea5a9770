"""The checker is checked: it finds what is dropped, doubled, swapped and altered, and nothing
else."""

from collections.abc import Callable

import pytest

from cpppod.workers.historian.stores.store import Gap
from tests.counting.ledger import Row, Served, check

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


def ledger(count: int = 50) -> tuple[list[Served], list[Row]]:
    """What was served, and the same stored, for two tags."""
    served = [Served("pump", n, T0 + n * SECOND * 10) for n in range(1, count + 1)]
    rows = [
        Row("pump", tag, each.time_us + 500, "poller-1", 1, each.n, each.n, 0)
        for each in served
        for tag in ("a", "b")
    ]
    return served, rows


def gap(device: str, from_us: int, to_us: int) -> Gap:
    return Gap("poller-1", 1, device, "", 0, 0, -1, -1, "restart", from_us, to_us)


def test_a_whole_ledger_has_no_problem() -> None:
    verdict = check(*ledger(), [])
    assert (verdict.served, verdict.stored, verdict.problems) == (100, 100, [])


def drop(rows: list[Row]) -> None:
    del rows[20]


def double(rows: list[Row]) -> None:
    rows.append(rows[20]._replace(sequence=20_000, time_us=rows[20].time_us + 1))


def swap(rows: list[Row]) -> None:
    rows[20], rows[30] = (
        rows[20]._replace(value=rows[30].value),
        rows[30]._replace(value=rows[20].value),
    )


def alter(rows: list[Row]) -> None:
    rows[20] = rows[20]._replace(value=rows[20].value + 1_000_000)


@pytest.mark.parametrize(
    ("harm", "said"),
    [(drop, "is nowhere"), (double, "2 times"), (swap, "comes after"), (alter, "never served")],
)
def test_one_row_that_is_harmed_is_named(harm: Callable[[list[Row]], None], said: str) -> None:
    served, rows = ledger()
    harm(rows)
    verdict = check(served, rows, [])
    assert any(said in problem for problem in verdict.problems), verdict


def test_what_a_gap_declares_is_accounted_for() -> None:
    served, rows = ledger()
    missing = [row for row in rows if row.value in (10, 11)]
    kept = [row for row in rows if row not in missing]
    declared = gap("pump", served[9].time_us, served[10].time_us)
    verdict = check(served, kept, [declared])
    assert (verdict.stored, verdict.in_gaps, verdict.undeclared) == (96, 4, 0)
    assert verdict.problems == []
    assert check(served, kept, [declared._replace(device="boiler")]).undeclared == 4
    narrow = gap("", served[9].time_us, served[10].time_us - 1)
    assert check(served, kept, [narrow]).undeclared == 2


def test_a_gap_declares_what_was_in_hand_when_it_began_and_nothing_before() -> None:
    served, rows = ledger()
    kept = [row for row in rows if row.value not in (10, 11)]
    begun = gap("pump", served[10].time_us + 2 * SECOND, served[11].time_us)
    verdict = check(served, kept, [begun])
    assert (verdict.in_gaps, verdict.undeclared) == (2, 2), verdict


def test_what_a_bad_sample_declares_is_accounted_for() -> None:
    served, rows = ledger()
    at = next(index for index, row in enumerate(rows) if row.value == 10 and row.tag == "a")
    rows[at] = rows[at]._replace(value=None, quality=18)
    verdict = check(served, rows, [])
    assert (verdict.stored, verdict.in_errors, verdict.problems) == (99, 1, [])


def test_a_bad_sample_of_another_time_excuses_nothing() -> None:
    served, rows = ledger()
    rows = [row for row in rows if row.value != 10]
    bad = Row("pump", "a", served[9].time_us + 20 * SECOND, "p", 1, 9_999, None, 18)
    assert check(served, [*rows, bad], []).undeclared == 2
    earlier = bad._replace(time_us=served[7].time_us + SECOND)
    assert check(served, [*rows, earlier], []).undeclared == 2


def test_a_tag_that_stays_bad_declares_all_that_it_does_not_show() -> None:
    served, rows = ledger()
    rows = [row for row in rows if not 10 <= row.value <= 12 or row.tag == "b"]
    rows.append(Row("pump", "a", served[8].time_us + SECOND, "p", 1, 9_999, None, 18))
    verdict = check(served, rows, [])
    assert (verdict.in_errors, verdict.undeclared) == (3, 0)
