"""A worker's blocks on their way to the feed: numbered at once, journalled first where historised.

    Block ─► Publisher (number) ─┬──────────────────────────────► feed
                                 └─ journal (at most 50 ms) ────► feed

Blocks leave in the order of their numbers, so one that waits for its journal holds back those after
it; a worker without historised groups never waits.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from cpppod.protocols.bus.feed import mark_unjournalled
from cpppod.protocols.bus.publisher import Publisher
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.devices.device import Block

QUEUE_LIMIT = 10_000  # blocks behind a slow journal: beyond it they leave unjournalled

log = logging.getLogger("cpppod")


class BlockJournal(Protocol):
    """What the outlet needs of a journal."""

    async def append(self, topic: bytes, payload: bytes, *, sequence: int, samples: int) -> bool:
        """Whether the block is on its way to the disk for certain."""

    def refuse(self, topic: bytes, *, sequence: int, samples: int) -> None:
        """Declare a block that will not be appended."""


class BlockPublisher:
    """Publishes blocks in order.

    Attributes:
        unjournalled: historised blocks that left without being known to be in the journal.
        refused: blocks that could not be encoded: a value beyond what messages carry.
    """

    def __init__(
        self,
        publisher: Publisher,
        send: Callable[[bytes, bytes], bool],
        *,
        journal: BlockJournal | None = None,
        historised: Callable[[str, str], bool] = lambda device, group: False,
    ) -> None:
        self._publisher = publisher
        self._send = send
        self._journal = journal
        self._historised = historised
        self._waiting: deque[tuple[bytes, bytes, int, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.unjournalled = 0
        self.refused = 0

    def publish(self, block: Block) -> tuple[bytes, bytes]:
        """Number the block and send it; its topic and payload, b"" where it cannot be said."""
        try:
            topic, payload = self._publisher.block(
                block.device,
                block.group,
                block.count,
                block.samples,
                source_us=block.source_us,
                gateway_us=block.gateway_us,
                mono_us=block.mono_us,
            )
        except EncodeError as error:
            self.refused += 1
            log.error("block refused device=%s group=%s error=%s", block.device, block.group, error)
            return b"", b""
        kept = self._journal is not None and self._historised(block.device, block.group)
        if not kept and not self._waiting:
            self._send(topic, payload)
            return topic, payload
        count = len(block.samples) if kept else -1
        if len(self._waiting) >= QUEUE_LIMIT and self._journal is not None and kept:
            count = -1
            self.unjournalled += 1
            sequence, samples = self._publisher.sequence, len(block.samples)
            self._journal.refuse(topic, sequence=sequence, samples=samples)
            payload = mark_unjournalled(payload, self._publisher.gateway)
        self._waiting.append((topic, payload, self._publisher.sequence, count))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())
        return topic, payload

    async def flush(self) -> None:
        """Return when everything has left."""
        if self._task is not None:
            await self._task

    async def _drain(self) -> None:
        try:
            while self._waiting:
                topic, payload, sequence, samples = self._waiting[0]
                if samples >= 0 and self._journal is not None:
                    kept = await self._journal.append(
                        topic, payload, sequence=sequence, samples=samples
                    )
                    if not kept:
                        self.unjournalled += 1
                        payload = mark_unjournalled(payload, self._publisher.gateway)
                self._waiting.popleft()
                self._send(topic, payload)
        finally:
            self._task = None
