"""History: points in time, history files and their playback, and what the stores know.

`timestamp`, `logger`, `reader` and `loader` are those of the documented history module; `query`
asks a store of the historian.
"""

from cpppod.history.durations import (
    duration,
    format_offset,
    parse_datetime,
    parse_offset,
    parse_seconds,
)
from cpppod.history.files import DataError, HistoryExhausted, IframeError, opener
from cpppod.history.loader import loader
from cpppod.history.logger import logger
from cpppod.history.reader import reader
from cpppod.history.timestamp import timestamp
from cpppod.history.zones import AmbiguousTimeZoneError

__all__ = [
    "AmbiguousTimeZoneError",
    "DataError",
    "HistoryExhausted",
    "IframeError",
    "duration",
    "format_offset",
    "loader",
    "logger",
    "opener",
    "parse_datetime",
    "parse_offset",
    "parse_seconds",
    "reader",
    "timestamp",
]
