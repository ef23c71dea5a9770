"""A subscriber ends up with every value, or knows exactly what it lost.

The feed at the other end is the real one's decisions (`workers.exchange`); between them lies a line
that loses what the test says.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpppod.protocols.bus import joiner as joiner_module
from cpppod.protocols.bus.codec import pack
from cpppod.protocols.bus.feed import Kind
from cpppod.protocols.bus.feed_events import (
    Ask,
    Event,
    Joined,
    Lost,
    PublisherChanged,
    Updated,
)
from cpppod.protocols.bus.feed_requests import (
    Refused,
    ReplayPage,
    ReplayRequest,
    SnapshotPage,
    SnapshotRequest,
    decode_request,
)
from cpppod.protocols.bus.joiner import REPLY_TIMEOUT_S, SILENT_AFTER_S, TRIES, Joiner
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.bus.replay import ReplayRing
from cpppod.workers.feed.exchange import Exchange

TIMES = {"source_us": 1, "gateway_us": 2, "mono_us": 3}
EVERYTHING = (b"",)
BOILER = (b"boiler/",)


@dataclass
class Plant:
    """Publishers, a feed, a subscriber, and what the subscriber was told."""

    prefixes: tuple[bytes, ...] = EVERYTHING
    ring_bytes: int = 1_000_000
    now: float = 100.0
    losing: int = 0  # messages to the subscriber that get lost from now on
    losing_replies: int = 0
    deaf: bool = False  # replies wait
    subscribed: bool = False
    events: list[Event] = field(default_factory=list)
    publishers: dict[str, Publisher] = field(default_factory=dict)
    published: dict[tuple[str, int], int] = field(default_factory=dict)
    values: dict[tuple[bytes, str], Any] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    counter: int = 0
    epoch: int = 1_000

    def __post_init__(self) -> None:
        self.exchange = Exchange(self.epoch, ReplayRing(max_bytes=self.ring_bytes))
        self.joiner = Joiner(self.prefixes)

    def start(self) -> None:
        self.subscribed = True
        self.take(self.joiner.start(self.now))

    def join(self) -> None:
        self.start()
        self.answer()

    def publisher(self, name: str) -> Publisher:
        if name not in self.publishers:
            self.epoch += 1
            self.publishers[name] = Publisher(name, self.epoch)
        return self.publishers[name]

    def block(self, name: str = "p", device: str = "boiler", group: str = "g", **only: int) -> None:
        """The next block of a group of two counters, of which one changed."""
        publisher = self.publisher(name)
        self.counter += 1
        samples = only or {"ab"[self.counter % 2]: self.counter}
        if not publisher.whole(device, group):
            samples = {"a": self.counter, "b": self.counter}
        pairs = {tag: (value, 0) for tag, value in samples.items()}
        message = publisher.block(device, group, 2, pairs, **TIMES)
        self.published[name, publisher.epoch] = publisher.sequence
        self.publish(publisher, message)

    def heartbeat(self, name: str = "p") -> None:
        publisher = self.publisher(name)
        self.publish(publisher, publisher.heartbeat(gateway_us=1, mono_us=1))

    def beat(self) -> None:
        """A second passes, and every publisher's heartbeat comes."""
        self.pass_time(1.0)
        for name in list(self.publishers):
            self.heartbeat(name)

    def feed_heartbeat(self) -> None:
        self.deliver(*self.exchange.heartbeat(gateway_us=1, mono_us=1))

    def publish(self, publisher: Publisher, message: tuple[bytes, bytes]) -> None:
        if self.exchange.ingest(publisher.name.encode(), *message, self.now):
            self.deliver(*message)
        for identity in self.exchange.tick(self.now):
            asked = self.publishers[identity.decode()]
            self.publish(asked, asked.heartbeat(gateway_us=1, mono_us=1))
            for repeat in asked.resend():
                self.publish(asked, repeat)

    def deliver(self, topic: bytes, payload: bytes) -> None:
        if not self.subscribed or not topic.startswith(self.joiner.subscriptions):
            return
        if self.losing:
            self.losing -= 1
            return
        self.take(self.joiner.receive(topic, payload, self.now))
        if not self.deaf:
            self.answer()

    def answer(self) -> None:
        while self.asked:
            frame = self.asked.pop(0)
            if self.losing_replies:
                self.losing_replies -= 1
                continue
            self.take(self.joiner.receive_reply(self.exchange.answer(frame), self.now))

    def take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Ask):
                self.asked.append(event.frame)
                continue
            self.events.append(event)
            if isinstance(event, Updated):
                for tag, value, _ in event.message.body.samples():
                    self.values[event.topic, tag] = value

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.joiner.tick(self.now))
        if not self.deaf:
            self.answer()

    def restart_feed(self) -> None:
        self.epoch += 1
        self.exchange = Exchange(self.epoch, ReplayRing(max_bytes=self.ring_bytes))

    def restart_publisher(self, name: str) -> None:
        self.publishers.pop(name, None)

    def settle(self) -> None:
        """Time passes without losses: heartbeats, answers, time-outs."""
        self.losing = self.losing_replies = 0
        self.deaf = False
        for _ in range(2 * (TRIES + 1)):
            self.feed_heartbeat()
            for name in list(self.publishers):
                self.heartbeat(name)
            self.pass_time(REPLY_TIMEOUT_S + 0.1)

    def blocks(self) -> list[tuple[str, int, int]]:
        """(publisher, epoch, sequence) of each block handed on."""
        return [
            event.message[:3]
            for event in self.events
            if isinstance(event, Updated) and event.message.kind == Kind.BLOCK
        ]

    def lost(self) -> list[Lost]:
        return [event for event in self.events if isinstance(event, Lost)]

    def assert_values_are_right(self) -> None:
        for publisher in self.publishers.values():
            for device, group in (("boiler", "g"), ("boiler", "h"), ("pump", "g")):
                topic = f"{device}/{group}/".encode()
                if topic.startswith(self.prefixes):
                    for tag, (value, _) in publisher.whole(device, group).items():
                        assert self.values.get((topic, tag)) == value


