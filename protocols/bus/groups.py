"""Groups: what one turn of a sender's loop brings for one route, as one element of a message.

    requests  [id, source, deadline, tick, ticks, route path, sizes, bodies, carriage, connection,
               capacity, target, hops, lease]
    replies   [id, first, sizes, bodies, credit]

`bodies` are Message Router requests, or replies, back to back in one `bytes`; `sizes` is their
length where all are alike, else the list of lengths. Only the ends take them apart. Replies name
the first request that they answer, by its place in the group; the others follow it.

`credit` is how many requests the asker may have outstanding along that route path: it waits with
the others instead of being refused.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from cpppod.protocols.cip.request import message_of
from cpppod.protocols.model.errors import DecodeError

MAX_GROUP = 1_024  # requests: four clients with all they may have outstanding
MAX_GROUP_BYTES = 262_144  # of bodies, and of all groups of a message: a quarter of the largest
MAX_CREDIT = 1_024  # requests of one asker along one path: 4 of the largest windows of a device
LIMIT = 2**53  # as `messages`

Sizes = int | list[int]


@dataclass(slots=True)
class RouteGroup:
    """Requests along one route.

    Attributes:
        source: address of the client that asks.
        deadline_us: when nobody waits for the replies any more (microseconds, monotonic).
        route_path: padded EPATH of port segments, the one that chose the route still first
            (the router removes it before it passes the group on).
        carriage, connection, capacity: as `protocols.cip.request.ForwardNeeded` has them.
        target: set by the router: the device to use.
        hops: gateways that they have passed before this one.
        lease: what allows the asker to send it to the owner itself; 0 from the router.
    """

    id: int
    source: str
    deadline_us: int
    priority_tick: int
    timeout_ticks: int
    route_path: bytes
    sizes: Sizes
    bodies: bytes
    carriage: int = 0
    connection: int = 0
    capacity: int = 0
    target: str = ""
    hops: int = 0
    lease: int = 0

    @property
    def count(self) -> int:
        """How many requests there are."""
        return _count(self.sizes, self.bodies)

    @property
    def plain(self) -> list[Any]:
        """As it travels."""
        return [
            *(self.id, self.source, self.deadline_us, self.priority_tick, self.timeout_ticks),
            *(self.route_path, self.sizes, self.bodies, self.carriage, self.connection),
            *(self.capacity, self.target, self.hops, self.lease),
        ]

    @classmethod
    def decode(cls, plain: Any) -> "RouteGroup":
        """The inverse of `plain`.

        Raises:
            DecodeError: not a group, or sizes that are not those of its bodies.
        """
        plain = _checked(plain, _REQUESTS, 8, 6)
        _check_sizes(plain[6], plain[7])
        return cls(*plain)

    def split(self) -> list[bytes]:
        """The requests."""
        return split(self.sizes, self.bodies)

    def messages(self) -> list[bytes]:
        """The Message Router requests, without the sequence counts of a connection."""
        return [message_of(self.carriage, body) for body in self.split()]

    def onward(self, number: int, route_path: bytes, target: str, lease: int = 0) -> "RouteGroup":
        """The group as it goes to the owner of its device."""
        return RouteGroup(
            *(number, self.source, self.deadline_us, self.priority_tick, self.timeout_ticks),
            *(route_path, self.sizes, self.bodies, self.carriage, self.connection),
            *(self.capacity, target, self.hops, lease),
        )

    def part(self, first: int, count: int) -> "RouteGroup":
        """The group of `count` of its requests, from `first` on."""
        sizes, bodies = part(self.sizes, self.bodies, first, count)
        return RouteGroup(
            *(self.id, self.source, self.deadline_us, self.priority_tick, self.timeout_ticks),
            *(self.route_path, sizes, bodies, self.carriage, self.connection),
            *(self.capacity, self.target, self.hops),
        )


@dataclass(slots=True)
class ReplyGroup:
    """Replies to consecutive requests of one group, from its request `first` on.

    Attributes:
        credit: requests that the asker may have outstanding along that path; 0 says nothing.
    """

    id: int
    first: int
    sizes: Sizes
    bodies: bytes
    credit: int = 0

    @classmethod
    def of(cls, number: int, first: int, bodies: Sequence[bytes], credit: int = 0) -> "ReplyGroup":
        """The group of these replies."""
        return cls(number, first, sizes_of(bodies), b"".join(bodies), credit)

    @property
    def count(self) -> int:
        """How many replies there are."""
        return _count(self.sizes, self.bodies)

    @property
    def plain(self) -> list[Any]:
        """As it travels."""
        return [self.id, self.first, self.sizes, self.bodies, self.credit]

    @classmethod
    def decode(cls, plain: Any) -> "ReplyGroup":
        """The inverse of `plain`.

        Raises:
            DecodeError: as `RouteGroup.decode`.
        """
        plain = _checked(plain, _REPLIES, 4, 2)
        _check_sizes(plain[2], plain[3])
        return cls(*plain)

    def split(self) -> list[bytes]:
        """The replies."""
        return split(self.sizes, self.bodies)

    def part(self, first: int, count: int) -> "ReplyGroup":
        """`count` of these replies, from the one to the request `first` of the group on."""
        sizes, bodies = part(self.sizes, self.bodies, first - self.first, count)
        return ReplyGroup(self.id, first, sizes, bodies, self.credit)


class Marks:
    """Which requests of a group are answered: a byte each, so that what comes late or twice, or
    not in order, is told apart.

    Attributes:
        left: requests without an answer.
    """

    __slots__ = ("_open", "left")

    def __init__(self, count: int) -> None:
        self._open = bytearray(b"\1" * count)
        self.left = count

    def take(self, first: int, count: int) -> list[tuple[int, int]]:
        """Mark requests as answered: the (first, count) of those that were open until now."""
        end = first + count
        if count <= 0 or first < 0 or end > len(self._open):
            return []
        found = self.open(first, end)
        for begin, length in found:
            self._open[begin : begin + length] = bytes(length)
            self.left -= length
        return found

    def open(self, first: int = 0, end: int | None = None) -> list[tuple[int, int]]:
        """The (first, count) of requests without an answer, of those from `first` to `end`."""
        marks = self._open
        end = len(marks) if end is None else end
        if marks.count(1, first, end) == end - first > 0:
            return [(first, end - first)]
        found = []
        at = marks.find(1, first, end)
        while at >= 0:
            stop = marks.find(0, at, end)
            stop = end if stop < 0 else stop
            found.append((at, stop - at))
            at = marks.find(1, stop, end)
        return found


class Gathering:
    """Replies on their way to one peer: those that follow each other travel as one group."""

    __slots__ = ("_bodies", "_credit", "_first", "_groups", "_id")

    def __init__(self) -> None:
        self._groups: list[ReplyGroup] = []
        self._id = 0
        self._first = self._credit = 0
        self._bodies: list[bytes] = []

    def add(self, number: int, first: int, bodies: Sequence[bytes], credit: int = 0) -> None:
        """Add replies to the requests of group `number` from `first` on."""
        follows = number == self._id and first == self._first + len(self._bodies)
        if not follows or not self._bodies or len(self._bodies) + len(bodies) > MAX_GROUP:
            self._settle()
            self._id, self._first = number, first
        self._credit = credit
        self._bodies += bodies

    def pass_on(self, group: ReplyGroup) -> None:
        """Add a group as it is."""
        self._settle()
        self._groups.append(group)

    def _settle(self) -> None:
        bodies, self._bodies = self._bodies, []
        at = size = 0
        for index, body in enumerate(bodies):
            size += len(body)
            if size > MAX_GROUP_BYTES:
                self._cut(bodies, at, index)
                at, size = index, len(body)
        if bodies:
            self._cut(bodies, at, len(bodies))

    def _cut(self, bodies: list[bytes], at: int, end: int) -> None:
        self._groups.append(ReplyGroup.of(self._id, self._first + at, bodies[at:end], self._credit))

    def take(self) -> list[ReplyGroup]:
        """All that was added; they are handed out once."""
        self._settle()
        groups, self._groups = self._groups, []
        return groups


def portions(groups: Iterable[Any]) -> list[list[Any]]:
    """`RouteGroup`s or `ReplyGroup`s in order, in portions that fit a message each."""
    found: list[list[Any]] = []
    size = MAX_GROUP_BYTES
    for group in groups:
        size += len(group.bodies)
        if size > MAX_GROUP_BYTES or len(found[-1]) >= MAX_GROUP:
            found.append([])
            size = len(group.bodies)
        found[-1].append(group)
    return found


def sizes_of(bodies: Sequence[bytes]) -> Sizes:
    """The length of all of them, or the list of their lengths."""
    lengths = list(map(len, bodies))
    first = lengths[0]
    return first if first and lengths.count(first) == len(lengths) else lengths


def split(sizes: Sizes, bodies: bytes) -> list[bytes]:
    """The bodies, taken apart."""
    if type(sizes) is int:
        return [body for (body,) in _shape(sizes).iter_unpack(bodies)]
    assert isinstance(sizes, list)
    found, at = [], 0
    for size in sizes:
        found.append(bodies[at : at + size])
        at += size
    return found


def part(sizes: Sizes, bodies: bytes, first: int, count: int) -> tuple[Sizes, bytes]:
    """Sizes and bodies of `count` of them, from `first` on."""
    if type(sizes) is int:
        return sizes, bodies[first * sizes : (first + count) * sizes]
    assert isinstance(sizes, list)
    ends = list(accumulate(sizes, initial=0))
    return sizes[first : first + count], bodies[ends[first] : ends[first + count]]


@lru_cache(256)
def _shape(size: int) -> struct.Struct:
    return struct.Struct(f"{size}s")


def _count(sizes: Sizes, bodies: bytes) -> int:
    return len(bodies) // sizes if isinstance(sizes, int) else len(sizes)


_REQUESTS = [int, str, int, int, int, bytes, int, bytes, int, int, int, str, int, int]
_REPLIES = [int, int, int, bytes, int]


def _checked(plain: Any, types: list[type], required: int, sizes_at: int) -> list[Any]:
    """The fields that we know, each of its type; those of `sizes_at` may be a list as well."""
    if type(plain) is not list or len(plain) < required:
        raise DecodeError("not a group", status=0)
    known = plain[: len(types)]
    found = list(map(type, known))
    numbers = [value for value in known if type(value) is int]
    if found[sizes_at] is list:
        found[sizes_at] = int
    if found != types[: len(found)]:
        raise DecodeError("group: a field of another type", status=0)
    if min(numbers) < 0 or max(numbers) >= LIMIT:
        raise DecodeError("group: beyond 2**53", status=0)
    return known


def _check_sizes(sizes: Any, bodies: bytes) -> None:
    if type(sizes) is int:
        whole = sizes > 0 and bool(bodies) and not len(bodies) % sizes
        count = len(bodies) // sizes if whole else 0
    else:
        count = len(sizes)
        numbers = set(map(type, sizes)) == {int} and min(sizes) >= 0
        whole = numbers and sum(sizes) == len(bodies)
    if not whole or not 0 < count <= MAX_GROUP or len(bodies) > MAX_GROUP_BYTES:
        raise DecodeError("group: sizes are not those of its bodies", status=0)
