"""The machines of cpppo's README, and what is documented of greedy, terminal, repeat and limit."""

import json
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from cpppod.automata import (
    MachineInUse,
    NonTerminal,
    NoProgress,
    chainable,
    decide,
    dfa,
    dfa_base,
    dfa_drop,
    dotdict,
    integer,
    peekable,
    regex,
    state,
    state_drop,
    state_input,
    state_struct,
)

VECTORS = Path(__file__).parents[2] / "vectors"
INPUT = "abbbb, ab"


def ab(**keywords: Any) -> state:
    start = state("E")
    a, b = state_input("A"), state_input("B", terminal=True, **keywords)
    start["a"], a["b"], b["b"] = a, b, b
    return start


def basic() -> dfa_base:
    return dfa("ab+", initial=ab(), context="basic")


def csv() -> dfa_base:
    inner = dfa("ab+", initial=ab(), terminal=True)
    separator = state_drop("SEP")
    inner[","] = separator
    separator[" "] = separator
    separator[None] = inner
    return dfa("CSV", initial=inner, context="csv")


def expression() -> dfa_base:
    return regex(initial="(ab+)((,[ ]*)(ab+))*")


MACHINES: list[Callable[[], dfa_base]] = [basic, csv, expression]


def feed(machine: dfa_base, pieces: list[str]) -> tuple[str, str, bool]:
    """What `machine` stores and leaves of `pieces`, chained one by one as it asks for more."""
    data, source, waiting = dotdict(), chainable(), list(pieces)
    with machine:
        for _, reached in machine.run(source=source, data=data):
            if reached is None and source.peek() is None and waiting:
                source.chain(waiting.pop(0))
    stored = "".join(data.get(machine.context() + ".input") or "")
    return stored, "".join([*source, *waiting]), machine.terminal


def test_the_readme_machines_go_through_the_recorded_transitions() -> None:
    recorded = json.loads((VECTORS / "automata_readme.json").read_text())["runs"]
    data = dotdict()
    for make, run in zip(MACHINES, recorded, strict=True):
        machine = make()
        path = machine.context() + ".input"
        source = peekable(INPUT)
        steps = []
        with machine:
            for mach, sta in machine.run(source=source, data=data):
                name = None if sta is None else str(sta)
                stored = "".join(data.get(path) or "")
                steps.append([mach.name_centered(), name, source.sent, source.peek(), stored])
        assert steps == run["steps"]
        assert "".join(data[path]) == run["accepted"]
        assert "".join(source) == run["remaining"]
    assert [(path, "".join(stored)) for path, stored in data.items()] == [
        ("basic.input", "abbbb"),
        ("csv.input", "abbbbab"),
        ("input", "abbbb, ab"),
    ]


@pytest.mark.parametrize("make", MACHINES)
def test_a_machine_ends_the_same_whatever_the_pieces_its_input_comes_in(
    make: Callable[[], dfa_base],
) -> None:
    whole = feed(make(), [INPUT])
    for number in range(len(INPUT)):
        for cuts in combinations(range(1, len(INPUT)), number):
            edges = [0, *cuts, len(INPUT)]
            pieces = [INPUT[a:b] for a, b in pairwise(edges)]
            assert feed(make(), pieces) == whole


def test_a_generator_left_alone_goes_on_when_more_input_is_chained() -> None:
    machine, source, data = basic(), chainable("ab"), dotdict()
    with machine:
        run = machine.run(source=source, data=data)
        seen = [next(run)[1] for _ in range(4)]
        assert [str(s) for s in seen[:3]] == ["( E )", "( A )", "((B))"]
        assert seen[3] is None
        source.chain("b")
        assert str(next(run)[1]) == "((B))"
        assert [s for _, s in run] == [None]
    assert "".join(data.basic.input) == "abb"


