"""Topics and patterns say what they mean, and no more."""

import pytest

from cpppod.protocols.bus.topics import (
    heartbeat_topic,
    is_prefix,
    matches,
    prefix,
    split,
    topic,
)
from cpppod.protocols.model.errors import DecodeError, EncodeError


def test_topic_ends_in_a_slash_and_splits_again() -> None:
    assert topic("boiler", "fast") == b"boiler/fast/"
    assert split(b"boiler/fast/") == ("boiler", "fast")
    assert heartbeat_topic("poller-1") == b"$/poller-1/"


@pytest.mark.parametrize(
    "text",
    [b"", b"boiler", b"boiler/fast", b"a/b/c/", b"/b/", b"1a/b/", b"$/x/", b"a" * 41 + b"/b/"],
)
def test_what_is_no_topic_does_not_split(text: bytes) -> None:
    with pytest.raises(DecodeError):
        split(text)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", b""),
        ("boiler", b"boiler/"),
        ("boiler/*", b"boiler/"),
        ("boiler/fast", b"boiler/fast/"),
        ("boiler/fast/", b"boiler/fast/"),
    ],
)
def test_pattern_becomes_a_prefix(pattern: str, expected: bytes) -> None:
    assert prefix(pattern) == expected


@pytest.mark.parametrize("pattern", ["", "boil*", "*/fast", "boiler/f*", "a/b/c", "../x", "a b"])
def test_pattern_that_prefixes_cannot_say_is_refused(pattern: str) -> None:
    with pytest.raises(EncodeError, match="expected"):
        prefix(pattern)


def test_device_does_not_match_another_whose_name_begins_so() -> None:
    assert not matches(topic("boiler2", "fast"), (prefix("boiler"),))
    assert matches(topic("boiler", "fast"), (prefix("pump"), prefix("boiler/*")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", True),
        (b"boiler/", True),
        (b"boiler/fast/", True),
        (b"$/", True),
        (b"$/poller-1/", True),
        (b"boiler/\n", False),
        (b"\xff", False),
        (b"a" * 97, False),
    ],
)
def test_subscription_that_no_topic_can_match_is_none(text: bytes, expected: bool) -> None:
    assert is_prefix(text) is expected
