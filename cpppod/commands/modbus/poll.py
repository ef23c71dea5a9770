"""`modbus_poll`: write registers, then poll some and say what changes, until ^C.

modbus_poll -a :1502 40001-40010=0 40001-40100
11-22 13:07:28.534 MainThread root     WARNING  main       40009 ==   999 (was: None)
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from cpppod import __version__
from cpppod.modbus import Client, ModbusException, ParameterException, PlcOffline, Poller
from cpppod.protocols.modbus.address import Address, to_number
from cpppod.protocols.modbus.specs import RegisterRange, parse_range
from cpppod.protocols.model.errors import EncodeError

NAME = "modbus_poll"
DEFAULT_ADDRESS = "127.0.0.1:502"
EPILOG = """\
Registers: FIRST[-LAST][=VALUE,...]; those with values are written first. Ends with Ctrl-C.

examples:
  modbus_poll -a :1502 40001-40010=0 40001-40100
  modbus_poll -a 10.0.0.5:502 --once --json 40001-40010
  modbus_poll -a /dev/ttyUSB0 --baudrate 19200 --parity E -u 3 30001-30004

exit status: 0 done, 1 refused or failed, 2 wrong usage
"""
FORMAT = (
    "%(asctime)s.%(msecs)03d %(threadName)-10.10s %(name)-8.8s %(levelname)-8.8s "
    "main       %(message)s"
)
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Write and poll registers of a Modbus device.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("registers", nargs="+", help="such as 40001-40100, or 40009=999 to write it")
    add("-a", "--address", default=DEFAULT_ADDRESS, help="host:port, the path of a serial port or "
        "pty for RTU, or rtu-over-tcp://host:port (default %(default)s)")  # fmt: skip
    add("-r", "--reach", type=int, default=1, help="read registers closer than this together")
    add("-u", "--unit", type=int, help="unit (default 0; 1 on a line)")
    add("-R", "--rate", type=float, default=1.0, help="seconds between polls (default 1)")
    add("-t", "--timeout", type=float, default=0.05, help="seconds for a reply (default 0.05)")
    add("-c", "--config", default="", help="serial settings as JSON: baudrate, parity, ...")
    add("--baudrate", type=int, help="of a serial line (default 9600)")
    add("--parity", help="of a serial line: N, E or O (default N)")
    add("--stopbits", type=float, help="of a serial line (default 1)")
    add("-1", "--once", action="store_true", help="end after the first poll")
    add("-v", "--verbose", action="count", default=0, help="say what is polled; -vv: the load")
    add("-l", "--log", help="a file for what is said")
    add("--json", action="store_true", help="a line of JSON per change on stdout")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    options = make_parser().parse_args(argv)
    logging.basicConfig(
        filename=options.log,
        level=LEVELS[min(options.verbose, 2)],
        format=FORMAT,
        datefmt="%m-%d %H:%M:%S",
    )
    try:
        ranges = [parse_range(text) for text in options.registers]
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


def _work(poller: Poller, ranges: list[RegisterRange], options: argparse.Namespace) -> int:
    for registers in ranges:
        if registers.values and not _write(poller, registers):
            return 1
    numbers = {}
    for registers in ranges:
        for cell, number in _numbers(registers):
            numbers[cell] = number
            poller.poll(to_number(cell))
    watch = Watch(poller, numbers, as_json=options.json)
    while True:
        poller.wait(None if options.once else max(1.0, 2 * options.rate))
        watch.look()
        if options.once and poller.online:
            return 0
        if options.once:
            told = f"{options.address}: nothing was read; try {NAME} -u UNIT, -t SECONDS"
            print(f"{NAME}: {told}", file=sys.stderr)
            return 1


def _write(poller: Poller, registers: RegisterRange) -> bool:
    values: Any = [
        bool(value) if registers.first.table.has_bits else value for value in registers.values
    ]
    try:
        poller.write(to_number(registers.first), values if len(values) > 1 else values[0])
    except (PlcOffline, ParameterException, ModbusException) as error:
        print(
            f"{NAME}: write {registers.first}: {error}; try modbus_poll -u UNIT, -t SECONDS",
            file=sys.stderr,
        )
        return False
    return True


def _numbers(registers: RegisterRange) -> list[tuple[Address, int]]:
    """The cells of a range with the numbers that they are printed by: as they were written."""
    first = registers.first
    cells = [Address(first.table, first.offset + at) for at in range(registers.count)]
    if registers.number is None:
        return [(cell, to_number(cell)) for cell in cells]
    return [(cell, registers.number + at) for at, cell in enumerate(cells)]


class Watch:
    """Says what changed since it last looked."""

    def __init__(self, poller: Poller, numbers: dict[Address, int], *, as_json: bool) -> None:
        self._poller = poller
        self._numbers = numbers
        self._json = as_json
        self._last: dict[Address, Any] = {}
        self._ranges = ""

    def look(self) -> None:
        """Print changes, and what is polled where that is asked for."""
        poller = self._poller
        self._say_ranges()
        for cell, number in self._numbers.items():
            value, was = poller.read(to_number(cell)), self._last.get(cell)
            if value == was:
                continue
            self._last[cell] = value
            if self._json:
                change = {"time": time.time(), "address": number, "value": value, "was": was}
                print(json.dumps(change), flush=True)
            else:
                say(number, value, was)

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
    shown, before = ("None" if each is None else str(int(each)) for each in (value, was))
    logging.getLogger().warning("%5d == %5s (was: %s)", number, shown, before)
