"""`modbus_scan`: which units are there, and with which settings a line speaks.

    modbus_scan /dev/ttyUSB0                  settings and units of a line
    modbus_scan 10.0.0.5:502 --units 1-32     units behind a TCP address

A unit is there if it answers anything that passes the checks, a refusal included. The settings are
tried by how common they are; the first with which a unit answers are the line's.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cpppod.commands.arguments import seconds, whole
from cpppod.commands.parser import CommandParser
from cpppod.protocols.modbus import diagnostics, pdu
from cpppod.protocols.modbus.pdu import ModbusException
from cpppod.protocols.model.addresses import socket_address
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.failures import GONE
from cpppod.protocols.model.plant import Line
from cpppod.workers.devices.driver import DeviceError
from cpppod.workers.drivers.modbus.exchange import RtuExchange, TcpExchange
from cpppod.workers.transport.port import RTU_OVER_TCP, TcpPort, make_port

NAME = "modbus_scan"
PORT = 502
_UNITS = re.compile(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*")
BAUDRATES = (19_200, 9_600, 38_400, 115_200, 57_600, 4_800, 2_400, 1_200)
PARITIES = ("E", "N", "O")
FIRST_UNITS = (1, 2, 3, 4, 5, 10, 11, 16, 17, 32, 100, 247)  # asked first with every setting
DEFAULT_LIMIT_S = 300.0
EPILOG = """\
examples:
  modbus_scan /dev/ttyUSB0                            settings and units of a line
  modbus_scan /dev/ttyUSB0 -b 9600 -p N -u 1-32       units, the settings being known
  modbus_scan 10.0.0.5:502 --units 1-32 --identify    units behind an address, and what they are

