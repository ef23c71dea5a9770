"""Expressions that explode end in an error, soon, and say why."""

import tracemalloc

import pytest

from cpppod.automata import ExpressionError, LimitExceeded, captures, compile, table
from cpppod.protocols.automata.compiled import ROW_ENTRIES
from cpppod.protocols.automata.expressions import MAXIMUM_DEPTH, MAXIMUM_LENGTH
from cpppod.protocols.automata.tables import MAXIMUM_STATES, TEXT


@pytest.mark.parametrize(
    "expression",
    [
        "(a|b)*a(a|b){30}",
        "(a{1000}b){1000}",
        "(((a{0,100}){0,100}){0,100})",
        "(a?){3000}",
        "(.{0,200}x){5}",
        "a{1000000000}",
        "(a{0,99999}){99999}",
        "x" * (MAXIMUM_LENGTH + 1),
        "(" * (MAXIMUM_DEPTH + 1) + "a" + ")" * (MAXIMUM_DEPTH + 1),
    ],
)
def test_a_pathological_expression_is_refused_in_bounded_work_and_memory(expression: str) -> None:
    tracemalloc.start()
    with pytest.raises(LimitExceeded) as raised:
        table(expression)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 256 * 2**20
    assert len(str(raised.value)) < 200
    assert raised.value.expression == expression


def test_expressions_up_to_the_limits_are_taken() -> None:
    assert len(table("(a|b)*a(a|b){10}").rows) == 2048
    assert len(table(f"a{{{MAXIMUM_STATES - 1}}}").rows) == MAXIMUM_STATES
    with pytest.raises(LimitExceeded, match="states"):
        table(f"a{{{MAXIMUM_STATES}}}")
    assert len(table("(" * MAXIMUM_DEPTH + "a" + ")" * MAXIMUM_DEPTH).rows) == 2
    assert len(table("x" * MAXIMUM_LENGTH).rows) == MAXIMUM_LENGTH + 1


def test_a_row_over_all_of_unicode_remembers_a_bounded_number_of_characters() -> None:
    compiled = compile("(.x?)*", TEXT)
    characters = "".join(chr(0x4E00 + n) for n in range(ROW_ENTRIES + 100))
    assert compiled.accepts(characters)
    assert compiled.run().feed(characters) == len(characters)
    assert len(compiled.first.row) <= ROW_ENTRIES


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("(a", 0),
        ("a)", 1),
        ("[a", 0),
        ("(?=a)", 0),
        ("a\\b", 1),
        ("a\\", 1),
        ("\\u12", 0),
        ("a{2}{3}", 4),
        ("(?P<x>a)(?P<x>b)", 14),
        ("(?P<1>a)", 0),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(expression: str, position: int) -> None:
    with pytest.raises(ExpressionError) as raised:
        table(expression)
    assert raised.value.position == position
    assert f"position {position}" in str(raised.value)


def test_a_repeated_capture_is_refused() -> None:
    with pytest.raises(ExpressionError, match="cannot be repeated"):
        captures("((?P<x>a),)*")
