"""The Prometheus page: what the workers said in their last beats, as text.

    workers ──beats──> WorkerTable ──> families ──prometheus_client──> GET /metrics

A scrape reads this memory and touches neither bus nor device. Everything that a beat reports has
been counted by its worker since it started; a restart of it is a reset of its counters, which
Prometheus expects. A series of a worker that is down stays as it was; its `cpppod_worker_up` and
its devices' `cpppod_device_up` are 0.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from cpppod.workers.control_table import WorkerRecord, WorkerTable
from cpppod.workers.metrics_families import FAMILIES, family_of

MAX_SERIES = 10_000  # of one worker: 100 devices of 4 groups with all their buckets are 8,000
DEVICE_STATES = (
    "online",
    "degraded",
    "connecting",
    "offline",
    "demoted",
    "disabled",
    "unknown",
)
UP_STATES = frozenset({"online", "degraded"})
OURS = frozenset({"cpppod_device_up", "cpppod_device_state"})
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")

Series = tuple[str, dict[str, str], float]  # sample name, labels, value


class Source(Protocol):
    """What control knows beside the beats."""

    version: str
    libzmq: str
    reloaded_at: float

    @property
    def generation(self) -> int: ...

    @property
    def reloads(self) -> Mapping[str, int]: ...

    @property
    def socket_counts(self) -> Mapping[str, int]: ...

    @property
    def drivers(self) -> Mapping[str, str]: ...


def page(table: WorkerTable, source: Source, now: float) -> bytes:
    """The exposition, in Prometheus' text format 0.0.4."""
    collected = _families(_series(table, source, now))
    return generate_latest(_Collected(collected))


class _Collected:
    """What `generate_latest` wants of a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _families(series: Iterable[Series]) -> list[Metric]:
    """The series by family, each series once: the last value given wins."""
    families: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for name, labels, value in series:
        key = (name, tuple(sorted(labels.items())))
        families.setdefault(_family_name(name), {})[key] = value
    metrics = []
    for family_name, samples in sorted(families.items()):
        family = family_of(family_name)
        metric = Metric(family_name, family.help, family.kind)
        metric.name = family_name  # Metric drops a counter's suffix, and the text format adds it
        if family.kind == "counter":
            metric.name = family_name.removesuffix("_total")
        metric.samples = [
            Sample(name, dict(labels), value) for (name, labels), value in _ordered(samples)
        ]
        metrics.append(metric)
    return metrics


def _ordered(
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float],
) -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
    """Series of one label set together, a histogram's buckets by their bound."""

    def rank(item: tuple[tuple[str, tuple[tuple[str, str], ...]], float]) -> Any:
        (name, labels), _ = item
        bound = dict(labels).get("le", "")
        others = tuple(pair for pair in labels if pair[0] != "le")
        return others, _part(name), float(bound) if bound else 0.0

    yield from sorted(samples.items(), key=rank)


def _part(name: str) -> int:
    return next((i for i, part in enumerate(HISTOGRAM_PARTS) if name.endswith(part)), -1)


def _family_name(name: str) -> str:
    for part in HISTOGRAM_PARTS:
        family = FAMILIES.get(name.removesuffix(part)) if name.endswith(part) else None
        if family is not None and family.kind == "histogram":
            return name.removesuffix(part)
    return name


def _series(table: WorkerTable, source: Source, now: float) -> Iterator[Series]:
    yield from _of_control(source)
    dropped = 0
    for name, state in table.devices().items():
        yield from _of_device(name, state, source.drivers.get(name, ""))
    for record in table.workers.values():
        yield from _of_worker(record, now)
        reported = _reported(record)
        dropped += max(len(reported) - MAX_SERIES, 0)
        yield from reported[:MAX_SERIES]
    yield "cpppod_metrics_series_dropped", {}, dropped


def _of_control(source: Source) -> Iterator[Series]:
    versions = {
        "version": source.version,
        "python": platform.python_version(),
        "libzmq": source.libzmq,
    }
    yield "cpppod_build_info", versions, 1
    yield "cpppod_config_generation", {}, source.generation
    yield "cpppod_config_last_reload_success_timestamp_seconds", {}, source.reloaded_at
    for result, count in source.reloads.items():
        yield "cpppod_config_reloads_total", {"result": result}, count
    for event, count in source.socket_counts.items():
        yield "cpppod_control_requests_total", {"event": event}, count


def _of_worker(record: WorkerRecord, now: float) -> Iterator[Series]:
    labels = {"worker": record.name, "role": record.role}
    yield "cpppod_worker_up", labels, int(record.alive)
    yield "cpppod_worker_restart_storm", labels, int(record.in_storm(now))
    if record.beat_at is not None and record.beat is not None:
        yield "cpppod_worker_beat_age_seconds", labels, now - record.beat_at
        yield "cpppod_worker_blocking_seconds", labels, record.beat.blocking_us / 1e6
    for reason in {"exit": 0, "watchdog": 0, **record.restarts}:
        count = record.restarts.get(reason, 0)
        yield "cpppod_worker_restarts_total", {**labels, "reason": reason}, count


def _reported(record: WorkerRecord) -> list[Series]:
    """What the worker's last beat says, told apart from other workers where no device does that.

    Of how a device is now, control's own word stands: it also knows whether the worker is there.
    """
    if record.beat is None:
        return []
    series = []
    for item in record.beat.metrics:
        if not _is_series(item) or item[0] in OURS:
            continue
        name, labels, value = item[:3]
        told_apart = {} if "device" in labels else {"worker": record.name}
        series.append(
            (name, {**told_apart, **{key: str(word) for key, word in labels.items()}}, value)
        )
    return series


def _is_series(item: Any) -> bool:
    """Whether a beat's item is [name of ours, labels, number]."""
    if not isinstance(item, list | tuple) or len(item) < 3:
        return False
    name, labels, value = item[:3]
    return (
        isinstance(name, str)
        and name.startswith("cpppod_")
        and name.isascii()
        and name.isidentifier()
        and isinstance(labels, dict)
        and all(isinstance(key, str) and key.isidentifier() for key in labels)
        and isinstance(value, int | float)
    )


def _of_device(name: str, state: dict[str, Any], driver: str) -> Iterator[Series]:
    current = str(state.get("state", "unknown"))
    yield (
        "cpppod_device_up",
        {"device": name, "driver": driver},
        int(current in UP_STATES),
    )
    for each in dict.fromkeys((*DEVICE_STATES, current)):
        yield "cpppod_device_state", {"device": name, "state": each}, int(each == current)
