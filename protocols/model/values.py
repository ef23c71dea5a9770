"""Values as the gateway speaks of them: how good they are, and why not.

A sample is (value, quality, source time, gateway time). A quality is one int on the bus and in
every store, so that every language can say it:

    bits 0-7    what it is: a `Quality`
    bits 8-31   the device's own status where it gave one (Modbus exception code, CIP general
                status in bits 8-15 and its first extended word in bits 16-31), else 0; of a
                computed tag bits 16-31 number the input to blame, from 1

"Unknown" is a quality, never a 0: the value that goes with a bad quality is None.
"""

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

INTEGER_RANGES = {  # CIP type -> lowest and highest value
    "SINT": (-(2**7), 2**7 - 1),
    "INT": (-(2**15), 2**15 - 1),
    "DINT": (-(2**31), 2**31 - 1),
    "LINT": (-(2**63), 2**63 - 1),
    "USINT": (0, 2**8 - 1),
    "UINT": (0, 2**16 - 1),
    "UDINT": (0, 2**32 - 1),
    "ULINT": (0, 2**64 - 1),
    "BYTE": (0, 2**8 - 1),
    "WORD": (0, 2**16 - 1),
    "DWORD": (0, 2**32 - 1),
    "LWORD": (0, 2**64 - 1),
}
REAL_TYPES = frozenset({"REAL", "LREAL"})
NUMBERS = frozenset({*INTEGER_RANGES, *REAL_TYPES, "BOOL"})
STRING_TYPES = frozenset({"STRING", "SSTRING", "STRING2", "STRINGI", "SHORT_STRING"})
REAL_LIMIT = 3.4028235677973366e38  # beyond it a 32-bit float would be infinite


StatusText = Callable[[int, int], str]


class Quality(IntEnum):
    """What a value is worth; everything from `BAD` on carries no value."""

    GOOD = 0
    UNCERTAIN = 1  # the last known value: a write's outcome is unknown, or its device is silent
    STALE = 2  # the last known value, older than its group's limit
    AS_WRITTEN = 3  # what was written last: the device does not tell it
    BAD = 16  # no value, and no better reason
    NOT_YET_KNOWN = 17  # configured, but never read since the start
    TIMEOUT = 18  # the device did not answer in time
    NOT_CONNECTED = 19  # there is no connection to the device
    DEVICE_STATUS = 20  # the device refused: its status is in the upper bits
    BAD_REPLY = 21  # the device's reply does not answer the request
    OUT_OF_RANGE = 22  # the value does not fit the tag's type or limits
    NOT_CONFIGURED = 23  # the device knows no such address
    DISABLED = 24  # the device is paused by an operator
    NOT_A_NUMBER = 25  # the device sent NaN
    INFINITE = 26  # the device sent an infinity, or scaling made one
    NOT_IMPLEMENTED = 27  # the device says that it does not have this value


REASONS = {
    Quality.GOOD: "good",
    Quality.UNCERTAIN: "uncertain: last known value",
    Quality.STALE: "stale: older than its limit",
    Quality.BAD: "bad",
    Quality.NOT_YET_KNOWN: "not yet known",
    Quality.TIMEOUT: "device did not answer in time",
    Quality.NOT_CONNECTED: "no connection to the device",
    Quality.DEVICE_STATUS: "device refused",
    Quality.BAD_REPLY: "device's reply does not answer the request",
    Quality.OUT_OF_RANGE: "value out of range",
    Quality.NOT_CONFIGURED: "device knows no such address",
    Quality.DISABLED: "device paused",
    Quality.NOT_A_NUMBER: "not a number",
    Quality.INFINITE: "infinite",
    Quality.AS_WRITTEN: "as last written: the device does not tell it",
    Quality.NOT_IMPLEMENTED: "not implemented by the device",
}


def quality(code: Quality, *, status: int = 0, extended: int = 0) -> int:
    """The quality `code` with the device's own `status` (0-255) and `extended` status (0-65535)."""
    return int(code) | (status & 0xFF) << 8 | (extended & 0xFFFF) << 16


def is_bad(quality: int) -> bool:
    """Whether no value goes with this quality."""
    return quality & 0xFF >= Quality.BAD


def judged(value: Any, quality: int) -> tuple[Any, int]:
    """The sample, or the bad one that says so where a value, or an element of it, is not finite.

    None is no value either, whatever is said of it.
    """
    if value is None:
        return None, quality if is_bad(quality) else int(Quality.BAD_REPLY)
    for number in value if isinstance(value, list) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            code = Quality.NOT_A_NUMBER if math.isnan(number) else Quality.INFINITE
            return None, int(code)
    return value, quality


def explain(quality: int, inputs: Sequence[str] = (), status_text: StatusText | None = None) -> str:
    """The quality in words, with the device's status where there is one.

    Args:
        inputs: of a computed tag, whose quality has the number of the one to blame.
        status_text: (status, extended status or 0) -> the device's status in words.
    """
    text = REASONS.get(Quality(quality & 0xFF), "bad") if quality & 0xFF in _KNOWN else "bad"
    status, extended = quality >> 8 & 0xFF, quality >> 16 & 0xFFFF
    if 0 < extended <= len(inputs):
        return f"{explain(quality & 0xFFFF)}: {inputs[extended - 1]}"
    if not status and not extended:
        return text
    numbers = f", extended 0x{extended:04x}" if extended else ""
    words = status_text(status, extended) if status_text is not None else ""
    return f"{text} (status 0x{status:02x}{numbers}){': ' if words else ''}{words}"


_KNOWN = frozenset(int(code) for code in Quality)
