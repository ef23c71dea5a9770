"""Ranges of code points as the byte sequences that UTF-8 writes for them.

    U+0000  - U+007F     0xxxxxxx
    U+0080  - U+07FF     110xxxxx 10xxxxxx
    U+0800  - U+FFFF     1110xxxx 10xxxxxx 10xxxxxx       without U+D800 - U+DFFF
    U+10000 - U+10FFFF   11110xxx 10xxxxxx 10xxxxxx 10xxxxxx

A range is cut where the length changes and where its sequences are no longer a plain product of one
byte range per place: [U+0430-U+044F] is D0 B0-BF and D1 80-8F.

Source: RFC 3629, section 3 and 4.
"""

from collections.abc import Iterator

Sequence = tuple[tuple[int, int], ...]  # per byte: lowest and highest

_LENGTH_ENDS = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)
_SURROGATES = (0xD800, 0xDFFF)  # no UTF-8 text holds them


def byte_sequences(low: int, high: int) -> Iterator[Sequence]:
    """The byte sequences of the code points `low` to `high`, as products of byte ranges."""
    first, last = _SURROGATES
    if low < first:
        yield from _by_length(low, min(high, first - 1))
    if high > last:
        yield from _by_length(max(low, last + 1), high)


def _by_length(low: int, high: int) -> Iterator[Sequence]:
    for end in _LENGTH_ENDS:
        if low > high:
            return
        if low <= end:
            yield from _products(low, min(high, end))
            low = end + 1


def _products(low: int, high: int) -> Iterator[Sequence]:
    """Cut `low` to `high`, all of one length, at the multiples of 64, 4096 and 262144 within."""
    if high <= 0x7F:
        yield ((low, high),)
        return
    for bits in (6, 12, 18):
        below = (1 << bits) - 1
        if low & ~below == high & ~below:
            break  # only the places below differ
        if low & below:
            yield from _products(low, low | below)
            yield from _products((low | below) + 1, high)
            return
        if high & below != below:
            yield from _products(low, (high & ~below) - 1)
            yield from _products(high & ~below, high)
            return
    yield tuple(zip(_encoded(low), _encoded(high), strict=True))


def _encoded(code_point: int) -> bytes:
    return chr(code_point).encode("utf-8")
