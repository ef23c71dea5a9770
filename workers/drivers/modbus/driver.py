"""The Modbus driver: one unit of a Modbus TCP address, of a serial line, or of a line behind TCP.

    poll    read plan ─► request by request ─► values by tag (`reading`)
    write   coil, register, several registers, one bit of a register (mask write)

The plan is made once for a group. A tag that the device refuses by address is left out of the plan,
read alone every `quarantine_retry_s`, and named by `describe`; a gap that it refuses becomes a
boundary of the plan.
"""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.address import Table, identity_object
from cpppod.protocols.modbus.encodings import INVERTED, Malformed
from cpppod.protocols.modbus.forms import Unavailable, factored
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.pdu import ModbusException, Request
from cpppod.protocols.modbus.plan import Block
from cpppod.protocols.modbus.registers import bit_place
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import REAL_TYPES, Quality
from cpppod.workers.devices.driver import (
    DeviceError,
    DeviceFrame,
    Link,
    Sample,
    Transaction,
    Write,
    WriteOutcome,
)
from cpppod.workers.drivers.modbus.exchange import Exchange, RtuExchange, TcpExchange, is_busy
from cpppod.workers.drivers.modbus.identity import IdentityReader
from cpppod.workers.drivers.modbus.placed import Placed, needs_places
from cpppod.workers.drivers.modbus.reading import UnitReader
from cpppod.workers.drivers.modbus.register_map import (
    COUNT,
    FACTOR,
    DeviceCells,
    RegisterMapEntry,
)
from cpppod.workers.transport.port import TcpPort

NEVER_WRITTEN: Sample = (None, int(Quality.NOT_YET_KNOWN))
NO_PATH, NO_UNIT = 0x0A, 0x0B
ABSENT = {  # exceptions of a gateway in the place of the unit
    NO_PATH: "the gateway has no path to the unit (0x0A)",
    NO_UNIT: "the gateway says no such unit (0x0B)",
}
ACKNOWLEDGED = 5  # it will be done, or not: nobody says


def make_driver(
    device: Device, link: Link | None = None, frame: DeviceFrame | None = None, *, rtu: bool = False
) -> "ModbusDriver":
    """The driver of `device`, on `link` or on a TCP connection of its own.

    Raises:
        EncodeError, ValueError: an address, type or model key that cannot be.
    """
    model = Model.of_device(device.model, device.options)
    own = None
    if link is None:
        settle_s = float(device.model.get("pause_after_connect_s", 0.0))
        own = TcpPort(device.address, timeout_s=device.timeout_s, settle_s=settle_s)
        link = own
    frame = frame or DeviceFrame()
    if own is not None:
        frame.tap = own.tap
    return ModbusDriver(device, model, exchange_on(link, rtu=rtu), own, frame)


def exchange_on(link: Any, *, rtu: bool) -> Exchange:
    """The one exchange that all drivers of a link share."""
    found: Exchange | None = link.shared.get("modbus")
    if found is None:
        if not rtu:
            found = TcpExchange(link)
        elif link.line is None:
            found = RtuExchange(link)
        else:
            line = link.line
            found = RtuExchange(link, strip_echo=line.strip_echo, late_window_s=line.late_window_s)
        link.shared["modbus"] = found
    return found


_Derived = tuple[list[Tag], dict[str, int]]  # tags of more than their own cells; objects by tag


