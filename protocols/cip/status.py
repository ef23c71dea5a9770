"""CIP general and extended status: the numbers, their words, and the error that carries them.

    USINT           USINT          n x UINT
    general status  n words        extended status

`describe` gives the text for people; `CipError` is how a request's refusal travels to its reply.

Source: CIP Networks Library Vol. 1, appendix B; the Connection Manager's words in table 3-5.29; the
0xFF words as Logix controllers use them.
"""

from collections.abc import Sequence
from enum import IntEnum

from cpppod.protocols.model.errors import ProtocolError


class GeneralStatus(IntEnum):
    """General status of a Message Router reply."""

    SUCCESS = 0x00
    CONNECTION_FAILURE = 0x01
    RESOURCE_UNAVAILABLE = 0x02
    INVALID_PARAMETER_VALUE = 0x03
    PATH_SEGMENT_ERROR = 0x04
    PATH_DESTINATION_UNKNOWN = 0x05
    PARTIAL_TRANSFER = 0x06
    CONNECTION_LOST = 0x07
    SERVICE_NOT_SUPPORTED = 0x08
    INVALID_ATTRIBUTE_VALUE = 0x09
    ATTRIBUTE_LIST_ERROR = 0x0A
    ALREADY_IN_STATE = 0x0B
    OBJECT_STATE_CONFLICT = 0x0C
    ATTRIBUTE_NOT_SETTABLE = 0x0E
    PRIVILEGE_VIOLATION = 0x0F
    DEVICE_STATE_CONFLICT = 0x10
    REPLY_DATA_TOO_LARGE = 0x11
    NOT_ENOUGH_DATA = 0x13
    ATTRIBUTE_NOT_SUPPORTED = 0x14
    TOO_MUCH_DATA = 0x15
    OBJECT_DOES_NOT_EXIST = 0x16
    EMBEDDED_SERVICE_ERROR = 0x1E
    VENDOR_SPECIFIC_ERROR = 0x1F
    INVALID_PARAMETER = 0x20
    PATH_SIZE_INVALID = 0x26
    ATTRIBUTE_NOT_GETTABLE = 0x2C
    GENERAL_ERROR = 0xFF


GENERAL_TEXTS: dict[int, str] = {
    0x00: "success",
    0x01: "connection failure",
    0x02: "resource unavailable",
    0x03: "invalid parameter value",
    0x04: "path segment error",
    0x05: "path destination unknown",
    0x06: "partial transfer: more data remains",
    0x07: "connection lost",
    0x08: "service not supported",
    0x09: "invalid attribute value",
    0x0A: "attribute list error",
    0x0B: "already in requested mode or state",
    0x0C: "object state conflict",
    0x0D: "object already exists",
    0x0E: "attribute not settable",
    0x0F: "privilege violation",
    0x10: "device state conflict",
    0x11: "reply data too large",
    0x12: "fragmentation of a primitive value",
    0x13: "not enough data",
    0x14: "attribute not supported",
    0x15: "too much data",
    0x16: "object does not exist",
    0x17: "service fragmentation sequence not in progress",
    0x18: "no stored attribute data",
    0x19: "store operation failure",
    0x1A: "routing failure: request packet too large",
    0x1B: "routing failure: response packet too large",
    0x1C: "missing attribute list entry data",
    0x1D: "invalid attribute value list",
    0x1E: "embedded service error",
    0x1F: "vendor specific error",
    0x20: "invalid parameter",
    0x21: "write-once value or medium already written",
    0x22: "invalid reply received",
    0x25: "key failure in path",
    0x26: "path size invalid",
    0x27: "unexpected attribute in list",
    0x28: "invalid member ID",
    0x29: "member not settable",
    0x2A: "group 2 only server general failure",
    0x2C: "attribute not gettable",
    0x2E: "service not supported for the specified path",
    0xFF: "general error",
}


class ConnectionStatus(IntEnum):
    """Extended status that goes with CONNECTION_FAILURE (table 3-5.29)."""

    CONNECTION_IN_USE = 0x0100
    TRANSPORT_NOT_SUPPORTED = 0x0103
    OWNERSHIP_CONFLICT = 0x0106
    CONNECTION_NOT_FOUND = 0x0107
    INVALID_CONNECTION_TYPE = 0x0108
    INVALID_CONNECTION_SIZE = 0x0109
    RPI_NOT_SUPPORTED = 0x0111
    OUT_OF_CONNECTIONS = 0x0113
    VENDOR_OR_PRODUCT_MISMATCH = 0x0114
    DEVICE_TYPE_MISMATCH = 0x0115
    REVISION_MISMATCH = 0x0116
    INVALID_APPLICATION_PATH = 0x0117
    NULL_FORWARD_OPEN_NOT_SUPPORTED = 0x0132
    INVALID_TIMEOUT_MULTIPLIER = 0x0133
    CONNECTION_TIMED_OUT = 0x0203
    UNCONNECTED_REQUEST_TIMED_OUT = 0x0204
    UNCONNECTED_SEND_PARAMETER_ERROR = 0x0205
    MESSAGE_TOO_LARGE = 0x0206
    NO_BUFFER_MEMORY = 0x0301
    PORT_NOT_AVAILABLE = 0x0311
    LINK_ADDRESS_NOT_VALID = 0x0312
    INVALID_SEGMENT_IN_PATH = 0x0315