exit status: 0 units were found, 1 nobody answers, 2 wrong usage
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One unit that answered."""

    unit: int
    settings: str
    answer: str
    duration_s: float
    identity: str = ""


Progress = Callable[[str, int, int], None]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = CommandParser(
        prog=NAME,
        description="Find Modbus units and line settings.",
        epilog=EPILOG,
    )
    add = made.add_argument
    add("address", help="path of a serial port, host:port, or rtu-over-tcp://host:port")
    add("-u", "--units", default="1-247", help="such as 1-32,100 (default %(default)s)")
    add("-b", "--baudrate", default="", help="those to try, by comma (default: all common ones)")
    add("-p", "--parity", default="", help="those to try (default E,N,O)")
    add("-t", "--timeout", type=seconds, default=0.1, help="seconds for a reply (default 0.1)")
    add("-L", "--limit", type=seconds, default=DEFAULT_LIMIT_S, help="seconds for the whole scan "
        "(default %(default)g)")  # fmt: skip
    add("--all", action="store_true", help="try all settings, also after units were found")
    add("--identify", action="store_true", help="ask the units found what they are")
    add("--json", action="store_true", help="the units found as JSON")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0 where a unit was found."""
    options = parser().parse_args(argv)
    try:
        units = parse_units(options.units)
        lines = _lines(options)
    except (ValueError, argparse.ArgumentTypeError) as error:
        print(f"{NAME}: {error}; try {NAME} --help", file=sys.stderr)
        return 2
    try:
        with _progress(quiet=options.json) as progress:
            found = asyncio.run(scan(lines, units, options, progress))
    except DeviceError as error:
        print(f"{NAME}: {options.address}: {error.text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    _show(found, options)
    return 0 if found else 1


def parse_units(text: str) -> list[int]:
    """The units of `1-32,100`.

    Raises:
        ValueError: one is no unit.
    """
    units: list[int] = []
    for part in text.split(","):
        found = _UNITS.fullmatch(part)
        numbers = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not numbers or numbers[-1] not in range(256):
            raise ValueError(f"units {part!r}: expected units 0 to 255, such as 1-32,100")
        units.extend(numbers)
    return list(dict.fromkeys(units))


def _lines(options: argparse.Namespace) -> list[Line | None]:
    """The settings to try, the most common first; None for TCP."""
    if "/" not in options.address or options.address.startswith(RTU_OVER_TCP):
        rtu = options.address.startswith(RTU_OVER_TCP)
        socket_address(options.address.removeprefix(RTU_OVER_TCP), port=PORT)
        return [Line("line", options.address) if rtu else None]
    rates: Sequence[int] = BAUDRATES
    if options.baudrate:
        rates = [whole(1)(rate) for rate in options.baudrate.split(",")]
    parities = options.parity.upper().split(",") if options.parity else PARITIES
    if any(parity not in ("E", "N", "O") for parity in parities):
        raise ValueError(f"parity {options.parity!r}: E, N or O")
    return [
        Line("line", options.address, rate, parity=parity) for rate in rates for parity in parities
    ]


async def scan(
    lines: Sequence[Line | None],
    units: Sequence[int],
    options: argparse.Namespace,
    progress: Progress,
) -> list[Found]:
    """The units that answer, within the time limit.

    Raises:
        DeviceError: the port cannot be had.
    """
    until_s = time.monotonic() + options.limit
    found: list[Found] = []
    common = [unit for unit in FIRST_UNITS if unit in units]
    rest = [unit for unit in units if unit not in common]
    total, done = len(lines) * len(units), 0
    passes = [(line, some) for some in (common, rest) for line in lines]
    for line, some in passes:
        settings = _text(line)
        if found and not options.all and settings != found[0].settings:
            done += len(some)
            continue
        port, exchange = _connect(line, options)
        await port.open()
        try:
            for unit in some:
                if time.monotonic() > until_s:
                    return found
                progress(f"{settings} unit {unit}", done, total)
                answer = await _ask(exchange, unit, settings, options)
                if answer is not None:
                    found.append(answer)
                done += 1
        finally:
            await port.close()
    progress("done", total, total)
    return sorted(found, key=lambda each: (each.settings, each.unit))


def _connect(line: Line | None, options: argparse.Namespace) -> tuple[Any, Any]:
    if line is None:
        port = TcpPort(options.address, timeout_s=max(1.0, options.timeout))
        return port, TcpExchange(port)
    made = make_port(line, timeout_s=max(1.0, options.timeout))
    return made, RtuExchange(made, late_window_s=0.0)  # a late reply names another unit


async def _ask(
    exchange: Any, unit: int, settings: str, options: argparse.Namespace
) -> Found | None:
    started_s = time.monotonic()
    counts: Counter[str] = Counter()
    try:
        request = pdu.read(pdu.Function.READ_HOLDING_REGISTERS, 0, 1)
        await exchange.transact(unit, request, options.timeout, counts=counts)
        answer = "register 0 read"
    except ModbusException as error:
        if error.code in (10, 11):  # a gateway says that nobody is there
            return None
        answer = str(error)
    except DeviceError as error:
        if error.failure in GONE:
            raise
        return None
    lasted_s = time.monotonic() - started_s
    identity = await _identify(exchange, unit, options) if options.identify else ""
    return Found(unit, settings, answer, lasted_s, identity)


async def _identify(exchange: Any, unit: int, options: argparse.Namespace) -> str:
    request = diagnostics.read_device_identification()
    try:
        data = await exchange.transact(unit, request, options.timeout, counts=Counter())
        objects = diagnostics.decode_identification(request, data).objects
    except (ModbusException, DeviceError, DecodeError):
        return ""
    return " ".join(text for _, text in sorted(objects.items()))


def _text(line: Line | None) -> str:
    if line is None or line.port.startswith(RTU_OVER_TCP):
        return "TCP" if line is None else "RTU over TCP"
    return f"{line.baudrate} {line.bytesize}{line.parity}{line.stopbits:g}"


class _progress:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("scanning", total=None)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self._advance

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _advance(self, what: str, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=what, completed=done, total=total)


def _show(found: list[Found], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
        return
    if not found:
        print(f"{NAME}: nobody answers at {options.address}; try --timeout 0.5", file=sys.stderr)
        return
    print(f"{'unit':>4}  {'settings':<14}{'ms':>6}  answer")
    for each in found:
        more = f"  {each.identity}" if each.identity else ""
        lasted_ms = each.duration_s * 1000
        print(f"{each.unit:>4}  {each.settings:<14}{lasted_ms:>6.1f}  {each.answer}{more}")
