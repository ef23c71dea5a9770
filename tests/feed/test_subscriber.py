"""What a program is given by `cpppod.feed`."""

import asyncio
from collections.abc import Callable

import pytest

from cpppod import feed as feed_module
from cpppod.feed import FeedError, Sample, Subscriber, Update, subscribe
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.values import Quality
from tests.feed.running import RunningFeed, Source, beats, until
from tests.patience import PATIENCE_S

StartFeed = Callable[..., RunningFeed]


def test_values_of_a_silent_publisher_come_once_more_as_stale(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed()
        source = Source(feed.bus_dir)
        source.block(a=1, b=2)
        async with Subscriber(f"ipc://{feed.bus_dir}") as subscriber:
            await until(lambda: subscriber.last.get("boiler.a") == Sample(1))
            source.stop_beating()
            await until(lambda: subscriber.silent == {"p"})
            assert subscriber.last["boiler.a"] == Sample(1, Quality.STALE)
            assert not subscriber.last["boiler.a"].good
            assert "stale" in str(subscriber.last["boiler.a"])
            source.heartbeat()
            await until(lambda: subscriber.last["boiler.a"] == Sample(1))
            assert subscriber.silent == set()
        source.close()

    asyncio.run(scenario())


def test_an_update_says_which_gateway_it_is_of_from_the_snapshot_on(
    start_feed: StartFeed,
) -> None:
    async def scenario() -> None:
        feed = start_feed(gateway="press-7")
        source = Source(feed.bus_dir, gateway="press-7")
        source.block(a=1)
        found: list[tuple[bool, str]] = []
        async with Subscriber(f"ipc://{feed.bus_dir}") as subscriber:
            await until(lambda: "boiler.a" in subscriber.last)
            source.block(a=2)
            while subscriber.last["boiler.a"] != Sample(2) or subscriber._waiting:
                found += [(each.repeat, each.gateway) for each in await subscriber.batch()]
        assert {gateway for _, gateway in found} == {"press-7"}
        source.close()

    asyncio.run(scenario())


def test_program_that_is_too_slow_is_told_what_it_lost_and_ends_up_right(
    start_feed: StartFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_WAITING", 50)

    async def scenario() -> None:
        feed = start_feed(replay_bytes=50_000)
        source = Source(feed.bus_dir)
        async with Subscriber(f"ipc://{feed.bus_dir}") as subscriber:
            source.block(n=0, m=7)
            await until(lambda: "boiler.n" in subscriber.last)
            for number in range(1, 15_001):
                source.block(n=number)
            await until(lambda: len(subscriber._waiting) >= 50)
            await asyncio.sleep(0.5)  # the feed goes on, the program does not
            assert len(subscriber._waiting) < 1_000
            lost: list[int] = []
            beating = asyncio.create_task(beat(source))
            while subscriber.last["boiler.n"] != Sample(15_000):
                for update in await subscriber.batch():
                    lost += [gap.count or 0 for gap in update.lost]
            beating.cancel()
            assert subscriber.last["boiler.m"] == Sample(7)
            assert sum(lost) == subscriber.counters.lost
        source.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [256, 257, 511])
def test_hundreds_of_patterns_bring_what_they_name_and_nothing_else(
    start_feed: StartFeed, count: int
) -> None:
    async def scenario() -> None:
        feed = start_feed()
        source = Source(feed.bus_dir)
        source.block(n=1)
        names = [f"boiler/{'g' * 20}{number}" for number in range(count - 1)]
        async with Subscriber(f"ipc://{feed.bus_dir}", "boiler/g", *names) as subscriber:
            source.block(n=2)
            beating = asyncio.create_task(beat(source))  # tells of what came before it listened
            await until(lambda: subscriber.last.get("boiler.n") == Sample(2))
            beating.cancel()
        async with Subscriber(f"ipc://{feed.bus_dir}", "x/y", *names) as subscriber:
            assert not subscriber.last
        source.close()

    asyncio.run(scenario())


def test_more_patterns_than_a_feed_takes_are_refused_with_the_reason() -> None:
    names = [f"boiler/g{number}" for number in range(512)]
    with pytest.raises(FeedError, match=r"512 patterns: a feed takes at most 511"):
        next(subscribe("tcp://127.0.0.1:9", *names))


async def beat(source: Source) -> None:
    while True:
        source.heartbeat()
        await asyncio.sleep(0.1)


def test_plain_program_gets_updates_and_a_time_out(start_feed: StartFeed) -> None:
    feed = start_feed()

    async def publish() -> None:
        source = Source(feed.bus_dir)
        source.block(a=1)
        source.block(a=2)
        await beats(feed, lambda beat: ["cpppod_feed_blocks_total", {}, 2] in beat.metrics)
        source.close()

    asyncio.run(publish())
    first = next(subscribe(f"ipc://{feed.bus_dir}", "boiler/*", timeout_s=PATIENCE_S))
    assert isinstance(first, Update)
    assert (first.device, first.group, first.values) == ("boiler", "g", {"a": Sample(2)})
    assert first.whole
    assert first.repeat
    assert first.time.tzinfo is not None
    with pytest.raises(TimeoutError):
        list(subscribe(f"ipc://{feed.bus_dir}", "boiler/*", timeout_s=1.0))


@pytest.mark.parametrize("url", ["127.0.0.1:44880", "tcp://127.0.0.1", "http://x:1", ""])
def test_url_that_is_none_is_refused_in_words(url: str) -> None:
    with pytest.raises(FeedError, match="expected tcp://host:port"):
        next(subscribe(url))


def test_pattern_that_is_none_is_refused_in_words() -> None:
    with pytest.raises(EncodeError, match="expected"):
        next(subscribe("tcp://127.0.0.1:1", "boil*"))
