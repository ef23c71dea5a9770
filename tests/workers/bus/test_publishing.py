"""A worker's way into the feed: order, heartbeats, repeats."""

import asyncio
import pathlib
import tempfile
from collections.abc import Awaitable, Callable

from cpppod.protocols.bus.feed import Kind, ValueMessage
from cpppod.protocols.bus.feed import decode as decode_value
from cpppod.protocols.bus.messages import Resend
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.plant import Worker
from cpppod.workers.bus.publishing import Publishing
from cpppod.workers.bus.zeromq import Bus, Socket
from cpppod.workers.process.worker import Process
from tests.feed.running import until

TIMES = {"source_us": 1, "gateway_us": 2, "mono_us": 3}


class Ingest:
    """The feed's end of the line: the test is the feed."""

    def __init__(self, bus: Bus) -> None:
        self.messages: list[ValueMessage] = []
        self.socket: Socket = bus.router("ingest", self.on_frames)

    def on_frames(self, frames: list[bytes]) -> None:
        assert frames[0] == b"poller-1"
        self.messages.append(decode_value(frames[2]))

    def kinds(self) -> list[int]:
        return [message.kind for message in self.messages]


Scenario = Callable[[Publishing, Ingest], Awaitable[None]]


def with_publishing(scenario: Scenario) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="cp") as name:
            folder = pathlib.Path(name)
            server = Bus("feed", folder)
            process = Process(Worker("poller-1", "poller", name, name, name))
            publishing = Publishing(process, Publisher("poller-1", 5))
            await scenario(publishing, Ingest(server))
            process.close()
            server.close()

    asyncio.run(main())


def test_heartbeat_comes_by_itself_and_block_as_of_now() -> None:
    async def scenario(publishing: Publishing, ingest: Ingest) -> None:
        topic, payload = publishing.block("boiler", "g", 1, {"a": (1, 0)}, source_us=7)
        await until(lambda: len(ingest.messages) == 2)
        assert sorted(ingest.kinds()) == [Kind.BLOCK, Kind.HEARTBEAT]
        assert topic == b"boiler/g/"
        assert decode_value(payload) in ingest.messages
        assert decode_value(payload).source_us == 7

    with_publishing(scenario)


def test_neither_heartbeat_nor_repeat_overtakes_a_block_that_waits() -> None:
    async def scenario(publishing: Publishing, ingest: Ingest) -> None:
        await until(lambda: ingest.messages)
        ingest.messages.clear()
        waiting = publishing.publisher.block("boiler", "g", 1, {"a": (1, 0)}, **TIMES)
        ingest.socket.send(b"poller-1", Resend(9).encode())
        await asyncio.sleep(0.1)
        assert ingest.messages == []
        publishing.send(*waiting)
        await until(lambda: Kind.REPEAT in ingest.kinds())
        assert ingest.kinds() == [Kind.BLOCK, Kind.HEARTBEAT, Kind.REPEAT]
        assert ingest.messages[1].sequence == 1

    with_publishing(scenario)


def test_what_is_no_resend_changes_nothing() -> None:
    async def scenario(publishing: Publishing, ingest: Ingest) -> None:
        await until(lambda: ingest.messages)
        for frame in (b"\xc1", b"\x93\x01\x63\x05"):
            ingest.socket.send(b"poller-1", frame)
        publishing.block("boiler", "g", 1, {"a": (1, 0)}, source_us=7)
        await until(lambda: Kind.BLOCK in ingest.kinds())
        assert Kind.REPEAT not in ingest.kinds()
        assert publishing.unsent == 0

    with_publishing(scenario)
