"""Blocks read back after a write: applied in order, and before the write is answered."""

import asyncio

import pytest

from cpppod.protocols.bus.feed import ValueMessage, decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.freshness import BlockOrder
from cpppod.workers.bus import subscription
from cpppod.workers.bus.subscription import ReadBacks

TOPIC = b"boiler/fast/"


class Reader:
    """A reader of one topic, and the publisher of its blocks."""

    def __init__(self) -> None:
        self.order = BlockOrder()
        self.applied: list[int] = []
        self.answers: list[bool] = []
        self.publisher = Publisher("poller-a", 5)
        self.read_backs = ReadBacks(
            lambda topic: self.order if topic == TOPIC else None, self._apply
        )

    def _apply(self, _topic: bytes, message: ValueMessage) -> None:
        place = (message.publisher, message.epoch, message.sequence)
        if self.order.admits(*place):
            self.order.take(*place)
            self.applied.append(message.sequence)

    def block(self) -> bytes:
        samples = {"level": (len(self.applied), 0)}
        return self.publisher.block(
            "boiler", "fast", 1, samples, source_us=1, gateway_us=1, mono_us=1
        )[1]

    def feed(self, payload: bytes) -> None:
        self.read_backs.apply(TOPIC, decode(payload))

    def read_back(self, payload: bytes, topic: bytes = TOPIC) -> None:
        self.read_backs.apply_first(topic, payload, self.answers.append)


def test_block_whose_predecessor_is_here_is_applied_at_once() -> None:
    reader = Reader()
    reader.feed(reader.block())
    reader.read_back(reader.block())
    assert (reader.applied, reader.answers) == ([1, 2], [True])


def test_block_waits_for_its_predecessor_to_come_by_the_feed() -> None:
    async def scenario() -> None:
        reader = Reader()
        reader.feed(reader.block())
        missing, read = reader.block(), reader.block()
        reader.read_back(read)
        assert (reader.applied, reader.answers) == ([1], [])
        reader.feed(missing)
        assert (reader.applied, reader.answers) == ([1, 2, 3], [True])
        reader.feed(read)
        assert (reader.applied, reader.answers) == ([1, 2, 3], [True])

    asyncio.run(scenario())


def test_block_that_the_feed_brought_first_is_not_waited_for() -> None:
    reader = Reader()
    reader.feed(reader.block())
    second = reader.block()
    reader.feed(second)
    reader.read_back(second)
    assert (reader.applied, reader.answers) == ([1, 2], [True])


def test_predecessor_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(subscription, "CATCH_UP_S", 0.0)
        reader = Reader()
        reader.feed(reader.block())
        reader.block()
        assert await reader.read_backs.applied(TOPIC, reader.block()) is False
        assert reader.applied == [1]

    asyncio.run(scenario())


def test_first_block_of_an_owner_needs_no_predecessor() -> None:
    reader = Reader()
    reader.order.take("poller-b", 9, 70)
    reader.read_back(reader.block())
    assert (reader.applied, reader.answers) == ([1], [True])


def test_bytes_that_are_no_block_are_not_applied() -> None:
    reader = Reader()
    reader.read_back(b"\xc1")
    assert (reader.applied, reader.answers) == ([], [False])
