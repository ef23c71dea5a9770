"""`cpppoctl play`: a recorded plant again, as it happened, at any speed.

    cpppoctl play plant.hst                                          values on the terminal
    cpppoctl play /var/lib/cpppod/history --tags 'boiler.*' --from '2026-11-22 12:00:00' --factor 10
    cpppoctl play plant.hst --feed 127.0.0.1:44890 --loop            as a feed, marked as replay
    cpppoctl play plant.hst --modbus 127.0.0.1:1502 --registers boiler.level=40001:REAL
    cpppoctl play plant.hst --enip 127.0.0.1:44819                   a simulated controller

What was known when the time began comes first. Each moment is given out when it is due, on the
clock that only goes forward; one that is late is given out at once, and none is left out.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from cpppod.history.durations import parse_seconds
from cpppod.history.recording import (
    END_US,
    PlaybackError,
    RecordedChange,
    RecordingError,
    moments,
)
from cpppod.history.timestamp import timestamp
from cpppod.protocols.model.addresses import AddressError, socket_address
from cpppod.protocols.model.values import explain
from cpppod.workers.historian.stores.opening import store_examples

ENOUGH = 1_000  # moments given out before others get a turn
AHEAD_S = 0.0005  # due sooner than this is due now: a timer would not be more exact
LOOP_PAUSE_S = 1.0  # of the recording's time between its end and its beginning, in a loop


class Sink(Protocol):
    """Where a recording is played to."""

    async def open(self, tags: dict[str, Any]) -> str:
        """Get ready for these tags (with a value of each); what to tell people about it."""

    async def play(self, moment: RecordedChange) -> None:
        """Give out one moment, now."""

    async def close(self) -> None:
        """End."""


class Printer:
    """Values on standard output, a line each."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    async def open(self, tags: dict[str, Any]) -> str:
        return ""

    async def play(self, moment: RecordedChange) -> None:
        when = timestamp(moment.time_us / 1e6)
        if self._as_json:
            line = {"time_us": moment.time_us, "samples": moment.samples}
            print(json.dumps(line, default=repr), flush=True)
            return
        for tag, (value, quality) in moment.samples.items():
            print(f"{when}  {tag} = {value}" + (f"  ({explain(quality)})" if quality else ""))
        sys.stdout.flush()

    async def close(self) -> None:
        return


