"""Waiting for files, texts in files and predicates, with a time limit."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..misc import inf, timer

log = logging.getLogger("cpppo.tools")


class existence:
    """True or False for each term in turn: a number is the time limit from there on (s).

    Args:
        terms: seconds, `FILE`, `FILE%REGEX`, or functions to become true.
        delay_min, delay_max: seconds between two looks.
        regex_sep: what parts a file from its regular expression.
        presence: False waits for the contrary.
        idle_service: called before each wait.
    """

    def __init__(
        self,
        terms: Iterable[Any] | None = None,
        delay_min: float = 0.1,
        delay_max: float = 30.0,
        regex_sep: str = "%",
        presence: bool = True,
        timeout: float | None = None,
        idle_service: Callable[[], Any] | None = None,
    ) -> None:
        self.terms = list(terms or ())
        self.delay_min, self.delay_max = delay_min, delay_max
        self.regex_sep, self.presence = regex_sep, presence
        self.timeout, self.idle_service = timeout, idle_service
        self.started = timer()
        self.awaited = False
        self.last: Any = None

    def __str__(self) -> str:
        return "" if self.last is None else str(self.last)

    def __call__(self, *terms: Any) -> "existence":
        """Add terms."""
        self.terms += terms
        return self

    def __iter__(self) -> Iterator[bool]:
        return self

    def __next__(self) -> bool:
        if not self.terms:
            self.last = None
            if self.timeout and not self.awaited:
                time.sleep(max(0.0, self.started + self.timeout - timer()))
            raise StopIteration
        self.last = self.terms.pop(0)
        limit = None if callable(self.last) else _number(self.last)
        self.awaited = limit is None
        if limit is not None:
            assert limit >= 0, "waits timeout must be a positive value"
            self.timeout = None if limit == inf else limit
            self.started = timer()
            self.last = f"(timeout {self.timeout})"
            return True
        if callable(self.last):
            return self.truth(self.last)
        return self.exists(*str(self.last).split(self.regex_sep, 1))

    next = __next__

    def delay(self, target: float = 0, now: float | None = None) -> float:
        """Seconds to wait: `target`, within the limits, at most half of the time that is left."""
        wanted = min(self.delay_max, max(self.delay_min, target))
        if self.timeout is None:
            return wanted
        left = self.started + self.timeout - (timer() if now is None else now)
        return min(wanted, max(left / 2, min(self.delay_min, left), 0))

    def truth(self, predicate: Callable[[], Any]) -> bool:
        """Whether `predicate` becomes true in time."""
        return self._wait(lambda: bool(predicate()))

    def exists(self, filename: str, regex: str | None = None) -> bool:
        """Whether a file, and in it a line that matches, appears in time."""
        return self._wait(lambda: _found(filename, regex))

    def _wait(self, look: Callable[[], bool | None]) -> bool:
        delay = 0.0
        while look() is not self.presence:
            now = timer()
            if self.timeout is not None and now >= self.started + self.timeout:
                log.info("waits: timeout of %.3fs exceeded: %s", self.timeout, self)
                return False
            if self.idle_service is not None:
                self.idle_service()
            delay = self.delay(target=delay * 2, now=now)
            time.sleep(delay)
        return True


def _number(term: Any) -> float | None:
    try:
        return float(term)
    except (ValueError, TypeError):
        return None


def _found(filename: str, regex: str | None) -> bool | None:
    """None where nobody can tell: a file that may not be read."""
    try:
        with open(filename, encoding="utf-8", errors="replace") as lines:
            return not regex or any(re.search(regex, line) for line in lines)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        return None if regex else True
    except OSError:
        return None


def duration(events: Iterable[Any], what: str = "predicate") -> Iterator[tuple[Any, float]]:
    """(event, seconds since the start) of each event."""
    begun = timer()
    for truth in events:
        elapsed = timer() - begun
        log.info("After %7.3f %s %s", elapsed, "detected" if truth else "missed", what)
        yield truth, elapsed


def waitfor(
    predicate: Callable[[], Any],
    what: str = "predicate",
    timeout: float | None = None,
    intervals: int | None = None,
) -> tuple[bool, float]:
    """(whether it became true, seconds); `intervals` looks within `timeout`."""
    waiting = existence([predicate], timeout=timeout)
    if timeout and intervals:
        waiting.delay_min = waiting.delay_max = timeout / intervals
    return next(duration(waiting, what=what))
