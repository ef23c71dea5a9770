"""The ledger of the counting proof: served = stored + declared gaps + declared errors.

Every simulated tag is a counter: a served read returns the device's next number, and logs it. So a
stored value is its own serial number, and for each tag

    every number served is stored, or
        a gap declares the time at which it was served, or begins while it is in hand:
        a device answers one read at a time
        or the tag was bad between the numbers stored before and after it
    every good number stored was served, once, and in the order of time and of sequences
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import Any, NamedTuple

from cpppod.protocols.model.values import is_bad
from cpppod.workers.historian.stores.store import Gap

SHOWN = 5  # problems of a kind that are named; the rest is counted


class Served(NamedTuple):
    """A read that a device answered: all its tags with the number `n`."""

    device: str
    n: int
    time_us: int


class Row(NamedTuple):
    """A sample as it is stored."""

    device: str
    tag: str
    time_us: int
    publisher: str
    epoch: int
    sequence: int
    value: Any
    quality: int


@dataclass(slots=True)
class Verdict:
    """What became of every sample served."""

    served: int = 0
    stored: int = 0
    in_gaps: int = 0
    in_errors: int = 0
    undeclared: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"served {self.served} = stored {self.stored} + declared gaps {self.in_gaps}"
            f" + declared errors {self.in_errors} + undeclared {self.undeclared};"
            f" {len(self.problems)} problems {self.problems[:SHOWN]}"
        )


def check(served: Iterable[Served], rows: Iterable[Row], gaps: Sequence[Gap]) -> Verdict:
    """The verdict on everything that was served and is stored.

    Args:
        rows: in any order; tags of a device that never stored anything are not known, and not
            counted.
    """
    verdict = Verdict()
    by_tag: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_tag.setdefault((row.device, row.tag), []).append(row)
    logged: dict[str, list[Served]] = {}
    for each in served:
        logged.setdefault(each.device, []).append(each)
    for (device, tag), found in sorted(by_tag.items()):
        _check_tag(f"{device}.{tag}", logged.get(device, []), found, gaps, verdict)
    return verdict


def _check_tag(
    name: str, served: list[Served], rows: list[Row], gaps: Sequence[Gap], verdict: Verdict
) -> None:
    good = [row for row in rows if not is_bad(row.quality)]
    _check_order(name, good, verdict)
    numbers = Counter(row.value for row in good)
    known = {each.n for each in served}
    for value, count in numbers.items():
        if value not in known:
            verdict.problems.append(f"{name}: {value!r} is stored and was never served")
        elif count > 1:
            verdict.problems.append(f"{name}: {value} is stored {count} times")
    bad_after = _bad_after(rows)
    verdict.served += len(served)
    verdict.stored += sum(1 for each in served if each.n in numbers)
    own = [gap for gap in gaps if gap.device in ("", name.partition(".")[0])]
    for each, following in zip_longest(served, served[1:]):
        if each.n in numbers:
            continue
        until_us = each.time_us if following is None else following.time_us
        if any(gap.from_us <= until_us and each.time_us <= gap.to_us for gap in own):
            verdict.in_gaps += 1
        elif bad_after[bisect_left(bad_after, (each.n,)) - 1][1]:
            verdict.in_errors += 1
        else:
            verdict.undeclared += 1
            verdict.problems.append(f"{name}: {each.n}, served at {each.time_us}, is nowhere")


def _bad_after(rows: list[Row]) -> list[tuple[int, bool]]:
    """(number, whether bad samples follow it before the next), ascending; from (0, ...) on."""
    found = [(0, False)]
    for row in sorted(rows, key=lambda row: (row.time_us, row.epoch, row.sequence)):
        found.append((found[-1][0], True) if is_bad(row.quality) else (row.value, False))
    return list(dict(sorted(found)).items())


def _check_order(name: str, good: list[Row], verdict: Verdict) -> None:
    """Numbers grow with time, and with epoch and sequence."""
    orders = {
        "time": sorted(good, key=lambda row: (row.time_us, row.epoch, row.sequence)),
        "sequence": sorted(good, key=lambda row: (row.epoch, row.sequence)),
    }
    for order, rows in orders.items():
        for earlier, later in pairwise(rows):
            if later.value < earlier.value:
                verdict.problems.append(
                    f"{name}: {later.value} comes after {earlier.value} by {order}"
                )