def joined(**settings: Any) -> Plant:
    plant = Plant(**settings)
    plant.join()
    return plant


both = pytest.mark.parametrize("prefixes", [EVERYTHING, BOILER], ids=["everything", "filtered"])


@both
def test_late_joiner_gets_last_values_then_every_block(prefixes: tuple[bytes, ...]) -> None:
    plant = Plant(prefixes)
    for _ in range(5):
        plant.block()
    plant.join()
    plant.block()
    plant.assert_values_are_right()
    kinds = [event.message.kind for event in plant.events if isinstance(event, Updated)]
    assert kinds == [Kind.REPEAT, Kind.BLOCK]
    assert Joined() in plant.events
    assert plant.lost() == []


@both
def test_what_was_published_while_the_snapshot_was_on_its_way_applies_once(
    prefixes: tuple[bytes, ...],
) -> None:
    plant = Plant(prefixes)
    plant.block()
    plant.start()
    plant.deaf = True
    plant.block()  # in the snapshot, and queued
    plant.answer()
    plant.block()  # after the snapshot
    plant.answer()
    assert [sequence for _, _, sequence in plant.blocks()] == [3]
    assert plant.joiner.counters.duplicates == 1
    plant.assert_values_are_right()


@both
def test_gap_is_replayed_in_order(prefixes: tuple[bytes, ...]) -> None:
    plant = joined(prefixes=prefixes)
    plant.block()
    plant.losing = 3
    for _ in range(5):
        plant.block()
    assert [sequence for _, _, sequence in plant.blocks()] == [1, 2, 3, 4, 5, 6]
    assert plant.lost() == []
    assert plant.joiner.counters.replayed == 3
    replayed = [event.replayed for event in plant.events if isinstance(event, Updated)]
    assert replayed == [False, True, True, True, False, False]


