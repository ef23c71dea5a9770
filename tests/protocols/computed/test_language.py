"""The language of computed tags: what it has, what it refuses, what it is worth."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.computed.language import DEEPEST, LONGEST, Expression, ExpressionError, parse
from cpppod.protocols.computed.windows import NotYet

ANY = [True] * 9


def worth(text: str, *values: Any, now: float = 0.0) -> Any:
    expression = parse(text)
    return expression.compute(list(values), ANY, expression.windows, now)


VALUES = [
    ("a.b * 2 - c", (4, 3), 5),
    ("a.b + a.b", (4,), 8),
    ("a.z[3]", (7,), 7),
    ("7 // a", (2,), 3),
    ("-7 % a", (3,), 2),
    ("a & 6 | 1", (12,), 5),
    ("a ^ 1", (3,), 2),
    ("~a", (0,), -1),
    ("a << 4", (3,), 48),
    ("1 << 63 << a", (1,), 0),
    ("a >> 1", (9,), 4),
    ("1 < a <= 3", (3,), True),
    ("not a and true or False", (1,), False),
    ("'high' if a > 5 else 'low'", (6,), "high"),
    ("a == 'on'", ("on",), True),
    ("min(a, 3, 2) + max(a, 3)", (1,), 4),
    ("round(a, 1) + round(2.5)", (1.26,), 3.3),
    ("floor(a) + ceil(a) + abs(-a)", (1.5,), 4.5),
    ("sqrt(a) + pow(a, 2)", (4,), 18.0),
    ("exp(0) + log(a) + log10(100)", (1,), 3.0),
    ("sin(a) + cos(a) + tan(a)", (0,), 1.0),
    ("clamp(a, 0, 10)", (11,), 10),
    ("bit(a, 3)", (8,), True),
    ("good(a)", (1,), True),
    ("default(a, 5)", (1,), 1),
]


@pytest.mark.parametrize(("text", "values", "result"), VALUES)
def test_an_expression_is_worth_what_it_says(text: str, values: Any, result: Any) -> None:
    assert worth(text, *values) == result


REFUSED = [
    "",
    "a b",
    "a.b.c",
    "a[b]",
    "a[-1]",
    "a[1:2]",
    "a[True]",
    "f(a)",
    "a.b(1)",
    "abs(x=1)",
    "abs(*a)",
    "abs()",
    "min(a)",
    "round(a, 1, 2)",
    "a ** 2",
    "a @ b",
    "a in b",
    "a is b",
    "[a]",
    "(a, b)",
    "{}",
    "{a}",
    "f'{a}'",
    "b'x'",
    "1j",
    "None",
    "...",
    "lambda: a",
    "[x for x in a]",
    "a := 1",
    "await a",
    "yield",
    "'x' * 9",
    "99999999999999999999999",
    "mean(a)",
    "mean(a, b)",
    "mean(a, 0)",
    "rate(a, true)",
    "hold(a, 1e9)",
    "hold(1, 2)",
    "good(1)",
    "default(a + 1, 2)",
    "__import__('os')",
    "a.__class__.b",
    "a" * (LONGEST + 1),
    "+".join("a" for _ in range(DEEPEST + 2)),
    "(" * 300 + "a" + ")" * 300,
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_of_the_language_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_a_refusal_says_where() -> None:
    with pytest.raises(ExpressionError, match=r"Pow is not of the language \(column 5\)"):
        parse("1 + a ** 2")


def test_inputs_are_told_once_and_those_that_may_be_bad_apart() -> None:
    expression = parse("a.b + good(c) + default(d.e, a.b) + hold(f, 5)")
    assert [str(each) for each in expression.inputs] == ["a.b", "c", "d.e", "f"]
    assert expression.strict == (0,)


def test_what_text_and_lists_would_do_is_no_arithmetic() -> None:
    for values in (("x", 9), ([1], 2)):
        with pytest.raises(TypeError):
            worth("a * b", *values)


# The functions that remember


def over_time(text: str, samples: Sequence[tuple[float, Any]]) -> list[Any]:
    expression = parse(text)
    found = []
    for now, value in samples:
        good = value is not None
        if not good:
            for window in expression.windows:
                window.gap()
        try:
            found.append(expression.compute([value], [good], expression.windows, now))
        except NotYet:
            found.append(None)
        except TypeError:
            found.append("bad")
    return found


def test_rates_and_differences_are_of_the_last_two_or_of_a_window() -> None:
    samples = [(0, 10), (1, 12), (3, 18), (3, 20), (13, 20)]
    assert over_time("rate(a)", samples) == [None, 2, 3, 4, 0]
    assert over_time("delta(a)", samples) == [None, 2, 6, 8, 0]
    assert over_time("rate(a, 3)", samples) == [None, 2, 8 / 3, 10 / 3, 0]
    assert over_time("delta(a, 100)", samples) == [None, 2, 8, 10, 10]


def test_a_mean_is_of_the_values_within_its_seconds() -> None:
    assert over_time("mean(a, 10)", [(0, 1), (5, 3), (9, 5), (10, 7), (16, 9)]) == [1, 2, 3, 5, 7]


def test_an_integral_adds_up_and_makes_nothing_up_over_a_gap() -> None:
    samples = [(0, 2), (10, 4), (20, None), (30, 6), (31, 6)]
    assert over_time("integral(a)", samples) == [0, 30, "bad", 30, 36]
    assert over_time("integral(a, a > 5)", [(0, 2), (10, 4), (20, 6), (30, 4)]) == [0, 30, 0, 50]


def test_a_held_value_lasts_as_long_as_it_says() -> None:
    samples = [(0, None), (1, 5), (4, None), (6, None), (7, None), (8, 2)]
    assert over_time("hold(a, 5)", samples) == [None, 5, 5, 5, None, 2]


def test_a_clock_set_back_begins_a_window_anew() -> None:
    assert over_time("rate(a)", [(100, 1), (101, 2), (50, 3), (51, 5)]) == [None, 1, None, 2]
    assert over_time("integral(a)", [(100, 1), (50, 1), (51, 1)]) == [0, 0, 1]


def test_a_window_keeps_a_bounded_number_of_values() -> None:
    expression = parse("mean(a, 86400)")
    for second in range(5000):
        expression.compute([second], ANY, expression.windows, float(second))
    assert len(expression.windows[0].dump()) == 3600


@pytest.mark.parametrize(
    ("text", "result"),
    [("rate(a)", 1), ("delta(a, 60)", 8), ("mean(a, 60)", 21 / 4), ("integral(a)", 7.5)],
)
def test_what_a_window_kept_goes_on_after_a_restart(text: str, result: float) -> None:
    first, second = parse(text), parse(text)
    for now, value in ((0.0, 1.0), (1.0, 3.0), (2.0, 8.0)):
        with contextlib.suppress(NotYet):
            first.compute([value], ANY, first.windows, now)
    second.windows[0].load(first.windows[0].dump())
    assert second.compute([9.0], ANY, second.windows, 3.0) == result


def test_a_held_value_is_held_over_a_restart() -> None:
    first, second = parse("hold(a, 60)"), parse("hold(a, 60)")
    first.compute([5], [True], first.windows, 1.0)
    second.windows[0].load(first.windows[0].dump())
    assert second.compute([None], [False], second.windows, 30.0) == 5


@pytest.mark.parametrize("text", ["rate(a)", "delta(a, 60)", "mean(a, 60)", "hold(a, 60)"])
@pytest.mark.parametrize("wrong", [None, {}, [], float("nan"), float("inf"), 10**400])
def test_what_was_never_kept_is_not_gone_on_with(text: str, wrong: object) -> None:
    window = parse(text).windows[0]
    for kept in ([[1.0, wrong]], [[wrong, 1.0]], [1.0, wrong], [wrong, 1.0], [wrong], wrong):
        with contextlib.suppress(ValueError, TypeError, LookupError, OverflowError):
            window.load(kept)  # type: ignore[arg-type]
        assert window.dump() == []


def test_an_integral_goes_on_after_a_value_that_is_not_finite() -> None:
    samples = [(0, 1.0), (1, float("inf")), (2, 1.0), (3, 1.0)]
    assert over_time("integral(a)", samples) == [0, float("inf"), 0, 1]


# Against plain Python


numbers = st.integers(-(2**31), 2**31) | st.floats(-1e6, 1e6)
leaves = st.sampled_from(["a", "b.c", "d"]) | st.integers(0, 999).map(str)


def operations(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "//", "%", "<", ">=", "==", "and", "or"])
    return (
        st.tuples(inner, binary, inner).map(lambda each: f"({each[0]} {each[1]} {each[2]})")
        | inner.map(lambda each: f"(-{each})")
        | inner.map(lambda each: f"(not {each})")
        | st.tuples(inner, inner).map(lambda each: f"max({each[0]}, {each[1]})")
        | st.tuples(inner, inner, inner).map(
            lambda each: f"({each[0]} if {each[1]} else {each[2]})"
        )
        | inner.map(lambda each: f"abs({each})")
    )


@given(st.recursive(leaves, operations, max_leaves=12), numbers, numbers, numbers)
def test_results_are_those_of_python(text: str, a: float, c: float, d: float) -> None:
    plain = text.replace("b.c", "c")
    names = {"a": a, "c": c, "d": d}
    expression: Expression = parse(text)
    values = [names[str(each).rpartition(".")[2]] for each in expression.inputs]
    try:
        expected = eval(plain, {"__builtins__": {}, "max": max, "abs": abs}, names)
    except (ZeroDivisionError, OverflowError) as error:
        with pytest.raises(type(error)):
            expression.compute(values, ANY, expression.windows, 0.0)
        return
    found = expression.compute(values, ANY, expression.windows, 0.0)
    same = found == expected or (math.isnan(found) and math.isnan(expected))
    assert same and type(found) is type(expected)
