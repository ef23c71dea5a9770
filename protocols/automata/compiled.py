"""The compiled run: a table walked by the interpreter's fastest loop, in pieces as they arrive.

    feed(piece) ──►  row = row[symbol] per symbol, 128 at a time;
                     where a state leads back to itself, one scan skips the whole run

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
from cpppod.protocols.automata.pictures import shown_symbols
from cpppod.protocols.automata.tables import REFUSED, TEXT, Table, table

BLOCK = (
    128  # symbols between two looks for a run to skip; a look costs as much as some five symbols
)
ROW_ENTRIES = 4096  # characters a row remembers; beyond it they are looked up each time

Data = bytes | bytearray | memoryview | str


class Row(dict[Any, "Row"]):
    """One state: symbol -> next row, filled on demand; a symbol that is refused is a KeyError."""

    __slots__ = ("accepting", "compiled", "final", "scan", "state")

    def __init__(self, compiled: "Compiled", state: int) -> None:
        super().__init__()
        self.compiled = compiled
        self.state = state
        self.accepting = state in compiled.table.accepting
        stops = self.accepting and not compiled.greedy
        self.final = stops or all(t == REFUSED for t in compiled.table.rows[state])
        self.scan: Callable[[Any, int, int], Any] | None = (
            None if self.final else compiled.scan(state)
        )

    def __missing__(self, symbol: Any) -> "Row":
        if self.final:
            raise KeyError(symbol)
        held = self.compiled.table
        number = ord(symbol) if held.symbols == TEXT else symbol
        target = held.rows[self.state][held.class_of(number)]
        if target == REFUSED:
            raise KeyError(symbol)
        row = self.compiled.row(target)
        if len(self) < ROW_ENTRIES:
            self[symbol] = row
        return row


class Compiled:
    """A table made ready to run; may be shared by any number of runs.

    Attributes:
        greedy: False ends a run as soon as its sentence is complete.
    """

    def __init__(self, table: Table, *, greedy: bool = True) -> None:
        self.table = table
        self.greedy = greedy
        self._rows: list[Row | None] = [None] * len(table.rows)

    def row(self, state: int) -> Row:
        """The row of a state, made when it is first met."""
        row = self._rows[state]
        if row is None:
            row = self._rows[state] = Row(self, state)
        return row

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
        self._row = self._compiled.row(0)
        self.sent = 0
        self.ended = self._row.final

    @property
    def terminal(self) -> bool:
        """Whether what was taken so far is a whole sentence."""
        return self._row.accepting

    @property
    def state(self) -> str:
        """The name of the current state."""
        return self._compiled.table.names[self._row.state]

    def feed(self, data: Data, start: int = 0, end: int | None = None) -> int:
        """Take symbols of `data` from `start` to `end`; how many were taken.

        All of them, or `ended` is true and the rest is for whoever comes next.
        """
        if isinstance(data, memoryview):
            data, start, end = data[start:end].tobytes(), 0, None
        if isinstance(data, str) is not self._text:
            raise TypeError(f"this machine reads {'str' if self._text else 'bytes'}")
        at, end = start, len(data) if end is None else min(end, len(data))
        if self.ended or at >= end:
            return 0
        row = self._row
        try:
            while at < end:
                symbols = iter(data[at : min(at + BLOCK, end)])
                for symbol in symbols:
                    row = row[symbol]
                at += BLOCK
                if row.scan is not None and at < end:
                    at = row.scan(data, at, end).end()
            at = end
            self.ended = row.final
        except KeyError:
            at = min(at + BLOCK, end) - length_hint(symbols) - 1
            self.ended = True
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
                expected=shown_symbols(held, self._row.state),
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
