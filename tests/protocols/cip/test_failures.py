"""Refusals, and what a CIP client is answered for each failure of a device."""

import pytest

from cpppod.protocols.cip.failures import cip_status, unanswered
from cpppod.protocols.model.failures import BROKEN, GONE, QUALITY, UNREACHABLE, Failure
from cpppod.protocols.model.values import Quality, is_bad


@pytest.mark.parametrize(
    ("failure", "codes", "status", "extended"),
    [
        (Failure.NOT_WRITABLE, (), 0x0E, []),
        (Failure.NOT_ALLOWED, (), 0x0F, []),
        (Failure.TOO_OFTEN, (), 0x02, []),
        (Failure.NO_AUDIT, (), 0x10, []),
        (Failure.BAD_VALUE, (), 0x09, []),
        (Failure.BAD_PARAMETER, (), 0x20, []),
        (Failure.NO_SUCH_TAG, (), 0x05, []),
        (Failure.NOTHING_ASKED, (), 0x13, []),
        (Failure.UNSUPPORTED, (), 0x08, []),
        (Failure.PAUSED, (), 0x10, []),
        (Failure.NO_ROOM, (), 0x02, []),
        (Failure.UNDELIVERED, (), 0x01, [0x0301]),
        (Failure.NOT_SENT, (), 0x01, [0x0204]),
        (Failure.NOT_CONNECTED, (), 0x01, [0x0312]),
        (Failure.REFUSED, (), 0x01, [0x0312]),
        (Failure.NO_SUCH_HOST, (), 0x01, [0x0312]),
        (Failure.TIMEOUT, (), 0x01, [0x0204]),
        (Failure.ABSENT, (11,), 0x01, [0x0204]),
        (Failure.LOST, (), 0x01, [0x0204]),
        (Failure.GARBLED, (), 0x01, [0x0204]),
        (Failure.BAD_REPLY, (), 0x01, [0x0204]),
        (Failure.INTERNAL, (), 0x01, [0x0204]),
        (Failure.EXCEPTION, (3,), 0x1F, [3]),
        (Failure.CIP_STATUS, (0xFF, 0x2107), 0xFF, [0x2107]),
    ],
)
def test_every_failure_has_one_status(
    failure: Failure, codes: tuple[int, ...], status: int, extended: list[int]
) -> None:
    assert cip_status(failure, codes) == (status, extended)


def test_table_of_statuses_is_whole() -> None:
    marks = test_every_failure_has_one_status.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(Failure)
    assert cip_status(None) == (0, [])


def test_failures_of_a_connection_are_bad_qualities_and_end_it() -> None:
    assert UNREACHABLE < GONE < BROKEN
    assert {QUALITY[failure] for failure in GONE} == {Quality.NOT_CONNECTED}
    assert all(is_bad(QUALITY[failure]) for failure in BROKEN)


def test_routed_request_that_is_not_answered_says_so_in_the_form_it_came_in() -> None:
    left = b"\1\0"
    assert unanswered(b"\x4c\0", left, Failure.TIMEOUT) == bytes.fromhex("d2000101 0402 01 00")
    assert unanswered(b"\x4c\0", left, Failure.NOT_CONNECTED, connected=True) == bytes.fromhex(
        "cc000101 1203"
    )
    assert unanswered(b"\x4c\0", left, Failure.UNSUPPORTED) == bytes.fromhex("cc000800")
