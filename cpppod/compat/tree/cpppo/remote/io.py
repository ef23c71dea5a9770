"""Points of a polled device by name, with what happened to them, and motors made of them.

address ─► input ─► output             .value reads the poller, writing it writes the device
capture                                keeps (time, level, group, description, message)
device ─► motor ─► motor_simulator     attributes made of points
"""

import json
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

from ..misc import reprlib, timer

__all__ = [
    *("address", "capture", "device", "input", "input_event", "motor", "motor_simulator"),
    *("output", "output_event"),
]

log = logging.getLogger("cpppo.remote")

Event = dict[str, Any]
Judge = Callable[[int, Any, Any], int | None]


class address:
    """One address of a poller."""

    def __init__(self, plc: Any, address: int, description: str | None = None) -> None:
        self._plc, self._address = plc, address
        self._descr = f"{plc.description}/{address:6d}" if description is None else description


class input(address):
    """A value that is polled."""

    def __init__(
        self, plc: Any, address: int, description: str | None = None, rate: float = 0.25
    ) -> None:
        super().__init__(plc, address, description)
        plc.poll(address, rate=rate)
        self._last: Any = None

    def changed(self, last: Any, chng: Any) -> None:
        """Called when the value was found to be another than before."""
        log.info("%s ==> %-10s (was: %s)", self._descr, reprlib.repr(chng), reprlib.repr(last))

    def _value_get(self) -> Any:
        value = self._plc.read(self._address)
        if value is not None and value != self._last:
            self.changed(self._last, value)
            self._last = value
        return value

    value = property(_value_get)


class output(input):
    """A value that is polled, and can be written."""

    def rejected(self, last: Any, chng: Any) -> None:
        """Called when a write failed."""
        log.warning("%s <x= %-10s (now: %s)", self._descr, reprlib.repr(chng), reprlib.repr(last))

    def modified(self, last: Any, chng: Any) -> None:
        """Called when a write has been done."""
        log.info("%s <== %-10s (now: %s)", self._descr, reprlib.repr(chng), reprlib.repr(last))

    def _value_set(self, value: Any) -> None:
        try:
            self._plc.write(self._address, value)
        except BaseException:
            self.rejected(self._last, value)
            raise
        self.modified(self._last, value)

    value = property(input._value_get, _value_set)


class capture:
    """Keeps events, the newest first.

    Args:
        retain: seconds after which older events of the same description are dropped.
        level: of an event: a number, or a function of (what, last, new); None or below 0: none.
        formatter: its message, a function of the same.
    """

    CHANGED, REJECTED, MODIFIED = 1, 2, 3
    _descr: str

    def __init__(
        self,
        retain: float | None = None,
        group: str | None = None,
        level: int | Judge | None = None,
        formatter: Callable[[int, Any, Any], str] | None = None,
    ) -> None:
        self._events: list[Event] = []
        self._retain, self._group = retain, group or ""
        self._level, self._formatter = level, formatter

    def remember(self, what: int, last: Any, chng: Any) -> None:
        """Keep an event, if it has a level."""
        level = self._level(what, last, chng) if callable(self._level) else self._level
        if level is None or level < 0:
            return
        message = f"{reprlib.repr(chng)} (was {reprlib.repr(last)})"
        if self._formatter is not None:
            message = self._formatter(what, last, chng)
        event = {"time": timer(), "level": level, "group": self._group}
        self._events.insert(0, event | {"description": self._descr, "message": message})

    def events(self, since: float | None = None, purge: bool = False) -> Iterator[Event]:
        """The events after `since`, none without it; what is too old is dropped by that."""
        limit = timer() - (self._retain or 0)
        seen: set[str] = set()
        kept = []
        for event in self._events:
            old = self._retain and event["description"] in seen and event["time"] < limit
            seen.add(event["description"])
            if old:
                continue
            kept.append(event)
            if since is not None and event["time"] > since:
                yield event
        if self._retain:
            self._events = kept


class input_event(input, capture):
    """A polled value that keeps its changes."""

    def __init__(
        self,
        plc: Any,
        address: int,
        retain: float | None = None,
        group: str | None = None,
        level: Any = None,
        formatter: Any = None,
        **keywords: Any,
    ) -> None:
        capture.__init__(self, retain, group, level, formatter)
        super().__init__(plc, address, **keywords)

    def changed(self, last: Any, chng: Any) -> None:
        self.remember(capture.CHANGED, last, chng)
        super().changed(last, chng)


class output_event(input_event, output):
    """A written value that keeps its changes, what was written and what failed."""

    def rejected(self, last: Any, chng: Any) -> None:
        self.remember(capture.REJECTED, last, chng)
        super().rejected(last, chng)

    def modified(self, last: Any, chng: Any) -> None:
        self.remember(capture.MODIFIED, last, chng)
        super().modified(last, chng)


class device:
    """Something with a group, an identity and a description."""

    def __init__(self, group: str, identity: str, description: str) -> None:
        self._group, self._ident, self._descr = group, identity, description

    @property
    def group(self) -> str:
        """What it belongs to."""
        return self._group

    @property
    def identity(self) -> str:
        """What tells it apart."""
        return self._ident

    @property
    def description(self) -> str:
        """What people call it."""
        return self._descr

    def __str__(self) -> str:
        names = [name for name in dir(self) if not name.startswith("_") and name != "events"]
        return json.dumps({name: getattr(self, name) for name in names}, sort_keys=True, indent=4)

    __repr__ = __str__


