"""Failures: what can become of a request to a device instead of its answer, in every protocol.

    before it left     NOT_WRITABLE  NOT_ALLOWED  TOO_OFTEN  NO_AUDIT
                       BAD_VALUE  BAD_PARAMETER  NO_SUCH_TAG  NOTHING_ASKED
                       UNSUPPORTED  PAUSED  NO_ROOM  UNDELIVERED  NOT_SENT
    no connection      NOT_CONNECTED  REFUSED  NO_SUCH_HOST
    no answer          TIMEOUT  LOST  GARBLED  BAD_REPLY       what became of it is not known
    another's no       ABSENT                                  a gateway's, who does not reach it
    the device's no    EXCEPTION  CIP_STATUS                   with the device's own codes

Drivers and the frame of a device speak of these alone: `QUALITY` is what they mean for values, and
`cpppod.protocols.cip.failures` what a CIP client is answered. Nobody looks at an error's text.
"""

from enum import StrEnum

from cpppod.protocols.model.values import Quality


class Failure(StrEnum):
    """Why there is no answer, or which one it is."""

    NOT_WRITABLE = "not writable"
    NOT_ALLOWED = "not allowed"  # to this writer
    TOO_OFTEN = "too often"  # more writes than the tag may have
    NO_AUDIT = "no audit"  # it must be recorded, and cannot be
    BAD_VALUE = "bad value"  # beyond the tag's limits or its type
    BAD_PARAMETER = "bad parameter"  # elements that are not there, a value of another kind
    NO_SUCH_TAG = "no such tag"
    NOTHING_ASKED = "nothing asked"
    UNSUPPORTED = "unsupported"  # the device, or its driver, has no such service
    PAUSED = "paused"  # by an operator
    UNDELIVERED = "undelivered"  # to the process that would do it: it is away, or has no room
    NO_ROOM = "no room"  # too much waits for the device already
    NOT_SENT = "not sent"  # it waited in vain; the device has not seen it
    NOT_CONNECTED = "not connected"
    REFUSED = "connection refused"
    NO_SUCH_HOST = "no such host"
    TIMEOUT = "timeout"
    LOST = "connection lost"  # with the request on its way
    GARBLED = "garbled"  # bytes came, damaged: a wrong CRC, a reply cut short
    BAD_REPLY = "bad reply"  # a whole reply that does not answer the request
    ABSENT = "absent"  # says the gateway before it; codes: how that says so
    EXCEPTION = "exception"  # codes: a Modbus exception, a text device's refusal
    CIP_STATUS = "CIP status"  # codes: general status, extended words
    INTERNAL = "internal error"  # a defect of ours


UNREACHABLE = frozenset((Failure.NOT_CONNECTED, Failure.REFUSED, Failure.NO_SUCH_HOST))
GONE = UNREACHABLE | {Failure.LOST}  # the connection, which says nothing of the device
BROKEN = GONE | {Failure.GARBLED, Failure.BAD_REPLY}  # the connection is of no further use

QUALITY: dict[Failure, Quality] = {
    Failure.PAUSED: Quality.DISABLED,
    Failure.NOT_CONNECTED: Quality.NOT_CONNECTED,
    Failure.REFUSED: Quality.NOT_CONNECTED,
    Failure.NO_SUCH_HOST: Quality.NOT_CONNECTED,
    Failure.LOST: Quality.NOT_CONNECTED,
    Failure.TIMEOUT: Quality.TIMEOUT,
    Failure.GARBLED: Quality.BAD_REPLY,
    Failure.BAD_REPLY: Quality.BAD_REPLY,
    Failure.ABSENT: Quality.DEVICE_STATUS,
    Failure.EXCEPTION: Quality.DEVICE_STATUS,
    Failure.CIP_STATUS: Quality.DEVICE_STATUS,
}  # all others: BAD
