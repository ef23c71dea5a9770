"""The feed's decisions: what passes, what is lost, who must repeat."""

import pytest

from cpppod.protocols.bus.feed import Kind, ValueMessage, decode
from cpppod.protocols.bus.feed_requests import (
    Refused,
    ReplayPage,
    ReplayRequest,
    SnapshotPage,
    SnapshotRequest,
    decode_reply,
)
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.bus.replay import ReplayRing
from cpppod.workers.feed import exchange as exchange_module
from cpppod.workers.feed.exchange import FORGET_S, RESEND_EVERY_S, SILENT_AFTER_S, Exchange

TIMES = {"source_us": 1, "gateway_us": 2, "mono_us": 3}
FEED_EPOCH = 1_000
YOUNG = FEED_EPOCH + 1  # a publisher that started after the feed
OLD = FEED_EPOCH - 1


def block(publisher: Publisher, device: str = "boiler", **values: object) -> tuple[bytes, bytes]:
    samples = {tag: (value, 0) for tag, value in (values or {"a": 1}).items()}
    return publisher.block(device, "fast", len(samples), samples, **TIMES)


def beat(publisher: Publisher) -> tuple[bytes, bytes]:
    return publisher.heartbeat(gateway_us=1, mono_us=1)


def feed() -> Exchange:
    return Exchange(FEED_EPOCH, ReplayRing())


def test_block_passes_and_its_values_are_kept() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    assert exchange.ingest(b"p", *block(publisher, a=1, b=2), now=0.0) is True
    assert (exchange.blocks, exchange.values) == (1, 2)
    assert exchange.last_values.sequence(b"boiler/fast/", "p", YOUNG) == 1


def test_first_block_of_a_young_publisher_needs_no_repeat() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    assert exchange.tick(0.0) == []


@pytest.mark.parametrize("first", ["block", "heartbeat"])
def test_publisher_older_than_the_feed_must_repeat_but_has_lost_nothing(first: str) -> None:
    exchange, publisher = feed(), Publisher("p", OLD)
    for _ in range(3):
        message = block(publisher)
    exchange.ingest(b"p", *(message if first == "block" else beat(publisher)), now=0.0)
    assert exchange.due
    assert exchange.tick(0.0) == [b"p"]
    assert exchange.publishers["p"].lost == 0


def test_repeat_is_asked_for_until_it_comes() -> None:
    exchange, publisher = feed(), Publisher("p", OLD)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    assert exchange.tick(0.0) == [b"p"]
    assert exchange.tick(0.1) == []
    assert exchange.tick(RESEND_EVERY_S) == [b"p"]
    (repeat,) = publisher.resend()
    assert exchange.ingest(b"p", *repeat, now=1.5)
    assert exchange.tick(10.0) == []


def test_jump_in_the_numbers_is_counted_and_repaired() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    block(publisher)
    block(publisher)
    assert exchange.ingest(b"p", *block(publisher), now=0.0)
    assert exchange.publishers["p"].lost == 2
    assert exchange.tick(0.0) == [b"p"]


def test_loss_at_the_end_is_counted_at_the_heartbeat() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    block(publisher)
    assert exchange.ingest(b"p", *beat(publisher), now=0.0)
    assert exchange.publishers["p"].lost == 1
    assert exchange.tick(0.0) == [b"p"]


def test_first_block_lost_by_a_young_publisher_is_counted() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    block(publisher)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    assert exchange.publishers["p"].lost == 1


def test_heartbeat_of_a_topic_that_is_behind_asks_for_a_repeat() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    exchange.last_values.forget({b"boiler/fast/"})
    exchange.ingest(b"p", *beat(publisher), now=0.0)
    assert exchange.tick(0.0) == [b"p"]


def test_what_is_not_a_publishers_own_is_dropped_under_its_reason() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    topic, payload = block(publisher)
    assert not exchange.ingest(b"q", topic, payload, 0.0)
    assert not exchange.ingest(b"p", b"$/q/", payload, 0.0)
    assert not exchange.ingest(b"p", b"boiler", payload, 0.0)
    assert not exchange.ingest(b"p", topic, b"\xc1", 0.0)
    assert not exchange.ingest(b"feed", b"$/feed/", beat(Publisher("feed", YOUNG))[1], 0.0)
    assert exchange.ingest(b"p", topic, payload, 0.0)
    assert not exchange.ingest(b"p", topic, payload, 0.0)
    assert not exchange.ingest(b"p", *block(Publisher("p", YOUNG - 1)), now=0.0)
    assert exchange.dropped == {
        "forged": 1,
        "topic": 1,
        "malformed": 2,
        "publishers": 1,
        "repeated sequence": 1,
        "old epoch": 1,
    }


