"""Departures: requests of a target's sessions that leave along routes, gathered in groups.

    session ─ room ─► leave ─► group of this turn ── take_groups ──► messages to the router
               │               of its course
               │ none                                                    │
               └► ring of the way ◄── credit comes back ── replied ◄─────┘ ─► runs ─► sessions

Each route path has a *way*: the credit that its last reply told, the requests that are out, and the
sessions that wait for it. They take turns: while the credit is small, one request each, so that
who pipelines much holds nobody. A request that waits stays as bytes in its session's buffer.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cpppod.protocols.bus.groups import (
    MAX_CREDIT,
    MAX_GROUP,
    MAX_GROUP_BYTES,
    Marks,
    ReplyGroup,
    RouteGroup,
    sizes_of,
)
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.failures import unanswered
from cpppod.protocols.cip.message_router import Service
from cpppod.protocols.cip.request import ForwardNeeded, Tried, session_name
from cpppod.protocols.cip.unconnected_send import timeout_s
from cpppod.protocols.cip.write_attempts import WRITE_SERVICES, relayed, relayed_outcomes
from cpppod.protocols.model.failures import Failure

FIRST_CREDIT = 16  # requests, before a reply has told: more than the smallest window of a device
SMALL_CREDIT = 24  # 1.5 times a window of 16: up to it sessions take turns request by request
QUANTUM = 32  # requests of one turn beyond that
GRACE_US = 100_000  # the router answers at the deadline; so much later nobody will
DEADLINE_SHIFT = 15  # deadlines within 2**15 us may share a group
MAX_WAYS = 1_024  # route paths, and courses, that are known at a time


class Waiting(Protocol):
    """A session, as far as a way knows it."""

    def proceed(self, now: float) -> None:
        """There is room: let requests leave."""

    def expire_waiting(self, now: float) -> None:
        """Refuse the requests whose own time has run out while they waited."""


class Way:
    """One route path.

    Attributes:
        credit: requests that may be out along it; `out` are.
        ring: the sessions that wait, each once.
    """

    __slots__ = ("_quantum", "credit", "out", "path", "ring")

    def __init__(self, path: bytes, credit: int) -> None:
        self.path = path
        self.credit = credit
        self.out = 0
        self.ring: deque[Waiting] = deque()
        self._quantum = 0  # what is left of the turn of the session that is served

    @property
    def room(self) -> int:
        """Requests that whoever asks may let leave now."""
        if self._quantum:
            return min(self._quantum, self.credit - self.out)
        return 0 if self.ring else max(self.credit - self.out, 0)

    def take(self, count: int) -> None:
        """So many leave."""
        self.out += count
        if self._quantum:
            self._quantum = max(self._quantum - count, 0)

    def serve(self, now: float) -> None:
        """Let those who wait have what room there is, in turns."""
        while self.ring and self.out < self.credit:
            session = self.ring.popleft()
            self._quantum = 1 if self.credit <= SMALL_CREDIT else QUANTUM
            session.proceed(now)
            self._quantum = 0


class Course:
    """What requests have in common that may leave in one group: all of `command` but its request.

    Attributes:
        groups: those of this turn that are not full, by their deadlines.
    """

    __slots__ = ("allowed_s", "command", "groups", "way")

    def __init__(self, way: Way, command: ForwardNeeded) -> None:
        self.way = way
        self.command = command
        self.allowed_s = timeout_s(command.priority_tick, command.timeout_ticks)
        self.groups: dict[int, _Group] = {}


@dataclass(slots=True)
class _Writes:
    """A request that writes, by the attempts in it."""

    request: bytes
    attempts: list[Tried]


@dataclass(slots=True)
class _Group:
    """A group that is gathered, then one that is out."""

    course: Course
    way: Way
    template: RouteGroup
    bodies: list[bytes] = field(default_factory=list)
    size: int = 0
    runs: list[tuple[int, Any]] = field(default_factory=list)  # (place of its first request, run)
    marks: Marks = field(default_factory=lambda: Marks(0))
    writes: dict[int, _Writes] = field(default_factory=dict)  # place -> what the audit is to hear


class _Asked:
    """One request that no session's order waits for; `done` gets its reply."""

    __slots__ = ("count", "done", "session")

    def __init__(self, done: Callable[[bytes], None]) -> None:
        self.count = 1
        self.done = done
        self.session = None

    def fill(self, first: int, messages: list[bytes]) -> None:
        """The reply is there."""
        self.done(messages[0])


