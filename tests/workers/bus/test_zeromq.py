"""Sockets that never wait, never stall, and say what they could not send."""

import asyncio
import os
import pathlib
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from cpppod.protocols.bus.codec import MAX_MESSAGE
from cpppod.workers.bus import zeromq as bus_module
from cpppod.workers.bus.zeromq import MAX_IPC_PATH, Bus, BusError
from tests.feed.running import until


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """A short folder: an ipc path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="cb") as name:
        yield pathlib.Path(name)


def test_messages_go_both_ways_and_carry_the_identity(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("router", folder), Bus("poller-1", folder)
        replies: list[list[bytes]] = []
        asked: list[list[bytes]] = []
        router = server.router("router", asked.append)
        dealer = client.dealer("router", replies.append)
        await until(lambda: dealer.send(b"hello"))
        await until(lambda: asked)
        assert asked == [[b"poller-1", b"hello"]]
        assert router.send(b"poller-1", b"welcome")
        await until(lambda: replies)
        assert replies == [[b"welcome"]]
        assert (router.counters.received, router.counters.sent) == (1, 1)
        server.close()
        client.close()

    asyncio.run(scenario())


def test_burst_beyond_one_turn_is_drained_without_a_further_wake(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        seen: list[int] = []
        server.router("router", lambda frames: seen.append(int(frames[1])))
        dealer = client.dealer("router", lambda frames: None, queue_while_away=True)
        count = 5 * bus_module.MAX_A_TURN
        for number in range(count):
            assert dealer.send(b"%d" % number)
        await until(lambda: len(seen) == count)
        assert seen == list(range(count))
        server.close()
        client.close()

    asyncio.run(scenario())


def test_other_work_gets_its_turn_during_a_flood(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        order: list[str] = []
        loop = asyncio.get_running_loop()

        def on_frames(frames: list[bytes]) -> None:
            if not order:
                loop.call_soon(order.append, "other work")
            order.append("message")

        router = server.router("router", on_frames)
        router.pause()
        dealer = client.dealer("router", lambda frames: None, queue_while_away=True)
        for _ in range(1_000):
            dealer.send(b"x")
        await asyncio.sleep(0.2)
        router.resume()
        await until(lambda: len(order) == 1_001)
        assert order.index("other work") <= bus_module.MAX_A_TURN
        server.close()
        client.close()

    asyncio.run(scenario())


def test_paused_socket_costs_nothing_whatever_comes(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        seen: list[list[bytes]] = []
        router = server.router("router", seen.append)
        dealer = client.dealer("router", lambda frames: None, queue_while_away=True)
        dealer.send(b"1")
        await until(lambda: len(seen) == 1)
        router.pause()
        dealer.send(b"2")
        await asyncio.sleep(0.2)  # it has come
        await until(
            lambda: not select.select([router._socket.fileno()], [], [], 0)[0]
        )  # nothing wakes the loop
        assert len(seen) == 1
        router.resume()
        await until(lambda: len(seen) == 2)
        server.close()
        client.close()

    asyncio.run(scenario())


def test_receiver_that_raises_does_not_stall_the_socket(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors.append(context["exception"])
        )
        server, client = Bus("a", folder), Bus("b", folder)
        seen: list[bytes] = []

        def on_frames(frames: list[bytes]) -> None:
            if frames[1] == b"bad":
                raise ValueError("bad")
            seen.append(frames[1])

        server.router("router", on_frames)
        dealer = client.dealer("router", lambda frames: None, queue_while_away=True)
        for message in (b"bad", b"good", b"bad", b"good"):
            dealer.send(message)
        await until(lambda: len(seen) == 2)
        assert len(errors) == 2
        server.close()
        client.close()

    asyncio.run(scenario())


def test_request_to_nobody_fails_at_once_and_is_counted(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        client = Bus("b", folder)
        dealer = client.dealer("router", lambda frames: None)
        assert not dealer.send(b"x")
        assert dealer.counters.unsent == 1
        client.close()

    asyncio.run(scenario())


def test_values_wait_for_a_feed_that_is_away_up_to_the_limit(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        dealer = client.dealer("ingest", lambda frames: None, queue_while_away=True, queue=10)
        sent = [dealer.send(b"%d" % number) for number in range(12)]
        assert sent == [True] * 10 + [False] * 2
        assert dealer.counters.unsent == 2
        seen: list[bytes] = []
        server.router("ingest", lambda frames: seen.append(frames[1]))
        await until(lambda: len(seen) == 10)
        server.close()
        client.close()

    asyncio.run(scenario())


def test_reply_to_who_is_not_there_is_counted(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server = Bus("a", folder)
        router = server.router("router", lambda frames: None)
        assert not router.send(b"nobody", b"x")
        assert router.counters.unroutable == 1
        server.close()

    asyncio.run(scenario())


def test_worker_of_the_same_name_takes_its_predecessors_place(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, first, second = Bus("a", folder), Bus("w", folder), Bus("w", folder)
        seen: list[list[bytes]] = []
        at_first: list[list[bytes]] = []
        at_second: list[list[bytes]] = []
        router = server.router("router", seen.append)
        old = first.dealer("router", at_first.append, queue_while_away=True)
        old.send(b"1")
        await until(lambda: len(seen) == 1)
        new = second.dealer("router", at_second.append, queue_while_away=True)
        new.send(b"2")
        await until(lambda: len(seen) == 2)
        router.send(b"w", b"for the new one")
        await until(lambda: at_second)
        assert at_first == []
        for bus in (server, first, second):
            bus.close()

    asyncio.run(scenario())


def test_message_of_too_many_frames_is_dropped_and_counted(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        seen: list[list[bytes]] = []
        router = server.router("router", seen.append)
        dealer = client.dealer("router", lambda frames: None, queue_while_away=True)
        dealer.send(*[b"x"] * 10_000)
        dealer.send(b"fine")
        await until(lambda: seen)
        assert seen == [[b"b", b"fine"]]
        assert router.counters.malformed == 1
        server.close()
        client.close()

    asyncio.run(scenario())


def test_message_of_a_mebibyte_passes_and_a_longer_one_ends_its_connection(
    folder: pathlib.Path,
) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        sizes: list[int] = []
        server.router("router", lambda frames: sizes.append(len(frames[1])))
        dealer = client.dealer("router", lambda frames: None, queue_while_away=True)
        dealer.send(bytes(MAX_MESSAGE))
        await until(lambda: sizes == [MAX_MESSAGE])
        dealer.send(bytes(MAX_MESSAGE + 1))
        await asyncio.sleep(0.1)
        while len(sizes) == 1:
            dealer.send(b"again")
            await asyncio.sleep(0.02)
        assert MAX_MESSAGE + 1 not in sizes
        server.close()
        client.close()

    asyncio.run(scenario())


def test_path_that_another_process_has_bound_is_not_taken_over(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        program = (
            "import asyncio, sys\n"
            "from cpppod.workers.bus.zeromq import Bus\n"
            "async def main():\n"
            "    Bus('x', sys.argv[1]).router('router', print)\n"
            "    print('bound', flush=True)\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        owner = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert owner.stdout is not None
        assert owner.stdout.readline() == "bound\n"
        bus = Bus("y", folder)
        with pytest.raises(BusError, match="another process has bound it"):
            bus.router("router", lambda frames: None)
        owner.kill()
        owner.wait()
        owner.stdout.close()
        bus.router("router", lambda frames: None)
        bus.close()

    asyncio.run(scenario())


def test_path_beyond_a_unix_sockets_length_is_refused_in_words(tmp_path: pathlib.Path) -> None:
    async def scenario() -> None:
        bus = Bus("x", tmp_path / ("d" * MAX_IPC_PATH))
        with pytest.raises(BusError, match="shorter runtime directory"):
            bus.router("router", lambda frames: None)
        bus.close()

    asyncio.run(scenario())


def test_bus_made_before_a_fork_is_refused_after_it(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        bus = Bus("x", folder)
        bus._process = os.getpid() + 1
        with pytest.raises(BusError, match="after the fork"):
            bus.dealer("router", lambda frames: None)
        bus.close()

    asyncio.run(scenario())


def test_subscriptions_begin_and_end_while_running(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        server, client = Bus("a", folder), Bus("b", folder)
        told: list[list[bytes]] = []
        seen: list[list[bytes]] = []
        publisher = server.publisher("feed.pub", told.append)
        subscriber = client.subscriber("feed.pub", seen.append, prefixes=(b"boiler/",))
        await until(lambda: told == [[b"\x01boiler/"]])
        publisher.send(b"boiler/g/", b"1")
        publisher.send(b"pump/g/", b"2")
        await until(lambda: seen)
        subscriber.subscribe(b"pump/")
        subscriber.unsubscribe(b"boiler/")
        await until(lambda: len(told) == 3)
        publisher.send(b"boiler/g/", b"3")
        publisher.send(b"pump/g/", b"4")
        await until(lambda: len(seen) == 2)
        assert seen == [[b"boiler/g/", b"1"], [b"pump/g/", b"4"]]
        server.close()
        client.close()

    asyncio.run(scenario())


def test_closed_socket_is_no_longer_the_buses(folder: pathlib.Path) -> None:
    async def scenario() -> None:
        bus = Bus("a", folder)
        dealer = bus.dealer("router", lambda frames: None)
        dealer.close()
        dealer.close()
        assert bus.sockets == []
        bus.close()

    asyncio.run(scenario())
