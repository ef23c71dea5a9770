"""Requests: messages with an id, their replies, and the deadline after which none is waited for;
and groups of them, a message a turn.

A reply that comes late, or to nobody's question, is counted and dropped: it never answers another
request.
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from cpppod.protocols.bus.groups import Gathering, RouteGroup, portions
from cpppod.protocols.bus.messages import Message, RouteReplies, RouteRequests
from cpppod.workers.bus.zeromq import Socket

MAX_OUTSTANDING = 4_096  # requests of one worker: 64 clients with 64 each
MAX_ID = 2**53 - 1

OnReply = Callable[[Message | None], None]


class RequestFailed(Exception):
    """No reply. `sent` says whether the request left: if it did, its outcome is unknown."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Replies:
    """Replies to groups of one asker: those of one turn of the loop leave together by `send`."""

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._leaving = Gathering()
        self._posted = False

    def post(self, number: int, first: int, replies: Sequence[bytes], credit: int) -> None:
        """Send replies to the requests of group `number`, from `first` on, with this turn's."""
        if not self._posted:
            self._posted = True
            asyncio.get_running_loop().call_soon(self._flush)
        self._leaving.add(number, first, replies, credit)

    def _flush(self) -> None:
        self._posted = False
        for portion in portions(self._leaving.take()):
            self._send(RouteReplies([group.plain for group in portion]).encode())


def send_groups(socket: Socket, groups: list[RouteGroup]) -> list[RouteGroup]:
    """Send groups, in as many messages as they take; those that could not be sent."""
    unsent: list[RouteGroup] = []
    for portion in portions(groups):
        if not socket.send(RouteRequests([group.plain for group in portion]).encode()):
            unsent += portion
    return unsent


class Requests:
    """What is outstanding on one DEALER; `reply` is told every message that has arrived there.

    Attributes:
        late: replies that nobody waited for any more.
        expired: requests whose deadline passed.
    """

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._outstanding: dict[int, tuple[OnReply, asyncio.TimerHandle]] = {}
        self._last_id = time.monotonic_ns() // 1000  # a reply to a life before answers nobody
        self.late = 0
        self.expired = 0

    def __len__(self) -> int:
        return len(self._outstanding)

    def send(self, message: Any, deadline_us: int, on_reply: OnReply) -> bool:
        """Send `message` under an id of ours; `on_reply` gets the reply, or None at the deadline.

        Returns:
            False where it could not be sent at all; `on_reply` is then never called.
        """
        if len(self._outstanding) >= MAX_OUTSTANDING:
            return False
        identifier = self._next_id()
        if not self._socket.send(dataclasses.replace(message, id=identifier).encode()):
            return False
        self._wait(identifier, deadline_us, on_reply)
        return True

    def _next_id(self) -> int:
        self._last_id = self._last_id % MAX_ID + 1
        return self._last_id

    def _wait(self, identifier: int, deadline_us: int, on_reply: OnReply) -> None:
        wait_s = max(0.0, deadline_us / 1e6 - time.monotonic())
        timer = self._loop.call_later(wait_s, self._expire, identifier)
        self._outstanding[identifier] = (on_reply, timer)

    async def ask(self, message: Any, timeout_s: float) -> Message:
        """The reply to `message`, whose `id` and `deadline_us` (if it has one) are set here.

        Raises:
            RequestFailed: it could not be sent, or no reply came in time.
        """
        deadline_us = time.monotonic_ns() // 1000 + int(timeout_s * 1e6)
        if hasattr(message, "deadline_us"):
            message = dataclasses.replace(message, deadline_us=deadline_us)
        future: asyncio.Future[Message | None] = self._loop.create_future()

        def settle(reply: Message | None) -> None:
            if not future.done():
                future.set_result(reply)

        if not self.send(message, deadline_us, settle):
            raise RequestFailed(f"{self._socket.name} is not there", sent=False)
        reply = await future
        if reply is None:
            raise RequestFailed(f"no reply from {self._socket.name} in {timeout_s:g} s", sent=True)
        return reply

    def reply(self, message: Any) -> bool:
        """Whether `message` answered one of ours."""
        found = self._outstanding.pop(message.id, None)
        if found is None:
            self.late += 1
            return False
        on_reply, timer = found
        timer.cancel()
        on_reply(message)
        return True

    def _expire(self, identifier: int) -> None:
        on_reply, _ = self._outstanding.pop(identifier)
        self.expired += 1
        on_reply(None)
