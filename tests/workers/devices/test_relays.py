"""Others' requests to one device: the window, who is answered what, and when."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cpppod.protocols.bus.groups import RouteGroup, sizes_of
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.model.failures import Failure
from cpppod.workers.devices import relays as relays_module
from cpppod.workers.devices.driver import DeviceError, RelayEnds
from cpppod.workers.devices.relays import MAX_WINDOW, Relays, Window

OK = b"\xcc\0\0\0"
LOST = DeviceError(Failure.LOST, "gone")


class Wire:
    """A driver that notes what it is given, and an asker that notes its answers."""

    def __init__(self, floor: int = 4) -> None:
        self.ends = RelayEnds()
        self.sent: list[tuple[int, int, list[bytes], float]] = []
        self.takes = True
        self.answers: dict[int, bytes] = {}
        self.credits: list[int] = []
        self.seen: list[Any] = []
        self.relays = Relays(
            self,
            floor=floor,
            silent_s=0.5,
            observe=lambda count, lasted_s, error: self.seen.append((count, lasted_s, error)),
            waited=lambda waited_s, count: None,
        )

    def relay(
        self,
        number: int,
        first: int,
        requests: Sequence[bytes],
        group: RouteGroup,
        timeout_s: float,
    ) -> bool:
        if self.takes:
            self.sent.append((number, first, list(requests), timeout_s))
        return self.takes

    def ask(
        self,
        count: int,
        *,
        deadline_s: float = 5.0,
        now_s: float = 0.0,
        request: bytes = b"\x4c\2\x91\1X\0",
    ) -> None:
        requests = [request + bytes([place]) for place in range(count)]
        sizes, bodies = sizes_of(requests), b"".join(requests)
        group = RouteGroup(1, "", int(deadline_s * 1e6), 5, 157, b"", sizes, bodies)
        self.relays.take(group, self._answer, now_s)
        self.relays.pump(now_s)

    def _answer(self, first: int, replies: Sequence[bytes], credit: int) -> None:
        for place, reply in enumerate(replies, first):
            assert place not in self.answers, "answered once"
            self.answers[place] = reply
        self.credits.append(credit)

    def reply(self, place: int, *replies: bytes, number: int = 1, now_s: float = 0.001) -> bool:
        right = self.relays.replied(number, place, list(replies), now_s)
        self.relays.pump(now_s)
        return right

    @property
    def statuses(self) -> dict[int, tuple[int, tuple[int, ...]]]:
        decoded = {place: MessageRouterReply.decode(each) for place, each in self.answers.items()}
        return {place: (each.status, each.extended) for place, each in decoded.items()}


def test_requests_go_as_far_as_the_window_reaches_and_follow_as_replies_come() -> None:
    wire = Wire(floor=4)
    wire.ask(6)
    assert [(first, len(requests)) for _, first, requests, _ in wire.sent] == [(0, 4)]
    assert (wire.relays.out, wire.relays.waits) == (4, 2)
    wire.reply(0, OK, OK)
    assert [(first, len(requests)) for _, first, requests, _ in wire.sent[1:]] == [(4, 2)]
    wire.reply(2, OK, OK)
    wire.reply(4, OK, OK)
    assert wire.answers == dict.fromkeys(range(6), OK)
    assert (wire.relays.out, wire.relays.waits, wire.relays.next_deadline_s()) == (
        0,
        0,
        float("inf"),
    )
    assert set(wire.credits) <= {6, 8}
    assert sum(count for count, _, _ in wire.seen) == 6


def test_replies_that_are_late_double_or_of_another_group_answer_nobody() -> None:
    wire = Wire()
    wire.ask(3)
    assert wire.reply(1, OK)
    assert wire.reply(0, OK, OK, OK)
    assert wire.reply(0, OK)
    assert wire.reply(0, OK, number=9)
    assert wire.reply(2, OK, OK)
    assert (len(wire.answers), wire.relays.out, wire.relays.late) == (3, 0, 5)


def test_reply_of_another_service_is_a_lie_and_nobody_s_answer() -> None:
    wire = Wire()
    wire.ask(2)
    assert not wire.reply(0, OK, b"\xcd\0\0\0")
    assert not wire.answers


def test_deadline_answers_what_was_sent_and_what_was_not_each_in_its_way() -> None:
    wire = Wire(floor=2)
    wire.ask(4, deadline_s=1.0)
    wire.reply(1, OK)
    assert not wire.relays.expire(0.999)
    assert wire.relays.next_deadline_s() == 1.0
    assert wire.relays.expire(1.0)
    assert wire.statuses == {
        0: (1, (0x0204,)),
        1: (0, ()),
        2: (1, (0x0204,)),
        3: (1, (0x0301,)),
    }
    assert (wire.relays.out, wire.relays.waits) == (0, 0)
    assert wire.relays.waiting_since() is None


def test_request_that_was_sent_just_before_its_time_ran_out_says_nothing_of_the_device() -> None:
    wire = Wire()
    wire.ask(2, deadline_s=1.0, now_s=0.6)
    assert not wire.relays.expire(1.0)
    assert wire.statuses == {0: (1, (0x0204,)), 1: (1, (0x0204,))}


def test_group_that_only_waited_says_nothing_of_the_device() -> None:
    wire = Wire()
    wire.takes = False
    wire.ask(2, deadline_s=1.0)
    assert not wire.relays.expire(1.0)
    assert wire.statuses == {0: (1, (0x0301,)), 1: (1, (0x0301,))}
    assert not wire.seen


def test_reads_that_were_out_as_the_connection_was_lost_are_sent_once_more() -> None:
    wire = Wire(floor=4)
    wire.ask(6)
    wire.reply(1, OK)
    wire.takes = False
    wire.relays.lost(LOST, 0.5)
    assert list(wire.answers) == [1]
    assert (wire.relays.out, wire.relays.waits) == (0, 5)
    wire.takes = True
    wire.sent.clear()
    wire.relays.pump(0.6)
    assert [requests[0][-1] for _, _, requests, _ in wire.sent] == [0, 2]
    for number, _, requests, _ in wire.sent:
        wire.reply(0 if requests[0][-1] < 5 else 5, *[OK] * len(requests), number=number)
    wire.relays.lost(LOST, 0.7)
    assert sorted(wire.answers) == list(range(6))
    assert set(wire.answers.values()) == {OK}


def test_reads_are_not_sent_a_third_time() -> None:
    wire = Wire()
    wire.ask(2)
    wire.relays.lost(LOST, 0.5)
    wire.relays.pump(0.6)
    wire.relays.lost(LOST, 0.7)
    assert wire.statuses == {0: (1, (0x0204,)), 1: (1, (0x0204,))}
    assert (wire.relays.out, wire.relays.waits) == (0, 0)


def test_what_may_have_changed_something_is_never_sent_twice() -> None:
    for request in (b"\x4d\2\x91\1X\0", b"\x52\2\x20\6\x24\1", b"\x0a\2\x20\2\x24\1"):
        wire = Wire()
        wire.ask(2, request=request)
        wire.relays.lost(LOST, 0.5)
        assert {status for status, _ in wire.statuses.values()} == {1}
        assert (wire.relays.out, wire.relays.waits) == (0, 0)


def test_device_that_is_away_answers_what_waits_at_once() -> None:
    wire = Wire(floor=1)
    wire.ask(2)
    wire.relays.drop(Failure.NOT_CONNECTED)
    assert wire.statuses == {1: (1, (0x0312,))}
    wire.relays.drop(Failure.NOT_CONNECTED)
    wire.reply(0, OK)
    assert len(wire.answers) == 2


def test_request_that_the_layer_below_refuses_is_answered_alone() -> None:
    wire = Wire()
    wire.ask(2)
    error = DeviceError(Failure.EXCEPTION, "status 3", codes=(3,))
    wire.relays.refused(1, 0, error, 0.1)
    wire.relays.refused(1, 0, error, 0.1)
    wire.relays.refused(7, 0, error, 0.1)
    assert list(wire.answers) == [0]
    assert wire.relays.out == 1


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays_module, "MAX_WAITING", 3)
    wire = Wire()
    wire.takes = False
    wire.ask(3)
    assert not wire.answers
    wire.ask(1)
    assert wire.statuses == {0: (1, (0x0301,))}


def run(window: Window, rate: Callable[[int], float], seconds: float, now_s: float = 0.0) -> float:
    """Replies, one after the other, at a rate that depends on the window; when they end."""
    end_s = now_s + seconds
    while now_s < end_s:
        now_s += 1 / rate(window.size)
        window.replied(1, now_s, wanted=True)
    return now_s


def test_window_is_doubled_while_that_brings_more() -> None:
    window = Window(4)
    run(window, lambda size: 1_000.0 * size, 2.0)
    assert (window.size, window.credit) == (MAX_WINDOW, 4 * MAX_WINDOW)


def test_window_stays_where_more_at_once_brings_nothing_and_is_tried_again_ever_more_rarely() -> (
    None
):
    window = Window(4)
    sizes: list[int] = []

    def rate(size: int) -> float:
        sizes.append(size)
        return 800.0

    run(window, rate, 100.0)
    assert set(sizes) == {4, 8}
    assert sizes.count(8) < 0.02 * len(sizes)
    assert window.credit in (6, 12)


def test_window_follows_a_device_that_got_slower() -> None:
    window = Window(4)
    now_s = run(window, lambda size: 1_000.0 * size, 2.0)
    run(window, lambda size: 1_000.0 if size <= 8 else 900.0, 60.0, now_s)
    assert window.size <= 8


def test_window_does_not_shrink_because_everything_is_slower() -> None:
    window = Window(4)
    now_s = run(window, lambda size: 1_000.0 * size, 2.0)
    sizes: list[int] = []

    def slower(size: int) -> float:
        sizes.append(size)
        return 20.0 * size

    run(window, slower, 100.0, now_s)
    assert set(sizes) <= {MAX_WINDOW, MAX_WINDOW // 2}
    assert sizes.count(MAX_WINDOW) > 0.8 * len(sizes)


def test_window_that_is_not_filled_stays_as_it_is() -> None:
    window = Window(4)
    for number in range(1_000):
        window.replied(1, number / 1_000, wanted=False)
    assert (window.size, window.credit) == (4, 6)


def test_device_without_room_gets_fewer_at_once() -> None:
    wire = Wire(floor=4)
    wire.ask(4)
    wire.reply(0, b"\xcc\0\2\0")
    assert wire.relays.window.size == 2
    assert wire.statuses == {0: (2, ())}


def test_device_that_takes_one_request_at_a_time_is_never_given_two() -> None:
    wire = Wire(floor=1)
    wire.ask(40)
    for place in range(40):
        assert [first for _, first, _, _ in wire.sent][-1] == place
        assert wire.relays.out == 1
        wire.reply(place, OK)
    assert len(wire.answers) == 40