@both
def test_blocks_that_come_during_a_repair_wait_for_it(prefixes: tuple[bytes, ...]) -> None:
    plant = joined(prefixes=prefixes)
    plant.block()
    plant.deaf = True
    plant.losing = 1
    for _ in range(4):
        plant.block()
    assert [sequence for _, _, sequence in plant.blocks()] == [1]
    plant.answer()
    assert [sequence for _, _, sequence in plant.blocks()] == [1, 2, 3, 4, 5]


@both
def test_loss_at_the_end_is_found_by_the_heartbeat(prefixes: tuple[bytes, ...]) -> None:
    plant = joined(prefixes=prefixes)
    plant.block()
    plant.losing = 2
    plant.block()
    plant.block()
    plant.heartbeat()
    assert [sequence for _, _, sequence in plant.blocks()] == [1, 2, 3]


def test_filtered_subscriber_does_not_take_other_topics_for_losses() -> None:
    plant = joined(prefixes=BOILER)
    for device in ("boiler", "pump", "pump", "boiler", "pump"):
        plant.block(device=device)
    plant.heartbeat()
    assert [sequence for _, _, sequence in plant.blocks()] == [1, 4]
    assert plant.joiner.counters.gaps == 0


@both
def test_what_the_ring_no_longer_has_is_declared_and_values_come_whole(
    prefixes: tuple[bytes, ...],
) -> None:
    plant = joined(prefixes=prefixes, ring_bytes=700)  # three blocks
    plant.block()
    plant.losing = 10
    for _ in range(10):
        plant.block()
    plant.block()
    plant.settle()
    plant.assert_values_are_right()
    assert plant.lost() != []
    numbers = [sequence for _, _, sequence in plant.blocks()]
    assert numbers == sorted(numbers)
    if prefixes == EVERYTHING:
        missing = {n for lost in plant.lost() for n in range(lost.first, lost.last + 1)}
        assert sum(lost.count or 0 for lost in plant.lost()) == len(missing)
        assert plant.joiner.counters.superseded + len(numbers) + len(missing) == 12
        assert missing.isdisjoint(numbers)
    else:
        assert {lost.topic for lost in plant.lost()} == {b"boiler/g/"}
        assert plant.joiner.counters.lost_unknown == len(plant.lost())


@both
def test_end_of_an_epoch_that_was_missed_is_fetched_before_the_new_one_begins(
    prefixes: tuple[bytes, ...],
) -> None:
    plant = joined(prefixes=prefixes)
    plant.block()
    plant.losing = 2
    plant.block()
    plant.block()
    old = plant.publishers["p"].epoch
    plant.restart_publisher("p")
    plant.block()
    new = plant.publishers["p"].epoch
    assert plant.blocks() == [("p", old, 1), ("p", old, 2), ("p", old, 3), ("p", new, 1)]
    assert plant.lost() == []


def test_end_of_an_epoch_that_is_gone_is_declared() -> None:
    plant = joined(ring_bytes=300)  # one block
    plant.block()
    plant.losing = 4
    for _ in range(4):
        plant.block()
    old = plant.publishers["p"].epoch
    plant.restart_publisher("p")
    plant.block()
    plant.settle()
    assert Lost("p", old, 2, 5, count=4) in plant.lost()
    plant.assert_values_are_right()


@both
def test_restarted_feed_costs_nothing_that_reached_it(prefixes: tuple[bytes, ...]) -> None:
    plant = joined(prefixes=prefixes)
    plant.block()
    plant.block()
    plant.restart_feed()
    plant.block()
    plant.feed_heartbeat()
    plant.block()
    assert [sequence for _, _, sequence in plant.blocks()] == [1, 2, 3, 4]
    assert plant.lost() == []
    plant.assert_values_are_right()


@both
def test_who_joins_a_new_feed_is_not_told_of_losses_before_its_time(
    prefixes: tuple[bytes, ...],
) -> None:
    plant = Plant(prefixes)
    for _ in range(5):
        plant.block()
    plant.restart_feed()
    plant.join()  # an empty snapshot
    plant.block()
    plant.settle()
    assert plant.lost() == []
    plant.assert_values_are_right()


