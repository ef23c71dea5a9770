"""`modbus_poll`: write registers, then poll some and say what changes, until ^C.

modbus_poll -a :1502 40001-40010=0 40001-40100
11-22 13:07:28.534 MainThread root     WARNING  main       40009 ==   999 (was: None)
"""

import argparse
import functools
import json
import logging
import math
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.commands.arguments import log_file, pause, seconds, whole
from cpppod.commands.parser import CommandParser
from cpppod.modbus import Client, ModbusException, ParameterException, PlcOffline, Poller, merge
from cpppod.modbus.poller import ValueKind
from cpppod.protocols.modbus.address import Address, to_number
from cpppod.protocols.modbus.registers import ORDERS, codec
from cpppod.protocols.modbus.specs import RegisterRange, parse_range
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import REAL_TYPES

NAME = "modbus_poll"
DEFAULT_ADDRESS = "127.0.0.1:502"
EPILOG = """\
Registers: FIRST[-LAST][=VALUE,...]; those with values are written first. Ends with Ctrl-C.

examples:
  modbus_poll -a :1502 40001-40010=0 40001-40100
  modbus_poll -a 10.0.0.5:502 --once --json 40001-40010
  modbus_poll -a /dev/ttyUSB0 --baudrate 19200 --parity E -u 3 30001-30004
  modbus_poll -a :1502 --type REAL --word-order little 40001-40008 40011=1.5

exit status: 0 done, 1 refused or failed (also: a part of what was asked), 2 wrong usage
"""
FORMAT = (
    "%(asctime)s.%(msecs)03d %(threadName)-10.10s %(name)-8.8s %(levelname)-8.8s "
    "main       %(message)s"
)
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = CommandParser(
        prog=NAME,
        description="Write and poll registers of a Modbus device.",
        epilog=EPILOG,
    )
    add = made.add_argument
    add("registers", nargs="+", help="such as 40001-40100, or 40009=999 to write it")
    add("-a", "--address", default=DEFAULT_ADDRESS, help="host:port, the path of a serial port or "
        "pty for RTU, or rtu-over-tcp://host:port (default %(default)s)")  # fmt: skip
    add("-r", "--reach", type=whole(0), default=1, help="read registers closer than this together")
    add("-u", "--unit", type=whole(0, 255), default=1, help="unit (default 1)")
    add("--broadcast", action="store_true", help="write to every unit behind the address (unit 0); "
        "nothing is polled")  # fmt: skip
    add("-T", "--type", help="of the registers: UINT, INT, DINT, UDINT, REAL, LREAL ... "
        "(default UINT)")  # fmt: skip
    for order in ("word", "byte"):
        add(f"--{order}-order", choices=ORDERS, help=f"{order}s of a value (default big)")
    add("-R", "--rate", type=pause, default=1.0, help="seconds between polls (default 1)")
    add("-t", "--timeout", type=seconds, default=0.05, help="seconds for a reply (default 0.05)")
    add("-c", "--config", default="", help="serial settings as JSON: baudrate, parity, ...")
    add("--baudrate", type=whole(1), help="of a serial line (default 9600)")
    add("--parity", help="of a serial line: N, E or O (default N)")
    add("--stopbits", type=float, help="of a serial line (default 1)")
    add("-1", "--once", action="store_true", help="end after the first poll")
    add("-v", "--verbose", action="count", default=0, help="say what is polled; -vv: the load")
    add("-l", "--log", type=log_file, help="a file for what is said")
    add("--json", action="store_true", help="a line of JSON per change on stdout")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    options = parser().parse_args(argv)
    logging.basicConfig(
        filename=options.log,
        level=LEVELS[min(options.verbose, 2)],
        format=FORMAT,
        datefmt="%m-%d %H:%M:%S",
    )
    try:
        ranges = [_asked(text, options) for text in options.registers]
        _check(ranges, options)
        settings = json.loads(options.config) if options.config else {}
        for name in ("baudrate", "parity", "stopbits"):
            if getattr(options, name) is not None:
                settings[name] = getattr(options, name)
        client = Client(options.address, timeout_s=options.timeout, **settings)
    except (EncodeError, ValueError, TypeError) as error:
        print(f"{NAME}: {error}; try {NAME} -a :1502 40001-40010", file=sys.stderr)
        return 2
    poller = Poller(options.address, client, options.reach, unit=options.unit, rate=options.rate)
    try:
        return _work(poller, ranges, options)
    except KeyboardInterrupt:
        return 0
    finally:
        poller.stop()
        client.close()


