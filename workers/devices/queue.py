"""The one queue in front of a wire: writes before polls before retries.

    class      bound per device      rank of a job = its class - 1 for each `AGEING_S` it has waited
    WRITE      64                    lowest rank goes first; then the one that waits longest
    POLL       one a group
    RETRY      one a group           for polls and writes
    PROBE      one

Others' requests (FORWARD) have a window of their own (`relays`), so that polls and writes keep
their slots; where a device takes one request at a time, they have their rank here. Within a class
the devices take turns, so that a chatty unit does not starve its neighbours. Ageing bounds what a
flood of writes can do to a poll, and polls to a retry.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

AGEING_S = 1.0  # a job climbs one class for each such wait: a poll passes fresh writes after 1 s
WRITES_PER_DEVICE = 64  # beyond it the asker hears "busy" at once instead of a late time-out


class Urgency(IntEnum):
    """Classes of jobs, the most urgent first."""

    WRITE = 0
    POLL = 1
    FORWARD = 2
    RETRY = 3
    PROBE = 4


BOUNDS = {Urgency.WRITE: WRITES_PER_DEVICE}


@dataclass(slots=True)
class Job:
    """One thing to do on a wire for one device.

    Attributes:
        device: its name.
        queued_s: when it was put into the queue.
        deadline_s: when nobody waits for it any more (monotonic), infinite for polls.
        work: what the wire is to do: a group's poll, a write.
        dropped: called with the reason when the job leaves the queue without having been done.
    """

    urgency: Urgency
    device: str
    queued_s: float
    work: Any = None
    deadline_s: float = float("inf")
    dropped: Callable[[str], None] | None = None


@dataclass(slots=True)
class _Class:
    turns: OrderedDict[str, deque[Job]] = field(default_factory=OrderedDict)

    def head(self) -> Job | None:
        for jobs in self.turns.values():
            return jobs[0]
        return None

    def take(self) -> Job:
        device, jobs = self.turns.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self.turns[device] = jobs  # at the end: the others have their turn first
        return job


class WireQueue:
    """What waits for one wire, of all its devices."""

    def __init__(self) -> None:
        self._classes = {urgency: _Class() for urgency in Urgency}
        self.refused = 0

    def __len__(self) -> int:
        return sum(self.depth(urgency) for urgency in Urgency)

    def depth(self, urgency: Urgency) -> int:
        """Jobs of that class that wait."""
        return sum(len(jobs) for jobs in self._classes[urgency].turns.values())

    def put(self, job: Job) -> bool:
        """Queue `job`; False if its device has as many of its class waiting as it may have."""
        turns = self._classes[job.urgency].turns
        jobs = turns.get(job.device)
        bound = BOUNDS.get(job.urgency)
        if bound is not None and jobs is not None and len(jobs) >= bound:
            self.refused += 1
            return False
        if jobs is None:
            jobs = turns[job.device] = deque()
        jobs.append(job)
        return True

    def rank(self, urgency: Urgency, waited_s: float) -> float:
        """Where a job stands that has waited so long: the lowest goes first."""
        return urgency - waited_s // AGEING_S

    def first_rank(self, now: float) -> float:
        """The lowest rank of those that wait; infinite for none."""
        heads = ((urgency, jobs.head()) for urgency, jobs in self._classes.items())
        ranks = (self.rank(urgency, now - head.queued_s) for urgency, head in heads if head)
        return min(ranks, default=float("inf"))

    def take(
        self, now: float, *, hold: Collection[Urgency] = (), only: Urgency | None = None
    ) -> Job | None:
        """The job that is to go on the wire now, None if nothing may.

        Classes in `hold` stay where they are; `only` takes that class alone.
        """
        best: tuple[float, float, _Class] | None = None
        for urgency, jobs in self._classes.items():
            if only is not None and urgency != only:
                continue
            if urgency in hold:
                continue
            head = jobs.head()
            if head is None:
                continue
            key = (self.rank(urgency, now - head.queued_s), head.queued_s, jobs)
            if best is None or key[:2] < best[:2]:
                best = key
        return None if best is None else best[2].take()

    def remove(self, device: str, *urgencies: Urgency) -> list[Job]:
        """Take out all jobs of `device` (of those classes, or all)."""
        gone: list[Job] = []
        for urgency in urgencies or tuple(Urgency):
            gone.extend(self._classes[urgency].turns.pop(device, ()))
        return gone

    def expired(self, now: float) -> list[Job]:
        """Take out the writes that nobody waits for any more."""
        gone: list[Job] = []
        for urgency in BOUNDS:
            turns = self._classes[urgency].turns
            for device in list(turns):
                late = [job for job in turns[device] if job.deadline_s <= now]
                if late:
                    gone.extend(late)
                    kept = deque(job for job in turns[device] if job.deadline_s > now)
                    if kept:
                        turns[device] = kept
                    else:
                        del turns[device]
        return gone

    def next_deadline_s(self) -> float:
        """When the first waiting job's deadline passes; infinite without any."""
        return min((job.deadline_s for job in self._jobs()), default=float("inf"))

    def _jobs(self) -> Iterator[Job]:
        for urgency in BOUNDS:
            for jobs in self._classes[urgency].turns.values():
                yield from jobs
