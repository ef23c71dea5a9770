"""A capture's text as a tag's value.

    conversion  text                        value
    number      ` 12.50`, `-3`, `1e3`       as the tag's type says
    hex         `1F`, `0x1f`                31
    angle       `4807.038,N`, `01131.0W`    48.1173 degrees, -11.516666 degrees
    time        `123519.25`                 45319.25 seconds of the day

Before any of them, a word may stand for a number (`values.stable = { S = 1, D = 0 }`). A capture
that is empty or took no part has no value.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import (
    INTEGER_RANGES,
    REAL_LIMIT,
    REAL_TYPES,
    STRING_TYPES,
    Quality,
)

TYPES = frozenset({*INTEGER_RANGES, *REAL_TYPES, *STRING_TYPES, "BOOL"})
WORDS = {"true": 1, "false": 0, "on": 1, "off": 0, "yes": 1, "no": 0}

_ANGLE = re.compile(r"([0-9]{1,3})([0-9]{2}(?:\.[0-9]*)?),? *([NSEW])")
_TIME = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2}(?:\.[0-9]*)?)")

Sample = tuple[Any, int]


def sample(text: str | None, tag: Tag, conversion: str, words: dict[str, Any]) -> Sample:
    """The tag's value and quality out of a capture's text; never raises."""
    if text is None or (text == "" and tag.type not in STRING_TYPES):
        return None, int(Quality.BAD)
    if text in words:
        return _typed(words[text], tag)
    if tag.type in STRING_TYPES:
        return text, int(Quality.GOOD)
    try:
        return _typed(CONVERSIONS[conversion](text.strip()), tag)
    except (ValueError, OverflowError):
        return None, int(Quality.BAD_REPLY)


def _typed(value: Any, tag: Tag) -> Sample:
    """`value` as the tag's type holds it."""
    if tag.type in STRING_TYPES:
        return str(value), int(Quality.GOOD)
    if tag.type == "BOOL":
        return bool(value), int(Quality.GOOD)
    if tag.type in REAL_TYPES:
        number = float(value)
        beyond = not math.isfinite(number) or (tag.type == "REAL" and abs(number) > REAL_LIMIT)
        return (None, int(Quality.OUT_OF_RANGE)) if beyond else (number, int(Quality.GOOD))
    if value != int(value):
        return None, int(Quality.BAD_REPLY)
    low, high = INTEGER_RANGES[tag.type]
    if not low <= value <= high:
        return None, int(Quality.OUT_OF_RANGE)
    if tag.bit is not None:
        return bool(int(value) >> tag.bit & 1), int(Quality.GOOD)
    return int(value), int(Quality.GOOD)


def _number(text: str) -> int | float:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if "_" in text:
        raise ValueError("no number")
    try:
        return int(text)
    except ValueError:
        return float(text)


def _hex(text: str) -> int:
    if "_" in text:
        raise ValueError("no number")
    return int(text, 16)


def _angle(text: str) -> float:
    found = _ANGLE.fullmatch(text)
    if found is None:
        raise ValueError("no angle")
    degrees = int(found[1]) + float(found[2]) / 60
    return -degrees if found[3] in "SW" else degrees


def _time(text: str) -> float:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("no time of day")
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


CONVERSIONS: dict[str, Callable[[str], int | float]] = {
    "number": _number,
    "hex": _hex,
    "angle": _angle,
    "time": _time,
}
