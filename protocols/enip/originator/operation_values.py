"""The values of an operation: `(REAL)1.5,2`, `"Hello, world!"`, `[0,1,2]`, `{"speed": 3}`.

Without a cast, a `.` or an exponent in any value makes all of them REAL, a double quote makes them
STRING, `{` a structure, and all else the caller's integer type. Signed types also take the unsigned
range, as other clients allow: SINT 255 is -1 on the wire.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip import types
from cpppod.protocols.model.errors import EncodeError

MAX_SHOWN = 60  # characters of a long operation around the place of its error
MAX_NESTING_TEXT = 32_768  # characters of one structure's JSON


class OperationError(EncodeError, ValueError):
    """An operation's text cannot be understood.

    Attributes:
        text: the whole operation.
        position: index of the character that the error is about.
        reason: why, without the place.
    """

    def __init__(self, text: str, position: int, reason: str) -> None:
        self.text, self.reason = text, reason
        self.position = max(0, min(position, len(text)))
        super().__init__(
            f"{reason}, at character {self.position + 1} of {text[:200]!r}", status=0x09
        )

    def pointer(self) -> str:
        """Two lines for a terminal: the operation, and `^` below the character at fault."""
        start = max(0, self.position - MAX_SHOWN // 2)
        shown = self.text[start : start + MAX_SHOWN]
        shown = "".join(c if c.isprintable() else "?" for c in shown)
        return f"    {shown}\n    {' ' * (self.position - start)}^"


@dataclass(frozen=True, slots=True)
class CastType:
    """A type that a value can be cast to; `size` is 0 where elements differ in size."""

    name: str
    code: int
    size: int
    low: int = 0
    high: int = 0


STRUCTURE = CastType("STRUCT", types.STRUCTURE, 0)


def _castable(kind: types.DataType) -> CastType:
    """`kind` as a cast, signed integers with the unsigned range besides."""
    if kind.kind != "int":
        return CastType(kind.name, kind.code, kind.size)
    return CastType(kind.name, kind.code, kind.size, kind.limits[0], (1 << 8 * kind.size) - 1)


TYPES = {name: _castable(kind) for name, kind in types.BY_NAME.items()} | {"STRUCT": STRUCTURE}
_TEXTS = frozenset(name for name, kind in types.BY_NAME.items() if kind.kind == "string")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CAST = re.compile(r"\s*\(\s*([A-Za-z_0-9]+)\s*\)")
_REAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$")
_INTEGER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|[0-9]+)$")
_JSON = json.JSONDecoder()


class Text:
    """A text being read from left to right, up to `end`."""

    __slots__ = ("end", "position", "text")

    def __init__(self, text: str, *, start: int = 0, end: int | None = None) -> None:
        self.text, self.position = text, start
        self.end = len(text) if end is None else end

    @property
    def at_end(self) -> bool:
        """Whether all has been read."""
        return self.position >= self.end

    @property
    def rest(self) -> str:
        """What has not been read."""
        return self.text[self.position : self.end]

    def error(self, reason: str) -> OperationError:
        """The error `reason` at the place reached."""
        return OperationError(self.text, self.position, reason)

    def skip_blanks(self) -> None:
        """Go to the next character that is no blank."""
        while self.position < self.end and self.text[self.position].isspace():
            self.position += 1

    def peek(self, symbol: str) -> bool:
        """Whether `symbol` comes next."""
        return self.position < self.end and self.text[self.position] == symbol

    def take(self, symbol: str) -> bool:
        """Whether `symbol` came next; it is read."""
        if not self.peek(symbol):
            return False
        self.position += 1
        return True

    def until(self, stops: str) -> str:
        """What comes before the first of `stops`; it is read."""
        start = self.position
        while self.position < self.end and self.text[self.position] not in stops:
            self.position += 1
        return self.text[start : self.position]


def type_named(name: str) -> CastType | None:
    """The type called `name`, in any case; None for one that no value can be cast to."""
    return TYPES.get(name.upper())


def parse_values(reader: Text, default: str) -> tuple[CastType, list[Any]]:
    """The type and the values that `reader` stands before.

    Raises:
        OperationError: no value, or one that does not fit its type.
    """
    cast = _CAST.match(reader.text, reader.position, reader.end)
    kind = None
    if cast is not None:
        kind = type_named(cast[1])
        if kind is None:
            known = " ".join(TYPES)
            raise OperationError(
                reader.text, cast.start(1), f"unknown type {cast[1]!r}; one of {known}"
            )
        reader.position = cast.end()
    reader.skip_blanks()
    if reader.peek("{"):
        if kind not in (None, STRUCTURE):
            raise reader.error(f"a structure is no {kind.name}")
        return STRUCTURE, _structures(reader)
    _unwrap(reader)
    values = list(_split(reader))
    if kind is None:
        kind = _kind_of(values, default)
    return kind, [_value(reader, kind, *value) for value in values]


def _unwrap(reader: Text) -> None:
    """Leave the brackets of `[1,2,3]` out."""
    if not reader.peek("["):
        return
    closing = len(reader.text[: reader.end].rstrip()) - 1
    if reader.text[closing] != "]":
        raise OperationError(reader.text, reader.position, "'[' without ']'")
    reader.position += 1
    reader.end = closing


def _split(reader: Text) -> list[tuple[int, str, bool]]:
    """(place, text, quoted) of each value."""
    values = []
    while True:
        reader.skip_blanks()
        start = reader.position
        if reader.peek('"'):
            values.append((start, _quoted(reader), True))
            reader.skip_blanks()
        else:
            text = reader.until(",")
            if not text.strip():
                raise OperationError(reader.text, start, "a value is missing")
            values.append((start, text, False))
        if reader.at_end:
            return values
        if not reader.take(","):
            raise reader.error("expected ',' after a quoted value")


def _quoted(reader: Text) -> str:
    """The text in double quotes, where two double quotes stand for one."""
    start = reader.position
    reader.position += 1
    text = ""
    while True:
        text += reader.until('"')
        if not reader.take('"'):
            raise OperationError(reader.text, start, "a quote is never closed")
        if not reader.take('"'):
            return text
        text += '"'


def _kind_of(values: list[tuple[int, str, bool]], default: str) -> CastType:
    if any(quoted for _, _, quoted in values):
        return TYPES["STRING"]
    if any(_REAL.match(text.strip()) for _, text, _ in values):
        return TYPES["REAL"]
    return TYPES[default]


def _structures(reader: Text) -> list[Any]:
    """The JSON objects, separated by commas, that stand for structures."""
    if reader.end - reader.position > MAX_NESTING_TEXT:
        raise reader.error(f"a structure has up to {MAX_NESTING_TEXT} characters")
    values = []
    while True:
        reader.skip_blanks()
        try:
            value, end = _JSON.raw_decode(reader.text, reader.position)
        except json.JSONDecodeError as error:
            raise OperationError(reader.text, error.pos, f"not JSON: {error.msg}") from None
        except RecursionError:
            raise reader.error("nested too deep") from None
        if not isinstance(value, dict):
            raise reader.error('a structure is an object such as {"speed": 3}')
        values.append(value)
        reader.position = end
        reader.skip_blanks()
        if reader.at_end:
            return values
        if not reader.take(","):
            raise reader.error("expected ',' after a structure")


def _value(reader: Text, kind: CastType, at: int, text: str, quoted: bool) -> Any:
    if kind.name in _TEXTS:
        return _packed(reader, kind, at, text, text)
    if quoted:
        raise OperationError(reader.text, at, f"a {kind.name} is not quoted")
    word = text.strip()
    if kind.name == "BOOL" and word.lower() in _TRUTH:
        return _TRUTH[word.lower()]
    if kind.name in ("REAL", "LREAL"):
        return _real(reader, kind, at, word)
    found = _INTEGER.match(word)
    if found is None:
        raise OperationError(reader.text, at, f"{word!r} is no {kind.name}")
    digits = found[2]
    value = int(digits, 0) if digits[1:2].lower() in ("x", "o", "b") else int(digits)
    value = -value if found[1] == "-" else value
    if kind.name == "BOOL":
        return bool(value)
    if kind is STRUCTURE:
        raise OperationError(reader.text, at, f'{word!r} is no STRUCT, such as {{"speed": 3}}')
    if not kind.low <= value <= kind.high:
        raise OperationError(
            reader.text, at, f"{word} is no {kind.name} ({kind.low} to {kind.high})"
        )
    return value


def _real(reader: Text, kind: CastType, at: int, word: str) -> Any:
    try:
        value = float(word)
    except ValueError:
        raise OperationError(reader.text, at, f"{word!r} is no {kind.name}") from None
    if math.isinf(value) and word[-1:].isdigit():
        raise OperationError(reader.text, at, f"{word!r} is no {kind.name}: it is too large")
    return _packed(reader, kind, at, word, value)


def _packed(reader: Text, kind: CastType, at: int, word: str, value: Any) -> Any:
    """`value`, which the type can say."""
    try:
        types.BY_NAME[kind.name].pack([value])
    except EncodeError as error:
        shown = word if len(word) <= MAX_SHOWN else f"{word[:MAX_SHOWN]}..."
        why = str(error).partition(": ")[2]
        raise OperationError(reader.text, at, f"{shown!r} is no {kind.name}: {why}") from None
    return value
