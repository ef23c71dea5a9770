"""Tables: the smallest deterministic machine of an expression.

    symbol ──► class ──► rows[state][class] ──► next state, or REFUSED

    classes   symbols that no state tells apart are one class: `[0-9]+\\.[0-9]*` has three
    rows      one tuple of next states per state; state 0 is the first
    names     numbers as a breadth-first walk meets the states, the refusing one counted too

Built by subset construction and Hopcroft's minimisation. Every step is counted: an expression
whose machine explodes, such as `(a|b)*a(a|b){30}`, ends in `LimitExceeded` after a bounded time.
The last machines are kept (`CACHED_TABLES`).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cpppod.protocols.automata.errors import LimitExceeded
from cpppod.protocols.automata.expressions import parse
from cpppod.protocols.automata.fragments import LAST_CODE_POINT, Fragments
from cpppod.protocols.automata.minimise import REFUSED, minimised

if TYPE_CHECKING:
    import greenery

MAXIMUM_STATES = 16_384  # before minimisation: 16,384 states of 256 classes are 32 MB of rows
MAXIMUM_WORK = 2_000_000  # positions looked at while states are made: about a second, 100 MB
CACHED_TABLES = 256

TEXT = "text"  # symbols are characters
BYTES = "bytes"  # symbols are bytes, a character is one byte (Latin-1)
UTF8 = "utf-8"  # symbols are bytes, a character is its UTF-8 sequence


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The smallest machine that accepts what the expression describes.

    Attributes:
        symbols: `TEXT`, `BYTES` or `UTF8`.
        starts: code points (bytes) at which a new range of one class begins, ascending from 0.
        classes: the class of each of those ranges.
        rows: per state and class the next state, or REFUSED; state 0 is the first.
        accepting: the states in which what was read so far is a whole sentence.
        names: the number that each state is called by.
    """

    expression: str
    symbols: str
    starts: tuple[int, ...]
    classes: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    accepting: frozenset[int]
    names: tuple[str, ...]

    @property
    def last(self) -> int:
        """The highest symbol, as a number."""
        return LAST_CODE_POINT if self.symbols == TEXT else 255

    def class_of(self, symbol: int) -> int:
        """The class of a symbol's number."""
        return self.classes[bisect_right(self.starts, symbol) - 1]

    def ranges(self, classes: Sequence[int] | frozenset[int]) -> tuple[tuple[int, int], ...]:
        """The symbols of `classes` as ranges of numbers, ascending, neighbours joined."""
        joined: list[tuple[int, int]] = []
        for index, low in enumerate(self.starts):
            if self.classes[index] not in classes:
                continue
            high = self.starts[index + 1] - 1 if index + 1 < len(self.starts) else self.last
            if joined and joined[-1][1] + 1 == low:
                joined[-1] = (joined[-1][0], high)
            else:
                joined.append((low, high))
        return tuple(joined)

    def targets(self, state: int) -> dict[int, tuple[tuple[int, int], ...]]:
        """Where `state` leads: next state -> the symbols that lead there."""
        by_target: dict[int, set[int]] = {}
        for index, target in enumerate(self.rows[state]):
            if target != REFUSED:
                by_target.setdefault(target, set()).add(index)
        return {target: self.ranges(frozenset(held)) for target, held in by_target.items()}


@lru_cache(maxsize=CACHED_TABLES)
def table(expression: str, symbols: str = TEXT) -> Table:
    """The table of a regular expression; the same object for the same expression.

    Raises:
        ExpressionError: not a regular expression.
        LimitExceeded: its machine is beyond our limits.
    """
    return _of_pattern(parse(expression), expression, symbols)


def table_of(machine: "greenery.Pattern | greenery.Fsm", symbols: str = TEXT) -> Table:
    """The table of what greenery has parsed or built already.

    Raises:
        LimitExceeded: its machine is beyond our limits.
    """
    import greenery

    if isinstance(machine, greenery.Pattern):
        return _of_pattern(machine, str(machine), symbols)
    return table(str(greenery.rxelems.from_fsm(machine)), symbols)


def _of_pattern(pattern: "greenery.Pattern", expression: str, symbols: str) -> Table:
    last = LAST_CODE_POINT if symbols == TEXT else 255
    fragments = Fragments(expression, alphabet_size=last + 1, utf8=symbols == UTF8)
    start = fragments.position()
    end = fragments.add(pattern, start)
    starts = _boundaries(fragments)
    rows, accepting = _Subsets(fragments, starts, expression).build(start, end)
    small, accepting = minimised(rows, accepting, len(starts))
    return _numbered(expression, symbols, starts, small, accepting)


