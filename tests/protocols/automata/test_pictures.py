"""Machines for people: Graphviz text and symbols in words."""

from cpppod.automata import BYTES
from cpppod.protocols.automata.pictures import dot, shown_ranges, shown_symbols, transitions
from cpppod.protocols.automata.tables import table


def test_machine_is_drawn_with_two_rings_where_it_accepts() -> None:
    assert dot(table("[0-9]+")).splitlines() == [
        "digraph machine {",
        "    rankdir=LR;",
        '    label="[0-9]+";',
        "    node [shape=circle];",
        "    start [shape=point];",
        "    start -> s0;",
        '    s0 [label="0"];',
        '    s1 [label="1", shape=doublecircle];',
        """    s0 -> s1 [label="'0'-'9'"];""",
        """    s1 -> s1 [label="'0'-'9'"];""",
        "}",
    ]


def test_title_and_symbols_are_quoted_as_graphviz_wants_them() -> None:
    lines = dot(table('"'), title='say "a\\b"\nso').splitlines()
    assert lines[2] == r"""    label="say \"a\\b\"\nso";"""
    assert r"""    s0 -> s1 [label="'\"'"];""" in lines


def test_arrows_are_told_in_words_and_bytes_by_number() -> None:
    assert list(transitions(table("a|b"))) == [("0", "'a'-'b'", "(1)")]
    assert shown_symbols(table(r"\x80", BYTES), 0) == "0x80"
    assert shown_symbols(table(r"a", BYTES), 0) == "'a'"


def test_only_the_first_ranges_of_many_are_shown() -> None:
    ranges = tuple((0x41 + 2 * place, 0x41 + 2 * place) for place in range(9))
    assert shown_ranges(ranges).endswith("'O', ...")
    assert shown_ranges(ranges[:8]).endswith("'O'")
