"""Requests find their replies, or their deadline."""

import asyncio
import pathlib
import tempfile
import time
from collections.abc import Awaitable, Callable

import pytest

from cpppod.protocols.bus.messages import CommandReply, WriteReply, WriteRequest, decode
from cpppod.workers.bus import requests as requests_module
from cpppod.workers.bus.requests import RequestFailed, Requests
from cpppod.workers.bus.zeromq import Bus, Socket
from tests.feed.running import until
from tests.patience import PATIENCE_S

Answer = Callable[[Socket, bytes, WriteRequest], None]
WRITE = WriteRequest(0, "boiler", "test", 0, [["setpoint", 0, [1]]])


def with_requests(answer: Answer, scenario: Callable[[Requests], Awaitable[None]]) -> None:
    """Runs `scenario` against a ROUTER that treats each WriteRequest as `answer` says."""

    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="cr") as name:
            folder = pathlib.Path(name)
            server, client = Bus("router", folder), Bus("listener", folder)

            def on_request(frames: list[bytes]) -> None:
                message = decode(frames[1])
                assert isinstance(message, WriteRequest)
                answer(router, frames[0], message)

            router = server.router("router", on_request)

            def on_reply(frames: list[bytes]) -> None:
                requests.reply(decode(frames[0]))

            dealer = client.dealer("router", on_reply)
            requests = Requests(dealer)
            await until(lambda: dealer.send(WRITE.encode()))
            await scenario(requests)
            server.close()
            client.close()

    asyncio.run(main())


def echo(router: Socket, identity: bytes, request: WriteRequest) -> None:
    router.send(identity, WriteReply(request.id, error=request.device).encode())


def test_each_request_gets_its_own_reply() -> None:
    async def scenario(requests: Requests) -> None:
        replies = await asyncio.gather(*(requests.ask(WRITE, PATIENCE_S) for _ in range(20)))
        assert [reply.error for reply in replies if isinstance(reply, WriteReply)] == [
            "boiler"
        ] * 20
        assert len({reply.id for reply in replies if isinstance(reply, WriteReply)}) == 20
        assert len(requests) == 0

    with_requests(echo, scenario)


def test_deadline_travels_and_is_kept() -> None:
    deadlines: list[int] = []

    def note(router: Socket, identity: bytes, request: WriteRequest) -> None:
        deadlines.append(request.deadline_us)

    async def scenario(requests: Requests) -> None:
        before_us = time.monotonic_ns() // 1000
        with pytest.raises(RequestFailed, match=r"no reply from router in 0\.05 s") as failed:
            await requests.ask(WRITE, 0.05)
        assert failed.value.sent
        assert requests.expired == 1
        after_us = time.monotonic_ns() // 1000
        await until(lambda: len(deadlines) == 2)  # the first came before the scenario
        assert before_us + 49_999 <= deadlines[-1] <= after_us + 1  # floats round

    with_requests(note, scenario)


def test_late_reply_answers_nobody() -> None:
    late: list[Callable[[], None]] = []

    def hold(router: Socket, identity: bytes, request: WriteRequest) -> None:
        late.append(lambda: echo(router, identity, request))

    async def scenario(requests: Requests) -> None:
        before = requests.late
        with pytest.raises(RequestFailed):
            await requests.ask(WRITE, 0.05)
        await until(lambda: len(late) == 2)  # the first came before the scenario
        late[-1]()
        await until(lambda: requests.late == before + 1)

    with_requests(hold, scenario)


def test_request_that_cannot_leave_says_so_at_once() -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="cr") as name:
            client = Bus("listener", name)
            requests = Requests(client.dealer("router", lambda frames: None))
            with pytest.raises(RequestFailed, match="not there") as failed:
                await requests.ask(WRITE, PATIENCE_S)
            assert not failed.value.sent
            client.close()

    asyncio.run(main())


def test_outstanding_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "MAX_OUTSTANDING", 3)

    def silent(router: Socket, identity: bytes, request: WriteRequest) -> None:
        pass

    async def scenario(requests: Requests) -> None:
        deadline_us = time.monotonic_ns() // 1000 + 60_000_000
        sent = [requests.send(WRITE, deadline_us, lambda reply: None) for _ in range(4)]
        assert sent == [True, True, True, False]

    with_requests(silent, scenario)


def test_reply_to_an_unknown_id_is_late() -> None:
    async def scenario(requests: Requests) -> None:
        before = requests.late
        assert not requests.reply(CommandReply(999))
        assert requests.late == before + 1

    with_requests(echo, scenario)
