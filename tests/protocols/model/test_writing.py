"""The write contract's decisions: roles, expiry, rates, values, and what a record keeps."""

import json
from typing import Any

import pytest

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.write_values import raw_write
from cpppod.protocols.model.writing import (
    MAX_TEXT,
    MAX_TOLD,
    Outcome,
    RateLimit,
    Writer,
    WriteRefused,
    attempt,
    elements_of,
    outcome_of,
    refuse_expired,
    refuse_role,
    told,
)


@pytest.mark.parametrize("role", ["operator", "engineer"])
def test_who_operates_may_write(role: str) -> None:
    refuse_role(Writer("web", "alice", role=role))


@pytest.mark.parametrize("role", ["viewer", "none", ""])
def test_who_only_looks_may_not(role: str) -> None:
    with pytest.raises(WriteRefused, match="needs the right operator") as refused:
        refuse_role(Writer("web", role=role))
    assert refused.value.failure is Failure.NOT_ALLOWED


def test_write_expires_at_its_time_and_not_before() -> None:
    refuse_expired(0, 10**15)
    refuse_expired(1_000, 999)
    with pytest.raises(WriteRefused, match=r"expired 0\.0 s ago") as refused:
        refuse_expired(1_000, 1_000)
    assert refused.value.failure is Failure.NOT_SENT


def taken(rate: RateLimit, *moments: float) -> list[bool]:
    found = []
    for now in moments:
        try:
            rate.take(now)
            found.append(True)
        except WriteRefused:
            found.append(False)
    return found


def test_what_comes_too_often_says_what_the_rate_is() -> None:
    rate = RateLimit("1/h")
    rate.take(0.0)
    with pytest.raises(WriteRefused, match="written too often: at most 1/h") as refused:
        rate.take(1.0)
    assert refused.value.failure is Failure.TOO_OFTEN


def test_rate_lets_so_many_through_at_once_and_as_many_again_in_its_time() -> None:
    assert taken(RateLimit("3/min"), 0, 0, 0, 0, 19, 20, 21, 40.5) == [
        *(True, True, True, False),
        *(False, True, False, True),
    ]
    assert taken(RateLimit("1/s"), 5.0, 5.9, 6.0, 100.0, 100.1) == [True, False, True, True, False]
    assert taken(RateLimit("2/h"), 0, 1, 2, 1_799, 1_801) == [True, True, False, False, True]


@pytest.mark.parametrize("text", ["", "10", "10/m", "0/s", "-1/s", "1.5/s", "100000/s", "1/s "])
def test_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected such as 10/min"):
        RateLimit(text)


def test_outcome_is_what_the_reply_says() -> None:
    assert outcome_of(0, unknown=False) is Outcome.DONE
    assert outcome_of(1, unknown=False) is Outcome.FAILED
    assert outcome_of(1, unknown=True) is Outcome.UNKNOWN


def test_elements_that_a_write_touches() -> None:
    assert elements_of(None, 0, 1) is None
    assert elements_of(4, 0, 1) == [4]
    assert elements_of([1, 2, 3], 1, 2) == [2, 3]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1.5, 1.5),
        (True, True),
        (None, None),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (b"\x01\xff", "01ff"),
        (b"\0" * 500, "00" * MAX_TEXT + "... 500 bytes"),
        ("x" * 500, "x" * MAX_TEXT + "... 500 characters"),
        ([1, [2.0, b"\1"]], [1, [2.0, "01"]]),
        (list(range(500)), [*range(MAX_TOLD), "... 400 more"]),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_record_keeps_plain_bounded_values(value: Any, kept: Any) -> None:
    assert told(value) == kept
    assert json.dumps(told(value), allow_nan=False)


def test_record_says_how_many_it_stands_for_only_where_these_are_several() -> None:
    writer = Writer("cip", address="10.0.0.7")
    assert writer.source == "cip:10.0.0.7"
    record = attempt(writer, "a" * 500, 0, [1], time_us=5)
    plain = record.plain()
    assert "times" not in plain
    assert (plain["tag"], plain["outcome"]) == ("a" * MAX_TEXT, "failed")


@pytest.mark.parametrize(
    ("tag", "first", "values", "failure"),
    [
        (Tag("a", "1"), 0, [1], Failure.NOT_WRITABLE),
        (Tag("a", "1", writable=True), 0, [], Failure.BAD_PARAMETER),
        (Tag("a", "1", writable=True), 1, [1], Failure.BAD_PARAMETER),
        (Tag("a", "1", writable=True), 0, ["x"], Failure.BAD_PARAMETER),
        (Tag("a", "1", writable=True), 0, [float("nan")], Failure.BAD_VALUE),
        (Tag("a", "1", writable=True), 0, [float("inf")], Failure.BAD_VALUE),
        (Tag("a", "1", writable=True), 0, [40_000], Failure.BAD_VALUE),
        (Tag("a", "1", writable=True, minimum=2), 0, [1], Failure.BAD_VALUE),
        (Tag("a", "1", writable=True, maximum=2), 0, [3], Failure.BAD_VALUE),
        (Tag("a", "1", writable=True, bit=3), 0, [2], Failure.BAD_VALUE),
        (Tag("a", "1", "REAL", writable=True), 0, [1e39], Failure.BAD_VALUE),
        (Tag("a", "1", "STRING", writable=True), 0, [5], Failure.BAD_PARAMETER),
        (Tag("a", "1", "STRING", size=2, writable=True), 0, ["abc"], Failure.BAD_VALUE),
    ],
)
def test_value_beyond_its_tag_is_refused(
    tag: Tag, first: int, values: list[Any], failure: Failure
) -> None:
    with pytest.raises(WriteRefused) as refused:
        raw_write(tag, first, values)
    assert refused.value.failure is failure


@pytest.mark.parametrize(
    ("tag", "value", "raw"),
    [
        (Tag("a", "1", writable=True), 7.4, 7),
        (Tag("a", "1", writable=True, scale=0.1), 12.3, 123),
        (Tag("a", "1", writable=True, bit=1), 1, True),
        (Tag("a", "1", "REAL", writable=True), 2, 2.0),
        (Tag("a", "1", "STRING", writable=True), "abc", "abc"),
        (Tag("a", "1", "MOTOR", writable=True), b"\1", b"\1"),
    ],
)
def test_value_is_as_the_device_is_to_have_it(tag: Tag, value: Any, raw: Any) -> None:
    assert raw_write(tag, 0, [value]) == (tag, 0, [raw])
