"""Requests passed on to another device: replies in any slices, none in time, none at all."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from cpppod.protocols.cip.status import ConnectionStatus
from cpppod.protocols.enip.cpf import UnconnectedMessage
from cpppod.protocols.enip.encapsulation import Frame, FrameReader
from cpppod.workers.transport.enip_forwarder import MAX_OUTSTANDING, Forwarder, onward
from tests.enip_frames import read
from tests.patience import PATIENCE_S

REPLY = b"\xcc\0\0\0\xc4\0\1\0\0\0"


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), PATIENCE_S))

    return run


class Device:
    """A controller that answers when it is told to, in slices of some bytes."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Frame] = asyncio.Queue()
        self._writer: Any = None
        self._server: Any = None

    async def __aenter__(self) -> "Device":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._writer is not None:
            self._writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer, frames = writer, FrameReader()
        while data := await reader.read(4096):
            frames.receive_data(data)
            while (frame := frames.next_frame()) is not None:
                if frame.command == 0x65:
                    writer.write(Frame(0x65, b"\1\0\0\0", session=7).encode())
                else:
                    self.requests.put_nowait(frame)

    async def answer(self, *frames: Frame, size: int = 4096) -> None:
        data = b"".join(
            Frame(0x6F, UnconnectedMessage(REPLY).encode(), 7, 0, frame.context).encode()
            for frame in frames
        )
        for at in range(0, len(data), size):
            self._writer.write(data[at : at + size])
            await self._writer.drain()
            await asyncio.sleep(0)

    def hang_up(self) -> None:
        self._writer.transport.abort()


class Asker:
    """Sends requests on, and keeps what comes back."""

    def __init__(self, port: int) -> None:
        self.forwarder = Forwarder("127.0.0.1", port)
        self.results: asyncio.Queue[tuple[int, bytes | int]] = asyncio.Queue()

    def ask(self, number: int, timeout_s: float = PATIENCE_S) -> None:
        data = onward(read("X"), b"", timeout_s)
        self.forwarder.forward(
            data, timeout_s, lambda result: self.results.put_nowait((number, result))
        )


@on_loop
async def test_replies_in_whatever_slices_and_order_reach_who_asked() -> None:
    async with Device() as device:
        asker = Asker(device.port)
        for size in (1, 7, 4096):
            for number in range(5):
                asker.ask(number)
            requests = [await device.requests.get() for _ in range(5)]
            assert UnconnectedMessage.decode(requests[0].data).message == read("X")
            await device.answer(*reversed(requests), size=size)
            assert [await asker.results.get() for _ in range(5)] == [
                (number, REPLY) for number in (4, 3, 2, 1, 0)
            ]
        asker.forwarder.close()


@on_loop
async def test_request_without_a_reply_is_answered_in_its_own_time_and_the_late_reply_dropped() -> (
    None
):
    async with Device() as device:
        asker = Asker(device.port)
        asker.ask(1)
        requests = [await device.requests.get()]  # connected: the others leave at once
        asker.ask(2, timeout_s=0.02)
        asker.ask(3, timeout_s=0.05)
        requests += [await device.requests.get() for _ in range(2)]
        late = int(ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT)
        assert [await asker.results.get() for _ in range(2)] == [(2, late), (3, late)]
        await device.answer(*requests[1:], requests[0])
        assert await asker.results.get() == (1, REPLY)
        assert asker.results.empty()
        asker.forwarder.close()


@on_loop
async def test_connection_that_ends_answers_all_that_is_out_and_one_too_many_is_refused() -> None:
    async with Device() as device:
        asker = Asker(device.port)
        for number in range(MAX_OUTSTANDING + 1):
            asker.ask(number)
        refused = int(ConnectionStatus.NO_BUFFER_MEMORY)
        assert await asker.results.get() == (MAX_OUTSTANDING, refused)
        await device.requests.get()
        device.hang_up()
        gone = int(ConnectionStatus.LINK_ADDRESS_NOT_VALID)
        for number in range(MAX_OUTSTANDING):
            assert await asker.results.get() == (number, gone)
        asker.forwarder.close()
