"""The order of a session's replies: a slot for each request that waits, and for each behind it.

reserve  a request leaves: its ticket           append  a reply that is there, in its turn
leave    requests leave in a group: their run   take_ready  replies from the head on
find     the slot that a result is for
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip.request import Pending

MAX_OUTSTANDING = 256  # requests of one session that wait for the outside: twice 100 deep and more


@dataclass(slots=True)
class Slot:
    """A reply's place in the order: its bytes, or None while it is out."""

    ticket: int
    frame: bytes | None
    wrap: Callable[[bytes], bytes]
    pending: Pending | None


class Run:
    """Consecutive requests of a session that have left in one group: one slot for all of them.

    Attributes:
        session: whose they are.
        count: how many; `left` have no reply yet.
    """

    __slots__ = ("_marks", "_replies", "_sent", "_wrap", "count", "left", "session")

    def __init__(
        self,
        session: Any,
        marks: list[Any],
        wrap: Callable[[Sequence[Any], list[Any]], list[bytes]],
    ) -> None:
        """`wrap` makes the pieces of reply frames of what `marks` them and their messages."""
        self.session = session
        self.count = self.left = len(marks)
        self._marks = marks
        self._wrap = wrap
        self._replies: list[bytes | None] = [None] * len(marks)
        self._sent = 0

    def fill(self, first: int, messages: list[bytes]) -> None:
        """Replies to requests of the run that had none, from its `first` on, are there."""
        self._replies[first : first + len(messages)] = messages
        self.left -= len(messages)

    def take_ready(self) -> list[bytes]:
        """The frames, in pieces, that can be sent now: those before the first that is missing."""
        begin, replies = self._sent, self._replies
        end = self.count
        if self.left:
            end = begin
            while replies[end] is not None:
                end += 1
        self._sent = end
        pieces = self._wrap(self._marks[begin:end], replies[begin:end])
        replies[begin:end] = [None] * (end - begin)
        return pieces

    @property
    def is_over(self) -> bool:
        """Whether all of it has been sent."""
        return self._sent == self.count


class Slots(deque[Slot | Run]):
    """The slots of one session, the oldest first.

    Attributes:
        requests: in them.
        held: whether an exclusive request is out, which holds back all that follow it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.held = False
        self._tickets = 0

    @property
    def room(self) -> int:
        """Requests that may be added."""
        return MAX_OUTSTANDING - self.requests

    def reserve(self, wrap: Callable[[bytes], bytes], pending: Pending) -> int:
        """The ticket of a request that leaves; `wrap` makes a frame of its reply."""
        self._tickets += 1
        self.append(Slot(self._tickets, None, wrap, pending))
        self.requests += 1
        if pending.exclusive:
            self.held = True
        return self._tickets

    def settled(self, frame: bytes) -> None:
        """A reply that is there takes its place behind those that are out."""
        self.append(Slot(0, frame, _same, None))
        self.requests += 1

    def leave(self, run: Run) -> None:
        """Requests have left in a group."""
        self.append(run)
        self.requests += run.count

    def find(self, ticket: int) -> Slot | None:
        """The slot of that ticket; results mostly come in order."""
        for slot in self:
            if isinstance(slot, Slot) and slot.ticket == ticket:
                return slot
        return None

    def renew(self, slot: Slot, pending: Pending) -> None:
        """What a slot waits for has led to something else to wait for."""
        slot.pending = pending
        self._look_for_held()

    def settle(self, slot: Slot, message: bytes) -> None:
        """A slot's reply is there."""
        slot.frame, slot.pending = slot.wrap(message), None
        if self.held:
            self._look_for_held()

    def _look_for_held(self) -> None:
        self.held = any(
            isinstance(slot, Slot) and slot.pending and slot.pending.exclusive for slot in self
        )

    def take_ready(self) -> list[bytes]:
        """The frames that can be sent, in order; their slots are free."""
        ready: list[bytes] = []
        while self:
            head = self[0]
            if isinstance(head, Run):
                ready += head.take_ready()
                if not head.is_over:
                    break
                self.requests -= head.count
            elif head.frame is not None:
                ready.append(head.frame)
                self.requests -= 1
            else:
                break
            self.popleft()
        return ready

    def clear(self) -> None:
        """Forget all of them."""
        super().clear()
        self.requests = 0


def _same(message: bytes) -> bytes:
    return message
