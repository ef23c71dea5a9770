"""What came of each tag of a source: taken, under which name, or left out, and why.

    tags of the source = taken + left out

A tag that is a structure is taken as several; a part of it that is not, is a remark.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one tag of the source.

    Attributes:
        names: the tags it became, as `device.tag`; () where it is left out.
        said: why it is left out; or what is otherwise than in the source, "" for nothing.
    """

    source: str
    names: tuple[str, ...]
    said: str = ""


@dataclass(slots=True)
class Report:
    """Of a whole source; `remarks` concern no single tag."""

    outcomes: list[Outcome] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def take(self, source: str, names: tuple[str, ...], *said: str) -> None:
        """A tag of the source came over."""
        self.outcomes.append(Outcome(source, names, "; ".join(filter(None, said))))

    def leave_out(self, source: str, why: str) -> None:
        """A tag of the source did not."""
        self.outcomes.append(Outcome(source, (), why))

    @property
    def taken(self) -> list[Outcome]:
        """Those that came over."""
        return [each for each in self.outcomes if each.names]

    @property
    def left_out(self) -> list[Outcome]:
        """Those that did not."""
        return [each for each in self.outcomes if not each.names]

    def lines(self) -> Iterator[str]:
        """For people: what is left out or otherwise, then the counts."""
        yield from self.remarks
        for each in self.outcomes:
            if not each.names:
                yield f"left out: {each.source}: {each.said}"
            elif each.said:
                yield f"note: {each.source}: {each.said}"
        made = sum(len(each.names) for each in self.taken)
        yield (
            f"{len(self.outcomes)} tags in the source: {len(self.taken)} taken as {made} tags, "
            f"{len(self.left_out)} left out"
        )

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {
            "source_tags": len(self.outcomes),
            "taken": len(self.taken),
            "tags": sum(len(each.names) for each in self.taken),
            "left_out": [{"source": each.source, "reason": each.said} for each in self.left_out],
            "notes": [{"source": e.source, "note": e.said} for e in self.taken if e.said],
            "remarks": list(self.remarks),
        }
