"""A simulated Modbus plant: units with their cells, faults, moving values, and their replies.

    Conversation ── request ──► Plant.find(unit) ──► reply ──► faults ──► bytes, now or later

Every peer's requests are answered one after the other, as a device does; a fault may change the
bytes of a reply and when they leave.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from cpppod.protocols.modbus import rtu
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.faults import Faults, Message
from cpppod.protocols.modbus.motion import Motion
from cpppod.protocols.modbus.pdu import ExceptionCode, exception_reply
from cpppod.protocols.modbus.server import Unit
from cpppod.protocols.modbus.specs import RegisterRange

WAITING_LIMIT = 64  # requests of one connection that wait for their replies; then it reads no more


class Plant:
    """What is simulated: units with their cells, faults, moving values.

    Attributes:
        default: answers for every unit that is not in `units`; None: only those answer.
        log: called with a line per request and reply where set.
    """

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self.units: dict[int, Unit] = {}
        self.default: Unit | None = None
        self.faults = Faults(chance)
        self.motions: list[Motion] = []
        self.log: Callable[[str], None] | None = None
        self._started_s = time.monotonic()

    def define(self, registers: RegisterRange) -> None:
        """Give a unit cells; those of no unit belong to every unit without cells of its own."""
        unit = self._unit(registers.unit)
        unit.define(registers.first.table, registers.first.offset, registers.filled)

    def move(self, motion: Motion) -> None:
        """Let a value move from now on; its cells are there from the start."""
        self.motions.append(motion)
        self._set(motion, 0.0)

    def advance(self) -> None:
        """Give moving values what they are worth now."""
        seconds = time.monotonic() - self._started_s
        for motion in self.motions:
            self._set(motion, seconds)

    def find(self, unit: int) -> Unit | None:
        """The unit that answers to that number."""
        return self.units.get(unit, self.default)

    def all_units(self) -> list[Unit]:
        """Every unit there is."""
        return [*self.units.values(), *([self.default] if self.default else [])]

    def _unit(self, number: int | None) -> Unit:
        if number is None:
            self.default = self.default or Unit()
            return self.default
        return self.units.setdefault(number, Unit())

    def _set(self, motion: Motion, seconds: float) -> None:
        first = motion.where.first
        self._unit(motion.where.unit).define(first.table, first.offset, motion.cells(seconds))

    def cells(self, unit: int | None, table: Table) -> dict[int, int]:
        """The cells of a table as they are now."""
        return self._unit(unit).tables[table]


class Conversation:
    """One peer's requests, answered in turn.

    Args:
        send: writes to the peer; `end` hangs up at once, `finish` once all is written.
    """

    def __init__(
        self,
        plant: Plant,
        send: Callable[[bytes], None],
        end: Callable[[], None],
        finish: Callable[[], None] | None = None,
    ) -> None:
        self._plant = plant
        self._send = send
        self._end = end
        self._finish = finish or end
        self._hang_up: asyncio.TimerHandle | None = None
        self._waiting: deque[Message] = deque()
        self._busy = False
        self._previous = b""
        self._timer: asyncio.TimerHandle | None = None
        self.mute = False  # half-open: nothing is ever sent again
        self.character_s = 0.0  # pace of a line that takes its time

    def answer(
        self, unit: int, pdu: bytes, request: bytes, header: tuple[int, int, int | None] | None
    ) -> None:
        """Answer one request when those before it are answered."""
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
        found = self._plant.find(unit)
        if header is None and unit == rtu.BROADCAST:
            for each in self._plant.all_units():
                each.respond(pdu)
            return
        if found is None:
            if header is None:
                return
            reply = exception_reply(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
        else:
            reply = found.respond(pdu)
        if len(self._waiting) >= WAITING_LIMIT:
            self._end()
            return
        self._waiting.append(Message(request, unit, reply, header))
        if not self._busy:
            self._next()

    def close(self) -> None:
        """Send nothing more."""
        for timer in (self._timer, self._hang_up):
            if timer is not None:
                timer.cancel()
        self._waiting.clear()
        self.mute = True

    def _next(self) -> None:
        """Send what waits, as far as no fault delays it."""
        while self._waiting:
            message = self._waiting.popleft()
            if self._plant.faults.active:
                struck = self._plant.faults.strike(replace(message, previous=self._previous))
            else:
                struck = message
            data = struck.encode()
            self._previous = message.encode() if struck is not message else data
            if self._plant.log is not None:
                self._plant.log(f"{message.request.hex()} -> {data.hex() or 'nothing'}")
            self.mute = self.mute or struck.half_open
            delay_s = struck.delay_s + self.character_s * (len(message.request) + len(data))
            if delay_s or struck.pause_s:
                self._busy = True
                piece = struck.piece or len(data)
                self._later(delay_s, data, piece, struck)
                return
            self._write(data)
            self._part(struck)
        self._busy = False

    def _part(self, struck: Message) -> None:
        """Hang up after the reply, where a fault says so."""
        if struck.hang_up_s is not None:
            loop = asyncio.get_running_loop()
            self._hang_up = loop.call_later(struck.hang_up_s, self._finish)

    def _later(self, delay_s: float, data: bytes, piece: int, struck: Message) -> None:
        def go() -> None:
            self._write(data[:piece])
            if len(data) > piece:
                self._later(struck.pause_s, data[piece:], piece, struck)
            else:
                self._part(struck)
                self._next()

        self._timer = asyncio.get_running_loop().call_later(delay_s, go)

    def _write(self, data: bytes) -> None:
        if data and not self.mute:
            self._send(data)
