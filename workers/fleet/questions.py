"""What a gateway is asked over the fleet and control answers: its state, values, a reload.

    cpppod.v1.ask.<site>.<gateway>.<verb>   the verb's arguments as a JSON object, or nothing
    reply                                   control's: {"ok", "result"} or {"ok", "error"}

Only what is listed here is asked for. Writes have a subject and a contract of their own.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

SOCKET_NAME = "control.sock"
READING = frozenset({"status", "devices", "device", "tags", "read", "outlets"})
RELOAD = "reload"
MAX_REPLY = 1 << 26  # bytes of one reply line of control's
MAX_REQUEST = 64_000  # bytes
ANSWER_S = 40.0  # a reload waits for every worker


class Questions:
    """The questions that come to one gateway.

    Args:
        runtime: where control's socket is.
        reloads: whether a reload may be asked for.
    """

    def __init__(self, runtime: str, *, reloads: bool) -> None:
        self._socket = str(Path(runtime) / SOCKET_NAME)
        self._verbs = READING | {RELOAD} if reloads else READING

    async def answer(self, verb: str, data: bytes, source: str, room: int) -> bytes:
        """The answer, of at most `room` bytes.

        Args:
            source: on whose behalf, as the audit names him.
        """
        if verb not in self._verbs:
            return refusal(verb, "not answered over the fleet", ", ".join(sorted(self._verbs)))
        try:
            arguments = json.loads(data or b"{}")
        except ValueError as error:
            return refusal(verb, f"no JSON: {error}", "an object of arguments")
        if not isinstance(arguments, dict) or len(data) > MAX_REQUEST:
            return refusal(verb, "no arguments", f"an object of {MAX_REQUEST} bytes at most")
        request = {"id": 1, "verb": verb, "arguments": arguments, "source": source}
        try:
            reply = await asyncio.wait_for(self._exchange(request), ANSWER_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return refusal("control", "does not answer", "again in some seconds")
        if len(reply) > room:
            told = f"the answer has {len(reply)} bytes, more than a message of the fleet"
            return refusal(verb, told, "for less")
        return reply

    async def _exchange(self, request: dict[str, Any]) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=MAX_REPLY)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            return await reader.readuntil(b"\n")
        finally:
            writer.close()


def refusal(what: str, why: str, advice: str) -> bytes:
    """A reply that says no, in control's form."""
    return json.dumps(
        {"id": 1, "ok": False, "error": {"what": what, "why": why, "try": advice}}
    ).encode()
