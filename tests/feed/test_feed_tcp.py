"""The feed on TCP: keys, limits, and strangers who talk nonsense."""

import asyncio
import pathlib
import socket
from collections.abc import Callable

import pytest
import zmq

from cpppod.feed import FeedError, Sample, Subscriber
from cpppod.protocols.bus.messages import Beat
from cpppod.protocols.bus.topics import MAX_SUBSCRIPTIONS
from cpppod.workers.bus.access import CurveClient
from cpppod.workers.bus.zeromq import Bus, Socket, new_curve_keys
from cpppod.workers.feed.access import BURST
from cpppod.workers.feed.public import REQUEST_QUEUE
from tests.feed.running import RunningFeed, Source, beats, reload, until
from tests.patience import PATIENCE_S
from tests.ports import adjacent_ports, free_port

StartFeed = Callable[..., RunningFeed]
LOOPBACK = {"publish": "127.0.0.1:0", "request": "127.0.0.1:0"}


async def endpoints(feed: RunningFeed) -> tuple[str, str]:
    beat = await beats(feed, lambda beat: beat.extra.get("request"))
    return beat.extra["publish"], beat.extra["request"]


def turned_away(beat: Beat, reason: str) -> int:
    wanted = ("cpppod_feed_turned_away_total", {"reason": reason})
    return sum(number for name, labels, number in beat.metrics if (name, labels) == wanted)


def with_keys(folder: pathlib.Path) -> tuple[dict[str, str], CurveClient]:
    """Options of a feed that wants keys, and the keys of the one client that it knows."""
    server_public, server_secret = new_curve_keys()
    client_public, client_secret = new_curve_keys()
    secret, clients = folder / "feed.key", folder / "clients.keys"
    secret.write_bytes(server_secret)
    secret.chmod(0o600)
    clients.write_bytes(client_public + b" dashboard\n")
    options = {"secret_key_file": str(secret), "client_keys_file": str(clients), **LOOPBACK}
    return options, CurveClient(client_secret, server_public)


