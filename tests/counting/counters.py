"""Simulated Modbus devices whose every tag is a counter: each read served is one number, logged.

Modbus TCP, and one that is a unit of a serial line behind a device server (RTU over TCP).
"""

import asyncio
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from cpppod.protocols.modbus import rtu
from tests.counting.ledger import Served
from tests.patience import PATIENCE_S

Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEADER = struct.Struct(">HHHB")
READ = struct.Struct(">BHH")
READ_FRAME = 8  # bytes of a read request on a line: unit, function, address, count, CRC


class Counters:
    """Devices on ports of their own, in a thread; a register pair (UDINT) holds the read's number.

    Attributes:
        serial: which of them is on a line, "" for none.
        served: everything that was answered, in order.
        frozen: whether requests are read and not answered any more.
    """

    def __init__(self, names: list[str], serial: str = "", before: int = 0) -> None:
        self.names = names
        self.serial = serial
        self.ports: dict[str, int] = {}
        self.served: list[Served] = []
        self.frozen = False
        self._numbers = dict.fromkeys(names, before)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Listen; `ports` is filled in."""
        self._thread.start()
        self._ready.wait(10)

    def freeze(self) -> None:
        """Answer nothing any more; what was answered is in `served` when this returns."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._freeze, done)
        assert done.wait(PATIENCE_S)

    def _freeze(self, done: threading.Event) -> None:
        self.frozen = True
        done.set()

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for name in self.names:
            session = self._line(name) if name == self.serial else self._session(name)
            server = self._loop.run_until_complete(asyncio.start_server(session, "127.0.0.1", 0))
            self.ports[name] = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    def _session(self, name: str) -> Session:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    head = await reader.readexactly(HEADER.size)
                    transaction, _, length, unit = HEADER.unpack(head)
                    body = await reader.readexactly(length - 1)
                    if not self.frozen:
                        reply = self._answer(name, body)
                        writer.write(HEADER.pack(transaction, 0, len(reply) + 1, unit) + reply)
                        await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        return serve

    def _line(self, name: str) -> Session:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    frame = await reader.readexactly(READ_FRAME)
                    if not self.frozen:
                        writer.write(rtu.encode(frame[0], self._answer(name, frame[1:-2])))
                        await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        return serve

    def _answer(self, name: str, body: bytes) -> bytes:
        function, _, count = READ.unpack(body[:5])
        if function != 3:
            return bytes((function | 0x80, 1))
        self._numbers[name] += 1
        n = self._numbers[name]
        self.served.append(Served(name, n, time.time_ns() // 1000))
        words: bytes = struct.pack(">I", n) * (count // 2)
        return bytes((3, len(words))) + words


@contextmanager
def counting_devices(count: int, *, before: int = 0) -> Iterator[Counters]:
    """So many devices, serving the numbers after `before`; the last one on a line."""
    names = [f"counter_{number}" for number in range(count)]
    counters = Counters(names, serial=names[-1], before=before)
    counters.start()
    try:
        yield counters
    finally:
        counters.stop()
