"""Groups of routed requests: whole, cut where they must be, and lies refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.bus.groups import (
    MAX_GROUP,
    MAX_GROUP_BYTES,
    Gathering,
    Marks,
    ReplyGroup,
    RouteGroup,
    portions,
    sizes_of,
)
from cpppod.protocols.model.errors import DecodeError

BODIES = st.lists(st.binary(max_size=40), min_size=1, max_size=20)


def group(bodies: list[bytes], **changes: Any) -> RouteGroup:
    fields: dict[str, Any] = {"carriage": 1, "connection": 2, "capacity": 500, "target": "plc"}
    sizes, joined = sizes_of(bodies), b"".join(bodies)
    return RouteGroup(7, "10.0.0.1", 5_000, 5, 157, b"\1\1", sizes, joined, **(fields | changes))


@given(BODIES)
def test_group_comes_back_as_it_was_sent_and_is_taken_apart_by_its_sizes(
    bodies: list[bytes],
) -> None:
    sent = group(bodies)
    read = RouteGroup.decode(sent.plain)
    assert read == sent
    assert (read.count, read.split()) == (len(bodies), bodies)
    replies = ReplyGroup.of(7, 3, bodies, credit=9)
    assert ReplyGroup.decode(replies.plain) == replies
    assert (replies.count, replies.split()) == (len(bodies), bodies)


@given(BODIES, st.data())
def test_part_of_a_group_has_the_requests_named_and_all_else(
    bodies: list[bytes], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(bodies) - 1))
    count = data.draw(st.integers(1, len(bodies) - first))
    whole = group(bodies)
    part = whole.part(first, count)
    assert part.split() == bodies[first : first + count]
    assert part.plain[:6] == whole.plain[:6]
    assert part.plain[8:] == whole.plain[8:]
    replies = ReplyGroup.of(7, 3, bodies).part(3 + first, count)
    assert (replies.first, replies.split()) == (3 + first, bodies[first : first + count])


def test_bodies_of_one_length_say_it_once() -> None:
    assert group([b"ab", b"cd"]).sizes == 2
    assert group([b"ab", b"cde"]).sizes == [2, 3]
    assert group([b"", b""]).sizes == [0, 0]


def test_fields_that_a_later_version_adds_are_ignored_and_those_it_leaves_out_default() -> None:
    plain = group([b"ab"], carriage=0, connection=0, capacity=0, target="").plain
    assert RouteGroup.decode([*plain, "new"]) == RouteGroup.decode(plain[:8])
    assert ReplyGroup.decode([7, 0, 2, b"ab"]) == ReplyGroup(7, 0, 2, b"ab", 0)


@pytest.mark.parametrize(
    "change",
    [
        {0: -1},
        {0: "7"},
        {0: 2**53},
        {1: b"10.0.0.1"},
        {5: "1/1"},
        {6: 0},
        {6: 3},
        {6: -2},
        {6: True},
        {6: [1, 2]},
        {6: [5, -1]},
        {6: ["2", 2]},
        {6: []},
        {6: None},
        {7: b""},
        {7: "abcd"},
        {8: None},
    ],
    ids=repr,
)
def test_group_that_is_none_is_refused(change: dict[int, Any]) -> None:
    plain = group([b"ab", b"cd"]).plain
    for index, value in change.items():
        plain[index] = value
    with pytest.raises(DecodeError):
        RouteGroup.decode(plain)


@pytest.mark.parametrize("plain", [None, [], [7, 0, 2], "text", [7, 0, 3, b"abcd"], [7, 0, 2, 5]])
def test_replies_that_are_none_are_refused(plain: object) -> None:
    with pytest.raises(DecodeError):
        ReplyGroup.decode(plain)


def test_group_of_too_many_requests_or_bytes_is_refused() -> None:
    RouteGroup.decode(group([b"ab"] * MAX_GROUP).plain)
    for bodies in ([b"ab"] * (MAX_GROUP + 1), [bytes(MAX_GROUP_BYTES), b"x"]):
        with pytest.raises(DecodeError):
            RouteGroup.decode(group(bodies).plain)


def test_marks_tell_what_is_answered_for_the_first_time() -> None:
    marks = Marks(6)
    assert marks.take(2, 2) == [(2, 2)]
    assert marks.take(2, 2) == []
    assert marks.take(1, 4) == [(1, 1), (4, 1)]
    assert (marks.left, marks.open()) == (2, [(0, 1), (5, 1)])
    assert marks.open(1, 5) == []
    for first, count in ((-1, 2), (5, 2), (7, 1), (0, 0)):
        assert marks.take(first, count) == []
    assert marks.take(0, 6) == [(0, 1), (5, 1)]
    assert (marks.left, marks.open()) == (0, [])


def test_replies_that_follow_each_other_travel_as_one_group() -> None:
    gathering = Gathering()
    gathering.add(7, 0, [b"a"], 4)
    gathering.add(7, 1, [b"b", b"c"], 5)
    gathering.add(7, 5, [b"d"], 5)
    gathering.add(8, 6, [b"e"], 6)
    whole = ReplyGroup.of(9, 0, [b"x"])
    gathering.pass_on(whole)
    gathering.add(8, 7, [b"f"], 6)
    assert gathering.take() == [
        ReplyGroup.of(7, 0, [b"a", b"b", b"c"], 5),
        ReplyGroup.of(7, 5, [b"d"], 5),
        ReplyGroup.of(8, 6, [b"e"], 6),
        whole,
        ReplyGroup.of(8, 7, [b"f"], 6),
    ]
    assert gathering.take() == []


def test_replies_that_are_large_or_many_are_cut() -> None:
    gathering = Gathering()
    gathering.add(1, 0, [bytes(MAX_GROUP_BYTES // 2)] * 5)
    assert [each.count for each in gathering.take()] == [2, 2, 1]
    for place in range(0, MAX_GROUP + 8, 8):
        gathering.add(1, place, [b"r"] * 8)
    assert [(each.first, each.count) for each in gathering.take()] == [
        (0, MAX_GROUP),
        (MAX_GROUP, 8),
    ]


def test_groups_are_portioned_into_messages_by_their_bytes_and_number() -> None:
    large = group([bytes(MAX_GROUP_BYTES // 2)])
    small = group([b"ab"])
    assert [len(each) for each in portions([large, large, small])] == [2, 1]
    assert [len(each) for each in portions([small] * (MAX_GROUP + 1))] == [MAX_GROUP, 1]
    assert portions([]) == []