@both
def test_what_went_by_while_joining_a_new_feed_is_asked_for(prefixes: tuple[bytes, ...]) -> None:
    """The snapshot was empty, and the blocks of publishers older than the feed came before us."""
    plant = Plant(prefixes)
    plant.publisher("p"), plant.publisher("q")
    plant.restart_feed()
    plant.join()
    plant.losing = 100
    plant.block("p", a=1)
    plant.block("q", "pump", a=2)
    plant.losing = 0
    plant.beat()
    assert plant.values[b"boiler/g/", "a"] == 1
    plant.assert_values_are_right()
    assert plant.lost() == []
    assert plant.joiner.counters.snapshots <= 3


@both
def test_lost_reply_is_asked_for_again(prefixes: tuple[bytes, ...]) -> None:
    plant = Plant(prefixes)
    plant.block()
    plant.losing_replies = 1
    plant.join()
    assert Joined() not in plant.events
    plant.pass_time(REPLY_TIMEOUT_S + 0.1)
    assert Joined() in plant.events
    plant.losing, plant.losing_replies = 1, TRIES - 1
    plant.block()
    plant.block()
    for _ in range(TRIES - 1):
        plant.pass_time(REPLY_TIMEOUT_S + 0.1)
    assert [sequence for _, _, sequence in plant.blocks()] == [2, 3]


def test_gap_is_final_after_the_last_try() -> None:
    plant = joined()
    plant.block()
    plant.losing, plant.losing_replies = 1, TRIES
    plant.block()
    plant.block()
    for _ in range(TRIES + 1):
        plant.pass_time(REPLY_TIMEOUT_S + 0.1)
    assert [lost.count for lost in plant.lost()] == [1]
    plant.settle()
    plant.assert_values_are_right()


def test_queue_behind_a_gap_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner_module, "MAX_QUEUED", 10)
    plant = joined()
    plant.block()
    plant.deaf = True
    plant.losing = 1
    for _ in range(11):
        plant.block()
    assert plant.lost() == []
    plant.block()
    assert [(lost.first, lost.last) for lost in plant.lost()] == [(2, 2)]
    assert plant.blocks()[-1][2] == 13


def test_queue_before_the_snapshot_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner_module, "MAX_QUEUED", 10)
    plant = Plant()
    plant.start()
    first_ask = plant.asked.pop()
    plant.deaf = True
    for _ in range(30):
        plant.block()
    plant.asked = [first_ask]
    plant.answer()
    assert Joined() in plant.events
    plant.assert_values_are_right()


def test_silent_publisher_is_said_once_and_so_is_its_return() -> None:
    plant = joined()
    plant.block()
    plant.pass_time(SILENT_AFTER_S + 0.1)
    plant.pass_time(1)
    plant.heartbeat()
    plant.heartbeat()
    changes = [event.alive for event in plant.events if isinstance(event, PublisherChanged)]
    assert changes == [True, False, True]


def test_publisher_that_is_silent_already_is_said_at_the_join() -> None:
    plant = Plant()
    plant.block()
    plant.now += 10
    plant.exchange.tick(plant.now)
    plant.join()
    changes = [event.alive for event in plant.events if isinstance(event, PublisherChanged)]
    assert changes == [False]


def test_loss_between_publisher_and_feed_is_declared_and_repaired_by_a_repeat() -> None:
    plant = joined()
    plant.block()
    publisher = plant.publishers["p"]
    publisher.block("boiler", "g", 2, {"a": (777, 0)}, **TIMES)  # never reaches the feed
    plant.published["p", publisher.epoch] = publisher.sequence
    plant.block(b=5)
    plant.settle()
    assert [(lost.first, lost.last) for lost in plant.lost()] == [(2, 2)]
    assert plant.exchange.publishers["p"].lost == 1
    assert plant.values[b"boiler/g/", "a"] == 777


