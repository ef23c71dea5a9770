"""One Modbus request at a time over a link, answered or not, never answered by something else.

    TcpExchange   transaction id, unit and function must fit; what does not is counted and dropped
    RtuExchange   one master on the line:
                    silence ─ request ─ reply ─────────────────────────► data
                                      └ time-out ─ late window: drain ─► DeviceError TIMEOUT

A late RTU reply looks like the answer to the next request, for nothing in it says what it answers.
So after every request that was not answered cleanly the line is listened to until its reply can no
longer come, and only then given back.
"""

import asyncio
import time
from collections import Counter
from typing import Any

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.pdu import (
    Answer,
    ModbusException,
    ReplyMismatch,
    Request,
    decode_reply,
)
from cpppod.protocols.modbus.tcp import Adu, MbapStream
from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.failures import Failure
from cpppod.workers.devices.driver import DeviceError, Link

BROADCAST_PAUSE_S = 0.1  # turnaround delay: units work on a broadcast before the next request
HEARD_LIMIT = 512  # bytes of a reply and the noise around it; the newest are kept
QUIET_LIMIT_S = 1.0  # a line that never falls silent is used all the same after so long
ADAPTER_S = 0.02  # what an adapter or a busy machine may hold a byte back for, on top of all else
TRAILING_S = 0.02  # bytes behind a reply: listen at least so long before the next request

Counts = Counter[str]