def test_repeat_ahead_of_its_block_or_out_of_date_does_not_pass() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    first = block(publisher)
    exchange.ingest(b"p", *first, now=0.0)
    (old,) = publisher.resend()
    second = block(publisher)
    (early,) = publisher.resend()
    assert not exchange.ingest(b"p", *early, now=0.0)
    exchange.ingest(b"p", *second, now=0.0)
    assert not exchange.ingest(b"p", *old, now=0.0)
    assert exchange.ingest(b"p", *early, now=0.0)


def test_publishers_beyond_the_limit_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "MAX_PUBLISHERS", 2)
    exchange = feed()
    passed = [
        exchange.ingest(name.encode(), *block(Publisher(name, YOUNG)), now=0.0) for name in "abc"
    ]
    assert passed == [True, True, False]


def test_kind_of_a_later_version_passes_for_those_who_know_it() -> None:
    exchange = feed()
    message = ValueMessage("p", YOUNG, 0, 0, 0, 0, 0, 77, {"new": 1})
    assert exchange.ingest(b"p", b"boiler/fast/", message.encode(), 0.0)


def test_silent_publisher_is_not_alive_in_the_snapshot() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    exchange.ingest(b"p", *block(publisher), now=0.0)
    exchange.tick(SILENT_AFTER_S + 0.1)
    page = decode_reply(exchange.answer(SnapshotRequest(1).encode()))
    assert isinstance(page, SnapshotPage)
    assert page.publishers == {"p": [YOUNG, 1, 0]}
    exchange.ingest(b"p", *beat(publisher), now=9.0)
    assert exchange.publishers["p"].alive


def test_snapshot_has_whole_groups_as_of_their_last_block() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    samples = {"a": (1, 0), "b": (2, 0)}
    topic, payload = publisher.block("boiler", "fast", 2, samples, **TIMES)
    exchange.ingest(b"p", topic, payload, 0.0)
    topic, payload = publisher.block("boiler", "fast", 2, {"a": (5, 0)}, **TIMES)
    exchange.ingest(b"p", topic, payload, 0.0)
    page = decode_reply(exchange.answer(SnapshotRequest(1).encode()))
    assert isinstance(page, SnapshotPage)
    ((name, repeat),) = page.messages
    assert name == b"boiler/fast/"
    assert decode(repeat)[:3] == ("p", YOUNG, 2)
    assert decode(repeat).kind == Kind.REPEAT
    assert decode(repeat).body.as_dict() == {"a": (5, 0), "b": (2, 0)}


def test_replay_brings_the_payload_as_it_was_published() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    messages = [block(publisher, a=number) for number in range(5)]
    for message in messages:
        exchange.ingest(b"p", *message, now=0.0)
    page = decode_reply(exchange.answer(ReplayRequest(1, "p", YOUNG, 2, 3).encode()))
    assert isinstance(page, ReplayPage)
    assert page.messages == messages[1:3]


def test_bad_request_gets_a_refusal() -> None:
    reply = decode_reply(feed().answer(b"\x93\x01\x09\x05"))
    assert isinstance(reply, Refused)
    assert reply.id == 5


def test_values_of_devices_that_are_gone_are_forgotten_but_local_ones_stay() -> None:
    exchange, publisher = feed(), Publisher("p", YOUNG)
    for device in ("boiler", "pump", "local"):
        exchange.ingest(b"p", *block(publisher, device), now=0.0)
    exchange.keep_only({"boiler"})
    assert exchange.last_values.topics() == [b"boiler/fast/", b"local/fast/"]


def test_group_that_a_publishers_next_life_has_not_is_forgotten_after_a_while() -> None:
    exchange = feed()
    first, second = Publisher("p", YOUNG), Publisher("p", YOUNG + 1)
    exchange.ingest(b"p", *block(first, "boiler"), now=0.0)
    exchange.ingest(b"p", *block(first, "pump"), now=0.0)
    exchange.ingest(b"p", *block(second, "boiler"), now=10.0)
    exchange.tick(60.0)
    assert exchange.last_values.topics() == [b"boiler/fast/", b"pump/fast/"]
    exchange.tick(10.0 + 2 * FORGET_S)
    assert exchange.last_values.topics() == [b"boiler/fast/"]
