"""The feed over real sockets: joining, losing, declaring, repairing."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cpppod.protocols.bus.feed import Kind
from cpppod.protocols.bus.feed_events import Event, Joined, Lost, Updated
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.bus.zeromq import Bus
from tests.feed.running import RunningFeed, Source, beats, until

StartFeed = Callable[..., RunningFeed]

# Counts what it is handed and what it is told is lost, until that is all, and nothing more comes.
COUNTING_SUBSCRIBER = """
import asyncio, json, sys
from cpppod.feed import Subscriber

async def main(url, last):
    lost, blocks, waited = [], [], 0
    async with Subscriber(url) as feed:
        print("joined", flush=True)
        while True:
            try:
                updates = await asyncio.wait_for(feed.batch(), 1.0)
            except TimeoutError:
                told = len(blocks) + sum(count for _, _, count in lost) + feed.counters.superseded
                waited += 1
                if told > last or waited > 60:
                    break
                continue
            waited = 0
            for update in updates:
                lost += [(gap.first, gap.last, gap.count) for gap in update.lost]
                if not update.repeat:
                    blocks.append(update.sequence)
        superseded = feed.counters.superseded
    print(json.dumps({"lost": lost, "blocks": blocks, "superseded": superseded}))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


class Listener:
    """A subscription, and everything that it was told."""

    def __init__(self, feed: RunningFeed, prefixes: tuple[bytes, ...] = (b"",)) -> None:
        self.bus = Bus("", feed.bus_dir)
        self.events: list[Event] = []
        self.subscription = FeedSubscription(self.bus, self.events.append, prefixes=prefixes)

    def joined(self) -> bool:
        return Joined() in self.events

    def blocks(self) -> list[int]:
        updates = [event for event in self.events if isinstance(event, Updated)]
        return [event.message[2] for event in updates if event.message.kind == Kind.BLOCK]

    def value(self, tag: str) -> object:
        values: dict[str, object] = {}
        for event in self.events:
            if isinstance(event, Updated):
                values |= {name: value for name, value, _ in event.message.body.samples()}
        return values.get(tag)


