"""Points in time as plants write them down: UTC or local, in microseconds, compared to
milliseconds.

    >>> timestamp("2014-11-02 01:02:03.123 MST")      # after timestamp.support_abbreviations("CA")
    <2014-11-02 08:02:03.123 =~= 1414915323.123000>
    >>> timestamp(1399726367).render("America/Edmonton")
    '2014-05-10 06:52:47.000 MDT'

Text in:   YYYY-MM-DD HH:MM:SS[.ffffff] [zone]    any of `:`, `-`, `.` and blank separates the
numbers
           YYYY-MM-DDTHH:MM:SS[.ffffff][zone]     ISO 8601
    zone:  nothing (UTC), `Z`, `-0700`, `-07:00`, `-07`, `America/Edmonton`, or a short name that
           `support_abbreviations` was asked for.
A local time that happens twice or never is refused unless its short name says which one is meant.
"""

import calendar
import functools
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, ClassVar

import pytz

from cpppod.history.zones import REACH, Abbreviation, AbbreviationTable, local_zone

_TEXT = re.compile(
    r"""\s*(?P<year>\d{4})[-:.\s]+(?P<month>\d{1,2})[-:.\s]+(?P<day>\d{1,2})
        (?:[-:.\s]+|[Tt])
        (?P<hour>\d{1,2})(?P<separator>[-:.\s])\s*(?P<minute>\d{1,2})[-:.\s]+(?P<second>\d{1,2})
        (?:(?:[.,:]|\s+|(?P<dash>-))(?P<fraction>\d+))?
        \s*(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?|[A-Za-z][\w/+-]*)?\s*""",
    re.VERBOSE,
)
_OFFSET = re.compile(r"([+-])(\d{2})(?::?(\d{2}))?(?::?(\d{2}))?")


