"""The values of a write: checked against their tag, and as the device is to have them.

values ──► writable? elements? type? limits? ──► inverse scale, rounded ──► raw values
"""

import math
from typing import Any

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.model.values import INTEGER_RANGES, NUMBERS, REAL_LIMIT, STRING_TYPES
from cpppod.protocols.model.writing import WriteRefused


def raw_write(tag: Tag, first: int, values: list[Any]) -> tuple[Tag, int, list[Any]]:
    """The write as the driver sends it: checked against the tag, scaled back and rounded.

    Raises:
        WriteRefused: not writable, beyond its limits or its type, or no such element.
    """
    if not tag.writable:
        raise WriteRefused(Failure.NOT_WRITABLE, f"{tag.name} is not writable")
    if not values or first < 0 or first + len(values) > tag.length:
        raise WriteRefused(Failure.BAD_PARAMETER, f"{tag.name} has {tag.length} element(s)")
    return tag, first, [_raw(tag, value) for value in values]


def _raw(tag: Tag, value: Any) -> Any:
    if tag.type in STRING_TYPES:
        return _text(tag, value)
    if tag.type not in NUMBERS:
        return value
    if not isinstance(value, int | float):
        raise WriteRefused(Failure.BAD_PARAMETER, f"{tag.name}: {value!r:.40} is no number")
    if math.isnan(value) or math.isinf(value):
        raise WriteRefused(Failure.BAD_VALUE, f"{tag.name}: {value} is not written")
    for limit, beyond in ((tag.minimum, "below"), (tag.maximum, "above")):
        if limit is not None and (value < limit if beyond == "below" else value > limit):
            raise WriteRefused(Failure.BAD_VALUE, f"{tag.name}: {value:g} is {beyond} {limit:g}")
    if tag.bit is not None or tag.type == "BOOL":
        if value not in (0, 1):
            raise WriteRefused(Failure.BAD_VALUE, f"{tag.name}: {value!r:.40} is neither 0 nor 1")
        return bool(value)
    return _number(tag, value)


def _number(tag: Tag, value: float) -> int | float:
    scaled = tag.scale != 1.0 or tag.offset != 0.0
    raw = (value - tag.offset) / tag.scale if scaled else value
    limits = INTEGER_RANGES.get(tag.type)
    if tag.scale_from:  # the driver knows the power of ten, and rounds
        return float(raw)
    if limits is None:
        if tag.type == "REAL" and abs(raw) > REAL_LIMIT:
            raise WriteRefused(Failure.BAD_VALUE, f"{tag.name}: {value:g} does not fit REAL")
        return float(raw)
    raw = round(raw)
    if not limits[0] <= raw <= limits[1]:
        raise WriteRefused(Failure.BAD_VALUE, f"{tag.name}: {value:g} does not fit {tag.type}")
    return raw


def _text(tag: Tag, value: Any) -> str:
    if not isinstance(value, str):
        raise WriteRefused(Failure.BAD_PARAMETER, f"{tag.name}: {value!r:.40} is no string")
    if tag.size and len(value) > tag.size:  # a character is a byte at least
        raise WriteRefused(Failure.BAD_VALUE, f"{tag.name}: longer than {tag.size} bytes")
    return value
