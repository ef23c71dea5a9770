"""Turns: how much of one client's a turn of the loop takes in before the others have theirs.

    socket ─ at most 8 KB ─► received ──┬─ all done ───────► reads on
                                        └─ there is more ─► ring ─ one a turn ─► goes on

libuv reads one socket up to 32 times a turn, 256,000 bytes each, so that who pipelines without end
keeps everybody else waiting, beats too. All connections of a process share one small buffer; one
that has filled it is not read until its turn comes. p99 of two polite clients beside 32 that
pipeline: 5 ms with one a turn, 8 with two, 300 where all go on in the next turn.
"""

import asyncio
from collections import deque
from typing import Any, cast

BUFFER = 8_192  # bytes: some 120 requests, 1.5 ms where each is worked out anew


class Turns:
    """The ring of those who have more; one for each event loop."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER)
        self._ring: deque[TurnProtocol] = deque()
        self._scheduled = False
        self._loop = asyncio.get_running_loop()

    def wait(self, connection: "TurnProtocol") -> None:
        """Have `take_turn` of the connection called when its turn has come."""
        self._ring.append(connection)
        self._schedule()

    def _schedule(self) -> None:
        if self._ring and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        try:
            self._ring.popleft().take_turn()
        finally:
            self._schedule()


class TurnProtocol(asyncio.BufferedProtocol):
    """A connection that is read in turns; the rest is as in `asyncio.Protocol`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._peer: asyncio.Transport | None = None
        self._waiting = False  # for its turn
        self._wanted = True  # whether it is to be read at all
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected (asyncio calls this)."""
        self._peer = cast(asyncio.Transport, transport)  # uvloop's derives from none

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone (asyncio calls this)."""
        self._peer = None

    def get_buffer(self, sizehint: int) -> Any:
        """Where to read to (asyncio calls this)."""
        return self._turns.buffer

    def buffer_updated(self, count: int) -> None:
        """So many bytes have been read (asyncio calls this)."""
        buffer = self._turns.buffer
        if count == len(buffer):
            self.wait_for_turn()
        self.data_received(bytes(memoryview(buffer)[:count]))

    def data_received(self, data: bytes) -> None:
        """Take bytes."""

    def wait_for_turn(self) -> None:
        """There is more: read on when the others have had their turn."""
        if not self._waiting:
            self._waiting = True
            self._turns.wait(self)
            self._set_reading()

    def take_turn(self) -> None:
        """The turn has come."""
        self._waiting = False
        self._set_reading()

    def read_on(self, wanted: bool) -> None:
        """Whether the peer is to be read at all."""
        self._wanted = wanted
        self._set_reading()

    def _set_reading(self) -> None:
        stream = self._peer
        reading = self._wanted and not self._waiting
        if reading == self._reading or stream is None or stream.is_closing():
            return
        self._reading = reading
        if reading:
            stream.resume_reading()
        else:
            stream.pause_reading()
