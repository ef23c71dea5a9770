"""What an expression remembers: rates, integrals, means, differences and values held over a gap.

A window is fed (value, second) whenever its expression is evaluated, in the order of time; it keeps
at most `MOST_SAMPLES`, and `dump` says what it must know to go on after a restart. Where its input
was bad in between, `gap` is called: nothing is made up for that time.

    rate(x)        (x - x before) / seconds between      rate(x, s)   over the last s seconds
    delta(x)       x - x before                          delta(x, s)  over the last s seconds
    mean(x, s)     of the values of the last s seconds
    integral(x)    x times seconds, by trapezoids, since its beginning; integral(x, reset) begins
                   anew while `reset` is true; a gap adds nothing
    hold(x, s)     x, and while x is bad its last good value, for at most s seconds
"""

from collections import deque
from math import isfinite
from typing import Any, Protocol

MOST_SAMPLES = 3600  # of one window: an hour of one a second; older ones go
LONGEST_S = 30 * 86_400.0


class NotYet(Exception):
    """There is no result before the next value."""


class Window(Protocol):
    """One call of a function that remembers."""

    def dump(self) -> list[Any]:
        """What it knows, in JSON's own types."""

    def load(self, kept: list[Any]) -> None:
        """Go on with what `dump` said.

        Raises:
            ValueError, TypeError, LookupError, OverflowError: that was never said by it.
        """

    def gap(self) -> None:
        """Its input was bad."""


class _Samples:
    """Values of the last `seconds`, or the last two where that is None."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._samples: deque[tuple[float, float]] = deque(maxlen=MOST_SAMPLES)

    def dump(self) -> list[Any]:
        """Its values with their times."""
        return [list(each) for each in self._samples]

    def load(self, kept: list[Any]) -> None:
        """Take them back."""
        loaded = [(_finite(at), _finite(value)) for at, value in kept]
        self._samples = deque(loaded, maxlen=MOST_SAMPLES)

    def gap(self) -> None:
        """The values before a gap count as those after it do."""

    def _take(self, value: float, now: float) -> None:
        samples = self._samples
        if samples and now <= samples[-1][0]:
            if now < samples[-1][0]:  # the clock was set back: what is ahead of it is no past
                samples.clear()
            else:
                samples.pop()
        samples.append((now, value))
        if self._seconds is None:
            while len(samples) > 2:
                samples.popleft()
            return
        while len(samples) > 2 and samples[1][0] <= now - self._seconds:
            samples.popleft()


class Rate(_Samples):
    """Change per second."""

    def __call__(self, value: float, now: float) -> float:
        """The rate with this value.

        Raises:
            NotYet: it is the first.
        """
        self._take(value, now)
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        if last_s == first_s:
            raise NotYet
        return (last - first) / (last_s - first_s)


class Delta(_Samples):
    """Change."""

    def __call__(self, value: float, now: float) -> float:
        """The difference with this value.

        Raises:
            NotYet: it is the first.
        """
        self._take(value, now)
        if len(self._samples) < 2:
            raise NotYet
        return self._samples[-1][1] - self._samples[0][1]


class Mean(_Samples):
    """Mean of the values within the window."""

    def __call__(self, value: float, now: float) -> float:
        """The mean with this value."""
        self._take(value, now)
        samples, seconds = self._samples, self._seconds
        assert seconds is not None
        while len(samples) > 1 and samples[0][0] <= now - seconds:
            samples.popleft()
        return sum(each for _, each in samples) / len(samples)


class Integral:
    """Value times seconds, by trapezoids."""

    def __init__(self) -> None:
        self._total = 0.0
        self._last: tuple[float, float] | None = None

    def __call__(self, value: float, now: float, reset: Any = False) -> float:
        """The integral up to this value; one that is not finite adds nothing, as a gap."""
        if not isfinite(value):
            self._last = None
            return value
        if reset:
            self._total = 0.0
        elif self._last is not None and now > self._last[0]:
            self._total += (self._last[1] + value) / 2 * (now - self._last[0])
        self._last = (now, value)
        return self._total

    def dump(self) -> list[Any]:
        """The total, and the last value."""
        return [self._total, *(self._last or ())]

    def load(self, kept: list[Any]) -> None:
        """Go on with the total; the time that nobody looked is a gap."""
        self._total = _finite(kept[0])

    def gap(self) -> None:
        """Nothing is made up for the time without a value."""
        self._last = None


class Hold:
    """The last good value, for a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: tuple[float, Any] | None = None

    def __call__(self, good: bool, value: Any, now: float) -> Any:
        """The value, or the one held.

        Raises:
            NotYet: there is none, or it is too old.
        """
        if good:
            self._last = (now, value)
            return value
        if self._last is None or not 0 <= now - self._last[0] <= self._seconds:
            raise NotYet
        return self._last[1]

    def dump(self) -> list[Any]:
        """The last value with its time."""
        return list(self._last or ())

    def load(self, kept: list[Any]) -> None:
        """Take it back."""
        if not kept:
            return
        value = kept[1]
        if not isinstance(value, str):
            _finite(value)
        self._last = (_finite(kept[0]), value)

    def gap(self) -> None:
        """What it is for."""


def _finite(number: Any) -> float:
    """A number that was kept. Raises ValueError, TypeError or OverflowError where it is none."""
    if not isinstance(number, int | float) or not isfinite(number):
        raise ValueError(f"{number!r:.60}: no finite number")
    return float(number)