@pytest.mark.parametrize(
    ("made", "given", "taken"),
    [
        (lambda: dfa("ab+", initial=ab(), context="x"), "abbb,ab", "abbb"),
        (lambda: dfa("ab+", initial=ab(), context="x", greedy=False), "abbb,ab", "ab"),
        (lambda: dfa("ab+", initial=ab(greedy=False), context="x"), "abbb,ab", "ab"),
        (lambda: regex(initial="ab+", context="x"), "abbb,ab", "abbb"),
        (lambda: regex(initial="ab+", context="x", greedy=False), "abbb,ab", "ab"),
        (lambda: regex(initial="a*", context="x", greedy=False), "aaa", ""),
        (lambda: regex(initial="a{2,4}", context="x"), "aaaaaa", "aaaa"),
        (lambda: regex(initial="a{2,4}", context="x", greedy=False), "aaaaaa", "aa"),
        (lambda: regex(initial="[0-9]+(\\.[0-9]*)?", context="x"), "12.34xyz", "12.34"),
        (lambda: regex(initial="π[αβ]*", context="x"), "παβγ", "παβ"),
    ],
)
def test_greedy_takes_all_it_can_and_otherwise_the_first_that_satisfies(
    made: Callable[[], dfa_base], given: str, taken: str
) -> None:
    stored, left, _ = feed(made(), [given])
    assert (stored, left) == (taken, given[len(taken) :])


def test_a_machine_around_others_that_is_not_greedy_stops_them_when_it_is_satisfied() -> None:
    inner = dfa("ab+", initial=ab(), terminal=True)
    assert feed(dfa("outer", initial=inner, context="x", greedy=False), ["abbb"])[:2] == (
        "ab",
        "bb",
    )


@pytest.mark.parametrize(
    ("marked", "given", "terminal"),
    [(True, "ab", True), (True, "abb,", True), (False, "ab", False)],
)
def test_a_machine_is_terminal_if_it_is_marked_and_its_state_is(
    marked: bool, given: str, terminal: bool
) -> None:
    for machine in (
        dfa("ab+", initial=ab(), context="x", terminal=marked),
        regex(initial="ab+", context="x", terminal=marked),
    ):
        assert feed(machine, [given])[2] is terminal


@pytest.mark.parametrize(("given", "position"), [("xab", 0), ("a", 1), ("", 0), ("ax", 1)])
def test_input_that_ends_or_goes_on_wrongly_is_refused_with_position_and_context(
    given: str, position: int
) -> None:
    for machine in (
        dfa("ab+", initial=ab(), context="x", terminal=True),
        regex(initial="ab+", context="x", terminal=True),
    ):
        with pytest.raises(NonTerminal) as raised:
            feed(machine, [given])
        assert raised.value.position == position
        assert raised.value.context == "x"
        assert raised.value.symbol == (given[position] if position < len(given) else None)
        assert "'a'" in raised.value.expected or "'b'" in raised.value.expected
        assert f"after {position} symbols" in str(raised.value)


@pytest.mark.parametrize(
    ("repeat", "data", "taken"),
    [
        (2, {}, "abbabb"),
        (3, {}, "abbabbab"),
        (0, {}, ""),
        (".n", {"p.x.n": 2}, "abbabb"),
        ("..n", {"p.n": 2}, "abbabb"),
        ("p.n", {"p.n": 1}, "abb"),
        (lambda **_: 2, {}, "abbabb"),
    ],
)
def test_a_machine_is_repeated_as_often_as_a_number_a_path_or_a_function_says(
    repeat: Any, data: dict[str, Any], taken: str
) -> None:
    machine = dfa("ab+", initial=ab(), context="x", repeat=repeat, terminal=True)
    held, source = dotdict(data), peekable("abbabbab")
    with machine:
        list(machine.run(source=source, data=held, path="p"))
    assert "".join(held.get("p.x.input") or "") == taken
    assert machine.terminal


