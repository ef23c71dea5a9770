"""Plain reads as bytes, and which replies are taken apart at once."""

from typing import Any

import pytest

from cpppod.protocols.enip.originator.layout import read_request
from cpppod.protocols.enip.originator.operations import parse_operations


def operation(text: str, **more: Any) -> dict[str, Any]:
    (found,) = parse_operations([text])
    return {**found, **more}


def test_a_plain_read_is_read_tag_with_its_path_and_count() -> None:
    request = read_request(operation("Level[0-2]"))
    assert request is not None
    data, count = request
    assert count == 3 and data[:1] == b"\x4c" and data[-2:] == b"\x03\x00"


@pytest.mark.parametrize(
    "given",
    [
        operation("Level", elements=0x10000),
        operation("Level", elements="3"),
        operation("Level", path=[{"symbolic": "n" * 40}] * 20),
        operation("Level=(DINT)5"),
    ],
)
def test_what_read_tag_cannot_ask_in_one_is_no_plain_read(given: dict[str, Any]) -> None:
    assert read_request(given) is None
