"""What a client is told where there is no reply."""

import pytest

from cpppod.protocols.enip.originator.errors import (
    CommunicationCeased,
    EnipStatusError,
    ForwardOpenRefused,
    OriginatorError,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.pipeline import error_of
from cpppod.protocols.enip.originator.session import Answer, RequestFailure


@pytest.mark.parametrize(
    ("status", "text"),
    [(0x64, "status 0x64: invalid session handle"), (0x1234, "status 0x1234: unknown status")],
)
def test_encapsulation_status_is_told_in_words(status: int, text: str) -> None:
    error = EnipStatusError(status)
    assert error.status == status
    assert text in str(error)


def test_refused_forward_open_says_why() -> None:
    error = ForwardOpenRefused(0x01, [0x0113])
    assert (error.status, error.extended) == (0x01, (0x0113,))
    assert "out of connections" in str(error)


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (RequestFailure.TIMEOUT, ReplyTimeout, "no reply in time"),
        (RequestFailure.REFUSED, EnipStatusError, "unsupported command"),
        (RequestFailure.CLOSED, CommunicationCeased, "the reason"),
    ],
)
def test_answer_without_reply_is_the_exception_that_callers_know(
    failure: RequestFailure, kind: type[OriginatorError], text: str
) -> None:
    error = error_of(Answer(None, failure=failure, status=1), "the reason")
    assert type(error) is kind
    assert text in str(error)


def test_errors_are_those_of_the_standard_library_too() -> None:
    assert issubclass(ReplyTimeout, TimeoutError)
    assert issubclass(CommunicationCeased, ConnectionError)
    assert str(error_of(Answer(None, failure=RequestFailure.CLOSED), "")) == "connection closed"
