"""Live values on the wire: server-sent events, and a WebSocket.

    GET /api/v1/live?tags=boiler,mixer.load        text/event-stream
    WebSocket /api/v1/live                         ◄─ {"tags": [...]}   ─► {"event", "data"} ...

A client that takes nothing for `STUCK_S` is let go.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from cpppod.workers.web.answers import Problem, listed
from cpppod.workers.web.live import MAX_PATTERNS, Hub, Stream, as_message
from cpppod.workers.web.site import Site

ALIVE_S = 10.0  # between two signs of life where nothing changes
STUCK_S = 20.0  # for a client to take what is on its way
FIRST_S = 10.0  # for a WebSocket to say what it wants
RETRY = b"retry: 1000\n\n"


async def _events(hub: Hub, stream: Stream) -> AsyncIterator[list[bytes]]:
    """What a stream brings, in pieces that are sent together; an empty one is a sign of life."""
    yield list(hub.begin(stream))
    while True:
        if not await stream.wait(ALIVE_S):
            yield []
            continue
        taken = stream.take()
        if taken:
            yield taken
        if stream.lost:
            for text in hub.begin(stream):
                yield [text]


class Streams:
    """Handlers of `/api/v1/live`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def events(self, scope: Any, receive: Any, send: Any) -> None:
        """Server-sent events: an ASGI application of its own, for each piece has a time limit."""
        request = Request(scope, receive)
        self._site.admit(request)
        hub = self._site.hub
        stream = hub.open(listed(request, "tags", MAX_PATTERNS) or ["*"])
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [
                        (b"content-type", b"text/event-stream; charset=utf-8"),
                        (b"cache-control", b"no-store"),
                        (b"x-accel-buffering", b"no"),
                    ],
                }
            )
            await send({"type": "http.response.body", "body": RETRY, "more_body": True})
            async for piece in _events(hub, stream):
                body = b"".join(piece) or b": alive\n\n"
                message = {"type": "http.response.body", "body": body, "more_body": True}
                await asyncio.wait_for(send(message), STUCK_S)
                if leaving.done():
                    break
        except TimeoutError:
            scope["state"]["abort"]()
        finally:
            leaving.cancel()
            hub.close(stream)

    async def websocket(self, socket: WebSocket) -> None:
        """The same over a WebSocket; each message of the client's begins anew with other tags."""
        try:
            self._site.admit(socket)
        except Problem as problem:
            await socket.close(1008, problem.why[:100])
            return
        await socket.accept()
        try:
            asked = await asyncio.wait_for(socket.receive_text(), FIRST_S)
            while asked:
                asked = await self._follow(socket, _patterns(asked))
        except Problem as problem:
            await socket.send_text(as_message(b"event: error\ndata: %s\n\n" % problem.body()))
            await socket.close(1008, problem.why[:100])
        except (TimeoutError, WebSocketDisconnect, RuntimeError, KeyError):
            pass  # gone, stuck or silent: uvicorn closes it

    async def _follow(self, socket: WebSocket, patterns: list[str]) -> str:
        """Send what the tags are worth until the client asks for others; that request."""
        hub = self._site.hub
        stream = hub.open(patterns)
        asking = asyncio.ensure_future(socket.receive_text())
        sending = asyncio.ensure_future(self._send(socket, stream))
        try:
            await asyncio.wait((asking, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            return asking.result()
        finally:
            asking.cancel()
            sending.cancel()
            hub.close(stream)

    async def _send(self, socket: WebSocket, stream: Stream) -> None:
        async for piece in _events(self._site.hub, stream):
            for text in piece:
                await asyncio.wait_for(socket.send_text(as_message(text)), STUCK_S)


async def _left(receive: Any) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _patterns(text: str) -> list[str]:
    try:
        patterns = json.loads(text)["tags"]
    except (ValueError, RecursionError, KeyError, TypeError):
        patterns = None
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise Problem(422, "live", "expected tags", '{"tags": ["boiler"]}')
    return patterns
