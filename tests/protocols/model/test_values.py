"""Qualities as one integer, and in words."""

from typing import Any

import pytest

from cpppod.protocols.model.values import Quality, explain, is_bad, judged, quality


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (quality(Quality.GOOD), "good"),
        (quality(Quality.DEVICE_STATUS, status=2), "device refused (status 0x02)"),
        (
            quality(Quality.DEVICE_STATUS, status=0xFF, extended=0x2105),
            "device refused (status 0xff, extended 0x2105)",
        ),
        (
            quality(Quality.DEVICE_STATUS, extended=7),
            "device refused (status 0x00, extended 0x0007)",
        ),
        (quality(Quality.TIMEOUT), "device did not answer in time"),
        (200, "bad"),
        (200 | 3 << 8, "bad (status 0x03)"),
    ],
)
def test_quality_is_told_in_words_with_the_devices_status(given: int, text: str) -> None:
    assert explain(given) == text


def test_status_and_extended_status_stay_in_their_bits() -> None:
    assert quality(Quality.DEVICE_STATUS, status=0x1FF, extended=0x1FFFF) == 0xFFFFFF14


@pytest.mark.parametrize("code", list(Quality))
def test_no_value_goes_with_what_is_bad_whatever_its_status(code: Quality) -> None:
    assert is_bad(quality(code, status=0xFF)) is (code >= Quality.BAD)
    assert explain(code)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (float("nan"), Quality.NOT_A_NUMBER),
        (float("-inf"), Quality.INFINITE),
        ([1.0, float("inf"), float("nan")], Quality.INFINITE),
        ([float("nan"), 1.0], Quality.NOT_A_NUMBER),
    ],
)
def test_number_that_is_not_finite_is_no_value_and_says_which(value: Any, code: Quality) -> None:
    assert judged(value, int(Quality.GOOD)) == (None, int(code))
    assert is_bad(int(code))


def test_none_is_no_value_whatever_is_said_of_it() -> None:
    for said in (Quality.GOOD, Quality.UNCERTAIN):
        assert judged(None, int(said)) == (None, int(Quality.BAD_REPLY))
    refused = quality(Quality.DEVICE_STATUS, status=2)
    assert judged(None, refused) == (None, refused)


@pytest.mark.parametrize("value", [1.5, 7, True, "nan", [1.0, 2.0], []])
def test_every_other_value_keeps_its_quality(value: Any) -> None:
    assert judged(value, int(Quality.UNCERTAIN)) == (value, int(Quality.UNCERTAIN))
