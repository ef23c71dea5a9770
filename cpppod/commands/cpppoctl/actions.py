"""The commands of `cpppoctl` that change something, from `write` to `stop`."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from cpppod.commands.cpppoctl.output import print_json, value
from cpppod.control_client import ControlClient, ControlError

Add = Callable[..., argparse.ArgumentParser]

STOP_S = 10.0  # for the gateway to be gone; it takes less than one
KINDS = ("workers", "devices", "listeners", "lines", "routes")


def add_commands(add: Add) -> None:
    """Add these commands' parsers."""
    command = add(
        "write",
        write,
        "write tags in the order given, stopping at the first that fails",
        example="cpppoctl write boiler.setpoint=52.5 'recipe[2]=1,2,3'",
    )
    command.add_argument("writes", nargs="+", metavar="TAG=VALUE", type=assignment)
    for verb, text in (
        ("pause", "stop polling a device"),
        ("resume", "poll a device again"),
        ("probe", "ask a device that does not answer again, now"),
    ):
        command = add(verb, pause_or_resume, text, example=f"cpppoctl {verb} boiler")
        command.add_argument("device", metavar="DEVICE")
    command = add(
        "restart", restart, "restart one worker", example="cpppoctl restart poller-boiler"
    )
    command.add_argument("worker", metavar="WORKER")
    command = add(
        "reload",
        reload,
        "read the configuration anew and put it in force, whole or not at all",
        example="cpppoctl reload --dry-run",
    )
    command.add_argument("--dry-run", action="store_true", help="only say what would change")
    command = add("log", log, "set the log level", example="cpppoctl log debug poller-boiler")
    command.add_argument("level", choices=("debug", "info", "warning", "error"))
    command.add_argument("worker", nargs="?", metavar="WORKER", help="only that of this worker")
    add("stop", stop, "stop the gateway")
    command = add(
        "gateway",
        identity,
        "say this gateway's id and whose history is in its store; join that of one it replaces",
        example="cpppoctl gateway adopt gw-3f9a1c20b7de",
    )
    command.add_argument("action", nargs="?", choices=("adopt",))
    command.add_argument("id", nargs="?", metavar="ID", default="")


def assignment(text: str) -> list[str]:
    """TAG and VALUE of a command-line argument.

    Raises:
        ArgumentTypeError: it is not of the form TAG=VALUE.
    """
    tag, equals, given = text.partition("=")
    if not equals or not tag:
        raise argparse.ArgumentTypeError(f"{text!r} is not TAG=VALUE")
    return [tag.strip(), given]


def write(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl write TAG=VALUE ...`."""
    answer = gateway.ask("write", writes=given.writes)
    failed = [each for each in answer["writes"] if not each["ok"]]
    if given.json:
        print_json(answer)
        return 1 if failed else 0
    for each in answer["writes"]:
        if each["ok"]:
            print(f"{_target(each)}: {value(each['was'])} -> {value(_now(each))}")
    for each in failed:
        print(f"cpppoctl: {each['tag']}: {_failure(each)}", file=sys.stderr)
    if answer["not_tried"]:
        print(f"cpppoctl: not tried: the last {answer['not_tried']}", file=sys.stderr)
    return 1 if failed else 0


def _target(each: dict[str, Any]) -> str:
    """The written tag; with the element where it has several."""
    several = isinstance(each["now"]["value"], list)
    return f"{each['tag']}[{each['first']}]" if several else str(each["tag"])


def _now(each: dict[str, Any]) -> Any:
    """The written elements as they were read back."""
    now, first = each["now"]["value"], each["first"]
    if not isinstance(now, list):
        return now
    written = now[first : first + each["count"]]
    return written[0] if len(written) == 1 else written


def _failure(each: dict[str, Any]) -> str:
    """Why a write failed, and what is to be done about it."""
    words = each["error"] or "refused"
    if each["outcome"] == "unknown":
        return f"outcome unknown: {words}; try cpppoctl read {each['tag']}"
    extended = "".join(f", extended 0x{word:04x}" for word in each["extended"])
    status = f"(status 0x{each['status']:02x}{extended}): {each['status_text']}"
    return f"{words} {status}; try cpppoctl tags {each['tag']}"


def pause_or_resume(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl pause DEVICE`, `cpppoctl resume DEVICE`, `cpppoctl probe DEVICE`."""
    answer = gateway.ask(given.command, device=given.device)
    done = {"pause": "paused", "resume": "polled again", "probe": "probed"}[given.command]
    return _say(given, answer, f"{answer['device']}: {done}")


def restart(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl restart WORKER`."""
    answer = gateway.ask("restart", worker=given.worker)
    return _say(given, answer, f"{answer['worker']}: restarted")


def log(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl log LEVEL [WORKER]`."""
    chosen = {"worker": given.worker} if given.worker else {}
    answer = gateway.ask("log", level=given.level, **chosen)
    for worker, why in answer["failed"].items():
        print(f"cpppoctl: {worker}: {why}; try cpppoctl status", file=sys.stderr)
    done = len(answer["workers"]) - len(answer["failed"])
    _say(given, answer, f"log level {answer['level']}: {done} worker{'s' * (done != 1)}")
    return 1 if answer["failed"] else 0


def reload(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl reload [--dry-run]`."""
    answer = gateway.ask("reload", dry_run=given.dry_run)
    if given.json:
        print_json(answer)
        return 0
    lines = plan_lines(answer["plan"])
    print("\n".join(lines) if lines else "nothing changes")
    for worker in answer["restarted"]:
        print(f"restarted   worker {worker}")
    generation = answer["plan"]["generation"]
    print(f"generation {generation} is in force" if answer["applied"] else "not applied")
    return 0


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """What a reload adds, changes and removes, a line each."""
    lines = []
    for action in ("added", "changed", "removed"):
        for kind in KINDS:
            one = kind.removesuffix("s")
            lines += [f"{action:<10}  {one} {name}" for name in plan[kind].get(action, [])]
    return lines + [f"changed     section [{name}]" for name in plan["sections"]]


def stop(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl stop`: returns when supervisord has ended, which ends last.

    Raises:
        ControlError: it still runs after `STOP_S`, or control did not do it.
    """
    answer = gateway.ask("stop")
    deadline = time.monotonic() + STOP_S
    while _is_alive(answer["pid"]):
        if time.monotonic() > deadline:
            raise ControlError("stop", f"still running after {STOP_S:g} s", "cpppoctl status")
        time.sleep(0.02)
    return _say(given, answer, "stopped")


def identity(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl gateway [adopt ID]`.

    Raises:
        ControlError: no id to adopt was given, or control refused it.
    """
    if given.action and not given.id:
        raise ControlError("gateway adopt", "no id", "cpppoctl gateway, which lists them")
    answer = gateway.ask("adopt", id=given.id) if given.action else gateway.ask("gateway")
    if given.json:
        print_json(answer)
        return 0
    own = answer["id"]
    print(f"{own:<24} this gateway")
    for name in answer["gateways"]:
        if name != own:
            by = answer["adopted"].get(name)
            print(f"{name:<24} {f'adopted by {by}' if by else 'history of its own in this store'}")
    return 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's: there, and not ours to signal
    return True


def _say(given: argparse.Namespace, answer: Any, text: str) -> int:
    if given.json:
        print_json(answer)
    else:
        print(text)
    return 0