CONNECTION_TEXTS: dict[int, str] = {
    0x0100: "connection in use or duplicate Forward Open",
    0x0103: "transport class and trigger combination not supported",
    0x0106: "ownership conflict",
    0x0107: "connection not found",
    0x0108: "invalid connection type",
    0x0109: "invalid connection size",
    0x0111: "RPI not supported",
    0x0112: "RPI value not acceptable",
    0x0113: "out of connections",
    0x0114: "vendor ID or product code mismatch",
    0x0115: "device type mismatch",
    0x0116: "revision mismatch",
    0x0117: "invalid produced or consumed application path",
    0x0118: "invalid configuration application path",
    0x0119: "non-listen-only connection not opened",
    0x011A: "target object out of connections",
    0x011B: "RPI smaller than the production inhibit time",
    0x0126: "invalid configuration size",
    0x0127: "invalid originator to target size",
    0x0128: "invalid target to originator size",
    0x0129: "invalid configuration path",
    0x012A: "invalid consuming path",
    0x012B: "invalid producing path",
    0x0132: "null forward open not supported",
    0x0133: "invalid connection timeout multiplier",
    0x0203: "connection timed out",
    0x0204: "unconnected request timed out",
    0x0205: "parameter error in unconnected request",
    0x0206: "message too large for unconnected send",
    0x0301: "no buffer memory available",
    0x0303: "no communication bandwidth available",
    0x0311: "port not available: no route",
    0x0312: "link address not valid",
    0x0315: "invalid segment in connection path",
    0x0316: "forward close connection path mismatch",
    0x0318: "link address to self invalid",
}


class TagStatus(IntEnum):
    """Extended status that goes with GENERAL_ERROR in tag services.

    Words from 0x8000 on are this gateway's own: why there is no fresh value of a device's tag. The
    low byte is the value's quality (`protocols.values`).
    """

    OFFSET_BEYOND_END = 0x2104
    ELEMENTS_BEYOND_END = 0x2105
    TYPE_MISMATCH = 0x2107
    NOT_FRESH = 0x8000


GENERAL_ERROR_TEXTS: dict[int, str] = {
    0x2001: "excessive IOI",
    0x2002: "bad parameter value",
    0x2018: "semaphore rejected",
    0x201B: "size too small",
    0x201C: "invalid size",
    0x2100: "privilege violation",
    0x2101: "invalid keyswitch position",
    0x2102: "password invalid",
    0x2103: "no password issued",
    0x2104: "address out of range: offset beyond the end",
    0x2105: "address and number of elements out of range",
    0x2106: "data in use",
    0x2107: "data type mismatch",
    0x2108: "controller in upload or download mode",
    0x2109: "attempt to change the number of array dimensions",
    0x210A: "invalid symbol name",
    0x210B: "symbol does not exist",
    0x210E: "search failed",
    0x210F: "task cannot start",
    0x8001: "uncertain: last known value only",
    0x8002: "stale: older than its limit",
    0x8010: "no value",
    0x8011: "not yet known",
    0x8012: "device did not answer in time",
    0x8013: "no connection to the device",
    0x8014: "device refused",
    0x8015: "device's reply does not answer the request",
    0x8016: "value out of range",
    0x8017: "device knows no such address",
    0x8018: "device paused",
}

_EXTENDED: dict[int, dict[int, str]] = {
    0x01: CONNECTION_TEXTS,
    0x10: {0x2101: "invalid keyswitch position", 0x2802: "safety state conflict"},
    0xFF: GENERAL_ERROR_TEXTS,
}


def words_of(status: int, extended: Sequence[int] = ()) -> str:
    """The status in words alone, e.g. `general error: data type mismatch`."""
    text = GENERAL_TEXTS.get(status, "unknown status")
    more = _EXTENDED.get(status, {}).get(extended[0]) if extended else None
    return f"{text}: {more}" if more else text


def describe(status: int, extended: Sequence[int] = ()) -> str:
    """The status in words, e.g. `general error: data type mismatch (0xff, 0x2107)`."""
    numbers = ", ".join([f"0x{status:02x}", *(f"0x{word:04x}" for word in extended)])
    return f"{words_of(status, extended)} ({numbers})"


class CipError(ProtocolError):
    """A request is refused: answer with this general and extended status.

    Attributes:
        extended: extended status words.
        data: what a failure of its service carries after the status, as Forward Open's do.
    """

    def __init__(
        self, message: str = "", *, status: int, extended: Sequence[int] = (), data: bytes = b""
    ) -> None:
        super().__init__(message or describe(status, extended), status=status)
        self.extended = tuple(extended)
        self.data = data
