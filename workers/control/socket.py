"""The control socket: newline-delimited JSON on a Unix stream socket, rights decided at accept.

    peer     {"id": 7, "verb": "device", "arguments": {"name": "boiler"}}\\n
    control  {"id": 7, "ok": true, "result": {...}}\\n
             {"id": 7, "ok": false, "error": {"what": ..., "why": ..., "try": ...}}\\n
             {"id": 7, "ok": true, "result": {...}, "more": true}\\n      streamed, until closed

Requests of one connection are answered in order, one at a time; a streaming verb goes on beside
them until the connection closes. A value that JSON cannot say (NaN, infinities) is null. Verbs are
looked up in a dict: there is no other way to a function.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cpppod.protocols.model.writing import Writer
from cpppod.workers.control.access import Known, Peer, peer_of
from cpppod.workers.plain_json import encode
from cpppod.workers.process.io_thread import IoThreadBusy
from cpppod.workers.process.limited_log import strangers
from cpppod.workers.rights import Right

MAX_LINE = 65_536  # bytes of a request: a write of 1,000 tags is half of that
MAX_CONNECTIONS = 16  # people and their scripts; each may hold a line of 64 KB
MAX_PER_UID = 8  # of those for one uid that is neither root nor ours, so that it cannot lock us out
IDLE_S = 300.0  # a connection that asks nothing for so long gives its place back
SEND_S = 10.0  # a peer that reads nothing for so long is dropped
MAX_STREAMS = 4  # of one connection: a program that wants more patterns names them in one
BACKLOG = 64
MAX_SOURCE = 120  # characters

log = logging.getLogger(__name__)


LookUp = Callable[[Peer], Awaitable[Known]]


class Refusal(Exception):
    """What a verb answers instead of a result: what failed, why, and what to try."""

    def __init__(self, what: str, why: str, advice: str = "") -> None:
        super().__init__(f"{what}: {why}")
        self.what, self.why, self.advice = what, why, advice

    def plain(self) -> dict[str, str]:
        """The refusal as the socket says it."""
        return {"what": self.what, "why": self.why, "try": self.advice}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a verb works for; `user` is his name, as the machine's name service has it.

    Attributes:
        behalf: who really asks, as an outlet says it: believed of the gateway's own user alone.
    """

    peer: Peer
    right: Right
    user: str = ""
    behalf: str = ""

    @property
    def source(self) -> str:
        """How lines of the log name him."""
        return self.behalf or self.peer.source

    @property
    def writer(self) -> Writer:
        """Him, as one who writes."""
        peer = self.peer
        user = self.user or f"uid={peer.uid}"
        address = f"uid={peer.uid} pid={peer.pid}"
        return Writer("control", user, address, role=self.right.name.lower())


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the verb table: exactly one of `answer` and `stream`.

    Attributes:
        forbidden: is told of whoever asked without the right.
    """

    right: Right
    answer: Callable[[Caller, dict[str, Any]], Awaitable[Any]] | None = None
    stream: Callable[[Caller, dict[str, Any]], AsyncIterator[Any]] | None = None
    forbidden: Callable[[Caller, dict[str, Any]], None] | None = None


class ControlSocket:
    """Serves `verbs` at the Unix socket `path`.

    Args:
        look_up: says who a peer is and what he may do, asked as he is accepted.

    Attributes:
        counts: what happened, for the metrics: accepted, refused, requests, errors.
    """

    def __init__(self, path: str, verbs: Mapping[str, Verb], look_up: LookUp) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._verbs = verbs
        self._look_up = look_up
        self._open: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind and serve; everyone may connect, for the rights are decided at accept."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.setblocking(False)
        listening.bind(self.path)
        os.chmod(self.path, 0o666)
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listening, limit=MAX_LINE, backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Close the socket and every connection, and remove its file."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._admit(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            self.counts["closed"] += 1
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = _credentials(writer)
        except OSError:
            return
        try:
            known = await self._look_up(peer)
        except IoThreadBusy:
            known = Known(Right.NONE)
        refusal = self._refusal(peer, known.right)
        if refusal is not None:
            self.counts["refused"] += 1
            strangers.warning(
                log, "control peer refused uid=%d pid=%d why=%r", peer.uid, peer.pid, refusal.why
            )
            await _send(writer, {"id": None, "ok": False, "error": refusal.plain()})
            return
        self.counts["accepted"] += 1
        self._open[peer.uid] += 1
        try:
            caller = Caller(peer, known.right, known.user)
            await _Connection(self._verbs, caller, self.counts).run(reader, writer)
        finally:
            self._open[peer.uid] -= 1

    def _refusal(self, peer: Peer, right: Right) -> Refusal | None:
        if right is Right.NONE:
            return Refusal(
                "control socket",
                f"uid {peer.uid} is in none of its groups",
                "membership in cpppod-viewer, cpppod-operator or cpppod-engineer",
            )
        own = peer.uid in (0, os.getuid())
        if self._open.total() >= MAX_CONNECTIONS or (
            not own and self._open[peer.uid] >= MAX_PER_UID
        ):
            return Refusal("control socket", "too many connections", "closing one of the others")
        return None


class _Connection:
    """One admitted peer: its lines, one after another, and the streams it asked for."""

    def __init__(self, verbs: Mapping[str, Verb], caller: Caller, counts: Counter[str]) -> None:
        self._verbs = verbs
        self._caller = caller
        self._counts = counts
        self._streams: set[asyncio.Task[None]] = set()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve until the peer closes, says something beyond the limits, or falls silent."""
        try:
            while line := await self._next_line(reader, writer):
                await self._answer(line, writer)
        finally:
            for task in tuple(self._streams):
                task.cancel()
            await asyncio.gather(*self._streams, return_exceptions=True)

    async def _next_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The next line; b"" where the connection is to be closed."""
        while True:
            try:
                return await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)
            except TimeoutError:
                if not self._streams:
                    return b""
            except asyncio.IncompleteReadError:
                return b""
            except asyncio.LimitOverrunError:
                refusal = Refusal("request", f"longer than {MAX_LINE} bytes", "several requests")
                await _send(writer, {"id": None, "ok": False, "error": refusal.plain()})
                return b""

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        """Do what `line` asks; a refusal of any kind is an answer too."""
        self._counts["requests"] += 1
        identity: Any = None
        try:
            request = _request(line)
            identity = request.get("id")
            verb, arguments, caller = self._parse(request)
            if verb.stream is not None:
                if len(self._streams) >= MAX_STREAMS:
                    raise Refusal("request", f"more than {MAX_STREAMS} streams", "a new connection")
                updates = verb.stream(caller, arguments)
                self._start_stream(identity, updates, writer)
                return
            assert verb.answer is not None
            answer = {
                "id": identity,
                "ok": True,
                "result": await verb.answer(caller, arguments),
            }
        except Refusal as refusal:
            self._counts["errors"] += 1
            answer = {"id": identity, "ok": False, "error": refusal.plain()}
        except Exception as error:
            # the top of a peer's requests: a defect of ours costs neither it nor others more
            self._counts["defects"] += 1
            strangers.error(log, "request failed line=%.200r", line, exc_info=error)
            defect = Refusal(
                "request", "internal error", "the log of control, which has the reason"
            )
            answer = {"id": identity, "ok": False, "error": defect.plain()}
        await _send(writer, answer)

    def _parse(self, request: dict[str, Any]) -> tuple[Verb, dict[str, Any], Caller]:
        name, arguments = request["verb"], request.get("arguments", {})
        verb = self._verbs.get(name)
        if verb is None:
            raise Refusal(repr(name[:40]), "no such verb", ", ".join(sorted(self._verbs)))
        if not isinstance(arguments, dict):
            raise Refusal(name, "arguments are not an object", '"arguments": {}')
        if self._caller.right < verb.right:
            if verb.forbidden is not None:
                verb.forbidden(self._caller, arguments)
            raise Refusal(
                name,
                f"needs the right {verb.right.name.lower()}; uid {self._caller.peer.uid} is"
                f" {self._caller.right.name.lower()}",
                f"as a member of cpppod-{verb.right.name.lower()}",
            )
        caller, behalf = self._caller, request.get("source")
        if isinstance(behalf, str) and caller.peer.uid == os.getuid():
            caller = replace(caller, behalf=behalf[:MAX_SOURCE])
        return verb, arguments, caller

    def _start_stream(
        self, identity: Any, updates: AsyncIterator[Any], writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.get_running_loop().create_task(_stream(identity, updates, writer))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)


def _request(line: bytes) -> dict[str, Any]:
    """The object in a line, with a verb and an id that can be answered under.

    Raises:
        Refusal: it is none.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise Refusal("request", "not a line of JSON", "one JSON object a line") from None
    if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
        raise Refusal("request", "not an object with a verb", '{"id": 1, "verb": "status"}')
    if not isinstance(request.get("id"), int | str | None):
        raise Refusal("request", "the id is neither a number nor a string", "a number")
    return request


async def _stream(identity: Any, updates: AsyncIterator[Any], writer: asyncio.StreamWriter) -> None:
    """Send every update of a streaming verb; a peer that reads nothing loses its connection."""
    try:
        async for update in updates:
            await _send(writer, {"id": identity, "ok": True, "result": update, "more": True})
    except Refusal as refusal:
        await _send(writer, {"id": identity, "ok": False, "error": refusal.plain()})
    except (ConnectionError, TimeoutError):
        writer.close()


async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(encode(answer) + b"\n")
    await asyncio.wait_for(writer.drain(), SEND_S)


def _credentials(writer: asyncio.StreamWriter) -> Peer:
    """The peer's, asked on a duplicate: the transport's own socket object may not know how."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as duplicate:
        return peer_of(duplicate)
