"""An outlet's own reading of the journals: batch after batch, each kept when it was delivered.

    read() ─► Batch ─► deliver it ─► done(batch)        the position moves, and is kept
                          └─ trouble ─► back()          the same again

What was delivered and not yet kept, is delivered again after a restart.
"""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.batch import Batch, Cursor, Gap, Reading
from cpppod.workers.journal.files import START, lives_of, segments
from cpppod.workers.journal.following import Journals, Passed
from cpppod.workers.state import StateDirectory

KEEP_S = 1.0  # between two times that positions are written down
SAMPLES = 20_000  # in a batch


class JournalSource:
    """The journals as one outlet's worker reads them; its methods block.

    Args:
        hold_s: for so long what was delivered stays in the journals.

    Attributes:
        groups: (device, group) that it is for; others are read over.
        lost_samples: in gaps, of those groups or of nobody knows which; cumulative.
        delivered_us: gateway time of the last reading that was delivered.
    """

    def __init__(
        self,
        worker: Worker,
        state: StateDirectory,
        groups: frozenset[tuple[str, str]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        samples: int = SAMPLES,
        hold_s: float = 0.0,
    ) -> None:
        readers = worker.options.get("readers", (worker.name,))
        self.groups = groups
        self.lost_samples = 0
        self.delivered_us = 0
        self._passed = Passed(state, worker.name, readers)
        self._cursors, self._held = self._passed.read()
        self._hold_s = hold_s
        self._delivered: deque[tuple[float, dict[str, int]]] = deque()
        self._samples = samples
        self._monotonic = monotonic
        self._kept_at = 0.0
        self._unkept: set[str] = set()
        self.journals = Journals(state.root / "journal", self._position, gateway=worker.gateway)

    def _position(self, folder: Path) -> Cursor:
        return self._cursors.get(folder.name, START)

    @property
    def behind_bytes(self) -> int:
        """Of journals, not yet delivered; as of the last `read`."""
        return self.journals.behind_bytes

    def read(self) -> Batch:
        """What comes next; nothing where there is nothing new."""
        now = self._monotonic()
        self.journals.look(now)
        self.journals.measure(now, self._cursors)
        batch = Batch()
        self.journals.fill(batch, self._samples)
        batch.readings = [each for each in batch.readings if self._is_ours(each)]
        batch.gaps = [each for each in batch.gaps if not each.group or self._is_ours(each)]
        return batch

    def _is_ours(self, item: Reading | Gap) -> bool:
        return (item.device, item.group) in self.groups

    def done(self, batch: Batch) -> None:
        """The batch was delivered: never again from here."""
        self._cursors.update(batch.cursors)
        self._unkept.update(batch.cursors)
        self.lost_samples += sum(max(gap.samples, 0) for gap in batch.gaps)
        if batch.readings:
            self.delivered_us = batch.readings[-1].gateway_us
        now = self._monotonic()
        if (self._unkept or self._delivered) and now - self._kept_at >= KEEP_S:
            self._kept_at = now
            self.keep()

    def keep(self) -> None:
        """Write the positions down, and let go of what every reader has passed, and long enough."""
        now = self._monotonic()
        firsts = {name: self._cursors[name].segment for name in self._unkept}
        self._delivered.append((now, firsts))
        free: dict[str, int] = {}
        while self._delivered and now - self._delivered[0][0] >= self._hold_s:
            free |= self._delivered.popleft()[1]
        self._held |= free
        held = {name: self._held.get(name, START.segment) for name in self._cursors}
        if self._passed.keep(self._cursors, held):
            self._unkept.clear()
            self._passed.prune(free)

    def resume(self, publisher: str, epoch: int, sequence: int, gateway_us: int) -> int:
        """Deliver behind the block where the other side says that it is; 0 and 0: from the start.

        Where that is ahead in the life that is being written, reading goes on: whoever delivers
        leaves out what is there. Else it begins at the beginning of what is held, and what cannot
        be had is a gap.

        Returns: the life that is being written, where none of the journal is that block's; else 0.
        """
        folder = self.journals.root / publisher
        lives = lives_of(folder)
        old = self._cursors.get(publisher, START)
        last = lives[-1] if lives else 0
        if (old.epoch, last) == (epoch, epoch) and old.sequence <= sequence:
            return 0
        self._cursors[publisher] = START
        if lives and (epoch or next(iter(segments(folder))) > 1):
            self._cursors[publisher] = START._replace(
                epoch=epoch, sequence=sequence, gateway_us=max(gateway_us, 1)
            )
        self.journals.back()
        return 0 if epoch in lives else last

    def position(self, publisher: str) -> Cursor:
        """How far that publisher's journal is delivered."""
        return self._cursors.get(publisher, START)

    def back(self) -> None:
        """Read again from what was delivered last."""
        self.journals.back()

    def close(self) -> None:
        """Keep the positions, and let go of the files."""
        self.journals.close()
        if self._unkept:
            self.keep()
