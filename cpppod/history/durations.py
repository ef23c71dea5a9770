"""Lengths of time as people write them: `1w2d3h4m5.678s`, `1h30m`, `1:30`, `123us`, `<
0:00:01.500`.

A year is 365.25 days, as calendars go on average.
"""

import re
from datetime import datetime
from datetime import timedelta as datetime_timedelta
from typing import Any

import pytz

from cpppod.history.timestamp import timestamp
from cpppod.protocols.model import durations

UNITS_US = {
    "y": 31_557_600_000_000,
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}


class duration:
    """A length of time; its text is the shortest that says it.

    Args:
        value: seconds, text such as `1h30m`, a `timedelta`, a `duration`, or None for none.

    Raises:
        ValueError: the text is no duration.
    """

    __slots__ = ("timedelta",)

    timedelta: datetime_timedelta

    def __init__(self, value: "float | str | datetime_timedelta | duration | None" = None) -> None:
        if isinstance(value, duration):
            self.timedelta = value.timedelta
        elif isinstance(value, datetime_timedelta):
            self.timedelta = value
        elif isinstance(value, str):
            self.timedelta = datetime_timedelta(microseconds=_microseconds(value))
        else:
            self.timedelta = datetime_timedelta(seconds=value or 0)

    @property
    def seconds(self) -> float:
        """The whole length in seconds."""
        return self.timedelta.total_seconds()

    def __float__(self) -> float:
        return self.seconds

    def __str__(self) -> str:
        rest = self.timedelta // datetime_timedelta(microseconds=1)
        text = "-" if rest < 0 else ""
        rest = abs(rest)
        for unit in ("y", "w", "d", "h", "m"):
            count, rest = divmod(rest, UNITS_US[unit])
            text += f"{count}{unit}" if count else ""
        if rest >= UNITS_US["s"]:
            return text + f"{rest / 1e6:.6f}".rstrip("0").rstrip(".") + "s"
        if rest:
            return text + (f"{rest}us" if rest % 1000 else f"{rest // 1000}ms")
        return text if text.strip("-") else "0s"

    def __repr__(self) -> str:
        return f"<duration {self}>"

    def __eq__(self, other: object) -> bool:
        return self.timedelta == other.timedelta if isinstance(other, duration) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.timedelta)


def _microseconds(text: str) -> int:
    return round(durations.parse_seconds(text) * 1e6) if text.strip() else 0


def parse_seconds(text: float | str | duration | None) -> float:
    """Seconds of a number, `10`, `1:30` (hours and minutes), `01:02:03.5`, `1h30m`; "" and None
    are 0.

    Raises:
        ValueError: none of those.
    """
    if isinstance(text, str) and text.strip():
        return durations.parse_seconds(text)
    return duration(text).seconds


def parse_offset(term: str, symbols: str = "<>") -> float:
    """Seconds of `< 1:00:00.001` (before) or `>1` (after), as `format_offset` writes them.

    Raises:
        ValueError: no sign first, or more than hours, minutes and seconds.
    """
    text = term.strip()
    if not text or text[0] not in symbols:
        raise ValueError(f"no offset: {term!r}; expected {' or '.join(symbols)} [[h:]m:]s[.s]")
    parts = text[1:].strip().lstrip(":").split(":")
    if len(parts) > 3:
        raise ValueError(f"no offset: {term!r}; more than hours, minutes and seconds")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return -seconds if text[0] == symbols[0] else seconds


def format_offset(seconds: float, ms: bool = True, symbols: str = "<>") -> str:
    """`seconds` as `> 1:00:00.001`; the sign says before (`<`) or after."""
    size = abs(seconds)
    rest = f"{size % 60:06.3f}" if ms else f"{int(size % 60):02d}"
    hours, minutes = int(size // 3600), int(size % 3600 // 60)
    return f"{symbols[0] if seconds < 0 else symbols[1]}{hours:2d}:{minutes:02d}:{rest}"


def parse_datetime(text: str, zone: str | None = None) -> datetime:
    """The aware datetime of `2019-01-20 10:00`, `2019-01-20` or any text that `timestamp` takes.

    Args:
        zone: what the result is told in, and what a text without zone means; UTC by default.

    Raises:
        ValueError: no time, or there is no such zone.
    """
    try:
        wanted: Any = pytz.timezone(zone or "UTC")
    except pytz.UnknownTimeZoneError as error:
        raise ValueError(f"no time zone: {zone!r}") from error
    short = re.fullmatch(
        r"\s*(\d{4}-\d{1,2}-\d{1,2})(?:[ T](\d{1,2}:\d{2}))?(\s+[A-Za-z].*)?", text
    )
    if short:
        text = f"{short[1]} {short[2] or '00:00'}:00{short[3] or ''}"
    found = timestamp.datetime_from_string(text, wanted)
    named = re.search(r"\s[A-Za-z][\w/+-]*\s*$", text)
    return found if named else found.astimezone(wanted)
