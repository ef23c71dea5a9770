"""Machines out of regular expressions.

    regex          symbols are characters          regex_bytes    symbols are bytes (UTF-8)
    string         ... stored as one text          string_bytes   ... decoded, or bytes
    integer        ... stored as a number          integer_bytes

The states are those of the smallest machine (`tables`). The first, `0'`, takes no symbol; each
other is entered on one and stores it. On a symbol that goes on with no sentence, the machine yields
(machine, None): the arrow `S[True] = None`.

    (ab+)((,[ ]*)(ab+))*      +----+ 'a'  +---+ 'b'  +-----+ ','  +---+
                              | 0' |----->| 2 |----->| (3) |----->| 4 |---> 'a' to 2, ' ' to 4
                              +----+      +---+      +-----+      +---+
"""

from collections.abc import Callable
from typing import Any

from cpppod.protocols.automata.compiled import Compiled, Data, Run, compile
from cpppod.protocols.automata.machines import dfa_base
from cpppod.protocols.automata.minimise import REFUSED
from cpppod.protocols.automata.states import INPUT, TEXT_TYPECODE, new_store, state, state_input
from cpppod.protocols.automata.tables import BYTES, TEXT, UTF8, Table, table, table_of

_PROBES = "a~\x00\x7fé\xffπ€\U0001f600"
_NOT_ASCII = dict.fromkeys("é\xff", None)


class regex(dfa_base):
    """A machine that accepts what a regular expression describes and stores it at `.input`.

    Args:
        name: the expression itself by default.
        initial: the regular expression, as text or as greenery's `Pattern` or `Fsm`.
        regex_states: the kind of state that takes each symbol (`state_drop`: nothing is stored).
        regex_alphabet, regex_typecode: `alphabet`, `typecode` of those.
        regex_encoder: writes a character as bytes; the machine then reads bytes. UTF-8, Latin-1
            and ASCII are understood.
        regex_context: their context, below that of the machine.
        keywords: as for `dfa`.

    Raises:
        TypeError: no expression, or an encoder that writes neither UTF-8 nor Latin-1.
    """

    symbols = TEXT

    def __init__(
        self,
        name: Any = None,
        initial: Any = None,
        regex_states: type[state] = state_input,
        regex_alphabet: Any = None,
        regex_encoder: Callable[[Any], Any] | None = None,
        regex_typecode: str | None = None,
        regex_context: str | None = None,
        **keywords: Any,
    ) -> None:
        if initial is None:
            raise TypeError("a regular expression is needed as `initial`")
        if regex_encoder is not None:
            self.symbols = _symbols_of(regex_encoder)
        self.table = (
            table(initial, self.symbols)
            if isinstance(initial, str)
            else table_of(initial, self.symbols)
        )
        self.expression = self.table.expression
        self._states = regex_states
        self._typecode = regex_typecode or (TEXT_TYPECODE if self.symbols == TEXT else "B")
        self._inner_context = regex_context
        build = _Builder(
            self.table,
            regex_states,
            alphabet=regex_alphabet,
            encoder=regex_encoder,
            typecode=self._typecode,
            context=regex_context,
        )
        super().__init__(repr(self.expression) if name is None else name, build.first(), **keywords)

    def stream(self, data: Any = None, path: str | None = None) -> "Stream":
        """The compiled run of this machine: fed with pieces of input, storing as `run` does."""
        return Stream(self, data, path or "")

    def compiled(self) -> Compiled:
        """The machine made ready to run, shared by all machines of the same expression."""
        if isinstance(self.expression, str) and table(self.expression, self.symbols) is self.table:
            return compile(self.expression, self.symbols, self.greedy)
        return Compiled(self.table, greedy=self.greedy)

    def store(self, taken: Data, path: str, data: Any) -> None:
        """Append the symbols `taken` where the states of this machine would."""
        if data is None or not len(taken) or not issubclass(self._states, state_input):
            return
        inner = ".".join(part for part in (self.context(path), self._inner_context) if part)
        where = inner + INPUT
        held = data.get(where)
        if held is None:
            held = new_store(self._typecode)
            data[where] = held
        held.extend(taken)


def _symbols_of(encoder: Callable[[Any], Any]) -> str:
    """Which bytes `encoder` writes for characters, by what it makes of some.

    Raises:
        TypeError: neither those of UTF-8 nor those of Latin-1 (ASCII writes these).
    """
    written = _spellings(encoder)
    if written == _spellings(str.encode):
        return UTF8
    latin_1 = _spellings(lambda character: character.encode("latin-1"))
    if written in (latin_1, latin_1 | _NOT_ASCII):
        return BYTES
    raise TypeError("regex_encoder: it writes neither UTF-8, Latin-1 nor ASCII")