def test_a_repetition_that_input_runs_out_of_is_refused() -> None:
    machine = dfa("ab+", initial=ab(), context="x", repeat=2, terminal=True)
    with pytest.raises(NonTerminal, match="after 2 symbols"):
        feed(machine, ["ab"])
    assert not machine.terminal


@pytest.mark.parametrize(
    ("limit", "data", "taken"),
    [
        (3, {}, "abb"),
        (".n", {"p.x.n": 2}, "ab"),
        ("..n", {"p.n": 2}, "ab"),
        (lambda **_: 4, {}, "abbb"),
    ],
)
def test_no_symbol_is_taken_beyond_a_limit(limit: Any, data: dict[str, Any], taken: str) -> None:
    machine = dfa("ab+", initial=ab(), context="x", limit=limit, terminal=True)
    held, source = dotdict(data), peekable("abbbbbb")
    with machine:
        list(machine.run(source=source, data=held, path="p"))
    assert "".join(held.p.x.input) == taken
    assert source.sent == len(taken)


def test_a_limit_within_a_sentence_is_refused_and_named() -> None:
    with pytest.raises(NonTerminal, match="found its limit of symbols, expected 'b'"):
        feed(dfa("ab+", initial=ab(), limit=1), ["abb"])


def test_an_ending_bounds_a_run_from_outside() -> None:
    machine, source, data = basic(), peekable("abbbb"), dotdict()
    with machine:
        list(machine.run(source=source, data=data, ending=3))
    assert "".join(data.basic.input) == "abb"


def test_a_struct_state_unpacks_the_bytes_that_were_stored() -> None:
    low = state_input("low", alphabet=int, context="number")
    high = state_input("high", alphabet=int, context="number")
    number = state_struct("number", format="<H", context="number", terminal=True)
    low[True], high[None] = high, number
    machine, source, data = dfa("u16", initial=low, terminal=True), peekable(b"\1\2\3"), dotdict()
    with machine:
        list(machine.run(source=source, data=data))
    assert data == {"number": 0x0201}
    assert source.peek() == 3


def test_a_struct_state_takes_the_value_at_its_offset_and_index() -> None:
    byte = state_input("byte", alphabet=int, context="number")
    third = state_struct("third", format=">H", offset=1, index=1, context="number", terminal=True)
    byte[True], byte[None] = byte, third
    machine, data = dfa("u16", initial=byte, limit=5), dotdict()
    with machine:
        list(machine.run(source=b"\x00\x01\x02\x03\x04\xff", data=data))
    assert data.number == 0x0304


def test_a_struct_state_that_lacks_bytes_says_which() -> None:
    byte = state_input("byte", alphabet=int, context="number")
    number = state_struct("number", format=">I", offset=1, context="number", terminal=True)
    byte[True], byte[None] = byte, number
    machine = dfa("u32", initial=byte, limit=3)
    with pytest.raises(NonTerminal, match="unpacks bytes 1 to 4 of 3") as raised, machine:
        list(machine.run(source=b"abcd", data=dotdict()))
    assert (raised.value.position, raised.value.context) == (3, "number")


def test_a_length_read_earlier_limits_and_repeats_what_follows() -> None:
    length = integer("length", context="length", terminal=True)
    colon = state_drop("colon")
    pair = regex(initial="[a-z][0-9]", context="pair", terminal=True, repeat="..length")
    length[":"], colon[None] = colon, pair
    assert_stored(dfa("record", initial=length, terminal=True), "3:a1b2c3d4", "a1b2c3", "d4")


def assert_stored(machine: dfa_base, given: str, stored: str, left: str) -> None:
    source, data = peekable(given), dotdict()
    with machine:
        list(machine.run(source=source, data=data))
    assert "".join(data.pair.input) == stored
    assert "".join(source) == left
    assert machine.terminal


