"""Machines for people: Graphviz text, a table of transitions, symbols in words.

A table becomes nodes named as in the stepwise run, accepting ones with two rings, and an arrow per
pair of states with all the symbols that lead there: `'0'-'9', '.'`. The refusals are left out.
"""

from collections.abc import Iterator

from cpppod.protocols.automata.minimise import REFUSED
from cpppod.protocols.automata.tables import TEXT, Table

SHOWN_RANGES = 8  # of one arrow or error; more is not read by anybody


def dot(table: Table, *, title: str = "") -> str:
    """The machine as Graphviz text."""
    text = table.symbols == TEXT
    lines = [
        "digraph machine {",
        "    rankdir=LR;",
        f"    label={_quoted(title or table.expression)};",
        "    node [shape=circle];",
        "    start [shape=point];",
        "    start -> s0;",
    ]
    for index, name in enumerate(table.names):
        shape = ", shape=doublecircle" if index in table.accepting else ""
        lines.append(f"    s{index} [label={_quoted(name)}{shape}];")
    for index in range(len(table.rows)):
        for target, ranges in table.targets(index).items():
            label = _quoted(shown_ranges(ranges, text))
            lines.append(f"    s{index} -> s{target} [label={label}];")
    return "\n".join([*lines, "}"]) + "\n"


def transitions(table: Table) -> Iterator[tuple[str, str, str]]:
    """(state, symbols in words, next state) of every arrow; accepting states are `(3)`."""
    for index in range(len(table.rows)):
        for target, ranges in table.targets(index).items():
            symbols = shown_ranges(ranges, table.symbols == TEXT)
            yield shown_state(table, index), symbols, shown_state(table, target)


def shown_state(table: Table, state: int) -> str:
    """The name of a state, in parentheses where it accepts."""
    return f"({table.names[state]})" if state in table.accepting else table.names[state]


def shown_symbols(table: Table, state: int) -> str:
    """The symbols that `state` goes on with, in words."""
    classes = frozenset(i for i, target in enumerate(table.rows[state]) if target != REFUSED)
    return shown_ranges(table.ranges(classes), table.symbols == TEXT)


def shown_ranges(
    ranges: tuple[tuple[int, int], ...], text: bool = True, most: int = SHOWN_RANGES
) -> str:
    """Ranges of symbols in words: `'0'-'9', '.'`; bytes that are no ASCII text as `0x80-0xff`."""
    words = []
    for low, high in ranges[:most]:
        first = _shown(low, text)
        words.append(first if low == high else f"{first}-{_shown(high, text)}")
    return ", ".join(words) + (", ..." if len(ranges) > most else "")


def _shown(symbol: int, text: bool) -> str:
    return repr(chr(symbol)) if text or 0x20 <= symbol < 0x7F else f"0x{symbol:02x}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
