"""The order of a session's replies: a slot for each request that waits, and for each behind it.

reserve  a request leaves: its ticket           append  a reply that is there, in its turn
find     the slot that a result is for          take_ready  replies from the head on
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cpppod.protocols.cip.request import Pending

MAX_OUTSTANDING = 64  # requests of one session that wait for the outside


@dataclass(slots=True)
class Slot:
    """A reply's place in the order: its bytes, or None while it is out."""

    ticket: int
    frame: bytes | None
    wrap: Callable[[bytes], bytes]
    pending: Pending | None


class Slots(deque[Slot]):
    """The slots of one session, the oldest first.

    Attributes:
        held: whether an exclusive request is out, which holds back all that follow it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self._tickets = 0

    def reserve(self, wrap: Callable[[bytes], bytes], pending: Pending) -> int:
        """The ticket of a request that leaves; `wrap` makes a frame of its reply."""
        self._tickets += 1
        self.append(Slot(self._tickets, None, wrap, pending))
        if pending.exclusive:
            self.held = True
        return self._tickets

    def find(self, ticket: int) -> Slot | None:
        """The slot of that ticket; results mostly come in order."""
        if self and self[0].ticket == ticket:
            return self[0]
        return next((slot for slot in self if slot.ticket == ticket), None)

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
        self.held = any(slot.pending and slot.pending.exclusive for slot in self)

    def take_ready(self) -> list[bytes]:
        """The frames that can be sent, in order; their slots are free."""
        ready = []
        while self and (frame := self[0].frame) is not None:
            ready.append(frame)
            self.popleft()
        return ready
