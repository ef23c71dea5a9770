"""Leases as the router gives, withdraws and accounts them."""

from dataclasses import replace
from typing import Any

import pytest

from cpppod.protocols.bus.leases import Lease
from cpppod.protocols.bus.messages import RouteCounts, RouteLeases
from cpppod.protocols.model.plant import Route
from cpppod.workers.router.leasing import AGAIN_US, ALONE_US, RETURNED_US
from tests.workers.router.test_router import ASKER, OK, PRESS, Bus

OWNER, OTHER = b"poller-press", b"listener-two"


def bus_at(now_us: int, *routes: Route) -> Bus:
    bus = Bus(*routes)
    bus.now_us = now_us
    return bus


def ask(bus: Bus, asker: bytes = ASKER, path: str = "1/1") -> None:
    bus.ask(path, asker=asker, deadline_us=bus.now_us + 1_000_000)


def told(bus: Bus) -> list[tuple[bytes, list[Any]]]:
    """What was said of leases; and everything else is forgotten."""
    return [(who, each.leases) for who, each in bus.pop() if isinstance(each, RouteLeases)]


def count(bus: Bus, *row: int, asker: bytes = ASKER) -> None:
    bus.forwarding.receive(asker, RouteCounts([list(row)]).encode(), bus.now_us)
    bus.flush()


def leased(*routes: Route) -> tuple[Bus, Lease]:
    """A router that has leased 1/1 to the first who asked; his request is out no more."""
    bus = bus_at(ALONE_US, *(routes or (PRESS,)))
    ask(bus)
    asked = [each for _, each in bus.sent if not isinstance(each, RouteLeases)]
    (_, ids), (_, plain) = told(bus)
    bus.answer(OWNER, asked[0].id, 0, OK)
    bus.pop()
    lease = Lease.decode(plain[0])
    assert ids == [lease.id]
    return bus, lease


def test_who_asks_alone_is_given_a_lease_and_the_owner_hears_of_it_first() -> None:
    bus = bus_at(ALONE_US, PRESS)
    ask(bus)
    (first, ids), (second, plain) = told(bus)
    lease = Lease.decode(plain[0])
    assert (first, second, ids) == (OWNER, ASKER, [lease.id])
    assert (lease.route_path, lease.left) == (b"\1\1", b"")
    assert (lease.owner, lease.device, lease.limit) == ("poller-press", "press", PRESS.limit)
    ask(bus)
    assert told(bus) == []
    assert bus.forwarding.ways[0].given is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"read_only": True},
        {"classes": (0x6B,)},
        {"sources": ("10.0.0.0/8",)},
        {"device": "meter", "relayed": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_way_whose_requests_are_looked_at_is_not_leased(changes: dict[str, Any]) -> None:
    bus = bus_at(ALONE_US, replace(PRESS, **changes))
    ask(bus)
    assert told(bus) == []


def test_lease_is_withdrawn_when_another_asks_who_waits_until_it_is_returned() -> None:
    bus, lease = leased()
    ask(bus, OTHER)
    sent = bus.pop()
    assert [(who, each.leases) for who, each in sent] == [(OWNER, []), (ASKER, [])]
    count(bus, lease.id, 9, 5, 0, 50, 4)
    assert bus.pop() == []  # four are out yet
    count(bus, lease.id, 0, 4, 0, 40, 0)
    ((owner, group),) = bus.pop()
    assert (owner, group.target) == (OWNER, "press")
    bus.answer(OWNER, group.id, 0, OK)
    bus.pop()
    bus.now_us += AGAIN_US
    ask(bus)
    assert told(bus) == []  # two share the way: nobody has it
    bus.now_us += ALONE_US
    ask(bus)
    assert [who for who, _ in told(bus)] == [OWNER, ASKER]


def test_withdrawn_lease_that_its_holder_names_no_more_is_returned() -> None:
    bus, _ = leased()
    ask(bus, OTHER)
    bus.pop()
    bus.forwarding.receive(OTHER, RouteCounts([]).encode(), bus.now_us)
    bus.flush()
    assert bus.pop() == []  # it is not his
    bus.forwarding.receive(ASKER, RouteCounts([]).encode(), bus.now_us)
    bus.flush()
    assert [who for who, _ in bus.pop()] == [OWNER]


def test_lease_that_its_holder_never_returns_is_over_when_all_of_it_must_be() -> None:
    bus, _ = leased()
    ask(bus, OTHER)
    bus.forwarding.groups.expire(bus.now_us + RETURNED_US)
    bus.pop()
    bus.expire(bus.now_us + RETURNED_US + 1)
    bus.pop()
    ask(bus, OTHER)
    sent = [each for _, each in bus.pop() if not isinstance(each, RouteLeases)]
    assert [each.target for each in sent] == ["press"]


def test_holder_that_is_gone_has_nothing_out() -> None:
    bus, _ = leased()
    bus.away.add(ASKER)
    ask(bus, OTHER)
    assert [who for who, each in bus.pop() if not isinstance(each, RouteLeases)] == [OWNER]


def test_lease_is_not_given_to_who_is_away_nor_by_an_owner_who_is() -> None:
    for away in (OWNER, ASKER):
        bus = bus_at(ALONE_US, PRESS)
        bus.away.add(away)
        ask(bus)
        assert bus.forwarding.ways[0].given is None


def test_reload_withdraws_every_lease_and_new_rights_hold_from_then_on() -> None:
    bus, lease = leased()
    bus.configure(replace(PRESS, read_only=True))
    assert told(bus) == [(OWNER, []), (ASKER, []), (OWNER, [])]
    count(bus, lease.id, 0, 0, 0, 0, 0)
    bus.now_us += ALONE_US
    ask(bus)
    assert told(bus) == []


def test_holder_that_asks_the_router_has_lost_its_lease_and_is_given_another() -> None:
    bus, lease = leased()
    bus.now_us += AGAIN_US
    ask(bus)
    (_, ids), (_, plain) = told(bus)
    assert ids == [Lease.decode(plain[0]).id] != [lease.id]


def test_what_goes_along_leases_is_counted_as_if_it_had_come_through_the_router() -> None:
    bus, lease = leased()
    count(bus, lease.id, 10, 6, 1, 3_000_000, 3)
    labels = {"route": "1/1", "device": "press"}
    metrics = {(name, str(more)): value for name, more, value in bus.forwarding.metrics()}
    assert metrics["cpppod_route_requests_total", str(labels)] == 11
    assert metrics["cpppod_route_outstanding", str(labels)] == 3
    assert metrics["cpppod_route_seconds_total", str(labels)] == 3.0
    failed = str(labels | {"reason": "timed out"})
    assert metrics["cpppod_route_failures_total", failed] == 1


def test_counts_of_a_lease_that_is_not_known_bring_what_holds_and_change_nothing() -> None:
    bus, lease = leased()
    count(bus, lease.id + 1, 10, 6, 1, 30, 3)
    assert told(bus) == [(ASKER, [lease.plain])]
    count(bus, lease.id, 10, 6, 1, 30, 3, asker=OTHER)
    assert told(bus) == [(OTHER, [])]
    bus.forwarding.receive(ASKER, RouteCounts([[lease.id, "x"], 7]).encode(), bus.now_us)
    assert bus.forwarding.ways[0].all_out == 0
