"""Polling: parameters of a device again and again, at a steady pace, through failures.

poll     makes a proxy and runs            run      loops until `process.done`
loop     one cycle, and when the next is   execute  one round of values
values   the same as an async iterator

with a cycle of 1 s:   |polled |........|polled |.. late: whole cycles are skipped, none made up
after a failure:       wait backoff_min, x backoff_multiplier, up to backoff_max; success resets
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from cpppod.client.results import Result
from cpppod.proxy import Attribute, UnknownParameter, powerflex_750_series, proxy

CYCLE_S = 1.0
LATENCY_S = 0.5  # how often `process.done` is looked at
BACKOFF_MULTIPLIER = 1.5
BACKOFF_RANGE = 10  # backoff_max is so many times backoff_min
TIMEOUT_S = 5.0
PARAMETERS = ("Output Current", "Motor Velocity")

Process = Callable[[Any, Any], Any]
Failure = Callable[[Exception], Any]

log = logging.getLogger("enip.poll")


def poll(
    proxy_class: Callable[..., proxy] | None = None,
    address: tuple[str, int] | None = None,
    depth: int | None = None,
    multiple: int | bool | None = None,
    timeout: float | None = None,
    route_path: Any = None,
    send_path: str | None = None,
    via: proxy | None = None,
    params: Iterable[Attribute] | None = None,
    pass_thru: bool | None = None,
    **how: Any,
) -> None:
    """Poll `params` of a device until `process.done`; `how` is as for `run`.

    Args:
        proxy_class, address, depth, multiple, timeout, route_path, send_path: the proxy to make ...
        via: ... unless this one is to be used.
        params: names or tags; by default two of a PowerFlex drive.
        pass_thru: False refuses at once names that the proxy does not know.

    Raises:
        UnknownParameter: with `pass_thru=False`.
    """
    if via is None:
        host, port = address or ("localhost", 44818)
        via = (proxy_class or powerflex_750_series)(
            host=host,
            port=port,
            depth=depth,
            multiple=multiple or 0,
            timeout=TIMEOUT_S if timeout is None else timeout,
            route_path=route_path,
            send_path=send_path,
        )
    wanted = list(PARAMETERS if params is None else params)
    list(via.parameter_substitution(wanted, pass_thru=pass_thru))  # an unknown name stays unknown
    run(via, params=wanted, pass_thru=pass_thru, **how)


def run(
    via: proxy,
    process: Process | None = None,
    failure: Failure | None = None,
    backoff_min: float | None = None,
    backoff_multiplier: float | None = None,
    backoff_max: float | None = None,
    latency: float | None = None,
    **cycle: Any,
) -> None:
    """Poll with an existing proxy until `process.done` becomes true.

    Args:
        process: called with (parameter, value) for each value, or with (parameter, (value, result))
            where `details=True`; by default they are printed, with the reason where there is none.
        failure: called with each exception.
        backoff_min, backoff_multiplier, backoff_max: seconds to wait after failures.
        latency: seconds between two looks at `process.done`.
        cycle: as for `loop` and `execute`.
    """
    if process is None:
        process, cycle = shown, {**cycle, "details": True}
    backoff = Backoff(cycle.get("cycle"), backoff_min, backoff_multiplier, backoff_max)
    latency = LATENCY_S if latency is None else latency
    last_poll = 0.0
    while not getattr(process, "done", False):
        start = time.monotonic()
        try:
            last_poll, delay, values = loop(via, last_poll=last_poll, **cycle)
        except UnknownParameter:
            raise
        except Exception as error:  # whatever a device does ends up with the caller's `failure`
            log.warning("poll failed error=%s", error)
            if failure is not None:
                failure(error)
            delay, values = backoff.failed(), []
            due = start + delay
        else:
            backoff.succeeded()
            due = time.monotonic() + delay
        for name, value in values:
            process(name, value)
        while (left := due - time.monotonic()) > 0 and not getattr(process, "done", False):
            time.sleep(min(left, latency))


def loop(
    via: proxy, cycle: float | None = None, last_poll: float | None = None, **execution: Any
) -> tuple[float, float, list[tuple[Any, Any]]]:
    """Poll once, if it is time: (start of this cycle, seconds to the next, values).

    Args:
        cycle: seconds between two polls.
        last_poll: start of the last cycle (monotonic clock), None or 0 for none.
        execution: as for `execute`.
    """
    cycle = CYCLE_S if cycle is None else cycle
    now = time.monotonic()
    begun = last_poll or now
    if last_poll and now < last_poll + cycle:
        return last_poll, last_poll + cycle - now, []
    if last_poll:
        cycles = int((now - last_poll) / cycle) if cycle else 0
        if cycles > 1:
            log.warning("Missed %3d polls", cycles - 1)
        begun = last_poll + cycles * cycle if cycle else now
    values = list(execute(via, **execution))
    done = time.monotonic()
    log.log(
        25,
        "Polling finished %8.3fs into %7.3fs poll cycle, polled %5d taking %7.3fs (%5.1f TPS)",
        done - begun,
        cycle,
        len(values),
        done - now,
        len(values) / max(done - now, 1e-9),
    )
    return begun, max(0.0, begun + cycle - done), values


def execute(
    via: proxy,
    params: Iterable[Attribute] | None = None,
    pass_thru: bool | None = None,
    details: bool = False,
) -> Iterator[tuple[Any, Any]]:
    """(parameter, value) of each, read once; with `details` (parameter, (value, result)).

    Raises:
        OriginatorError: the device is not there; the proxy has closed its connection.
        UnknownParameter: with `pass_thru=False`.
    """
    names = list(PARAMETERS if params is None else params)
    wanted = list(via.parameter_substitution(names, pass_thru=pass_thru))
    opened = via.gateway is None
    with via:
        if opened:
            log.log(25, "Polling begins via: %s", via)
        for name, (_, result, value) in zip(names, via.details(wanted), strict=True):
            yield name, ((value, result) if details else value)


async def values(
    via: proxy,
    params: Iterable[Attribute] | None = None,
    *,
    cycle: float = CYCLE_S,
    pass_thru: bool | None = None,
    failure: Failure | None = None,
    backoff_min: float | None = None,
    backoff_multiplier: float | None = None,
    backoff_max: float | None = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """(parameter, value) without end, at the pace of `cycle`; each poll runs in a thread.

    Raises:
        UnknownParameter: with `pass_thru=False`.
        OriginatorError: a poll failed and there is no `failure` to tell it to.
    """
    wanted = list(PARAMETERS if params is None else params)
    backoff = Backoff(cycle, backoff_min, backoff_multiplier, backoff_max)
    last_poll = 0.0
    while True:
        try:
            last_poll, delay, read = await asyncio.to_thread(
                loop, via, cycle=cycle, last_poll=last_poll, params=wanted, pass_thru=pass_thru
            )
            backoff.succeeded()
        except UnknownParameter:
            raise
        except Exception as error:
            if failure is None:
                raise
            failure(error)
            delay, read = backoff.failed(), []
        for item in read:
            yield item
        await asyncio.sleep(delay)


class Backoff:
    """How long to wait after the next failure."""

    def __init__(
        self,
        cycle: float | None,
        minimum: float | None,
        multiplier: float | None,
        maximum: float | None,
    ) -> None:
        self._minimum = minimum if minimum is not None else cycle or CYCLE_S
        self._multiplier = BACKOFF_MULTIPLIER if multiplier is None else multiplier
        self._maximum = self._minimum * BACKOFF_RANGE if maximum is None else maximum
        self._next = 0.0

    def failed(self) -> float:
        """Seconds to wait now."""
        self._next = min(
            self._next * self._multiplier if self._next else self._minimum, self._maximum
        )
        return self._next

    def succeeded(self) -> None:
        """Begin anew."""
        self._next = 0.0


def shown(name: Any, read: tuple[Any, Result]) -> None:
    """Print a value, or None and why: what `run` does without a `process`."""
    value, result = read
    why = "" if result.ok else f"  {result.text}"
    print(f"{name!s:>15}: {value!r}{why}", flush=True)
