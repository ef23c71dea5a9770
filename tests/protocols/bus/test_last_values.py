"""Last values: changes add up to the whole group, as of its last block."""

import pytest

from cpppod.protocols.bus import last_values
from cpppod.protocols.bus.feed import Kind, decode
from cpppod.protocols.bus.feed_requests import PAGE_BYTES
from cpppod.protocols.bus.last_values import LastValues
from cpppod.protocols.bus.publisher import Publisher

TIMES = {"source_us": 1, "gateway_us": 2, "mono_us": 3}


def give(values: LastValues, publisher: Publisher, count: int = 2, **samples: object) -> bool:
    pairs = {tag: (value, 0) for tag, value in samples.items()}
    topic, payload = publisher.block("boiler", "fast", count, pairs, **TIMES)
    return values.apply(topic, decode(payload))


def whole(values: LastValues) -> dict[str, tuple[object, int]]:
    repeat = decode(values.repeat(b"boiler/fast/"))
    assert repeat.kind == Kind.REPEAT
    return dict(repeat.body.as_dict())


def test_changes_add_up_to_the_whole_group() -> None:
    values, publisher = LastValues(), Publisher("p", 5)
    give(values, publisher, a=1, b=2)
    give(values, publisher, a=3)
    assert whole(values) == {"a": (3, 0), "b": (2, 0)}
    assert decode(values.repeat(b"boiler/fast/")).sequence == 2


def test_new_epoch_begins_the_group_anew() -> None:
    values = LastValues()
    give(values, Publisher("p", 5), a=1, b=2)
    give(values, Publisher("p", 6), count=1, c=9)
    assert whole(values) == {"c": (9, 0)}


def test_whole_block_drops_members_that_are_no_more() -> None:
    values, publisher = LastValues(), Publisher("p", 5)
    give(values, publisher, a=1, b=2)
    give(values, publisher, count=1, a=3)
    assert whole(values) == {"a": (3, 0)}


def test_repeat_applies_unless_it_is_older() -> None:
    values, publisher = LastValues(), Publisher("p", 5)
    give(values, publisher, a=1, b=2)
    (old,) = publisher.resend()
    give(values, publisher, a=3)
    (new,) = publisher.resend()
    assert not values.apply(old[0], decode(old[1]))
    assert values.apply(new[0], decode(new[1]))
    assert whole(values) == {"a": (3, 0), "b": (2, 0)}


def test_pages_hold_every_topic_once() -> None:
    values, publisher = LastValues(), Publisher("p", 5)
    for number in range(5):
        block = publisher.block(f"d{number}", "g", 1, {"a": ("x" * (PAGE_BYTES // 3), 0)}, **TIMES)
        values.apply(block[0], decode(block[1]))
    after, seen, pages = b"", [], 0
    while True:
        messages, after = values.page((b"",), after)
        seen += [topic for topic, _ in messages]
        pages += 1
        if not after:
            break
    assert seen == [f"d{number}/g/".encode() for number in range(5)]
    assert pages == 3


def test_page_holds_only_what_was_asked_for() -> None:
    values, publisher = LastValues(), Publisher("p", 5)
    for device in ("a", "b", "c"):
        block = publisher.block(device, "g", 1, {"x": (1, 0)}, **TIMES)
        values.apply(block[0], decode(block[1]))
    messages, following = values.page((b"a/", b"c/"), b"")
    assert [topic for topic, _ in messages] == [b"a/g/", b"c/g/"]
    assert following == b""


def test_topics_beyond_the_limit_are_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_values, "MAX_TOPICS", 2)
    values, publisher = LastValues(), Publisher("p", 5)
    for device in ("a", "b", "c"):
        block = publisher.block(device, "g", 1, {"x": (1, 0)}, **TIMES)
        values.apply(block[0], decode(block[1]))
    assert (len(values), values.refused) == (2, 1)


def test_forgotten_topic_is_gone() -> None:
    values, publisher = LastValues(), Publisher("p", 5)
    give(values, publisher, a=1, b=2)
    values.forget({b"boiler/fast/"})
    assert values.topics() == []
    assert values.sequence(b"boiler/fast/", "p", 5) == 0
