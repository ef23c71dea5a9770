"""`cpppoctl`: asks and steers a running gateway through its control socket.

    cpppoctl status                      what runs, what does not, since when
    cpppoctl device boiler               why is this bad?
    cpppoctl read boiler.pressure        a value, its quality and its age
    cpppoctl write boiler.setpoint=52.5

Exit status: 0 done, 1 refused or failed (also: a value that is not good), 2 wrong usage,
3 daemon unreachable.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from cpppod.commands.cpppoctl import actions as cpppoctl_actions
from cpppod.commands.cpppoctl import audit as cpppoctl_audit
from cpppod.commands.cpppoctl import history as cpppoctl_history
from cpppod.commands.cpppoctl import queries as cpppoctl_queries
from cpppod.commands.cpppoctl import transfer as cpppoctl_transfer
from cpppod.commands.cpppoctl import web as cpppoctl_web
from cpppod.commands.cpppoctl.fleet import VERBS, FleetClient
from cpppod.commands.parser import CommandParser, VerbParser
from cpppod.control_client import ControlClient, ControlError, Unreachable

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3

EPILOG = """\
examples:
  cpppoctl status                          what runs, what does not
  cpppoctl device boiler                   why is this device bad?
  cpppoctl tags 'boiler.*'                 its tags with values, quality and age
  cpppoctl read boiler.pressure --json     for a program
  cpppoctl write boiler.setpoint=52.5
  cpppoctl watch boiler                    every change, until Ctrl-C
  cpppoctl history boiler.pressure --since 10m --csv
  cpppoctl reload --dry-run                what would a reload change?
  cpppoctl --fleet nats://hub:4222 --creds FILE --at north/plant1 devices

The socket is --socket or $CPPPOD_SOCKET; without them it is looked for in /run/cpppod,
$XDG_RUNTIME_DIR/cpppod and cpppod-<uid> in the system's temporary directory.

exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 daemon unreachable
"""

Run = Callable[[ControlClient, argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    everywhere = VerbParser(add_help=False)
    everywhere.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print the answer as JSON, for programs",
    )
    everywhere.add_argument(
        "--socket",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help="the control socket, or the runtime directory that it is in",
    )
    for option, metavar, text in (
        ("--fleet", "URL", "ask a gateway over this server of its fleet: nats://host:port"),
        ("--creds", "FILE", "a user's credentials at that server"),
        ("--at", "SITE/NAME", "which gateway of the fleet; default: the only one"),
    ):
        everywhere.add_argument(option, metavar=metavar, default=argparse.SUPPRESS, help=text)
    options = CommandParser(
        prog="cpppoctl",
        description="Ask and steer a running cpppod gateway.",
        epilog=EPILOG,
        parents=[everywhere],
    )
    commands = options.add_subparsers(
        dest="command",
        metavar="COMMAND",
        required=True,
        parser_class=VerbParser,
    )

    def add(name: str, run: Run | None, text: str, *, example: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}{'' if text.endswith('?') else '.'}",
            epilog=f"example: {example}" if example else None,
            parents=[everywhere],
        )
        command.set_defaults(run=run)
        return command

    for module in (
        cpppoctl_queries,
        cpppoctl_history,
        cpppoctl_transfer,
        cpppoctl_audit,
        cpppoctl_actions,
        cpppoctl_web,
    ):
        module.add_commands(add)
    return options


OFFLINE: dict[str, Callable[[argparse.Namespace], int]] = {  # these need no daemon
    "play": cpppoctl_history.play,
    "export": cpppoctl_transfer.export,
    "import": cpppoctl_transfer.bring_in,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `cpppoctl`; the exit status."""
    given = parser().parse_args(arguments)
    given.json = getattr(given, "json", False)
    try:
        if (offline := OFFLINE.get(given.command)) is not None:
            return offline(given)
        if given.command == "audit" and given.state:
            return cpppoctl_audit.offline(given)
        with _gateway(given) as gateway:
            run: Run = given.run
            return run(gateway, given)
    except Unreachable as error:
        return complain(error, UNREACHABLE)
    except ControlError as error:
        return complain(error, FAILED)
    except KeyboardInterrupt:
        return DONE  # how a watch ends
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return DONE


def _gateway(given: argparse.Namespace) -> ControlClient:
    """Who is asked: the gateway of the control socket, or one of the fleet.

    Raises:
        ControlError: there is none, or it cannot be asked this.
    """
    server = getattr(given, "fleet", "")
    named = [name for name in ("creds", "at") if getattr(given, name, "")]
    if not server and named:
        raise ControlError(f"--{named[0]}", "is for a gateway of a fleet", "--fleet URL beside it")
    if not server:
        return ControlClient.connect(getattr(given, "socket", ""))
    if given.command not in VERBS:
        told = f"one of {', '.join(VERBS)}"
        raise ControlError(given.command, "cannot be asked over the fleet", told)
    return FleetClient(server, getattr(given, "creds", ""), getattr(given, "at", ""))


def complain(error: ControlError, status: int) -> int:
    """Say what went wrong on stderr, and hand `status` back."""
    print(f"cpppoctl: {error}", file=sys.stderr)
    return status
