"""The last messages of a wire, byte for byte: for who asks why a value is bad.

    [time_us, "sent" | "received", hexadecimal, length]      the oldest first

A wire keeps `KEPT` of them, each up to `SHOWN` bytes; what comes in pieces is one, up to that.
"""

import time
from collections import deque
from typing import Any

KEPT = 24  # messages: a dozen requests with their replies
SHOWN = 600  # bytes: a Modbus message or an unconnected CIP reply whole

Entry = tuple[int, bool, bytes, int]  # time_us, sent, the first bytes, length of all


class Tap:
    """What went over one wire of late."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: deque[Entry] = deque(maxlen=KEPT)

    def sent(self, data: bytes) -> None:
        """Remember what was sent."""
        self._kept.append((time.time_ns() // 1000, True, data[:SHOWN], len(data)))

    def received(self, data: bytes) -> None:
        """Remember what came; a piece that goes on with the last is put to it."""
        kept = self._kept
        if kept and not kept[-1][1] and kept[-1][3] + len(data) <= SHOWN:
            at_us, _, before, length = kept[-1]
            kept[-1] = (at_us, False, before + data, length + len(data))
        else:
            kept.append((time.time_ns() // 1000, False, data[:SHOWN], len(data)))

    def entries(self) -> list[Entry]:
        """All that is remembered, the oldest first."""
        return list(self._kept)


def plain(entry: Entry, words: str) -> list[Any]:
    """An entry as control tells it, with what it says in words."""
    at_us, sent, data, length = entry
    return [at_us, "sent" if sent else "received", data.hex(), length, words]
