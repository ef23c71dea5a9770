"""Serves the Prometheus page over HTTP/1.1, on the worker's loop: one answer a connection.

GET /metrics   the page
GET /          a line that says where it is
anything else  404, other methods 405, a head of over 8 KB or slower than 2 s: closed;
               of too many without a head the oldest is closed at once
"""

import asyncio
import contextlib
from collections.abc import Callable

MAX_HEAD = 8_192  # bytes: Prometheus sends 300
MAX_CONNECTIONS = 16  # that wait for their head, and as many that are answered; there are two
HEAD_S = 2.0  # for a head to arrive: half-open connections are no scrapes that count
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
INDEX = b"cpppod: metrics are at /metrics\n"

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class MetricsServer:
    """Answers `GET /metrics` with what `render` returns at that moment.

    Attributes:
        address: (host, port) it is bound to, the real one where port 0 was asked for.
    """

    def __init__(self, render: Callable[[], bytes]) -> None:
        self.address = ("", 0)
        self._render = render
        self._waiting: dict[asyncio.Timeout, None] = {}  # for a head, the oldest first
        self._answered = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Bind; raises OSError where the address is taken or not ours."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        self.address = self._server.sockets[0].getsockname()[:2]

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._make_room()
        limit = asyncio.timeout(HEAD_S)
        self._waiting[limit] = None
        try:
            async with limit:
                head = await reader.readuntil(b"\r\n\r\n")
                self._waiting.pop(limit, None)
                await self._reply(writer, head)
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
        ):
            pass  # a peer that does not speak HTTP, or left: nothing to answer
        finally:
            self._waiting.pop(limit, None)
            with contextlib.suppress(RuntimeError):  # the loop is closing
                writer.close()

    def _make_room(self) -> None:
        """Have the connection that has waited longest for its head end, where they are too many."""
        if len(self._waiting) >= MAX_CONNECTIONS:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            if not oldest.expired():
                oldest.reschedule(0.0)

    async def _reply(self, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._answered += 1
        try:
            writer.write(self._answer(head))
            await writer.drain()
        finally:
            self._answered -= 1

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path = rest.split(" ", 1)[0].split("?", 1)[0]
        if self._answered > MAX_CONNECTIONS:
            return _response(503, "text/plain", b"too many connections\n", method)
        if method not in ("GET", "HEAD"):
            return _response(405, "text/plain", b"only GET\n", method)
        if path == "/metrics":
            return _response(200, CONTENT_TYPE, self._render(), method)
        if path == "/":
            return _response(200, "text/plain", INDEX, method)
        return _response(404, "text/plain", INDEX, method)


def _response(status: int, content_type: str, body: bytes, method: str) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        "X-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)
