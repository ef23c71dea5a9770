"""`enip_thruput`: how many operations a second a device and the way to it allow.

enip_thruput -a plc Volume Temperature --repeat 25                            one by one
enip_thruput -a plc Volume Temperature --repeat 25 --depth 20 --multiple 250
"""

import argparse
import json
import time

from cpppod import client
from cpppod.commands.arguments import seconds, whole
from cpppod.commands.enip.options import (
    DONE,
    FAILED,
    add_routing,
    address,
    complain,
    new_parser,
    route_of,
    run_command,
)
from cpppod.commands.enip.output import failure_line, print_json
from cpppod.commands.enip.trace import log_result
from cpppod.history.timestamp import timestamp

NAME = "enip_thruput"
EXAMPLES = """\
  enip_thruput -a plc Volume Temperature --repeat 25
  enip_thruput -a plc Volume Temperature --repeat 25 --depth 20
  enip_thruput -a plc Volume Temperature --repeat 25 --depth 20 --multiple 250"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = new_parser(NAME, "Measure operations a second.", EXAMPLES)
    options.add_argument(
        "-a", "--address", default="", metavar="[HOST][:PORT]", help="the device (localhost)"
    )
    options.add_argument(
        "-d",
        "--depth",
        type=whole(0),
        default=0,
        metavar="N",
        help="requests in flight (default: 0)",
    )
    options.add_argument(
        "-m",
        "--multiple",
        type=whole(0),
        default=0,
        metavar="BYTES",
        help="size of Multiple Service Packets (default: 0, none)",
    )
    options.add_argument(
        "-r", "--repeat", type=whole(1), default=1, metavar="N", help="so many times (default: 1)"
    )
    options.add_argument(
        "-t", "--timeout", type=seconds, metavar="S", help="seconds for a reply (default: none)"
    )
    options.add_argument("-c", "--connected", action="store_true", help="class 3 connection")
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    add_routing(options)
    options.add_argument("tags", nargs="+", metavar="TAG", help="operations")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return run_command(NAME, parser(), run, argv)


def run(options: argparse.Namespace) -> int:
    """Carry the operations out, print each value and the rate at the end."""
    host, port = address(options.address)
    for _ in client.parse_operations(options.tags):
        pass  # what cannot be understood is said before anything is sent
    kind = client.implicit if options.connected else client.connector
    connection = kind(host, port, options.timeout, **route_of(options))
    count, index, failed = 0, -1, 0
    with connection:
        try:
            start = time.monotonic()
            for result in connection.pipeline(
                client.parse_operations(options.tags * options.repeat),
                depth=options.depth,
                multiple=options.multiple,
                timeout=options.timeout,
            ):
                count += 1
                log_result(result)
                index = result.idx
                show(result, options)
                if not result.ok:
                    failed += 1
                    complain(NAME, failure_line(result))
            elapsed = max(time.monotonic() - start, 1e-9)
        finally:
            connection.close()
    summary(options, count, index + 1, elapsed)
    return FAILED if failed else DONE


def show(result: client.Result, options: argparse.Namespace) -> None:
    """Print one value."""
    if options.json:
        print_json(result)
    else:
        print(f"{timestamp()}: {result.idx:3d}: {result.value}")


def summary(options: argparse.Namespace, operations: int, requests: int, elapsed: float) -> None:
    """Print the rate."""
    rate = max(operations - 1, 0) / elapsed
    if options.json:
        described = {"operations": operations, "requests": requests, "seconds": elapsed}
        print(json.dumps({"summary": {**described, "depth": options.depth, "tps": rate}}))
        return
    print(
        f"{operations:3d} operations using {requests:3d} requests in {elapsed:7.2f}s "
        f"at pipeline depth {options.depth:2d}; {rate:5.1f} TPS"
    )
