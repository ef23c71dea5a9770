"""The one sentence on a device names the reason that its table shows."""

from typing import Any

import pytest

from cpppod.protocols.model.values import Quality, explain, quality
from cpppod.workers.control.verdict import verdict
from cpppod.workers.devices.spec import reason, status_words


def device(state: str, **told: Any) -> dict[str, Any]:
    row = {"name": "boiler", "state": state, "age_s": 1.0, "rate_hz": 1.0, "last_error": ""}
    return {**row, "tags": 3, "tags_bad": 1, "told": told}


TABLE = {"fast": {"bad": [["recipe", "device refused (status 0x02): illegal data address"]]}}


def test_bad_tags_are_named_with_their_reason() -> None:
    assert verdict(device("online", groups=TABLE)) == (
        "boiler is online, but 1 of 3 tags are bad:"
        " recipe: device refused (status 0x02): illegal data address"
    )


@pytest.mark.parametrize("state", ["offline", "demoted"])
def test_reason_of_the_table_is_said_where_there_is_no_error(state: str) -> None:
    assert "recipe: device refused" in verdict(device(state, groups=TABLE))
    assert "recipe" not in verdict({**device(state, groups=TABLE), "last_error": "timeout"})


def test_device_without_bad_tags_needs_no_reason() -> None:
    well = {**device("online", groups={"fast": {"bad": []}}), "tags_bad": 0}
    assert verdict(well) == "boiler is online: 1.0/s, last good 1.0 s ago"


@pytest.mark.parametrize(
    ("driver", "status", "extended", "words"),
    [
        ("modbus-tcp", 2, 0, "illegal data address"),
        ("modbus-rtu", 11, 0, "gateway target device failed to respond"),
        ("modbus-tcp", 0x55, 0, "unknown exception"),
        ("enip", 0x05, 0, "path destination unknown"),
        ("enip", 0xFF, 0x2107, "general error: data type mismatch"),
        ("text", 5, 0, ""),
        ("nobody-s", 5, 0, ""),
        ("", 5, 0, ""),
    ],
)
def test_status_of_a_device_has_its_words(
    driver: str, status: int, extended: int, words: str
) -> None:
    given = quality(Quality.DEVICE_STATUS, status=status, extended=extended)
    assert status_words(given, driver) == words
    assert reason(given, driver) == explain(given) + (f": {words}" if words else "")
    assert reason(int(Quality.TIMEOUT), driver) == "device did not answer in time"
