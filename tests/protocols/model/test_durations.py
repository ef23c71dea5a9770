"""Durations as they are typed."""

import re

import pytest

from cpppod.protocols.model.durations import SCHEMA, parse_seconds, parse_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10.0),
        (" 1.5 ", 1.5),
        (".5s", 0.5),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("1s", 1.0),
        ("10m", 600.0),
        ("10min", 600.0),
        ("10 MIN", 600.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("2d 6h", 194_400.0),
        ("1w", 604_800.0),
        ("1:30", 5400.0),
        ("01:02:03.5", 3723.5),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)
    assert re.fullmatch(SCHEMA, text.lower())


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "10x", "1h 2h", "1m2h", "1:60", "s", "--1s", "1,5s"]
)
def test_what_is_no_duration_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="expected seconds, or text such as"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [("0", (0, 0)), ("100ms", (0.1, 0.1)), ("0.1-0.9", (0.1, 0.9)), ("100ms-1min", (0.1, 60.0))],
)
def test_a_span_is_the_least_and_the_most(text: str, span: tuple[float, float]) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "-", "-1", "1-", "2-1", "1s-1ms", "soon", "0-inf", "1-2-3"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_span(text)