def _boundaries(fragments: Fragments) -> tuple[int, ...]:
    """Where the symbols must be cut so that every arrow takes whole pieces."""
    cuts = {0}
    for arrows in fragments.arrows:
        for low, high, _ in arrows:
            cuts.add(low)
            cuts.add(high + 1)
    cuts.discard(fragments.last + 1)
    return tuple(sorted(cuts))


class _Subsets:
    """Deterministic states: the sets of positions that the same input can lead to."""

    def __init__(self, fragments: Fragments, starts: tuple[int, ...], expression: str) -> None:
        self._fragments = fragments
        self._piece = {low: index for index, low in enumerate(starts)}
        self._piece[fragments.last + 1] = len(starts)
        self._width = len(starts)
        self._expression = expression
        self._work = 0
        self._closures: dict[int, frozenset[int]] = {}

    def build(self, start: int, end: int) -> tuple[list[list[int]], set[int]]:
        """Rows by piece of the alphabet (0 is the first state, REFUSED none), and who accepts."""
        first = self._closure(start, end)
        numbers = {first: 0}
        waiting = [first]
        rows: list[list[int]] = []
        for positions in waiting:
            row = [REFUSED] * self._width
            reached: dict[frozenset[int], int] = {}
            for piece, targets in self._moves(positions).items():
                held = frozenset(targets)
                if held not in reached:
                    union = self._union(held, end)
                    if union not in numbers:
                        self._check(len(numbers))
                        numbers[union] = len(numbers)
                        waiting.append(union)
                    reached[held] = numbers[union]
                row[piece] = reached[held]
            rows.append(row)
        return rows, {number for positions, number in numbers.items() if end in positions}

    def _moves(self, positions: frozenset[int]) -> dict[int, set[int]]:
        """Per piece of the alphabet the targets of the arrows that take it."""
        moves: dict[int, set[int]] = {}
        for position in positions:
            for low, high, target in self._fragments.arrows[position]:
                first, beyond = self._piece[low], self._piece[high + 1]
                self._work += beyond - first
                for piece in range(first, beyond):
                    moves.setdefault(piece, set()).add(target)
        self._check(0)
        return moves

    def _union(self, targets: frozenset[int], end: int) -> frozenset[int]:
        held = [self._closure(target, end) for target in targets]
        self._work += sum(map(len, held))
        return held[0] if len(held) == 1 else frozenset().union(*held)

    def _closure(self, position: int, end: int) -> frozenset[int]:
        held = self._closures.get(position)
        if held is None:
            held = self._closures[position] = self._fragments.closure(position, end)
            self._check(0)
        return held

    def _check(self, states: int) -> None:
        if states >= MAXIMUM_STATES:
            raise LimitExceeded(
                f"a machine of more than {MAXIMUM_STATES} states", expression=self._expression
            )
        if self._work + self._fragments.visited > MAXIMUM_WORK:
            raise LimitExceeded(
                "a machine that takes too long to work out", expression=self._expression
            )


def _numbered(
    expression: str,
    symbols: str,
    starts: tuple[int, ...],
    rows: list[list[int]],
    accepting: set[int],
) -> Table:
    """Pieces that behave alike become classes; states are numbered breadth first."""
    columns: dict[tuple[int, ...], int] = {}
    classes = tuple(
        columns.setdefault(tuple(row[piece] for row in rows), len(columns))
        for piece in range(len(starts))
    )
    firsts = [classes.index(number) for number in range(len(columns))]
    order, names = _walk(rows, firsts, classes[-1])
    number = {state: index for index, state in enumerate(order)}
    number[REFUSED] = REFUSED
    kept = [0] + [i for i in range(1, len(starts)) if classes[i] != classes[i - 1]]
    return Table(
        expression=expression,
        symbols=symbols,
        starts=tuple(starts[i] for i in kept),
        classes=tuple(classes[i] for i in kept),
        rows=tuple(tuple(number[rows[state][piece]] for piece in firsts) for state in order),
        accepting=frozenset(number[state] for state in accepting),
        names=names,
    )


def _walk(
    rows: list[list[int]], firsts: list[int], elsewhere: int
) -> tuple[list[int], tuple[str, ...]]:
    """States breadth first, classes by lowest symbol, the one with the highest symbol last."""
    turn = [*(c for c in range(len(firsts)) if c != elsewhere), elsewhere]
    order, met = [0], {0: 0}
    for state in order:
        for index in turn:
            target = rows[state][firsts[index]]
            if target not in met:
                met[target] = len(met)
                if target != REFUSED:
                    order.append(target)
    return order, tuple(str(met[state]) for state in order)
