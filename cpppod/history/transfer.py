"""Recordings from one form into another: store to history file, history file to store.

    export_history("/var/lib/cpppod/history", "plant.hst", ["boiler.*"])
    import_history("plant.hst", "/tmp/history", device="boiler")

In a file, data is {"device.tag": value}; where a value is not good, the record's serial is a map of
tag to quality. What is not JSON (bytes, not a number) is null there, or text. What is imported
twice is in the store once: a record's key is its file's name, the time of the first one, and its
place.
"""

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


class TransferError(ValueError):
    """A recording that cannot go there; the text says why."""


def export_history(
    source: str,
    path: str,
    patterns: Sequence[str] = (),
    since_us: int = 0,
    until_us: int = END_US,
    *,
    compress: str = "",
    precision: int = 6,
) -> int:
    """Write a recording as a history file; how many records.

    Args:
        source: a store's folder or URL, or another history file.
        path: the file; it is appended to.
        compress: `gz`, `bz2` or `xz`: the file gets that suffix, behind `.0`.

    Raises:
        RecordingError: there is nothing at `source`.
        OSError: the file cannot be written.
    """
    count = 0
    with logger(path, precision=precision, compress=compress) as out:
        for moment in moments(source, patterns, since_us, until_us):
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
) -> int:
    """Put a recording into a store; how many readings are new there.

    Args:
        url: a store's folder or URL; made if it is not there.
        device: what registers and tags without a device belong to.

    Raises:
        RecordingError: there is nothing at `source`.
        TransferError: a tag without a device, and none was given.
        StoreError: the store cannot be used.
    """
    added = 0
    with closing(open_store(url, {"roll_up": False})) as store:
        store.open()
        batch = Batch()
        publisher, epoch = f"import-{Path(source).name}"[:64], 0
        for sequence, moment in enumerate(moments(source, patterns, since_us, until_us), 1):
            epoch = epoch or max(moment.time_us // 1000, 1)
            for name, samples in _by_device(moment, device).items():
                batch.readings.append(
                    _reading(publisher, epoch, sequence, name, moment.time_us, samples)
                )
            if len(batch.readings) >= BATCH:
                added += store.commit(batch).readings
                batch = Batch()
        added += store.commit(batch).readings
    return added


def _by_device(moment: RecordedChange, device: str) -> dict[str, dict[str, tuple[Any, int]]]:
    found: dict[str, dict[str, tuple[Any, int]]] = {}
    for tag, sample in moment.samples.items():
        owner, dot, name = tag.partition(".")
        if not dot:
            owner, name = device, tag
        if not owner:
            raise TransferError(f"{tag}: of no device; name one with device=")
        found.setdefault(owner, {})[name] = sample
    return found


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
        f"{publisher}:{device}"[:96],
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
