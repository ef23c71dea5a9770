"""`modbus_sim`: a simulated Modbus device on TCP, a serial port, a pty, or RTU over TCP.

    modbus_sim -a :1502 40001-40100=99

prints `Success; Started Modbus/TCP Simulator; PID = 29854; address = :1502` and serves until ^C.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Sequence
from typing import Any

from cpppod.commands.arguments import log_file, whole
from cpppod.commands.parser import CommandParser
from cpppod.protocols.modbus.address import Address, Table
from cpppod.protocols.modbus.faults import Fault, parse_fault
from cpppod.protocols.modbus.motion import parse_motion
from cpppod.protocols.modbus.rtu import character_s
from cpppod.protocols.modbus.specs import RegisterRange, parse_range
from cpppod.protocols.model.addresses import AddressError, socket_address
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Line
from cpppod.workers.simulators.modbus.control import SimulatorControl, tell
from cpppod.workers.simulators.modbus.simulator import (
    Endpoint,
    Plant,
    PortEndpoint,
    PortTaken,
    PtyEndpoint,
    Simulator,
    TcpEndpoint,
)

NAME = "modbus_sim"
RTU_OVER_TCP = "rtu-over-tcp://"
EPILOG = """\
Registers: [UNIT:]FIRST[-LAST][=VALUE,...]; 1-9999 coils, 10001-19999 discrete inputs, 30001-39999
input and 40001-99999 holding registers, or their 6-digit and HR:0 forms. docs/modbus.md lists the
faults and the moving values.

examples:
  modbus_sim -a :1502 40001-40100=99
  modbus_sim -a :1502 40001-40010=0 --move 40001=counter --fault late:0.5,rate=0.1
  modbus_sim --pty /tmp/line --baudrate 19200 --parity E 1:40001-40020=0 2:40001-40020=0
  modbus_sim -a :1502 --control /tmp/plc 40001-40100=99 &
  modbus_sim --tell /tmp/plc set 40001=7