def test_decisions_are_asked_in_turn_before_the_plain_target() -> None:
    def decider() -> dfa_base:
        start, a = state("start"), state_input("A")
        b = state_input("B", terminal=True)
        other = state_drop("other", terminal=True)
        start["a"] = a
        a[True] = decide("b next", state=b, predicate=lambda source, **_: source.peek() == "b")
        a[True] = other
        return dfa("d", initial=start, context="x", terminal=True)

    assert feed(decider(), ["ab"]) == ("ab", "", True)
    assert feed(decider(), ["ac"]) == ("a", "", True)


def test_a_predicate_an_alphabet_and_an_explicit_refusal_choose_symbols() -> None:
    start, digit = state("start"), state_input("digit", terminal=True)
    start[str.isdigit], digit[str.isdigit] = digit, digit
    assert feed(dfa("digits", initial=start, context="x"), ["12c"])[:2] == ("12", "c")
    start, other = state("start"), state_input("other", terminal=True)
    start["a"], other[True], other["z"] = other, other, None
    assert feed(dfa("not z", initial=start, context="x"), ["abcz"])[:2] == ("abc", "z")
    start, other = state("start"), state_input("other", alphabet=set("ab"), terminal=True)
    start[True], other[True] = other, other
    with pytest.raises(NonTerminal, match="outside the state's alphabet, after 2 symbols"):
        feed(dfa("a or b", initial=start, context="x"), ["abc"])


def test_an_encoder_spells_one_symbol_as_several_of_the_input() -> None:
    start = state("start", encoder=str.encode)
    pi = state_input("pi", terminal=True, context="x")
    start["π"] = pi
    data = dotdict()
    with (machine := dfa("pi", initial=start, terminal=True)):
        list(machine.run(source="π".encode(), data=data))
    assert bytes(data.x.input) == "π".encode()
    assert machine.terminal


def test_a_target_is_found_by_the_symbol_that_it_was_set_by_where_an_encoder_spells_it() -> None:
    start = state("start", encoder=str.encode)
    pi, a = state_input("pi", terminal=True), state_input("a", terminal=True)
    start["π"], start["a"] = pi, a
    assert start["π"] is pi
    assert start["a"] is start[97] is start.get("a") is a
    assert start.get("é") is None  # begins with another byte
    with pytest.raises(KeyError):
        start["ρ"]  # begins with the same byte


@pytest.mark.parametrize(
    ("encoder", "spelling"),
    [
        (str.encode, "utf-8"),
        (lambda c: list(c.encode()), "utf-8"),
        (lambda c: c.encode("latin-1"), "latin-1"),
        (ord, "latin-1"),
    ],
)
def test_a_regex_with_an_encoder_reads_what_the_encoder_writes(
    encoder: Callable[[str], Any], spelling: str
) -> None:
    machine = regex(
        initial="é+[a-z]",
        terminal=True,
        regex_alphabet=int,
        regex_typecode="B",
        regex_encoder=encoder,
    )
    data = dotdict()
    with machine:
        list(machine.run(source="ééz!".encode(spelling), data=data))
    assert machine.terminal
    assert bytes(data.input) == "ééz".encode(spelling)
    assert machine.compiled().run().feed("ééz!".encode(spelling)) == len("ééz".encode(spelling))


def test_a_regex_with_an_encoder_of_another_kind_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="neither UTF-8, Latin-1 nor ASCII"):
        regex(initial="a+", regex_encoder=lambda c: c.encode("utf-16"))


def test_a_machine_that_drops_its_first_symbol_runs_on_what_follows() -> None:
    start = state("start")
    quoted = dfa_drop("quoted", initial=regex(initial="[^']*", terminal=True), terminal=True)
    start["'"] = quoted
    assert feed(dfa("q", initial=start, context="x", terminal=True), ["'abc'"])[:2] == ("abc", "'")


def test_a_circle_without_input_is_found() -> None:
    one, other = state("one"), state("other")
    one[None], other[None] = other, one
    with pytest.raises(NoProgress, match="turns in a circle"):
        feed(dfa("circle", initial=one), ["a"])


