"""How far a store has each gateway's workers and each stream, kept in it beside its readings.

    chain/<gateway>/<worker>   the last block; the next message must say that it comes behind it
    stream/<name>              the last message: its sequence, its time, when the stream was made

What is missing between two messages of a worker, whatever the reason, is known by this: a stream
that aged or was purged, a store that was restored from an old copy, a collector that was away.
"""

from collections.abc import Mapping

from cpppod.protocols.fleet.records import BEGINNING, Place
from cpppod.workers.journal.batch import ALL, Cursor, Gap

MISSING = "missing in the stream"


def stream_key(stream: str) -> str:
    """Under which name a stream's position is among a store's cursors."""
    return f"stream/{stream}"


class Chains:
    """The places of all workers, as some messages go by.

    Args:
        cursors: as the store has them.

    Attributes:
        changed: cursors that are to be kept with those messages.
    """

    def __init__(self, cursors: Mapping[str, Cursor]) -> None:
        self._cursors = cursors
        self.changed: dict[str, Cursor] = {}

    def follow(self, gateway: str, worker: str, before: Place, place: Place) -> Gap | None:
        """Note a block at `place` that comes behind `before`; what is missing before it."""
        key = f"chain/{gateway}/{worker}"
        found = self.changed.get(key) or self._cursors.get(key)
        last = Place(found.epoch, found.sequence, found.gateway_us) if found else BEGINNING
        gap = None
        if not before.is_at(last):
            if place[:2] <= last[:2]:
                return None  # it comes again
            gap = _gap(gateway, worker, last, place)
        self.changed[key] = Cursor(0, 0, *place)
        return gap


def _gap(gateway: str, worker: str, last: Place, place: Place) -> Gap:
    first = last.sequence + 1
    end = max(place.sequence - 1, first) if place.epoch == last.epoch else first
    until_us = max(place.gateway_us, last.gateway_us)
    times = (last.gateway_us, until_us)
    return Gap(worker, last.epoch, ALL, ALL, first, end, -1, -1, MISSING, *times, gateway)