class Departures:
    """What leaves one target.

    Attributes:
        notify: called when there is something to `take_groups`, once until it is taken.
        touched: sessions that have something to write, or another request to perform.
        late: replies that nobody waited for any more.
        audit: is told of every write that has left, with what its reply says came of it.
    """

    def __init__(self, *, credit: int = FIRST_CREDIT, first_id: int = 1) -> None:
        """`first_id` numbers the groups: replies to one of a life before are nobody's."""
        self._credit = credit
        self._ways: dict[bytes, Way] = {}
        self._courses: dict[tuple[Any, ...], Course] = {}
        self._gathered: list[_Group] = []
        self._out: dict[int, _Group] = {}
        self._last_id = first_id - 1
        self.notify: Callable[[], None] | None = None
        self.touched: dict[Any, None] = {}
        self.late = 0
        self.audit: Callable[[Tried], None] | None = None

    @property
    def outstanding(self) -> int:
        """Requests that are out."""
        return sum(way.out for way in self._ways.values())

    @property
    def is_busy(self) -> bool:
        """Whether there is anything that a deadline could pass for."""
        return bool(self._out) or any(way.ring for way in self._ways.values())

    def way(self, path: bytes) -> Way:
        """The way of a route path."""
        found = self._ways.get(path)
        if found is None:
            if len(self._ways) >= MAX_WAYS:
                idle = [key for key, way in self._ways.items() if not way.out and not way.ring]
                for key in idle:
                    del self._ways[key]
            found = self._ways[path] = Way(path, self._credit)
        return found

    def course(self, command: ForwardNeeded) -> Course:
        """The course of requests that leave as `command` says."""
        key = (
            *(command.route_path, command.source, command.priority_tick, command.timeout_ticks),
            *(command.carriage, command.connection, command.capacity, command.hops),
        )
        found = self._courses.get(key)
        if found is None:
            if len(self._courses) >= MAX_WAYS:
                self._courses.clear()
            found = self._courses[key] = Course(self.way(command.route_path), command)
        return found

    # Leaving

    def leave(self, course: Course, bodies: Sequence[bytes], run: Any, since: float) -> None:
        """Requests of one run leave on a course; there is room for them.

        Args:
            since: the second at which the first of them arrived, which their time is counted from.
        """
        deadline_us = int((since + course.allowed_s) * 1e6)
        course.way.take(len(bodies))
        size = sum(map(len, bodies))
        group = course.groups.get(deadline_us >> DEADLINE_SHIFT)
        if (
            group is None
            or len(group.bodies) + len(bodies) > MAX_GROUP
            or group.size + size > MAX_GROUP_BYTES
        ):
            group = _Group(course, course.way, _template(course, deadline_us))
            course.groups[deadline_us >> DEADLINE_SHIFT] = group
            self._gathered.append(group)
            if self.notify is not None and len(self._gathered) == 1:
                self.notify()
        if self.audit is not None and not _MAY_WRITE.isdisjoint([body[:1] for body in bodies]):
            _note_writes(group, course.command, bodies, run)
        group.runs.append((len(group.bodies), run))
        group.bodies += bodies
        group.size += size

    def ask(self, command: ForwardNeeded, done: Callable[[bytes], None], now: float) -> None:
        """One request leaves at once, whatever is out; `done` gets its reply."""
        self.leave(self.course(command), (command.request,), _Asked(done), now)

    def take_groups(self) -> list[RouteGroup]:
        """The groups of this turn; from now on their replies are waited for."""
        gathered, self._gathered = self._gathered, []
        found = []
        for group in gathered:
            group.course.groups.clear()
            self._last_id += 1
            template = group.template
            template.id = self._last_id
            template.sizes, template.bodies = sizes_of(group.bodies), b"".join(group.bodies)
            group.marks = Marks(len(group.bodies))
            group.bodies = []
            self._out[template.id] = group
            found.append(template)
        return found

    # Coming back

    def replied(self, replies: ReplyGroup, now: float) -> None:
        """Replies are here; look at `touched` afterwards."""
        group = self._out.get(replies.id)
        if group is None:
            self.late += replies.count
            return
        messages = replies.split()
        if replies.credit:
            group.way.credit = min(replies.credit, MAX_CREDIT)
        self._settle(group, replies.first, messages)
        group.way.serve(now)

    def _settle(self, group: _Group, first: int, messages: list[bytes]) -> None:
        fresh = group.marks.take(first, len(messages))
        taken = sum(count for _, count in fresh)
        self.late += len(messages) - taken
        group.way.out -= taken
        if not group.marks.left:
            del self._out[group.template.id]
        for begin, count in fresh:
            end = begin + count
            if group.writes:
                self._tell_writes(group, begin, messages[begin - first : end - first])
            for place, run in group.runs:
                low, high = max(begin, place), min(end, place + run.count)
                if low < high:
                    run.fill(low - place, messages[low - first : high - first])
                    if run.session is not None:
                        self.touched[run.session] = None

    def _tell_writes(self, group: _Group, begin: int, messages: Sequence[bytes]) -> None:
        """Tell the audit of those of these replies that are of writes."""
        for place, message in enumerate(messages, begin):
            found = group.writes.pop(place, None)
            if found is not None and self.audit is not None:
                for tried in relayed_outcomes(found.request, found.attempts, message):
                    self.audit(tried)

    def group(self, number: int) -> RouteGroup | None:
        """A group that is out; None where all of it has been answered."""
        found = self._out.get(number)
        return None if found is None else found.template

    def out_along(self, path: bytes) -> set[int]:
        """The groups that are out along a route path."""
        return {number for number, group in self._out.items() if group.way.path == path}

    def unsent(self, group: RouteGroup, now: float) -> None:
        """The router did not take a group: nobody is there."""
        self._fail(group.id, Failure.UNDELIVERED, now)

    def expire(self, now: float) -> None:
        """Answer what nobody has answered in its time, and refuse what waited in vain."""
        late_us = int(now * 1e6) - GRACE_US
        for number in [n for n, group in self._out.items() if group.template.deadline_us < late_us]:
            self._fail(number, Failure.TIMEOUT, now)
        for way in list(self._ways.values()):
            for session in list(way.ring):
                session.expire_waiting(now)
                self.touched[session] = None

    def _fail(self, number: int, failure: Failure, now: float) -> None:
        """Nobody answers what is left of a group any more."""
        group = self._out.get(number)
        if group is None:
            return
        template = group.template
        asked = template.messages()
        for first, count in group.marks.open():
            messages = [
                unanswered(request, template.route_path, failure, connected=bool(template.carriage))
                for request in asked[first : first + count]
            ]
            self._settle(group, first, messages)
        group.way.serve(now)


_MAY_WRITE = frozenset(
    bytes((service,)) for service in (*WRITE_SERVICES, Service.MULTIPLE_SERVICE_PACKET)
)


def _note_writes(group: _Group, command: ForwardNeeded, bodies: Sequence[bytes], run: Any) -> None:
    """Remember which of these requests write, and what."""
    session = session_name(getattr(run.session, "handle", None))
    ports = epath.to_text(epath.decode(command.route_path))
    for place, body in enumerate(bodies, len(group.bodies)):
        attempts = relayed(body) if body[:1] in _MAY_WRITE else []
        for tried in attempts:
            tried.tag = f"{ports}/{tried.tag}"
            tried.address, tried.session = command.source, session
        if attempts:
            group.writes[place] = _Writes(body, attempts)


def _template(course: Course, deadline_us: int) -> RouteGroup:
    """A group without its requests and its number."""
    command = course.command
    return RouteGroup(
        *(0, command.source, deadline_us, command.priority_tick, command.timeout_ticks),
        *(command.route_path, 0, b"", int(command.carriage), command.connection),
        command.capacity,
        hops=command.hops,
    )
