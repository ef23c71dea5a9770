"""Frames out of a stream of bytes: where one begins, where it ends, what is noise.

    ... noise | $GPGGA,...*47 CR LF | noi $GPG | $GPGGA,... (checksum wrong) | S S  100.0 g CR LF
                └── frame ─────────┘                └── not a frame: look again one byte later

A frame ends at the first byte that completes one of the patterns. Bytes that cannot begin or go on
with any are noise: the search goes on one byte later, at the next byte that can begin a frame. So
does it where a checksum is wrong or a frame is longer than its maximum; no frame within the noise
is missed. The work is bounded: input of which more than `RETRIES` times its length would have to be
looked at again is given up in whole stretches.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cpppod.protocols.text import checksums
from cpppod.protocols.text.formats import CHECKED, CHECKSUM, Format, TextSettings, union

RETRIES = 16  # times that a byte is looked at, on average, before noise is dropped in stretches


@dataclass(slots=True)
class Counts:
    """What a stream held so far.

    Attributes:
        frames: complete, checksum right. noise_bytes: belonged to none.
        checksum_errors, overflows: complete with a wrong checksum; longer than allowed.
    """

    frames: int = 0
    noise_bytes: int = 0
    checksum_errors: int = 0
    overflows: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A frame of the stream: its format, its bytes, and its captures' texts."""

    format: Format
    data: bytes
    texts: dict[str, str | None]


class Framer:
    """Cuts a stream into frames; one per connection, or `reset` between."""

    def __init__(self, settings: TextSettings) -> None:
        self._formats = settings.formats
        self._encoding = settings.encoding
        self._machine = union(settings)
        self._maximum = max(format.maximum for format in self._formats)
        self._first = self._machine.first_symbols()
        self._run = self._machine.run()
        self._buffer = bytearray()
        self._begin = 0  # where in the buffer the frame begins that is looked at ...
        self._at = 0  # ... and how far it was looked at
        self._budget = 0
        self.counts = Counts()

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer) - self._begin

    def reset(self) -> None:
        """Forget an incomplete frame: the stream begins anew. Its bytes were noise."""
        self.counts.noise_bytes += self.waiting
        self._buffer.clear()
        self._go_on(0)

    def feed(self, data: bytes) -> Iterator[Found]:
        """Take bytes of the stream; yields the frames that they complete."""
        self._buffer += data
        self._budget = RETRIES * len(data) + self._maximum
        while self._at < len(self._buffer):
            end = min(len(self._buffer), self._begin + self._maximum)
            taken = self._run.feed(self._buffer, self._at, end)
            self._at += taken
            self._budget -= taken
            if self._run.ended and self._run.terminal:
                found = self._complete(bytes(self._buffer[self._begin : self._at]))
                if found is None:
                    self._skip()
                    continue
                self._go_on(self._at)
                self.counts.frames += 1
                yield found
            elif self._run.ended:
                self._skip()
            elif self._at - self._begin >= self._maximum:
                self.counts.overflows += 1
                self._skip()
            else:
                break
        del self._buffer[: self._begin]
        self._begin, self._at = 0, self._at - self._begin

    def _complete(self, data: bytes) -> Found | None:
        """The frame that `data` is, if its length and checksum are right."""
        symbols: bytes | str = data.decode("utf-8") if self._encoding == "utf-8" else data
        for format in self._formats:
            if not format.captures.compiled.accepts(symbols):
                continue
            if len(data) > format.maximum:
                self.counts.overflows += 1
                continue
            texts = format.captures.texts(symbols)
            if format.checksum and not _sum_is_right(format, texts, self._encoding):
                self.counts.checksum_errors += 1
                continue
            return Found(format, data, {name: self._text(text) for name, text in texts.items()})
        return None

    def _skip(self) -> None:
        """Give up on the frame that was begun; go on at the next byte that can begin one."""
        after = self._begin + 1 if self._budget >= 0 else max(self._begin + 1, self._at)
        begins = self._first.search(self._buffer, after)
        following = len(self._buffer) if begins is None else begins.start()
        self.counts.noise_bytes += following - self._begin
        self._go_on(following)

    def _go_on(self, begin: int) -> None:
        self._begin = self._at = begin
        self._run.reset()

    def _text(self, text: bytes | str | None) -> str | None:
        if text is None or isinstance(text, str):
            return text
        return text.decode("latin-1" if self._encoding == "latin-1" else "ascii", "replace")


def _sum_is_right(format: Format, texts: dict[str, bytes | str | None], encoding: str) -> bool:
    checked, found = (_as_bytes(texts[name], encoding) for name in (CHECKED, CHECKSUM))
    return checksums.agrees(format.checksum, checked, found)


def _as_bytes(text: bytes | str | None, encoding: str) -> bytes:
    return text.encode(encoding) if isinstance(text, str) else text or b""
