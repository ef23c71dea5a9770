"""Threads that share one blocking connection: one of them reads at a time, for all of them.

    thread A   send │ select, recv, dispatch │ tell ──────────────► its reply is there
    thread B        send │ wait to be told ..........│ its reply is there, or it reads next

`lock` guards the session and all that belongs to its pipelines; nobody waits for the network while
holding it. `with connection:` keeps the other threads out: what they ask then waits as long as
their own time-out allows. A process that was forked must open a connection of its own.
"""

import os
import threading
from types import TracebackType

from cpppod.protocols.enip.originator.errors import CommunicationCeased, ReplyTimeout


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
        self._told = threading.Condition(self.lock)
        self._process = os.getpid()
        self.holder = 0
        self._depth = 0
        self._waiting = 0  # threads that `tell` has to wake

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

    def admit(self, timeout: float | None) -> None:
        """Wait, with `lock` held, until no other thread is inside `with connection:`.

        Raises:
            ReplyTimeout: one still is after `timeout` seconds.
        """
        if self.holder and not self._wait_for_turn(timeout):
            raise ReplyTimeout("another thread holds the connection")

    def _wait_for_turn(self, timeout: float | None) -> bool:
        self._waiting += 1
        try:
            return self._told.wait_for(self._free, timeout)
        finally:
            self._waiting -= 1

    def _free(self) -> bool:
        return self.holder in (0, threading.get_ident())

    def tell(self) -> None:
        """Answers were handed out, or the connection is closed (with `lock` held)."""
        self.arrivals += 1
        if self._waiting:
            self._told.notify_all()

    def wait(self, timeout: float | None) -> None:
        """Wait to be told, up to `timeout` seconds (with `lock` held)."""
        self._waiting += 1
        try:
            self._told.wait(timeout)
        finally:
            self._waiting -= 1

    def __enter__(self) -> None:
        with self.lock:
            self._wait_for_turn(None)
            self.holder = threading.get_ident()
            self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.lock:
            self._depth -= 1
            if not self._depth:
                self.holder = 0
                self._told.notify_all()
