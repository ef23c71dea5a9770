"""Connections are read in turns: who sends without end keeps nobody waiting."""

import asyncio
import socket

from cpppod.workers.transport.turns import BUFFER, TurnProtocol, Turns
from tests.patience import PATIENCE_S


class Peer(TurnProtocol):
    """Notes who has sent how much."""

    def __init__(self, turns: Turns, taken: list[tuple[bytes, int]], done: asyncio.Event) -> None:
        super().__init__(turns)
        self._taken = taken
        self._done = done

    def data_received(self, data: bytes) -> None:
        self._taken.append((data[:1], len(data)))
        if b"." in data:
            self._done.set()


async def served(*sent: bytes) -> list[tuple[bytes, int]]:
    """Who was read when, where all had sent before the first was read; the last sends a dot."""
    turns, taken, done = Turns(), [], asyncio.Event()  # type: ignore[var-annotated]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(turns, taken, done), "127.0.0.1", 0)
    clients = []
    for data in sent:
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(data)
        clients.append(client)
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    for client in clients:
        client.close()
    server.close()
    return taken


def test_those_that_have_more_take_turns_and_all_of_it_is_read() -> None:
    chunks = 6
    a, b = b"a" * chunks * BUFFER, b"b" * (chunks * BUFFER - 1) + b"."
    taken = asyncio.run(served(a, b))
    assert max(size for _, size in taken) <= BUFFER
    assert sum(size for _, size in taken) == 2 * chunks * BUFFER
    order = b"".join(name for name, size in taken if size == BUFFER)
    runs = max(len(run) for name in (b"a", b"b") for run in order.split(name))
    assert runs <= 2, order


def test_who_sends_little_is_not_kept_waiting_by_those_who_send_much() -> None:
    taken = asyncio.run(served(b"a" * 20 * BUFFER, b"b" * 20 * BUFFER, b"."))
    before = [name for name, _ in taken].index(b".")
    assert before < 8, "long before the others had done"
