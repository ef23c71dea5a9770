"""What -vv and more of `enip_server` log: connections, requests, replies, bytes."""

import asyncio
from typing import ClassVar

from cpppod.commands.enip.trace import BYTES, DETAIL, FRAMES, REQUESTS, Trace, log
from cpppod.protocols.model.addresses import SocketAddress
from cpppod.workers.transport.enip_endpoint import EnipConnection


class TracedConnection(EnipConnection):
    """A server's connection that logs requests as dicts, replies too from `FRAMES` on."""

    verbose: ClassVar[int] = REQUESTS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected, or was turned away."""
        super().connection_made(transport)
        peer = str(SocketAddress(*self.peer))
        raw = self.verbose >= BYTES
        self._asked = Trace(f"request peer={peer}", reply=False, raw=raw)
        self._answered = Trace(f"reply peer={peer}", reply=True, raw=raw)
        if self.session is not None:
            log.log(DETAIL, "connected peer=%s", peer)

    def data_received(self, data: bytes) -> None:
        """Log what was asked, and answer it."""
        self._asked.pass_data(data)
        super().data_received(data)

    def _write(self, data: bytes) -> None:
        if self.verbose >= FRAMES:
            self._answered.pass_data(data)
        super()._write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        if self.session is not None:
            log.log(DETAIL, "disconnected peer=%s", SocketAddress(*self.peer))
        super().connection_lost(exc)


class ConnectionWithReplies(TracedConnection):
    """What -vvv logs."""

    verbose = FRAMES


class ConnectionWithBytes(TracedConnection):
    """What -vvvv logs."""

    verbose = BYTES


def connection_type(
    verbose: int, base: type[EnipConnection] = EnipConnection
) -> type[EnipConnection]:
    """The connections of a server whose command was given -v so often; else they are `base`."""
    if verbose < REQUESTS:
        return base
    traced = {REQUESTS: TracedConnection, FRAMES: ConnectionWithReplies}.get(
        verbose, ConnectionWithBytes
    )
    return traced if base is EnipConnection else type("TracedConnection", (traced, base), {})
