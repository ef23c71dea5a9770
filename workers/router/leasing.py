"""Leases that the router gives: the right of one asker to send along a way without it.

    asker alone on a way ── give ──► owner, then asker      counts come once a second
    another asks, reload ── withdraw ──► owner, asker ── all of it answered: returned

One asker at a time holds a way; while it does, the way's whole limit is its own. A way whose
requests have to be looked at (`read_only`, `classes`, `sources`) is not leased.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cpppod.protocols.bus.leases import Lease
from cpppod.protocols.bus.messages import RouteLeases
from cpppod.protocols.cip.route_table import AllowList
from cpppod.protocols.model.plant import Route

AGAIN_US = 1_000_000  # after a lease was given, who asks the router all the same has lost it
ALONE_US = 10_000_000  # so long nobody else has asked along a way before it is leased
RETURNED_US = 30_000_000  # whatever its holder says, nothing of a withdrawn lease is out any more

Send = Callable[[bytes, bytes], bool]


@dataclass(slots=True)
class Given:
    """A lease that somebody holds, or has not returned yet.

    Attributes:
        out: requests that are out by it, as its holder last said.
        withdrawn_us: since when it does not hold any more; 0 while it does.
    """

    lease: Lease
    holder: bytes
    owner: bytes
    given_us: int
    out: int = 0
    withdrawn_us: int = 0


class Way(Protocol):
    """What is known of a way here."""

    route: Route
    allows: AllowList
    given: Given | None
    other_us: int


AnyWay = TypeVar("AnyWay", bound=Way)


class Leasing(Generic[AnyWay]):
    """The leases of all ways."""

    def __init__(self, send: Send, *, first_id: int) -> None:
        self._send = send
        self._last_id = first_id - 1
        self._given: dict[int, tuple[Given, AnyWay]] = {}

    def find(self, number: int) -> tuple[Given, AnyWay] | None:
        """The lease of that number, held or not returned, and its way."""
        return self._given.get(number)

    def asked(
        self, way: AnyWay, asker: bytes, route_path: bytes, left: bytes, owner: bytes, now_us: int
    ) -> None:
        """Somebody has asked the router along a way: give a lease, or withdraw another's."""
        given = way.given
        if given is not None and not given.withdrawn_us:
            if given.holder != asker or given.lease.route_path != route_path:
                way.other_us = now_us
                self.withdraw(way, now_us)
                return
            if now_us - given.given_us < AGAIN_US:
                return  # it was on its way
            self.returned(way)
        elif given is not None or now_us - way.other_us < ALONE_US:
            return
        if not (way.allows.by_request or way.allows.sources):
            self._give(way, asker, route_path, left, owner, now_us)

    def _give(
        self, way: AnyWay, asker: bytes, route_path: bytes, left: bytes, owner: bytes, now_us: int
    ) -> None:
        self._last_id += 1
        lease = Lease(
            self._last_id, route_path, owner.decode(), way.route.device, left, way.route.limit
        )
        way.given = Given(lease, asker, owner, now_us)
        self._given[lease.id] = (way.given, way)
        if not (self.tell_owner(owner) and self.tell_holder(asker)):
            way.other_us = now_us
            self.returned(way)
            self.tell_owner(owner)

    def withdraw(self, way: AnyWay, now_us: int) -> None:
        """A lease does not hold any more; its holder says when nothing of it is out."""
        given = way.given
        if given is None or given.withdrawn_us:
            return
        given.withdrawn_us = now_us
        self.tell_owner(given.owner)
        if not self.tell_holder(given.holder):
            self.returned(way)  # with its holder went all that was out

    def returned(self, way: AnyWay) -> None:
        """Nothing is out by the way's lease."""
        if way.given is not None:
            del self._given[way.given.lease.id]
            way.given = None

    def dropped(self, holder: bytes, named: set[int]) -> list[AnyWay]:
        """Ways whose withdrawn lease its holder does not name any more: they are free."""
        gone = [
            way
            for number, (given, way) in self._given.items()
            if given.withdrawn_us and given.holder == holder and number not in named
        ]
        for way in gone:
            self.returned(way)
        return gone

    def expire(self, now_us: int) -> list[AnyWay]:
        """Ways whose lease nobody has returned in time: they are free."""
        late = [
            way
            for given, way in self._given.values()
            if given.withdrawn_us and now_us - given.withdrawn_us > RETURNED_US
        ]
        for way in late:
            self.returned(way)
        return late

    def tell_owner(self, owner: bytes) -> bool:
        """Have an owner serve the leases that hold, and no others; whether it was told."""
        held = [each.lease.id for each in self._held() if each.owner == owner]
        return self._send(owner, RouteLeases(held).encode())

    def tell_holder(self, holder: bytes) -> bool:
        """The same for who holds them."""
        held = [each.lease.plain for each in self._held() if each.holder == holder]
        return self._send(holder, RouteLeases(held).encode())

    def _held(self) -> list[Given]:
        return [given for given, _ in self._given.values() if not given.withdrawn_us]
