"""Durations as they are typed."""

import re

import pytest

from cpppod.protocols.model.durations import SCHEMA, parse_seconds


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
