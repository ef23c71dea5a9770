"""Time zones by the short names that people use for them: MST and MDT, CET and CEST.

A short name says more than its zone: `America/Edmonton` 01:30 happens twice on the last night of
summer time, `MDT` 01:30 once. It also says less, as several zones share it, so only the names of
the regions that somebody asked for mean anything, and two zones may share a name only while both
mean the same by it.

    region   a country code (`CA`), a zone (`Europe/Berlin`) or the beginning of zones' names
    (`Europe`)
"""

import bisect
import functools
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytz

logger = logging.getLogger(__name__)

REACH = timedelta(days=182.5)  # half a year to either side sees summer and winter time once


class AmbiguousTimeZoneError(pytz.UnknownTimeZoneError):
    """One abbreviation would mean two different times."""


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """What a short name stands for.

    Attributes:
        zone: a pytz time zone that uses it.
        is_dst: whether it means summer time; None where the zone has one name for both.
        offset: from UTC.
        changes: the zone's changes within the reach: instant (naive, UTC), offset, summer time's
            part.
    """

    zone: Any
    is_dst: bool | None
    offset: timedelta
    changes: tuple[Any, ...] = ()

    def localize(self, naive: datetime) -> datetime:
        """`naive` with this meaning: `MST` is 7 hours behind UTC in July, too.

        Raises:
            pytz.AmbiguousTimeError, pytz.NonExistentTimeError: only where `is_dst` is None.
        """
        found: datetime = self.zone.localize(naive, is_dst=self.is_dst)
        if self.is_dst is None or bool(found.dst()) == self.is_dst:
            return found
        return pytz.utc.localize(naive - self.offset).astimezone(self.zone)


def zone_names(region: str | Iterable[str] | None) -> Iterator[str]:
    """The zones that each region stands for; one that is not known stands for itself."""
    for name in [region] if isinstance(region, str) else region or ():
        try:
            zones = list(pytz.country_timezones[name])
        except KeyError:
            zones = [zone for zone in pytz.common_timezones if zone.startswith(name)]
        yield from zones or [name]


@functools.lru_cache(maxsize=1)
def local_zone() -> Any:
    """This machine's zone: of `TZ` (a name or a zone file), of the system's settings, else UTC."""
    wanted = os.environ.get("TZ", "").lstrip(":")
    if wanted and Path(wanted).is_file():
        with open(wanted, "rb") as file:
            return pytz.tzfile.build_tzinfo("local", file)  # type: ignore[attr-defined]
    for name in (wanted, _from_text("/etc/timezone"), _from_link("/etc/localtime")):
        if name:
            try:
                return pytz.timezone(name)
            except pytz.UnknownTimeZoneError:
                logger.warning("time zone is not known zone=%s", name)
    if os.name == "nt":
        return datetime.now().astimezone().tzinfo
    return pytz.utc


def _from_text(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.split("#", 1)[0].strip().replace(" ", "_")


def _from_link(path: str) -> str:
    target = os.path.realpath(path)
    return target.partition("zoneinfo/")[2]


class AbbreviationTable:
    """The short names that are understood at present."""

    def __init__(self) -> None:
        self.names: dict[str, Abbreviation] = {}

    def add(
        self,
        region: str | Iterable[str] | None,
        *,
        exclude: str | Iterable[str] | None = None,
        at: datetime,
        reach: timedelta = REACH,
        first: bool = True,
    ) -> list[str]:
        """Learn the short names in use in `region` within `reach` of `at` (naive, UTC); the new
        ones.

        Args:
            exclude: regions, or short names, to leave out.
            first: what a name means already stands, and a zone that differs is passed over.

        Raises:
            AmbiguousTimeZoneError: not `first`, and zones differ in what a name means. Nothing is
                learnt then: ask for fewer regions, or exclude some.
            pytz.UnknownTimeZoneError: there is no such region.
        """
        excluded = set(zone_names(exclude))
        names = dict(self.names)
        conflicts = []
        for zone_name in zone_names(region):
            if zone_name in excluded:
                continue
            for name, meaning in _meanings(pytz.timezone(zone_name), at, reach).items():
                if not name.isalpha() or name in excluded:
                    continue
                known = names.get(name)
                if known is None or _refines(meaning, known):
                    names[name] = meaning
                elif not _agree(meaning, known):
                    conflicts.append(f"{name} of {zone_name} is not that of {known.zone}")
        if conflicts and not first:
            raise AmbiguousTimeZoneError(f"{region}: {'; '.join(conflicts)}")
        for conflict in conflicts:
            logger.info("time zone passed over reason=%s", conflict)
        added = sorted(set(names) - set(self.names))
        self.names = names
        return added


def _meanings(zone: tzinfo, at: datetime, reach: timedelta) -> dict[str, Abbreviation]:
    """Each short name that `zone` uses within `reach` of `at`."""
    instants: list[datetime] = getattr(zone, "_utc_transition_times", [])
    begin = bisect.bisect(instants, at - reach)
    end = bisect.bisect(instants, at + reach)
    details = getattr(zone, "_transition_info", [])
    changes = tuple(
        zip(instants[begin:end], (info[:2] for info in details[begin:end]), strict=True)
    )
    probes = [max(at - reach, datetime(1970, 1, 1)), *instants[begin:end]]
    found: dict[str, Abbreviation] = {}
    for probe in probes:
        local = pytz.utc.localize(probe).astimezone(zone)
        name, is_dst = local.tzname() or "", bool(local.dst())
        offset = local.utcoffset() or timedelta()
        known = found.get(name)
        if known is not None and (known.is_dst, known.offset) != (is_dst, offset):
            found[name] = Abbreviation(zone, None, known.offset, changes)
        elif known is None:
            found[name] = Abbreviation(zone, is_dst, offset, changes)
    return found


def _refines(meaning: Abbreviation, known: Abbreviation) -> bool:
    """Whether `meaning` is definite where `known` leaves summer time open, and agrees otherwise."""
    return known.is_dst is None and meaning.is_dst is False and known.offset == meaning.offset


def _agree(meaning: Abbreviation, known: Abbreviation) -> bool:
    """Whether two zones mean the same by one name; for summer time, also when it is."""
    if meaning.offset != known.offset:
        return False
    return not meaning.is_dst or (known.is_dst is True and meaning.changes == known.changes)