class ModbusDriver:
    """One unit; satisfies `Driver`."""

    concurrency = 1
    cip = None

    def __init__(
        self,
        device: Device,
        model: Model,
        exchange: Exchange,
        own: TcpPort | None,
        frame: DeviceFrame,
    ) -> None:
        self.frame = frame
        self._device = device
        self._model = model
        self._exchange = exchange
        self._own = own
        self._counts: Counter[str] = Counter()
        self._placed = Placed(device) if needs_places(device) else None
        self._cells = DeviceCells(replace(device, groups=()) if self._placed else device, model)
        self._reader = UnitReader(self._cells, self._read, self._between, self._counts)
        self._identity = IdentityReader(self._transact)
        self._written: dict[str, Sample] = {}
        self._derived: dict[str, tuple[tuple[Tag, ...], DeviceCells, _Derived]] = {}
        self._answers_at_loss = 0
        self._masks = model.mask_write
        self._pause_s = max(device.delay_s, model.pause_s)
        self._free_s = 0.0

    async def _between(self) -> None:
        await self.frame.between()

    # Connection

    async def open(self) -> None:
        """Connect, where the connection is not the wire's."""
        self._identity.forget()
        if self._placed is not None:
            self._placed.forget()
        if self._own is not None:
            await self._own.open()

    async def close(self) -> None:
        """Disconnect, where the connection is not the wire's."""
        if self._own is not None:
            await self._own.close()

    # Reading

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Every tag of the group, in as few requests as the device allows.

        Raises:
            DeviceError: no answer at all, or the connection is lost.
        """
        if self._placed is not None:
            return await self._poll_placed(self._placed, group)
        return await self._poll(group)

    async def _poll_placed(self, placed: Placed, group: Group) -> dict[str, Sample]:
        """A group whose tags lie where the device says; those that it has not are said."""
        if not placed.known:
            self._cells = DeviceCells(await placed.find(self._read_words), self._model)
            self._reader = UnitReader(self._cells, self._read, self._between, self._counts)
        found = placed.group(group)
        samples = await self._poll(found) if found.tags else {}
        if len(found.tags) < len(group.tags):
            absent: Sample = (None, int(Quality.NOT_CONFIGURED))
            samples |= {tag.name: absent for tag in group.tags if tag.name not in samples}
        return samples

    async def _read_words(self, at: int, count: int) -> list[int]:
        """Holding registers as they are."""
        request = pdu.read(Table.HOLDING_REGISTERS, at, count)
        return pdu.unpack_registers(await self._transact("read", request, count))

    async def _poll(self, group: Group) -> dict[str, Sample]:
        samples = await self._reader.poll(group)
        derived, objects = self._derived_of(group)
        if not derived and not objects:
            return samples
        for tag in derived:
            if absent := self._absent(tag, samples):
                samples[tag.name] = absent
            elif tag.scale_from:
                samples[tag.name] = self._factored(tag, samples)
            elif tag.write_only:
                samples[tag.name] = self._written.get(tag.name, NEVER_WRITTEN)
        await self._identity.add(objects, samples)
        for key in [key for key in samples if key.startswith((FACTOR, COUNT))]:
            del samples[key]
        return samples

    def _derived_of(self, group: Group) -> _Derived:
        """Tags whose value is more than their own cells, and objects of function 43/14 by tag."""
        known = self._derived.get(group.name)
        if known is None or known[0] is not group.tags or known[1] is not self._cells:
            derived = [
                tag
                for tag in group.tags
                if tag.scale_from or tag.write_only or self._cells.count_of(tag.name)
            ]
            numbers = ((tag.name, identity_object(tag.address)) for tag in group.tags)
            objects = {name: number for name, number in numbers if number is not None}
            known = self._derived[group.name] = group.tags, self._cells, (derived, objects)
        return known[2]

    def _absent(self, tag: Tag, samples: dict[str, Sample]) -> Sample | None:
        """What a tag is that the device has not now; None where it is there."""
        key = self._cells.count_of(tag.name)
        if key is None:
            return None
        count, worth = samples.get(key, (None, int(Quality.BAD)))
        if count is None:
            return None, worth
        return None if count >= tag.exists_at else (None, int(Quality.NOT_IMPLEMENTED))

    def _factored(self, tag: Tag, samples: dict[str, Sample]) -> Sample:
        """A value times the power of ten that its other register holds."""
        factor = self._cells.factor_of(tag.name)
        assert factor is not None
        value, worth = samples.get(tag.name, (None, int(Quality.BAD)))
        power, of_power = samples.get(factor.item.key, (None, int(Quality.BAD)))
        if value is None or power is None:
            return None, worth if value is None else of_power
        try:
            return factored(value, power), worth
        except Malformed:
            return None, int(Quality.OUT_OF_RANGE)

    async def _read(self, block: Block) -> bytes:
        """The block's data; asked for once more where a device closed after the reply before."""
        request = pdu.read(block.table, block.address, block.count)
        try:
            return await self._transact("read", request, block.count)
        except DeviceError as error:
            if error.failure is not Failure.LOST or self._cells.answers == self._answers_at_loss:
                raise
        self._answers_at_loss = self._cells.answers
        return await self._transact("read", request, block.count)

    # Writing

    async def write(self, writes: list[Write]) -> WriteOutcome:
        """One tag after the other, up to the first that fails."""
        for tag, first, values in writes:
            if tag.name not in self._cells:
                text = f"{tag.name}: the device has no {tag.address}, or has not said where"
                return WriteOutcome(Failure.NOT_CONNECTED, text)
            cell = self._cells[tag.name]
            if not cell.address.table.writable:
                text = f"{tag.name}: {cell.address.table.name.lower()} cannot be written"
                return WriteOutcome(Failure.NOT_WRITABLE, text)
            try:
                await self._write_cell(cell, first, await self._unfactored(cell, values))
                if tag.write_only:
                    whole = values if tag.length > 1 else values[0]
                    self._written[tag.name] = whole, int(Quality.AS_WRITTEN)
            except EncodeError as error:
                return WriteOutcome(Failure.BAD_VALUE, str(error))
            except ModbusException as error:
                text, unknown = f"{tag.name}: {error}", error.code == ACKNOWLEDGED
                return WriteOutcome(Failure.EXCEPTION, text, (error.code,), unknown=unknown)
            except DeviceError as error:
                return WriteOutcome.of(error)
        return WriteOutcome()

    async def _unfactored(self, cell: RegisterMapEntry, values: list[Any]) -> list[Any]:
        """Values without the power of ten, which is read now: it may have changed.

        Raises:
            EncodeError: there is none.
        """
        factor = self._cells.factor_of(cell.tag.name)
        if factor is None or factor.codec is None:
            return values
        item = factor.item
        data = await self._read(Block(item.table, item.address, item.count, (item,)))
        try:
            power = factor.codec.decode(data, 0)
            scaled = factored(values, -power)
        except (Unavailable, Malformed) as error:
            text = f"{cell.tag.name}: no power of ten at {factor.address} {error}"
            raise EncodeError(text, status=3) from None
        whole = cell.tag.type not in REAL_TYPES
        return [round(value) if whole else float(value) for value in scaled]

    async def _write_cell(self, cell: RegisterMapEntry, first: int, values: list[Any]) -> None:
        offset = cell.address.offset
        if cell.codec is None:
            turned = cell.tag.encoding == INVERTED
            await self._write_coils(offset + first, [bool(value) != turned for value in values])
        elif cell.codec.encode is None:
            bit = cell.address.bit if cell.tag.bit is None else cell.tag.bit
            assert bit is not None
            register, bit = bit_place(cell.tag, bit)
            value = bool(values[0]) != (cell.tag.encoding == INVERTED)
            await self._write_bit(offset + register, bit, value)
        else:
            data = b"".join(cell.codec.encode(value) for value in values)
            start = offset + first * cell.codec.element_registers
            await self._write_registers(start, pdu.unpack_registers(data))

    async def _write_coils(self, address: int, values: list[bool]) -> None:
        if self._model.write_multiple and (len(values) > 1 or not self._model.write_single):
            await self._transact("write", pdu.write_coils(address, values), len(values))
            return
        for at, value in enumerate(values):
            await self._transact("write", pdu.write_coil(address + at, value), 1)

    async def _write_registers(self, address: int, words: list[int]) -> None:
        model = self._model
        if model.write_single and (len(words) == 1 or not model.write_multiple):
            for at, word in enumerate(words):
                await self._transact("write", pdu.write_register(address + at, word), 1)
            return
        most = model.max_write_registers
        for at in range(0, len(words), most):
            some = words[at : at + most]
            await self._transact("write", pdu.write_registers(address + at, some), len(some))

    async def _write_bit(self, address: int, bit: int, value: bool) -> None:
        """Mask write; where the device has none, read and write back while the wire is ours."""
        mask = 1 << bit
        if self._masks:
            request = pdu.mask_write_register(address, 0xFFFF ^ mask, mask if value else 0)
            try:
                await self._transact("write", request, 1)
                return
            except ModbusException as error:
                if error.code != 1:
                    raise
                self._masks = False
        request = pdu.read(Table.HOLDING_REGISTERS, address, 1)
        (word,) = pdu.unpack_registers(await self._transact("read", request, 1))
        await self._write_registers(address, [word | mask if value else word & ~mask])

    # The wire

    async def _transact(self, operation: str, request: Request, weight: int) -> bytes:
        """One request, tried again while the device says that it is busy."""
        for _ in range(self._model.busy_retries):
            try:
                return await self._transact_once(operation, request, weight)
            except ModbusException as error:
                if not is_busy(error) or operation != "read":
                    raise
                await asyncio.sleep(self._model.busy_delay_s)
        return await self._transact_once(operation, request, weight)

    async def _transact_once(self, operation: str, request: Request, weight: int) -> bytes:
        wait_s = self._free_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        device = self._device
        started_s = time.monotonic()
        result, detail, code = "ok", "", 0
        try:
            return await self._exchange.transact(
                device.unit,
                request,
                device.timeout_s,
                counts=self._counts,
                accept_zero_id=self._model.accept_zero_id,
                reply_unit=self._model.reply_unit,
            )
        except ModbusException as error:
            result, detail, code = "exception", str(error), error.code
            if code in ABSENT:
                detail, sent = ABSENT[code], code == NO_UNIT
                failure = Failure.ABSENT
                raise DeviceError(failure, detail, codes=(code,), sent=sent) from None
            raise
        except DeviceError as error:
            result, detail = error.result, error.text
            raise
        finally:
            ended_s = time.monotonic()
            if self._pause_s:
                self._free_s = ended_s + self._pause_s
            text = f"unit {device.unit} {request}"
            self.frame.on_transaction(
                Transaction(operation, text, result, ended_s - started_s, detail, code, weight)
            )

    def describe(self) -> dict[str, Any]:
        """Counters of the wire, quarantined tags, what a cycle costs."""
        described = {"counters": dict(self._counts), **self._cells.describe()}
        if self._placed is not None:
            models = self._placed.models
            described["models"] = [f"{each.model} at {each.start}" for each in models]
        return described
