"""States: what happens on entry, and where each next symbol leads.

    state         consumes nothing         state_input   stores the symbol it is entered on
    state_struct  consumes nothing and     state_drop    throws that symbol away
                  unpacks what was stored  decide        a target that depends on the data

    S["a"] = T      on the symbol a               S[str.isdigit] = T   where the function is true
    S[True] = T     on any other symbol           S["a"] = None        never on the symbol a
    S[None] = T     without a symbol, where no other arrow leads on

A state stores below `<path>.<context>`: `<path>` is what the machines around it make of their own
contexts. A symbol is taken by the state that it leads to.
"""

import array
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from typing import Any, Self, Union

from cpppod.protocols.automata.errors import NonTerminal
from cpppod.protocols.automata.sources import Peeking, peekable

INPUT = ".input"  # where a state keeps symbols, below its context
TEXT_TYPECODE = "w" if sys.version_info >= (3, 13) else "u"
SYMBOLS_REMEMBERED = 256  # per state; there may be a million characters
NAME_WIDTH, NAME_AXIS = 50, 40  # name_centered: columns, and the one that the name's dot is in

Target = Union["state", "decide", None]
Decisions = list["state | decide"]


class Refusal:
    """The answer of an arrow that leads nowhere on purpose, or of decisions that were all false."""


REFUSAL = Refusal()


