"""uvicorn on the worker's loop, with what it lacks: a time limit for the head of a request.

connection ── nothing, or half a head for `HEAD_S` ──► closed
           ── head over 32 KB ──► 431
           ── one of too many: the oldest that has asked nothing is closed
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cpppod.workers.transport.sockets import listening

HEAD_S = 10.0
MAX_HEAD = 32_768  # bytes of a head that is not whole yet; the guard judges the others
MAX_CONNECTIONS = 256
KEEP_ALIVE_S = 15
BACKLOG = 128


class _Protocol(H11Protocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._make_room()
        self._head_timer = self.loop.call_later(HEAD_S, self._too_slow)
        self.app_state = {"abort": transport.abort}

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if self._head_timer is not None and not waiting:
            self._head_timer.cancel()
            self._head_timer = None
        elif self._head_timer is None and waiting:
            self._head_timer = self.loop.call_later(HEAD_S, self._too_slow)

    def _make_room(self) -> None:
        """Have the one that has waited longest for its first request leave, where they are many."""
        if len(self.connections) < MAX_CONNECTIONS // 2:
            return
        waiting = [
            (each._head_timer.when(), each)
            for each in self.connections
            if isinstance(each, _Protocol) and each._head_timer is not None
        ]
        if waiting:
            min(waiting, key=lambda pair: pair[0])[1]._too_slow()

    def _too_slow(self) -> None:
        self._head_timer = None
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Also for heads that are too long."""
        status = 431 if len(self.conn.trailing_data[0]) >= MAX_HEAD else 400
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=msg.encode("ascii")),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn beside the worker's frame, whose the signals are."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class WebServer:
    """The application at one address.

    Attributes:
        address: (host, port) it is bound to.
    """

    def __init__(self) -> None:
        self.address = ("", 0)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.context: ssl.SSLContext | None = None

    def start(self, application: Any, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Bind and serve.

        Raises:
            OSError: the address is not to be had.
        """
        sock = listening(host, port)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # peers' faults are no news
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=_Protocol,
            ws="wsproto",
            ws_max_size=65_536,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=MAX_HEAD,
        )
        config.load()
        config.ssl = tls
        self.address = sock.getsockname()[:2]
        self._server = _Server(config)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[sock]))

    async def stop(self) -> None:
        """Serve no more."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = self._server.force_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._server = self._task = None


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 or later with that certificate; load into it again when the files have changed.

    Raises:
        OSError: a file cannot be read, or they do not belong together (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