def test_subscriber_on_tcp_gets_the_values(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed(**LOOPBACK)
        source = Source(feed.bus_dir)
        source.block(a=1, b=None)
        publish, request = await endpoints(feed)
        async with Subscriber(publish, "boiler/*", requests=request) as subscriber:
            update = (await subscriber.batch())[0]
            assert (update.device, update.group, update.whole) == ("boiler", "g", True)
            assert update.values == {"a": Sample(1), "b": Sample(None)}
            source.block(a=2)
            await until(lambda: subscriber.last.get("boiler.a") == Sample(2))
            update = (await subscriber.batch())[-1]
            assert update.values["a"] == Sample(2)
        source.close()

    asyncio.run(scenario())


def test_listed_key_gets_values_and_nobody_else_gets_anything(
    start_feed: StartFeed, tmp_path: pathlib.Path
) -> None:
    async def scenario() -> None:
        options, keys = with_keys(tmp_path)
        feed = start_feed(**options)
        source = Source(feed.bus_dir)
        source.block(a=1)
        publish, request = await endpoints(feed)
        bus = Bus("", None)
        received: list[list[bytes]] = []
        strangers: list[Socket] = []
        other_key = CurveClient(new_curve_keys()[1], keys.server_key)
        for curve in (None, other_key, CurveClient(keys.secret_key, new_curve_keys()[0])):
            strangers.append(bus.subscriber("s", received.append, endpoint=publish, curve=curve))
            asker = bus.dealer("d", received.append, endpoint=request, curve=curve)
            strangers.append(asker)
        async with Subscriber(publish, requests=request, curve=keys) as subscriber:
            for number in range(50):
                source.block(a=number)
                strangers[1].send(b"\x95\x01\x01\x01\x91\xa0\xa0")
                await asyncio.sleep(0.01)
            await until(lambda: subscriber.last.get("boiler.a") == Sample(49))
        assert received == []
        assert all(stranger.counters.sent == 0 for stranger in strangers)
        for reason in ("key not listed", "not ZeroMQ, or without CURVE"):
            await beats(feed, lambda beat, reason=reason: turned_away(beat, reason))  # type: ignore[misc]
        bus.close()
        source.close()

    asyncio.run(scenario())


def test_feed_beyond_loopback_without_keys_does_not_start(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed(publish="0.0.0.0:0", request="0.0.0.0:0")
        beat = await beats(feed, lambda beat: beat.overdue)
        assert beat.state == "backing off"
        assert "client_keys_file" in beat.overdue[0]
        assert not (feed.bus_dir / "feed.pub").exists()

    asyncio.run(scenario())


def test_peer_with_100_000_subscriptions_is_cut_off_and_costs_little(
    start_feed: StartFeed,
) -> None:
    async def scenario() -> None:
        feed = start_feed(**LOOPBACK)
        source = Source(feed.bus_dir)
        publish, request = await endpoints(feed)
        async with Subscriber(publish, requests=request) as subscriber:
            before = feed.rss_kb()
            context = zmq.Context()
            hostile = context.socket(zmq.SUB)
            hostile.setsockopt(zmq.SNDHWM, 0)
            hostile.setsockopt(zmq.RECONNECT_IVL, -1)
            for number in range(100_000):
                hostile.setsockopt(zmq.SUBSCRIBE, f"d{number:06}/{'x' * 40}/".encode())
            hostile.connect(publish)
            beat = await beats(feed, lambda beat: turned_away(beat, "too many subscriptions"))
            assert turned_away(beat, "too many connections") == 0
            source.block(a=1)
            await until(lambda: subscriber.last.get("boiler.a") == Sample(1))
            assert feed.rss_kb() - before < 8_000  # 324 MB without the limit; 2 to 5 with it
            context.destroy(0)
        source.close()

    asyncio.run(scenario())


def test_peer_that_takes_back_its_subscriptions_may_have_others(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed(**LOOPBACK)
        source = Source(feed.bus_dir)
        publish, _ = await endpoints(feed)
        bus = Bus("", None)
        received: list[list[bytes]] = []
        subscriber = bus.subscriber("s", received.append, endpoint=publish, prefixes=())
        for number in range(MAX_SUBSCRIPTIONS + 100):
            subscriber.subscribe(f"d{number}/".encode())
            subscriber.unsubscribe(f"d{number}/".encode())
            if number % 50 == 0:
                await asyncio.sleep(0.01)
        subscriber.subscribe(b"boiler/")
        async with asyncio.timeout(PATIENCE_S):
            while not received:
                source.block(a=1)
                await asyncio.sleep(0.01)
        bus.close()
        source.close()

    asyncio.run(scenario())


def test_garbage_on_the_ports_disturbs_nobody(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed(**LOOPBACK)
        source = Source(feed.bus_dir)
        source.block(a=1)
        publish, request = await endpoints(feed)
        held = []
        for endpoint in (publish, request):
            port = int(endpoint.rpartition(":")[2])
            for garbage in (
                b"GET / HTTP/1.1\r\n\r\n",
                b"\xff" * 1_000,
                b"\xff\0\0\0\0\0\0\0\1\x7f",
            ):
                connection = socket.create_connection(("127.0.0.1", port))
                connection.sendall(garbage)
                held.append(connection)
        async with Subscriber(publish, requests=request) as subscriber:
            await until(lambda: subscriber.last.get("boiler.a") == Sample(1))
        for connection in held:
            connection.close()
        source.close()

    asyncio.run(scenario())


def test_requests_that_are_too_long_or_too_many_are_refused(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed(**LOOPBACK)
        publish, request = await endpoints(feed)
        bus = Bus("", None)
        replies: list[list[bytes]] = []
        asker = bus.dealer("d", replies.append, endpoint=request, queue_while_away=True)
        while not any(b"too many" in frames[0] for frames in replies):
            for _ in range(REQUEST_QUEUE):  # faster than the limit on any machine
                asker.send(b"\x95\x01\x01\x01\x91\xa0\xa0")
            await until(lambda: len(replies) == asker.counters.sent)
        assert asker.counters.sent > BURST
        greedy = bus.dealer("d", replies.append, endpoint=request, queue_while_away=True)
        greedy.send(bytes(100_000))  # its connection is ended: no reply ever comes
        async with Subscriber(publish, requests=request):
            pass
        assert len(replies) == asker.counters.sent
        bus.close()

    asyncio.run(scenario())


def test_nobody_there_is_said_in_words() -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can be there
            url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(FeedError, match="no answer from"):
                await Subscriber(url, join_timeout_s=0.2).__aenter__()

    asyncio.run(scenario())


def test_port_that_is_taken_is_tried_again_while_the_gateways_own_sockets_work(
    start_feed: StartFeed,
) -> None:
    async def scenario() -> None:
        with socket.socket() as holder:
            port = free_port()
            address = f"127.0.0.1:{port}"
            holder.bind(("127.0.0.1", port))
            holder.listen()
            feed = start_feed(publish=address, request="127.0.0.1:0")
            beat = await beats(feed, lambda beat: beat.overdue and beat.state == "running")
            assert address in beat.overdue[0]
            assert (feed.bus_dir / "feed.pub").exists()
        await beats(feed, lambda beat: beat.extra.get("publish", "").endswith(address))

    asyncio.run(scenario())


def test_key_that_is_taken_off_the_list_is_out_after_a_reload(
    start_feed: StartFeed, tmp_path: pathlib.Path
) -> None:
    async def scenario() -> None:
        options, keys = with_keys(tmp_path)
        publish, request = adjacent_ports()
        options |= {"publish": f"127.0.0.1:{publish}", "request": f"127.0.0.1:{request}"}
        feed = start_feed(**options)
        source = Source(feed.bus_dir)
        source.block(a=1)
        await endpoints(feed)
        async with Subscriber(f"tcp://127.0.0.1:{publish}", curve=keys) as subscriber:
            await until(lambda: subscriber.last.get("boiler.a") == Sample(1))
            pathlib.Path(options["client_keys_file"]).write_bytes(new_curve_keys()[0])
            await reload(feed)
            beat = await beats(feed, lambda beat: turned_away(beat, "key not listed"))
            assert beat.extra["publish"].endswith(str(publish))
            source.block(a=2)
            await asyncio.sleep(0.3)
            assert subscriber.last["boiler.a"].value == 1
        source.close()

    asyncio.run(scenario())
