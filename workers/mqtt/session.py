"""What both kinds of session do: read on, deliver, keep the position; count."""

import asyncio
import logging
import time
from dataclasses import dataclass

from cpppod.workers.historian.stores.store import Batch
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.process.io_thread import IoThread

logger = logging.getLogger("cpppod.mqtt")

LOOK_S = 0.1  # between looks at journals that had nothing new
DROPPED = "$SYS/broker/publish/messages/dropped"  # where a broker tells what it dropped


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


async def next_batch(io: IoThread, source: JournalSource) -> Batch:
    """The next batch that has anything; waits for it."""
    while True:
        batch: Batch = await io.call(source.read)
        if batch.readings or batch.gaps or batch.cursors:
            return batch
        await asyncio.sleep(LOOK_S)


async def delivered(io: IoThread, source: JournalSource, batch: Batch) -> None:
    """The batch is delivered: keep the position, if that can be."""
    try:
        await io.call(source.done, batch)
    except OSError as error:
        logger.warning("positions not kept error=%s", error)


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
