"""What a device's work is counted by: requests, cycles, lateness, writes, the last transactions.

Rows for `Beat.metrics` are `[name, {label: value}, number]`, named by Prometheus rules, cumulative
for counters; a histogram is its `_bucket` rows (`le`), `_sum` and `_count`.
"""

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from cpppod.workers.devices.driver import Transaction

TRANSACTIONS_KEPT = 20  # enough to see a pattern, small enough for every beat
DETAIL_LIMIT = 200  # characters of an error text that are kept
CODES_KEPT = 16  # distinct exception codes counted by name; the rest are `other`

DURATIONS_S = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Row = list[Any]


class Histogram:
    """Cumulative counts by upper bound, in seconds."""

    __slots__ = ("_counts", "count", "last", "maximum", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(DURATIONS_S) + 1)
        self.count = 0
        self.sum = 0.0
        self.last = 0.0
        self.maximum = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count an observation, or so many alike."""
        self._counts[bisect_left(DURATIONS_S, seconds)] += count
        self.count += count
        self.sum += seconds * count
        self.last = seconds
        if seconds > self.maximum:
            self.maximum = seconds

    def rows(self, name: str, labels: dict[str, str]) -> list[Row]:
        """The histogram as rows of the metrics."""
        rows: list[Row] = []
        total = 0
        for bound, count in zip((*DURATIONS_S, None), self._counts, strict=True):
            total += count
            le = "+Inf" if bound is None else f"{bound:g}"
            rows.append([f"{name}_bucket", {**labels, "le": le}, total])
        rows.append([f"{name}_sum", labels, self.sum])
        rows.append([f"{name}_count", labels, self.count])
        return rows

    def summary(self) -> dict[str, float]:
        """Last, mean and longest, in seconds."""
        mean = self.sum / self.count if self.count else 0.0
        return {"last_s": self.last, "mean_s": mean, "longest_s": self.maximum}


@dataclass(slots=True)
class GroupTimes:
    """How one group's polls went: of `cycles`, `answered` had a value and `good` nothing but."""

    cycle: Histogram
    lateness: Histogram
    cycles: int = 0
    answered: int = 0
    good: int = 0


class DeviceCounters:
    """Everything that is counted for one device."""

    def __init__(self, device: str, groups: list[str]) -> None:
        self._device = device
        self.requests: Counter[tuple[str, str]] = Counter()
        self.codes: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.connects: Counter[str] = Counter()
        self.durations: dict[str, Histogram] = {}
        self.write_latency = Histogram()
        self.groups = {name: GroupTimes(Histogram(), Histogram()) for name in groups}
        self.transactions: deque[list[Any]] = deque(maxlen=TRANSACTIONS_KEPT)
        self.asked: dict[str, list[Any]] = {}  # what -> [who asked for it last, when]
        self.last_error = ""
        self.last_error_us = 0
        self.last_success_us = 0

    def transaction(self, done: Transaction, wall_us: int, count: int = 1) -> None:
        """Count a request on the wire, or so many alike, and remember it."""
        self.requests[done.operation, done.result] += count
        if done.code:
            code = str(done.code)
            self.codes[code if code in self.codes or len(self.codes) < CODES_KEPT else "other"] += 1
        histogram = self.durations.get(done.operation)
        if histogram is None:
            histogram = self.durations[done.operation] = Histogram()
        histogram.add(done.duration_s, count)
        detail = done.detail[:DETAIL_LIMIT]
        self.transactions.append(
            [wall_us, done.operation, done.request, done.result, done.duration_s, detail]
        )
        if done.result == "ok":
            self.last_success_us = wall_us
        else:
            self.error(detail or done.result, wall_us)

    def error(self, text: str, wall_us: int) -> None:
        """Remember the last thing that went wrong."""
        self.last_error = text[:DETAIL_LIMIT]
        self.last_error_us = wall_us

    def rows(self, *, histograms: bool = True) -> list[Row]:
        """Rows of the metrics that depend on nothing but these counts."""
        device = {"device": self._device}
        rows: list[Row] = []
        for (operation, result), count in self.requests.items():
            labels = {**device, "op": operation, "result": result}
            rows.append(["cpppod_requests_total", labels, count])
        for code, count in self.codes.items():
            rows.append(["cpppod_protocol_exceptions_total", {**device, "code": code}, count])
        for result, count in self.writes.items():
            rows.append(["cpppod_writes_total", {**device, "result": result}, count])
        for result, count in self.connects.items():
            rows.append(["cpppod_connects_total", {**device, "result": result}, count])
        for group, times in self.groups.items():
            labels = {**device, "group": group}
            bad = times.cycles - times.good
            rows.append(["cpppod_poll_cycles_total", {**labels, "result": "good"}, times.good])
            rows.append(["cpppod_poll_cycles_total", {**labels, "result": "bad"}, bad])
        return rows + self._histograms() if histograms else rows

    def _histograms(self) -> list[Row]:
        device = {"device": self._device}
        rows: list[Row] = []
        for operation, histogram in self.durations.items():
            labels = {**device, "op": operation}
            rows.extend(histogram.rows("cpppod_request_duration_seconds", labels))
        for group, times in self.groups.items():
            labels = {**device, "group": group}
            rows.extend(times.cycle.rows("cpppod_poll_cycle_duration_seconds", labels))
            rows.extend(times.lateness.rows("cpppod_poll_lateness_seconds", labels))
        if self.write_latency.count:
            rows.extend(self.write_latency.rows("cpppod_write_duration_seconds", device))
        return rows
