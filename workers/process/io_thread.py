"""A worker's one I/O thread: what may block for more than 50 ms runs here, one call after another.

SQLite, fsync, name look-ups, opening a port: never on the loop, whose every turn is a beat. The age
of the call that the thread is in travels with the beats, so that a hung disk is seen for what it
is.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

MAX_WAITING = 1_000  # calls queued: far more than a worker has devices, files and stores

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class IoThreadBusy(Exception):
    """`MAX_WAITING` calls are waiting already: the disk or the resolver hangs."""


class IoThread:
    """Runs blocking calls in order; made on the loop that awaits them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._since_us = 0
        self._thread: threading.Thread | None = None

    def call(
        self,
        function: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> asyncio.Future[_Result]:
        """A future with what `function` returns or raises.

        Raises:
            IoThreadBusy: too many calls are waiting; do without this one, and count it.
        """
        if self._calls.qsize() >= MAX_WAITING:
            raise IoThreadBusy(f"{MAX_WAITING} calls are waiting")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="io", daemon=True)
            self._thread.start()
        future: asyncio.Future[_Result] = self._loop.create_future()

        def work() -> None:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # whatever it is belongs to who awaits the future
                self._settle(future, None, error)
            else:
                self._settle(future, result, None)

        self._calls.put(work)
        return future

    def age_us(self) -> int:
        """How long the thread has been in its present call, in microseconds; 0 for none."""
        since_us = self._since_us
        return time.monotonic_ns() // 1000 - since_us if since_us else 0

    def close(self) -> None:
        """Let the thread end after the calls already queued; does not wait for it."""
        self._calls.put(None)

    def _settle(
        self,
        future: "asyncio.Future[_Result]",
        result: _Result | None,
        error: BaseException | None,
    ) -> None:
        def settle() -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop closed meanwhile: nobody is waiting any more
            pass

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            self._since_us = time.monotonic_ns() // 1000
            work()
            self._since_us = 0
