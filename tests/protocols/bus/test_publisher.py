"""A publisher numbers over all topics, and can say again what every group is worth."""

import pytest

from cpppod.protocols.bus.feed import Kind, ValueMessage, decode
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.errors import EncodeError

TIMES = {"source_us": 1, "gateway_us": 2, "mono_us": 3}


def send(publisher: Publisher, group: str, **values: object) -> ValueMessage:
    samples = {tag: (value, 0) for tag, value in values.items()}
    topic, payload = publisher.block("boiler", group, 2, samples, **TIMES)
    assert topic == f"boiler/{group}/".encode()
    return decode(payload)


def test_sequence_counts_over_all_topics_and_previous_within_one() -> None:
    publisher = Publisher("p", 9)
    numbers = [
        (message.sequence, message.previous)
        for message in (
            send(publisher, "fast", a=1, b=2),
            send(publisher, "slow", a=1, b=2),
            send(publisher, "fast", a=2),
            send(publisher, "fast"),
            send(publisher, "slow", b=3),
        )
    ]
    assert numbers == [(1, 0), (2, 0), (3, 1), (4, 3), (5, 2)]


def test_resend_has_the_whole_group_with_its_own_times_and_sequence() -> None:
    publisher = Publisher("p", 9)
    send(publisher, "fast", a=1, b=2)
    samples = {"b": (None, 18)}
    publisher.block("boiler", "fast", 2, samples, source_us=7, gateway_us=8, mono_us=9)
    ((topic, payload),) = publisher.resend()
    repeat = decode(payload)
    assert (topic, repeat.kind, repeat.sequence) == (b"boiler/fast/", Kind.REPEAT, 2)
    assert (repeat.source_us, repeat.gateway_us, repeat.mono_us) == (7, 8, 9)
    assert repeat.body.as_dict() == {"a": (1, 0), "b": (None, 18)}
    assert publisher.sequence == 2


def test_heartbeat_counts_nothing_and_names_topics_that_moved_three_times() -> None:
    publisher = Publisher("p", 9)
    send(publisher, "fast", a=1, b=2)
    heartbeats = [decode(publisher.heartbeat(gateway_us=1, mono_us=1)[1]) for _ in range(4)]
    assert [heartbeat.sequence for heartbeat in heartbeats] == [1, 1, 1, 1]
    assert [heartbeat.body for heartbeat in heartbeats] == [
        {"boiler/fast/": 1},
        {"boiler/fast/": 1},
        {"boiler/fast/": 1},
        {},
    ]


def test_value_that_cannot_be_said_uses_up_no_number() -> None:
    publisher = Publisher("p", 9)
    with pytest.raises(EncodeError):
        send(publisher, "fast", a=object(), b=1)
    assert publisher.resend() == []
    assert send(publisher, "fast", a=1, b=1).sequence == 1


def test_forgotten_group_is_not_repeated() -> None:
    publisher = Publisher("p", 9)
    send(publisher, "fast", a=1, b=2)
    assert publisher.whole("boiler", "fast") == {"a": (1, 0), "b": (2, 0)}
    publisher.forget("boiler", "fast")
    assert publisher.resend() == []
    assert publisher.whole("boiler", "fast") == {}


def test_qualities_are_one_number_where_they_agree() -> None:
    publisher = Publisher("p", 9)
    block = publisher.block("d", "g", 2, {"a": (1, 1), "b": (2, 1)}, **TIMES)
    assert decode(block[1]).body.qualities == 1
    block = publisher.block("d", "g", 2, {"a": (1, 0), "b": (2, 1)}, **TIMES)
    assert decode(block[1]).body.qualities == [0, 1]
