"""Named captures: which part of a sentence each `(?P<name>...)` of its expression stands for.

A sentence is already accepted and complete, so two walks of tables are enough, whatever the
expression:

    elements      E0      E1      E2          of one alternative, some of them captures
    sentence    | s e n | t e n | c e |
    backwards               ◄───────  where may the rest begin? one table of the reversed rest each
    forwards    ───────►              each element ends at the last place that leaves a good rest

So an element takes as much as those after it allow, in the order written (of several alternatives
the first that fits). Time grows with the sentence times the number of elements, never faster. A
capture that took no part is None.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cpppod.protocols.automata.compiled import Compiled
from cpppod.protocols.automata.expressions import Group, Plain, parse, plain, structure
from cpppod.protocols.automata.minimise import REFUSED
from cpppod.protocols.automata.tables import TEXT, UTF8, Table, table, table_of

if TYPE_CHECKING:
    import greenery

Sentence = bytes | str
Spans = dict[str, tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class _Element:
    """A part of an alternative: its machine, and what lies inside if it is a group."""

    machine: Table
    rest: Table  # of the reversed elements after it
    group: "_Node | None" = None


@dataclass(frozen=True, slots=True)
class _Node:
    """A group: its name or "", and per alternative the machine of the whole and the elements."""

    name: str
    alternatives: tuple[tuple[Table, tuple[_Element, ...]], ...]


class _Classified:
    """A sentence as the classes of its symbols, per table that walks it."""

    def __init__(self, sentence: Sentence) -> None:
        self._sentence = sentence
        self._by_table: dict[int, bytes | list[int]] = {}

    def classes(self, table: Table) -> bytes | list[int]:
        """The class of every symbol, as `table` has them."""
        held = self._by_table.get(id(table))
        if held is None:
            sentence = self._sentence
            if isinstance(sentence, str):
                held = [table.class_of(ord(character)) for character in sentence]
            else:
                held = sentence.translate(_classes_of_bytes(table))
            self._by_table[id(table)] = held
        return held


class Captures:
    """The named captures of one expression; may be used by any number of callers.

    Attributes:
        names: of the captures, in the order in which they are written.
        compiled: the machine of the whole expression.
        plain: the expression without the captures' names.
    """

    def __init__(self, expression: str, symbols: str = TEXT) -> None:
        self.expression = expression
        self.symbols = symbols
        self.compiled = Compiled(table(expression, symbols))
        parse(expression)
        self._names: list[str] = []
        self._root = self._node(structure(expression))
        self.names = tuple(self._names)
        self.plain = plain(expression)

    def spans(self, sentence: Sentence) -> Spans:
        """Start and end of every capture in `sentence`; None for one that took no part.

        Raises:
            ValueError: `sentence` is not of this expression's language.
        """
        if not self.compiled.accepts(sentence):
            raise ValueError(f"not a sentence of {self.expression!r}")
        spans: Spans = dict.fromkeys(self.names)
        _locate(self._root, _Classified(sentence), 0, len(sentence), spans)
        return spans

    def texts(self, sentence: Sentence) -> dict[str, Sentence | None]:
        """What every capture took of `sentence`.

        Raises:
            ValueError: `sentence` is not of this expression's language.
        """
        return {
            name: None if span is None else sentence[slice(*span)]
            for name, span in self.spans(sentence).items()
        }

    def _node(self, group: Group) -> _Node:
        if group.name:
            self._names.append(group.name)
        alternatives = tuple(self._alternative(elements) for elements in group.alternatives)
        return _Node(group.name, alternatives)

    def _alternative(
        self, elements: tuple[Plain | Group, ...]
    ) -> tuple[Table, tuple[_Element, ...]]:
        texts = [_text(element) for element in elements]
        parts = []
        for index, element in enumerate(elements):
            rest = parse("".join(texts[index + 1 :]))
            parts.append(
                _Element(
                    machine=table(texts[index], self.symbols),
                    rest=self._reversed(rest),
                    group=self._node(element) if isinstance(element, Group) else None,
                )
            )
        return table("".join(texts), self.symbols), tuple(parts)

    def _reversed(self, rest: "greenery.Pattern") -> Table:
        if self.symbols == UTF8:
            raise ValueError("captures are of text or of single bytes: decode UTF-8 first")
        return table_of(rest.reversed(), self.symbols)


@lru_cache(maxsize=256)
def captures(expression: str, symbols: str = TEXT) -> Captures:
    """The named captures of a regular expression; the same object for the same arguments.

    Raises:
        ExpressionError: not a regular expression, or a capture is repeated.
        LimitExceeded: its machine is beyond our limits.
    """
    return Captures(expression, symbols)


@lru_cache(maxsize=1024)
def _classes_of_bytes(table: Table) -> bytes:
    return bytes(table.class_of(byte) for byte in range(256))


def _text(element: Plain | Group) -> str:
    if isinstance(element, Plain):
        return element.text
    inside = "|".join("".join(_text(e) for e in held) for held in element.alternatives)
    return f"({inside}){'?' if element.optional else ''}"


def _locate(node: _Node, symbols: _Classified, start: int, end: int, spans: Spans) -> None:
    fitting = (e for m, e in node.alternatives if _accepts(m, symbols, start, end))
    elements = next(fitting, None)
    if elements is None:  # an optional group that was left out
        return
    if node.name:
        spans[node.name] = (start, end)
    at = start
    for element in elements:
        last = _last_end(element, symbols, at, end)
        if element.group is not None:
            _locate(element.group, symbols, at, last, spans)
        at = last


def _last_end(element: _Element, symbols: _Classified, start: int, end: int) -> int:
    """The last place at which `element` may end so that the rest still fits."""
    fits = _beginnings(element.rest, symbols, start, end)
    best, state = start, 0
    machine = element.machine
    classes = symbols.classes(machine)
    for at in range(start, end + 1):
        if state in machine.accepting and fits[at - start]:
            best = at
        if at == end:
            break
        state = machine.rows[state][classes[at]]
        if state == REFUSED:
            break
    return best


def _beginnings(rest: Table, symbols: _Classified, start: int, end: int) -> list[bool]:
    """For every place from `start` to `end`: may the rest begin here and reach the end?"""
    fits = [False] * (end - start + 1)
    classes = symbols.classes(rest)
    state = 0
    for at in range(end, start - 1, -1):
        fits[at - start] = state in rest.accepting
        if at == start:
            break
        state = rest.rows[state][classes[at - 1]]
        if state == REFUSED:
            break
    return fits


def _accepts(machine: Table, symbols: _Classified, start: int, end: int) -> bool:
    state, classes = 0, symbols.classes(machine)
    for at in range(start, end):
        state = machine.rows[state][classes[at]]
        if state == REFUSED:
            return False
    return state in machine.accepting
