"""Lengths of time as people write them, the same in TOML and on every command line.

    10  1.5              seconds
    500ms  10s  1.5h     one number and its unit
    1h30m  2d 6h         several, the longest first
    1:30  01:02:03.5     hours and minutes, and seconds

Units: us, ms, s, m or min, h, d, w, y (365.25 days, as calendars go on average).
"""

import math
import re

UNITS_S = {
    "y": 31_557_600.0,
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
}
EXPECTED = 'seconds, or text such as "500ms", "1s", "10min", "1h30m", "30d"'
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
PATTERN = r"\s*" + "".join(
    rf"(?:{_NUMBER}\s*{unit})?\s*"
    for unit in ("y", "w", "d", "h", "m(?:in)?(?!s)", "s", "ms", "us", "ns")
)
SCHEMA = (  # the same for JSON Schema, which knows no flags
    rf"(?:(?:\s*{_NUMBER}\s*(?:y|w|d|h|min|m|s|ms|us|ns))+|\s*{_NUMBER}"
    r"|\s*\d+:[0-5]\d(?::[0-5]\d(?:\.\d*)?)?)\s*"
)
_PARTS = re.compile(PATTERN, re.IGNORECASE)
_CLOCK = re.compile(r"\s*(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d*)?))?\s*")


def parse_seconds(text: str) -> float:
    """Seconds of a duration's text.

    Raises:
        ValueError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        pass
    if clock := _CLOCK.fullmatch(text):
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3] or 0)
    found = _PARTS.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is no duration; expected {EXPECTED}")
    return sum(
        float(count) * unit
        for count, unit in zip(found.groups(), UNITS_S.values(), strict=True)
        if count
    )


def parse_span(text: str) -> tuple[float, float]:
    """Seconds, least and most, of `100ms-1.5s`; of one duration both are the same.

    Raises:
        ValueError: it is none, or runs backwards.
    """
    first, dash, last = text.partition("-")
    least = parse_seconds(first)
    most = parse_seconds(last) if dash else least
    if not 0 <= least <= most < math.inf:
        raise ValueError(f"{text!r}: expected 0 or more, the least first")
    return least, most
