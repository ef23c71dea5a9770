"""Where a listener's groups go: to the router, or with a lease of its to the owner itself.

    departures ── send ──┬─ no lease ──► router ──► owner
                         ├─ lease ─────────────────► owner ── does not know it: refused ──► router
                         └─ held, until all that is out along the path has been answered

A path that changes from one to the other is held back so long: requests do not overtake each other.
What went along leases is told to the router once a second, and as soon as one is returned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup
from cpppod.protocols.bus.leases import Lease
from cpppod.protocols.bus.messages import RouteCounts
from cpppod.protocols.enip.hops import MAX_HOPS
from cpppod.protocols.enip.target.departures import Departures

SendGroups = Callable[[list[RouteGroup]], list[RouteGroup]]


@dataclass(slots=True)
class _Counts:
    """What went along a lease since it was last told; `out` is out now."""

    lease: Lease
    taken: int = 0
    answered: int = 0
    timed_out: int = 0
    micro_s: int = 0
    out: int = 0


@dataclass(slots=True)
class _Passage:
    """A route path that is leased, was, or is changing: `held` waits for the groups `before`."""

    lease: Lease | None = None
    before: set[int] = field(default_factory=set)
    held: list[RouteGroup] = field(default_factory=list)


@dataclass(slots=True)
class _Out:
    """A group that is out by a lease; `left` of its requests have no reply."""

    counts: _Counts
    since_us: int
    left: int


class Leases:
    """The leases of one listener.

    Args:
        to_router, to_owner: send groups, and return those that could not be sent.
        tell: sends a message to the router; whether it was taken.

    Attributes:
        departures: whose groups these are.
    """

    def __init__(
        self,
        to_router: SendGroups,
        to_owner: Callable[[str, list[RouteGroup]], list[RouteGroup]],
        tell: Callable[[bytes], bool],
        now_us: Callable[[], int],
    ) -> None:
        self._to_router = to_router
        self._to_owner = to_owner
        self._tell = tell
        self._now_us = now_us
        self._passages: dict[bytes, _Passage] = {}
        self._counts: dict[int, _Counts] = {}
        self._out: dict[int, _Out] = {}
        self._changing: set[bytes] = set()
        self._told: set[int] = set()
        self.departures = Departures()

    def send(self, groups: list[RouteGroup]) -> list[RouteGroup]:
        """Send groups, each on its way; those that could not be sent."""
        if not self._passages:
            return self._to_router(groups)
        routed: list[RouteGroup] = []
        leased: dict[str, list[tuple[RouteGroup, Lease]]] = {}
        for group in groups:
            passage = self._passages.get(group.route_path)
            if passage is not None and passage.before:
                passage.held.append(group)
            elif passage is None or passage.lease is None or group.hops >= MAX_HOPS:
                routed.append(group)
            else:
                leased.setdefault(passage.lease.owner, []).append((group, passage.lease))
        for owner, found in leased.items():
            routed += self._send_leased(owner, found)
        return self._to_router(routed) if routed else []

    def _send_leased(
        self, owner: str, groups: Sequence[tuple[RouteGroup, Lease]]
    ) -> list[RouteGroup]:
        """Send groups to an owner; those that the router has to take, for it is not there."""
        unsent = {
            group.id
            for group in self._to_owner(
                owner,
                [
                    group.onward(group.id, lease.left, lease.device, lease.id)
                    for group, lease in groups
                ],
            )
        }
        now_us = self._now_us()
        for group, lease in groups:
            if group.id not in unsent:
                counts, count = self._counts[lease.id], group.count
                counts.taken += count
                counts.out += count
                self._out[group.id] = _Out(counts, now_us, count)
        for path in {lease.route_path for group, lease in groups if group.id in unsent}:
            self._change(path, None)  # what follows them must not overtake them
        return [group for group, _ in groups if group.id in unsent]

    def replied(self, groups: list[ReplyGroup]) -> list[ReplyGroup]:
        """Replies that have come, by whatever way; their credit is within their lease's limit."""
        now_us = self._now_us()
        for group in groups if self._out else ():
            out = self._out.get(group.id)
            if out is None:
                continue
            counts, count = out.counts, min(group.count, out.left)
            group.credit = min(group.credit, counts.lease.limit)
            counts.answered += count
            counts.micro_s += count * max(now_us - out.since_us, 0)
            self._over(group.id, out, count)
        return groups

    def _over(self, number: int, out: _Out, count: int) -> None:
        out.left -= count
        out.counts.out -= count
        if not out.left:
            del self._out[number]

    # What the router and owners say

    def told(self, leases: list[Lease]) -> None:
        """These hold, and no others."""
        held = {lease.route_path: lease for lease in leases}
        for path in [*self._passages, *(held.keys() - self._passages.keys())]:
            passage = self._passages.setdefault(path, _Passage())
            if passage.lease != held.get(path):
                self._change(path, held.get(path))
        known, self._told = self._told, {lease.id for lease in leases}
        given_up = known - self._told - self._counts.keys()
        self.go_on()
        if given_up:  # before they were withdrawn: the router waits to hear it
            self.count(anyway=True)

    def _change(self, path: bytes, lease: Lease | None) -> None:
        passage = self._passages[path]
        passage.lease = lease
        passage.before = self.departures.out_along(path) - {group.id for group in passage.held}
        self._changing.add(path)
        if lease is not None:
            self._counts[lease.id] = _Counts(lease)

    def refused(self, numbers: list[int]) -> list[RouteGroup]:
        """An owner knows no such lease: the router takes these; those that it could not."""
        again: list[RouteGroup] = []
        for number in numbers:
            out, group = self._out.get(number), self.departures.group(number)
            if out is None:
                continue
            lease = out.counts.lease
            out.counts.taken -= out.left
            passage = self._passages.get(lease.route_path)
            if passage is not None and passage.lease is lease:
                self._change(lease.route_path, None)
            self._over(number, out, out.left)
            if group is not None:
                again.append(group)
        return self._to_router(again) if again else []

    def go_on(self) -> None:
        """Send what was held back where all before it has been answered."""
        if self._changing and self._returned():
            self.count()  # before what was held, and whatever it waits for
        for path in list(self._changing):
            passage = self._passages[path]
            passage.before = {each for each in passage.before if self.departures.group(each)}
            if passage.before:
                continue
            self._changing.discard(path)
            if passage.lease is None:
                del self._passages[path]
            held, passage.held = passage.held, []
            for group in self.send([each for each in held if self.departures.group(each.id)]):
                self.departures.unsent(group, self._now_us() / 1e6)

    def _held(self) -> set[int]:
        return {each.lease.id for each in self._passages.values() if each.lease is not None}

    def _returned(self) -> bool:
        """Whether the router is to hear of a lease of which nothing is left."""
        held = self._held()
        return any(not each.out and number not in held for number, each in self._counts.items())

    def count(self, *, anyway: bool = False) -> None:
        """Tell the router what went along every lease: one that is not named is returned.

        Args:
            anyway: also where there is none.
        """
        if not (self._counts or anyway):
            return
        for number, out in list(self._out.items()):
            if self.departures.group(number) is None:
                out.counts.timed_out += out.left
                self._over(number, out, out.left)
        counts = list(self._counts.values())
        if not self._tell(RouteCounts([_plain(each) for each in counts]).encode()):
            return
        held = self._held()
        for each in counts:
            if each.lease.id not in held and not each.out:
                del self._counts[each.lease.id]
            each.taken = each.answered = each.timed_out = each.micro_s = 0


def _plain(counts: _Counts) -> list[int]:
    return [
        *(counts.lease.id, counts.taken, counts.answered, counts.timed_out),
        *(counts.micro_s, counts.out),
    ]