class Player:
    """Gives out a recording's moments when they are due.

    Attributes:
        played, samples: given out so far; `late_s`: how late the latest one was at most.
    """

    def __init__(
        self,
        recording: Callable[[], Iterable[RecordedChange]],
        sinks: Sequence[Sink],
        *,
        factor: float = 1.0,
        loop: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if factor <= 0:
            raise PlaybackError(f"factor {factor:g}: expected a number above 0")
        self._recording = recording
        self._sinks = sinks
        self._factor = factor
        self._loop = loop
        self._monotonic = monotonic
        self.played = 0
        self.samples = 0
        self.late_s = 0.0

    async def run(self) -> None:
        """Play to the end, or in an endless loop."""
        began = self._monotonic()
        while True:
            last_us = first_us = None
            for moment in self._recording():
                first_us = moment.time_us if first_us is None else first_us
                last_us = max(moment.time_us, last_us or 0)
                await self._at(began + (moment.time_us - first_us) / 1e6 / self._factor)
                for sink in self._sinks:
                    await sink.play(moment)
                self.played += 1
                self.samples += len(moment.samples)
            if not self._loop or first_us is None or last_us is None:
                return
            began += ((last_us - first_us) / 1e6 + LOOP_PAUSE_S) / self._factor
            await self._at(began)

    async def _at(self, due: float) -> None:
        wait = due - self._monotonic()
        if wait > AHEAD_S:
            await asyncio.sleep(wait)
            return
        self.late_s = max(self.late_s, -wait)
        if self.played % ENOUGH == 0:
            await asyncio.sleep(0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `play` to its parser."""
    add = parser.add_argument
    add("--gateway", default=None, metavar="ID", help="whose, where several fill the store")
    add("source", metavar="SOURCE", help=f"a history file, {store_examples()}")
    add("--tags", action="append", default=[], metavar="PATTERN", help="boiler.*; all tags")
    add("--factor", type=float, default=1.0, metavar="N", help="times as fast as it was; 1")
    add("--from", dest="begin", type=moment_us, default=0, metavar="TIME", help="its beginning")
    add("--to", dest="end", type=moment_us, default=END_US, metavar="TIME", help="its end")
    add("--for", dest="span", type=span_us, default=0, metavar="TIME", help="so much of it (1h)")
    add("--loop", action="store_true", help="begin again at the end")
    add(
        "--feed",
        metavar="HOST:PORT",
        help="publish as a feed, marked as replay, there (and port + 1)",
    )
    add("--enip", metavar="HOST:PORT", help="be a controller with these tags (EtherNet/IP)")
    add("--modbus", metavar="HOST:PORT", help="be a Modbus TCP device; needs --registers")
    add(
        "--registers",
        action="append",
        default=[],
        metavar="TAG=ADDRESS[:TYPE]",
        help="boiler.level=40001:REAL, pump.on=CO:3; several, or a file of them",
    )
    add("--print", dest="shown", action="store_true", help="values on the terminal, too")


def moment_us(text: str) -> int:
    """Microseconds since 1970 of what `timestamp` takes, or of `7d` ago; local time has its zone.

    Raises:
        ArgumentTypeError: neither.
    """
    try:
        return round(timestamp(text).value * 1e6)
    except ValueError as error:
        why = str(error)
    try:
        return time.time_ns() // 1000 - round(parse_seconds(text) * 1e6)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{why}; or 10m, 7d ... ago") from None


def span_us(text: str) -> int:
    """Microseconds of `1h30m`.

    Raises:
        ArgumentTypeError: not a duration.
    """
    try:
        return round(parse_seconds(text) * 1e6)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """`cpppoctl play`; the exit status."""
    try:
        asyncio.run(_play(arguments))
    except (PlaybackError, RecordingError, OSError) as error:
        print(f"cpppoctl: play: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _play(given: argparse.Namespace) -> None:
    corrupt: list[str] = []

    def recording() -> Iterator[RecordedChange]:
        end = min(given.end, given.begin + given.span) if given.span and given.begin else given.end
        found = moments(
            given.source, given.tags, given.begin, end, corrupt=corrupt, gateway=given.gateway
        )
        return _limited(found, 0 if given.begin else given.span)

    sinks = _sinks(given)
    player = Player(recording, sinks, factor=given.factor, loop=given.loop)
    tags = _first_values(recording()) if sinks and not _only_prints(sinks) else {}
    corrupt.clear()
    async with contextlib.AsyncExitStack() as stack:
        for sink in sinks:
            told = await sink.open(tags)
            stack.push_async_callback(sink.close)
            if told:
                print(told, flush=True)
        await player.run()
    if not player.played:
        raise PlaybackError("nothing recorded of these tags in that time; try cpppoctl history")
    if corrupt:
        print(f"cpppoctl: play: {len(corrupt)} corrupt lines passed over", file=sys.stderr)


def _only_prints(sinks: Sequence[Sink]) -> bool:
    return all(isinstance(sink, Printer) for sink in sinks)


def _sinks(given: argparse.Namespace) -> list[Sink]:
    """What the options ask for; the terminal, if nothing."""
    sinks: list[Sink] = []
    if given.feed:
        from cpppod.history.playback_feed import FeedSink

        sinks.append(FeedSink(*_address(given.feed)))
    if given.modbus:
        from cpppod.history.playback_devices import ModbusSink, parse_registers

        sinks.append(ModbusSink(*_address(given.modbus), parse_registers(given.registers)))
    elif given.registers:
        raise PlaybackError("--registers: of which device? add --modbus HOST:PORT")
    if given.enip:
        from cpppod.history.playback_devices import EnipSink

        sinks.append(EnipSink(*_address(given.enip)))
    if given.shown or not sinks:
        sinks.append(Printer(as_json=getattr(given, "json", False)))
    return sinks


def _address(text: str) -> tuple[str, int]:
    try:
        return socket_address(text, host="127.0.0.1", any_port=True)
    except AddressError:
        raise PlaybackError(f"{text}: expected HOST:PORT, for example 127.0.0.1:1502") from None


def _limited(found: Iterable[RecordedChange], span: int) -> Iterator[RecordedChange]:
    """The first `span` microseconds; 0: all."""
    first_us = None
    for moment in found:
        first_us = moment.time_us if first_us is None else first_us
        if span and moment.time_us > first_us + span:
            return
        yield moment


def _first_values(found: Iterable[RecordedChange]) -> dict[str, Any]:
    """Every tag of a recording, with its first value that is one."""
    tags: dict[str, Any] = {}
    for moment in found:
        for tag, (value, _) in moment.samples.items():
            if tags.get(tag) is None:
                tags[tag] = value
    return tags
