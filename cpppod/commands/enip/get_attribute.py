"""`enip_get_attribute`: Get Attributes All, Get and Set Attribute Single of any CIP object.

enip_get_attribute -a drive -S @1/1 @1/1/7              the identity, its product name
enip_get_attribute -a drive -S '@0x93/3/10=(REAL)1.5'   values become bytes by their type
"""

import argparse
import logging
import time

from cpppod import client
from cpppod.commands.arguments import whole
from cpppod.commands.enip.options import (
    DONE,
    FAILED,
    NORMAL,
    add_output,
    add_routing,
    add_target,
    address,
    complain,
    new_parser,
    operation_texts,
    route_of,
    run_command,
)
from cpppod.commands.enip.output import CsvOutput, failure_line, print_json
from cpppod.commands.enip.trace import log_result

NAME = "enip_get_attribute"
EXAMPLES = """\
  enip_get_attribute -a drive -S @1/1 @1/1/7
  enip_get_attribute -a plc --depth 3 -v '@1/1' '@1/1/7'
  enip_get_attribute -a drive -S '@0x93/3/10=(REAL)1.0' '@0x93/3/10'"""

log = logging.getLogger("enip.get")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = new_parser(NAME, "Read and write attributes of CIP objects, as bytes.", EXAMPLES)
    add_target(options)
    options.add_argument(
        "--print", action="store_true", default=True, help="print a line for each (the default)"
    )
    options.add_argument("--no-print", dest="print", action="store_false", help="print nothing")
    options.add_argument(
        "-m", "--multiple", action="store_true", help="use Multiple Service Packets"
    )
    options.add_argument(
        "-d",
        "--depth",
        type=whole(0),
        default=0,
        metavar="N",
        help="requests in flight (default: 0)",
    )
    add_routing(options)
    add_output(options)
    options.add_argument("tags", nargs="+", metavar="ATTRIBUTE", help="@class/instance[/attribute]")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return run_command(NAME, parser(), run, argv)


def run(options: argparse.Namespace) -> int:
    """Carry out what the options ask for."""
    host, port = address(options.address)
    for _ in client.attribute_operations(tag for tag in options.tags if tag != "-"):
        pass  # what cannot be understood is said before anything is sent
    connection = client.connector(host, port, options.timeout, **route_of(options))
    with connection:
        try:
            return operated(connection, options)
        finally:
            connection.close()


def operated(connection: client.Connector, options: argparse.Namespace) -> int:
    """Carry the operations out and print them; returns the exit status."""
    table = CsvOutput()
    count = failed = 0
    start = time.monotonic()
    for result in connection.operate(
        client.attribute_operations(operation_texts(options.tags)),
        depth=options.depth,
        multiple=True if options.multiple else 0,
        timeout=options.timeout,
    ):
        count += 1
        log_result(result)
        if options.json:
            print_json(result)
        elif options.csv:
            table.print(result)
        elif options.print:
            print(f"{time.ctime()}: {result.idx:3d}: {result.description} == {result.value!r}")
        if result.status:
            failed += 1
            complain(NAME, failure_line(result))
    elapsed = max(time.monotonic() - start, 1e-9)
    log.log(
        NORMAL,
        "%3d requests in %7.3fs at pipeline depth %2s; %7.3f TPS",
        count,
        elapsed,
        options.depth,
        count / elapsed,
    )
    return FAILED if failed else DONE
