"""Users without any privilege, in each of the groups: every verb as docs/control.md has it.

As root each is tried by a process of another user, whose groups the kernel tells; without root only
the table is, by the rights that the socket would give.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpppod.workers.control import socket as control_socket
from cpppod.workers.control.access import GroupRights, Known, Peer, right_of
from cpppod.workers.process.limited_log import BURST, LimitedLog
from cpppod.workers.rights import Right
from tests.known_gateway import known_gateway, served
from tests.patience import PATIENCE_S
from tests.workers.control.test_wrong_arguments import VERBS

DOCS = Path(__file__).parents[3] / "docs" / "control.md"
GROUPS = {54321: Right.VIEWER, 54322: Right.OPERATOR, 54323: Right.ENGINEER}
ASKED = {**VERBS, "watch": {"patterns": ["*"]}, "reload": {"dry_run": True}, "stop": {}}
ROLES = {"": 0, "viewer": 54321, "operator": 54322, "engineer": 54323}

AS_NOBODY = """
import json, os, socket, sys
path, group, asked = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
os.setgroups([group] if group else [])
os.setgid(65534)
os.setuid(65534)
for verb, arguments in asked.items():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        try:
            line = json.dumps({"id": verb, "verb": verb, "arguments": arguments}) + "\\n"
            s.sendall(line.encode())
        except BrokenPipeError:
            pass  # refused already: the line that says why is there
        print(s.makefile().readline().strip(), flush=True)
"""


def documented() -> dict[str, set[str]]:
    """Role -> the verbs that its row of the table adds."""
    rows = re.findall(
        r"^\| (viewer|operator|engineer) \|[^|]*\| ([^|]*)\|$", DOCS.read_text(), re.M
    )
    return {role: set(re.findall(r"`(\w+)`", verbs)) for role, verbs in rows}


def allowed(role: str) -> set[str]:
    """All the verbs that a member of the role's group may use."""
    rows = documented()
    order = ("viewer", "operator", "engineer")
    return set().union(*(rows[each] for each in order[: order.index(role) + 1])) if role else set()


@pytest.fixture
def path() -> Iterator[Path]:
    rights = GroupRights(GROUPS, {})

    async def look_up(peer: Peer) -> Known:
        return Known(right_of(peer, "", own_uid=os.getuid(), rights=rights), f"user{peer.uid}")

    known = known_gateway()
    known.answers |= {"gateways": {}, "adopt": {}}
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # pytest's own are closed to others
        os.chmod(directory, 0o755)
        with served(known, Path(directory) / "control.sock", look_up):
            yield Path(directory) / "control.sock"


def test_every_verb_is_in_the_table_once() -> None:
    rows = documented()
    named = [verb for verbs in rows.values() for verb in verbs]
    assert sorted(named) == sorted(ASKED)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
@pytest.mark.parametrize("role", ROLES)
def test_member_of_a_group_may_do_what_the_table_says_and_nothing_else(
    path: Path, role: str
) -> None:
    asked = json.dumps(ASKED)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path), str(ROLES[role]), asked],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    answers: dict[str, Any] = dict(
        zip(ASKED, map(json.loads, done.stdout.splitlines()), strict=True)
    )
    for verb, answer in answers.items():
        why = "" if answer["ok"] else answer["error"]["why"]
        if not role:
            assert "is in none of its groups" in why, verb
        elif verb in allowed(role):
            assert "needs the right" not in why, (verb, why)
        else:
            needed = next(name for name, verbs in documented().items() if verb in verbs)
            assert f"needs the right {needed}; uid 65534 is {role}" in why, (verb, why)
    if role == "operator":
        assert all(each["ok"] for each in answers["write"]["result"]["writes"])


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
def test_reconnects_of_somebody_without_a_right_are_a_few_lines_of_the_log(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "strangers", LimitedLog())
    asked = json.dumps({f"status{number}": {} for number in range(200)})
    subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path), "0", asked],
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        check=True,
    )
    refused = [line for line in caplog.messages if "control peer refused" in line]
    assert len(refused) == BURST
