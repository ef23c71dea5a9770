"""The web's way to control: its socket, as `cpppoctl` uses it, over a few connections.

    ask(verb, ...) ── {"id", "verb", "arguments", "source"} ──► control.sock
                   ◄─ {"ok": true, "result"} | {"ok": false, "error"} ─

Requests of one connection are answered in order; so each that is under way has one of its own. The
web runs as the gateway's own user, which control trusts to say on whose behalf it asks.
"""

import asyncio
import json
import time
from typing import Any

from cpppod.workers.web.answers import Problem

MAX_CONNECTIONS = 4  # of control's 16: the others are people's
MAX_REPLY = 1 << 26  # bytes of one reply line
ANSWER_S = 40.0  # a reload waits for every worker
FRESH_S = 0.5  # beats come so often: what is younger is not asked for again

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ControlLink:
    """Connections to the control socket at `path`, opened when needed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._free: list[Connection] = []
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._last_id = 0

    async def ask(self, verb: str, arguments: dict[str, Any], source: str = "") -> Any:
        """Control's answer.

        Args:
            source: on whose behalf, as the audit names him.

        Raises:
            Problem: it refused (409), or does not answer (503).
        """
        self._last_id += 1
        request = {"id": self._last_id, "verb": verb, "arguments": arguments}
        if source:
            request["source"] = source
        async with self._slots:
            try:
                line = await asyncio.wait_for(self._exchange(request), ANSWER_S)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                raise Problem(
                    503, "control", "does not answer", "again in some seconds; cpppoctl status"
                ) from None
        reply = json.loads(line)
        if not reply["ok"]:
            error = reply["error"]
            raise Problem(409, error["what"], error["why"], error["try"])
        return reply["result"]

    async def _exchange(self, request: dict[str, Any]) -> bytes:
        """The line that comes back; a connection that control has closed meanwhile is replaced."""
        text = json.dumps(request).encode() + b"\n"
        while self._free:
            connection = self._free.pop()
            if not (connection[0].at_eof() or connection[1].is_closing()):
                return await self._over(connection, text)
            connection[1].close()
        return await self._over(
            await asyncio.open_unix_connection(self._path, limit=MAX_REPLY), text
        )

    async def _over(self, connection: Connection, text: bytes) -> bytes:
        reader, writer = connection
        whole = False
        try:
            writer.write(text)
            await writer.drain()
            line = await reader.readuntil(b"\n")
            whole = True
            return line
        finally:
            if whole:
                self._free.append(connection)
            else:
                writer.close()

    def close(self) -> None:
        """Close all connections."""
        for _reader, writer in self._free:
            writer.close()
        self._free.clear()


class Shared:
    """One verb's answer for many who ask at the same time."""

    def __init__(self, link: ControlLink, verb: str) -> None:
        self._link = link
        self._verb = verb
        self._answer: Any = None
        self._at = float("-inf")
        self._asking: asyncio.Future[Any] | None = None

    async def get(self) -> Any:
        """An answer that is not older than `FRESH_S`.

        Raises:
            Problem: see `ControlLink.ask`.
        """
        if time.monotonic() - self._at < FRESH_S:
            return self._answer
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Any:
        self._answer = await self._link.ask(self._verb, {})
        self._at = time.monotonic()
        return self._answer
