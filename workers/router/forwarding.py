"""The router's decisions on what travels along routes: whose it is, whether it may, and by when.

    asker ── group ──► way ─┬─ rights ─► limit ─┬─► owner's group, under a number of ours
                            │                   └─► waits for room on the way
                            └─ refused, at once
    owner ── replies ─► whose they are ──► asker, with what it may have outstanding

A group loses its first segment here. It travels whole, bodies untouched, unless rights or the limit
cut it. What nobody answers by its deadline is answered with 0x0204, what waited in vain with
0x0301. Never sent twice.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.bus.groups import Gathering, Marks, ReplyGroup, RouteGroup, portions
from cpppod.protocols.bus.messages import RouteReplies, RouteRequests
from cpppod.protocols.cip.failures import refused, unrouted
from cpppod.protocols.cip.message_router import Service
from cpppod.protocols.cip.request import Carriage
from cpppod.protocols.cip.route_table import AllowList, RouteTable, circular
from cpppod.protocols.cip.status import CipError, ConnectionStatus, GeneralStatus
from cpppod.protocols.enip.hops import MAX_HOPS
from cpppod.protocols.model.plant import Route
from cpppod.workers.router.leasing import Given, Leasing

MAX_WAITING = 8_192  # requests that wait for room on a way: 32 askers with all they may have
MAX_KNOWN = 1_024  # route paths, and requests' services and paths, whose verdict is kept
MAX_DEADLINE_US = 30_000_000  # from now: whatever an asker says, nothing is waited for longer
GRACE_US = 50_000  # the owner answers at the deadline, knowing what had left; so much later we do

log = logging.getLogger("cpppod")

Send = Callable[[bytes, bytes], bool]
_NO_ROOM = ConnectionStatus.NO_BUFFER_MEMORY
_TIMED_OUT = ConnectionStatus.UNCONNECTED_REQUEST_TIMED_OUT
_AWAY = ConnectionStatus.LINK_ADDRESS_NOT_VALID


@dataclass(slots=True)
class RouteEntry:
    """A route and what went along it.

    Attributes:
        outstanding: requests that are out; `limit` bounds them.
        micro_s: time from taking to answering, summed over `answered`.
        waiting: groups for which there is no room yet.
        askers: requests that are out, by who asked.
        given: the lease of who sends along it without us, and has the whole limit so long.
        other_us: when somebody asked who was not alone.
    """

    route: Route
    allows: AllowList
    outstanding: int = 0
    taken: int = 0
    answered: int = 0
    micro_s: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    waiting: "deque[_Asked]" = field(default_factory=deque)
    waits: int = 0
    askers: dict[bytes, int] = field(default_factory=dict)
    given: Given | None = None
    other_us: int = 0

    @property
    def all_out(self) -> int:
        """Requests that are out, those by a lease included, as far as its holder has told."""
        return self.outstanding + (self.given.out if self.given is not None else 0)

    def room(self, asker: bytes) -> int:
        """Requests of this asker that may leave."""
        given = self.given
        if given is not None and (given.withdrawn_us or given.holder != asker):
            return 0
        return self.route.limit - self.outstanding


@dataclass(slots=True)
class _Asked:
    """A group, or a part of one, as it was asked.

    Attributes:
        base: the place of its first request in the asker's group.
        left: what is left of its route path.
    """

    asker: bytes
    group: RouteGroup
    base: int
    left: bytes
    way: RouteEntry
    since_us: int
    marks: Marks

    @property
    def deadline_us(self) -> int:
        return min(self.group.deadline_us, self.since_us + MAX_DEADLINE_US)

    def part(self, first: int, count: int) -> "_Asked":
        """`count` of its requests, from `first` on."""
        group = self.group.part(first, count)
        return _Asked(
            *(self.asker, group, self.base + first, self.left, self.way, self.since_us),
            Marks(count),
        )


class GroupForwarding:
    """What is out along routes; `send` (identity, frame) says whether the bus took it."""

    def __init__(self, send: Send, *, first_id: int = 1) -> None:
        """`first_id` numbers the groups: replies to one of a life before are nobody's."""
        self._send = send
        self._out: dict[int, _Asked] = {}
        self._last_id = first_id - 1
        self._leaving: dict[bytes, list[RouteGroup]] = {}
        self._answers: dict[bytes, Gathering] = {}
        self._table: RouteTable[RouteEntry] = RouteTable()
        self._known: dict[bytes, tuple[RouteEntry, bytes]] = {}
        self._verdicts: dict[tuple[int, bytes], bool] = {}
        self._owners: dict[str, bytes] = {}
        self.ways: list[RouteEntry] = []
        self.late = 0
        self._leasing: Leasing[RouteEntry] = Leasing(send, first_id=first_id)
        self._now_us = 0

    @property
    def outstanding(self) -> int:
        """Requests that are out."""
        return sum(way.all_out for way in self.ways)

    def configure(self, ways: list[RouteEntry], owners: dict[str, bytes]) -> None:
        """Go over to these routes; what is out keeps its way, a route that stays its counts."""
        for way in self.ways:
            self._leasing.withdraw(way, self._now_us)
            if way.route.relayed and way.route.device in self._owners:
                self._leasing.tell_owner(self._owners[way.route.device])  # of a life before, too
        known = {way.route.path: way for way in self.ways}
        self._table = RouteTable()
        self.ways = []
        for way in ways:
            kept = known.pop(way.route.path, None)
            if kept is not None:
                kept.route, kept.allows = way.route, way.allows
                way = kept
            self.ways.append(way)
            self._table.add(way.route.path, way)
        self._owners = owners
        self._known.clear()
        self._verdicts.clear()
        for gone in known.values():
            waiting, gone.waiting, gone.waits = gone.waiting, deque(), 0
            for asked in waiting:
                self._refuse_all(asked, _AWAY)

    # Requests

    def take(self, asker: bytes, group: RouteGroup, now_us: int) -> None:
        """A group of an asker's; what comes of it leaves by `flush`."""
        self._now_us = now_us
        try:
            way, left = self._way(group.route_path)
        except CipError as error:
            self._refuse_with(asker, group, error)
            return
        count = group.count
        way.taken += count
        if group.hops >= MAX_HOPS:
            self._refuse_loop(way, asker, group)
            return
        asked = _Asked(asker, group, 0, left, way, now_us, Marks(count))
        try:
            allowed = self._allowed(way, group)
        except CipError as error:
            way.failures["refused"] += count
            self._refuse_with(asker, group, error)
            return
        if way.route.relayed and way.route.device in self._owners:
            owner = self._owners[way.route.device]
            self._leasing.asked(way, asker, group.route_path, left, owner, now_us)
        if allowed == [(0, count)]:
            self._admit(asked)
            return
        for first, length in allowed:
            asked.marks.take(first, length)
            self._admit(asked.part(first, length))
        for first, length in asked.marks.open():
            way.failures["refused"] += length
            requests = group.part(first, length).messages()
            self._answer(asked, first, [_forbidden(each) for each in requests])

    def _refuse_loop(self, way: RouteEntry, asker: bytes, group: RouteGroup) -> None:
        """Requests that have passed so many gateways go round in a circle."""
        if not way.failures["loop"]:
            text = "route leads round in a circle path=%s device=%s source=%s"
            log.warning(text, way.route.path, way.route.device, group.source)
        way.failures["loop"] += group.count
        self._refuse_with(asker, group, circular())

    def _way(self, route_path: bytes) -> tuple[RouteEntry, bytes]:
        found = self._known.get(route_path)
        if found is None:
            found = self._table.find(route_path)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[route_path] = found
        return found

    def _allowed(self, way: RouteEntry, group: RouteGroup) -> list[tuple[int, int]]:
        """The (first, count) of requests that may pass.

        Raises:
            CipError: none of this source may.
        """
        allows = way.allows
        allows.check_source(group.source)
        if not allows.by_request or group.carriage in _OF_CONNECTIONS:
            return [(0, group.count)]
        found: list[tuple[int, int]] = []
        for place, request in enumerate(group.messages()):
            if not self._may_pass(way, request):
                continue
            if found and sum(found[-1]) == place:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((place, 1))
        return found

    def _may_pass(self, way: RouteEntry, request: bytes) -> bool:
        """The verdict, kept by service and path: nothing else decides it, but in packets."""
        packed = request[:1] == _PACKET
        key = (id(way), request[: 2 + 2 * request[1]] if len(request) > 1 else request)
        verdict = None if packed else self._verdicts.get(key)
        if verdict is None:
            verdict = way.allows.may_pass(request)
            if len(self._verdicts) >= MAX_KNOWN:
                self._verdicts.clear()
            if not packed:
                self._verdicts[key] = verdict
        return verdict

    def _admit(self, asked: _Asked) -> None:
        """Let a group leave, or as much of it as there is room for; the rest waits."""
        way, count = asked.way, asked.marks.left
        if not way.waiting and count <= way.room(asked.asker):
            self._leave(asked, count)
            return
        if way.waits + count > MAX_WAITING:
            way.failures["limit"] += count
            self._refuse_all(asked, _NO_ROOM)
            return
        way.waiting.append(asked)
        way.waits += count
        self._serve(way)

    def _serve(self, way: RouteEntry) -> None:
        """Let what waits leave while there is room."""
        while way.waiting and (room := way.room(way.waiting[0].asker)) > 0:
            asked = way.waiting.popleft()
            count = asked.marks.left
            if count > room:
                way.waiting.appendleft(asked.part(room, count - room))
                asked, count = asked.part(0, room), room
            way.waits -= count
            self._leave(asked, count)

    def _leave(self, asked: _Asked, count: int) -> None:
        way, group = asked.way, asked.group
        device = way.route.device
        owner = self._owners.get(device) if way.route.relayed else asked.asker
        if owner is None:
            self._refuse_away(asked)
            return
        self._last_id += 1
        onward = group.onward(self._last_id, asked.left, device)
        self._leaving.setdefault(owner, []).append(onward)
        self._out[onward.id] = asked
        way.outstanding += count
        way.askers[asked.asker] = way.askers.get(asked.asker, 0) + count

    # Replies

    def reply(self, replies: ReplyGroup, now_us: int) -> None:
        """An owner's replies."""
        asked = self._out.get(replies.id)
        count = replies.count
        if asked is None:
            self.late += count
            return
        fresh = asked.marks.take(replies.first, count)
        taken = sum(length for _, length in fresh)
        self.late += count - taken
        way = asked.way
        credit = min(replies.credit, way.route.limit) // max(1, len(way.askers))
        credit = max(1, credit) if replies.credit else 0
        answers = self._answers_to(asked.asker)
        for first, length in fresh:
            part = replies if length == count else replies.part(first, length)
            place = asked.base + first
            answers.pass_on(ReplyGroup(asked.group.id, place, part.sizes, part.bodies, credit))
        self._finished(replies.id, asked, taken, now_us)

    def _finished(self, number: int, asked: _Asked, count: int, now_us: int) -> None:
        """So many requests of a group that is out have been answered."""
        way = asked.way
        way.outstanding -= count
        way.answered += count
        way.micro_s += count * max(now_us - asked.since_us, 0)
        out = way.askers[asked.asker] - count
        if out > 0:
            way.askers[asked.asker] = out
        else:
            del way.askers[asked.asker]
        if not asked.marks.left:
            del self._out[number]
        if way.waiting:
            self._serve(way)

    def counted(self, asker: bytes, counts: list[Any], now_us: int) -> None:
        """What an asker says of all its leases: kept as if it had gone through here."""
        named = set()
        for row in counts:
            if type(row) is not list or [type(each) for each in row[:6]] != [int] * 6:
                continue
            number, taken, answered, timed_out, micro_s, out = row[:6]
            found = self._leasing.find(number)
            if found is None or found[0].holder != asker:
                self._leasing.tell_holder(asker)
                continue
            given, way = found
            named.add(number)
            way.taken += taken
            way.answered += answered
            way.micro_s += micro_s
            given.out = out
            if timed_out:
                way.failures["timed out"] += timed_out
            if given.withdrawn_us and not out:
                self._leasing.returned(way)
                self._serve(way)
        for way in self._leasing.dropped(asker, named):
            self._serve(way)

    def expire(self, now_us: int) -> None:
        """Answer what nobody has answered by its deadline, and what waited in vain."""
        self._now_us = now_us
        for way in self._leasing.expire(now_us):
            self._serve(way)
        late_us = now_us - GRACE_US
        for number in [n for n, asked in self._out.items() if asked.deadline_us <= late_us]:
            asked = self._out[number]
            asked.way.failures["timed out"] += asked.marks.left
            left = asked.marks.left
            self._refuse_all(asked, _TIMED_OUT)
            self._finished(number, asked, left, now_us)
        for way in self.ways:
            if way.waiting and min(each.deadline_us for each in way.waiting) <= now_us:
                self._give_up(way, now_us)

    def _give_up(self, way: RouteEntry, now_us: int) -> None:
        """Refuse what has waited until its deadline."""
        waiting, way.waiting = way.waiting, deque()
        for asked in waiting:
            if asked.deadline_us > now_us:
                way.waiting.append(asked)
                continue
            way.waits -= asked.marks.left
            way.failures["limit"] += asked.marks.left
            self._refuse_all(asked, _NO_ROOM)

    # What is answered here

    def _refuse_all(self, asked: _Asked, extended: int) -> None:
        """Answer what is left of a group, in the form that its requests came in."""
        group = asked.group
        for first, count in asked.marks.open():
            requests = group.part(first, count).messages()
            self._answer(asked, first, _unrouted(group, requests, extended))
            asked.marks.take(first, count)

    def _refuse_away(self, asked: _Asked) -> None:
        asked.way.failures["owner away"] += asked.marks.left
        self._refuse_all(asked, _AWAY)

    def _refuse_with(self, asker: bytes, group: RouteGroup, error: CipError) -> None:
        requests = group.messages()
        if error.status == GeneralStatus.CONNECTION_FAILURE:
            replies = _unrouted(group, requests, error.extended[0])
        else:
            replies = [refused(request, error.status, error.extended) for request in requests]
        self._answers_to(asker).add(group.id, 0, replies)

    def _answer(self, asked: _Asked, first: int, replies: list[bytes]) -> None:
        self._answers_to(asked.asker).add(asked.group.id, asked.base + first, replies)

    def _answers_to(self, asker: bytes) -> Gathering:
        found = self._answers.get(asker)
        if found is None:
            found = self._answers[asker] = Gathering()
        return found

    def flush(self, now_us: int) -> None:
        """Send what has come up; requests whose owner is away are refused."""
        if not self._leaving and not self._answers:
            return
        leaving, self._leaving = self._leaving, {}
        for owner, groups in leaving.items():
            for portion in portions(groups):
                frame = RouteRequests([group.plain for group in portion]).encode()
                if not self._send(owner, frame):
                    self._owner_away(portion, now_us)
        answers, self._answers = self._answers, {}
        for asker, gathering in answers.items():
            for frames in portions(gathering.take()):
                self._send(asker, RouteReplies([group.plain for group in frames]).encode())

    def _owner_away(self, groups: Iterable[RouteGroup], now_us: int) -> None:
        for group in groups:
            asked = self._out.get(group.id)
            if asked is not None:
                left = asked.marks.left
                self._refuse_away(asked)
                self._finished(group.id, asked, left, now_us)


_OF_CONNECTIONS = (Carriage.OPEN, Carriage.CLOSE)  # what travels on them is looked at
_PACKET = bytes((Service.MULTIPLE_SERVICE_PACKET,))


def _forbidden(request: bytes) -> bytes:
    return refused(request, GeneralStatus.PRIVILEGE_VIOLATION)


def _unrouted(group: RouteGroup, requests: list[bytes], extended: int) -> list[bytes]:
    connected = bool(group.carriage)
    return [unrouted(each, group.route_path, extended, connected=connected) for each in requests]
