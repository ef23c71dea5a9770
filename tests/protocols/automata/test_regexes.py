"""Machines out of regular expressions: strings, integers, bytes, Unicode."""

from typing import Any

import greenery
import pytest

from cpppod.automata import (
    BYTES,
    TEXT,
    ExpressionError,
    NonTerminal,
    captures,
    chainable,
    compile,
    decoding,
    dfa,
    dfa_base,
    dotdict,
    integer,
    integer_bytes,
    regex,
    regex_bytes,
    state_drop,
    string,
    string_bytes,
)


def run(machine: dfa_base, given: str | bytes) -> tuple[dotdict, int]:
    data, source = dotdict(), chainable(given)
    with machine:
        list(machine.run(source=source, data=data))
    assert machine.terminal
    return data, source.sent


def test_integers_and_strings_are_stored_as_values_at_their_context() -> None:
    assert run(integer("i", terminal=True), "123x") == ({"integer": 123}, 3)
    assert run(integer("i", context="v", initial="-?[0-9]+", terminal=True), "-5") == ({"v": -5}, 2)
    assert run(integer_bytes("i", terminal=True), b"123x") == ({"integer": 123}, 3)
    lower: dict[str, Any] = {"initial": "[a-z]*", "greedy": True, "terminal": True}
    assert run(string("s", **lower), "abc1") == ({"string": "abc"}, 3)
    assert run(string_bytes("s", **lower), b"abc1") == ({"string": b"abc"}, 3)
    assert run(string_bytes("s", decode="ascii", **lower), b"abc1") == ({"string": "abc"}, 3)
    assert run(string("s", terminal=True), "a line\nmore") == ({"string": "a line\n"}, 7)
    assert run(string("s", initial=".*;", terminal=True), "abc;1;") == ({"string": "abc;"}, 4)
    limited = string("s", initial=".*", greedy=True, limit=3, terminal=True)
    assert run(limited, "abc1") == ({"string": "abc"}, 3)


def test_machines_in_sequence_capture_each_in_its_own_context() -> None:
    key = string("key", initial="[a-z]+", context="key", greedy=True, terminal=True)
    equals = state_drop("=")
    value = integer("value", context="value", terminal=True)
    key["="] = equals
    equals[None] = value
    data, _ = run(dfa("pair", initial=key, context="pair", terminal=True), "speed=42")
    assert data == {"pair": {"key": "speed", "value": 42}}


def test_a_regex_of_bytes_reads_characters_as_utf8_writes_them() -> None:
    data, sent = run(regex_bytes(initial="π[αβ]*", context="x", terminal=True), "παβ".encode())
    assert bytes(data.x.input).decode() == "παβ"
    assert sent == 6


def test_text_is_decoded_from_bytes_that_come_one_at_a_time() -> None:
    machine, source, data = (
        regex(initial="π[αβ]*", context="x", terminal=True),
        decoding(),
        dotdict(),
    )
    waiting = list("παβγ".encode())
    with machine:
        for _, reached in machine.run(source=source, data=data):
            while reached is None and source.peek() is None and waiting:
                source.chain(bytes([waiting.pop(0)]))
    assert "".join(data.x.input) == "παβ"
    assert source.peek() == "γ"
    assert machine.terminal


def test_greenery_s_own_objects_are_taken_for_expressions() -> None:
    pattern = greenery.parse("a(b|c)+")
    for given in (pattern, pattern.to_fsm()):
        data, _ = run(regex(initial=given, context="x", terminal=True), "abcb")
        assert "".join(data.x.input) == "abcb"


def test_a_machine_stores_nothing_where_its_states_drop() -> None:
    data, sent = run(regex(initial="a+", regex_states=state_drop, terminal=True), "aaab")
    assert (data, sent) == ({}, 3)


def test_states_store_below_the_context_that_is_asked_for() -> None:
    data, _ = run(regex(initial="a+", context="x", regex_context="y", terminal=True), "aa")
    assert list(data) == ["x.y.input"]


