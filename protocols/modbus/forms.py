"""What a tag makes of its registers beyond a plain number: encoding, sentinels, texts.

    registers ─► orders ─► encoding or number ─► sentinel? ─► text of the number, of its bits
                                                     └► `Unavailable`

Several registers that make one value by a formula are computed tags; a power of ten in another
register is `factor`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cpppod.protocols.modbus.encodings import INVERTED, TEXTS, WORDS, Malformed, Zone, encoding_of
from cpppod.protocols.modbus.registers import STRINGS, Codec, arranger, codec, elements
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag

FACTOR_MOST = 10  # powers of ten: SunSpec's, and more than any device means
REGISTER_BYTES = 2


class Unavailable(Exception):
    """The device says that it does not have this value."""


def codec_of(tag: Tag, bit: int | None = None, zone: Zone | None = None) -> Codec:
    """The codec of a tag with its encoding, sentinels and texts.

    Raises:
        EncodeError: it cannot lie in registers as the tag says.
    """
    source = replace(tag, type=tag.holds) if tag.holds else tag
    is_text = source.type in STRINGS and tag.encoding in TEXTS
    if tag.encoding and tag.encoding != INVERTED and not is_text:
        made = _encoded(source, zone)
    else:
        made = codec(source, bit)
    if tag.encoding == INVERTED:
        made = _inverted(tag, made, bit)
    if tag.unavailable:
        made = _watched(source, made)
    if tag.holds:
        made = replace(made, decode=_told(tag, made.decode), encode=None)
    return made


def _encoded(tag: Tag, zone: Zone | None) -> Codec:
    encoding = encoding_of(tag.encoding, tag.type, zone)
    words = encoding.words or WORDS[tag.type]

    def raw_of(value: Any) -> bytes:
        if encoding.encode is None:
            raise EncodeError(f"{tag.name}: {tag.encoding} is not written", status=3)
        return encoding.encode(value, tag.type, words)

    return elements(tag, words, lambda raw: encoding.decode(raw, tag.type), raw_of)


def _inverted(tag: Tag, made: Codec, bit: int | None) -> Codec:
    if tag.type != "BOOL" and tag.bit is None and bit is None:
        raise EncodeError(f"{tag.name}: inverted is of a bit", status=3)
    encode = made.encode
    return replace(
        made,
        decode=lambda data, offset: not made.decode(data, offset),
        encode=None if encode is None else lambda value: encode(not value),
    )


def _watched(tag: Tag, made: Codec) -> Codec:
    """Values that mean "not there": as the registers' bits, or as the number that they are."""
    words = made.element_registers
    size = REGISTER_BYTES * words
    mask = (1 << 8 * size) - 1
    raws = {int(each) & mask for each in tag.unavailable if each == int(each)}
    numbers = set(tag.unavailable)
    arrange, count = arranger(tag, words), made.registers // words

    def decode(data: bytes, offset: int) -> Any:
        for at in range(offset, offset + count * size, size):
            if int.from_bytes(arrange(data[at : at + size]), "big") in raws:
                raise Unavailable
        value = made.decode(data, offset)
        for number in value if isinstance(value, list) else (value,):
            if number in numbers and not isinstance(number, bool):
                raise Unavailable
        return value

    return replace(made, decode=decode)


def _told(tag: Tag, decode: Callable[[bytes, int], Any]) -> Callable[[bytes, int], str]:
    """The number's text, or the texts of its bits."""
    texts = dict(_pair(each) for each in tag.texts)
    flags = dict(_pair(each) for each in tag.flags)

    def told(data: bytes, offset: int) -> str:
        number = int(decode(data, offset))
        if not flags:
            return texts.get(number, str(number))
        bits = (at for at in range(64) if number >> at & 1)
        return ", ".join(flags.get(at, f"bit {at}") for at in bits)

    return told


def _pair(text: str) -> tuple[int, str]:
    """`7=fault`."""
    number, _, words = text.partition("=")
    return int(number, 0), words


def factored(value: Any, power: int) -> Any:
    """A number, or several, times a power of ten.

    Raises:
        Malformed: a power that no device means.
    """
    if not -FACTOR_MOST <= power <= FACTOR_MOST:
        raise Malformed(f"a factor of 10^{power}")
    if isinstance(value, list):
        return [factored(each, power) for each in value]
    return value * 10**power if power >= 0 else value / 10**-power