@dataclass(frozen=True, slots=True)
class Asked:
    """One argument: the address of each value with the number it is printed by, what to write."""

    cells: tuple[tuple[Address, int], ...]
    values: tuple[int | float, ...]
    how: ValueKind


def _asked(text: str, options: argparse.Namespace) -> Asked:
    """What an argument asks for.

    Raises:
        EncodeError: it makes no sense; the text says what was expected.
    """
    how = ValueKind()
    if options.word_order:
        how["word_order"] = options.word_order
    if options.byte_order:
        how["byte_order"] = options.byte_order
    if options.type is None:
        registers = parse_range(text)
        return Asked(_cells(registers, 1), registers.values, how)
    kind = options.type.upper()
    where, equals, given = text.partition("=")
    registers = parse_range(where)
    if registers.first.table.has_bits:
        raise EncodeError(f"{text}: coils and inputs have no type", status=3)
    how["type"] = kind
    width = codec(Tag(text, where, **how)).registers
    values = _numbers(given, kind) if equals else ()
    room, left = divmod(registers.count, width) if "-" in where else (max(1, len(values)), 0)
    if left:
        raise EncodeError(f"{text}: each {kind} takes {width} registers, {left} left", status=3)
    last = RegisterRange(registers.first, room * width, (), registers.unit, registers.number)
    repeated = (values * (room // len(values) + 1))[:room] if values else ()
    return Asked(_cells(last, width), repeated, how)


def _numbers(text: str, kind: str) -> tuple[int | float, ...]:
    convert: Any = float if kind in REAL_TYPES else functools.partial(int, base=0)
    items = [item.strip() for item in text.split(",")]
    try:
        found = tuple(convert(item) for item in items)
    except ValueError:
        raise EncodeError(f"{text!r:.60}: values of type {kind} were expected", status=3) from None
    for item, value in zip(items, found, strict=True):
        if math.isinf(value) and item[-1].isdigit():
            raise EncodeError(f"{item!r:.60} is no {kind}: it is too large", status=3)
    return found


def _check(ranges: list[Asked], options: argparse.Namespace) -> None:
    """Refuse what would reach more units than its user thinks.

    Raises:
        ValueError: the text says what to say instead.
    """
    if options.broadcast and not all(each.values for each in ranges):
        raise ValueError("--broadcast only writes: give every register a value")
    if options.unit == 0 and not options.broadcast:
        if any(each.values for each in ranges):
            raise ValueError("unit 0 writes to every unit behind the address: say --broadcast")
        if "/" in options.address:
            raise ValueError("unit 0 of a line never answers")


def _work(poller: Poller, ranges: list[Asked], options: argparse.Namespace) -> int:
    for each in ranges:
        if each.values and not _write(poller, each, broadcast=options.broadcast):
            return 1
    if options.broadcast:
        return 0
    numbers = {cell: number for each in ranges for cell, number in each.cells}
    for each in ranges:
        for cell, _ in each.cells:
            poller.poll(to_number(cell), **each.how)
    watch = Watch(poller, numbers, as_json=options.json, quiet=options.once)
    while True:
        poller.wait(None if options.once else max(1.0, 2 * options.rate))
        watch.look()
        if options.once:
            return watch.ended(options.address)


def _write(poller: Poller, asked: Asked, *, broadcast: bool) -> bool:
    first = asked.cells[0][0]
    values: list[Any] = [bool(value) if first.table.has_bits else value for value in asked.values]
    send = poller.broadcast if broadcast else poller.write
    try:
        send(to_number(first), values if len(values) > 1 else values[0], **asked.how)
    except (PlcOffline, ParameterException, ModbusException) as error:
        print(f"{NAME}: write {first}: {error}{_advice(error)}", file=sys.stderr)
        return False
    return True


def _advice(error: Exception) -> str:
    return f"; try {NAME} -u UNIT, -t SECONDS" if isinstance(error, PlcOffline) else ""


def _cells(registers: RegisterRange, width: int) -> tuple[tuple[Address, int], ...]:
    """Where the values of a range begin, with the numbers that they are printed by: as written."""
    first = registers.first
    offsets = range(0, registers.count, width)
    cells = [Address(first.table, first.offset + at) for at in offsets]
    if registers.number is None:
        return tuple((cell, to_number(cell)) for cell in cells)
    return tuple((cell, registers.number + at) for cell, at in zip(cells, offsets, strict=True))


class Watch:
    """Says what changed since it last looked: values, and the reasons for none."""

    def __init__(
        self, poller: Poller, numbers: dict[Address, int], *, as_json: bool, quiet: bool
    ) -> None:
        self._quiet = quiet  # reasons are said at the end
        self._poller = poller
        self._numbers = numbers
        self._json = as_json
        self._last: dict[Address, Any] = {}
        self._reasons: dict[Address, str] = {}
        self._ranges = ""
        self._trouble = ""

    def look(self) -> None:
        """Print changes, and what is polled where that is asked for."""
        poller = self._poller
        self._say_ranges()
        self._say_reasons()
        for cell, number in self._numbers.items():
            value, was = poller.read(to_number(cell)), self._last.get(cell)
            if value == was:
                continue
            self._last[cell] = value
            if self._json:
                reason = poller.reason(to_number(cell)) or None
                self._print(number, value, was, reason)
            else:
                say(number, value, was)

    def ended(self, address: str) -> int:
        """The exit status after one poll; what had no value is named on stderr with the reason."""
        poller = self._poller
        if poller.trouble:
            print(f"{NAME}: {poller.trouble}; try {NAME} -u UNIT, -t SECONDS", file=sys.stderr)
        elif self._reasons:
            for reason, numbers in self._by_reason():
                print(f"{NAME}: {address}: {_text(numbers)}: {reason}", file=sys.stderr)
        return 0 if poller.online and not self._reasons else 1

    def _say_reasons(self) -> None:
        """One line where the device as a whole has no answer, else one for each reason."""
        poller, log = self._poller, logging.getLogger()
        reasons = {cell: poller.reason(to_number(cell)) for cell in self._numbers}
        fresh = {cell: why for cell, why in reasons.items() if why}
        if poller.trouble != self._trouble:
            self._trouble = poller.trouble
            if self._trouble and not self._quiet:
                log.warning("%s", self._trouble)
        news = fresh != self._reasons
        before, self._reasons = self._reasons, fresh
        if self._trouble or not news:
            return
        changed = {cell for cell, why in fresh.items() if before.get(cell) != why}
        for reason, numbers in self._by_reason(changed):
            if not self._quiet:
                log.warning("%s: %s", _text(numbers), reason)
            if self._json:
                for number, _ in sorted(numbers):
                    self._print(number, None, None, reason)

    def _by_reason(
        self, cells: Collection[Address] | None = None
    ) -> list[tuple[str, set[tuple[int, int]]]]:
        """Reason -> ranges of the numbers that have it, in the order of the numbers."""
        found: dict[str, list[tuple[int, int]]] = {}
        for cell, reason in self._reasons.items():
            if cells is None or cell in cells:
                found.setdefault(reason, []).append((self._numbers[cell], 1))
        return [(reason, set(merge(numbers))) for reason, numbers in found.items()]

    def _print(self, number: int, value: Any, was: Any, reason: str | None) -> None:
        change = {
            "time": time.time(),
            "address": number,
            "value": value if not isinstance(value, float) or math.isfinite(value) else None,
            "was": was if not isinstance(was, float) or math.isfinite(was) else None,
            "reason": reason,
        }
        print(json.dumps(change), flush=True)

    def _say_ranges(self) -> None:
        poller = self._poller
        failing, polling = (_text(ranges) for ranges in (poller.failing, poller.polling))
        ranges = f"failing: {failing}, polling: {polling}"
        if ranges != self._ranges:
            self._ranges = ranges
            logging.getLogger().info("%s", ranges)
        logging.getLogger().debug("load: %.2f", poller.load[0])


def _text(ranges: set[tuple[int, int]]) -> str:
    parts = (f"{at}-{at + count - 1}" if count > 1 else str(at) for at, count in sorted(ranges))
    return ", ".join(parts)


def say(number: int, value: Any, was: Any) -> None:
    """The documented line of a change; a value that is gone is None."""
    logging.getLogger().warning("%5d == %5s (was: %s)", number, _shown(value), _shown(was))


def _shown(value: Any) -> str:
    if value is None:
        return "None"
    return f"{value:g}" if isinstance(value, float) else str(int(value))
