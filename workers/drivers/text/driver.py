"""The text driver: a scale, a bar-code reader, an instrument that sends lines.

    asked for      poll ──► request ──► frame, or a refusal ──► the captures are the tags
    spontaneous    a reader task takes frames as they come; poll hands out the newest (`latest`)
                   or each in turn (`every`), and waits for one where none came since the last poll
    write          the command's request with the value in it ──► reply, or a refusal

Bytes become frames in `protocols.text.framer`; what a frame's captures mean is in
`protocols.text.formats` and `.fields`.
"""

import asyncio
import contextlib
import time
from collections import Counter
from typing import Any

from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality, quality
from cpppod.protocols.text.fields import sample
from cpppod.protocols.text.formats import (
    Command,
    Format,
    Frame,
    TextSettings,
    check_tag,
    settings,
)
from cpppod.protocols.text.framer import Found, Framer
from cpppod.workers.devices.driver import (
    DeviceError,
    DeviceFrame,
    Link,
    Sample,
    Transaction,
    Write,
    WriteOutcome,
)
from cpppod.workers.drivers.text.listener import TcpListener
from cpppod.workers.drivers.text.mailbox import NOTHING_YET, Mailbox, Nothing
from cpppod.workers.transport.port import TcpPort

WRITES_GO_S = 0.1  # a write waits so long at most for a poll that waits for a frame
SLICE = 2048  # bytes looked at in one turn of the loop: some milliseconds, were they all noise
READER_TURN_S = 1.0  # the reader task looks up so often when nothing comes
SHOWN = 60  # characters of a frame in a text for people

_UNKNOWN: Sample = (None, int(Quality.NOT_YET_KNOWN))


def make_driver(
    device: Device, link: Link | None = None, frame: DeviceFrame | None = None
) -> "TextDriver":
    """The driver of `device`, on `link` or on a TCP connection of its own.

    Raises:
        ValueError: something is wrong with its settings or tags; all of it is named.
    """
    made = settings(device.model, device.options)
    problems = [
        f"tag {tag.name}: {key} {value!r}, expected {why}"
        for group in device.groups
        for tag in group.tags
        for key, value, why in check_tag(made, tag)
    ]
    if problems:
        raise ValueError("; ".join(problems))
    own: TcpPort | TcpListener | None = None
    if link is None:
        own = (
            TcpListener(device.address, timeout_s=device.timeout_s, sources=made.sources)
            if made.listen
            else TcpPort(device.address, default_port=None, timeout_s=device.timeout_s)
        )
    frame = frame or DeviceFrame()
    if own is not None:
        frame.tap = own.tap
    return TextDriver(device, made, own or link, own, frame)


