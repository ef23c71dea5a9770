"""When the groups of one device are due: fixed slots on the monotonic clock, phases spread by name.

    slot n of a group = n x period + phase        phase = phase_s, or a fraction of the period that
                                                  the names of device and group choose
      start      first poll, within `START_SPREAD_S`
        │   ┌─ slot          ┌─ slot, still busy: an overrun        ┌─ slot
    ────┴───┴────────────────┴──────────────────────────────────────┴────► monotonic time

The grid does not depend on when the worker started, so a restart keeps the phases apart. A slot
that finds its group still being polled, or went by while nobody looked, is counted and left out:
polls never pile up.
"""

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from cpppod.protocols.model.plant import Group

START_SPREAD_S = 0.5  # the first polls after a start are spread over so long, not over a period


@dataclass(slots=True)
class Slot:
    """One group's place in the schedule.

    Attributes:
        due_s: when it is due next; `slot_s` is when its poll at hand was due.
        busy: a poll of it is queued or on the wire.
        overruns: slots left out so far.
    """

    group: Group
    due_s: float
    phase_s: float
    slot_s: float = 0.0
    busy: bool = False
    overruns: int = 0


class Schedule:
    """The slots of one device's groups; `due` hands out what is to be polled."""

    def __init__(self, device: str, groups: Iterable[Group], *, now: float) -> None:
        self._slots = {group.name: _slot(device, group, now) for group in groups}

    def slot(self, group: str) -> Slot:
        """The slot of the group of that name."""
        return self._slots[group]

    def overruns(self, group: str) -> int:
        """Slots of the group that were left out since the start."""
        return self._slots[group].overruns

    def next_due_s(self) -> float:
        """When the next group is due; infinite without groups."""
        return min((slot.due_s for slot in self._slots.values()), default=math.inf)

    def due(self, now: float) -> list[Slot]:
        """The groups to poll now, longest due first; each is busy until `done`."""
        ready = []
        for slot in self._slots.values():
            if slot.due_s > now:
                continue
            late = slot.due_s
            missed = _advance(slot, now)
            if slot.busy:
                slot.overruns += 1 + missed
                continue
            slot.overruns += missed
            slot.busy, slot.slot_s = True, late
            ready.append(slot)
        ready.sort(key=lambda slot: slot.slot_s)
        return ready

    def done(self, group: str) -> None:
        """The group's poll has ended, well or not."""
        slot = self._slots.get(group)
        if slot is not None:
            slot.busy = False

    def poll_at_once(self, now: float) -> None:
        """Every group is due now: the device is back."""
        for slot in self._slots.values():
            slot.due_s = now

    def skip(self, now: float) -> None:
        """Slots up to now go by without being counted: nobody was to poll."""
        for slot in self._slots.values():
            if slot.due_s <= now:
                _advance(slot, now)


def _slot(device: str, group: Group, now: float) -> Slot:
    fraction = zlib.crc32(f"{device}/{group.name}".encode()) / 2**32
    phase = group.phase_s if group.phase_s is not None else fraction * group.period_s
    first = now + fraction * min(group.period_s, START_SPREAD_S)
    return Slot(group, first, phase)


def _advance(slot: Slot, now: float) -> int:
    """Move to the first slot of the grid after `now`; returns how many slots went by unseen."""
    period = slot.group.period_s
    missed = max(0, math.floor((now - slot.due_s) / period))
    due = (math.floor((now - slot.phase_s) / period) + 1) * period + slot.phase_s
    if due - now < 0.5 * period and due - slot.due_s < 0.5 * period:
        due += period  # after a first poll between the slots: not two close together
    slot.due_s = due
    return missed
