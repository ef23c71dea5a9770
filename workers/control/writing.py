"""A value as an operator gives it, as the tag's type wants it.

    boiler.setpoint=52.5     "52.5" -> 52.5        a REAL
    boiler.mode=AUTO         "AUTO"                 a STRING
    boiler.run=on            "on"   -> True         a BOOL: true/false, on/off, yes/no, 1/0
    recipe[2]=1,2,3          three elements from the third on

What comes from a program as JSON may be of the right type already. Limits are the owner's to check.
"""

import json
import math
import re
from typing import Any

from cpppod.protocols.model.values import INTEGER_RANGES, REAL_TYPES, STRING_TYPES

MAX_VALUES = 1_000  # elements in one write, as many as fit a line of the control socket

_TARGET = re.compile(r"^(?P<tag>[A-Za-z_][\w.]*)(?:\[(?P<first>\d{1,6})\])?$")
_BOOLEANS = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}


class NotWritable(ValueError):
    """The text names no value of the tag's type; says what was expected."""


def target_of(text: str) -> tuple[str, int]:
    """Tag and first element of `boiler.setpoint` or `recipe[2]`.

    Raises:
        NotWritable: it is no tag.
    """
    match = _TARGET.match(text)
    if match is None:
        raise NotWritable("not a tag; expected TAG or TAG[ELEMENT]")
    return match["tag"], int(match["first"] or 0)


def values_of(given: Any, cip_type: str) -> list[Any]:
    """The elements in `given`: text with commas, a JSON list or a single value.

    Raises:
        NotWritable: an element is not of `cip_type`, or there are none or too many.
    """
    elements = _elements(given, cip_type)
    if not 1 <= len(elements) <= MAX_VALUES:
        raise NotWritable(f"{len(elements)} values; expected 1 to {MAX_VALUES}")
    return [value_of(element, cip_type) for element in elements]


def _elements(given: Any, cip_type: str) -> list[Any]:
    if isinstance(given, list):
        return given
    if not isinstance(given, str):
        return [given]
    if given.startswith("["):
        try:
            listed = json.loads(given)
        except (ValueError, RecursionError):
            raise NotWritable("not a JSON list") from None
        return listed if isinstance(listed, list) else [listed]
    return [given] if cip_type in STRING_TYPES else given.split(",")


def value_of(given: Any, cip_type: str) -> Any:
    """`given` as a value of `cip_type`.

    Raises:
        NotWritable: it is not a value of that type.
    """
    if cip_type == "BOOL":
        return _boolean(given)
    if cip_type in INTEGER_RANGES:
        return _integer(given, cip_type)
    if cip_type in REAL_TYPES:
        return _real(given)
    if cip_type in STRING_TYPES:
        if isinstance(given, str) and _is_text(given):
            return given
        raise NotWritable(f"{_shown(given)} is no text")
    raise NotWritable(f"a value of type {cip_type} cannot be written from here")


def _is_text(given: str) -> bool:
    """Whether it can leave as bytes: JSON can say half of a surrogate pair."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _boolean(given: Any) -> bool:
    value = _BOOLEANS.get(str(given).strip().lower())
    if value is None:
        raise NotWritable(
            f"{_shown(given)} is neither true nor false; expected true, false, 1 or 0"
        )
    return value


def _integer(given: Any, cip_type: str) -> int:
    """A whole number: 0x10 and 16.0 are, True and NaN are not."""
    try:
        value = int(given.strip(), 0) if isinstance(given, str) else given
        whole = not isinstance(value, bool) and value == int(value)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise NotWritable(f"{_shown(given)} is no whole number")
    low, high = INTEGER_RANGES[cip_type]
    if not low <= value <= high:
        raise NotWritable(f"{_shown(given)} is not in the range of {cip_type}, {low} to {high}")
    return int(value)


def _real(given: Any) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        raise NotWritable(f"{_shown(given)} is no number") from None
    if isinstance(given, bool) or not math.isfinite(value):
        raise NotWritable(f"{_shown(given)} is no finite number")
    return value


def _shown(given: Any) -> str:
    """What was given, for a message; Python refuses to print integers of 4,300 digits."""
    try:
        return f"{given!r:.40}"
    except ValueError:
        return "a number of thousands of digits"