def _level(what: int, last: Any, chng: Any) -> int | None:
    """Failures are errors; what was set is INFO, what was written a level above; offline none."""
    if what == capture.REJECTED:
        return logging.ERROR
    if what == capture.MODIFIED:
        return logging.WARNING if chng else logging.INFO
    return None if chng is None else logging.INFO if chng else logging.NOTSET


def _alarm(what: int, last: Any, chng: Any) -> int | None:
    level = _level(what, last, chng)
    return None if level is None else logging.WARNING + level


def _negative(what: int, last: Any, chng: Any) -> int | None:
    """As `_alarm` where False is the trouble."""
    return _alarm(what, *(None if value is None else not value for value in (last, chng)))


def _words(on: str, off: str, sent: tuple[str, str] = ("", "")) -> Callable[[int, Any, Any], str]:
    def message(what: int, last: Any, chng: Any) -> str:
        if what == capture.MODIFIED and bool(chng) != bool(last):
            return sent[not chng] or (on if chng else off)
        return on if chng else off

    return message


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)


class motor(device):
    """A motor: five inputs and outputs of a poller.

    Args:
        auto, running, fault, estop: addresses of inputs; `fault` is False at a fault.
        start, reset: addresses of outputs.
        rate: seconds between polls.
        retain: seconds that events are kept.
    """

    def __init__(
        self,
        group: str,
        identity: str,
        description: str,
        plc: Any,
        auto: int,
        running: int,
        start: int,
        fault: int,
        estop: int,
        reset: int,
        rate: float = 0.25,
        events: Any = None,
        retain: float = 300,
    ) -> None:
        super().__init__(group, identity, description)

        def point(kind: Any, where: int, name: str, level: Judge, formatter: Any) -> Any:
            return kind(
                plc,
                where,
                rate=rate,
                description=f"{identity:>6}.{name:<6}",
                retain=retain,
                group=group,
                level=level,
                formatter=formatter,
            )

        start_words = _words("Started", "Stopped", ("Start Sent", "Stop Sent"))
        reset_words = _words("Reset", "Reset Armed", ("Reset Sent", "Reset Disarm"))
        fault_words = _words("Fault Cleared", "Fault")
        estop_words = _words("E-Stop", "E-Stop Cleared")
        self._auto = point(input_event, auto, "auto", _level, _words("Auto", "Hand"))
        self._running = point(input_event, running, "run", _level, _words("On", "Off"))
        self._fault = point(input_event, fault, "fault", _negative, fault_words)
        self._estop = point(input_event, estop, "estop", _alarm, estop_words)
        self._start = point(output_event, start, "start", _level, start_words)
        self._reset = point(output_event, reset, "reset", _level, reset_words)

    def events(self, since: float | None = None, purge: bool = False) -> Iterator[Event]:
        """The events of all points after `since`."""
        for point in (self._auto, self._start, self._running, self._fault, self._estop):
            yield from point.events(since, purge)
        yield from self._reset.events(since, purge)

    @property
    def online(self) -> bool:
        """Whether the poller is."""
        return bool(self._auto._plc.online)

    @property
    def auto(self) -> bool | None:
        """Automatic, not by hand."""
        return _truth(self._auto.value)

    @property
    def running(self) -> bool | None:
        """Whether it turns."""
        return _truth(self._running.value)

    @property
    def fault(self) -> bool | None:
        """Whether there is a fault."""
        value = self._fault.value
        return None if value is None else not value

    @property
    def estop(self) -> bool | None:
        """The emergency stop."""
        return _truth(self._estop.value)

    @property
    def reset(self) -> bool | None:
        """The reset of a fault; set it to send one."""
        return _truth(self._reset.value)

    @reset.setter
    def reset(self, value: Any) -> None:
        self._reset.value = _flag(value)

    @property
    def start(self) -> bool | None:
        """The order to turn; set it to start or stop."""
        return _truth(self._start.value)

    @start.setter
    def start(self, value: Any) -> None:
        self._start.value = _flag(value)

    @property
    def status(self) -> str:
        """offline, fault, stopping, starting, started or stopped."""
        if not self.online:
            return "offline"
        if self.fault:
            return "fault"
        if self.auto and bool(self.start) != bool(self.running):
            return "starting" if self.start else "stopping"
        return "started" if self.running else "stopped"


def _flag(value: Any) -> bool:
    return bool(json.loads(value.lower()) if isinstance(value, str) else value)


class motor_simulator(motor):
    """A motor on a simulated poller that lives by itself: each look at `status` may change it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._set(self._auto, True)
        self._set(self._fault, True)

    def _set(self, point: Any, value: bool) -> None:
        if self.online:
            point._plc.write(point._address, value)

    @property
    def status(self) -> str:
        """As a motor's; a start is followed, faults come and are reset, now and then."""
        if not self.auto:
            self._set(self._auto, random.random() < 0.001)
        elif self.fault:
            if self.reset or random.random() < 0.005:
                self._set(self._fault, True)
                self._set(self._reset, False)
            elif self.start:
                self._set(self._start, False)
        elif self.estop:
            self._set(self._start, False)
        elif bool(self.start) != bool(self.running):
            chance = random.random()
            if chance < 0.1:
                self._set(self._running, bool(self.start))
            elif chance < 0.11:
                self._set(self._fault, False)
        elif random.random() < 0.001:
            self._set(self._start, not self.start)
        return super().status
