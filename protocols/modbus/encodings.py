"""Values that registers hold in another form than binary numbers: `encoding` of a tag.

    bcd         four decimal digits a register          0x1234 is 1234
    magnitude   the top bit is the sign, the rest the size
    mod10000    each register holds 0 to 9999           [12, 3456] is 123456
    24-bit      the lower 24 bits of two registers      48-bit   three registers
    half        a 16-bit float                          inverted a bit that is 0 when it is true
    ascii, latin-1, utf-8, utf-16   of a STRING; utf-16 is one character a register
    date-...    a time of day; a LINT is seconds since 1970 (UTC), a STRING the text of ISO 8601

    date-epoch, date-epoch-2000   seconds since 1970, 2000 in two registers
    date-bcd, date-bytes          YYMM DDhh mmss in three, as BCD or bytes
    date-words                    year month day hour minute second in six
    date-iec                      year, month and day, hour and minute, milliseconds (IEC 870-5-4)

A date without a zone is UTC; with one it is that zone's local time.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.values import INTEGER_RANGES


class Malformed(Exception):
    """Registers that hold no value of their encoding."""


TEXTS = {  # of a STRING -> Python's name; utf-16 is one character a register
    "": "latin-1",
    "ascii": "ascii",
    "latin-1": "latin-1",
    "utf-8": "utf-8",
    "utf-16": "utf-16-be",
}


class Zone(Protocol):
    """What makes a local time one of that zone; `pytz` has them."""

    def localize(self, dt: datetime) -> datetime: ...


WORDS = {  # of a type's number
    **dict.fromkeys(("INT", "UINT", "WORD"), 1),
    **dict.fromkeys(("DINT", "UDINT", "DWORD"), 2),
    **dict.fromkeys(("LINT", "ULINT", "LWORD"), 4),
}
UNSIGNED = frozenset("UINT WORD UDINT DWORD ULINT LWORD".split())
DATES = ("LINT", "STRING")
EPOCH_2000 = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH_1970 = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoding.

    Attributes:
        types: that a tag of it may have.
        words: registers of one value; 0 is as its type has.
        decode: (big-endian bytes, type) -> value.
        encode: (value, type, words) -> big-endian bytes; None where it is not written.
    """

    types: frozenset[str]
    words: int
    decode: Callable[[bytes, str], Any]
    encode: Callable[[Any, str, int], bytes] | None