class TcpExchange:
    """Modbus TCP over a `TcpPort`; shared by the drivers of all units behind it."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._stream = MbapStream()
        self._connection = -1
        self._transaction = 0

    async def transact(
        self,
        unit: int,
        request: Request,
        timeout_s: float,
        *,
        counts: Counts,
        accept_zero_id: bool = False,
        reply_unit: int = -1,
    ) -> bytes:
        """The data of the reply that answers `request`.

        Raises:
            ModbusException: the device refused.
            DeviceError: no answer, or a stream that cannot be trusted any more.
        """
        await self._link.renew()
        if self._connection != self._link.connections:
            self._connection, self._stream = self._link.connections, MbapStream()
        counts["stale_replies"] += len(self._cut(self._link.discard()))
        self._transaction = self._transaction % 0xFFFF + 1
        await self._link.send(Adu(self._transaction, unit, request.pdu).encode())
        deadline_s = time.monotonic() + timeout_s
        wanted = unit if reply_unit < 0 else reply_unit
        others: set[int] = set()
        while True:
            data = await self._link.receive(deadline_s - time.monotonic())
            if not data:
                raise _no_reply(unit, timeout_s, others)
            answer = None
            for adu in self._cut(data):
                ours = self._is_ours(adu, accept_zero_id)
                if answer is None and ours and adu.unit == wanted:
                    answer = self._answer(request, adu, counts)
                    continue
                counts["stale_replies"] += 1
                if ours and adu.unit != wanted:
                    others.add(adu.unit)
            if answer is not None:
                return answer

    def _is_ours(self, adu: Adu, accept_zero_id: bool) -> bool:
        return adu.transaction == self._transaction or (accept_zero_id and not adu.transaction)

    def _answer(self, request: Request, adu: Adu, counts: Counts) -> bytes | None:
        try:
            return decode_reply(request, adu.pdu)
        except ReplyMismatch as error:
            if error.foreign:
                counts["stale_replies"] += 1
                return None
            counts["bad_replies"] += 1
            raise DeviceError(Failure.BAD_REPLY, f"unit {adu.unit}: {error}") from None

    def _cut(self, data: bytes) -> list[Adu]:
        try:
            return self._stream.receive_data(data) if data else []
        except DecodeError as error:
            raise DeviceError(Failure.BAD_REPLY, str(error)) from None


def _no_reply(unit: int, timeout_s: float, others: set[int]) -> DeviceError:
    """Nothing fitting came in time: nothing at all, or the reply of another unit."""
    if not others:
        return DeviceError(Failure.TIMEOUT, f"unit {unit}: no reply in {timeout_s:g} s")
    told = " and ".join(str(other) for other in sorted(others))
    text = f"unit {unit}: the reply came from unit {told}"
    return DeviceError(Failure.BAD_REPLY, text, connected=True)


class RtuExchange:
    """Modbus RTU over a line; shared by the drivers of all its units."""

    def __init__(
        self, link: Link, *, strip_echo: bool = False, late_window_s: float | None = None
    ) -> None:
        self._link = link
        self._strip_echo = strip_echo
        self._late_window_s = late_window_s
        self._quiet_s = 0.0  # when the line was last heard or used
        self._unanswered: tuple[int, Request, float] | None = None
        self._echoes = 0

    async def transact(
        self,
        unit: int,
        request: Request,
        timeout_s: float,
        *,
        counts: Counts,
        accept_zero_id: bool = False,
        reply_unit: int = -1,
    ) -> bytes:
        """The data of the reply that answers `request`; b"" at once for a broadcast (unit 0).

        Raises:
            ModbusException: the device refused.
            DeviceError: no answer, or the port is gone.
        """
        if self._unanswered is not None:  # whoever waited for it was cancelled
            await self._drain(counts, bytearray())
        await self._silence(counts)
        answers = unit if reply_unit < 0 else reply_unit
        frame = rtu.encode(unit, request.pdu)
        sending_s = len(frame) * self._link.character_s
        if unit == rtu.BROADCAST:
            return await self._broadcast(frame, sending_s)
        answering_s = _answer_length(request) * self._link.character_s
        deadline_s = time.monotonic() + sending_s + timeout_s + answering_s
        owed = answers, request, deadline_s + self._late_s(timeout_s)
        self._unanswered = owed
        await self._link.send(frame)
        heard = bytearray()
        found = await self._listen(answers, request, frame, deadline_s, heard)
        if found is None:
            return await self._not_answered(unit, frame, heard, counts)
        self._unanswered = None
        self._quiet_s = time.monotonic()
        if len(heard) > found.end:  # whatever follows is not ours; it may go on
            counts["noise_bytes"] += len(heard) - found.end
            self._quiet_s += max(0.0, TRAILING_S - self._link.silence_s)
        try:
            return decode_reply(request, found.pdu)
        except ReplyMismatch as error:
            counts["bad_replies"] += 1
            self._unanswered = owed
            await self._drain(counts, bytearray())
            text = f"unit {unit}: {error}"
            raise DeviceError(Failure.BAD_REPLY, text, connected=True) from None

    def _late_s(self, timeout_s: float) -> float:
        """How long after its time-out a reply may still come."""
        return timeout_s + ADAPTER_S if self._late_window_s is None else self._late_window_s

    async def _broadcast(self, frame: bytes, sending_s: float) -> bytes:
        """Send to every unit; none answers."""
        await self._link.send(frame)
        await asyncio.sleep(sending_s + BROADCAST_PAUSE_S)
        self._quiet_s = time.monotonic()
        return b""

    async def _listen(
        self, unit: int, request: Request, frame: bytes, deadline_s: float, heard: bytearray
    ) -> rtu.Found | None:
        """The reply, with all that was heard left in `heard`; None when the time is over."""
        strip = self._strip_echo or (bool(self._echoes) and request.answer == Answer.ECHO)
        while True:
            data = await self._link.receive(deadline_s - time.monotonic())
            if not data:
                return None
            heard += data
            if strip and len(heard) >= len(frame):
                if heard.startswith(frame):
                    del heard[: len(frame)]
                strip = False
            if strip:
                continue  # the echo comes first, and it is not complete yet
            found = rtu.find_reply(heard, unit, request)
            if found is not None:
                return found
            if len(heard) > HEARD_LIMIT:
                del heard[:-HEARD_LIMIT]

    async def _not_answered(
        self, unit: int, frame: bytes, heard: bytearray, counts: Counts
    ) -> bytes:
        """Name what was heard instead of the reply, and wait until that can no longer come."""
        failure, text = rtu.diagnose(heard, frame, unit)
        if heard.startswith(frame):
            self._echoes += 1
            counts["echoes"] += 1
        elif failure is Failure.GARBLED:  # it is there, but not to be understood
            counts["crc_errors"] += 1
        else:
            counts["noise_bytes"] += len(heard)
        await self._drain(counts, heard)
        raise DeviceError(failure, f"unit {unit}: {text}", connected=True)

    async def _drain(self, counts: Counts, heard: bytearray) -> None:
        """Listen until the reply that is owed has come, or can no longer come."""
        assert self._unanswered is not None
        unit, request, until_s = self._unanswered
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                data = await self._link.receive(left_s)
            except DeviceError:  # with the connection the reply is lost
                break
            if not data:
                break
            heard += data
            del heard[:-HEARD_LIMIT]
            if rtu.find_reply(heard, unit, request) is not None:
                counts["stale_replies"] += 1
                break
        self._unanswered = None
        self._quiet_s = time.monotonic()

    async def _silence(self, counts: Counts) -> None:
        """Return when the line has been silent for t3.5; what is heard meanwhile is dropped."""
        silence_s = self._link.silence_s
        give_up_s = time.monotonic() + QUIET_LIMIT_S
        while True:
            unasked = self._link.discard()
            if unasked:
                counts["noise_bytes"] += len(unasked)
                self._quiet_s = time.monotonic()
            left_s = self._quiet_s + silence_s - time.monotonic()
            if left_s <= 0 or time.monotonic() > give_up_s:
                return
            await asyncio.sleep(left_s)


Exchange = TcpExchange | RtuExchange


def _answer_length(request: Request) -> int:
    length = request.reply_length
    return rtu.MAX_FRAME if length is None else length + 3


def is_busy(error: ModbusException) -> bool:
    """Whether the device asks to be asked again (exceptions 5 and 6)."""
    return error.code in (5, 6)
