"""A TCP relay that holds every byte back for a fixed time each way: a long link on one machine.

client ──► relay ── delay_s ──► server
       ◄── delay_s ── relay ◄──
"""

import contextlib
import heapq
import select
import socket
import threading
import time
from collections.abc import Iterator


class _Way:
    """One direction: bytes that wait for their time."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay_s: float) -> None:
        self.source, self.sink, self.delay_s = source, sink, delay_s
        self.waiting: list[tuple[float, int, bytes]] = []
        self.serial = 0

    def receive(self) -> bool:
        """Take what has come; False at the end of the stream."""
        data = self.source.recv(262_144)
        self.serial += 1
        heapq.heappush(self.waiting, (time.monotonic() + self.delay_s, self.serial, data))
        return bool(data)

    def deliver(self) -> None:
        """Pass on what has waited long enough."""
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, _, data = heapq.heappop(self.waiting)
            if data:
                self.sink.sendall(data)


def _relay(near: socket.socket, far: socket.socket, delay_s: float) -> None:
    ways = [_Way(near, far, delay_s), _Way(far, near, delay_s)]
    with contextlib.suppress(OSError), near, far:
        while True:
            due = [way.waiting[0][0] for way in ways if way.waiting]
            timeout = max(0.0, min(due) - time.monotonic()) if due else 1.0
            for ready in select.select([near, far], [], [], timeout)[0]:
                if not ways[0 if ready is near else 1].receive():
                    return
            for way in ways:
                way.deliver()


@contextlib.contextmanager
def delaying_relay(target: tuple[str, int], round_trip_s: float) -> Iterator[tuple[str, int]]:
    """The address of a relay to `target` whose round trip takes `round_trip_s`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(target)
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(
                    target=_relay, args=(near, far, round_trip_s / 2), daemon=True
                ).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[:2]
    finally:
        listener.close()