class timestamp:
    """A point in time; `value` is its seconds since 1970 in UTC, as a float.

    Two stamps within a millisecond of each other are equal. They hash by the millisecond that they
    print as, so as keys they are what their text is; do not set `utc` or `local` of one that is a
    key.

    Args:
        value: None for now, seconds, text (see the module), a `timestamp` or an aware `datetime`.

    Raises:
        ValueError: the text is no time, or one that happens twice or never (the cause is then
            pytz's AmbiguousTimeError or NonExistentTimeError); a `datetime` without a zone.
    """

    UTC: ClassVar[Any] = pytz.utc
    LOC: ClassVar[Any] = None  # the local zone; None: the machine's

    _precision: ClassVar[int] = 3
    _epsilon: ClassVar[float] = 10**-3
    _fmt: ClassVar[str] = "%Y-%m-%d %H:%M:%S"
    _abbreviations: ClassVar[AbbreviationTable] = AbbreviationTable()

    __slots__ = ("value",)

    value: float

    def __init__(self, value: "float | str | timestamp | datetime | None" = None) -> None:
        if value is None:
            self.value = time.time()
        elif isinstance(value, timestamp):
            self.value = value.value
        elif isinstance(value, int | float):
            self.value = float(value)
        elif isinstance(value, str):
            self.value = _seconds_of(value) or self._parse(value)
        elif isinstance(value, datetime):
            self.value = self.number_from_datetime(value)
        else:
            raise ValueError(f"no time: {value!r}")

    @classmethod
    def support_abbreviations(
        cls,
        region: str | Iterable[str] | None,
        exclude: str | Iterable[str] | None = None,
        at: datetime | None = None,
        reach: timedelta | None = None,
        reset: bool = False,
        first: bool = True,
    ) -> list[str]:
        """Understand the short zone names of `region` from now on; those that are new.

        Args:
            region: country codes, zones or beginnings of zones' names; None for none.
            exclude: regions or short names to leave out.
            at, reach: the names in use within `reach` (half a year) of `at` (now; naive, UTC).
            reset: forget all others first.
            first: a zone that means something else by a known name is passed over.

        Raises:
            AmbiguousTimeZoneError: not `first`, and zones differ in what a name means.
        """
        table = AbbreviationTable()
        if not reset:
            table.names = cls._abbreviations.names
        instant = at if at is not None else datetime.now(UTC).replace(tzinfo=None)
        added = table.add(region, exclude=exclude, at=instant, reach=reach or REACH, first=first)
        cls._abbreviations = table
        return added

    @classmethod
    def timezone_info(cls, zone: str | tzinfo) -> tuple[tzinfo, bool | None]:
        """The zone of that name, and whether the name means summer time (None: either).

        Raises:
            pytz.UnknownTimeZoneError: neither a zone nor a short name that is understood.
        """
        if isinstance(zone, str):
            known = cls._abbreviations.names.get(zone)
            return (known.zone, known.is_dst) if known else (pytz.timezone(zone), None)
        return zone, None

    @classmethod
    def datetime_from_string(cls, text: str, tzinfo: str | tzinfo | None = None) -> datetime:
        """The aware datetime that `text` says; without a zone of its own it is one of `tzinfo`
        (UTC).

        Raises:
            ValueError: see the class.
        """
        found = _TEXT.fullmatch(str(text))
        if found is None:
            raise ValueError(f"no time: {text!r}; expected YYYY-MM-DD HH:MM:SS[.ffffff] [zone]")
        zone, fraction = found["zone"], found["fraction"]
        if found["dash"] and fraction:
            zone, fraction = _dashed(found, zone, fraction)
        second = int(found["second"])
        try:
            day = datetime(int(found["year"]), int(found["month"]), int(found["day"]))
            naive = day.replace(hour=int(found["hour"]), minute=int(found["minute"]), second=second)
            naive += timedelta(microseconds=_microseconds(fraction))
            return cls._localize(naive, zone or tzinfo)
        except (
            ValueError,
            OverflowError,
            pytz.InvalidTimeError,
            pytz.UnknownTimeZoneError,
        ) as error:
            raise ValueError(f"no time: {text!r}: {type(error).__name__}: {error}") from error

    @classmethod
    def _localize(cls, naive: datetime, zone: str | tzinfo | None) -> datetime:
        if zone is None or zone in ("Z", "z"):
            return pytz.utc.localize(naive)
        if isinstance(zone, str):
            offset = _OFFSET.fullmatch(zone)
            if offset:
                return naive.replace(tzinfo=_fixed(offset))
            known = cls._abbreviations.names.get(zone)
            if known:
                return known.localize(naive)
            zone = pytz.timezone(zone)
        if hasattr(zone, "localize"):
            return Abbreviation(zone, None, timedelta()).localize(naive)
        return naive.replace(tzinfo=zone)

    @classmethod
    def datetime_from_number(cls, number: float, tzinfo: str | tzinfo | None = None) -> datetime:
        """The aware datetime `number` seconds after 1970 in UTC, in the zone `tzinfo` (UTC).

        Raises:
            ValueError: no year that a datetime can say.
        """
        zone = cls.UTC if tzinfo is None else cls.timezone_info(tzinfo)[0]
        try:
            return datetime.fromtimestamp(number, tz=zone)
        except (OverflowError, OSError, ValueError) as error:
            raise ValueError(f"no time: {number!r}: {error}") from error

    @classmethod
    def number_from_datetime(cls, moment: datetime) -> float:
        """The seconds since 1970 in UTC of an aware datetime.

        Raises:
            ValueError: it has no zone.
        """
        if moment.utcoffset() is None:
            raise ValueError(f"no time: {moment!r} has no zone")
        return calendar.timegm(moment.utctimetuple()) + moment.microsecond / 1e6

    @classmethod
    def _parse(cls, text: str, tzinfo: str | tzinfo | None = None) -> float:
        return cls.number_from_datetime(cls.datetime_from_string(text, tzinfo))

    def render(
        self,
        tzinfo: str | tzinfo | None = None,
        ms: bool | int = True,
        tzdetail: bool | None = None,
    ) -> str:
        """The time as text, rounded to `ms` digits below the second (True: 3; 0 cuts off).

        Args:
            tzinfo: a zone or its name; None is UTC.
            tzdetail: what follows the time: None, the zone's short name unless it is UTC; True, its
                full name; False, the offset as `-0600`.

        Raises:
            ValueError: `ms` beyond 6 digits, or no year that text can say.
            pytz.UnknownTimeZoneError: there is no zone `tzinfo`.
        """
        digits = self._precision if ms is True else int(ms)
        if not 0 <= digits <= 6:
            raise ValueError(f"0 to 6 digits below the second, not {digits}")
        value = round(self.value, digits) if digits else self.value
        fraction = f"{value % 1:.{digits}f}"[1:] if digits else ""
        if tzinfo is None and tzdetail is None:
            return _utc_second(int(value // 1)) + fraction
        moment = self.datetime_from_number(value // 1, tzinfo)
        result = moment.strftime(self._fmt) + fraction
        if tzdetail is None:
            return result if moment.tzinfo is self.UTC else result + moment.strftime(" %Z")
        if tzdetail:
            return f"{result} {getattr(moment.tzinfo, 'zone', None) or moment.tzname()}"
        return result + moment.strftime("%z")

    def iso(self, tzinfo: str | tzinfo | None = None, ms: bool | int = True) -> str:
        """The time as ISO 8601 has it: `2014-05-10T12:52:47.000Z`, with `-06:00` in another
        zone."""
        text = self.render(tzinfo, ms, tzdetail=False).replace(" ", "T", 1)
        text, offset = text[:-5], text[-5:]
        return f"{text}Z" if tzinfo is None else f"{text}{offset[:3]}:{offset[3:]}"

    @classmethod
    def _local_zone(cls) -> Any:
        return cls.LOC if cls.LOC is not None else local_zone()

    @property
    def utc(self) -> str:
        """The time in UTC to the millisecond; set from text, in UTC unless that names a zone."""
        return str(self)

    @utc.setter
    def utc(self, text: str) -> None:
        self.value = self._parse(text)

    @property
    def local(self) -> str:
        """The time in the local zone to the second, with the zone's short name; set from text."""
        return self.render(self._local_zone(), ms=False)

    @local.setter
    def local(self, text: str) -> None:
        self.value = self._parse(text, self._local_zone())

    def __float__(self) -> float:
        return self.value

    def __int__(self) -> int:
        return int(self.value)

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"<{self} =~= {self.value:.6f}>"

    def __hash__(self) -> int:
        return hash(round(self.value, self._precision))

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, timestamp):
            return NotImplemented
        return self.value + self._epsilon < other.value

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, timestamp):
            return NotImplemented
        return self.value - self._epsilon > other.value

    def __le__(self, other: object) -> bool:
        return not self > other if isinstance(other, timestamp) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return not self < other if isinstance(other, timestamp) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, timestamp):
            return NotImplemented
        return not (self < other or self > other)

    def __add__(self, seconds: float) -> "timestamp":
        return timestamp(self.value + seconds)

    def __sub__(self, other: Any) -> Any:
        """A `timestamp` that many seconds earlier; of two stamps, the seconds between them."""
        if isinstance(other, timestamp):
            return self.value - other.value
        return timestamp(self.value - other)


