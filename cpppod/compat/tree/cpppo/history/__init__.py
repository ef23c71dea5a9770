"""History files and points in time under cpppo's names: those of `cpppod.history`."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

from .files import (
    DataError,
    HistoryExhausted,
    IframeError,
    loader,
    logger,
    opener,
    parse_record,
    reader,
)
from .times import (
    AmbiguousTimeZoneError,
    duration,
    format_offset,
    get_localzone,
    has_pytz_classic,
    parse_datetime,
    parse_offset,
    parse_seconds,
    pytz,
    timedelta_total_seconds,
    timestamp,
)

__all__ = [
    *("AmbiguousTimeZoneError", "DataError", "HistoryExhausted", "IframeError", "duration"),
    *("format_offset", "get_localzone", "has_pytz_classic", "loader", "logger", "opener"),
    *("parse_datetime", "parse_offset", "parse_record", "parse_seconds", "pytz", "reader"),
    *("timedelta_total_seconds", "timestamp"),
]
