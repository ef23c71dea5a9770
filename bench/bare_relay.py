"""The floor of a routed request: three processes that pass whole frames over ZeroMQ untouched.

    clients ─ TCP ─ front ─ DEALER ─ ROUTER middle ROUTER ─ DEALER ─ back ─ TCP ─ device

    python bench/bare_relay.py LISTEN_PORT DEVICE_PORT

What one read from a socket brings is one message. Nothing is looked into but lengths; replies are
taken to come in order. No rights, deadlines or failures: what a gateway adds to this is its price.
"""

import asyncio
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from typing import Any

import uvloop
import zmq

HEADER = 24
REGISTER = bytes.fromhex("65000400") + bytes(20) + b"\1\0\0\0"


def whole(data: bytes) -> tuple[int, int]:
    """Bytes of the frames that are whole, and how many those are."""
    at = count = 0
    while len(data) - at >= HEADER:
        end = at + HEADER + int.from_bytes(data[at + 2 : at + 4], "little")
        if end > len(data):
            break
        at, count = end, count + 1
    return at, count


class Bus:
    """A ZeroMQ socket on the running loop."""

    def __init__(self, kind: int, path: str, receive: Callable[[list[bytes]], None]) -> None:
        self._socket = zmq.Context.instance().socket(kind)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        if kind == zmq.ROUTER:
            self._socket.bind(path)
        else:
            self._socket.setsockopt(zmq.ROUTING_ID, b"relay")
            self._socket.connect(path)
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._drain)

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames, zmq.DONTWAIT)
        self._loop.call_soon(self._drain)  # a send may swallow the descriptor's edge

    def _drain(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._receive(frames)


async def front(folder: str, port: int) -> None:
    """Clients: their frames to the middle, replies back to whom they are for."""
    clients: dict[bytes, Any] = {}
    bus = Bus(zmq.DEALER, f"ipc://{folder}/front", lambda frames: answer(*frames))

    def answer(client: bytes, data: bytes) -> None:
        if client in clients:
            clients[client].write(data)

    class Client(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.rest = transport, b""
            self.name = b"%d" % id(self)
            clients[self.name] = transport

        def connection_lost(self, error: Exception | None) -> None:
            clients.pop(self.name, None)

        def data_received(self, data: bytes) -> None:
            data = self.rest + data
            at, count = whole(data)
            self.rest = data[at:]
            if data[:1] == REGISTER[:1]:
                self.transport.write(data[:4] + b"\1\0\0\0" + data[8:at])
            elif count:
                bus.send(self.name, b"%d" % count, data[:at])

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Client, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


async def middle(folder: str) -> None:
    """From one side to the other."""
    front_side = Bus(zmq.ROUTER, f"ipc://{folder}/front", lambda each: back_side.send(*each))
    back_side = Bus(zmq.ROUTER, f"ipc://{folder}/back", lambda each: front_side.send(*each))
    await asyncio.Event().wait()


async def back(folder: str, port: int) -> None:
    """The device: frames to it under its session handle, replies to whoever asked."""
    asked: deque[tuple[bytes, int]] = deque()
    session = b""

    class Device(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.rest = transport, b""
            transport.write(REGISTER)

        def data_received(self, data: bytes) -> None:
            nonlocal session
            data = self.rest + data
            if not session:
                session, data = data[4:8], data[len(REGISTER) :]
            while asked:
                client, count = asked[0]
                at = 0
                for _ in range(count):
                    size = data[at + 2 : at + 4]
                    end = at + HEADER + int.from_bytes(size, "little")
                    if len(size) < 2 or end > len(data):
                        break
                    at = end
                else:
                    asked.popleft()
                    bus.send(client, data[:at])
                    data = data[at:]
                    continue
                break
            self.rest = data

    _, device = await asyncio.get_running_loop().create_connection(Device, "127.0.0.1", port)

    def ask(client: bytes, count: bytes, data: bytes) -> None:
        frames, at = bytearray(data), 0
        for _ in range(int(count)):
            frames[at + 4 : at + 8] = session
            at += HEADER + int.from_bytes(frames[at + 2 : at + 4], "little")
        asked.append((client, int(count)))
        device.transport.write(bytes(frames))

    bus = Bus(zmq.DEALER, f"ipc://{folder}/back", lambda frames: ask(*frames))
    await asyncio.Event().wait()


def main() -> None:
    """Relay until stopped."""
    port, device = map(int, sys.argv[1:3])
    folder = tempfile.mkdtemp(prefix="relay-", dir="/tmp")
    roles = {"middle": lambda: middle(folder), "back": lambda: back(folder, device)}
    children = []
    for role in roles.values():
        child = os.fork()
        if not child:
            uvloop.run(role())
            return
        children.append(child)
    try:
        uvloop.run(front(folder, port))
    finally:
        for child in children:
            os.kill(child, 15)


if __name__ == "__main__":
    main()