@functools.lru_cache(maxsize=256)
def _utc_second(second: int) -> str:
    """A whole second in UTC as text; stamps come in crowds."""
    return timestamp.datetime_from_number(second).strftime(timestamp._fmt)


def _seconds_of(text: str) -> float | None:
    """The plain form that history files are full of, at a glance; None: it needs a closer look."""
    if len(text) != 23 or text[19] != "." or text[10] != " ":
        return None
    try:
        return _second_number(text[:19]) + int(text[20:]) / 1000
    except ValueError:
        return None


@functools.lru_cache(maxsize=256)
def _second_number(text: str) -> int:
    if not (text[4] == text[7] == "-" and text[13] == text[16] == ":" and text.isascii()):
        raise ValueError(text)
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    if not all(part.isdigit() for part in parts):
        raise ValueError(text)
    return int(datetime(*map(int, parts), tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


def _dashed(found: re.Match[str], zone: str | None, digits: str) -> tuple[str | None, str | None]:
    """`-123` after the seconds: a fraction where dashes separate the time, else an offset."""
    if found["separator"] == "-" and zone is None:
        return zone, digits
    if zone is None:
        zone = f"-{digits}"
    elif digits and found.end("fraction") == found.start("zone"):
        zone = f"-{digits}{zone}"
    if not _OFFSET.fullmatch(zone):
        raise ValueError(f"no time: {found[0]!r}: {zone!r} is no offset")
    return zone, None


def _microseconds(fraction: str | None) -> int:
    return round(float(f"0.{fraction}") * 1e6) if fraction else 0


def _fixed(offset: re.Match[str]) -> timezone:
    sign, hours, minutes, seconds = offset.groups()
    delta = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    return timezone(-delta if sign == "-" else delta)
