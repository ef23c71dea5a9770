"""Others' requests to one device that understands CIP: groups that wait, and what is out of them.

    take ─► waiting ── window ──► cip.relay ──► replied ──► answer
               │                      │ lost, or the deadline passed: answered with why
               └ the deadline passed: never sent, 0x0301

The *window* is how many requests are out at once. It begins at the device's `in_flight`. While more
wait than it admits, twice as much is tried, and now and then half of it: the larger is kept where
it brings more replies a second. It is halved where the device says that it has no room. What the
asker may have outstanding (its credit) follows it.

No I/O and no clock: who calls passes `now`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cpppod.protocols.bus.groups import MAX_CREDIT, Marks, RouteGroup
from cpppod.protocols.cip.failures import unanswered
from cpppod.protocols.cip.message_router import REPLY
from cpppod.protocols.cip.route_table import AllowList
from cpppod.protocols.cip.status import GeneralStatus
from cpppod.protocols.enip.originator.relay import MAX_NUMBER, answers
from cpppod.protocols.model.failures import Failure
from cpppod.workers.devices.driver import CipRelay, DeviceError

MAX_WINDOW = 256  # requests at a device: 8 clients 100 deep cost half the CPU time of 64
SMALL_WINDOW = 16  # up to it the credit is 1.5 windows, so that those who wait take turns early ...
CREDIT_WINDOWS = 4  # ... beyond it 4, so that the device never waits for us
JUDGED_WINDOWS = 8  # replies that a rate is measured over, in windows ...
JUDGED_S = 0.05  # ... and for at least so long
WORTH = 1.1  # twice the window is worth it where it brings so many times the replies a second
HOLD_S, LONGEST_HOLD_S = 0.25, 64.0  # until another size is tried again; doubles each time in vain
MAX_WAITING = 4_096  # requests, of all askers: the routers' limits are much lower

Answer = Callable[[int, Sequence[bytes], int], None]  # place of the first, replies, credit


class Window:
    """How many requests may be out at once.

    Attributes:
        size: so many.
    """

    def __init__(self, floor: int) -> None:
        """A device that takes one request at a time (`floor` 1) is never given two."""
        self._floor = floor
        self._most = max(floor, MAX_WINDOW) if floor > 1 else 1
        self.size = floor
        self._before: tuple[int, float] | None = None  # size that was left for a trial, its rate
        self._up = True  # which size is tried next
        self._since_s: float | None = None  # when the rate that is measured now began
        self._replies = self._wanted = 0
        self._hold_s = HOLD_S
        self._held_until_s = 0.0

    @property
    def credit(self) -> int:
        """Requests that an asker may have outstanding."""
        size = self.size
        return (
            size + (size + 1) // 2
            if size <= SMALL_WINDOW
            else min(CREDIT_WINDOWS * size, MAX_CREDIT)
        )

    def replied(self, count: int, now_s: float, *, wanted: bool) -> None:
        """So many replies have come; `wanted` says whether as many were asked as may be out."""
        if self._most == 1:
            return
        if self._since_s is None:
            self._since_s, self._replies, self._wanted = now_s, 0, 0
            return
        self._replies += count
        self._wanted += count if wanted else 0
        lasted_s = now_s - self._since_s
        if self._replies >= JUDGED_WINDOWS * self.size and lasted_s >= JUDGED_S:
            self._since_s = None
            if 2 * self._wanted > self._replies:
                self._judge(self._replies / lasted_s, now_s)

    def _judge(self, rate: float, now_s: float) -> None:
        """So many replies came a second: keep the size that was tried, or try another."""
        if self._before is not None:
            (size, before), self._before = self._before, None
            kept = rate > WORTH * before if self._up else before < WORTH * rate
            if not kept:
                self.size = size
                self._up = not self._up
                self._held_until_s = now_s + self._hold_s
                self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
                return
            self._hold_s = HOLD_S
        if now_s < self._held_until_s:
            return
        tried = min(self._most, 2 * self.size) if self._up else max(self._floor, self.size >> 1)
        if tried == self.size:
            self._up = not self._up
            self._held_until_s = now_s + self._hold_s
            return
        self._before = self.size, rate
        self.size = tried

    def refused(self, now_s: float) -> None:
        """The device has no room for so many."""
        self.size = max(1, self.size >> 1)
        self._since_s = self._before = None
        self._held_until_s = now_s + self._hold_s


@dataclass(slots=True)
class _Group:
    """One group: `sent` of its requests have left; `again` says that it is the second time.

    Attributes:
        right: the heads of their replies where all ask the same service and all goes well.
    """

    group: RouteGroup
    answer: Answer
    requests: list[bytes]
    messages: list[bytes]  # the same, as Message Router requests
    marks: Marks
    taken_s: float
    right: set[bytes]
    again: bool = False
    sent: int = 0
    parts: list[tuple[int, float]] = field(default_factory=list)  # (end, when) of what was sent

    @property
    def deadline_s(self) -> float:
        return self.group.deadline_us / 1e6


class Relays:
    """What is relayed to one device.

    Args:
        cip: the driver's way to it.
        floor: requests that it surely takes at once.
        silent_s: for so long a device may answer nothing that lives.
        observe: told of replies (how many, after so many seconds, the failure or None).
        waited: told how long what is sent now has waited.
    """

    def __init__(
        self,
        cip: CipRelay,
        *,
        floor: int,
        silent_s: float,
        observe: Callable[[int, float, DeviceError | None], None],
        waited: Callable[[float, int], None],
    ) -> None:
        self._cip = cip
        self._silent_s = silent_s
        self._observe = observe
        self._waited = waited
        self._groups: dict[int, _Group] = {}
        self._waiting: deque[int] = deque()
        self._last = 0
        self.window = Window(floor)
        self.out = 0
        self.waits = 0
        self.late = 0

    def take(self, group: RouteGroup, answer: Answer, now_s: float) -> None:
        """Relay a group; `answer` is called for each of its requests once."""
        if self.waits + group.count > MAX_WAITING:
            answer(0, refusals(group, group.messages(), Failure.UNDELIVERED), self.window.credit)
            return
        self._queue(group, answer, now_s)

    def _queue(
        self, group: RouteGroup, answer: Answer, now_s: float, *, first: bool = False
    ) -> None:
        requests = group.split()
        messages = group.messages() if group.carriage else requests
        self._last = self._last % MAX_NUMBER + 1
        services = {message[0] for message in messages}
        right = {bytes((each | REPLY, 0, 0)) for each in services} if len(services) == 1 else set()
        entry = _Group(
            *(group, answer, requests, messages, Marks(len(requests)), now_s, right), again=first
        )
        self._groups[self._last] = entry
        if first:
            self._waiting.appendleft(self._last)
        else:
            self._waiting.append(self._last)
        self.waits += len(requests)

    def waiting_since(self) -> float | None:
        """When the oldest that has not been sent was taken; None where nothing waits."""
        return self._groups[self._waiting[0]].taken_s if self._waiting else None

    def next_deadline_s(self) -> float:
        """When `expire` has something to do."""
        return min((each.deadline_s for each in self._groups.values()), default=float("inf"))

    def pump(self, now_s: float) -> None:
        """Send what waits, as much as the window admits."""
        for number in list(self._waiting):
            room = self.window.size - self.out
            if room <= 0:
                return
            entry = self._groups[number]
            group, first = entry.group, entry.sent
            requests = entry.requests[first : first + room]
            timeout_s = max(0.001, entry.deadline_s - now_s)
            if not self._cip.relay(number, first, requests, group, timeout_s):
                continue  # that of another connection may go
            entry.sent += len(requests)
            entry.parts.append((entry.sent, now_s))
            self.out += len(requests)
            self.waits -= len(requests)
            if entry.sent == len(entry.requests):
                self._waiting.remove(number)
            if not first:
                self._waited(now_s - entry.taken_s, len(entry.requests))

    def replied(self, number: int, place: int, replies: list[bytes], now_s: float) -> bool:
        """Replies of the device; False where one cannot be the reply to its request."""
        entry = self._groups.get(number)
        if entry is None or place + len(replies) > entry.sent:
            self.late += len(replies)
            return True
        heads = {reply[:3] for reply in replies}  # a few, whatever their number
        if heads != entry.right and not all(
            map(answers, entry.messages[place : place + len(replies)], replies)
        ):
            return False
        taken = 0
        for first, count in entry.marks.take(place, len(replies)):
            taken += count
            fresh = replies[first - place : first - place + count]
            entry.answer(first, fresh, self.window.credit)
        self.late += len(replies) - taken
        if not taken:
            return True
        latency_s = now_s - next(when for end, when in entry.parts if place < end)
        wanted = self.out + self.waits >= self.window.size
        self._settled(number, entry, taken)
        if any(head[2] == GeneralStatus.RESOURCE_UNAVAILABLE for head in heads):
            self.window.refused(now_s)
        else:
            self.window.replied(taken, now_s, wanted=wanted)
        self._observe(taken, latency_s, None)
        return True

    def refused(self, number: int, place: int, error: DeviceError, now_s: float) -> None:
        """The device refused one request on the layer below."""
        entry = self._groups.get(number)
        if entry is None or not entry.marks.open(place, place + 1):
            self.late += 1
            return
        self._fail(number, entry, place, place + 1, error.failure)
        self._observe(1, now_s - entry.taken_s, error)

    def lost(self, error: DeviceError, now_s: float) -> None:
        """The connection is gone: what has been sent over it is not answered any more.

        Reads are sent once more over the next: a device that closes silent connections does so
        while the first request after the silence is on its way.
        """
        for number, entry in list(self._groups.items()):
            if not entry.sent:
                continue
            if not entry.again:
                self._send_again(entry, now_s)
            count = self._fail(number, entry, 0, entry.sent, error.failure)
            if count:
                self._observe(count, now_s - entry.taken_s, error)

    def _send_again(self, entry: _Group, now_s: float) -> None:
        """Queue what changes nothing at the device before all that waits."""
        for first, count in reversed(entry.marks.open(0, entry.sent)):
            if not all(map(_READS.may_pass, entry.messages[first : first + count])):
                continue
            entry.marks.take(first, count)
            self.out -= count
            part = entry.group.part(first, count)
            self._queue(part, _later(entry.answer, first), now_s, first=True)

    def drop(self, failure: Failure) -> None:
        """What has not been sent never will be."""
        for number in list(self._waiting):
            entry = self._groups[number]
            self._fail(number, entry, entry.sent, len(entry.requests), failure)
        self._waiting.clear()

    def expire(self, now_s: float) -> bool:
        """Answer what is past its deadline; whether it says that the device is silent.

        A request that was sent shortly before its time ran out says nothing of the device.
        """
        silent = False
        for number, entry in list(self._groups.items()):
            if entry.deadline_s > now_s:
                continue
            count = self._fail(number, entry, 0, entry.sent, Failure.TIMEOUT)
            if count:
                silent |= now_s - entry.parts[-1][1] >= self._silent_s
                error = DeviceError(Failure.TIMEOUT, "no reply in time")
                self._observe(count, now_s - entry.taken_s, error)
            if entry.sent < len(entry.requests):
                self._waiting.remove(number)
                self._fail(number, entry, entry.sent, len(entry.requests), Failure.UNDELIVERED)
        return silent

    def _fail(self, number: int, entry: _Group, first: int, end: int, failure: Failure) -> int:
        """Answer requests without the device; how many that were."""
        failed = 0
        for begin, count in entry.marks.open(first, end):
            asked = entry.messages[begin : begin + count]
            entry.marks.take(begin, count)
            entry.answer(begin, refusals(entry.group, asked, failure), self.window.credit)
            failed += count
        if first < entry.sent:
            self._settled(number, entry, failed)
        else:
            self.waits -= failed
            if not entry.marks.left:
                del self._groups[number]
        return failed

    def _settled(self, number: int, entry: _Group, count: int) -> None:
        """So many requests that were out are over."""
        self.out -= count
        if not entry.marks.left:
            del self._groups[number]


_READS = AllowList(read_only=True)


def _later(answer: Answer, base: int) -> Answer:
    """Who hears the replies to the requests from `base` on as if they began there."""
    return lambda first, replies, credit: answer(base + first, replies, credit)


def refusals(group: RouteGroup, requests: Sequence[bytes], failure: Failure) -> list[bytes]:
    """What the requests of a group are answered with that their device has not answered."""
    connected = bool(group.carriage)
    return [
        unanswered(request, group.route_path, failure, connected=connected) for request in requests
    ]
