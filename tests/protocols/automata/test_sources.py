"""Sources peek, take back, chain and remember."""

import pytest

from cpppod.automata import chainable, decoding, peekable, rememberable


def test_peeking_leaves_the_symbol_and_pushing_takes_it_back() -> None:
    source = peekable("abc")
    assert (source.peek(), source.sent) == ("a", 0)
    assert (next(source), source.sent, source.peek()) == ("a", 1, "b")
    source.push("z")
    assert (source.sent, source.peek()) == (0, "z")
    assert "".join(source) == "zbc"
    assert (source.sent, source.peek()) == (3, None)
    with pytest.raises(StopIteration):
        next(source)
    source.push("q")
    assert (source.sent, source.peek()) == (2, "q")


def test_a_source_that_can_do_as_much_is_handed_back_as_it_is() -> None:
    source = rememberable("ab")
    assert peekable(source) is chainable(source) is rememberable(source) is source
    assert chainable(peekable("ab")).peek() == "a"


def test_chained_input_follows_when_what_was_there_has_run_out() -> None:
    source = chainable()
    assert source.peek() is None
    source.chain("ab")
    source.chain("")
    source.chain("cd")
    assert ("".join(source), source.sent) == ("abcd", 4)
    source.chain(b"12")
    assert list(source) == [0x31, 0x32]


def test_a_remembering_source_checks_what_is_pushed_and_forgets_on_request() -> None:
    source = rememberable("abc")
    assert [next(source), next(source)] == source.memory == ["a", "b"]
    source.push("b")
    assert (source.memory, source.peek()) == (["a"], "b")
    with pytest.raises(ValueError, match="'a' was given last"):
        source.push("q")
    source.forget()
    assert list(source) == source.memory == ["b", "c"]


def test_a_character_waits_for_the_last_of_its_bytes() -> None:
    source = decoding()
    source.chain(b"\xcf")
    assert source.peek() is None
    source.chain(b"\x80a")
    assert "".join(source) == "πa"
    with pytest.raises(UnicodeDecodeError):
        source.chain(b"\xff")