class state:
    """A state that consumes no symbol; the base of all others.

    Args:
        name: shown as `( name )`, and as `((name))` where terminal.
        terminal: the input so far is a sentence when the machine is here.
        alphabet: symbols it may be entered on: a type, a container or a predicate; None for all.
        context: a name added to the path of the data.
        extension: added to path and context, `.input` for a state that stores.
        encoder: turns a symbol in `S[symbol] = T` into the symbol of the input, or several; a
            source may as well give the symbols as they are before.
        typecode: of the `array.array` that symbols are stored in.
        greedy: False leaves the machine at once when terminal, whatever could follow.
        limit: symbols that may follow before the machine must be left: a number, a path in the
            data (`.n` below the own context, `..n` beside it), or a function that returns it.
    """

    consumes = False
    is_machine = False

    def __init__(
        self,
        name: Any = None,
        terminal: bool = False,
        alphabet: type | Container[Any] | Callable[[Any], bool] | None = None,
        context: str | None = None,
        extension: str | None = None,
        encoder: Callable[[Any], Any] | None = None,
        typecode: str | None = None,
        greedy: bool = True,
        limit: int | str | Callable[..., int] | None = None,
    ) -> None:
        self._name = str(name)
        self._terminal = terminal
        self.alphabet = alphabet
        self._context = context
        self._extension = extension
        self.encoder = encoder
        self.typecode = typecode
        self.greedy = greedy
        self.limit = limit
        self._symbols: dict[Any, Any] = {}
        self._predicates: list[tuple[Callable[[Any], bool], Any]] = []
        self._ranges: list[tuple[int, int, state]] = []
        self._met: dict[Any, state] = {}  # symbols that lay in a range
        self._path: str | None = None  # of the last run, and where symbols go for it
        self._where = ""
        self._any: Any = None
        self._epsilon: Any = None
        self._has_any = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def simple(self) -> bool:
        """Whether it needs no more than its next symbol to be entered and left."""
        return self.greedy and self.limit is None and self.alphabet is None

    @property
    def terminal(self) -> bool:
        """Whether the input so far may end here."""
        return self._terminal

    @terminal.setter
    def terminal(self, value: bool) -> None:
        self._terminal = value

    def context(self, path: str | None = None, extension: str | None = None) -> str:
        """Where the data goes: `<path>.<context><extension>`."""
        joined = ".".join(part for part in (path, self._context) if part)
        return joined + (extension or "")

    def namecentered(self) -> str:
        """The name in a field of fixed width, for lists of transitions."""
        return centered(self.initial_name())

    def initial_name(self) -> str:
        """How the state is shown before anything was read."""
        return str(self)

    def __str__(self) -> str:
        return f"(({self.name}))" if self.terminal else f"( {self.name} )"

    def __repr__(self) -> str:
        return f"<{self}>"

    def __setitem__(self, symbol: Any, target: Any) -> None:
        if target is not None and not isinstance(target, state | decide):
            raise TypeError(f"an arrow leads to a state, a decide or None, not to {target!r}")
        if symbol is None:
            self._epsilon = _joined(self._epsilon, target)
        elif symbol is True:
            self._any, self._has_any = _joined(self._any, target), True
        elif callable(symbol):
            self._predicates.append((symbol, target))
        else:
            self._set_encoded(symbol, target)

    def __getitem__(self, symbol: Any) -> Any:
        """The target on `symbol` (True: on any other; None: without a symbol).

        A symbol is spelled by the state's encoder, as in `S[symbol] = T`; one of the input as it
        is finds its target too.

        Raises:
            KeyError: no arrow.
        """
        found, target = self._spelled(symbol)
        if not found:
            raise KeyError(symbol)
        return target

    def get(self, symbol: Any, default: Any = None) -> Any:
        """The target on `symbol`, or `default` where there is no arrow."""
        found, target = self._spelled(symbol)
        return target if found else default

    def add_range(self, low: int, high: int, target: "state") -> None:
        """Lead every symbol numbered `low` to `high` (code points, bytes) to `target`."""
        self._ranges.append((low, high, target))
        self._ranges.sort(key=lambda held: held[0])
        self._met.clear()

    def edges(self) -> Iterator[tuple[Any, Any]]:
        """(symbol, target) of every arrow; a range is a pair of numbers, an epsilon None."""
        yield from self._symbols.items()
        for low, high, target in self._ranges:
            yield (low, high), target
        yield from self._predicates
        if self._has_any:
            yield True, self._any
        if self._epsilon is not None:
            yield None, self._epsilon

    def nodes(self, seen: set[int] | None = None) -> Iterator["state"]:
        """This state and all that can be reached from it, each once."""
        seen = set() if seen is None else seen
        waiting: list[state] = [self]
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            for _, target in node.edges():
                for held in target if isinstance(target, list) else [target]:
                    reached = held.state if isinstance(held, decide) else held
                    if reached is not None:
                        waiting.append(reached)

    @property
    def waits(self) -> bool:
        """Whether a symbol could lead on from here."""
        return bool(
            self._symbols
            or self._ranges
            or self._predicates
            or (self._has_any and self._any is not None)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held: a plain state may be run in several places."""

    def run(
        self,
        source: Iterable[Any] | None = None,
        machine: Any = None,
        path: str | None = None,
        data: Any = None,
        ending: int | None = None,
    ) -> Generator[tuple[Any, "state | None"], None, None]:
        """What the state does alone: (machine, the state that the next symbol leads to), if any.

        Args:
            source: symbols; a state that takes one does, before it looks for the next.
            machine, path, data, ending: as for `dfa.run`; no machine by default.
        """
        symbols = peekable(source)
        self.process(symbols, machine, path or "", data)
        limited = ending is not None and symbols.sent >= ending
        symbol = None if limited else symbols.peek()
        target = self.target(symbols, machine, path or "", data, symbol)
        if isinstance(target, state):
            yield machine, target

    def validate(self, symbol: Any) -> bool:
        """Whether the state may be entered on `symbol`."""
        allowed = self.alphabet
        if allowed is None:
            return True
        if isinstance(allowed, type):
            return isinstance(symbol, allowed)
        if isinstance(allowed, Container):
            return symbol in allowed
        return bool(allowed(symbol))

    def target(
        self, source: Peeking, machine: Any, path: str, data: Any, symbol: Any
    ) -> "state | Refusal | None":
        """Where to go on `symbol` (None: there is none); a Refusal where that was asked for."""
        refused = False
        if symbol is not None:
            found, held = self._find(symbol)
            if not found and self.encoder is not None and isinstance(symbol, str):
                found, held = self._spelled(symbol)  # a source of characters
            if not found:
                found, held = self._has_any, self._any
            if found:
                if isinstance(held, state):
                    return held
                if held is None:
                    return REFUSAL
                reached = _decided(held, machine, source, path, data)
                if reached is not None:
                    return reached
                refused = True
        if self._epsilon is not None:
            reached = _decided(self._epsilon, machine, source, path, data)
            return reached or REFUSAL
        return REFUSAL if refused else None

    def process(self, source: Peeking, machine: Any, path: str, data: Any) -> None:
        """What entering the state does to source and data.

        Raises:
            NonTerminal: what the state needs is not there.
        """

    def _find(self, symbol: Any) -> tuple[bool, Any]:
        if symbol is None:
            return self._epsilon is not None, self._epsilon
        if symbol is True:
            return self._has_any, self._any
        if symbol in self._symbols:
            return True, self._symbols[symbol]
        if self._ranges:
            reached = self._by_range(symbol)
            if reached is not None:
                return True, reached
        for predicate, target in self._predicates:
            if predicate(symbol):
                return True, target
        return False, None

    def _spelled(self, symbol: Any) -> tuple[bool, Any]:
        """`_find` for a symbol as its user writes it: spelled by the encoder, part by part."""
        if self.encoder is None or symbol is None or symbol is True or isinstance(symbol, int):
            return self._find(symbol)
        at: Any = self
        found = False
        for part in self._parts(symbol):
            if not isinstance(at, state):
                return False, None
            found, at = at._find(part)
            if not found:
                return False, None
        return found, at

    def _parts(self, symbol: Any) -> list[Any]:
        """The symbols of the input that the encoder writes for `symbol`."""
        encoded = symbol if self.encoder is None else self.encoder(symbol)
        if isinstance(encoded, str | bytes):
            return list(encoded)
        return list(encoded) if isinstance(encoded, Iterable) else [encoded]

    def _by_range(self, symbol: Any) -> "state | None":
        reached = self._met.get(symbol)
        if reached is None:
            number = symbol if isinstance(symbol, int) else ord(symbol)
            index = bisect_right(self._ranges, number, key=lambda held: held[0]) - 1
            if index < 0 or number > self._ranges[index][1]:
                return None
            reached = self._ranges[index][2]
            if len(self._met) < SYMBOLS_REMEMBERED:
                self._met[symbol] = reached
        return reached

    def _set_encoded(self, symbol: Any, target: Any) -> None:
        parts = [symbol] if self.encoder is None else self._parts(symbol)
        if len(parts) > 1 and not isinstance(target, state):
            raise TypeError(f"{symbol!r} is {len(parts)} symbols: its target must be a state")
        at: state = self
        for number, part in enumerate(parts[:-1]):
            held = at._symbols.get(part)
            if not isinstance(held, state):
                held = target._between(f"{symbol}{number + 1}")
                at._symbols[part] = held
            at = held
        at._symbols[parts[-1]] = _joined(at._symbols.get(parts[-1]), target)

    def _between(self, name: str) -> "state":
        """A state like this one that is entered on a part of a symbol only."""
        return type(self)(
            name, alphabet=self.alphabet, context=self._context, typecode=self.typecode
        )


class state_input(state):
    """A state that stores the symbol it is entered on, at `<path>.<context>.input`."""

    consumes = True

    def process(self, source: Peeking, machine: Any, path: str, data: Any) -> None:
        symbol = next(source)
        if data is None:
            return
        if self._path != path:
            self._path = path
            self._where = self.context(path, INPUT if self._extension is None else self._extension)
        where = self._where
        held = data.get(where)
        if held is None:
            held = new_store(self.typecode or _typecode(symbol))
            data[where] = held
        held.append(symbol)


class state_drop(state):
    """A state that throws away the symbol it is entered on."""

    consumes = True

    def process(self, source: Peeking, machine: Any, path: str, data: Any) -> None:
        next(source)


class state_struct(state):
    """A state that unpacks stored bytes as a `struct` format says, to `<path>.<context>`.

    Args:
        format: of one value (several are stored as a tuple); one unsigned byte by default.
        offset: bytes to skip; index: then so many sizes of the format.
        input_extension: what the bytes are stored under, `.input` below the same context.
    """

    def __init__(
        self,
        name: Any = None,
        format: str | None = None,
        offset: int = 0,
        index: int = 0,
        input_extension: str | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(name, **keywords)
        self._struct = struct.Struct(format or "B")
        self.offset = offset
        self.index = index
        self._input = INPUT if input_extension is None else input_extension

    @property
    def calcsize(self) -> int:
        """Bytes of one value."""
        return self._struct.size

    def process(self, source: Peeking, machine: Any, path: str, data: Any) -> None:
        where = self.context(path)
        stored = bytes(data.get(where + self._input) or b"")
        start = self.offset + self.index * self.calcsize
        if len(stored) < start + self.calcsize:
            raise NonTerminal(
                f"{self} unpacks bytes {start} to {start + self.calcsize - 1} of {len(stored)}",
                machine=str(machine),
                state=self.name,
                position=source.sent,
                symbol=source.peek(),
                context=where,
            )
        values = self._struct.unpack_from(stored, start)
        value = values[0] if len(values) == 1 else values
        held = data.get(where)
        if isinstance(held, list):
            held.append(value)
        else:
            data[where] = value


class decide:
    """A target that is taken where its predicate is true of machine, source, path and data.

    Several on one symbol are asked in turn; a plain state after them is taken otherwise.
    """

    def __init__(
        self,
        name: Any,
        state: "state | None" = None,
        predicate: Callable[..., Any] | None = None,
    ) -> None:
        self.name = str(name)
        self.state = state
        self.predicate = predicate

    def __call__(self, machine: Any, source: Peeking, path: str, data: Any) -> "state | None":
        taken = self.predicate is None or self.predicate(
            machine=machine, source=source, path=path, data=data
        )
        return self.state if taken else None

    def __str__(self) -> str:
        return f"{self.name}? {self.state}"

    __repr__ = __str__


def new_store(typecode: str) -> "array.array[Any]":
    """An empty store of symbols."""
    return array.array(typecode)


def _typecode(symbol: Any) -> str:
    return "B" if isinstance(symbol, int) else TEXT_TYPECODE


def _joined(held: Any, target: Any) -> Any:
    """Decisions collect, in the order given; a plain state comes after them."""
    decisions = [d for d in (held if isinstance(held, list) else [held]) if isinstance(d, decide)]
    plain = [s for s in (held if isinstance(held, list) else [held]) if isinstance(s, state)]
    if isinstance(target, decide):
        return [*decisions, target, *plain]
    return [*decisions, target] if decisions and target is not None else target


def _decided(held: Any, machine: Any, source: Peeking, path: str, data: Any) -> "state | None":
    for choice in held if isinstance(held, list) else (held,):
        reached = choice(machine, source, path, data) if isinstance(choice, decide) else choice
        if reached is not None:
            return reached
    return None


def centered(name: str) -> str:
    """`name` in a field of fixed width, its first dot always in the same column."""
    dot = name.rfind(".")
    axis = dot if dot >= 0 else len(name) // 2 - 1
    return (" " * (NAME_AXIS - axis) + name).ljust(NAME_WIDTH)
