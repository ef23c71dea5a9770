"""From what a driver read to what is published.

    driver ── raw samples ──► scale ──► deadband ──► the changed members of a block

A `GroupImage` remembers what was last published of one group, so that a member that moved less than
its deadband is left out of the block, which says that it was confirmed unchanged.
"""

from collections.abc import Callable, Collection
from typing import Any

from cpppod.protocols.model.plant import Group, Tag
from cpppod.protocols.model.values import (
    INTEGER_RANGES,
    NUMBERS,
    REAL_TYPES,
    STRING_TYPES,
    Quality,
    is_bad,
    judged,
)
from cpppod.workers.devices.driver import Sample


def scaler(tag: Tag) -> Callable[[Any], Any] | None:
    """The function from a raw value to the tag's unit; None where they are the same.

    It raises `OverflowError` where the result does not fit the type that clients see.
    """
    scaled = tag.scale != 1.0 or tag.offset != 0.0
    limits = INTEGER_RANGES.get(tag.cip_type)
    if tag.bit is not None or tag.type in STRING_TYPES or tag.type not in NUMBERS:
        return None
    if not scaled and tag.cip_type == tag.type:
        return None

    def scale(raw: Any) -> Any:
        value = raw * tag.scale + tag.offset if scaled else raw
        if limits is None:
            return bool(value) if tag.cip_type == "BOOL" else float(value)
        value = round(value)
        if not limits[0] <= value <= limits[1]:
            raise OverflowError(f"{value} does not fit {tag.cip_type}")
        return value

    if tag.length == 1:
        return scale
    return lambda raws: [scale(raw) for raw in raws]


class GroupImage:
    """What was last published of one group.

    Attributes:
        read_us: source, gateway and monotonic time (µs) of its last whole read, None before it.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.last: dict[str, Sample] = {
            tag.name: (None, int(Quality.NOT_YET_KNOWN)) for tag in group.tags
        }
        self.read_us: tuple[int, int, int] | None = None
        self._scalers = {tag.name: scaler(tag) for tag in group.tags}
        self._floats = {tag.name for tag in group.tags if {tag.type, tag.cip_type} & REAL_TYPES}
        self._deadbands = {
            tag.name: tag.deadband for tag in group.tags if tag.deadband > 0 and tag.type in NUMBERS
        }

    def accept(
        self,
        raw: dict[str, Sample],
        *,
        whole: bool = True,
        keep: Collection[str] = (),
        publish: Collection[str] = (),
    ) -> dict[str, Sample]:
        """Take what was read; returns the members to publish, in the tags' unit.

        A member that `raw` leaves out is BAD where the read was `whole`, else as it was. Those in
        `keep` stay as they are; those in `publish` are news however little they moved.
        """
        changed: dict[str, Sample] = {}
        for name, last in self.last.items():
            if name in keep:
                continue
            sample = raw.get(name)
            if sample is None:
                if not whole:
                    continue
                sample = (None, int(Quality.BAD))
            sample = self._scale(name, sample)
            if name not in publish and not self._moved(name, last, sample):
                continue
            changed[name] = self.last[name] = sample
        return changed

    def accept_all(self, quality: int) -> dict[str, Sample]:
        """Every member has this quality and no value; returns those that had another."""
        quality = int(quality)
        changed = {name: (None, quality) for name, last in self.last.items() if last[1] != quality}
        self.last.update(changed)
        return changed

    def doubt(self, names: list[str]) -> dict[str, Sample]:
        """Those members keep their value but are uncertain: a write's outcome is unknown."""
        changed: dict[str, Sample] = {}
        for name in names:
            value, quality = self.last[name]
            if not is_bad(quality):
                changed[name] = self.last[name] = (value, int(Quality.UNCERTAIN))
        return changed

    def worst(self) -> int:
        """The quality that most says why something is wrong: the highest one."""
        qualities = (quality for _, quality in self.last.values())
        return max(qualities, default=0, key=lambda quality: quality & 0xFF)

    def _scale(self, name: str, sample: Sample) -> Sample:
        scale = self._scalers[name]
        value, quality = sample
        if value is None or name in self._floats:
            value, quality = judged(value, quality)
        if scale is None or value is None:
            return value, quality
        try:
            value = scale(value)
        except (OverflowError, ValueError):
            return None, int(Quality.OUT_OF_RANGE)
        return judged(value, quality) if name in self._floats else (value, quality)

    def _moved(self, name: str, last: Sample, sample: Sample) -> bool:
        if last[1] != sample[1]:
            return True
        was, value = last[0], sample[0]
        if was == value:
            return False
        deadband = self._deadbands.get(name)
        if deadband is None:
            return True
        if isinstance(value, list):
            return len(was) != len(value) or any(
                not abs(new - old) <= deadband for new, old in zip(value, was, strict=True)
            )
        return not abs(value - was) <= deadband
