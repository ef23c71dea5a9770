"""`enip_poll`: prints parameters of a device again and again, through failures.

enip_poll -a drive 'Output Current' 'Motor Velocity'
enip_poll -a plc -g proxy -c 0.5 Identity TCPIP
"""

import argparse
import csv
import importlib
import json
import sys
from typing import Any

from cpppod import poll, proxy
from cpppod.client.results import Result
from cpppod.commands.arguments import seconds, whole
from cpppod.commands.enip.options import (
    DONE,
    UsageError,
    add_output,
    add_routing,
    add_target,
    address,
    complain,
    new_parser,
    route_of,
    run_command,
)
from cpppod.commands.enip.output import plain
from cpppod.commands.enip.trace import log_result

NAME = "enip_poll"
EXAMPLES = """\
  enip_poll -a drive 'Output Current' 'Motor Velocity'
  enip_poll -a plc -g proxy -c 0.5 Identity TCPIP
  enip_poll -a plc -g mydevices.mixer --json Level"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = new_parser(NAME, "Poll parameters of a device until Ctrl-C.", EXAMPLES)
    add_target(options)
    options.add_argument(
        "-c", "--cycle", type=seconds, default=1.0, metavar="S", help="poll cycle (default: 1)"
    )
    add_routing(options)
    options.add_argument(
        "-m", "--multiple", action="store_true", help="use Multiple Service Packets"
    )
    options.add_argument(
        "-d",
        "--depth",
        type=whole(0),
        default=2,
        metavar="N",
        help="requests in flight (default: 2)",
    )
    options.add_argument(
        "-g",
        "--gateway",
        default="powerflex_750_series",
        metavar="[MODULE.]CLASS",
        help="proxy class: one of cpppod.proxy, or of a module (default: powerflex_750_series)",
    )
    options.add_argument("-p", "--pass-thru", action="store_true", help="unknown names are tags")
    add_output(options)
    options.add_argument("parameters", nargs="*", metavar="PARAMETER")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return run_command(NAME, parser(), run, argv)


def run(options: argparse.Namespace) -> int:
    """Poll until interrupted.

    Raises:
        UsageError: a parameter that the proxy does not know, or an address that is not one.
    """
    host, port = address(options.address)
    route = route_of(options)
    found = proxy_class(options.gateway)
    if not options.simple:
        route = {key: value for key, value in route.items() if value is not None}
    via = found(
        host,
        port,
        timeout=options.timeout,
        depth=options.depth,
        multiple=options.multiple,
        **route,
    )
    try:
        poll.poll(
            via=via,
            params=options.parameters or None,
            pass_thru=options.pass_thru,
            cycle=options.cycle,
            details=True,
            process=printer(options),
            failure=lambda error: complain(NAME, str(error)),
        )
    except proxy.UnknownParameter as error:
        raise UsageError(f"{error.args[0]}; with -p it would be a tag") from None
    finally:
        via.close_gateway()
    return DONE


def proxy_class(name: str) -> Any:
    """The proxy class called `name`.

    Raises:
        UsageError: there is no such class.
    """
    module_name, _, class_name = name.rpartition(".")
    if module_name in ("", "ab", "get_attribute"):
        module_name = "cpppod.proxy"
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--gateway {name!r}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, proxy.proxy)):
        raise UsageError(f"--gateway {name!r} is no proxy class")
    return found


def printer(options: argparse.Namespace) -> poll.Process:
    """What prints each value, in the form that was asked for; why there is none is told too."""
    show = show_json if options.json else CsvPrinter().show if options.csv else poll.shown

    def process(name: Any, read: tuple[Any, Result]) -> None:
        log_result(read[1])
        show(name, read)

    return process


def show_json(name: Any, read: tuple[Any, Result]) -> None:
    """One line of JSON, with the status in words where there is no value."""
    value, result = read
    described = {"parameter": str(name), "value": plain(value)}
    if not result.ok:
        described["text"] = result.text
    print(json.dumps(described), flush=True)


class CsvPrinter:
    """Prints comma-separated values; why there is none goes to stderr when it changes."""

    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._reasons: dict[str, str] = {}

    def show(self, name: Any, read: tuple[Any, Result]) -> None:
        """One row."""
        value, result = read
        reason = "" if result.ok else result.text
        if reason and self._reasons.get(str(name)) != reason:
            complain(NAME, f"{name}: {reason}")
        self._reasons[str(name)] = reason
        self._writer.writerow([name, *(value if isinstance(value, list) else [value])])
        sys.stdout.flush()
