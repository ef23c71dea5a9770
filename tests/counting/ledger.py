"""The ledger of the counting proof: served = stored + declared gaps + declared errors.

Every simulated tag is a counter: a served read returns the device's next number, and logs it. So a
stored value is its own serial number, and for each tag

    every number served is stored, or was served in a time that a gap or a bad sample declares
    every good number stored was served, once, and in the order of time and of sequences
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from cpppod.protocols.model.values import is_bad
from cpppod.workers.historian.stores.store import Gap

IN_FLIGHT_US = (
    1_200_000  # a read lives so long at most: its timeout, and its block's way to the disk
)
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
    bad_us = sorted(row.time_us for row in rows if is_bad(row.quality))
    verdict.served += len(served)
    verdict.stored += sum(1 for each in served if each.n in numbers)
    device = name.partition(".")[0]
    for each in served:
        if each.n in numbers:
            continue
        if _in_gap(each, device, gaps):
            verdict.in_gaps += 1
        elif _in_error(each, bad_us):
            verdict.in_errors += 1
        else:
            verdict.undeclared += 1
            verdict.problems.append(f"{name}: {each.n}, served at {each.time_us}, is nowhere")


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


def _in_gap(served: Served, device: str, gaps: Sequence[Gap]) -> bool:
    return any(
        gap.device in ("", device)
        and gap.from_us - IN_FLIGHT_US <= served.time_us <= gap.to_us + IN_FLIGHT_US
        for gap in gaps
    )


def _in_error(served: Served, bad_us: list[int]) -> bool:
    """Whether the tag was said to be bad when the reply should have come."""
    at = bisect_left(bad_us, served.time_us)
    return at < len(bad_us) and bad_us[at] <= served.time_us + IN_FLIGHT_US
