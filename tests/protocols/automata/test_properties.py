"""Random expressions and inputs: every way to run a machine means the same."""

import itertools
import re
from typing import Any

import greenery
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from cpppod.automata import (
    BYTES,
    TEXT,
    UTF8,
    LimitExceeded,
    NonTerminal,
    captures,
    chainable,
    compile,
    dotdict,
    regex,
    regex_bytes,
    table,
)
from cpppod.protocols.automata.utf8 import byte_sequences

ALPHABET = "ab,πß€𝄞"
atoms = st.sampled_from(
    ["a", "b", ",", "π", "[ab]", "[^a]", ".", "[a-c]", "[α-ω]", "[^€]", "\\d", "\\,", "(ab|a)", "𝄞"]
)
bounds = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,1}"])
items = st.builds(str.__add__, atoms, bounds)
flat = st.lists(items, max_size=4).map("".join)
expressions = st.recursive(
    flat,
    lambda inner: st.one_of(
        st.builds(lambda a, b: f"({a}|{b})", inner, inner),
        st.builds(lambda a, bound, b: f"({a}){bound}{b}", inner, bounds, inner),
    ),
    max_leaves=3,
)
texts = st.text(ALPHABET + "αω0\n", max_size=12)
short_texts = st.text(
    ALPHABET + "αω0\n", max_size=6
)  # re backtracks: its time may double per symbol
cuts = st.lists(st.integers(0, 40), max_size=3)


machines = settings(deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))


def small(expression: str, symbols: str = UTF8) -> str:
    """`expression`, if its machine is small: the others are for the tests of limits."""
    try:
        assume(len(table(expression, symbols).rows) <= 300)
    except LimitExceeded:
        assume(False)
    return expression


def pieces(whole: Any, at: list[int]) -> list[Any]:
    edges = [0, *sorted(min(cut, len(whole)) for cut in at), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(edges)]


def stepwise(machine: regex, parts: list[Any]) -> tuple[Any, ...]:
    data, source, waiting = dotdict(), chainable(), list(parts)
    refused = None
    with machine:
        try:
            for _, reached in machine.run(source=source, data=data):
                while reached is None and source.peek() is None and waiting:
                    source.chain(waiting.pop(0))
        except NonTerminal as error:
            refused = error.state.rstrip("'")
        return list(data.get("x.input") or []), source.sent, machine.terminal, refused


def compiled(machine: regex, parts: list[Any]) -> tuple[Any, ...]:
    data = dotdict()
    stream = machine.stream(data=data)
    refused = None
    for part in parts:
        if stream.feed(part) < len(part):
            break
    try:
        stream.finish()
    except NonTerminal as error:
        refused = error.state
    return list(data.get("x.input") or []), stream.sent, stream.terminal, refused


@settings(machines, max_examples=300)
@given(expressions, texts, cuts, st.booleans())
def test_stepwise_and_compiled_runs_of_text_are_equal(
    expression: str, text: str, at: list[int], greedy: bool
) -> None:
    machine = regex(initial=small(expression), context="x", terminal=True, greedy=greedy)
    parts = pieces(text, at)
    assert stepwise(machine, parts) == compiled(machine, parts) == compiled(machine, [text])


@settings(machines, max_examples=200)
@given(expressions, texts, cuts, st.booleans())
def test_stepwise_and_compiled_runs_of_bytes_are_equal(
    expression: str, text: str, at: list[int], greedy: bool
) -> None:
    machine = regex_bytes(initial=small(expression), context="x", terminal=True, greedy=greedy)
    parts = pieces(text.encode(), at)
    assert stepwise(machine, parts) == compiled(machine, parts)


@settings(machines, max_examples=500)
@given(expressions, short_texts)
def test_a_machine_accepts_what_re_matches_in_full(expression: str, text: str) -> None:
    matches = re.fullmatch(small(expression), text, re.DOTALL | re.ASCII) is not None
    assert compile(expression, TEXT).accepts(text) is matches
    assert compile(expression, UTF8).accepts(text.encode()) is matches


