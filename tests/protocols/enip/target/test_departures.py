"""What leaves along routes: gathered by turn, bounded by credit, in turns between sessions."""

from typing import Any

import pytest

from cpppod.protocols.bus.groups import MAX_GROUP, MAX_GROUP_BYTES, ReplyGroup
from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.enip.target import departures as module
from cpppod.protocols.enip.target.departures import FIRST_CREDIT, QUANTUM, Departures, Way
from cpppod.protocols.enip.target.slots import Run
from tests.enip_frames import read

OK = b"\xcc\0\0\0"
X = read("X")


def along(path: bytes = b"\1\1", **changes: Any) -> ForwardNeeded:
    return ForwardNeeded(path, X, 5, 157, "10.0.0.1", **changes)


def leave(departures: Departures, count: int, body: bytes = X, **changes: Any) -> Run:
    run = Run("session", [b"%08d" % at for at in range(count)], lambda marks, replies: replies)
    command = along(**changes)
    departures.leave(departures.course(command), [body] * count, run, 0.0)
    return run


class Client:
    """A session that has so many requests to let leave."""

    def __init__(self, departures: Departures, waiting: int) -> None:
        self.departures = departures
        self.waiting = waiting
        self.way = departures.way(b"\1\1")
        self.left: list[int] = []

    def proceed(self, now: float) -> None:
        while self.waiting and (room := self.way.room) > 0:
            count = min(room, self.waiting)
            self.waiting -= count
            self.left.append(count)
            leave(self.departures, count)
        if self.waiting:
            self.way.ring.append(self)

    def expire_waiting(self, now: float) -> None:
        """Nothing of it has a time."""


def test_requests_of_one_turn_that_are_alike_are_one_group_and_others_groups_of_their_own() -> None:
    departures = Departures(first_id=100)
    told: list[int] = []
    departures.notify = lambda: told.append(len(told))
    leave(departures, 2)
    leave(departures, 3)
    leave(departures, 1, path=b"\1\2")
    leave(departures, 1, capacity=4_000)
    leave(departures, 1, hops=1)
    groups = departures.take_groups()
    assert [(group.id, group.count) for group in groups] == [(100, 5), (101, 1), (102, 1), (103, 1)]
    assert told == [0]
    assert departures.take_groups() == []
    assert departures.outstanding == 8
    assert departures.is_busy


@pytest.mark.parametrize(("count", "size"), [(MAX_GROUP // 2, 12), (3, MAX_GROUP_BYTES // 4)])
def test_group_that_is_full_is_followed_by_another(count: int, size: int) -> None:
    departures = Departures()
    for _ in range(3):
        leave(departures, count, bytes(size))
    groups = departures.take_groups()
    assert sum(group.count for group in groups) == 3 * count
    assert all(group.count <= MAX_GROUP for group in groups)
    assert all(len(group.bodies) <= MAX_GROUP_BYTES for group in groups)
    assert len(groups) > 1


def test_replies_find_their_runs_wherever_they_lie_in_the_group() -> None:
    departures = Departures()
    runs = [leave(departures, count) for count in (2, 1, 3)]
    (group,) = departures.take_groups()
    departures.replied(ReplyGroup.of(group.id, 1, [b"1", b"2", b"3"]), 0.0)
    assert [run.left for run in runs] == [1, 0, 2]
    departures.replied(ReplyGroup.of(group.id, 4, [b"4", b"5"]), 0.0)
    departures.replied(ReplyGroup.of(group.id, 0, [b"0"], credit=9), 0.0)
    assert [run.take_ready() for run in runs] == [[b"0", b"1"], [b"2"], [b"3", b"4", b"5"]]
    assert list(departures.touched) == ["session"]
    assert (departures.outstanding, departures.is_busy) == (0, False)
    assert departures.way(b"\1\1").credit == 9


def test_request_that_nobody_s_order_waits_for_is_told_its_reply() -> None:
    departures = Departures()
    told: list[bytes] = []
    departures.ask(along(), told.append, 0.0)
    (group,) = departures.take_groups()
    departures.replied(ReplyGroup.of(group.id, 0, [OK]), 0.0)
    assert told == [OK]
    assert not departures.touched


def test_sessions_that_wait_take_turns_one_request_each_while_the_credit_is_small() -> None:
    departures = Departures(credit=3)
    clients = [Client(departures, 4) for _ in range(3)]
    for client in clients:
        client.proceed(0.0)
    assert [client.left for client in clients] == [[3], [], []]
    for _ in range(3):
        group = departures.take_groups()[0]
        departures.replied(ReplyGroup.of(group.id, 0, [OK] * group.count), 0.0)
    assert [sum(client.left) for client in clients] == [4, 4, 4]
    assert [client.left[-1] for client in clients] == [1, 1, 1]


def test_turns_are_longer_where_the_credit_is_large() -> None:
    departures = Departures(credit=64)
    first, second = Client(departures, 64), Client(departures, 40)
    first.proceed(0.0)
    second.proceed(0.0)
    (group,) = departures.take_groups()
    departures.replied(ReplyGroup.of(group.id, 0, [OK] * 40), 0.0)
    assert second.left[0] == QUANTUM


def test_way_without_anybody_who_waits_gives_all_its_room() -> None:
    way = Way(b"\1\1", FIRST_CREDIT)
    way.take(10)
    assert way.room == FIRST_CREDIT - 10
    way.take(10)
    assert way.room == 0


def test_ways_that_nobody_uses_are_forgotten_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_WAYS", 3)
    departures = Departures()
    leave(departures, 1, path=b"\1\1")
    busy = departures.way(b"\1\1")
    idle = departures.way(b"\1\2")
    departures.way(b"\1\3")
    departures.way(b"\1\4")
    assert departures.way(b"\1\1") is busy
    assert departures.way(b"\1\2") is not idle
