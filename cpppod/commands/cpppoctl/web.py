"""The commands of `cpppoctl` for the web page: tokens and users."""

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import Any

from cpppod.commands.cpppoctl.output import print_json, print_table
from cpppod.control_client import ControlClient, ControlError

Add = Callable[..., argparse.ArgumentParser]
ROLES = ("viewer", "operator", "engineer")


def add_commands(add: Add) -> None:
    """Add these commands' parsers."""
    command = add(
        "web",
        token,
        "make a token for the web page and its API",
        example="cpppoctl web token --role engineer",
    )
    command.add_argument("action", choices=("token",))
    command.add_argument("--role", choices=ROLES, default="viewer", help="(default %(default)s)")
    command.add_argument("--name", default="", help="what the audit calls who uses it")
    command.add_argument("--once", action="store_true", help="for one log-in to the page only")
    command = add(
        "users",
        users,
        "list and change who may log in to the web page",
        example="cpppoctl users add anna --role operator",
    )
    command.add_argument("action", choices=("list", "add", "passwd", "role", "remove"))
    command.add_argument("name", nargs="?", default="")
    command.add_argument("new_role", nargs="?", choices=ROLES, metavar="ROLE")
    command.add_argument("--role", choices=ROLES, help="of a new user (default viewer)")


def token(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl web token`."""
    answer = gateway.ask("token", role=given.role, name=given.name, once=given.once)
    if given.json:
        print_json(answer)
        return 0
    print(answer["token"])
    print(f"page: {answer['url']}", file=sys.stderr)
    return 0


def users(gateway: ControlClient, given: argparse.Namespace) -> int:
    """`cpppoctl users`.

    Raises:
        ControlError: a name or a role is missing, or the gateway refused.
    """
    arguments: dict[str, Any] = {"action": given.action, "name": given.name}
    if given.action != "list" and not given.name:
        raise ControlError("users", "lacks a name", f"cpppoctl users {given.action} NAME")
    role = given.new_role or given.role
    if given.action == "role" and not role:
        raise ControlError(given.name, "lacks a role", f"one of {', '.join(ROLES)}")
    if role:
        arguments["role"] = role
    if given.action in ("add", "passwd"):
        arguments["password"] = _password()
    answer = gateway.ask("users", **arguments)
    if given.json:
        print_json(answer)
    else:
        print_table(("user", "role"), list(answer["users"].items()))
    return 0


def _password() -> str:
    """A password that was typed twice, or the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        raise ControlError("password", "not the same twice", "typing it again")
    return password
