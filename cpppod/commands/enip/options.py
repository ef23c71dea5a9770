"""Options that the EtherNet/IP client commands share: address, routing, verbosity, output."""

import argparse
import cProfile
import logging
import logging.handlers
import pstats
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cpppod.client import Client, OperationError, OriginatorError
from cpppod.client.route import Route
from cpppod.commands.arguments import log_file, seconds, whole
from cpppod.commands.enip.trace import DETAIL, session_type
from cpppod.commands.parser import CommandParser
from cpppod.protocols.enip.discovery import PORT
from cpppod.protocols.model.addresses import AddressError, socket_address
from cpppod.protocols.model.errors import ProtocolError
from cpppod.workers.transport.sockets import words

DONE, FAILED, USAGE = 0, 1, 2
LOG_BYTES = 10 * 1024 * 1024
LOG_COPIES = 5
NORMAL = 25
LEVELS = (logging.WARNING, NORMAL, DETAIL, logging.INFO, logging.DEBUG)
FORMAT = (
    "%(asctime)s.%(msecs)03d %(threadName)-10.10s %(name)-8.8s %(levelname)-8.8s "
    "%(funcName)-10.10s %(message)s"
)
EXIT_STATUS = "exit status: 0 done, 1 refused or failed, 2 wrong usage"


class UsageError(Exception):
    """The command line cannot be meant that way."""


def new_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser with what every command has: help, version, verbosity, log file, time-out."""
    parser = CommandParser(
        prog=name,
        description=description,
        epilog=f"examples:\n{examples}\n\n{EXIT_STATUS}",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="log more to stderr; -vv: each request as a dict; -vvv: frames; -vvvv: their bytes",
    )
    parser.add_argument(
        "-l", "--log", type=log_file, metavar="FILE", help="log to a file instead of stderr"
    )
    parser.add_argument(
        "-P",
        "--profile",
        action="store_true",
        help="report on stderr where the time went",
    )
    return parser


def add_target(parser: argparse.ArgumentParser) -> None:
    """Whom to talk to."""
    parser.add_argument(
        "-a",
        "--address",
        default="",
        metavar="[HOST][:PORT]",
        help=f"the device (default: localhost:{PORT})",
    )
    parser.add_argument(
        "-t",
        "--timeout",
        type=seconds,
        default=5.0,
        metavar="S",
        help="how long to wait for a reply: 1.5, 500ms (default: 5 s)",
    )


def add_routing(parser: argparse.ArgumentParser) -> None:
    """How requests are wrapped."""
    parser.add_argument(
        "--route-path",
        metavar="PATH",
        help="from the device on: 1/0 (default), 1/3/2/10.0.0.5, JSON, or false for none",
    )
    parser.add_argument(
        "--send-path",
        metavar="PATH",
        help="who unwraps a routed request (default: @6/1); '' for nobody",
    )
    parser.add_argument(
        "-S",
        "--simple",
        action="store_true",
        help="a device that routes nothing: no route path, no send path",
    )
    parser.add_argument(
        "--priority-time-tick",
        type=whole(0, 15),
        metavar="0-15",
        help="a tick is 2**N ms (default: 5, 32 ms)",
    )
    parser.add_argument(
        "--timeout-ticks",
        type=whole(1, 255),
        metavar="1-255",
        help="ticks that a routed request may take (default: 157, 5 s)",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """What is printed for programs."""
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object a line")
    output.add_argument("--csv", action="store_true", help="comma-separated values with a header")


def address(text: str, default_port: int = PORT) -> tuple[str, int]:
    """(host, port) of `host`, `host:port`, `:port` or "".

    Raises:
        UsageError: the port is not a number.
    """
    try:
        return socket_address(text, host="localhost", port=default_port)
    except AddressError as error:
        raise UsageError(f"address {error}") from None


def route_of(options: argparse.Namespace) -> dict[str, Any]:
    """The connection's keywords for the routing options.

    Raises:
        UsageError: a path or time that cannot be.
    """
    simple = bool(options.simple)
    route: dict[str, Any] = {
        "route_path": False if simple else options.route_path,
        "send_path": "" if simple else options.send_path,
        "priority_time_tick": getattr(options, "priority_time_tick", None),
        "timeout_ticks": getattr(options, "timeout_ticks", None),
    }
    try:
        _ = Route(**route).unconnected
    except OperationError as error:
        raise UsageError(f"--send-path: {error}") from None
    except ProtocolError as error:
        raise UsageError(str(error)) from None
    return route


def operation_texts(tags: Iterable[str]) -> Iterator[str]:
    """The operations' texts; `-` stands for those on standard input, one a line."""
    for tag in tags:
        if tag != "-":
            yield tag
            continue
        for line in sys.stdin:
            text = line.strip()
            if text and not text.startswith("#"):
                yield text


def start_logging(options: argparse.Namespace) -> None:
    """Log as loudly as asked, to stderr or to a file that rotates."""
    logging.addLevelName(NORMAL, "NORMAL")
    logging.addLevelName(DETAIL, "DETAIL")
    handler: logging.Handler = logging.StreamHandler()
    if options.log:
        handler = logging.handlers.RotatingFileHandler(
            options.log, maxBytes=LOG_BYTES, backupCount=LOG_COPIES, encoding="utf-8"
        )
    handler.setFormatter(logging.Formatter(FORMAT, "%m-%d %H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    Client.session_type = session_type(options.verbose)
    root.setLevel(LEVELS[min(options.verbose, len(LEVELS) - 1)])


def run_command(
    name: str,
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    argv: list[str] | None,
) -> int:
    """Parse, run, and turn what goes wrong into a line on stderr and an exit status."""
    options = parser.parse_args(argv)
    try:
        start_logging(options)
        if not options.profile:
            return run(options)
        profile = cProfile.Profile()
        try:
            return profile.runcall(run, options)
        finally:
            pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(25)
    except UsageError as error:
        return complain(name, str(error), f"try {name} --help", status=USAGE)
    except AddressError as error:
        return complain(name, f"address {error}", f"try {name} --help", status=USAGE)
    except OperationError as error:
        complain(name, f"operation: {error}", f"try {name} --help", status=USAGE)
        print(error.pointer(), file=sys.stderr)
        return USAGE
    except ProtocolError as error:
        return complain(name, str(error))
    except OriginatorError as error:
        where = getattr(options, "address", "") or "localhost"
        return complain(name, f"{where}: {error}", "try enip_client --list-identity -a ADDRESS")
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        sys.stderr.close()  # or Python complains of the pipe once more while it ends
        return DONE
    except OSError as error:
        return complain(name, words(error))


def complain(name: str, what: str, hint: str = "", *, status: int = FAILED) -> int:
    """Say on stderr what went wrong; returns the exit status."""
    print(f"{name}: {what}{'; ' + hint if hint else ''}", file=sys.stderr)
    return status
