"""The compiled run: a table walked by the interpreter's fastest loop, in pieces as they arrive.

    feed(piece) ──►  row = row[symbol] per symbol, 128 at a time;
                     where a state then leads back to itself, one scan skips the whole run

    went on     every symbol was taken; more may come
    ended       the next symbol cannot be taken (or, not greedy, the sentence is complete)

A row is filled as its symbols occur, so neither a machine over all of Unicode nor one of thousands
of states costs more than the input that it has seen. Meaning, position by position, the same as the
stepwise run's.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from operator import length_hint
from typing import Any

from cpppod.protocols.automata.errors import NonTerminal
from cpppod.protocols.automata.minimise import REFUSED
from cpppod.protocols.automata.pictures import shown_symbols
from cpppod.protocols.automata.tables import TEXT, Table, table

BLOCK = (
    128  # symbols between two looks for a run to skip; a look costs as much as some five symbols
)
ROW_ENTRIES = 4096  # characters a row remembers; beyond it they are looked up each time

Data = bytes | bytearray | memoryview | str


Row = dict[Any, Any]  # symbol -> Row of the next state; a plain dict, the fastest to walk


class State:
    """What is known of a state beside its row."""

    __slots__ = ("accepting", "final", "number", "row", "scan")

    def __init__(self, compiled: "Compiled", number: int) -> None:
        table = compiled.table
        self.number = number
        self.row: Row = {}
        self.accepting = number in table.accepting
        stops = self.accepting and not compiled.greedy
        self.final = stops or all(target == REFUSED for target in table.rows[number])
        self.scan: Callable[[Any, int, int], Any] | None = (
            None if self.final else compiled.scan(number)
        )


class Compiled:
    """A table made ready to run; may be shared by any number of runs.

    Attributes:
        greedy: False ends a run as soon as its sentence is complete.
    """

    def __init__(self, table: Table, *, greedy: bool = True) -> None:
        self.table = table
        self.greedy = greedy
        self.states: dict[int, State] = {}  # by the id of its row
        self._numbered: list[State | None] = [None] * len(table.rows)
        self.first = self.state(0)

    def state(self, number: int) -> State:
        """The state of that number, made when it is first met."""
        state = self._numbered[number]
        if state is None:
            state = self._numbered[number] = State(self, number)
            self.states[id(state.row)] = state
        return state

    def fill(self, row: Row, symbol: Any) -> Row | None:
        """The row that `symbol` leads to from `row`, which does not have it yet; None: refused."""
        state = self.states[id(row)]
        if state.final:
            return None
        table = self.table
        number = ord(symbol) if table.symbols == TEXT else symbol
        target = table.rows[state.number][table.class_of(number)]
        if target == REFUSED:
            return None
        following = self.state(target).row
        if len(row) < ROW_ENTRIES:
            row[symbol] = following
        return following

    def scan(self, state: int) -> Callable[[Any, int, int], Any] | None:
        """What skips the symbols that leave `state` where it is, if there are any."""
        ranges = self.table.targets(state).get(state)
        if not ranges:
            return None
        inside = _inside(ranges, self.table.symbols == TEXT)
        return re.compile(inside + ("*" if isinstance(inside, str) else b"*")).match

    def first_symbols(self) -> "re.Pattern[Any]":
        """What finds the next symbol that a sentence can begin with."""
        ranges = tuple(r for held in self.table.targets(0).values() for r in held)
        return re.compile(_inside(ranges, self.table.symbols == TEXT), re.DOTALL)

    def run(self) -> "Run":
        """A new run, before its first symbol."""
        return Run(self)

    def accepts(self, data: Data) -> bool:
        """Whether `data` as a whole is a sentence."""
        run = Run(self)
        return run.feed(data) == len(data) and run.terminal


class Run:
    """One run over input that comes in pieces.

    Attributes:
        sent: symbols taken so far.
        ended: no further symbol will be taken.
    """

    __slots__ = ("_compiled", "_row", "_text", "ended", "sent")

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._text = compiled.table.symbols == TEXT
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        first = self._compiled.first
        self._row = first.row
        self.sent = 0
        self.ended = first.final

    @property
    def terminal(self) -> bool:
        """Whether what was taken so far is a whole sentence."""
        return self._compiled.states[id(self._row)].accepting

    @property
    def state(self) -> str:
        """The name of the current state."""
        return self._compiled.table.names[self._compiled.states[id(self._row)].number]

    def feed(self, data: Data, start: int = 0, end: int | None = None) -> int:
        """Take symbols of `data` from `start` to `end`; how many were taken.

        All of them, or `ended` is true and the rest is left for the next reader.

        Raises:
            TypeError: text for a machine that reads bytes, or the other way round.
        """
        if isinstance(data, memoryview):
            data, start, end = data[start:end].tobytes(), 0, None
        if isinstance(data, str) is not self._text:
            raise TypeError(f"this machine reads {'str' if self._text else 'bytes'}")
        at, end = start, len(data) if end is None else min(end, len(data))
        if self.ended or at >= end:
            return 0
        row, compiled = self._row, self._compiled
        while at < end:
            beyond = min(at + BLOCK, end)
            symbols = iter(data[at:beyond])
            try:
                for symbol in symbols:
                    row = row[symbol]
            except KeyError:
                at = beyond - length_hint(symbols) - 1
                following = compiled.fill(row, symbol)
                if following is None:
                    self.ended = True
                    break
                row = following
                at += 1
                continue
            at = beyond
            scan = compiled.states[id(row)].scan
            if scan is not None and at < end:
                at = scan(data, at, end).end()
        else:
            self.ended = compiled.states[id(row)].final
        self._row = row
        self.sent += at - start
        return at - start

    def finish(self) -> None:
        """Say that no more input comes.

        Raises:
            NonTerminal: what was taken is no sentence.
        """
        if not self.terminal:
            held = self._compiled.table
            raise NonTerminal(
                f"{held.expression!r} stopped in the non-terminal state {self.state}",
                machine=held.expression,
                state=self.state,
                position=self.sent,
                found="no more of it",
                expected=shown_symbols(held, held.names.index(self.state)),
            )


@lru_cache(maxsize=256)
def compile(expression: str, symbols: str = TEXT, greedy: bool = True) -> Compiled:
    """The regular expression made ready to run; the same object for the same arguments.

    Raises:
        ExpressionError: not a regular expression.
        LimitExceeded: its machine is beyond our limits.
    """
    return Compiled(table(expression, symbols), greedy=greedy)


def _inside(ranges: tuple[tuple[int, int], ...], text: bool) -> Any:
    """The symbols of `ranges` as a class of `re`; one that nothing is in where there are none."""
    if text:
        inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
        return f"[{inside}]" if ranges else "(?!)"
    inside = "".join(f"\\x{low:02x}-\\x{high:02x}" for low, high in ranges)
    return f"[{inside}]".encode("ascii") if ranges else b"(?!)"
