"""Where a listener's groups go while it has a lease, gets one, and loses it."""

from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup
from cpppod.protocols.bus.leases import Lease
from cpppod.protocols.bus.messages import RouteCounts, decode
from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.enip.hops import MAX_HOPS
from cpppod.protocols.enip.target.departures import Departures
from cpppod.protocols.enip.target.slots import Run
from cpppod.workers.listener.leases import Leases
from tests.enip_frames import read

OK = b"\xcc\0\0\0"
PATH = b"\1\1"
LEASE = Lease(5, PATH, "poller-press", "press", b"\1\2", 3)


class Plant:
    """A listener's departures and leases; what was sent where."""

    def __init__(self) -> None:
        self.departures = Departures(credit=100)
        self.routed: list[int] = []
        self.leased: list[RouteGroup] = []
        self.counts: list[list[int]] = []
        self.heard = 0  # messages that bring counts, also of nothing
        self.away: set[str] = set()
        self.now_us = 0
        self.leases = Leases(self._to_router, self._to_owner, self._tell, lambda: self.now_us)
        self.leases.departures = self.departures

    def _to_router(self, groups: list[RouteGroup]) -> list[RouteGroup]:
        if "router" in self.away:
            return groups
        self.routed += [group.id for group in groups]
        return []

    def _to_owner(self, owner: str, groups: list[RouteGroup]) -> list[RouteGroup]:
        assert owner == "poller-press"
        if owner in self.away:
            return groups
        self.leased += groups
        return []

    def _tell(self, frame: bytes) -> bool:
        message = decode(frame)
        assert isinstance(message, RouteCounts)
        if "router" not in self.away:
            self.counts += message.counts
            self.heard += 1
        return "router" not in self.away

    def ask(self, count: int = 1, path: bytes = PATH, hops: int = 0) -> int:
        """The number of the group that leaves."""
        command = ForwardNeeded(path, read("X"), 5, 157, "10.0.0.1", hops=hops)
        run = Run(None, [b"%08d" % at for at in range(count)], lambda marks, replies: replies)
        self.departures.leave(self.departures.course(command), [read("X")] * count, run, 0.0)
        groups = self.departures.take_groups()
        for unsent in self.leases.send(groups):
            self.departures.unsent(unsent, 0.0)
        return groups[0].id

    def answer(self, number: int, count: int = 1, first: int = 0, credit: int = 0) -> int:
        """The credit that comes of it."""
        replies = ReplyGroup.of(number, first, [OK] * count, credit)
        for group in self.leases.replied([replies]):
            self.departures.replied(group, self.now_us / 1e6)
        self.leases.go_on()
        return replies.credit

    def told(self, *leases: Lease) -> None:
        self.leases.told(list(leases))


def with_lease() -> Plant:
    plant = Plant()
    plant.told(LEASE)
    return plant


def test_groups_go_to_the_router_and_with_a_lease_to_the_owner_as_the_router_had_sent_them() -> (
    None
):
    plant = Plant()
    first = plant.ask()
    assert plant.routed == [first]
    plant.answer(first)
    plant.told(LEASE)
    second, other = plant.ask(2), plant.ask(path=b"\1\7")
    assert plant.routed == [first, other]
    (sent,) = plant.leased
    assert (sent.id, sent.lease, sent.target, sent.route_path) == (second, 5, "press", b"\1\2")
    assert sent.split() == [read("X")] * 2
    assert plant.answer(second, 2, credit=64) == 3  # the limit of the lease
    assert plant.departures.outstanding == 1


def test_what_leaves_along_a_path_that_changes_waits_for_what_is_out() -> None:
    plant = Plant()
    before = plant.ask(2)
    plant.told(LEASE)
    held = [plant.ask(), plant.ask()]
    assert plant.leased == []
    plant.answer(before)
    assert plant.leased == []
    plant.answer(before, first=1)
    assert [group.id for group in plant.leased] == held
    plant.told()
    after = plant.ask()
    assert plant.routed == [before]
    assert plant.counts == []  # two are out yet
    plant.answer(held[1])
    plant.answer(held[0])
    assert plant.routed == [before, after]
    assert plant.counts == [[5, 2, 2, 0, 0, 0]]  # returned


def test_lease_is_returned_though_what_went_to_the_router_meanwhile_waits_for_that() -> None:
    plant = with_lease()
    leased = plant.ask()
    plant.away.add("poller-press")
    routed = plant.ask()
    plant.told()
    assert (plant.routed, plant.counts) == ([routed], [])
    plant.answer(leased)
    assert plant.counts == [[5, 1, 1, 0, 0, 0]]


def test_lease_that_comes_while_another_change_waits_does_not_wait_for_what_it_holds() -> None:
    plant = Plant()
    before = plant.ask()
    plant.told(LEASE)
    held = plant.ask()
    plant.told()
    plant.answer(before)
    assert plant.routed == [before, held]


def test_owner_that_is_not_there_leaves_it_to_the_router() -> None:
    plant = with_lease()
    plant.away.add("poller-press")
    number = plant.ask()
    assert plant.routed == [number]
    plant.away.clear()
    second = plant.ask()  # it does not overtake the first
    assert (plant.routed, plant.leased) == ([number], [])
    plant.answer(number)
    assert (plant.routed, plant.counts) == ([number, second], [[5, 0, 0, 0, 0, 0]])
    plant.away.add("router")
    plant.ask()
    assert plant.departures.outstanding == 1  # the third was refused at once


def test_lease_that_was_given_up_is_returned_when_it_is_withdrawn() -> None:
    plant = with_lease()
    plant.away.add("poller-press")
    plant.answer(plant.ask())
    assert (plant.counts, plant.heard) == ([[5, 0, 0, 0, 0, 0]], 1)
    plant.told()
    assert (plant.counts, plant.heard) == ([[5, 0, 0, 0, 0, 0]], 2)  # nothing is held here
    plant.told()
    assert plant.heard == 2


def test_groups_of_a_lease_that_the_owner_does_not_know_go_to_the_router_in_their_order() -> None:
    plant = with_lease()
    first, second = plant.ask(), plant.ask()
    assert plant.leases.refused([first, 999]) == []
    third = plant.ask()
    assert plant.leases.refused([second]) == []
    assert plant.routed == [first, second]
    plant.answer(first)
    plant.answer(second)
    assert plant.routed == [first, second, third]
    assert plant.counts == [[5, 0, 0, 0, 0, 0]]


def test_refused_group_whose_time_is_over_is_not_sent_again() -> None:
    plant = with_lease()
    number = plant.ask()
    plant.departures.expire(1_000.0)
    assert plant.leases.refused([number]) == []
    assert plant.routed == []


def test_counts_say_what_went_what_was_answered_and_what_nobody_answered() -> None:
    plant = with_lease()
    first, second = plant.ask(4), plant.ask()
    plant.now_us = 2_000
    plant.answer(first, 3)
    plant.leases.count()
    plant.away.add("router")
    plant.answer(first, first=3)
    plant.leases.count()
    plant.away.clear()
    assert plant.departures.group(second) is not None
    plant.departures.expire(1_000.0)
    plant.leases.count()
    assert plant.counts == [[5, 5, 3, 0, 6_000, 2], [5, 0, 1, 1, 2_000, 0]]


def test_request_that_has_passed_too_many_gateways_is_the_router_s_to_refuse() -> None:
    plant = with_lease()
    number = plant.ask(hops=MAX_HOPS)
    assert plant.routed == [number]