def test_malformed_messages_are_counted_and_change_nothing() -> None:
    plant = joined()
    assert plant.joiner.receive(b"boiler/g/", b"\xc1", 1.0) == []
    assert plant.joiner.receive_reply(b"\xc1", 1.0) == []
    assert plant.joiner.counters.malformed == 2


def test_replies_to_nobodys_question_change_nothing() -> None:
    plant = Plant()
    plant.block()
    plant.start()
    old = plant.asked.pop()
    plant.pass_time(REPLY_TIMEOUT_S + 0.1)
    before = len(plant.events)
    plant.take(plant.joiner.receive_reply(plant.exchange.answer(old), plant.now))
    assert len(plant.events) == before


Step = Callable[[Plant], None]
STEPS: dict[str, Step] = {
    "block of p": lambda plant: plant.block("p"),
    "block of p, other group": lambda plant: plant.block("p", group="h"),
    "block of p, other device": lambda plant: plant.block("p", device="pump"),
    "lose one": lambda plant: setattr(plant, "losing", plant.losing + 1),
    "lose seven": lambda plant: setattr(plant, "losing", plant.losing + 7),
    "lose a reply": lambda plant: setattr(plant, "losing_replies", plant.losing_replies + 1),
    "replies wait": lambda plant: setattr(plant, "deaf", True),
    "replies come": lambda plant: setattr(plant, "deaf", False),
    "heartbeat": lambda plant: plant.beat(),
    "heartbeat of the feed": lambda plant: plant.feed_heartbeat(),
    "time passes": lambda plant: plant.pass_time(1.1),
    "p restarts": lambda plant: plant.restart_publisher("p"),
}


def run(plant: Plant, names: list[str]) -> None:
    plant.block("p")
    for name in names:
        STEPS[name](plant)
    plant.settle()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(list(STEPS)), max_size=60), st.sampled_from([400, 1_500, 100_000]))
@example(  # the end of p's first life is asked for in vain, and is lost without a number
    ["lose one", "block of p", "lose a reply", "p restarts", "block of p"]
    + ["lose a reply"] * 2
    + ["heartbeat", "time passes", "time passes", "heartbeat"],
    400,
)
def test_every_block_is_handed_on_or_declared_exactly_once(names: list[str], ring: int) -> None:
    plant = joined(ring_bytes=ring)
    run(plant, names)
    handed_on = plant.blocks()
    ends = plant.published
    missing = [
        (lost.publisher, lost.epoch, number)
        for lost in plant.lost()
        for number in range(lost.first, (lost.last or ends[lost.publisher, lost.epoch]) + 1)
    ]
    everything = [
        (name, epoch, number)
        for (name, epoch), last in plant.published.items()
        for number in range(1, last + 1)
    ]
    accounted = handed_on + missing
    assert len(set(accounted)) == len(accounted)
    assert set(accounted) <= set(everything)
    assert len(accounted) + plant.joiner.counters.superseded == len(everything)
    assert plant.joiner.counters.lost == sum(lost.count or 0 for lost in plant.lost())
    assert handed_on == sorted(handed_on, key=lambda block: block[1:])
    plant.assert_values_are_right()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(list(STEPS)), max_size=60), st.sampled_from([400, 1_500, 100_000]))
def test_filtered_subscriber_has_the_right_values_and_no_undeclared_loss(
    names: list[str], ring: int
) -> None:
    plant = joined(prefixes=BOILER, ring_bytes=ring)
    run(plant, names)
    plant.assert_values_are_right()
    numbers: dict[bytes, list[tuple[int, int]]] = {}
    for event in plant.events:
        if isinstance(event, Updated) and event.message.kind == Kind.BLOCK:
            number = (event.message.epoch, event.message.sequence)
            numbers.setdefault(event.topic, []).append(number)
    for handed_on in numbers.values():
        assert handed_on == sorted(set(handed_on))


# Replies of a feed that is newer, refuses, or brings what nobody can read


