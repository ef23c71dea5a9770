"""`enip_client`: reads and writes tags and attributes, browses, discovers.

    enip_client -a plc --print SCADA[1]=99 SCADA[0-10]     values, as documented
    enip_client -a plc --json Speed                        for programs
    enip_client -a plc --browse                            the tree of tags and structures
    enip_client --discover                                 a table of devices on the network

Without --print, -v, --json or --csv the operations are carried out in silence; what fails goes to
stderr and makes the exit status 1.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from cpppod import client
from cpppod.client.discovery import discover
from cpppod.client.responses import Response
from cpppod.commands.arguments import whole
from cpppod.commands.enip.options import (
    DONE,
    FAILED,
    NORMAL,
    UsageError,
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
from cpppod.commands.enip.output import CsvOutput, failure_line, print_json, with_progress
from cpppod.commands.enip.trace import log_result
from cpppod.protocols.enip.originator.structures import BrowseRefused

NAME = "enip_client"
MULTIPLE_BYTES = 500  # of a Multiple Service Packet outside a connection
EXAMPLES = """\
  enip_client -a plc --print SCADA[1]=99 SCADA[0-10] 'TEXT[1]=(SSTRING)"Hello, world!"'
  enip_client -a drive -S --print @0x93/3/10
  enip_client -a plc --connected --multiple --depth 4 --json Speed Program:Main.Level Limits[0-9]
  enip_client -a slc -S --pccc slc --print N7:0*10 F8:1=2.5
  enip_client -a plc --browse
  enip_client --discover
  enip_client --udp --broadcast --list-identity -a 10.0.0.255"""

log = logging.getLogger("enip.cli")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = new_parser(NAME, "Read and write tags of EtherNet/IP controllers.", EXAMPLES)
    add_target(options)
    options.add_argument("-u", "--udp", action="store_true", help="UDP instead of TCP")
    options.add_argument(
        "-b", "--broadcast", action="store_true", help="UDP, and wait for many replies"
    )
    options.add_argument(
        "-p", "--print", action="store_true", help="print a line for each operation"
    )
    options.add_argument("--no-print", dest="print", action="store_false", help="(the default)")
    options.add_argument(
        "-r", "--repeat", type=whole(1), default=1, metavar="N", help="so many times (default: 1)"
    )
    add_routing(options)
    options.add_argument(
        "-m", "--multiple", action="store_true", help="use Multiple Service Packets"
    )
    options.add_argument(
        "-d",
        "--depth",
        type=whole(0),
        default=1,
        metavar="N",
        help="requests in flight (default: 1)",
    )
    options.add_argument(
        "-f", "--fragment", action="store_true", help="always use the Fragmented services"
    )
    options.add_argument(
        "--no-fragment",
        dest="fragment",
        action="store_false",
        help="fragment what is too large only (the default)",
    )
    options.add_argument("-s", "--list-services", action="store_true", help="ask List Services")
    options.add_argument("-i", "--list-identity", action="store_true", help="ask List Identity")
    options.add_argument("-I", "--list-interfaces", action="store_true", help="ask List Interfaces")
    options.add_argument("-L", "--legacy", metavar="CODE", help="send e.g. 0x0001")
    options.add_argument(
        "-c", "--connected", action="store_true", help="over a class 3 connection (Forward Open)"
    )
    options.add_argument(
        "--browse", action="store_true", help="print the tree of tags and structures"
    )
    options.add_argument("--discover", action="store_true", help="print a table of devices")
    options.add_argument(
        "--pccc",
        choices=("slc", "plc5"),
        help="data files of an SLC, MicroLogix or PLC-5: N7:0, F8:1=2.5, ST9:0, T4:0.ACC",
    )
    options.add_argument("--source", metavar="ADDRESS", help="local address to send from")
    add_output(options)
    options.add_argument("tags", nargs="*", metavar="TAG", help="operations; - reads them (stdin)")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return run_command(NAME, parser(), run, argv)


def run(options: argparse.Namespace) -> int:
    """Carry out what the options ask for.

    Raises:
        UsageError: there is nothing to do, or an option cannot be understood.
    """
    if options.discover:
        return discovered(options)
    host, port = address(options.address)
    lists = list_requests(options)
    if not (lists or options.tags or options.browse):
        raise UsageError("nothing to do: name operations, or ask for a list")
    texts = [tag for tag in options.tags if tag != "-"]
    for _ in parsed(texts, options):
        pass  # what cannot be understood is said before anything is sent
    route = route_of(options)
    common: dict[str, Any] = {"source_address": options.source}
    if options.broadcast:
        connection: Any = client.client(host, port, udp=True, broadcast=True, **common)
    elif options.udp or not (options.tags or options.browse):
        kind = client.connector if options.tags else client.client
        more = route if options.tags else {}
        connection = kind(host, port, options.timeout, udp=options.udp, **common, **more)
    else:
        kind = client.implicit if options.connected else client.connector
        connection = kind(host, port, options.timeout, **common, **route)
    with connection:
        try:
            failed = sum(ask(connection, what, options) for what in lists)
            if options.browse:
                failed += browsed(connection, options)
            if options.tags:
                failed += operated(connection, options)
        finally:
            connection.close()
    return FAILED if failed else DONE


def list_requests(options: argparse.Namespace) -> list[tuple[str, int]]:
    """(what, command) of each list that is asked for.

    Raises:
        UsageError: `--legacy` is not a number.
    """
    requests = []
    if options.list_services:
        requests.append(("List Services", 0x0004))
    if options.list_identity:
        requests.append(("List Identity", 0x0063))
    if options.list_interfaces:
        requests.append(("List Interfaces", 0x0064))
    if options.legacy:
        try:
            code = int(options.legacy, 0)
        except ValueError:
            raise UsageError(f"--legacy {options.legacy!r} is no number") from None
        requests.append((f"Legacy 0x{code:04x}", code))
    return requests


def ask(connection: client.Client, request: tuple[str, int], options: argparse.Namespace) -> bool:
    """Ask for a list and print the replies; returns whether none came."""
    what, command = request
    connection.legacy(command)
    deadline = time.monotonic() + options.timeout
    count = 0
    while (left := deadline - time.monotonic()) > 0:
        response, _ = client.await_response(connection, left)
        if not response:
            break
        assert isinstance(response, Response)
        if response.command != command:
            continue
        print_response(what, count, response, options)
        count += 1
        if not options.broadcast:
            break
    if not count:
        complain(NAME, f"No {what} response w/in {options.timeout:.3f}s timeout")
    return not count


def print_response(what: str, number: int, response: Response, options: argparse.Namespace) -> None:
    """One reply to a list request, as documented or as JSON."""
    content: dict[str, Any] = dict(response) if response.status else response.content
    if options.json:
        print(json.dumps({"request": what, "peer": list(response.peer), **content}, default=repr))
        return
    print(f"{what} {number:2d} from {response.peer}: {json.dumps(content, indent=4, default=repr)}")


def operated(connection: client.Connector, options: argparse.Namespace) -> int:
    """Carry the operations out; returns how many failed."""
    texts: Iterable[str] = operation_texts(options.tags)
    total = None
    if "-" not in options.tags:
        total = len(options.tags) * options.repeat
    if options.repeat > 1:
        texts = list(texts) * options.repeat
    multiple: int | bool = 0
    if options.multiple:
        multiple = True if options.connected else MULTIPLE_BYTES
    shown = options.print or options.json or options.csv or options.verbose
    results = connection.operate(
        parsed(texts, options),
        depth=options.depth,
        multiple=multiple,
        fragment=options.fragment,
        timeout=options.timeout,
        validating=True,
    )
    start = time.monotonic()
    count, failed = show(with_progress(results, total, quiet=bool(shown)), options)
    elapsed = max(time.monotonic() - start, 1e-9)
    log.log(
        NORMAL,
        "Client Tag I/O  Average %7.3f TPS (%7.3fs ea).",
        count / elapsed,
        elapsed / max(count, 1),
    )
    return failed


def parsed(texts: Iterable[str], options: argparse.Namespace) -> Iterator[client.Operation]:
    """The operations that the texts mean."""
    if options.pccc:
        return client.pccc_operations(texts, plc5=options.pccc == "plc5")
    return client.parse_operations(texts)


def show(results: Iterable[client.Result], options: argparse.Namespace) -> tuple[int, int]:
    """Print results as asked; returns (how many, how many failed)."""
    table = CsvOutput()
    count = failed = 0
    for result in results:
        count += 1
        if options.json:
            print_json(result)
        elif options.csv:
            table.print(result)
        elif options.print:
            print(client.summary_line(result))
        log_result(result)
        if options.verbose:
            log.log(NORMAL, "%s", client.summary_line(result))
        if not result.ok:
            failed += 1
            complain(NAME, failure_line(result))
    return count, failed


def browsed(connection: client.Connector, options: argparse.Namespace) -> bool:
    """Print the target's tags and structures; returns whether it told none."""
    try:
        tree = connection.browse(options.timeout)
    except BrowseRefused as error:
        complain(NAME, str(error))
        return True
    if options.json:
        for tag in tree.tags:
            print(json.dumps({"tag": tag.name, "type": tag.type_name, "instance": tag.instance}))
        return False
    for line in tree.lines():
        print(line)
    return False


def discovered(options: argparse.Namespace) -> int:
    """Print a table of the devices that answer a broadcast."""
    host, port = address(options.address) if options.address else ("255.255.255.255", 44818)
    found = discover(host, port, timeout_s=min(options.timeout, 2.0), source=options.source)
    if options.json:
        for device in found:
            print(json.dumps(device.plain()))
    else:
        line = "{:<21} {:<32} {:>6} {:>6} {:>7} {:>8} {:>10}"
        print(line.format("address", "product", "vendor", "type", "code", "revision", "serial"))
        for device in found:
            print(line.format(*device.columns()))
    if not found:
        complain(NAME, f"no device answered at {host}", "try -a with the network's broadcast")
        return FAILED
    return DONE
