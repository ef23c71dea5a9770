"""Asking a store of history from Python, without the daemon: straight from its files or its server.

    with history("/var/lib/cpppod/history") as past:           # or "postgresql://..."
        for sample in past.range("boiler.pressure", "2026-11-22 12:00:00", "2026-11-22 13:00:00"):
            print(sample.time, sample.value, sample.good)

    last(tag, at)                      the last sample at or before a time
    step(tag, since, until, step)      what it was worth at equal steps
    buckets(tag, since, until, step)   min, time-weighted mean and max of equal spans
    gaps(since, until)                 what is missing, and why

A store that several gateways fill is asked for one of them: `history(url, gateway="press-7")`.

Times are whatever `timestamp` takes; steps are seconds or text such as `1h30m`.
"""

from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple

from cpppod.history.durations import parse_seconds
from cpppod.history.timestamp import timestamp
from cpppod.protocols.model.values import explain, is_bad
from cpppod.workers.historian.stores import questions
from cpppod.workers.historian.stores.buckets import Bucket
from cpppod.workers.historian.stores.opening import open_reader
from cpppod.workers.historian.stores.questions import QuestionError
from cpppod.workers.historian.stores.store import Gap, StoreError, StoreReader
from cpppod.workers.historian.stores.store import Sample as StoredSample

__all__ = ["Bucket", "Gap", "History", "QuestionError", "Sample", "StoreError", "history"]

Time = float | str | timestamp | datetime
END_US = 2**52  # the year 2112


class Sample(NamedTuple):
    """A value, when it was read, and its quality (`cpppod.protocols.values`)."""

    time: timestamp
    value: Any
    quality: int

    @property
    def good(self) -> bool:
        """Whether there is a value that was good, uncertain or stale when it was read."""
        return not is_bad(self.quality)

    @property
    def reason(self) -> str:
        """The quality in words."""
        return explain(self.quality)


def microseconds(time: Time | None, default: int = END_US) -> int:
    """Microseconds since 1970 of a time; None is `default`."""
    return default if time is None else max(0, round(timestamp(time).value * 1e6))


class History:
    """A store, open for questions; see the module.

    Raises:
        StoreError: there is no store at `url`, or it cannot be read; so do all questions.
    """

    def __init__(self, url: str, gateway: str | None = None) -> None:
        self._url = url
        self._reader = open_reader(url, gateway)
        self._several = gateway is None and len(self._reader.gateways()) > 1
        self._readers: dict[str, StoreReader] = {}

    def __enter__(self) -> "History":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and connections."""
        for reader in (self._reader, *self._readers.values()):
            reader.close()

    def gateways(self) -> list[str]:
        """The ids of the gateways that fill the store; one that was adopted is its heir's."""
        return self._reader.gateways()

    def _of(self, tag: str) -> StoreReader:
        """Who answers about a tag: in a store of several gateways, its own one's reader.

        Raises:
            QuestionError: not `device.tag`, or several gateways had one at the same time.
        """
        owners = questions.check_owner(self._reader, tag) if self._several else []
        if len(owners) != 1:
            return self._reader
        (owner,) = owners
        if owner not in self._readers:
            self._readers[owner] = open_reader(self._url, owner)
        return self._readers[owner]

    def tags(self) -> list[str]:
        """Every tag with history, as `device.tag`, sorted."""
        return self._reader.tags()

    def range(
        self, tag: str, since: Time | None = None, until: Time | None = None
    ) -> Iterator[Sample]:
        """The samples between two times, both included, in order.

        Raises:
            QuestionError: not `device.tag`.
        """
        found = questions.ask_range(self._of(tag), tag, microseconds(since, 0), microseconds(until))
        return map(_sample, found)

    def last(self, tag: str, at: Time | None = None) -> Sample | None:
        """The last sample at or before `at` (now), however old; None if there is none.

        Raises:
            QuestionError: not `device.tag`.
        """
        found = questions.ask_last(self._of(tag), tag, microseconds(at))
        return None if found is None else _sample(found)

    def step(self, tag: str, since: Time, until: Time, step: float | str) -> Iterator[Sample]:
        """What the tag was worth at `since` and after each `step`, up to `until`.

        Raises:
            QuestionError: not `device.tag`, or no step that makes sense.
        """
        span = (microseconds(since), microseconds(until))
        return map(_sample, questions.ask_steps(self._of(tag), tag, *span, _step_us(step)))

    def buckets(self, tag: str, since: Time, until: Time, step: float | str) -> Iterator[Bucket]:
        """Min, mean and max of each `step` from `since` until `until`.

        Raises:
            QuestionError: not `device.tag`, or no step that makes sense.
        """
        span = (microseconds(since), microseconds(until))
        return questions.ask_buckets(self._of(tag), tag, *span, _step_us(step))

    def gaps(
        self, since: Time | None = None, until: Time | None = None, device: str = ""
    ) -> list[Gap]:
        """What is missing of that time, of one device or of all."""
        return self._reader.gaps(device, microseconds(since, 0), microseconds(until))


def history(url: str, gateway: str | None = None) -> History:
    """The store at `url`: a folder of SQLite files, `sqlite:///folder`, `postgresql://...`.

    Args:
        gateway: whose history, with what that one adopted; None: whatever is there.

    Raises:
        StoreError: there is no store.
    """
    return History(url, gateway)


def _sample(found: StoredSample) -> Sample:
    return Sample(timestamp(found.time_us / 1e6), found.value, found.quality)


def _step_us(step: float | str) -> int:
    return round(parse_seconds(step) * 1e6)