def asked(events: list[Event]) -> SnapshotRequest | ReplayRequest:
    """The one question among the events."""
    (event,) = [event for event in events if isinstance(event, Ask)]
    return decode_request(event.frame)


def value(sequence: int, previous: int, kind: int = Kind.BLOCK, epoch: int = 1001) -> bytes:
    body: Any = [1, ["a"], [sequence], 0] if kind in (Kind.BLOCK, Kind.REPEAT) else {}
    return pack([1, "p", epoch, sequence, previous, 1, 2, 3, int(kind), body])


TOPIC = b"boiler/g/"
BEGINNING: dict[str, list[int]] = {"p": [1001, 5, 1]}


def begun(last: int = 5) -> Joiner:
    """A subscriber to everything that has joined after `last` of publisher p."""
    joiner = Joiner()
    request = asked(joiner.start(100.0))
    page = SnapshotPage(request.id, 1000, {"p": [1001, last, 1]}, [])
    joiner.receive_reply(page.encode(), 100.0)
    assert joiner.joined
    return joiner


def test_refusal_and_a_kind_of_reply_from_the_future_are_waited_past() -> None:
    joiner = Joiner()
    request = asked(joiner.start(100.0))
    assert joiner.receive_reply(Refused(request.id, "busy").encode(), 100.0) == []
    assert joiner.receive_reply(pack([1, 9, request.id, "new"]), 100.0) == []
    assert joiner.receive_reply(b"\xc1", 100.0) == []
    assert joiner.counters.malformed == 1
    assert joiner.tick(100.0 + REPLY_TIMEOUT_S) == []
    assert asked(joiner.tick(100.1 + REPLY_TIMEOUT_S)).id > request.id


def test_snapshot_of_several_pages_is_asked_for_page_by_page_and_applied_whole() -> None:
    joiner = Joiner()
    first = asked(joiner.start(100.0))
    late = value(5, 4, Kind.REPEAT)
    page = SnapshotPage(first.id, 1000, BEGINNING, [(TOPIC, late)], b"boiler/g/")
    second = asked(joiner.receive_reply(page.encode(), 100.0))
    assert isinstance(second, SnapshotRequest)
    assert second.after == b"boiler/g/"
    assert joiner.receive_reply(page.encode(), 100.0) == []  # the first page once more
    assert not joiner.joined
    last = SnapshotPage(second.id, 1000, BEGINNING, [(b"boiler/h/", late)])
    events = joiner.receive_reply(last.encode(), 100.0)
    assert [event.topic for event in events if isinstance(event, Updated)] == [TOPIC, b"boiler/h/"]
    assert Joined() in events


def test_last_value_that_cannot_be_read_or_is_none_is_passed_over() -> None:
    joiner = Joiner()
    request = asked(joiner.start(100.0))
    given = [(TOPIC, b"\xc1"), (TOPIC, value(5, 4)), (TOPIC, value(5, 4, Kind.HEARTBEAT))]
    events = joiner.receive_reply(SnapshotPage(request.id, 1000, BEGINNING, given).encode(), 100.0)
    assert not any(isinstance(event, Updated) for event in events)
    assert joiner.counters.malformed == 1


def test_replay_of_several_pages_brings_what_was_missed_in_order() -> None:
    joiner = begun()
    request = asked(joiner.receive(TOPIC, value(9, 8), 100.0))
    assert isinstance(request, ReplayRequest)
    assert (request.first, request.last) == (6, 8)
    page = ReplayPage(request.id, 1000, "p", 1001, 1, 9, [(TOPIC, value(6, 5))], following=7)
    events = joiner.receive_reply(page.encode(), 100.0)
    following = asked(events)
    assert isinstance(following, ReplayRequest)
    assert following.first == 7
    stale = joiner.receive_reply(page.encode(), 100.0)
    assert stale == []
    rest = [(TOPIC, value(number, number - 1)) for number in (6, 7, 8)]
    page = ReplayPage(following.id, 1000, "p", 1001, 1, 9, rest)
    events = joiner.receive_reply(page.encode(), 100.0)
    told = [event.message.sequence for event in events if isinstance(event, Updated)]
    assert told == [7, 8, 9]
    assert not any(isinstance(event, Lost) for event in events)


