"""The commands of `cpppoctl` about the past: history, and play, which serves it again.

cpppoctl history boiler.pressure --since 10m           a table
cpppoctl history boiler.pressure --since 2h --csv      time,value,quality,reason
cpppoctl history boiler.pressure --since 1d --plot     a picture, as wide as the terminal
"""

import argparse
import importlib
import importlib.util
from collections.abc import Callable

from cpppod.commands.cpppoctl_output import print_json
from cpppod.control_client import ControlClient

Add = Callable[..., argparse.ArgumentParser]

PLOT_HEIGHT = 14
LEVELS = " ▁▂▃▄▅▆▇█"
PLAYBACK = "cpppod.history.playback"


def add_commands(add: Add) -> None:
    """Add these commands' parsers."""
    command = add(
        "history",
        history,
        "show the stored values of a tag",
        example="cpppoctl history boiler.pressure --since 10m --plot",
    )
    command.add_argument("tag", metavar="TAG")
    command.add_argument(
        "--since", default="10m", metavar="TIME", help="10m, 2h, 3d ... or a date and time (10m)"
    )
    command.add_argument("--until", default="", metavar="TIME", help="likewise (now)")
    command.add_argument("--limit", type=int, metavar="N", help="at most N values")
    shape = command.add_mutually_exclusive_group()
    shape.add_argument("--csv", action="store_true", help="comma-separated, with a head line")
    shape.add_argument("--plot", action="store_true", help="a picture in the terminal")
    if importlib.util.find_spec(PLAYBACK):
        command = add("play", None, "serve stored values again, as they came")
        importlib.import_module(PLAYBACK).add_arguments(command)


def play(given: argparse.Namespace) -> int:
    """`cpppoctl play`: needs the store, not the daemon."""
    status: int = importlib.import_module(PLAYBACK).run(given)
    return status


def history(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl history TAG`."""
    answer = gateway.ask("history", tag=given.tag, since=given.since, until=given.until)
    print_json(answer)
    return 0
