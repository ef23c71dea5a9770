"""The control socket over a real Unix socket: lines, limits, rights."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpppod.workers.control import socket as control_socket
from cpppod.workers.control.access import (
    FRESH_S,
    GroupRights,
    Known,
    NameService,
    Peer,
    group_rights,
    right_of,
)
from cpppod.workers.control.socket import Caller, ControlSocket, Refusal, Verb
from cpppod.workers.rights import Right
from tests.patience import PATIENCE_S


async def echo(caller: Caller, arguments: dict[str, Any]) -> Any:
    return arguments


async def refuse(caller: Caller, arguments: dict[str, Any]) -> Any:
    raise Refusal("boiler", "no such device", "cpppoctl devices")


async def count(caller: Caller, arguments: dict[str, Any]) -> AsyncIterator[Any]:
    for number in range(int(arguments["to"])):
        yield number


VERBS = {
    "echo": Verb(Right.VIEWER, answer=echo),
    "refuse": Verb(Right.VIEWER, answer=refuse),
    "count": Verb(Right.VIEWER, stream=count),
}


async def as_engineer(peer: Peer) -> Known:
    return Known(Right.ENGINEER, "root")


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(path: Path, talk_to: Talk) -> None:
    """Run `talk_to` against a control socket at `path`."""

    async def run() -> None:
        server = ControlSocket(str(path), VERBS, as_engineer)
        await server.start()
        try:
            reader, writer = await asyncio.open_unix_connection(str(path), limit=1_000_000)
            try:
                await asyncio.wait_for(talk_to(reader, writer), PATIENCE_S)
            finally:
                writer.close()
        finally:
            await server.stop()

    asyncio.run(run())


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> Any:
    writer.write(line + b"\n")
    return json.loads(await reader.readline())


def test_request_is_answered_under_its_id(tmp_path: Path) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = b'{"id": 7, "verb": "echo", "arguments": {"a": [1, 2.5, null]}}'
        answer = await ask(reader, writer, request)
        assert answer == {"id": 7, "ok": True, "result": {"a": [1, 2.5, None]}}

    talk(tmp_path / "control.sock", talking)


def test_refusal_says_what_why_and_what_to_try(tmp_path: Path) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await ask(reader, writer, b'{"id": "x", "verb": "refuse"}') == {
            "id": "x",
            "ok": False,
            "error": {"what": "boiler", "why": "no such device", "try": "cpppoctl devices"},
        }

    talk(tmp_path / "control.sock", talking)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\xff\xfe binary", "not a line of JSON"),
        (b"[" * 30_000, "not a line of JSON"),
        (b"[1]", "not an object with a verb"),
        (b'{"verb": 3}', "not an object with a verb"),
        (b'{"verb": "echo", "id": {}}', "the id is neither a number nor a string"),
        (b'{"verb": "echo", "arguments": []}', "arguments are not an object"),
        (b'{"verb": "echo.__class__.__mro__"}', "no such verb"),
        (b'{"verb": "supervisor.supervisord.options"}', "no such verb"),
    ],
)
def test_what_is_not_a_request_is_refused_and_the_connection_stays(
    tmp_path: Path, line: bytes, why: str
) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await ask(reader, writer, line)
        assert not answer["ok"]
        assert answer["error"]["why"] == why
        assert (await ask(reader, writer, b'{"verb": "echo"}'))["ok"]

    talk(tmp_path / "control.sock", talking)


def test_megabyte_without_a_newline_is_refused_and_the_connection_closed(tmp_path: Path) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 1_000_000)
        answer = json.loads(await reader.readline())
        assert answer["error"]["why"] == f"longer than {control_socket.MAX_LINE} bytes"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    talk(tmp_path / "control.sock", talking)


def test_line_of_the_limit_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    head, tail = b'{"verb":"echo","arguments":{"a":"', b'"}}'
    longest = head + b"x" * (control_socket.MAX_LINE - len(head) - len(tail) - 1) + tail

    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await ask(reader, writer, longest))["ok"]
        longer = longest.replace(b"x", b"xxx", 1)
        assert not (await ask(reader, writer, longer))["ok"]

    talk(tmp_path / "control.sock", talking)


def test_seventeenth_connection_is_refused_and_a_closed_one_gives_its_place_back(
    tmp_path: Path,
) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = str(tmp_path / "control.sock")
        assert (await ask(reader, writer, b'{"verb": "echo"}'))["ok"]
        others = [await asyncio.open_unix_connection(path) for _ in range(15)]
        for other in others:
            assert (await ask(*other, b'{"verb": "echo"}'))["ok"]
        late = await asyncio.open_unix_connection(path)
        assert json.loads(await late[0].readline())["error"]["why"] == "too many connections"
        assert await late[0].read() == b""
        others[0][1].close()
        await others[0][1].wait_closed()
        while True:
            again = await asyncio.open_unix_connection(path)
            if (await ask(*again, b'{"verb": "echo"}'))["ok"]:
                break
        for _, other_writer in [*others, late, again]:
            other_writer.close()

    talk(tmp_path / "control.sock", talking)


def test_stream_sends_line_after_line_beside_other_answers(tmp_path: Path) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await ask(reader, writer, b'{"id": 1, "verb": "count", "arguments": {"to": 3}}')
        lines = [first, *[json.loads(await reader.readline()) for _ in range(2)]]
        assert [line["result"] for line in lines] == [0, 1, 2]
        assert all(line["more"] and line["id"] == 1 for line in lines)
        assert (await ask(reader, writer, b'{"id": 2, "verb": "echo"}'))["id"] == 2

    talk(tmp_path / "control.sock", talking)


def test_everyone_may_connect_because_rights_are_decided_at_accept(tmp_path: Path) -> None:
    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert stat.S_IMODE(os.stat(tmp_path / "control.sock").st_mode) == 0o666

    talk(tmp_path / "control.sock", talking)


def test_rights_come_from_uid_and_any_group() -> None:
    known = GroupRights({50: Right.VIEWER, 60: Right.OPERATOR}, {"carol": Right.OPERATOR})
    rights = [
        right_of(Peer(1, uid, frozenset(groups)), "bob", own_uid=900, rights=known)
        for uid, groups in [(0, []), (900, [7]), (1000, [7]), (1000, [7, 50]), (1000, [50, 60])]
    ]
    assert rights == [
        Right.ENGINEER,
        Right.ENGINEER,
        Right.NONE,
        Right.VIEWER,
        Right.OPERATOR,
    ]


def test_member_of_a_group_needs_no_new_login() -> None:
    known = GroupRights({50: Right.VIEWER}, {"carol": Right.OPERATOR})
    carol = Peer(1, 1000, frozenset([50]))
    assert right_of(carol, "carol", own_uid=900, rights=known) is Right.OPERATOR


def test_groups_that_the_machine_does_not_have_give_no_right() -> None:
    assert group_rights({"viewer": "no-such-group-here"}) == GroupRights({}, {})
    assert set(group_rights({"operator": "root"}).by_group.values()) == {Right.OPERATOR}


def test_groups_are_looked_up_as_a_peer_is_accepted_and_not_for_each_of_a_flood() -> None:
    asked: list[dict[str, str]] = []
    now, groups = [0.0], {"viewer": "a"}

    def call(look_up: Any, peer: Peer, given: dict[str, str]) -> asyncio.Future[Known]:
        asked.append(given)
        answer: asyncio.Future[Known] = asyncio.get_running_loop().create_future()
        answer.set_result(Known(Right.VIEWER if len(asked) > 1 else Right.NONE))
        return answer

    async def run() -> None:
        service = NameService(call, lambda: groups, lambda: now[0])
        for pid in range(5_000):
            known = await service.look_up(Peer(pid, 1000, frozenset()))
            assert known.right is Right.NONE
        now[0] += FRESH_S
        groups["viewer"] = "b"
        assert (await service.look_up(Peer(1, 1000, frozenset()))).right is Right.VIEWER
        await service.look_up(Peer(1, 1001, frozenset()))

    asyncio.run(run())
    assert asked == [{"viewer": "a"}, {"viewer": "b"}, {"viewer": "b"}]


AS_NOBODY = """
import os, socket, sys
path, groups = sys.argv[1], [int(gid) for gid in sys.argv[2].split(",") if gid]
os.setgroups(groups)
os.setgid(65534)
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.connect(path)
    try:
        s.sendall(b'{"verb": "write-like"}\\n')
    except BrokenPipeError:
        pass  # refused already: the line that says why is there
    print(s.makefile().readline())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
@pytest.mark.parametrize(
    ("groups", "answer"),
    [
        ("", "is in none of its groups"),
        ("54321", "needs the right operator; uid 65534 is viewer"),
        ("54321,54322", '"ok":true'),
    ],
)
def test_supplementary_groups_decide_for_another_user(
    tmp_path_factory: pytest.TempPathFactory, groups: str, answer: str
) -> None:
    import sys
    import tempfile

    async def run(path: str) -> str:
        verbs = {"write-like": Verb(Right.OPERATOR, answer=echo)}
        rights = GroupRights({54321: Right.VIEWER, 54322: Right.OPERATOR}, {})

        async def look_up(peer: Peer) -> Known:
            return Known(right_of(peer, "", own_uid=os.getuid(), rights=rights))

        server = ControlSocket(path, verbs, look_up)
        await server.start()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", AS_NOBODY, path, groups, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
            return output.decode()
        finally:
            await server.stop()

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # pytest's own are closed to others
        os.chmod(directory, 0o755)
        assert answer in asyncio.run(run(f"{directory}/control.sock"))
