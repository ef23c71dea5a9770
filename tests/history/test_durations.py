"""Durations, offsets and datetimes as text."""

from datetime import timedelta

import pytest

from cpppod.history import (
    duration,
    format_offset,
    parse_datetime,
    parse_offset,
    parse_seconds,
    timestamp,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (60, "1m"),
        (90, "1m30s"),
        (3661.5, "1h1m1.5s"),
        (0.000123, "123us"),
        (0.005, "5ms"),
        (0.25, "250ms"),
        (871384.678, "1w3d2h3m4.678s"),
        (63115205, "2y5s"),
        (-5, "-5s"),
        (600000.000001, "6d22h40m1us"),
    ],
)
def test_durations_print_as_the_shortest_that_says_them(seconds: float, text: str) -> None:
    assert str(duration(seconds)) == text
    if seconds > 0:
        assert duration(text).seconds == pytest.approx(seconds)


def test_durations_are_values() -> None:
    assert duration("1h") == duration(timedelta(hours=1)) == duration(duration(3600))
    assert len({duration("1h"), duration("60m")}) == 1
    assert float(duration(None)) == 0.0
    assert duration("1h") != 3600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        (None, 0),
        ("10", 10),
        (10.5, 10.5),
        ("-5", -5),
        ("1:30", 5400),
        ("01:02:03.5", 3723.5),
        ("1h30m", 5400),
        ("1w", 604800),
        ("1y", 31557600),
        ("123us", 0.000123),
        ("1500ns", 0.0000015),
        ("1.5h", 5400),
        ("10min", 600),
        ("2 min 3s", 123),
        (" 1d 2h ", 93600),
        ("1m30.5s", 90.5),
        ("1m5ms", 60.005),
    ],
)
def test_seconds_are_understood(text: str | float | None, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["x", "1:2:3:4", "5 apples", "1h1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("< 1:00:00.001", -3600.001), ("<:1.001", -1.001), (">1:0.001", 60.001), (">1", 1)],
)
def test_offsets_are_understood(text: str, seconds: float) -> None:
    assert parse_offset(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["1:00", "", ">1:2:3:4", "> x"])
def test_what_is_no_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_offset(text)


def test_offsets_print_with_their_sign() -> None:
    assert format_offset(3600.001) == "> 1:00:00.001"
    assert format_offset(-1.5) == "< 0:00:01.500"
    assert format_offset(-3661, ms=False, symbols="-+") == "- 1:01:01"


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2014-01-20 10:00", None, "2014-01-20 10:00:00.000"),
        ("2014-01-20", "America/Edmonton", "2014-01-20 07:00:00.000"),
        ("2014-01-20 03:00 America/Edmonton", None, "2014-01-20 10:00:00.000"),
        ("2014-01-20T03:00:00-07:00", "Europe/Berlin", "2014-01-20 10:00:00.000"),
        ("2014-01-20T10:00:00Z", "Europe/Berlin", "2014-01-20 10:00:00.000"),
    ],
)
def test_datetimes_are_understood(text: str, zone: str | None, utc: str) -> None:
    assert timestamp(parse_datetime(text, zone)).utc == utc


def test_datetimes_are_told_in_the_zone_asked_for() -> None:
    assert parse_datetime("2014-01-20T10:00:00Z", "America/Edmonton").hour == 3
    with pytest.raises(ValueError, match="no time zone"):
        parse_datetime("2014-01-20", "Nowhere")