def _spellings(encoder: Callable[[Any], Any]) -> dict[str, bytes | None]:
    """What `encoder` writes for characters that tell encodings apart; None where it cannot."""
    return {character: _written(encoder, character) for character in _PROBES}


def _written(encoder: Callable[[Any], Any], character: str) -> bytes | None:
    try:
        encoded = encoder(character)
        if isinstance(encoded, int):
            return bytes((encoded,))
        parts = list(encoded)
        return bytes(ord(part) if isinstance(part, str) else part for part in parts)
    except (ValueError, TypeError):
        return None


class Stream:
    """The compiled run of a `regex`; see `Run` for what `feed`, `sent`, `ended` and `state` say."""

    def __init__(self, machine: regex, data: Any, path: str) -> None:
        self._machine = machine
        self._data = data
        self._path = path
        self._run: Run = machine.compiled().run()

    def feed(self, data: Data) -> int:
        """Take and store symbols; how many. If not all, `ended` is true."""
        taken = self._run.feed(data)
        self._machine.store(data[:taken], self._path, self._data)
        return taken

    def finish(self) -> None:
        """Say that no more comes, and convert what was stored as the machine does.

        Raises:
            NonTerminal: what was taken is no sentence.
        """
        self._run.finish()
        self._machine.terminate(self._machine, self._path, self._data)

    @property
    def sent(self) -> int:
        return self._run.sent

    @property
    def ended(self) -> bool:
        return self._run.ended

    @property
    def terminal(self) -> bool:
        return self._run.terminal

    @property
    def state(self) -> str:
        return self._run.state


class regex_bytes(regex):
    """A `regex` whose symbols are bytes: characters of the expression as UTF-8 writes them."""

    symbols = UTF8


class string(regex):
    """A `regex` that stores what it read as one text, at its context.

    Args:
        initial: by default everything up to a line's end.
        greedy: False by default: it ends as soon as the expression is satisfied.
        decode: the encoding of bytes read; None leaves them bytes.
    """

    def __init__(
        self,
        name: Any = None,
        initial: Any = ".*\n",
        context: str | None = "string",
        greedy: bool = False,
        decode: str | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(name, initial=initial, context=context, greedy=greedy, **keywords)
        self._decode = decode

    def terminate(self, machine: Any, path: str, data: Any) -> None:
        """Replace the symbols stored by their text."""
        if data is not None:
            data[self.context(path)] = self._text(path, data)

    def _text(self, path: str, data: Any) -> Any:
        inner = ".".join(part for part in (self.context(path), self._inner_context) if part)
        stored = data.get(inner + INPUT)
        if self.symbols == TEXT:
            return "" if stored is None else "".join(stored)
        raw = b"" if stored is None else bytes(stored)
        return raw.decode(self._decode) if self._decode else raw


class string_bytes(string, regex_bytes):
    """A `string` whose symbols are bytes."""


class integer(string):
    """A `regex` of digits, by default greedy, that stores their number at its context."""

    def __init__(
        self,
        name: Any = None,
        initial: Any = "[0-9]+",
        context: str | None = "integer",
        greedy: bool = True,
        **keywords: Any,
    ) -> None:
        super().__init__(name, initial=initial, context=context, greedy=greedy, **keywords)

    def terminate(self, machine: Any, path: str, data: Any) -> None:
        """Replace the symbols stored by their number."""
        if data is not None:
            data[self.context(path)] = int(self._text(path, data))


class integer_bytes(integer, regex_bytes):
    """An `integer` whose symbols are bytes."""


class _Builder:
    """States and arrows of a table."""

    def __init__(self, table: Table, kind: type[state], **keywords: Any) -> None:
        self._table = table
        self._states = [
            kind(name, terminal=index in table.accepting, **keywords)
            for index, name in enumerate(table.names)
        ]

    def first(self) -> state:
        """The initial state: like state 0, but entered without a symbol."""
        first = state(f"{self._table.names[0]}'", terminal=0 in self._table.accepting)
        self._connect(first, 0)
        for index, held in enumerate(self._states):
            self._connect(held, index)
        return first

    def _connect(self, held: state, index: int) -> None:
        for target, ranges in self._table.targets(index).items():
            for low, high in ranges:
                held.add_range(low, high, self._states[target])
        if REFUSED in self._table.rows[index]:
            held[True] = None