def _integer(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _fits(value: Any, kind: str, words: int) -> int:
    """The number to write.

    Raises:
        EncodeError: beyond the type.
    """
    low, high = INTEGER_RANGES[kind]
    number: int = round(value)
    if not low <= number <= high:
        raise EncodeError(f"{number} does not fit {kind}", status=3)
    return number


def _bcd(raw: bytes, kind: str) -> int:
    text = raw.hex()
    if not text.isdecimal():
        raise Malformed(f"0x{text} is no BCD")
    return int(text)


def _to_bcd(value: Any, kind: str, words: int) -> bytes:
    text = str(_fits(value, kind, words))
    if len(text) > 4 * words or text.startswith("-"):
        raise EncodeError(f"{text} takes more than {4 * words} digits", status=3)
    return bytes.fromhex(text.rjust(4 * words, "0"))


def _magnitude(raw: bytes, kind: str) -> int:
    number, sign = _integer(raw), 1 << 8 * len(raw) - 1
    return -(number ^ sign) if number & sign else number


def _to_magnitude(value: Any, kind: str, words: int) -> bytes:
    number, sign = _fits(value, kind, words), 1 << 16 * words - 1
    if abs(number) >= sign:
        raise EncodeError(f"{number} does not fit", status=3)
    return (abs(number) | (sign if number < 0 else 0)).to_bytes(2 * words, "big")


def _mod10000(raw: bytes, kind: str) -> int:
    total = 0
    for (word,) in struct.iter_unpack(">H", raw):
        if word > 9999:
            raise Malformed(f"{word} is above 9999")
        total = total * 10_000 + word
    return total


def _to_mod10000(value: Any, kind: str, words: int) -> bytes:
    number = _fits(value, kind, words)
    if not 0 <= number < 10_000**words:
        raise EncodeError(f"{number} does not fit", status=3)
    parts = [number // 10_000**at % 10_000 for at in reversed(range(words))]
    return struct.pack(f">{words}H", *parts)


def _narrow(bits: int) -> tuple[Callable[[bytes, str], Any], Callable[[Any, str, int], bytes]]:
    """Integers of so many bits."""

    def decode(raw: bytes, kind: str) -> int:
        number = _integer(raw) & (1 << bits) - 1
        return number if kind in UNSIGNED else number - (number >> bits - 1 << bits)

    def encode(value: Any, kind: str, words: int) -> bytes:
        number = _fits(value, kind, words)
        low = 0 if kind in UNSIGNED else -(1 << bits - 1)
        if not low <= number < low + (1 << bits):
            raise EncodeError(f"{number} does not fit {bits} bits", status=3)
        return (number & (1 << bits) - 1).to_bytes(2 * words, "big")

    return decode, encode


def _half(raw: bytes, kind: str) -> float:
    (value,) = struct.unpack(">e", raw)
    return float(value)


def _to_half(value: Any, kind: str, words: int) -> bytes:
    try:
        return struct.pack(">e", value)
    except (OverflowError, struct.error) as error:
        raise EncodeError(f"{value!r:.40} ({error})", status=3) from None


# Dates: each makes the parts of a time, or a moment


def _century(year: int) -> int:
    return year + (1900 if year >= 70 else 2000) if year < 100 else year


def _moment(*parts: int) -> datetime:
    try:
        return datetime(_century(parts[0]), *parts[1:])  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise Malformed(str(error)) from None


def _date_bcd(raw: bytes) -> datetime:
    text = raw.hex()
    if not text.isdecimal():
        raise Malformed(f"0x{text} is no BCD")
    return _moment(*(int(text[at : at + 2]) for at in range(0, 12, 2)))


def _date_bytes(raw: bytes) -> datetime:
    return _moment(*raw)


def _date_words(raw: bytes) -> datetime:
    return _moment(*struct.unpack(">6H", raw))


def _date_iec(raw: bytes) -> datetime:
    year, day, minute, milliseconds = struct.unpack(">4H", raw)
    seconds, rest = divmod(milliseconds, 1000)
    parts = (2000 + (year & 0x7F), day >> 8 & 0xF, day & 0x1F, minute >> 8 & 0x1F, minute & 0x3F)
    return _moment(*parts, seconds, rest * 1000)


def _since(epoch: datetime) -> Callable[[bytes], datetime]:
    return lambda raw: (epoch + timedelta(seconds=_integer(raw))).replace(tzinfo=None)


_MOMENTS: dict[str, tuple[int, Callable[[bytes], datetime]]] = {
    "date-epoch": (2, _since(EPOCH_1970)),
    "date-epoch-2000": (2, _since(EPOCH_2000)),
    "date-bcd": (3, _date_bcd),
    "date-bytes": (3, _date_bytes),
    "date-words": (6, _date_words),
    "date-iec": (4, _date_iec),
}


def date_encoding(name: str, zone: Zone | None) -> Encoding:
    """The encoding of a date, in the local time of `zone`."""
    words, moment = _MOMENTS[name]

    def decode(raw: bytes, kind: str) -> Any:
        local = moment(raw)
        try:
            at = local.replace(tzinfo=UTC) if zone is None else zone.localize(local).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise Malformed(str(error)) from None
        if kind == "STRING":
            return at.isoformat().replace("+00:00", "Z")
        return (at - EPOCH_1970) // timedelta(seconds=1)

    return Encoding(frozenset(DATES), words, decode, None)


_24, _48 = _narrow(24), _narrow(48)
ENCODINGS: dict[str, Encoding] = {
    "bcd": Encoding(UNSIGNED, 0, _bcd, _to_bcd),
    "magnitude": Encoding(frozenset(("INT", "DINT", "LINT")), 0, _magnitude, _to_magnitude),
    "mod10000": Encoding(UNSIGNED, 0, _mod10000, _to_mod10000),
    "24-bit": Encoding(frozenset(("DINT", "UDINT")), 2, *_24),
    "48-bit": Encoding(frozenset(("LINT", "ULINT")), 3, *_48),
    "half": Encoding(frozenset(("REAL", "LREAL")), 1, _half, _to_half),
}
INVERTED = "inverted"
NAMES = (*ENCODINGS, INVERTED, *_MOMENTS)


def encoding_of(name: str, kind: str, zone: Zone | None = None) -> Encoding:
    """The encoding of that name for a type.

    Raises:
        EncodeError: there is none, or not of that type.
    """
    found = date_encoding(name, zone) if name in _MOMENTS else ENCODINGS.get(name)
    if found is None:
        known = ", ".join((*NAMES, *filter(None, TEXTS)))
        raise EncodeError(f"no encoding {name!r} of a {kind}; there are {known}", status=3)
    if kind not in found.types:
        raise EncodeError(f"{name} is of {', '.join(sorted(found.types))}", status=3)
    return found
