"""Points in time: the documented examples, and what their original got wrong."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import pytz

from cpppod.history import AmbiguousTimeZoneError, timestamp

AT = datetime(2014, 4, 24)  # the examples' time: zones and their names change


@pytest.fixture(autouse=True)
def no_abbreviations() -> Iterator[None]:
    timestamp.support_abbreviations(None, reset=True)
    yield
    timestamp.support_abbreviations(None, reset=True)
    timestamp.LOC = None


@pytest.fixture
def canada() -> None:
    timestamp.support_abbreviations(["CA", "Europe/Berlin"], at=AT, reset=True)
    timestamp.LOC = pytz.timezone("America/Edmonton")


def test_text_is_utc_to_the_millisecond_and_rounded() -> None:
    moment = timestamp(1399326141.999836)
    assert str(moment) == "2014-05-05 21:42:22.000"
    assert moment.render(ms=5) == "2014-05-05 21:42:21.99984"
    assert moment.render(ms=6) == "2014-05-05 21:42:21.999836"
    assert moment.render(ms=False) == "2014-05-05 21:42:21"
    assert repr(timestamp(1414915323.122)) == "<2014-11-02 08:02:03.122 =~= 1414915323.122000>"


@pytest.mark.parametrize("thousandth", range(122, 129))
def test_thousandths_that_are_not_exact_come_out_as_they_went_in(thousandth: int) -> None:
    assert str(timestamp(1414915323 + thousandth / 1000)) == f"2014-11-02 08:02:03.{thousandth}"


def test_more_than_six_digits_are_refused() -> None:
    with pytest.raises(ValueError, match="digits"):
        timestamp(0).render(ms=7)


def test_stamps_within_a_millisecond_are_equal() -> None:
    base = timestamp(1000.0)
    assert base == timestamp(1000.0009)
    assert not base < timestamp(1000.0009)
    assert base <= timestamp(1000.0009) and base >= timestamp(1000.0009)
    assert base != timestamp(1000.0011)
    assert base < timestamp(1000.0011) and timestamp(1000.0011) > base


def test_a_stamp_equals_nothing_else_and_is_ordered_with_nothing_else() -> None:
    none: Any = None
    assert timestamp(0) != none
    assert timestamp(0) != 0.0
    with pytest.raises(TypeError):
        assert timestamp(0) < none


def test_stamps_that_print_alike_are_one_key() -> None:
    assert len({timestamp(1000.0001), timestamp(1000.0002), timestamp(1001)}) == 2


def test_arithmetic_is_in_seconds() -> None:
    moment = timestamp(1000)
    assert (moment + 1.5).value == 1001.5
    assert (moment - 1).value == 999.0
    assert timestamp(1002) - moment == 2.0
    kept = moment
    moment += 5
    moment -= 2
    assert (moment.value, kept.value) == (1003.0, 1000.0)
    assert (float(moment), int(moment)) == (1003.0, 1003)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2014-01-01 07:00:00.0", 1388559600.0),
        ("2014-01-01 07:00:00", 1388559600.0),
        ("2014 01 01 07 00 00 25", 1388559600.25),
        ("2014-01-01 07-00-00-25", 1388559600.25),
        ("2014.01.01.07.00.00.25", 1388559600.25),
        ("  2014-01-01  07:00:00.123456  ", 1388559600.123456),
        ("1970-01-01 00:00:00.000", 0.0),
        ("1969-12-31 23:59:58.750", -1.25),
        ("2014-01-01T07:00:00Z", 1388559600.0),
        ("2014-01-01T07:00:00.5z", 1388559600.5),
        ("2014-01-01T00:00:00-07:00", 1388559600.0),
        ("2014-01-01 00:00:00 -0700", 1388559600.0),
        ("2014-01-01 00:00:00.000-0700", 1388559600.0),
        ("2014-01-01 00:00:00-07", 1388559600.0),
        ("2014-01-01 12:30:00 +05:30", 1388559600.0),
        ("2014-01-01 00:00:00 America/Edmonton", 1388559600.0),
        ("2014-01-01 02:00:00.000 America/Port-au-Prince", 1388559600.0),
        ("2014-01-01 12:00:00 Etc/GMT-5", 1388559600.0),
        ("2014-01-01 07:00:00 UTC", 1388559600.0),
    ],
)
def test_text_is_understood(text: str, seconds: float) -> None:
    assert timestamp(text).value == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2014-01-01",
        "2014-13-01 00:00:00.000",
        "2014-02-30 00:00:00",
        "2014-01-01 24:00:00",
        "2014-01-01 00:60:00.000",
        "2014-01-01 00:00:00 Nowhere/Land",
        "2014-01-01 00:00:00 XYZT",
        "2014-01-01 00:00:00 -7",
        "2014-01-01 00:00:00.000 -0700 MST",
        "99999-01-01 00:00:00",
    ],
)
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        timestamp(text)


def test_a_number_a_stamp_and_a_datetime_are_understood() -> None:
    assert timestamp(5).value == 5.0
    assert timestamp(timestamp(5.5)).value == 5.5
    assert timestamp(datetime(1970, 1, 1, 1, tzinfo=UTC)).value == 3600.0
    assert timestamp(datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-1)))).value == 3600.0
    with pytest.raises(ValueError, match="no zone"):
        timestamp(datetime(1970, 1, 1))
    with pytest.raises(ValueError):
        timestamp([])  # type: ignore[arg-type]
    assert timestamp().value == pytest.approx(datetime.now(UTC).timestamp(), abs=5)


def test_zones_are_rendered_by_name_abbreviation_or_offset() -> None:
    moment = timestamp(1399726367)
    zone = "America/Edmonton"
    assert moment.render(zone) == "2014-05-10 06:52:47.000 MDT"
    assert moment.render(zone, tzdetail=True) == "2014-05-10 06:52:47.000 America/Edmonton"
    assert moment.render(zone, tzdetail=False) == "2014-05-10 06:52:47.000-0600"
    assert moment.render(tzdetail=False) == "2014-05-10 12:52:47.000+0000"
    assert moment.render(pytz.timezone(zone), ms=False) == "2014-05-10 06:52:47 MDT"


@pytest.mark.parametrize("zone", [None, "America/Edmonton", "Asia/Kolkata", "Europe/Berlin"])
def test_iso_8601_goes_both_ways(zone: str | None) -> None:
    moment = timestamp(1399726367.125)
    assert timestamp(moment.iso(zone)).value == moment.value
    assert datetime.fromisoformat(moment.iso(zone)).timestamp() == moment.value


def test_abbreviations_mean_nothing_unless_asked_for() -> None:
    with pytest.raises(ValueError, match="UnknownTimeZone"):
        timestamp("2014-04-24 08:00:00 MDT")


def test_abbreviations_of_a_country(canada: None) -> None:
    assert timestamp("2014-04-24 08:00:00 MDT").value == 1398348000.0
    found = timestamp.support_abbreviations("CA", at=AT, reset=True)
    assert found == sorted("ADT AST CDT CST EDT EST MDT MST NDT NST PDT PST".split())
    assert timestamp.support_abbreviations("Europe/Berlin", at=AT) == ["CEST", "CET"]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2014-11-02 01:02:03.123 MST", "2014-11-02 08:02:03.123"),
        ("2014-11-02 01:02:03.456 MDT", "2014-11-02 07:02:03.456"),
        ("2014-10-26 02:01:00.123 CET", "2014-10-26 01:01:00.123"),
        ("2014-10-26 02:01:00.456 CEST", "2014-10-26 00:01:00.456"),
        ("2014-03-09 02:00:01 MST", "2014-03-09 09:00:01.000"),  # not a time of MDT's clocks
        ("2014-03-09 03:00:01 MDT", "2014-03-09 09:00:01.000"),
        ("2014-05-10 05:52:47 MST", "2014-05-10 12:52:47.000"),  # standard time in summer
        ("2014-11-02 00:59:59 America/Edmonton", "2014-11-02 06:59:59.000"),
    ],
)
def test_abbreviations_say_which_of_two_times_is_meant(canada: None, text: str, utc: str) -> None:
    assert timestamp(text).utc == utc


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("2014-11-02 01:00:01 America/Edmonton", pytz.AmbiguousTimeError),
        ("2014-03-09 02:00:01 America/Edmonton", pytz.NonExistentTimeError),
    ],
)
def test_local_times_that_happen_twice_or_never_are_refused(
    text: str, cause: type[Exception]
) -> None:
    with pytest.raises(ValueError, match=cause.__name__) as refused:
        timestamp(text)
    assert isinstance(refused.value.__cause__, cause)


def test_local_is_got_and_set(canada: None) -> None:
    moment = timestamp(1414915140)
    assert moment.local == "2014-11-02 01:59:00 MDT"
    moment += 61
    assert moment.local == "2014-11-02 01:00:01 MST"
    moment.local = "2014-03-09 03:00:01"
    assert moment.utc == "2014-03-09 09:00:01.000"
    moment.utc = "2014-04-01 07:00:00.000"
    assert moment.local == "2014-04-01 01:00:00 MDT"
    moment.utc = "2014-04-01 01:00:00 MDT"
    assert moment.utc == "2014-04-01 07:00:00.000"


def test_zones_that_disagree_about_a_name_are_passed_over_or_refused() -> None:
    with pytest.raises(AmbiguousTimeZoneError, match="America/Havana"):
        timestamp.support_abbreviations("America", at=AT, first=False, reset=True)
    assert timestamp.support_abbreviations(None) == []  # and nothing of it was learnt
    found = timestamp.support_abbreviations("America", exclude=["America/Havana", "CDT"], at=AT)
    assert "MDT" in found and "CDT" not in found


def test_each_region_has_its_own_meaning_of_ist() -> None:
    assert timestamp.support_abbreviations("Asia/Jerusalem", at=AT, reset=True) == ["IDT", "IST"]
    assert timestamp("2014-01-01 09:00:00 IST").value == 1388559600.0
    timestamp.support_abbreviations("IE", at=AT, reset=True)
    assert timestamp("2014-07-01 01:00:00 IST").utc == "2014-07-01 00:00:00.000"


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(pytz.UnknownTimeZoneError):
        timestamp.support_abbreviations("Atlantis")


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Canada/Mountain", "2014-04-03 07:19:59 MDT"),
        (":Europe/Berlin", "2014-04-03 15:19:59 CEST"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "2014-04-03 22:19:59 JST"),
        ("Nowhere/Land", None),
    ],
)
def test_the_local_zone_is_that_of_the_environment(zone: str, local: str | None) -> None:
    if zone.startswith("/") and not os.path.exists(zone):
        pytest.skip("no zone files here")
    script = "from cpppod.history import timestamp; print(timestamp(1396531199).local)"
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    if local is not None:
        assert told.stdout.strip() == local
