"""Sources of symbols: iterators that show the next symbol, take symbols back, and can be extended.

    peekable(iterable)      peek, push, sent
    chainable(iterable)     ... and chain: further input, taken when what was there has run out
    rememberable(iterable)  ... and memory, forget: the symbols that were taken
    decoding(encoding)      a chainable of characters that is fed bytes, split anywhere

Each of the first three hands a source that can do as much back as it is.
"""

import codecs
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any


class Peeking(Iterator[Any]):
    """An iterator that knows its next symbol and how many it has given.

    Attributes:
        sent: symbols given, less those pushed back.
    """

    def __init__(self, iterable: Iterable[Any] | None = None) -> None:
        self.sent = 0
        self._iterator: Iterator[Any] = iter(() if iterable is None else iterable)
        self._pushed: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        symbol = self._pushed.pop() if self._pushed else self._take()
        self.sent += 1
        return symbol

    def peek(self) -> Any:
        """The next symbol, which stays; None where there is none at the moment."""
        if not self._pushed:
            try:
                self._pushed.append(self._take())
            except StopIteration:
                return None
        return self._pushed[-1]

    def push(self, symbol: Any) -> None:
        """Make `symbol` the next one, as if it had never been taken."""
        self._pushed.append(symbol)
        self.sent -= 1

    def _take(self) -> Any:
        return next(self._iterator)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after {self.sent} symbols>"


class Chaining(Peeking):
    """A source to which further input is appended while it is in use."""

    def __init__(self, iterable: Iterable[Any] | None = None) -> None:
        super().__init__(iterable)
        self._chained: deque[Iterator[Any]] = deque()

    def chain(self, iterable: Iterable[Any]) -> None:
        """Append the symbols of `iterable`, to be taken after all that is there."""
        self._chained.append(iter(iterable))

    def _take(self) -> Any:
        while True:
            try:
                return next(self._iterator)
            except StopIteration:
                if not self._chained:
                    raise
                self._iterator = self._chained.popleft()


class Remembering(Chaining):
    """A source that keeps the symbols it gave, in `memory`, until told to forget them."""

    def __init__(self, iterable: Iterable[Any] | None = None) -> None:
        super().__init__(iterable)
        self.memory: list[Any] = []

    def __next__(self) -> Any:
        symbol = super().__next__()
        self.memory.append(symbol)
        return symbol

    def push(self, symbol: Any) -> None:
        """Take back the last symbol given.

        Raises:
            ValueError: it is not the one that was given last.
        """
        if self.memory:
            if self.memory[-1] != symbol:
                raise ValueError(f"pushed back {symbol!r}, but {self.memory[-1]!r} was given last")
            self.memory.pop()
        super().push(symbol)

    def forget(self) -> None:
        """Empty `memory`."""
        self.memory.clear()


class Decoding(Chaining):
    """Characters out of bytes that arrive in pieces, split anywhere, within a character too."""

    def __init__(self, encoding: str = "utf-8", errors: str = "strict") -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def chain(self, iterable: Iterable[Any]) -> None:
        """Append what the bytes `iterable` complete; an unfinished character waits for its rest.

        Raises:
            UnicodeDecodeError: no text of this encoding holds these bytes.
        """
        super().chain(self._decoder.decode(bytes(iterable)))


peeking, chaining, remembering = Peeking, Chaining, Remembering


def peekable(iterable: Iterable[Any] | None = None) -> Peeking:
    """`iterable` as a source that can peek: itself if it can already."""
    return iterable if isinstance(iterable, Peeking) else Peeking(iterable)


def chainable(iterable: Iterable[Any] | None = None) -> Chaining:
    """`iterable` as a source that can be extended: itself if it can already."""
    return iterable if isinstance(iterable, Chaining) else Chaining(iterable)


def rememberable(iterable: Iterable[Any] | None = None) -> Remembering:
    """`iterable` as a source that remembers: itself if it does already."""
    return iterable if isinstance(iterable, Remembering) else Remembering(iterable)


def decoding(encoding: str = "utf-8", errors: str = "strict") -> Decoding:
    """A source of characters to which bytes of `encoding` are chained."""
    return Decoding(encoding, errors)