@settings(machines, max_examples=300)
@given(expressions, short_texts)
def test_a_run_that_is_not_greedy_stops_at_the_first_prefix_that_re_matches(
    expression: str, text: str
) -> None:
    matcher = re.compile(small(expression, TEXT), re.DOTALL | re.ASCII)
    first = next((n for n in range(len(text) + 1) if matcher.fullmatch(text, 0, n)), None)
    run = compile(expression, TEXT, greedy=False).run()
    taken = run.feed(text)
    assert (taken if run.terminal else None) == first


@settings(machines, max_examples=50)
@given(expressions)
def test_the_table_is_the_machine_that_greenery_builds_and_as_small(expression: str) -> None:
    mine = table(small(expression, TEXT), TEXT)
    theirs = greenery.parse(re.sub(r"\\,", ",", expression)).to_fsm().reduce()
    live = [s for s in theirs.states if theirs.islive(s)]
    assert len(mine.rows) == max(1, len(live))
    assert len(mine.accepting) == len(theirs.finals & set(live))


@settings(machines, max_examples=200)
@given(st.lists(st.sampled_from(["a", "b", "ab", "é"]), min_size=1, max_size=60), cuts)
def test_runs_that_are_skipped_are_runs_that_would_have_been_taken(
    words: list[str], at: list[int]
) -> None:
    """Long runs of one symbol, so that whole blocks are skipped by a scan."""
    text = "".join(word * 37 for word in words)
    machine = regex(initial="(a+b*|[^a]+a?)*", context="x", terminal=True)
    parts = pieces(text, [cut * 50 for cut in at])
    assert stepwise(machine, parts) == compiled(machine, parts)
    latin = text.encode("latin-1")
    matched = re.match(b"(?:a*b*)*", latin)
    run = compile("(a*b*)*", BYTES).run()
    assert matched is not None
    assert sum(run.feed(part) for part in pieces(latin, at) if not run.ended) == matched.end()


named = st.lists(
    st.tuples(st.sampled_from(["a+", "[^,]*", "b?", "(a|ab)", "[ab]{1,2}", ".*"]), st.booleans()),
    min_size=1,
    max_size=4,
)


@settings(machines, max_examples=300)
@given(named, st.text("ab,", max_size=8))
def test_captures_of_classes_in_sequence_are_those_of_re(
    parts: list[tuple[str, bool]], text: str
) -> None:
    parts = [("a" if part == "(a|ab)" else part, capture) for part, capture in parts]
    expression = ",?".join(
        f"(?P<c{i}>{part})" if capture else part for i, (part, capture) in enumerate(parts)
    )
    matched = re.fullmatch(expression, text, re.DOTALL)
    if matched is not None:
        assert captures(expression).texts(text) == matched.groupdict()


@settings(machines, max_examples=200)
@given(st.integers(0, 0x10FFFF), st.integers(0, 3000))
def test_utf8_sequences_cover_a_range_and_nothing_else(low: int, span: int) -> None:
    high = min(low + span, 0x10FFFF)
    inside = {
        chr(c).encode()
        for c in {low, high, (low + high) // 2, *range(low, min(low + 70, high + 1))}
        if not 0xD800 <= c <= 0xDFFF
    }
    outside = {
        chr(c).encode()
        for c in (low - 1, high + 1)
        if 0 <= c <= 0x10FFFF and not 0xD800 <= c <= 0xDFFF
    }
    sequences = list(byte_sequences(low, high))

    def covered(encoded: bytes) -> int:
        return sum(
            len(s) == len(encoded)
            and all(a <= byte <= b for (a, b), byte in zip(s, encoded, strict=True))
            for s in sequences
        )

    assert all(covered(encoded) == 1 for encoded in inside)
    assert not any(covered(encoded) for encoded in outside)