def test_late_joiner_gets_last_values_then_every_block(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed()
        source = Source(feed.bus_dir)
        source.block(a=1, b=2)
        source.block(a=3)
        early = Listener(feed)
        await until(lambda: early.value("a") == 3)
        late = Listener(feed, (b"boiler/",))
        await until(late.joined)
        assert (late.value("a"), late.value("b")) == (3, 2)
        for number in range(100):
            source.block(a=number)
        await until(lambda: early.value("a") == 99 and late.value("a") == 99)
        assert late.blocks() == list(range(3, 103))
        for listener in (early, late):
            assert not any(isinstance(event, Lost) for event in listener.events)
            listener.bus.close()
        source.close()

    asyncio.run(scenario())


def test_killed_feed_comes_back_with_all_values(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed()
        source, listener = Source(feed.bus_dir), Listener(feed)
        source.block(a=1, b=2)
        await until(lambda: listener.value("a") == 1)
        feed.stop()
        source.block(a=5)
        feed.start()
        await until(lambda: source.resends >= 2)
        source.heartbeat()
        await until(lambda: listener.value("a") == 5)
        late = Listener(feed)
        await until(lambda: (late.value("a"), late.value("b")) == (5, 2))
        source.close()
        for known in (listener, late):
            known.bus.close()

    asyncio.run(scenario())


def test_numbers_that_never_reach_the_feed_are_counted(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed()
        source = Source(feed.bus_dir)
        source.block(a=1)
        await until(lambda: source.resends)
        lost = source.publisher.block(
            "boiler", "g", 1, {"a": (2, 0)}, source_us=1, gateway_us=1, mono_us=1
        )
        assert lost
        source.block(a=3)
        wanted = ["cpppod_feed_lost_total", {"publisher": "p"}, 1]
        beat = await beats(feed, lambda beat: wanted in beat.metrics)
        assert beat.state == "running"
        source.close()

    asyncio.run(scenario())


def test_bad_frames_are_dropped_and_counted(start_feed: StartFeed) -> None:
    async def scenario() -> None:
        feed = start_feed()
        source, listener = Source(feed.bus_dir), Listener(feed)
        source.socket.send(b"boiler/g/")
        source.socket.send(b"boiler/g/", b"\xc1")
        source.socket.send(b"boiler/g/", b"\x91" * 512 + b"\xc0")
        source.socket.send(*[b"x"] * 10_000)
        asker = Bus("asker", feed.bus_dir)
        replies: list[list[bytes]] = []
        requests = asker.dealer("feed.req", replies.append, queue_while_away=True)
        requests.send(b"\xc1")
        requests.send(b"a", b"b")
        source.block(a=1)
        await until(lambda: listener.value("a") == 1 and replies)
        metric = ["cpppod_feed_dropped_total", {"reason": "malformed"}, 2]
        malformed = ["cpppod_bus_malformed_total", {"socket": "ingest"}, 2]
        beat = await beats(feed, lambda beat: metric in beat.metrics)
        assert malformed in beat.metrics
        source.close()
        for bus in (listener.bus, asker):
            bus.close()

    asyncio.run(scenario())


@dataclass
class Told:
    """What the counting subscriber was handed and told, and what was published."""

    lost: list[tuple[int, int, int]]
    blocks: list[int]
    superseded: int
    published: int
    feed_grew_kb: int

    def missing(self) -> set[int]:
        return {number for first, last, _ in self.lost for number in range(first, last + 1)}

    def assert_every_block_is_accounted_for(self) -> None:
        missing = self.missing()
        assert sum(count for _, _, count in self.lost) == len(missing)
        assert missing.isdisjoint(self.blocks)
        assert self.blocks == sorted(set(self.blocks))
        assert len(missing) + len(self.blocks) + self.superseded == self.published


async def stopped_subscriber(
    feed: RunningFeed, count: int, *, members: int = 1, blocks_a_s: float = 0.0
) -> Told:
    """A subscriber is stopped for `count` blocks, unpaced unless `blocks_a_s` is given."""
    source = Source(feed.bus_dir)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COUNTING_SUBSCRIBER, f"ipc://{feed.bus_dir}", str(count)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"joined\n"
    extra: dict[str, Any] = {f"m{index}": 0 for index in range(members - 1)}
    for number in range(100):
        source.block(n=number, **extra)
    before_kb = feed.rss_kb()
    process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    for number in range(100, count):
        source.block(n=number, **extra)
        while blocks_a_s and number > (time.monotonic() - begun) * blocks_a_s:
            await asyncio.sleep(0.002)
            if number % int(blocks_a_s) == 0:
                source.heartbeat()
        if number % 500 == 0:
            await asyncio.sleep(0)
    wanted = ["cpppod_feed_blocks_total", {}, count]
    await beats(feed, lambda beat: wanted in beat.metrics)
    grew_kb = feed.rss_kb() - before_kb
    process.send_signal(signal.SIGCONT)
    source.block(n=count)
    ended = asyncio.create_task(process.stdout.read())
    while not ended.done():
        source.heartbeat()
        await asyncio.wait([ended], timeout=0.2)
    await process.wait()
    source.close()
    told = json.loads(ended.result())
    told["lost"] = [tuple(gap) for gap in told["lost"]]
    return Told(**told, published=source.publisher.sequence, feed_grew_kb=grew_kb)


def test_loss_declared_is_loss_counted_when_a_subscriber_is_stopped(
    start_feed: StartFeed,
) -> None:
    """The ring is short: some of what the subscriber missed is repaired, some is not."""
    feed = start_feed(replay_bytes=1_000_000)
    told = asyncio.run(stopped_subscriber(feed, 25_000))
    told.assert_every_block_is_accounted_for()
    assert told.missing() != set()


def test_stopped_subscriber_loses_nothing_that_the_ring_still_has(start_feed: StartFeed) -> None:
    feed = start_feed(replay_bytes=32_000_000)
    told = asyncio.run(stopped_subscriber(feed, 20_000))
    told.assert_every_block_is_accounted_for()
    assert told.missing() == set()


@pytest.mark.campaign
def test_stopped_for_30_s_at_20_000_values_a_second(start_feed: StartFeed) -> None:
    """Blocks of 10, the ring as configured by default: it reaches back far enough."""
    feed = start_feed(replay_bytes=32_000_000, replay_age_s=120)
    work = stopped_subscriber(feed, 60_000, members=10, blocks_a_s=2_000)
    told = asyncio.run(asyncio.wait_for(work, 180))
    print(told.feed_grew_kb, "KB", len(told.missing()), "lost", told.superseded, "superseded")
    told.assert_every_block_is_accounted_for()
    assert told.missing() == set()
    assert told.feed_grew_kb < 32_000_000 / 1024 + 8_000


@pytest.mark.campaign
def test_stopped_for_30_s_with_a_ring_that_reaches_back_ten(start_feed: StartFeed) -> None:
    feed = start_feed(replay_bytes=32_000_000, replay_age_s=10)
    work = stopped_subscriber(feed, 60_000, members=10, blocks_a_s=2_000)
    told = asyncio.run(asyncio.wait_for(work, 180))
    print(told.feed_grew_kb, "KB", len(told.missing()), "lost", told.superseded, "superseded")
    told.assert_every_block_is_accounted_for()
    assert told.missing() != set()
