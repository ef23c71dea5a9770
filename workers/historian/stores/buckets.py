"""Numbers over time: a tag's samples as equal steps, or as min, mean and max per bucket.

A sample holds from its time until the next one: its value was confirmed at every reading in
between. So a bucket's mean weighs each value with the time that it held; its bounds include the
value that was already there when it began. Bad samples and declared gaps end what was before them
and count for nothing.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cpppod.protocols.model.values import Quality, is_bad
from cpppod.workers.historian.stores.store import Gap, Minute, Sample

MAX_BUCKETS = 1_000_000  # of one answer: ten years of 5-minute steps


class Bucket(NamedTuple):
    """A span of time from `start_us` on.

    Attributes:
        minimum, mean, maximum: of good numbers; None where there was none.
        samples: those that fell into it.
        good_us: how long the value was good; its mean is of that time.
    """

    start_us: int
    minimum: float | None
    mean: float | None
    maximum: float | None
    samples: int
    good_us: int


def with_gaps(samples: Iterable[Sample], gaps: Iterable[Gap]) -> Iterator[Sample]:
    """The samples, with a bad one where a gap begins: what was known before it ends there."""
    waiting = sorted(gap.from_us for gap in gaps)
    at = 0
    for sample in samples:
        while at < len(waiting) and waiting[at] < sample.time_us:
            yield Sample(waiting[at], None, int(Quality.BAD))
            at += 1
        yield sample
    for from_us in waiting[at:]:
        yield Sample(from_us, None, int(Quality.BAD))


def steps(
    before: Sample | None, samples: Iterable[Sample], since_us: int, until_us: int, step_us: int
) -> Iterator[Sample]:
    """What the tag was worth at `since_us`, a step later, and so on up to `until_us`.

    Each is stamped with its step, with the value and quality in force; nothing comes of steps
    before the first sample.
    """
    current = before
    at = since_us
    for sample in samples:
        while at < sample.time_us and at <= until_us:
            if current is not None:
                yield Sample(at, current.value, current.quality)
            at += step_us
        current = sample
    while at <= until_us:
        if current is not None:
            yield Sample(at, current.value, current.quality)
        at += step_us


def number(value: Any) -> float | None:
    """A value as a number that can be averaged; None for text, arrays and NaN."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return float(value) if isinstance(value, int) else None


class _Span:
    """What has been seen of one bucket."""

    __slots__ = ("good_us", "maximum", "minimum", "samples", "total")

    def __init__(self) -> None:
        self.minimum = math.inf
        self.maximum = -math.inf
        self.total = 0.0
        self.good_us = 0
        self.samples = 0

    def hold(self, value: float, duration_us: int) -> None:
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        self.total += value * duration_us
        self.good_us += duration_us

    def add(self, part: "Bucket | Minute") -> None:
        """Take in what was seen of a part of the time."""
        self.samples += part.samples
        if part.minimum is not None and part.maximum is not None and part.mean is not None:
            self.minimum = min(self.minimum, part.minimum)
            self.maximum = max(self.maximum, part.maximum)
            self.total += part.mean * part.good_us
            self.good_us += part.good_us

    def bucket(self, start_us: int) -> Bucket:
        if self.minimum > self.maximum:
            return Bucket(start_us, None, None, None, self.samples, 0)
        mean = self.total / self.good_us if self.good_us else self.minimum
        mean = min(max(mean, self.minimum), self.maximum)  # rounding may leave the bounds
        return Bucket(start_us, self.minimum, mean, self.maximum, self.samples, self.good_us)


def buckets(
    before: Sample | None,
    samples: Iterable[Sample],
    since_us: int,
    until_us: int,
    step_us: int,
    *,
    origin_us: int | None = None,
) -> Iterator[Bucket]:
    """Buckets of `step_us` from `since_us` on that cover the time up to `until_us`, it excluded.

    Args:
        before: the last sample before `since_us`.
        samples: those of the time, in order.
        origin_us: where a bucket begins, if not at `since_us`: the first one is then cut.
    """
    origin_us = since_us if origin_us is None else origin_us
    span, start = _Span(), origin_us + (since_us - origin_us) // step_us * step_us
    value, held_from = _good(before), since_us
    for sample in samples:
        if sample.time_us >= until_us:
            break
        while sample.time_us >= start + step_us:
            end = start + step_us
            if value is not None:
                span.hold(value, end - held_from)
            yield span.bucket(start)
            span, start, held_from = _Span(), end, end
        if value is not None and sample.time_us > held_from:
            span.hold(value, sample.time_us - held_from)
        span.samples += 1
        value, held_from = _good(sample), max(sample.time_us, held_from)
        if value is not None:
            span.hold(value, 0)
    while start < until_us:
        end = start + step_us
        if value is not None and min(end, until_us) > held_from:
            span.hold(value, min(end, until_us) - held_from)
        yield span.bucket(start)
        span, start, held_from = _Span(), end, end


def _good(sample: Sample | None) -> float | None:
    if sample is None or is_bad(sample.quality):
        return None
    return number(sample.value)


def merged(
    parts: Iterable[Bucket | Minute], since_us: int, until_us: int, step_us: int
) -> Iterator[Bucket]:
    """Buckets of `step_us` made of parts of the time in any order, each in the one it begins in."""
    spans: dict[int, _Span] = {}
    for part in parts:
        start = since_us + max(0, part.start_us - since_us) // step_us * step_us
        spans.setdefault(start, _Span()).add(part)
    for start in range(since_us, until_us, step_us):
        yield spans.get(start, _EMPTY).bucket(start)


_EMPTY = _Span()