exit status: 0 stopped, 1 refused or failed, 2 wrong usage
"""
LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
SERIAL_DEFAULTS = {"baudrate": 9600, "parity": "N", "stopbits": 1, "bytesize": 8}

log = logging.getLogger(NAME)


class Failed(Exception):
    """What the command line names is not there, or not what it says."""


class Refused(Exception):
    """The command line asks for something that cannot be; the text says what, why, what to try."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = CommandParser(
        prog=NAME,
        description="A simulated Modbus device.",
        epilog=EPILOG,
    )
    add = made.add_argument
    add("registers", nargs="*", help="what it holds, such as 40001-40100=99 or 2:1-16=0,1")
    add("-a", "--address", help="host:port, a serial port's path, or rtu-over-tcp://host:port "
        "(default 0.0.0.0:502)")  # fmt: skip
    add("--pty", metavar="LINK", help="make a pseudo terminal, and a link to it at LINK")
    add(
        "-r",
        "--range",
        type=whole(1),
        default=1,
        help="so many ports to try, from the given one on",
    )
    add("--sunspec", metavar="MODELS", help="such as 1,103,160: a SunSpec device from 40000 on")
    add("-e", "--evil", action="append", default=[], help="truncate, delay[:S[-S]] or "
        "corrupt[:transaction|protocol|unit|function|registers]")  # fmt: skip
    add("-f", "--fault", action="append", default=[], help="KIND[:ARGUMENT][,unit=N][,rate=R]")
    add("-m", "--move", action="append", default=[], help="[UNIT:]ADDRESS=counter|sine|walk|replay"
        "[,key=value...]")  # fmt: skip
    add("-c", "--config", default="", help="serial settings as JSON: baudrate, parity, stopbits, "
        "bytesize, slaves, ignore_missing_slaves")  # fmt: skip
    for option, kind in (("baudrate", whole(1)), ("parity", str), ("stopbits", float)):
        add(f"--{option}", type=kind, help=f"of the line (default {SERIAL_DEFAULTS[option]})")
    add("--pace", action="store_true", help="a pty takes as long as a line of that speed")
    add("--control", metavar="ADDRESS", help="take orders at a path or host:port")
    add("--tell", nargs="+", metavar=("ADDRESS", "ORDER"), help="give a running simulator an "
        "order: fault, clear, faults, set, get, die, status")  # fmt: skip
    add("-v", "--verbose", action="count", default=0, help="say more; -vv: every message")
    add("-q", "--quiet", action="count", default=0, help="say less")
    add("-l", "--log", type=log_file, help="a file for what is said")
    add("--json", action="store_true", help="say where it listens as a line of JSON")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    options = parser().parse_args(argv)
    if options.tell:
        return _tell(options.tell)
    level = LEVELS[max(0, min(2 + options.verbose - options.quiet, len(LEVELS) - 1))]
    logging.basicConfig(
        filename=options.log, level=level, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        plant = make_plant(options)
        if not plant.all_units():
            raise Refused(f"no registers; try {NAME} -a :1502 40001-40100=99")
        endpoint = _first_endpoint(plant, options)
    except Failed as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1
    except (EncodeError, Refused, ValueError, TypeError) as error:
        advice = "" if "; try " in str(error) else f"; try {NAME} --help"
        print(f"{NAME}: {error}{advice}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_run(plant, endpoint, options))
    except PortTaken as error:
        print(f"{NAME}: {error}; try another port, or --range", file=sys.stderr)
        return 1


def make_plant(options: argparse.Namespace) -> Plant:
    """Units, faults and moving values of the command line.

    Raises:
        EncodeError: one of them cannot be understood.
        Failed: there is no such recording.
    """
    plant = Plant()
    if LEVELS[min(2 + options.verbose, len(LEVELS) - 1)] == logging.DEBUG:
        plant.log = log.debug
    for text in options.registers:
        plant.define(parse_range(text))
    if options.sunspec:
        _add_models(plant, options.sunspec)
    for text in options.move:
        motion = parse_motion(text, chance=random.random)
        if motion.kind == "replay":
            from cpppod.commands.modbus.replay import with_recording

            try:
                motion = with_recording(motion)
            except EncodeError as error:
                raise Failed(str(error)) from None
        plant.move(motion)
    for text in options.evil:
        plant.faults.add(evil_fault(text))
    for text in options.fault:
        plant.faults.add(parse_fault(text))
    slaves = _serial_settings(options).get("slaves")
    if slaves and plant.default is not None:
        for slave in slaves:
            plant.units.setdefault(int(slave), plant.default)
        plant.default = None
    return plant


def _add_models(plant: Plant, text: str) -> None:
    """The SunSpec models of `1,103`, where such a device has them.

    Raises:
        EncodeError: one that is not known here.
    """
    from cpppod.modbus.sunspec import BASE, registers
    from cpppod.workers.drivers.modbus.sunspec import NoDefinition

    try:
        words = tuple(registers([int(each) for each in text.split(",")]))
    except (ValueError, NoDefinition) as error:
        raise EncodeError(f"--sunspec {text!r}: {error}", status=3) from None
    first = Address(Table.HOLDING_REGISTERS, BASE)
    plant.define(RegisterRange(first, len(words), words))


def evil_fault(text: str) -> Fault:
    """The fault behind an `--evil` of the documented kinds.

    Raises:
        EncodeError: none of the documented kinds.
    """
    kind, _, argument = text.partition(":")
    known = {
        "truncate": "truncate",
        "delay": f"late:{argument or 5}",
        "corrupt": {
            "": "transaction:0xfffe",
            "transaction": "transaction:0xfffe",
            "protocol": "protocol:1",
            "unit": "unit",
            "function": "function:0xfc",
            "registers": "count:1",
        }.get(argument, ""),
    }.get(kind, "")
    if not known:
        raise EncodeError(f"--evil {text!r}: truncate, delay[:S[-S]] or corrupt[:WHAT]", status=3)
    return parse_fault(known)


def _serial_settings(options: argparse.Namespace) -> dict[str, Any]:
    try:
        given = json.loads(options.config) if options.config else {}
    except ValueError as error:
        raise Refused(f"--config: no JSON: {error}; try '{{\"baudrate\": 9600}}'") from None
    if not isinstance(given, dict):
        raise Refused("--config: no JSON object; try '{\"baudrate\": 9600}'")
    for name in ("baudrate", "parity", "stopbits"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    return SERIAL_DEFAULTS | given


def _first_endpoint(plant: Plant, options: argparse.Namespace) -> Endpoint:
    settings = _serial_settings(options)
    line = Line(
        "line",
        options.address or "",
        int(settings["baudrate"]),
        int(settings["bytesize"]),
        str(settings["parity"]),
        float(settings["stopbits"]),
    )
    if options.pty is not None:
        pace = 0.0
        if options.pace:
            pace = character_s(line.baudrate, parity=line.parity, stopbits=line.stopbits)
        return PtyEndpoint(plant, options.pty, character_s=pace)
    address = options.address if options.address is not None else "0.0.0.0:502"
    if address.startswith(RTU_OVER_TCP):
        return TcpEndpoint(plant, *_split(address.removeprefix(RTU_OVER_TCP)), rtu=True)
    if "/" in address:
        return PortEndpoint(plant, line)
    if options.address is None:
        log.warning("listening on every interface; -a 127.0.0.1:502 for this machine only")
    return TcpEndpoint(plant, *_split(address))


def _split(address: str) -> tuple[str, int]:
    try:
        return socket_address(address, host="", port=502, any_port=True)
    except AddressError as error:
        raise Refused(f"-a {error}; try -a 127.0.0.1:1502") from None


async def _run(plant: Plant, endpoint: Endpoint, options: argparse.Namespace) -> int:
    simulator = Simulator(plant)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":  # loops take no signals there
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    control = SimulatorControl(simulator)
    if options.control:
        await control.serve(options.control)
    address = await _serve(simulator, endpoint, options)
    _announce(endpoint, address, options)
    await stop.wait()
    await control.close()
    await simulator.close()
    return 0


async def _serve(simulator: Simulator, endpoint: Endpoint, options: argparse.Namespace) -> str:
    """Listen, at one of the next ports where the first are taken."""
    for attempt in range(max(1, options.range)):
        try:
            return await simulator.serve(endpoint)
        except PortTaken as error:
            if attempt + 1 >= options.range or not isinstance(endpoint, TcpEndpoint):
                raise
            log.warning("%s; trying the next port", error)
            host, port = _split(endpoint.address)
            endpoint = TcpEndpoint(simulator.plant, host, port + 1, rtu=endpoint.rtu)
    raise PortTaken("no port")


def _announce(endpoint: Endpoint, address: str, options: argparse.Namespace) -> None:
    tcp = isinstance(endpoint, TcpEndpoint) and not endpoint.rtu
    kind = "Modbus/TCP" if tcp else "Modbus/RTU"
    if options.json:
        print(json.dumps({"kind": kind, "pid": os.getpid(), "address": address}), flush=True)
    else:
        pid = os.getpid()
        print(f"Success; Started {kind} Simulator; PID = {pid}; address = {address}", flush=True)


def _tell(words: list[str]) -> int:
    address, order = words[0], " ".join(words[1:]) or "status"
    try:
        answer = tell(address, order)
    except (OSError, ValueError) as error:
        print(f"{NAME}: {address}: {error}; try the --control it was started with", file=sys.stderr)
        return 1
    if not answer.get("ok"):
        print(f"{NAME}: {answer.get('error')}", file=sys.stderr)
        return 1
    print(json.dumps(answer["result"]))
    return 0
