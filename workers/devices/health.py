"""Whether a device is worth polling: demotion after time-outs, probes, reconnecting.

             answered (also with a refusal)
          ┌──────────────────────────────────────┐
          ▼          time-out                     │
       ONLINE ──────────────► DEGRADED ──────────►│ demote_after time-outs in a row
          ▲                                       ▼
          └──────────── probe answered ─────── DEMOTED ◄─┐
                                                  │ probe│ silent: back-off doubles, with jitter
                                                  └──────┘
    DISABLED: paused by an operator, or configured so

The state belongs to one device on one wire, that is to (line, unit) or to one address: the same
unit elsewhere is another device. While demoted nothing but probes goes out, and the probes of all
demoted devices of a wire together use at most `PROBE_SHARE` of its time.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

PROBE_SHARE = 0.05  # of a wire's time, for all its demoted devices together
PROBE_FIRST_S = 1.0
PROBE_CAP_S = 30.0  # a device on a shared wire; one that has a wire of its own costs nobody
PROBE_CAP_ALONE_S = 5.0  # ... and shall be back within 5 s of its return
RECONNECT_FIRST_S = 0.25
RECONNECT_CAP_S = 5.0
STEADY_S = 60.0  # a connection that held so long starts again from the shortest back-off
GARBLED_PER_SILENT = 4  # noise is not absence, but a unit never understood must not hold the line
JITTER = 0.25  # of the delay, up or down, so that devices of one power cut do not return as one

STATES = ("online", "degraded", "demoted", "disabled")


class Backoff:
    """Delays that double from `first_s` up to `cap_s`, each with jitter."""

    def __init__(
        self, first_s: float, cap_s: float, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._chance = chance
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures since the last `reset`."""
        return self._failures

    def failed(self) -> float:
        """Count a failure; returns how long to wait before the next try."""
        delay = min(self._cap_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return min(self._cap_s, delay * (1.0 + JITTER * (2.0 * self._chance() - 1.0)))

    def reset(self) -> None:
        """The next failure waits `first_s` again."""
        self._failures = 0


class ProbeBudget:
    """Keeps the probes of one wire within `PROBE_SHARE` of its time."""

    def __init__(self) -> None:
        self.ready_s = 0.0
        self.spent_s = 0.0

    def spent(self, started_s: float, duration_s: float) -> None:
        """A probe that began at `started_s` held the wire for `duration_s`."""
        self.spent_s += duration_s
        self.ready_s = started_s + duration_s / PROBE_SHARE


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state, for the log and for publishing."""

    was: str
    state: str


class Health:
    """Whether one device answers, and when to ask it again where it does not.

    Attributes:
        absent: a gateway before it said last that it is not there.
    """

    def __init__(
        self,
        demote_after: int,
        *,
        alone: bool,
        enabled: bool = True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._demote_after = max(1, demote_after)
        cap_s = PROBE_CAP_ALONE_S if alone else PROBE_CAP_S
        self._backoff = Backoff(PROBE_FIRST_S, cap_s, chance=chance)
        self.state = "online" if enabled else "disabled"
        self.failures = 0
        self.absent = False
        self._weight = 0.0
        self.probe_s: float | None = None
        self.demotions = 0

    @property
    def polled(self) -> bool:
        """Whether its groups are polled by their schedule."""
        return self.state in ("online", "degraded")

    def answered(self) -> Change | None:
        """The device answered something, be it a refusal."""
        self.failures, self._weight, self.absent = 0, 0.0, False
        self.probe_s = None
        self._backoff.reset()
        return self._become("online") if self.state != "disabled" else None

    def timed_out(
        self, now: float, *, garbled: bool = False, absent: bool = False
    ) -> Change | None:
        """A request to it went unanswered, or the answer could not be understood.

        The latter says that the device is there: it takes `GARBLED_PER_SILENT` of them to weigh as
        much as one silence.

        Args:
            absent: a gateway answered in its place that it is not there.
        """
        self.absent = absent
        self.failures += 1
        self._weight += 1.0 / GARBLED_PER_SILENT if garbled else 1.0
        if self.state == "disabled":
            return None
        if self.state == "demoted":
            self.probe_s = now + self._backoff.failed()
            return None
        if self._weight < self._demote_after:
            return self._become("degraded")
        self.demotions += 1
        self.probe_s = now + self._backoff.failed()
        return self._become("demoted")

    def probe_due(self, now: float) -> bool:
        """Whether it is demoted and its back-off is over."""
        return self.state == "demoted" and self.probe_s is not None and now >= self.probe_s

    def probing(self) -> None:
        """A probe of it is on its way: none other until it has ended."""
        self.probe_s = None

    def hurry(self, now: float) -> None:
        """Probe it now, where it is demoted and no probe is on its way."""
        if self.probe_s is not None:
            self.probe_s = min(self.probe_s, now)

    def pause(self) -> Change | None:
        """Not polled until `resume`."""
        self.probe_s = None
        return self._become("disabled")

    def resume(self) -> Change | None:
        """Polled again, and trusted again."""
        if self.state != "disabled":
            return None
        self.failures, self._weight, self.absent = 0, 0.0, False
        self._backoff.reset()
        return self._become("online")

    def _become(self, state: str) -> Change | None:
        if state == self.state:
            return None
        change = Change(self.state, state)
        self.state = state
        return change
