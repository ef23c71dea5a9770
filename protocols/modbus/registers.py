"""Values in registers: all CIP types, word and byte orders, strings, single bits.

    word order big      high word at the lower address       ABCD
               little   low word at the lower address        CDAB
    byte order little   the bytes of each register swapped   BADC, with both: DCBA

A `Codec` is made once for a tag and then turns the bytes of a reply into its value, and a value
into registers. Bit n is that of the value, whatever register it lies in. 8-bit types take the low
byte of a register of their own; strings have two characters per register, the first in the high
byte, and end at the first NUL.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.modbus.encodings import TEXTS, Malformed
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag

_LETTERS = {
    "SINT": "b",
    "USINT": "B",
    "BYTE": "B",
    "INT": "h",
    "UINT": "H",
    "WORD": "H",
    "DINT": "i",
    "UDINT": "I",
    "DWORD": "I",
    "LINT": "q",
    "ULINT": "Q",
    "LWORD": "Q",
    "REAL": "f",
    "LREAL": "d",
}
STRINGS = frozenset({"STRING", "SSTRING", "SHORT_STRING"})
MAX_STRING = 250  # bytes: what one read holds
ORDERS = ("big", "little")
BITS = {  # of the types that a bit can be taken from
    **dict.fromkeys(("SINT", "USINT", "BYTE"), 8),
    **dict.fromkeys(("DINT", "UDINT", "DWORD"), 32),
    **dict.fromkeys(("LINT", "ULINT", "LWORD"), 64),
    **dict.fromkeys(("INT", "UINT", "WORD", "BOOL"), 16),
}


@dataclass(frozen=True, slots=True)
class Codec:
    """How one tag's value lies in registers.

    Attributes:
        registers: how many it takes, all elements together.
        decode: (data, offset in bytes) -> value.
        encode: value of one element -> its registers' bytes; None where it is one bit of one.
        element_registers: registers of one element.
    """

    registers: int
    element_registers: int
    decode: Callable[[bytes, int], Any]
    encode: Callable[[Any], bytes] | None


def codec(tag: Tag, bit: int | None = None) -> Codec:
    """The codec of a tag in registers; `bit` where its address names one.

    Raises:
        EncodeError: the type cannot lie in registers as the tag says.
    """
    bit = tag.bit if bit is None else bit
    if tag.word_order not in ORDERS or tag.byte_order not in ORDERS:
        raise EncodeError(f"{tag.name}: an order is big or little", status=3)
    if bit is not None:
        return _bit_codec(tag, bit)
    if tag.type in STRINGS:
        return _string_codec(tag)
    if tag.type == "BOOL":
        return elements(tag, 1, lambda raw: raw != b"\0\0", lambda value: bytes((0, bool(value))))
    letter = _LETTERS.get(tag.type)
    if letter is None:
        raise EncodeError(f"{tag.name}: {tag.type} does not lie in registers", status=3)
    return _number_codec(tag, letter)


def bit_place(tag: Tag, bit: int) -> tuple[int, int]:
    """Where bit `bit` of a tag's value lies: register, counted from its first, and bit in that.

    Raises:
        EncodeError: the value has no such bit.
    """
    words = _words_of(tag.type)
    if tag.length != 1 or not 0 <= bit < BITS.get(tag.type, 16):
        last = BITS.get(tag.type, 16) - 1
        raise EncodeError(f"{tag.name}: one bit, 0 to {last}, of one {tag.type}", status=3)
    word = bit // 16
    register = word if tag.word_order == "little" else words - 1 - word
    return register, bit % 16 ^ (8 if tag.byte_order == "little" else 0)


def _words_of(type_: str) -> int:
    return -(-BITS.get(type_, 16) // 16)


def _bit_codec(tag: Tag, bit: int) -> Codec:
    register, at = bit_place(tag, bit)
    shift, index = at & 7, 2 * register + (0 if at >= 8 else 1)
    words = _words_of(tag.type)
    return Codec(words, words, lambda data, offset: bool(data[offset + index] >> shift & 1), None)


def _string_codec(tag: Tag) -> Codec:
    if not 1 <= tag.size <= MAX_STRING or tag.length != 1:
        raise EncodeError(f"{tag.name}: a string needs a size, 1 to {MAX_STRING}", status=3)
    if tag.word_order != "big":
        raise EncodeError(f"{tag.name}: a string has no word_order", status=3)
    size, swap, encoding = tag.size, tag.byte_order == "little", TEXTS[tag.encoding]
    padded = size + (size & 1)

    def decode(data: bytes, offset: int) -> str:
        raw = data[offset : offset + padded]
        if swap:
            raw = _swap_bytes(raw)
        if encoding != "utf-16-be":  # whose characters have zeros in them
            raw = raw[:size].split(b"\0", 1)[0]
        try:
            return raw.decode(encoding).partition("\0")[0]
        except UnicodeDecodeError:
            raise Malformed(f"0x{raw.hex()[:40]} is no {tag.encoding} text") from None

    def encode(value: Any) -> bytes:
        raw = text_bytes(tag.name, str(value), encoding)
        if len(raw) > size:
            raise EncodeError(f"{tag.name}: longer than {size} bytes", status=3)
        raw = raw.ljust(padded, b"\0")
        return _swap_bytes(raw) if swap else raw

    return Codec(padded // 2, padded // 2, decode, encode)


def text_bytes(name: str, text: str, encoding: str) -> bytes:
    """`text` as the device holds it.

    Raises:
        EncodeError: a character that the encoding has none for; the message names it.
    """
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise EncodeError(
            f"{name}: {character!r} (U+{ord(character):04X}) cannot be said in {encoding}", status=3
        ) from None


def _number_codec(tag: Tag, letter: str) -> Codec:
    packer = struct.Struct(f">{letter}")
    size = packer.size

    def number(raw: bytes) -> Any:
        return packer.unpack(raw[-size:])[0]

    def raw_of(value: Any) -> bytes:
        try:
            raw = packer.pack(value)
        except (struct.error, OverflowError) as error:
            raise EncodeError(f"{tag.name}: {value!r:.40} ({error})", status=3) from None
        return raw if size > 1 else (b"\xff" if letter == "b" and value < 0 else b"\0") + raw

    words = max(1, size // 2)
    plain = tag.word_order == tag.byte_order == "big" or (words == 1 and tag.byte_order == "big")
    if plain and tag.length == 1 and size > 1:
        unpack = packer.unpack_from
        return Codec(words, words, lambda data, offset: unpack(data, offset)[0], raw_of)
    if plain and size > 1:
        many = struct.Struct(f">{tag.length}{letter}").unpack_from
        return Codec(
            words * tag.length, words, lambda data, offset: list(many(data, offset)), raw_of
        )
    return elements(tag, words, number, raw_of)


def arranger(tag: Tag, words: int) -> Callable[[bytes], bytes]:
    """Puts the orders of an element of so many registers right; its own inverse."""
    swap, reverse = tag.byte_order == "little", tag.word_order == "little" and words > 1
    size = 2 * words

    def arrange(raw: bytes) -> bytes:
        if reverse:
            raw = b"".join(raw[at : at + 2] for at in range(size - 2, -2, -2))
        return _swap_bytes(raw) if swap else raw

    return arrange


def elements(
    tag: Tag, words: int, number: Callable[[bytes], Any], raw_of: Callable[[Any], bytes]
) -> Codec:
    """Elements one by one, with their orders put right."""
    size, arrange = 2 * words, arranger(tag, words)

    def decode(data: bytes, offset: int) -> Any:
        return number(arrange(data[offset : offset + size]))

    def decode_all(data: bytes, offset: int) -> list[Any]:
        return [decode(data, offset + at * size) for at in range(tag.length)]

    def encode(value: Any) -> bytes:
        return arrange(raw_of(value))

    return Codec(words * tag.length, words, decode if tag.length == 1 else decode_all, encode)


def _swap_bytes(raw: bytes) -> bytes:
    swapped = bytearray(len(raw))
    swapped[0::2], swapped[1::2] = raw[1::2], raw[0::2]
    return bytes(swapped)