def test_a_machine_in_use_is_refused_at_once_and_free_again_afterwards() -> None:
    machine = basic()
    with machine:
        with pytest.raises(MachineInUse), machine:
            pass
        run = machine.run(source=chainable("a"))
        next(run)
        with pytest.raises(MachineInUse):
            next(machine.run(source=chainable("a")))
        run.close()
    assert feed(machine, ["ab"])[0] == "ab"


def test_a_machine_that_contains_itself_is_refused() -> None:
    start, inner = state("start"), state_input("a", terminal=True)
    outer = dfa("outer", initial=start, terminal=True)
    start["a"] = inner
    inner[None] = outer
    with pytest.raises(MachineInUse):
        feed(outer, ["aa"])


def test_a_machine_shows_its_states_and_arrows() -> None:
    machine = basic()
    assert str(machine) == "( ab+.( E ) )"
    assert [str(node) for node in machine.nodes()] == ["( ab+.( E ) )", "( E )", "( A )", "((B))"]
    names = {str(n): [(s, str(t)) for s, t in n.edges()] for n in machine.initial.nodes()}
    assert names == {
        "( E )": [("a", "( A )")],
        "( A )": [("b", "((B))")],
        "((B))": [("b", "((B))")],
    }
    assert machine.initial["a"] is machine.initial.get("a")
    with pytest.raises(KeyError):
        machine.initial["z"]
    with pytest.raises(TypeError):
        machine.initial["z"] = "not a state"


def test_an_alphabet_is_a_type_a_set_or_a_predicate() -> None:
    for alphabet, given in ((str, "a"), (set("ab"), "a"), (str.isalpha, "a")):
        start = state("start")
        letter = state_input("letter", alphabet=alphabet, terminal=True)
        start[True] = letter
        assert feed(dfa("x", initial=start, context="x"), [given])[:2] == ("a", "")
    number = state_input("number", alphabet=int)
    assert not number.validate("a")
    assert number.validate(5)


def test_a_decision_that_refuses_is_no_arrow_even_beside_an_epsilon() -> None:
    start, done = state("start"), state("done", terminal=True)
    start["a"] = decide("never", done, lambda **_: False)
    with pytest.raises(NonTerminal):
        feed(dfa("x", initial=start, context="x"), ["a"])
    start[None] = decide("neither", done, lambda **_: False)
    with pytest.raises(NonTerminal):
        feed(dfa("x", initial=start, context="x"), ["b"])
    assert "never?" in repr(start["a"])


def test_an_error_names_what_would_have_led_on() -> None:
    def vowel(symbol: str) -> bool:
        return symbol in "aeiou"

    start, other = state("start"), state_input("other", terminal=True)
    start[vowel] = start["x"] = other
    with pytest.raises(NonTerminal, match="'x', vowel"):
        feed(dfa("x", initial=start, context="x"), ["z"])
    start = state("start")
    start[True], start["z"] = other, None
    with pytest.raises(NonTerminal, match="any other symbol"):
        feed(dfa("x", initial=start, context="x"), ["z"])


def test_a_state_shows_its_name_and_whether_it_accepts() -> None:
    plain, accepting = state("A"), state("B", terminal=True)
    assert (repr(plain), str(accepting)) == ("<( A )>", "((B))")
    assert plain.namecentered().strip() == "( A )"
    accepting.terminal = False
    assert str(accepting) == "( B )"
    machine = basic()
    assert not machine.terminal
    machine.terminal = True
    assert machine._terminal


def test_a_symbol_of_several_parts_needs_a_state_and_shares_its_way() -> None:
    start = state("start", encoder=str.encode)
    pi, rho = state_input("pi", terminal=True), state_input("rho", terminal=True)
    start["π"], start["ρ"] = pi, rho
    with pytest.raises(TypeError):
        start["σ"] = None
    with pytest.raises(TypeError):
        start["σ"] = "no state"
    assert (start["π"], start["ρ"], start.get("σ")) == (pi, rho, None)
    with pytest.raises(KeyError):
        start["σ"]


