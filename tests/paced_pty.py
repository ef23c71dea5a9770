"""A serial line made of two ptys that takes as long as a real one.

    gateway ── pty ──► byte by byte, each when its time has come ──► pty ── units
               pty ◄──────────────── the same wire ◄──────────────── pty

A bare pty answers in a hundredth of a real line's time, so nothing about timing can be shown on it.
Here every character takes its start, data, parity and stop bits on the monotonic clock, in both
directions on one wire: characters of both sides at the same time are a collision, which is counted.
"""

import asyncio
import contextlib
import os
import time
import tty
from collections import deque
from pathlib import Path

SLACK_S = 0.0002  # a character that ends as another begins is no collision on any real line


class _Side:
    """One end of the line: the pty that a program opens, and what it has yet to send."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.waiting: deque[tuple[float, int]] = deque()  # (when it has left, the byte)
        self.free_s = 0.0  # when the last of them has left
        self.first_s = 0.0  # when the first of the present run began
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self.slave))

    def close(self) -> None:
        self.link.unlink(missing_ok=True)
        os.close(self.master)
        os.close(self.slave)


class PacedLine:
    """Carries bytes between two ptys at the speed of a line.

    Attributes:
        collisions: times that a character began while one of the other side was on the wire.
        carried: characters that have left, of both sides.
        busy_s: time that the wire was in use.
    """

    def __init__(self, folder: Path, baudrate: int = 19_200, bits: int = 11) -> None:
        self.character_s = bits / baudrate
        self.gateway = _Side(folder / "gateway")
        self.units = _Side(folder / "units")
        self.collisions = 0
        self.carried = 0
        self.busy_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        for side, other in ((self.gateway, self.units), (self.units, self.gateway)):
            loop.add_reader(side.master, self._take, side, other)

    def close(self) -> None:
        """End the line."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        for side in (self.gateway, self.units):
            loop.remove_reader(side.master)
            side.close()

    def _take(self, side: _Side, other: _Side) -> None:
        """A program has written: its characters leave one after the other from now on."""
        try:
            data = os.read(side.master, 4096)
        except OSError:
            return
        now = time.monotonic()
        start = max(now, side.free_s)
        if other.free_s > start + SLACK_S:
            self.collisions += 1
        for byte in data:
            start += self.character_s
            side.waiting.append((start, byte))
        self.busy_s += len(data) * self.character_s
        side.free_s = start
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        heads = [side.waiting[0][0] for side in (self.gateway, self.units) if side.waiting]
        if heads:
            wait_s = max(0.0, min(heads) - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._release)

    def _release(self) -> None:
        """Hand over what has left by now."""
        self._timer = None
        now = time.monotonic()
        for side, other in ((self.gateway, self.units), (self.units, self.gateway)):
            data = bytearray()
            while side.waiting and side.waiting[0][0] <= now:
                data.append(side.waiting.popleft()[1])
            if data:
                self.carried += len(data)
                with contextlib.suppress(OSError):
                    os.write(other.master, data)
        self._arm()