def test_a_stream_stores_and_converts_like_the_stepwise_run() -> None:
    for machine, pieces in (
        (integer("i", context="n", terminal=True), ["12", "3", "x"]),
        (string("s", initial="[a-z]+", greedy=True, context="n", terminal=True), ["ab", "c1"]),
    ):
        data = dotdict()
        stream = machine.stream(data=data)
        for piece in pieces:
            stream.feed(piece)
        assert stream.ended
        assert stream.sent == 3
        stream.finish()
        assert data == run(machine, "".join(pieces))[0]


def test_an_unfinished_stream_says_where_it_stopped_and_what_it_wanted() -> None:
    stream = regex(initial="ab+c", context="x").stream()
    assert stream.feed("abb") == 3
    assert not stream.ended
    with pytest.raises(NonTerminal, match="expected 'b'-'c'") as raised:
        stream.finish()
    assert raised.value.position == 3


def test_a_compiled_run_refuses_the_other_kind_of_symbols() -> None:
    with pytest.raises(TypeError, match="str"):
        compile("a", TEXT).run().feed(b"a")
    with pytest.raises(TypeError, match="bytes"):
        compile("a", BYTES).run().feed("a")


def test_a_compiled_run_starts_where_it_is_told_and_can_begin_anew() -> None:
    run = compile("ab+", BYTES).run()
    assert run.feed(b"xxabbx", 2) == 3
    assert run.ended
    assert run.terminal
    run.reset()
    assert run.feed(memoryview(b"abb")) == 3
    run.reset()
    assert run.feed(memoryview(b"xabbyz"), 1, 5) == 3
    run.reset()
    assert run.feed(b"abbbb", 0, 3) == 3
    assert not run.ended
    assert run.feed(b"") == 0
    assert run.sent == 3
    run.reset()
    assert run.feed(b"a" + b"b" * 1000, 0, 500) == 500


def test_the_same_expression_is_compiled_once() -> None:
    assert compile("a[bc]", BYTES) is compile("a[bc]", BYTES)
    assert regex(initial="a[bc]").compiled() is regex(initial="a[bc]").compiled()


@pytest.mark.parametrize(
    ("expression", "yes", "no"),
    [
        ("[a-]", ("a", "-"), ("b", "")),
        ("[-a]", ("a", "-"), ("b",)),
        ("[^-]", ("a",), ("-",)),
        ("[a^]", ("a", "^"), ("b",)),
        ("[[a]", ("[", "a"), ("]",)),
        (r"[\.\]]", (".", "]"), ("a", "\\")),
        ("(?:ab)+", ("ab", "abab"), ("a", "")),
        ("(?:a|(?:bc))d", ("ad", "bcd"), ("bd",)),
        (r"\x41\u03c0\U0001F600", ("Aπ😀",), ("Aπ",)),
        (r"\$\-\ ", ("$- ",), ("",)),
    ],
)
def test_what_people_write_is_brought_into_the_form_that_is_read(
    expression: str, yes: tuple[str, ...], no: tuple[str, ...]
) -> None:
    machine = compile(expression)
    for text in yes:
        assert machine.accepts(text)
    for text in no:
        assert not machine.accepts(text)


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("a)", 1),
        ("(a", 0),
        ("(?P<n>a", 0),
        ("(?P<1>a)", 0),
        ("(?=a)", 0),
        ("[a", 0),
        ("a\\", 1),
        (r"\q", 0),
        (r"\x4", 0),
        (r"\x+f", 0),
        (r"\u00_0", 0),
        (r"\U00110000", 0),
        ("a{2,1}", 0),
        ("*a", 0),
        ("(?P<n>a)*", 8),
        ("(?P<n>a)(?P<n>b)", 14),
    ],
)
def test_expression_that_is_none_is_pointed_at(expression: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        captures(expression)
    assert caught.value.position == position


def test_a_regex_wants_an_expression() -> None:
    with pytest.raises(TypeError):
        regex("nothing", initial=None)


def test_a_stream_stores_what_it_takes_and_says_where_it_ends() -> None:
    machine, data = string("s", initial="[a-z]+", greedy=True, terminal=True), dotdict()
    stream = machine.stream(data)
    assert (stream.feed("ab"), stream.feed("c1d")) == (2, 1)
    assert stream.ended
    assert stream.sent == 3
    stream.finish()
    assert data == {"string": "abc"}
