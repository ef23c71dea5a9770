"""What a client of a target can run into, as exceptions of the shells around the originator.

OriginatorError
├── CommunicationCeased     the target closed, broke the protocol, or is not there (ConnectionError)
│   └── ReplyTimeout        it did not answer in time (TimeoutError)
├── EnipStatusError         it refused at the encapsulation layer
└── ForwardOpenRefused      it refused a class 3 connection

A CIP status in a reply is no exception: it is the result's status.
"""

from collections.abc import Sequence

from cpppod.protocols.cip.status import describe

ENCAPSULATION_TEXTS = {
    0x01: "unsupported command",
    0x02: "out of memory",
    0x03: "incorrect data",
    0x08: "refused by the target",
    0x64: "invalid session handle",
    0x65: "invalid length",
    0x69: "unsupported protocol version",
}


class OriginatorError(Exception):
    """Base of what can go wrong between a client and its target; never raised itself."""


class CommunicationCeased(OriginatorError, ConnectionError):
    """The connection is of no further use: open another one.

    Raised with an `errno` where the system said why; its text is the words alone.
    """

    def __str__(self) -> str:
        return self.strerror or super().__str__()


class ReplyTimeout(CommunicationCeased, TimeoutError):
    """No reply in time; whether the request was carried out is not known."""


class EnipStatusError(OriginatorError):
    """The target answered with an encapsulation status instead of a reply.

    Attributes:
        status: the encapsulation status.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        text = ENCAPSULATION_TEXTS.get(status, "unknown status")
        super().__init__(f"encapsulation status 0x{status:02x}: {text}")


class ForwardOpenRefused(OriginatorError):
    """The target opened no class 3 connection.

    Attributes:
        status, extended: CIP status of its last reply.
    """

    def __init__(self, status: int, extended: Sequence[int]) -> None:
        self.status, self.extended = status, tuple(extended)
        super().__init__(f"Forward Open refused: {describe(status, extended)}")
