"""`enip_list_services`: List Services, and on demand List Identity and List Interfaces.

enip_list_services -a plc
enip_list_services --udp --broadcast --list-identity -a 10.0.0.255
"""

import argparse
import json

from cpppod import client
from cpppod.client.responses import Response
from cpppod.commands.enip.options import (
    DONE,
    FAILED,
    add_target,
    address,
    complain,
    new_parser,
    run_command,
)

NAME = "enip_list_services"
EXAMPLES = """\
  enip_list_services -a plc
  enip_list_services --udp --broadcast --list-identity -a 10.0.0.255"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = new_parser(NAME, "Ask devices for their services and identity.", EXAMPLES)
    add_target(options)
    options.add_argument(
        "-S", "--source-address", "--source", metavar="ADDRESS", help="local address to send from"
    )
    options.add_argument("-u", "--udp", action="store_true", help="UDP instead of TCP")
    options.add_argument(
        "-b", "--broadcast", action="store_true", help="UDP, and wait for many replies"
    )
    options.add_argument(
        "-i", "--list-identity", "--identity", action="store_true", help="List Identity too"
    )
    options.add_argument(
        "-I", "--list-interfaces", "--interfaces", action="store_true", help="List Interfaces too"
    )
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return run_command(NAME, parser(), run, argv)


def run(options: argparse.Namespace) -> int:
    """Ask, and print every reply whole."""
    host, port = address(options.address)
    connection = client.client(
        host,
        port,
        options.timeout,
        udp=options.udp or options.broadcast,
        broadcast=options.broadcast,
        source_address=options.source_address,
    )
    wanted = 1 + options.list_identity + options.list_interfaces
    seen: set[int] = set()
    with connection:
        try:
            connection.list_services()
            if options.list_identity:
                connection.list_identity()
            if options.list_interfaces:
                connection.list_interfaces()
            for response in client.harvest(connection, options.timeout):
                show(response, options)
                seen.add(response.command)
                if len(seen) == wanted and not options.broadcast:
                    break
        finally:
            connection.close()
    if not seen or (len(seen) < wanted and not options.broadcast):
        return complain(NAME, f"{wanted - len(seen)} of {wanted} requests had no reply") or FAILED
    return DONE


def show(response: Response, options: argparse.Namespace) -> None:
    """Print one reply."""
    if options.json:
        print(json.dumps(dict(response), default=repr))
    else:
        print(client.enip_format(response))
