"""History as a stream of register changes: whatever has become due since the last look.

history = loader("plant.hst", historical="2026-11-22 12:00:00", factor=10, lookahead=1.0)
while history:
    current, events = history.load()
    for event in events:
        event["timestamp"], event["values"]
    time.sleep(.1)

INITIAL ──► STREAMING ──► AWAITING ──► (again)
   │            └──► SWITCHING (next file) ──► EXHAUSTED ──► COMPLETE
   └──► FAILED
"""

import collections
import os
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

from cpppod.history.files import DataError, HistoryExhausted, IframeError, parse_json
from cpppod.history.reader import What, Where, reader
from cpppod.history.timestamp import timestamp

Event = dict[str, Any]


MAX_DIGITS = 18  # of a register's number; int() refuses 4,301


class State(IntEnum):
    """Where a loader is; from COMPLETE on it is done."""

    INITIAL = 0  # no file opened yet
    SWITCHING = 1  # the next file is to be opened
    STREAMING = 2  # records are coming
    EXHAUSTED = 3  # no more files; records that were read ahead are left
    AWAITING = 4  # the next record is not due
    COMPLETE = 5
    FAILED = 6


class loader(reader):
    """One pass through history files; true until it is over.

    Lines that are no records are counted in `corrupt` and passed over, unless `load` is told else.
    What was recorded before `historical` in its file comes first, as one event.

    Args:
        lookahead: seconds (of real time) that `load` is ahead of the moment reached.
        duration: end after so many seconds of history.
        values: registers and values to begin with, as of time 0.0.

    Attributes:
        values: register -> (real time of its last change, value). A register that is a number is
            an int.
        future: events read ahead.
        until: time of the last event that went into `values`.
        state: a `State`.
    """

    INITIAL, SWITCHING, STREAMING = State.INITIAL, State.SWITCHING, State.STREAMING
    EXHAUSTED, AWAITING = State.EXHAUSTED, State.AWAITING
    COMPLETE, FAILED = State.COMPLETE, State.FAILED

    SUPPRESS, FAIL, RAISE = 0, 1, 2

    def __init__(
        self,
        path: str | os.PathLike[str],
        historical: float | str | timestamp,
        basis: float | str | timestamp | None = None,
        factor: float | None = None,
        lookahead: float | None = None,
        duration: float | None = None,
        values: Mapping[Any, Any] | None = None,
    ) -> None:
        super().__init__(path, historical, basis=basis, factor=factor)
        self.lookahead = lookahead
        self.duration = duration
        self.future: collections.deque[Event] = collections.deque()
        self.values: dict[Any, tuple[float, Any]] = {
            _register(register): (0.0, value) for register, value in (values or {}).items()
        }
        self.until: timestamp | None = None
        self.state = State.INITIAL
        self._records: Iterator[tuple[Where, What]] | None = None
        self._last: timestamp | None = None
        self._strict = False  # the file in hand has no later time than its first
        self._began: timestamp | None = None
        self._before: Event | None = None  # what was recorded before the beginning

    def __bool__(self) -> bool:
        return self.state < State.COMPLETE

    def __str__(self) -> str:
        return f"{super().__str__()} {self.state.name}"

    def load(
        self,
        limit: int | None = None,
        upcoming: float | timestamp | None = None,
        on_bad_iframe: int = SUPPRESS,
        on_bad_data: int = SUPPRESS,
        encoding: str | None = None,
    ) -> tuple[timestamp, list[Event]]:
        """The moment of history reached, and what is due up to it and `lookahead`, in order.

        Each event is {"timestamp": when, "command": "register", "values": {register: value}}.

        Args:
            limit: at most so many events; the moment is then that of the last one.
            upcoming: a moment of history to go up to, instead of the one that is reached.
            on_bad_iframe: SUPPRESS, FAIL or RAISE where the very first record cannot be understood.
            on_bad_data: likewise for any other.

        Raises:
            IframeError, DataError: as asked for by RAISE; the state is then FAILED.
        """
        current = self.advance() if upcoming is None else timestamp(upcoming)
        due = current + (self.lookahead or 0.0) * self.factor if upcoming is None else current
        deadline = None if self.duration is None else self.historical + self.duration
        if deadline is not None:
            current, due = min(current, deadline), min(due, deadline)
        events: list[Event] = []
        while limit is None or len(events) < limit:
            event = self._next(due, on_bad_iframe, on_bad_data)
            if event is None:
                break
            self._apply(event)
            events.append(event)
        else:
            return (events[-1]["timestamp"] if events else current), events
        if self.state == State.EXHAUSTED and not self.future:
            self.state = State.COMPLETE
        if deadline is not None and current >= deadline and self.state < State.COMPLETE:
            self.state = State.COMPLETE
        return current, events

    def _next(self, current: timestamp, on_bad_iframe: int, on_bad_data: int) -> Event | None:
        """The next event that is due at `current`."""
        while (not self.future and self.state < State.EXHAUSTED) or self.state == State.AWAITING:
            if not self._read(on_bad_iframe, on_bad_data):
                break
        if self.future and self.future[0]["timestamp"] <= current:
            return self.future.popleft()
        return None

    def _read(self, on_bad_iframe: int, on_bad_data: int) -> bool:
        """Read one record, or open one file; False if nothing more can be had now."""
        if self._records is None:
            self._records = self.open(
                self.historical if self._last is None else self._last,
                after=self._last is not None,
                lookahead=self.lookahead,
                strict=self._strict,
            )
            self._began = None
        try:
            _, (when, text) = next(self._records)
        except StopIteration:
            self._records, self.state = None, State.SWITCHING
            return True
        except HistoryExhausted:
            self._records, self.state = None, State.EXHAUSTED
            self._flush_before()
            return False
        if when is not None and text is None:
            self.state = State.AWAITING
            self._flush_before()
            return False
        self._take(when, text, on_bad_iframe, on_bad_data)
        return self.state < State.COMPLETE

    def _take(
        self, when: timestamp | None, text: str | None, on_bad_iframe: int, on_bad_data: int
    ) -> None:
        first = self._last is None
        if when is not None:
            self._began = self._began or when
            self._strict = not when > self._began
        try:
            values = _values(when, text)
        except DataError as error:
            if when is not None:
                self.corrupt += 1
                self._last = when
            self._bad(error, first=first, action=on_bad_iframe if first else on_bad_data)
            return
        assert when is not None
        self._last = when
        self.state = State.STREAMING
        if values is None:
            return
        event = {"timestamp": when, "command": "register", "values": values}
        if when < self.historical:
            if self._before is not None:
                event["values"] = {**self._before["values"], **values}
            self._before = event
            return
        self._flush_before()
        self.future.append(event)

    def _flush_before(self) -> None:
        if self._before is not None:
            self.future.append(self._before)
            self._before = None

    def _bad(self, error: DataError, *, first: bool, action: int) -> None:
        if action == self.SUPPRESS:
            self.state = State.STREAMING
            return
        self.state = State.FAILED
        self.future.clear()
        if action == self.RAISE:
            raise IframeError(str(error)) if first else error

    def _apply(self, event: Event) -> None:
        when = self.realtime(event["timestamp"])
        self.until = event["timestamp"]
        for register, value in event["values"].items():
            self.values[_register(register)] = (when, value)


def _values(when: timestamp | None, text: str | None) -> dict[str, Any] | None:
    """The registers of a record; None for a note.

    Raises:
        DataError: no record, or data of another kind.
    """
    if when is None or text is None:
        raise DataError("no record")
    data = parse_json(text)
    if isinstance(data, str):
        return None
    if not isinstance(data, dict):
        raise DataError(f"neither registers nor a note: {text[:80]!r}")
    return data


def _register(name: Any) -> Any:
    """A register's number, or a tag's name."""
    text = str(name)
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else text
