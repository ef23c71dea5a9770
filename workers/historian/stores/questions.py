"""Questions about a tag's history, answered from any store.

range            samples between two times, both included; beforehand what it was worth when the
time began last             the last sample at or before a time
step             what it was worth at equal steps
min, max, mean,  buckets of equal length (`stores.buckets`); from roll-ups where the samples are
buckets          gone already
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from cpppod.workers.historian.stores.buckets import (
    MAX_BUCKETS,
    Bucket,
    buckets,
    merged,
    steps,
    with_gaps,
)
from cpppod.workers.historian.stores.store import Gap, Minute, Sample, StoreReader

ROLLED_UP_FROM_US = (
    3_600_000_000  # a step from which a minute more or less at its edges is no matter
)
MAX_SPANS = 200  # gaps told with raw samples
AGGREGATES = ("", "last", "step", "buckets", "min", "mean", "max")


class QuestionError(ValueError):
    """The question makes no sense; the text says why."""


def split_tag(name: str) -> tuple[str, str]:
    """Device and tag of `device.tag`.

    Raises:
        QuestionError: no dot.
    """
    device, dot, tag = name.partition(".")
    if not (device and dot and tag):
        raise QuestionError(f"tag {name!r}: expected device.tag")
    return device, tag


def check_owner(reader: StoreReader, name: str) -> list[str]:
    """The gateways that have such a tag, where nobody in particular asks a store of several.

    One after the other (a machine that was replaced) they are one series.

    Raises:
        QuestionError: two of them at the same time: these are different tags.
    """
    spans = sorted((span, gateway) for gateway, span in reader.times(*split_tag(name)).items())
    for ((_, ends_us), one), ((begins_us, _), other) in pairwise(spans):
        if begins_us <= ends_us:
            raise QuestionError(f"{name}: of several gateways, name one: {one}, {other}")
    return [gateway for _, gateway in spans]


def check_steps(since_us: int, until_us: int, step_us: int) -> None:
    """Whether a span can be cut into steps.

    Raises:
        QuestionError: not, or into too many.
    """
    if step_us <= 0:
        raise QuestionError("step: expected a time above 0")
    if (until_us - since_us) // step_us > MAX_BUCKETS:
        raise QuestionError(f"step: more than {MAX_BUCKETS} of them")


def ask_range(reader: StoreReader, name: str, since_us: int, until_us: int) -> Iterator[Sample]:
    """The tag's samples of that time, each at its own time."""
    return reader.samples(*split_tag(name), since_us, until_us)


def ask_last(reader: StoreReader, name: str, until_us: int) -> Sample | None:
    """The tag's last sample at or before then."""
    return reader.last(*split_tag(name), until_us)


def ask_steps(
    reader: StoreReader, name: str, since_us: int, until_us: int, step_us: int
) -> Iterator[Sample]:
    """What the tag was worth at `since_us` and every `step_us` after it, up to `until_us`."""
    check_steps(since_us, until_us, step_us)
    device, tag = split_tag(name)
    before = reader.last(device, tag, since_us)
    gaps = reader.gaps(device, before.time_us if before else since_us, until_us)
    samples = with_gaps(reader.samples(device, tag, since_us + 1, until_us), gaps)
    return steps(before, samples, since_us, until_us, step_us)


def ask_buckets(
    reader: StoreReader, name: str, since_us: int, until_us: int, step_us: int
) -> Iterator[Bucket]:
    """Min, mean and max of each `step_us` from `since_us` up to `until_us`, it excluded.

    From a step of `ROLLED_UP_FROM_US` on, days that are over come from their roll-ups: the edges of
    such buckets are whole minutes.
    """
    check_steps(since_us, until_us, step_us)
    device, tag = split_tag(name)
    days = reader.rolled_up(since_us, until_us, gone_only=step_us < ROLLED_UP_FROM_US)
    if not days:
        return _from_samples(reader, device, tag, (since_us, until_us), since_us, step_us)

    def parts() -> Iterator[Bucket | Minute]:
        at = since_us
        for begin_us, end_us in days:
            if begin_us > at:
                yield from _from_samples(reader, device, tag, (at, begin_us), since_us, step_us)
            yield from reader.minutes(device, tag, max(begin_us, at), min(end_us, until_us) - 1)
            at = end_us
        if at < until_us:
            yield from _from_samples(reader, device, tag, (at, until_us), since_us, step_us)

    return merged(parts(), since_us, until_us, step_us)


