"""A recorded plant as one stream: moments and what changed then, from history files or a store.

    moments("plant.hst", ["boiler.*"], since_us, until_us)
        ──► RecordedChange(time_us, {tag: (value, quality)})

What was known when the time began comes first, in one moment of its own. A history file's record
says no
quality: null is bad, everything else good, unless its serial is a map of tags to qualities, as
`cpppod.history.transfer` writes them.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from cpppod.history.files import DataError, history_files, lines, opener, parse_record
from cpppod.protocols.model.values import Quality
from cpppod.workers.historian.stores.opening import open_reader
from cpppod.workers.historian.stores.questions import QuestionError, check_owner
from cpppod.workers.historian.stores.store import StoreError, StoreReader

END_US = 2**52


class PlaybackError(Exception):
    """What was asked for cannot be played; the text says what, why and what to try."""


class RecordingError(Exception):
    """There is no recording there; the text says what was looked for."""


class RecordedChange(NamedTuple):
    """What changed at a time: tag -> (value, quality)."""

    time_us: int
    samples: dict[str, tuple[Any, int]]


def is_store(source: str) -> bool:
    """Whether `source` is a store's URL or folder, rather than a history file."""
    return "://" in source or Path(source).is_dir()


def moments(
    source: str,
    patterns: Sequence[str] = (),
    since_us: int = 0,
    until_us: int = END_US,
    *,
    corrupt: list[str] | None = None,
    gateway: str | None = None,
) -> Iterator[RecordedChange]:
    """The recording in order of time, from what was known at `since_us` on.

    Args:
        source: a history file, a store's folder or URL.
        patterns: tags wanted, `boiler.*`; none: all.
        corrupt: gets each line of a history file that is no record.
        gateway: whose tags, where several gateways fill the store.

    Raises:
        RecordingError: there is nothing at `source`.
    """
    wanted = _matcher(patterns)
    if is_store(source):
        return _stored(source, wanted, since_us, until_us, gateway)
    files = history_files(source)
    if not files:
        raise RecordingError(f"{source}: neither a history file nor a store of history")
    return _filed(files, wanted, since_us, until_us, corrupt)


def _matcher(patterns: Sequence[str]) -> "re.Pattern[str]":
    text = "|".join(fnmatch.translate(pattern) for pattern in patterns or ("*",))
    return re.compile(text, re.IGNORECASE)


def _stored(
    url: str, wanted: "re.Pattern[str]", since_us: int, until_us: int, gateway: str | None
) -> Iterator[RecordedChange]:
    try:
        with closing(open_reader(url, gateway)) as reader:
            if gateway is None:
                _check_owners(reader, wanted)
            known: dict[str, tuple[Any, int]] = {}
            if since_us:
                for tag in filter(wanted.fullmatch, reader.tags()):
                    device, _, name = tag.partition(".")
                    sample = reader.last(device, name, since_us - 1)
                    if sample is not None:
                        known[tag] = (sample.value, sample.quality)
            if known:
                yield RecordedChange(since_us, known)
            for reading in reader.readings(since_us, until_us):
                samples = {
                    name: (reading.values[at], reading.quality(at))
                    for at, tag in enumerate(reading.tags)
                    if wanted.fullmatch(name := f"{reading.device}.{tag}")
                }
                if samples:
                    yield RecordedChange(reading.source_us, samples)
    except StoreError as error:
        raise RecordingError(str(error)) from error


def _check_owners(reader: StoreReader, wanted: "re.Pattern[str]") -> None:
    """Tags of one name that several gateways had at the same time are no one recording."""
    try:
        for tag in filter(wanted.fullmatch, reader.shared()):
            check_owner(reader, tag)
    except QuestionError as error:
        raise RecordingError(str(error)) from None


def _filed(
    files: list[Path],
    wanted: "re.Pattern[str]",
    since_us: int,
    until_us: int,
    corrupt: list[str] | None,
) -> Iterator[RecordedChange]:
    before: dict[str, tuple[Any, int]] = {}
    for moment in _records(files, wanted, corrupt):
        if moment.time_us < since_us:
            before.update(moment.samples)
            continue
        if moment.time_us > until_us:
            break
        if before:
            yield RecordedChange(since_us, before)
            before = {}
        yield moment
    if before:
        yield RecordedChange(since_us, before)


def _records(
    files: Iterable[Path], wanted: "re.Pattern[str]", corrupt: list[str] | None
) -> Iterator[RecordedChange]:
    for path in list(files)[::-1]:
        with opener(path) as file:
            for line in lines(file):
                try:
                    record = parse_record(line)
                    data = record.values if record is not None else None
                except DataError as error:
                    if corrupt is not None:
                        corrupt.append(f"{path.name}: {error}")
                    continue
                if record is None or not isinstance(data, dict):
                    continue
                serial = record.serial if isinstance(record.serial, dict) else {}
                data = _accesses(record.serial, data)
                samples = {
                    tag: (value, _quality(serial.get(tag), value))
                    for tag, value in data.items()
                    if wanted.fullmatch(tag)
                }
                if samples:
                    yield RecordedChange(round(record.time.value * 1e6), samples)


def _accesses(serial: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What `enip_historize` writes, `["Tag", [0, 3]]` and what was read or written, as a tag."""
    match serial:
        case [str(tag), [int(first), int(last)]] if data.keys() <= {"read", "write"}:
            return {f"{tag}[{first}-{last}]": values for values in data.values()}
    return data


def _quality(said: Any, value: Any) -> int:
    if isinstance(said, int):
        return said
    return int(Quality.BAD if value is None else Quality.GOOD)