def test_an_encoder_may_give_one_symbol_or_many() -> None:
    for encoder, given in ((ord, [97]), (lambda symbol: [ord(symbol)], [97])):
        start, letter = state("start", encoder=encoder), state_input("letter", terminal=True)
        start["a"] = letter
        data = dotdict()
        with (machine := dfa("x", initial=start, context="x", terminal=True)):
            list(machine.run(source=given, data=data))
        assert machine.terminal


def test_a_range_leads_all_its_symbols_to_one_state() -> None:
    start, digit = state("start"), state_input("digit", terminal=True)
    start.add_range(0x30, 0x39, digit)
    assert [start.get(symbol) for symbol in ("0", "9", "/", ":", "5", 0x35)] == [
        digit,
        digit,
        None,
        None,
        digit,
        digit,
    ]
    assert list(start.edges()) == [((0x30, 0x39), digit)]
    assert [node.name for node in start.nodes()] == ["start", "digit"]


def test_a_machine_needs_a_state_to_begin_with() -> None:
    with pytest.raises(TypeError, match="initial"):
        dfa_base("nothing", initial=None)


def test_a_machine_that_is_to_run_no_cycle_takes_nothing_and_lets_the_next_go_on() -> None:
    inner = dfa("ab+", initial=ab(), context="none", repeat=0, terminal=True)
    after = state_input("after", terminal=True, context="after")
    inner["x"] = after
    data = dotdict()
    with (machine := dfa("outer", initial=inner, context="o", terminal=True)):
        list(machine.run(source="x", data=data))
    assert machine.terminal
    assert "none" not in data.get("o", {})


def test_a_machine_runs_without_being_entered_and_is_free_afterwards() -> None:
    machine = dfa("ab+", initial=ab(), context="x", terminal=True)
    for _ in range(2):
        data = dotdict()
        list(machine.run(source="abb", data=data))
        assert "".join(data.x.input) == "abb"
    assert not machine._in_use


def test_a_limit_of_a_state_ends_what_follows_it() -> None:
    start = state("start", limit=2)
    letter = state_input("letter", terminal=True, limit="count")
    start["a"] = letter
    letter["a"] = letter
    data = dotdict({"count": 0})
    source = chainable("aaaa")
    with (machine := dfa("x", initial=start, context="x", terminal=True)):
        list(machine.run(source=source, data=data))
    assert source.sent == 1


def test_a_machine_inside_that_is_not_satisfied_goes_on_though_one_around_it_would_stop() -> None:
    inner = dfa("ab+", initial=ab(), terminal=True)
    follower = state_input("c", terminal=True)
    inner["c"] = follower
    outer = dfa("outer", initial=inner, greedy=False, terminal=True, context="o")
    source = chainable("abbc")
    with outer:
        list(outer.run(source=source, data=dotdict()))
    assert source.sent == 2


def test_a_state_alone_does_its_part_and_tells_where_it_leads() -> None:
    first, second = state_input("first"), state("second")
    first["b"] = second
    data, source = dotdict(), peekable("ab")
    with first as entered:
        assert list(entered.run(source=source, path="p", data=data)) == [(None, second)]
    assert data.p.input[0] == "a" and source.peek() == "b"
    assert list(state("end").run(source=source)) == []
    assert list(first.run(source=peekable("ab"), data=dotdict(), ending=1)) == []


def test_a_state_with_an_encoder_takes_characters_as_they_are() -> None:
    first = state("first", encoder=str.encode)
    first["π"], first["a"] = second, third = state_drop("π"), state_drop("a")
    assert [target for _, target in first.run(source=peekable("π"))] == [second]
    assert [target for _, target in first.run(source=peekable("a"))] == [third]
    assert list(first.run(source=peekable("x"))) == []