def _from_samples(
    reader: StoreReader, device: str, tag: str, span_us: tuple[int, int], origin: int, step_us: int
) -> Iterator[Bucket]:
    since_us, until_us = span_us
    before = reader.last(device, tag, since_us - 1)
    gaps = reader.gaps(device, before.time_us if before else since_us, until_us)
    samples = with_gaps(reader.samples(device, tag, since_us, until_us - 1), gaps)
    return buckets(before, samples, since_us, until_us, step_us, origin_us=origin)


def answer(reader: StoreReader, arguments: dict[str, Any], *, size: int) -> dict[str, Any]:
    """A question as plain data, for the bus and the control socket.

    Args:
        arguments: tag, since_us, until_us, and for what needs them step_us, aggregate, limit.
        size: about how many characters of JSON the answer may have.

    Returns:
        {"tag", "columns", "rows", "next_us"}: `next_us` is where to go on, or None at the end;
        with raw samples also "gaps", the spans (from_us, to_us) of which some are missing.
        Without a tag: {"tags", "next"}, names in order from `after` on; `next` is where to go on.

    Raises:
        QuestionError, StoreError
    """
    name = str(arguments.get("tag") or "")
    if not name:
        return _names(reader, str(arguments.get("after") or ""), size)
    since_us, until_us = _time(arguments, "since_us", 0), _time(arguments, "until_us", 2**52)
    step_us = _time(arguments, "step_us", 0)
    limit = _time(arguments, "limit", 0)
    aggregate = str(arguments.get("aggregate") or ("step" if step_us else ""))
    if aggregate not in AGGREGATES:
        raise QuestionError(f"aggregate {aggregate!r}: expected one of {', '.join(AGGREGATES[1:])}")
    columns = "time_us value quality"
    rows: Iterable[Any]
    if aggregate == "last":
        sample = ask_last(reader, name, until_us)
        rows = [sample] if sample else []
    elif aggregate == "step":
        rows = ask_steps(reader, name, since_us, until_us, step_us)
    elif aggregate:
        rows = ask_buckets(reader, name, since_us, until_us, step_us)
        columns = "time_us minimum mean maximum samples good_us"
    else:
        rows = ask_range(reader, name, since_us, until_us)
    found = _table(name, columns, rows, size, limit)
    if not aggregate:
        until = found["next_us"] or until_us
        found["gaps"] = _spans(reader.gaps(split_tag(name)[0], since_us, until))
    if not any(row[1] is not None for row in found["rows"]):
        _check_known(reader, name)
    return found


def _names(reader: StoreReader, after: str, size: int) -> dict[str, Any]:
    """The tags of which something is stored, as many as go into `size`."""
    names = [name for name in sorted(reader.tags()) if name > after]
    for count, name in enumerate(names):
        size -= len(name) + 4
        if size < 0 and count:
            return {"tags": names[:count], "next": names[count - 1]}
    return {"tags": names, "next": None}


def _spans(gaps: Iterable[Gap]) -> list[list[int]]:
    """Their times, each once, the newest where they are too many."""
    return [list(span) for span in sorted({(gap.from_us, gap.to_us) for gap in gaps})][-MAX_SPANS:]


def _check_known(reader: StoreReader, name: str) -> None:
    """Where nothing was found: whether there is such a tag at all."""
    if name.lower() not in (tag.lower() for tag in reader.tags()):
        raise QuestionError(f"{name}: nothing stored of such a tag; is its group historised?")


def _time(arguments: dict[str, Any], name: str, default: int) -> int:
    value = arguments.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise QuestionError(f"{name}: expected microseconds")
    return value


def _table(name: str, columns: str, rows: Iterable[Any], size: int, limit: int) -> dict[str, Any]:
    """As many rows as go into `size`, and the time of the first one that did not."""
    kept: list[list[Any]] = []
    next_us = None
    for row in rows:
        plain = list(row)
        size -= len(repr(plain)) + 2
        if (size < 0 and kept) or (limit and len(kept) >= limit):
            next_us = plain[0]
            break
        kept.append(plain)
    return {"tag": name, "columns": columns.split(), "rows": kept, "next_us": next_us}