class TextDriver:
    """One device that speaks text; satisfies `Driver`."""

    concurrency = 1
    cip = None

    def __init__(
        self,
        device: Device,
        made: TextSettings,
        link: Any,
        own: TcpPort | TcpListener | None,
        frame: DeviceFrame,
    ) -> None:
        self.frame = frame
        self._device = device
        self._settings = made
        self._link: Any = link
        self._own = own
        self._framer = Framer(made)
        self._mailbox = Mailbox(made)
        self._reader: asyncio.Task[None] | None = None
        self._written: dict[str, Any] = {}
        self._counts: Counter[str] = Counter()
        self._started = False
        self._last = ""
        self._asked_s = 0.0

    # The connection

    async def open(self) -> None:
        """Connect, say what is to be said first, and start to read."""
        await self._stop_reading()
        if self._own is not None:
            await self._own.open()
        await self._begin()

    async def close(self) -> None:
        """Stop reading and release the connection."""
        await self._stop_reading()
        self._started = False
        if self._own is not None:
            await self._own.close()

    async def _begin(self) -> None:
        """What a new connection needs: a clean stream, the start texts, the reader task."""
        self._framer.reset()
        for text in self._settings.start:
            await self._link.send(self._encoded(text))
        self._started = True
        if self._settings.spontaneous:
            before = self._link.shared.get("text reader")
            if before is not None:
                before.cancel()
            self._mailbox.error = None
            self._reader = asyncio.get_running_loop().create_task(self._read())
            self._link.shared["text reader"] = self._reader

    async def _ready(self) -> None:
        """Begin anew where the device has closed the connection meanwhile; and on a shared line,
        whose opening we do not see, where the reader has ended.

        Raises:
            DeviceError: there is no connection; nothing was sent.
        """
        if await self._link.renew():
            self._started = False
        elif self._mailbox.error is not None:
            error, self._mailbox.error = self._mailbox.error, None
            self._started = error.sent = False
            raise error
        if not self._started or (self._reader is not None and self._reader.done()):
            await self._begin()

    async def _read(self) -> None:
        """Take frames as they come, until the connection is gone."""
        try:
            while True:
                await self._feed(await self._link.receive(READER_TURN_S))
        except DeviceError as error:
            self._mailbox.fail(error)

    async def _stop_reading(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
        self._mailbox.error = None

    async def _feed(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            if start:
                await asyncio.sleep(0)
            for found in self._framer.feed(data[start : start + SLICE]):
                self._last = _shown(found.data)
                self._mailbox.put(found)

    # Reading

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Every tag of the group: frames asked for one after the other, or as they came.

        Raises:
            DeviceError: not one frame came in time, or the connection is lost.
        """
        await self._ready()
        samples: dict[str, Sample] = {}
        by_frame: dict[str, list[tuple[Tag, str]]] = {}
        for tag in group.tags:
            held = self._settings.find(tag.address)
            if held is None:
                samples[tag.name] = self._written.get(tag.address, _UNKNOWN)
            else:
                by_frame.setdefault(held[0].name, []).append((tag, held[1]))
        silent: list[str] = []
        for number, (name, wanted) in enumerate(by_frame.items()):
            if number:
                await self.frame.between()
            frame = self._settings.frames[name]
            samples |= await self._frame(frame, wanted, silent)
        if by_frame and len(silent) == len(by_frame):
            raise DeviceError(Failure.TIMEOUT, f"no frame {', '.join(silent)} in time")
        return samples

    async def _frame(
        self, frame: Frame, wanted: list[tuple[Tag, str]], silent: list[str]
    ) -> dict[str, Sample]:
        """The samples of one frame's tags."""
        found: Found | Nothing | None
        if frame.request:
            found = await self._ask(frame)
        else:
            found = await self._come(frame.name)
        if found is None:
            silent.append(frame.name)
            return {tag.name: (None, int(Quality.TIMEOUT)) for tag, _ in wanted}
        if isinstance(found, Nothing):
            return {tag.name: _UNKNOWN for tag, _ in wanted}
        if found.format.refusal:
            status = quality(Quality.DEVICE_STATUS, status=found.format.number)
            return {tag.name: (None, status) for tag, _ in wanted}
        return {
            tag.name: sample(
                found.texts.get(capture),
                tag,
                frame.convert.get(capture, "number"),
                frame.values.get(capture, {}),
            )
            for tag, capture in wanted
        }

    async def _come(self, name: str) -> Found | Nothing | None:
        """The next frame of that name that comes by itself; waiting writes go while we wait."""
        deadline_s = time.monotonic() + self._device.timeout_s
        while True:
            left_s = deadline_s - time.monotonic()
            found = await self._mailbox.take(name, max(0.0, min(left_s, WRITES_GO_S)))
            if found is not None or left_s <= 0:
                return found
            await self.frame.between()

    async def _ask(self, frame: Frame) -> Found | Nothing | None:
        refusals = (*frame.refusals, *self._settings.refusals)
        return await self._transact(
            "read", frame.request, frame.format, refusals, weight=len(frame.format.captures.names)
        )

    # Writing

    async def write(self, writes: list[Write]) -> WriteOutcome:
        """One command after the other, up to the first that fails."""
        for tag, _, values in writes:
            command = self._settings.commands.get(tag.address)
            if command is None:
                text = f"{tag.name}: no command {tag.address!r}"
                return WriteOutcome(Failure.NOT_WRITABLE, text)
            try:
                request = command.request.format(value=values[0])
                request.encode(self._settings.encoding)
            except (ValueError, TypeError) as error:
                return WriteOutcome(Failure.BAD_VALUE, f"{tag.name}: {error}")
            outcome = await self._command(command, request)
            if outcome.failure:
                return outcome
            self._written[tag.address] = values[0], int(Quality.GOOD)
        return WriteOutcome()

    async def _command(self, command: Command, request: str) -> WriteOutcome:
        refusals = (*command.refusals, *self._settings.refusals)
        try:
            found = await self._transact("write", request, command.reply, refusals, weight=1)
        except DeviceError as error:
            return WriteOutcome.of(error)
        if found is None:
            text = f"no reply to {_shown(request.encode())} in time"
            return WriteOutcome(Failure.TIMEOUT, text, unknown=True)
        if isinstance(found, Found) and found.format.refusal:
            said = found.format
            return WriteOutcome(Failure.EXCEPTION, said.refusal, (said.number,))
        return WriteOutcome()

    # The wire

    async def _transact(
        self,
        operation: str,
        request: str,
        reply: Format | None,
        refusals: tuple[Format, ...],
        *,
        weight: int,
    ) -> Found | Nothing | None:
        """Send, and wait for the reply or a refusal; None after the time-out."""
        wait_s = self._asked_s + self._device.delay_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        started_s = time.monotonic()
        result, detail, code = "ok", "", 0
        try:
            await self._ready()
            if self._reader is None:
                self._link.discard()
                self._framer.reset()
            self._mailbox.expect((*((reply,) if reply else ()), *refusals))
            await self._link.send(self._encoded(request))
            if reply is None:
                return NOTHING_YET
            found = await self._reply()
            if found is None:
                result, detail = "timeout", "no reply in time"
            elif found.format.refusal:
                result, detail, code = "refused", found.format.refusal, found.format.number
                self._counts["refused"] += 1
            return found
        except DeviceError as error:
            result, detail = error.result, error.text
            raise
        finally:
            self._mailbox.expect(())
            self._asked_s = time.monotonic()
            text = _shown(request.encode())
            spent_s = self._asked_s - started_s
            self.frame.on_transaction(
                Transaction(operation, text, result, spent_s, detail, code, weight)
            )

    async def _reply(self) -> Found | None:
        """The frame that is expected; read here where no reader task does."""
        deadline_s = time.monotonic() + self._device.timeout_s
        while True:
            left_s = deadline_s - time.monotonic()
            if self._reader is not None:
                return await self._mailbox.reply(max(0.0, left_s))
            if self._mailbox.replies:
                return self._mailbox.replies.popleft()
            if left_s <= 0:
                return None
            await self._feed(await self._link.receive(left_s))

    def describe(self) -> dict[str, Any]:
        """Counters of the stream, and the last frame."""
        counts = self._framer.counts
        counters = {
            "frames": counts.frames,
            "noise_bytes": counts.noise_bytes,
            "checksum_errors": counts.checksum_errors,
            "overlong_frames": counts.overflows,
            "unexpected_frames": self._mailbox.unexpected,
            "dropped_frames": self._mailbox.dropped,
            "refused": self._counts["refused"],
        }
        if isinstance(self._own, TcpListener):
            counters["turned_away"] = self._own.turned_away
        return {"counters": counters, "last_frame": self._last}

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._settings.encoding)


def _shown(data: bytes) -> str:
    """Peer text for people: escaped and bounded."""
    text = data.decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
