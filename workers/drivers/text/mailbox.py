"""Frames of a text device that have come, and wait for a request or for a poll.

put ──┬─ expected ────────► replies ──► reply()
      ├─ spontaneous ─────► a queue per frame (one deep, or `queue`) ──► take()
      └─ neither ─────────► counted as unexpected
"""

import asyncio
import contextlib
from collections import deque
from typing import Any

from cpppod.protocols.text.formats import Format, TextSettings
from cpppod.protocols.text.framer import Found
from cpppod.workers.devices.driver import DeviceError


class Nothing:
    """No frame was awaited, or a quiet device has said nothing so far."""


NOTHING_YET = Nothing()


class Mailbox:
    """Frames that have come and wait for a poll, and the reply that a request waits for.

    Attributes:
        replies: expected frames that have come.
        unexpected: frames that nobody had asked for and that do not come by themselves.
        dropped: frames that were pushed out by newer ones before a poll took them.
        error: why no more frames come.
    """

    def __init__(self, made: TextSettings) -> None:
        self.replies: deque[Found] = deque()
        self.unexpected = 0
        self.dropped = 0
        self.error: DeviceError | None = None
        self._settings = made
        self._expected: tuple[Format, ...] = ()
        size = made.queue if made.deliver == "every" else 1
        self._queues: dict[str, deque[Found]] = {
            name: deque(maxlen=size) for name, frame in made.frames.items() if not frame.request
        }
        self._newest: dict[str, Found] = {}
        self._arrived = asyncio.Event()

    def expect(self, formats: tuple[Format, ...]) -> None:
        """What a request waits for, from now on; nothing with ()."""
        self._expected = formats
        self.replies.clear()

    def put(self, found: Found) -> None:
        """A frame has come."""
        expected = next((f for f in self._expected if _is_a(found, f)), None)
        queue = self._queues.get(found.format.name)
        if expected is not None:
            self.replies.append(found if expected is found.format else _as(found, expected))
        elif queue is not None:
            if self._settings.deliver == "every" and len(queue) == queue.maxlen:
                self.dropped += 1
            queue.append(found)
            self._newest[found.format.name] = found
        else:
            self.unexpected += 1
        self._arrived.set()

    def fail(self, error: DeviceError) -> None:
        """No more frames come."""
        self.error = error
        self._arrived.set()

    async def take(self, name: str, timeout_s: float) -> Found | Nothing | None:
        """The next spontaneous frame of that name; None where none comes in time."""
        queue = self._queues[name]
        if not queue and self._settings.quiet:
            return self._newest.get(name, NOTHING_YET)
        await self._wait(queue, timeout_s)
        return queue.popleft() if queue else None

    async def reply(self, timeout_s: float) -> Found | None:
        """The expected frame; None where it does not come in time."""
        await self._wait(self.replies, timeout_s)
        return self.replies.popleft() if self.replies else None

    async def _wait(self, queue: deque[Found], timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not queue and self.error is None:
                    self._arrived.clear()
                    await self._arrived.wait()
        if not queue and self.error is not None:
            error, self.error = self.error, None
            raise error


def _is_a(found: Found, format: Format) -> bool:
    """Whether the frame is one of `format`, be it that another format took it first."""
    if found.format is format:
        return True
    held = format.captures
    data: Any = found.data if held.symbols == "bytes" else found.data.decode("utf-8", "replace")
    return held.compiled.accepts(data)


def _as(found: Found, format: Format) -> Found:
    return Found(format, found.data, found.texts)
