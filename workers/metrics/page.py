"""The Prometheus page: what the workers said in their last beats, as text.

    workers ──beats──> WorkerTable ──> families ──prometheus_client──> GET /metrics

A scrape reads this memory and touches neither bus nor device. Everything that a beat reports has
been counted by its worker since it started; a restart of it is a reset of its counters, which
Prometheus expects. A series of a worker that is down stays as it was; its `cpppod_worker_up` and
its devices' `cpppod_device_up` are 0.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from cpppod.protocols.bus.messages import Beat, decode
from cpppod.protocols.model.values import Quality
from cpppod.workers.control.table import WorkerRecord, WorkerTable
from cpppod.workers.metrics.families import family_of
from cpppod.workers.values import Reading

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
Packed = dict[tuple[str, ...], float]  # (sample name, label, word, label, word ...) -> value


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

    def damaged(self) -> Sequence[str]: ...

    def exposed(self) -> Iterable[Reading]: ...


def page(table: WorkerTable, source: Source, now: float) -> bytes:
    """The exposition, in Prometheus' text format 0.0.4."""
    families = _by_family(_series(table, source, now))
    return b"".join(
        generate_latest(_One(_metric(name, families.pop(name)))) for name in sorted(families)
    )


class _One:
    """What `generate_latest` wants of a registry, with one family in it.

    A page of 100 devices has 8,000 series. Packed by family they take a megabyte; as the library's
    own records, which carry a dict of labels each, and as its lines, seven.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


def _by_family(series: Iterable[Series]) -> dict[str, Packed]:
    """The series by family, each series once: the last value given wins."""
    families: dict[str, Packed] = {}
    words: dict[str, str] = {}  # the same few labels and names come thousands of times
    for name, labels, value in series:
        name = words.setdefault(name, name)
        key = [name]
        for label in sorted(labels):
            word = labels[label]
            key += (words.setdefault(label, label), words.setdefault(word, word))
        families.setdefault(name, {})[tuple(key)] = value
    _merge_histograms(families)
    return families


def _metric(name: str, packed: Packed) -> Metric:
    """One family, its series in order."""
    family = family_of(name)
    kind = "histogram" if any(key[0] != name for key in packed) else family.kind
    metric = Metric(name, family.help, kind)
    metric.name = name  # Metric drops a counter's suffix, and the text format adds it
    if kind == "counter":
        metric.name = name.removesuffix("_total")
    metric.samples = [
        Sample(key[0], dict(zip(key[1::2], key[2::2], strict=True)), packed[key])
        for key in sorted(packed, key=_rank)
    ]
    return metric


def _rank(key: tuple[str, ...]) -> tuple[list[tuple[str, str]], int, float]:
    """Series of one label set together, a histogram's buckets by their bound."""
    labels = list(zip(key[1::2], key[2::2], strict=True))
    bound = dict(labels).get("le", "")
    others = [pair for pair in labels if pair[0] != "le"]
    return others, _part(key[0]), float(bound) if bound else 0.0


def _part(name: str) -> int:
    return next((i for i, part in enumerate(HISTOGRAM_PARTS) if name.endswith(part)), -1)


def _merge_histograms(families: dict[str, Packed]) -> None:
    """Put the parts of each histogram into one family, under the name that they share."""
    for name in [name for name in families if name.endswith("_bucket")]:
        base = name.removesuffix("_bucket")
        families[base] = {
            key: value
            for part in HISTOGRAM_PARTS
            for key, value in families.pop(f"{base}{part}", {}).items()
        }


def _series(table: WorkerTable, source: Source, now: float) -> Iterator[Series]:
    yield from _of_control(source)
    dropped = 0
    for name, state in table.devices().items():
        yield from _of_device(name, state, source.drivers.get(name, ""))
    for record in table.workers.values():
        yield from _of_worker(record, now)
        count = 0
        for count, each in enumerate(_reported(record), start=1):
            if count <= MAX_SERIES:
                yield each
        dropped += max(count - MAX_SERIES, 0)
    yield "cpppod_metrics_series_dropped", {}, dropped
    for reading in source.exposed():
        yield from _of_tag(reading)


def _of_tag(reading: Reading) -> Iterator[Series]:
    """A tag's quality, its age, and its value where that is a good number; arrays by element."""
    tag = reading.tag
    labels = {"device": tag.device, "group": tag.group, "tag": tag.member}
    yield "cpppod_tag_quality", labels, reading.quality & 0xFF
    if reading.age_s is not None:
        yield "cpppod_tag_age_seconds", labels, reading.age_s
    if reading.quality & 0xFF != Quality.GOOD:
        return
    if tag.unit:
        labels = labels | {"unit": tag.unit}
    if isinstance(reading.value, list):
        for index, value in enumerate(reading.value):
            if isinstance(value, int | float):
                yield "cpppod_tag_value", labels | {"index": str(index)}, value
    elif isinstance(reading.value, int | float):
        yield "cpppod_tag_value", labels, reading.value


def _of_control(source: Source) -> Iterator[Series]:
    versions = {
        "version": source.version,
        "python": platform.python_version(),
        "libzmq": source.libzmq,
    }
    yield "cpppod_build_info", versions, 1
    yield "cpppod_config_generation", {}, source.generation
    yield "cpppod_config_last_reload_success_timestamp_seconds", {}, source.reloaded_at
    yield "cpppod_state_damaged_files", {}, len(source.damaged())
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


def _reported(record: WorkerRecord) -> Iterator[Series]:
    """What the worker's last beat says, told apart from other workers where no device does that.

    Of how a device is now, control's own word stands: it also knows whether the worker is there.
    """
    for item in _metrics_of(record):
        if not _is_series(item) or item[0] in OURS:
            continue
        name, labels, value = item[:3]
        told_apart = {} if "device" in labels else {"worker": record.name}
        yield name, {**told_apart, **{key: str(word) for key, word in labels.items()}}, value


def _metrics_of(record: WorkerRecord) -> list[Any]:
    """The metrics of the last beat, which control leaves packed until somebody scrapes."""
    if record.beat is None or not record.frame:
        return record.beat.metrics if record.beat else []
    message = decode(record.frame)
    return message.metrics if isinstance(message, Beat) else []


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
