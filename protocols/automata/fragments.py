"""The non-deterministic machine of an expression: greenery's syntax tree as positions and arrows.

    Charclass   one arrow per range of symbols (for UTF-8: a chain of arrows per range of sequences)
    Conc        one after the other          Pattern   side by side
    Mult        copies, as often as its bounds say; a loop where there is no upper bound

Arrows without a symbol are kept apart (`empty`). The number of positions is limited before it is
spent: `(a{1000}){1000}` is refused on sight.
"""

from typing import TYPE_CHECKING

from cpppod.protocols.automata.errors import LimitExceeded
from cpppod.protocols.automata.utf8 import Sequence, byte_sequences

if TYPE_CHECKING:
    import greenery

MAXIMUM_POSITIONS = (
    60_000  # 16,384 states are the most a table may have; a position is a few dozen bytes
)
LAST_CODE_POINT = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]
Arrow = tuple[int, int, int]  # first symbol, last symbol, target


class Fragments:
    """Positions of a non-deterministic machine.

    Attributes:
        empty: per position, the positions reached without a symbol.
        arrows: per position, the arrows that take one.
        last: the highest symbol, as a number.
        visited: positions looked at by `closure` so far.
    """

    def __init__(self, expression: str, *, alphabet_size: int, utf8: bool) -> None:
        self.empty: list[list[int]] = []
        self.arrows: list[list[Arrow]] = []
        self._expression = expression
        self.last = alphabet_size - 1
        self.visited = 0
        self._utf8 = utf8

    def position(self) -> int:
        """A new position.

        Raises:
            LimitExceeded: the expression needs more than `MAXIMUM_POSITIONS`.
        """
        if len(self.empty) >= MAXIMUM_POSITIONS:
            raise LimitExceeded(
                f"more than {MAXIMUM_POSITIONS} positions", expression=self._expression
            )
        self.empty.append([])
        self.arrows.append([])
        return len(self.empty) - 1

    def add(self, element: object, start: int) -> int:
        """Draw `element` of greenery's tree from `start` on; the position where it ends."""
        concs = getattr(element, "concs", None)
        if concs is None:
            return self._add_class(element, start)
        end = self.position()
        for conc in concs:
            at = start
            for mult in conc.mults:
                at = self._add_repeated(mult, at)
            self.empty[at].append(end)
        return end

    def _add_repeated(self, mult: "greenery.rxelems.Mult", start: int) -> int:
        least, most = mult.multiplier.min.v or 0, mult.multiplier.max.v
        self._check_copies(max(least, most or 0))
        at = start
        for _ in range(least):
            at = self.add(mult.multiplicand, at)
        if most is None:
            entry = self.position()
            self.empty[at].append(entry)
            again = self.add(mult.multiplicand, entry)
            self.empty[again].append(entry)
            return entry
        end = self.position()
        self.empty[at].append(end)
        for _ in range(most - least):
            at = self.add(mult.multiplicand, at)
            self.empty[at].append(end)
        return end

    def _check_copies(self, copies: int) -> None:
        if copies > MAXIMUM_POSITIONS:
            raise LimitExceeded(
                f"a repetition of {copies}, at most {MAXIMUM_POSITIONS} positions are allowed",
                expression=self._expression,
            )

    def _add_class(self, charclass: "greenery.Charclass", start: int) -> int:
        end = self.position()
        ranges = ranges_of(charclass, LAST_CODE_POINT if self._utf8 else self.last)
        if not self._utf8:
            self.arrows[start].extend((low, high, end) for low, high in ranges)
            return end
        ends: dict[Sequence, int] = {(): end}  # sequences that end alike share their positions
        for low, high in ranges:
            for sequence in byte_sequences(low, high):
                for place in range(len(sequence) - 1, 0, -1):
                    self._share(sequence[place:], ends)
                self.arrows[start].append((*sequence[0], ends[sequence[1:]]))
        return end

    def _share(self, tail: Sequence, ends: dict[Sequence, int]) -> None:
        if tail not in ends:
            ends[tail] = self.position()
            self.arrows[ends[tail]].append((*tail[0], ends[tail[1:]]))

    def closure(self, position: int, end: int) -> frozenset[int]:
        """Where an arrow leaves, or `end`, among all that is reached from here without a symbol."""
        seen = {position}
        waiting = [position]
        while waiting:
            for target in self.empty[waiting.pop()]:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        self.visited += len(seen)
        return frozenset(p for p in seen if p == end or self.arrows[p])


def ranges_of(charclass: "greenery.Charclass", last: int = LAST_CODE_POINT) -> Ranges:
    """The class as sorted ranges of code points up to `last`."""
    ranges = sorted(charclass.ord_ranges)
    if charclass.negated:
        gaps, low = [], 0
        for first, final in ranges:
            if first > low:
                gaps.append((low, first - 1))
            low = final + 1
        if low <= LAST_CODE_POINT:
            gaps.append((low, LAST_CODE_POINT))
        ranges = gaps
    return tuple((low, min(high, last)) for low, high in ranges if low <= last)
