"""Recordings from one form into another: store to history file, history file to store.

    export_history("/var/lib/cpppod/history", "plant.hst", ["boiler.*"])
    import_history("plant.hst", "/tmp/history", device="boiler")

In a file, data is {"device.tag": value}; where a value is not good, the record's serial is a map of
tag to quality. What is not JSON (bytes, not a number) is null there, or text. What is imported
twice is in the store once: a record's key is its file's name, the time of the first one, and its
place. A name that no tag can have is left out and said; the rest goes on.
"""

import hashlib
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cpppod.history.logger import logger
from cpppod.history.recording import END_US, RecordedChange, moments
from cpppod.history.timestamp import timestamp
from cpppod.protocols.model.values import Quality
from cpppod.workers.historian.stores.opening import open_store
from cpppod.workers.historian.stores.store import Batch, Reading

BATCH = 2_000  # readings in one commit
GROUP = "imported"
PUBLISHER_LENGTH = 96  # characters


def export_history(
    source: str,
    path: str,
    patterns: Sequence[str] = (),
    since_us: int = 0,
    until_us: int = END_US,
    *,
    compress: str = "",
    precision: int = 6,
    gateway: str | None = None,
    seen: set[str] | None = None,
) -> int:
    """Write a recording as a history file; how many records.

    Args:
        source: a store's folder or URL, or another history file.
        path: the file; it is appended to.
        compress: `gz`, `bz2` or `xz`: the file gets that suffix, behind `.0`.
        gateway: whose tags, where several gateways fill the store.
        seen: gets the names of the tags that were there.

    Raises:
        RecordingError: there is nothing at `source`.
        OSError: the file cannot be written.
    """
    count = 0
    names = set() if seen is None else seen
    with logger(path, precision=precision, compress=compress) as out:
        for moment in moments(source, patterns, since_us, until_us, gateway=gateway):
            names.update(moment.samples)
            qualities = {tag: quality for tag, (_, quality) in moment.samples.items() if quality}
            data = {tag: _plain(value) for tag, (value, _) in moment.samples.items()}
            if not out.write(data, now=timestamp(moment.time_us / 1e6), serial=qualities or None):
                raise OSError(f"{path}: cannot be written")
            count += 1
        if compress:
            out.rotate()
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def import_history(
    source: str,
    url: str,
    patterns: Sequence[str] = (),
    *,
    device: str = "",
    since_us: int = 0,
    until_us: int = END_US,
    left_out: dict[str, str] | None = None,
) -> int:
    """Put a recording into a store; how many readings are new there.

    Args:
        url: a store's folder or URL; made if it is not there.
        device: what registers and tags without a device belong to.
        left_out: gets each name that no tag can have, and why; the others are put in.

    Raises:
        RecordingError: there is nothing at `source`.
        StoreError: the store cannot be used.
    """
    refused = {} if left_out is None else left_out
    added = 0
    with closing(open_store(url, {"roll_up": False})) as store:
        store.open()
        batch = Batch()
        publisher, epoch = f"import-{Path(source).name}"[:64], 0
        for sequence, moment in enumerate(moments(source, patterns, since_us, until_us), 1):
            epoch = epoch or max(moment.time_us // 1000, 1)
            for name, samples in _by_device(moment, device, refused).items():
                batch.readings.append(
                    _reading(publisher, epoch, sequence, name, moment.time_us, samples)
                )
            if len(batch.readings) >= BATCH:
                added += store.commit(batch).readings
                batch = Batch()
        added += store.commit(batch).readings
    return added


def _by_device(
    moment: RecordedChange, device: str, left_out: dict[str, str]
) -> dict[str, dict[str, tuple[Any, int]]]:
    found: dict[str, dict[str, tuple[Any, int]]] = {}
    for tag, sample in moment.samples.items():
        owner, dot, name = tag.partition(".")
        if not dot:
            owner, name = device, tag
        if owner and name:
            found.setdefault(owner, {})[name] = sample
        elif tag not in left_out:
            left_out[tag] = (
                "no tag's name" if dot or not tag else "of no device: name one, --device"
            )
    return found


def _publisher(base: str, device: str) -> str:
    """A publisher for each device, within what a store takes for a name."""
    name = f"{base}:{device}"
    if len(name) <= PUBLISHER_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: PUBLISHER_LENGTH - len(digest) - 1]}~{digest}"


def _reading(
    publisher: str,
    epoch: int,
    sequence: int,
    device: str,
    time_us: int,
    samples: dict[str, tuple[Any, int]],
) -> Reading:
    qualities: int | list[int] = [quality for _, quality in samples.values()]
    if not any(qualities):  # type: ignore[arg-type]
        qualities = int(Quality.GOOD)
    return Reading(
        _publisher(publisher, device),
        epoch,
        sequence,
        device,
        GROUP,
        time_us,
        time_us,
        0,
        len(samples) + 1,  # how many there are is not recorded: never taken for a whole group
        list(samples),
        [value for value, _ in samples.values()],
        qualities,
    )
