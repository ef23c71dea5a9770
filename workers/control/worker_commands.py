"""Orders to workers and their replies: `Command` out by the `control` ROUTER, `CommandReply` back.

    ask(worker, verb) ──[identity, Command]──> worker
                      <──[identity, CommandReply]──    or a time-out, after which the reply is late

A reply counts only from the worker that was asked, under the id that it was asked with.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from cpppod.protocols.bus.codec import MAX_DEPTH, check_depth
from cpppod.protocols.bus.messages import Command, CommandReply
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.failures import Failure

MAX_OUTSTANDING = 1_000  # orders: 16 connections, a reload asks every worker once
ORDER_S = 5.0  # a worker that beats answers in milliseconds

_FAILURES = {str(failure): failure for failure in Failure}

Send = Callable[[bytes, bytes], bool]


class OrderFailed(Exception):
    """The worker refused, is not there, or did not answer in time; the text is for people.

    Attributes:
        failure: `UNDELIVERED`, `TIMEOUT`, `LOST` where the worker ended with it, else what the
            worker says, which is `UNSUPPORTED` for what it does not know.
    """

    def __init__(self, text: str, failure: Failure = Failure.UNSUPPORTED) -> None:
        super().__init__(text)
        self.failure = failure


class WorkerCommands:
    """The orders that are outstanding.

    Attributes:
        late: replies to nobody's question.
    """

    def __init__(self, send: Send) -> None:
        self.late = 0
        self._send = send
        self._ids = itertools.count(1)
        self._outstanding: dict[int, tuple[str, asyncio.Future[CommandReply]]] = {}

    async def ask(
        self, worker: str, verb: str, arguments: dict[str, Any], *, timeout_s: float = ORDER_S
    ) -> Any:
        """The result of `verb` from `worker`.

        Raises:
            OrderFailed: refused, not connected, or no reply within `timeout_s`.
        """
        if len(self._outstanding) >= MAX_OUTSTANDING:
            raise OrderFailed("too many orders are waiting for replies", Failure.UNDELIVERED)
        order = Command(next(self._ids), verb, arguments)
        try:
            check_depth(arguments, MAX_DEPTH - 1)
            frame = order.encode()
        except ProtocolError as error:
            raise OrderFailed(f"{verb}: {error}", Failure.BAD_VALUE) from None
        if not self._send(worker.encode(), frame):
            raise OrderFailed(f"worker {worker} is not connected", Failure.UNDELIVERED)
        future: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        self._outstanding[order.id] = (worker, future)
        try:
            reply = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            text = f"worker {worker} did not answer within {timeout_s:g} s"
            raise OrderFailed(text, Failure.TIMEOUT) from None
        finally:
            del self._outstanding[order.id]
        if reply.error:
            raise OrderFailed(reply.error, _FAILURES.get(reply.failure, Failure.UNSUPPORTED))
        return reply.result

    def receive(self, worker: str, reply: CommandReply) -> None:
        """Take a reply that came from `worker`."""
        asked, future = self._outstanding.get(reply.id, ("", None))
        if future is None or asked != worker or future.done():
            self.late += 1
            return
        future.set_result(reply)

    def worker_left(self, worker: str) -> None:
        """The process of `worker` has ended: nothing will come of what it was asked."""
        for asked, future in self._outstanding.values():
            if asked == worker and not future.done():
                text = f"worker {worker} ended before it answered"
                future.set_result(CommandReply(0, text, failure=str(Failure.LOST)))