def test_replayed_message_that_is_no_block_is_declared_lost() -> None:
    joiner = begun()
    request = asked(joiner.receive(TOPIC, value(9, 8), 100.0))
    given = [(TOPIC, b"\xc1"), (TOPIC, value(7, 6, Kind.HEARTBEAT)), (TOPIC, value(8, 7, 77))]
    page = ReplayPage(request.id, 1000, "p", 1001, 1, 9, given)
    events = joiner.receive_reply(page.encode(), 100.0)
    lost = [event for event in events if isinstance(event, Lost)]
    assert [(item.first, item.last, item.count) for item in lost] == [(6, 8, 3)]
    assert joiner.counters.malformed == 1


def test_loss_while_a_snapshot_is_under_way_asks_for_another_one() -> None:
    joiner = begun()
    renewed = asked(joiner.receive(b"$/feed/", feed_heartbeat(1002), 100.0))
    request = asked(joiner.receive(TOPIC, value(9, 8), 100.0))
    events = joiner.receive_reply(ReplayPage(request.id, 1002, "p", 1001, 9, 9, []).encode(), 100.0)
    assert not any(isinstance(event, Ask) for event in events)
    page = SnapshotPage(renewed.id, 1002, BEGINNING, [])
    assert isinstance(asked(joiner.receive_reply(page.encode(), 100.0)), SnapshotRequest)


def feed_heartbeat(epoch: int) -> bytes:
    return pack([1, "feed", epoch, 1, 0, 1, 2, 3, int(Kind.HEARTBEAT), {}])


def test_end_of_an_epoch_that_the_feed_does_not_know_is_lost_without_a_number() -> None:
    joiner = begun()
    request = asked(joiner.receive(TOPIC, value(1, 0, epoch=1002), 100.0))
    assert isinstance(request, ReplayRequest)
    assert (request.epoch, request.first) == (1001, 6)
    page = ReplayPage(request.id, 1000, "p", 1001, 0, 0, [])
    events = joiner.receive_reply(page.encode(), 100.0)
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert (lost.epoch, lost.first, lost.last, lost.count) == (1001, 6, 0, None)
    told = [event.message[1:3] for event in events if isinstance(event, Updated)]
    assert told == [(1002, 1)]


def test_end_of_an_epoch_that_is_never_answered_is_given_up_after_so_many_tries() -> None:
    joiner = begun()
    joiner.receive(TOPIC, value(1, 0, epoch=1002), 100.0)
    now, events = 100.0, []
    for _ in range(TRIES):
        now += REPLY_TIMEOUT_S + 0.1
        events = joiner.tick(now)
    lost = [event for event in events if isinstance(event, Lost)]
    assert [(item.first, item.last) for item in lost] == [(6, 0)]
    assert joiner.counters.lost_unknown == 1


def test_repeat_before_any_block_of_an_older_publisher_begins_no_chain() -> None:
    joiner = begun()
    repeat = pack([1, "q", 900, 7, 6, 1, 2, 3, int(Kind.REPEAT), [1, ["a"], [1], 0]])
    events = joiner.receive(b"pump/g/", repeat, 100.0)
    assert any(isinstance(event, Updated) for event in events)
    block = pack([1, "q", 900, 9, 8, 1, 2, 3, int(Kind.BLOCK), [1, ["a"], [1], 0]])
    events = joiner.receive(b"pump/g/", block, 100.0)
    assert isinstance(asked(events), SnapshotRequest)


def test_kind_from_the_future_is_counted_and_changes_nothing() -> None:
    joiner = begun()
    events = joiner.receive(TOPIC, value(6, 5, 77), 100.0)
    assert not any(isinstance(event, Updated | Ask | Lost) for event in events)
