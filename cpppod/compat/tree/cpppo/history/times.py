"""Points in time under cpppo's names."""

from datetime import timedelta
from typing import Any

import pytz

from cpppod.history import (
    AmbiguousTimeZoneError,
    duration,
    format_offset,
    parse_datetime,
    parse_offset,
    parse_seconds,
    timestamp,
)
from cpppod.history.zones import local_zone, zone_names

__all__ = [
    *("AmbiguousTimeZoneError", "duration", "format_offset", "get_localzone"),
    *("has_pytz_classic", "parse_datetime", "parse_offset", "parse_seconds", "pytz"),
    *("timedelta_total_seconds", "timestamp", "zone_names"),
]

has_pytz_classic = False  # today's pytz has other zones and abbreviations than cpppo's tests know


def get_localzone() -> Any:
    """The time zone of this machine, or of the variable `TZ`."""
    return local_zone()


def timedelta_total_seconds(td: timedelta) -> float:
    """Seconds."""
    return td.total_seconds()
