"""What both kinds of session share: their two halves, their counters."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

LOOK_S = 0.1  # between looks at journals that had nothing new


@dataclass(slots=True)
class SessionCounters:
    """What happened, cumulative over the worker's life.

    Attributes:
        sent: messages that the broker acknowledged.
        refused: readings that could not be said, and commands that were refused.
        dropped_by_broker: as it tells, -1 where it does not.
    """

    sent: int = 0
    refused: int = 0
    dropped_by_broker: int = -1


COUNTERS = SessionCounters()  # of this process: a worker has one outlet


async def both(*halves: Coroutine[Any, Any, None]) -> None:
    """Run the halves of a session until one of them ends; what it raises is raised."""
    tasks = [asyncio.ensure_future(half) for half in halves]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
