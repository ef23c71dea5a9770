"""The Modbus driver: one unit of a Modbus TCP address, of a serial line, or of a line behind TCP.

    poll    read plan ─► request by request ─┬─► values by tag
                                             └─ refused: halve ─► the bad tag is quarantined, the
                                                                  good ones are read in this poll
    write   coil, register, several registers, one bit of a register (mask write)

The plan is made once for a group. A tag that the device refuses by address is left out of the plan,
read alone every `quarantine_retry_s`, and named by `describe`; a gap that it refuses becomes a
boundary of the plan.
"""

import asyncio
import time
from collections import Counter
from typing import Any

from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.pdu import ModbusException, Request
from cpppod.protocols.modbus.plan import Block, Item, halves
from cpppod.protocols.modbus.registers import bit_place
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Device, Group
from cpppod.protocols.model.values import Quality, quality
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
from cpppod.workers.drivers.modbus.register_map import DeviceCells, RegisterMapEntry
from cpppod.workers.transport.port import TcpPort

ADDRESS_CODES = (2, 3)  # exceptions that another extent of the read may not have
GOOD = int(Quality.GOOD)
PLANS_KEPT = 256  # groups, and parts of them that were asked again


def make_driver(
    device: Device, link: Link | None = None, frame: DeviceFrame | None = None, *, rtu: bool = False
) -> "ModbusDriver":
    """The driver of `device`, on `link` or on a TCP connection of its own.

    Raises:
        EncodeError, ValueError: an address, type or model key that cannot be.
    """
    model = Model.from_tables(device.model)
    own = None
    if link is None:
        settle_s = float(device.model.get("pause_after_connect_s", 0.0))
        own = TcpPort(device.address, timeout_s=device.timeout_s, settle_s=settle_s)
        link = own
    return ModbusDriver(device, model, exchange_on(link, rtu=rtu), own, frame or DeviceFrame())


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
        self._cells = DeviceCells(device, model)
        self._masks = model.mask_write
        self._pause_s = max(device.delay_s, model.pause_s)
        self._free_s = 0.0

    # Connection

    async def open(self) -> None:
        """Connect, where the connection is not the wire's."""
        if self._own is not None:
            await self._own.open()

    async def close(self) -> None:
        """Disconnect, where the connection is not the wire's."""
        if self._own is not None:
            await self._own.close()

    # Reading

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Every tag of the group, in as few requests as the device allows."""
        samples: dict[str, Sample] = {}
        parts: dict[str, bytearray] = {}
        silent = 0
        for block in self._cells.blocks(group):
            if samples:
                await self.frame.between()
            try:
                if silent < 2:  # after two in a row the device itself is silent
                    await self._read_block(block, samples, parts)
                    silent = 0
                    continue
            except DeviceError as error:
                if not samples or not error.connected:
                    raise
                silent += 1
            samples.update({item.key: (None, int(Quality.TIMEOUT)) for item in block.items})
        await self._read_quarantined(group, samples)
        return samples

    async def _read_block(
        self, block: Block, samples: dict[str, Sample], parts: dict[str, bytearray]
    ) -> None:
        try:
            data = await self._read(block)
        except ModbusException as error:
            if error.code in ADDRESS_CODES and len(block.items) > 1:
                await self._bisect(block, samples)
            elif error.code in ADDRESS_CODES and block.items[0].count <= block.count:
                self._isolate(block.items[0], error, samples)
            else:
                refused = quality(Quality.DEVICE_STATUS, status=error.code)
                samples.update({item.key: (None, refused) for item in block.items})
            return
        for item in block.items:
            self._take(item, block, data, samples, parts)

    def _take(
        self,
        item: Item,
        block: Block,
        data: bytes,
        samples: dict[str, Sample],
        parts: dict[str, bytearray],
    ) -> None:
        """The item's value out of the block's data; a part of it where it is in several blocks."""
        cell = self._cells[item.key]
        width = 1 if cell.codec is None else 2  # bytes of a cell, once bits are unpacked
        if cell.codec is None:
            data = bytes(pdu.unpack_bits(data, block.count))
        offset = width * (item.address - block.address)
        if offset < 0 or item.end > block.end:
            part = parts.setdefault(item.key, bytearray())
            if len(part) != max(0, -offset):
                return  # a part before this one was refused
            part += data[max(0, offset) : offset + width * item.count]
            if len(part) < width * item.count:
                return
            data, offset = bytes(part), 0
        if cell.codec is not None:
            samples[item.key] = cell.codec.decode(data, offset), GOOD
        elif item.count == 1:
            samples[item.key] = bool(data[offset]), GOOD
        else:
            bits = data[offset : offset + item.count]
            samples[item.key] = [bool(bit) for bit in bits], GOOD

    async def _bisect(self, block: Block, samples: dict[str, Sample]) -> None:
        """The device refuses the block: read its halves, down to the tags that are to blame."""
        self._counts["blocks_split"] += 1
        bad_before = self._cells.quarantined
        leaves: list[Block] = []
        pending = [block]
        while pending:
            part = pending.pop(0)
            divided = halves(part)
            if divided is None:
                continue
            for half in divided:
                await self.frame.between()
                try:
                    data = await self._read(half)
                except ModbusException as error:
                    if error.code not in ADDRESS_CODES:
                        refused = quality(Quality.DEVICE_STATUS, status=error.code)
                        samples.update({item.key: (None, refused) for item in half.items})
                    elif len(half.items) > 1:
                        pending.append(half)
                    else:
                        self._isolate(half.items[0], error, samples)
                else:
                    leaves.append(half)
                    for item in half.items:
                        self._take(item, half, data, samples, {})
        if self._cells.quarantined == bad_before:  # no tag was to blame, so a gap was
            self._cells.learn_boundaries(leaves)

    def _isolate(self, item: Item, error: ModbusException, samples: dict[str, Sample]) -> None:
        samples[item.key] = None, self._cells.isolate(item, error)

    async def _read_quarantined(self, group: Group, samples: dict[str, Sample]) -> None:
        for entry in self._cells.isolated(group):
            item = entry.item
            if item.key in samples:
                continue
            samples[item.key] = None, entry.quality
            if not self._cells.retry_due(entry):
                continue
            block = Block(item.table, item.address, item.count, (item,))
            try:
                data = await self._read(block)
            except ModbusException:
                continue
            self._cells.release(entry)
            self._take(item, block, data, samples, {})

    async def _read(self, block: Block) -> bytes:
        request = pdu.read(block.table, block.address, block.count)
        return await self._transact("read", request, block.count)

    # Writing

    async def write(self, writes: list[Write]) -> WriteOutcome:
        """One tag after the other, up to the first that fails."""
        for tag, first, values in writes:
            cell = self._cells[tag.name]
            if not cell.address.table.writable:
                text = f"{tag.name}: {cell.address.table.name.lower()} cannot be written"
                return WriteOutcome(Failure.NOT_WRITABLE, text)
            try:
                await self._write_cell(cell, first, values)
            except EncodeError as error:
                return WriteOutcome(Failure.BAD_VALUE, str(error))
            except ModbusException as error:
                return WriteOutcome(Failure.EXCEPTION, f"{tag.name}: {error}", (error.code,))
            except DeviceError as error:
                return WriteOutcome.of(error)
        return WriteOutcome()

    async def _write_cell(self, cell: RegisterMapEntry, first: int, values: list[Any]) -> None:
        offset = cell.address.offset
        if cell.codec is None:
            await self._write_coils(offset + first, [bool(value) for value in values])
        elif cell.codec.encode is None:
            bit = cell.address.bit if cell.tag.bit is None else cell.tag.bit
            assert bit is not None
            register, bit = bit_place(cell.tag, bit)
            await self._write_bit(offset + register, bit, bool(values[0]))
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
            )
        except ModbusException as error:
            result, detail, code = "exception", str(error), error.code
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
        return {"counters": dict(self._counts), **self._cells.describe()}
