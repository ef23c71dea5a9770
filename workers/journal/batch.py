"""What comes out of the journals: readings, gaps, what was set aside, and how far that is.

A reading is one block. Its key is (gateway, publisher, epoch, sequence), a sample's its place in
the block besides, so that what comes twice is known.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

ALL = ""  # group of a gap that concerns all groups of a device, or with device "" all devices


class Reading(NamedTuple):
    """One block: the members of a group that changed when it was read at `source_us`."""

    publisher: str
    epoch: int
    sequence: int
    device: str
    group: str
    source_us: int
    gateway_us: int
    mono_us: int
    members: int
    tags: list[str]
    values: list[Any]
    qualities: int | list[int]
    gateway: str = ""

    def quality(self, index: int) -> int:
        """Of the sample at `index`."""
        return self.qualities if isinstance(self.qualities, int) else self.qualities[index]


class Gap(NamedTuple):
    """Readings that were made or published and will not come.

    Attributes:
        device, group: `ALL` where not known, or several.
        first, last: their sequences; 0 and 0 where not known.
        blocks, samples: how many at least; -1 where not known.
        from_us, to_us: the time that they are of.
    """

    publisher: str
    epoch: int
    device: str
    group: str
    first: int
    last: int
    blocks: int
    samples: int
    reason: str
    from_us: int
    to_us: int
    gateway: str = ""


class Cursor(NamedTuple):
    """How far a publisher's journal is done with: all before `offset` of `segment`.

    Attributes:
        epoch, sequence: of the last reading that is.
        gateway_us: when that was.
        segment_epoch, created_us: of that segment's head: another one of its number is not what
            this is a position in. 0 where not known, as in stores of schema 1.
    """

    segment: int
    offset: int
    epoch: int
    sequence: int
    gateway_us: int
    segment_epoch: int = 0
    created_us: int = 0


class Quarantined(NamedTuple):
    """A record that nobody can take, kept as it was found."""

    publisher: str
    epoch: int
    sequence: int
    reason: str
    topic: bytes
    body: bytes
    gateway: str = ""


@dataclass(slots=True)
class Batch:
    """What is taken together: stored, or delivered."""

    readings: list[Reading] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    cursors: dict[str, Cursor] = field(default_factory=dict)

    def samples(self) -> int:
        """How many samples the readings hold."""
        return sum(len(reading.tags) for reading in self.readings)
