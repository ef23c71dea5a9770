"""State machines under cpppo's names: those of `cpppod.automata`."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from cpppod import automata as ours
from cpppod.automata import (
    NonTerminal,
    decide,
    decoding,
    dfa_base,
    peekable,
    peeking,
    regex_bytes,
    state,
    state_drop,
    state_struct,
)
from cpppod.compat import Replaced
from cpppod.protocols.automata.sources import Chaining, Remembering

from .misc import (
    type_bytes_array_symbol,
    type_bytes_iter,
    type_str_array_symbol,
    type_str_base,
    type_str_iter,
    type_unicode_array_symbol,
)

log_cfg = {
    "level": logging.WARNING,
    "datefmt": "%m-%d %H:%M:%S",
    "format": "%(asctime)s.%(msecs).03d %(threadName)10.10s %(name)-8.8s %(levelname)-8.8s "
    "%(funcName)-10.10s %(message)s",
}
path_ext_input = ".input"


def type_unicode_encoder(s: str) -> Iterator[int]:
    """The bytes of a character in UTF-8."""
    return iter(s.encode("utf-8"))


type_str_encoder = type_unicode_encoder


def is_iterator(thing: Any) -> bool:
    """Whether `next` takes it."""
    return hasattr(thing, "__next__")


def is_listlike(thing: Any) -> bool:
    """Whether it has items by index, and is neither a text nor a class."""
    return not isinstance(thing, str | type) and hasattr(thing, "__getitem__")


class chaining(Chaining):
    """A source that can be extended; what cannot be iterated is told when it is reached."""

    def chain(self, iterable: Any) -> None:
        super().chain(_later(iterable) if iterable is None else iterable)


def _later(iterable: Any) -> Iterator[Any]:
    yield from iterable


def chainable(iterable: Iterable[Any] | None = None) -> Chaining:
    """`iterable` as a source that can be extended: itself if it can already."""
    return iterable if isinstance(iterable, Chaining) else chaining(iterable)


class remembering(Remembering):
    """A source that keeps the symbols it gave."""

    def push(self, symbol: Any) -> None:
        assert not self.memory or self.memory[-1] == symbol, f"{symbol!r} was not given last"
        super().push(symbol)


def rememberable(iterable: Iterable[Any] | None = None) -> Remembering:
    """`iterable` as a source that remembers: itself if it does already."""
    return iterable if isinstance(iterable, Remembering) else remembering(iterable)


class state_input(ours.state_input):
    """A state that stores the symbol it is entered on."""

    @classmethod
    def from_regex(cls, machine: Any, encoder: Any = None, **keywords: Any) -> Any:
        """Not offered.

        Raises:
            Replaced: always.
        """
        raise Replaced(
            "state_input.from_regex gave greenery 2's objects: cpppod.automata.table(expression) "
            "is the machine as a table, regex(initial=expression).initial has its states"
        )


class _Asserting:
    """Symbols of another kind than the machine's raise AssertionError."""

    def run(self, *args: Any, **keywords: Any) -> Any:
        """As `cpppod.automata` does."""
        try:
            yield from super().run(*args, **keywords)  # type: ignore[misc]
        except TypeError as error:
            raise AssertionError(str(error)) from error


class dfa(_Asserting, ours.dfa):
    """A machine as a state."""


class dfa_input(_Asserting, ours.dfa_input):
    """A machine as a state that stores the symbol it is entered on, then runs."""


class dfa_drop(_Asserting, ours.dfa_drop):
    """A machine as a state that drops the symbol it is entered on, then runs."""


class regex(_Asserting, ours.regex):
    """A machine that accepts what a regular expression describes."""

    def __init__(
        self,
        name: Any = None,
        initial: Any = None,
        regex_states: type[state] = state_input,
        regex_alphabet: Any = None,
        **keywords: Any,
    ) -> None:
        super().__init__(name, initial, regex_states, regex_alphabet, **keywords)


class string(_Asserting, ours.string):
    """A `regex` stored as one text; everything, by default."""

    def __init__(self, name: Any = None, initial: Any = ".*", **keywords: Any) -> None:
        super().__init__(name, initial=initial, **keywords)


class string_bytes(_Asserting, ours.string_bytes):
    """A `string` over bytes."""

    def __init__(self, name: Any = None, initial: Any = ".*", **keywords: Any) -> None:
        super().__init__(name, initial=initial, **keywords)


class integer(_Asserting, ours.integer):
    """A `regex` of digits, stored as their number."""


class integer_bytes(_Asserting, ours.integer_bytes):
    """An `integer` over bytes."""


__all__ = [
    *("NonTerminal", "chainable", "chaining", "decide", "decoding", "dfa", "dfa_base", "dfa_drop"),
    *("dfa_input", "integer", "integer_bytes", "is_iterator", "is_listlike", "log_cfg"),
    *("path_ext_input", "peekable", "peeking", "regex", "regex_bytes", "rememberable"),
    *("remembering", "state", "state_drop", "state_input", "state_struct", "string"),
    *("string_bytes", "type_bytes_array_symbol", "type_bytes_iter", "type_str_array_symbol"),
    *("type_str_base", "type_str_encoder", "type_str_iter", "type_unicode_array_symbol"),
    "type_unicode_encoder",
]
