"""Threads that share one blocking connection: one of them reads at a time, for all of them.

    thread A   send │ select, recv, dispatch │ tell ──────────────► its reply is there
    thread B        send │ wait to be told ..........│ its reply is there, or it reads next

`lock` guards the session and all that belongs to its pipelines; nobody waits for anything while
holding it, so that Ctrl-C may come at any moment. `with connection:` keeps the other threads out:
what they ask then waits as long as their own time-out allows. A process that was forked must open
a connection of its own.
"""

import os
import threading
import time
from queue import Empty, SimpleQueue
from types import TracebackType

from cpppod.protocols.enip.originator.errors import CommunicationCeased, ReplyTimeout

Bell = SimpleQueue[None]


class Sharing:
    """The order among the threads of one connection.

    Attributes:
        lock: held while the session is touched; reentrant.
        arrivals: counts how often answers were handed out; look at it before looking for an answer.
        reading: whether a thread waits for the socket; the others leave it alone.
        holder: the thread inside `with connection:`, 0 for none.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.arrivals = 0
        self.reading = False
        self._process = os.getpid()
        self.holder = 0
        self._depth = 0
        self._bells: list[Bell] = []  # of the threads that `tell` has to wake

    @property
    def inherited(self) -> bool:
        """Whether this process is a fork of the one that opened the connection."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Refuse a forked process: it would take its parent's replies.

        Raises:
            CommunicationCeased: this process did not open the connection.
        """
        if self.inherited:
            raise CommunicationCeased(
                f"the connection belongs to process {self._process}: open another one here"
            )

    @property
    def held(self) -> bool:
        """Whether another thread is inside `with connection:` (with `lock` held)."""
        return self.holder not in (0, threading.get_ident())

    def admit(self, timeout: float | None) -> None:
        """Wait, without `lock`, until no other thread is inside `with connection:`.

        Raises:
            ReplyTimeout: one still is after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self.lock:
                if not self.held:
                    return
                bell = self.bell()
            if not ring(bell, None if deadline is None else deadline - time.monotonic()):
                raise ReplyTimeout("another thread holds the connection")

    def bell(self) -> Bell:
        """What the next `tell` rings: `ring` waits for it, without `lock` (made with it held)."""
        bell: Bell = SimpleQueue()
        self._bells.append(bell)
        return bell

    def tell(self) -> None:
        """Answers were handed out, or the connection is closed or free (with `lock` held)."""
        self.arrivals += 1
        while self._bells:
            self._bells[-1].put(None)  # in this order: twice does no harm, never would
            self._bells.pop()

    def __enter__(self) -> None:
        self.check()
        while True:
            with self.lock:
                if not self.held:
                    self.holder = threading.get_ident()
                    self._depth += 1
                    return
            self.admit(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.inherited:
            return  # a thread of the parent may have held `lock`: nobody here gives it back
        with self.lock:
            self._depth -= 1
            if not self._depth:
                self.holder = 0
                self.tell()


def ring(bell: Bell, timeout: float | None) -> bool:
    """Whether `bell` is rung within `timeout` seconds."""
    try:
        bell.get(timeout=None if timeout is None else max(0.0, timeout))
    except Empty:
        return False
    return True
