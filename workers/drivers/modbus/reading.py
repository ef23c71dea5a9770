"""Reading the groups of one unit, and learning what it does not have.

    group ─► due again? ─► blocks ─┬─► values by tag
                                   ├─ refused: halve ─► the bad tag is quarantined, or a gap or the
                                   │                    limit is learnt; the good ones are read now
                                   └─ silent, and the unit answers others: halve, poll by poll

Nothing is learnt from a unit that refuses all: it is not ready, and is asked the same again at the
next poll. A few tags alone tell that apart from one bad tag in the only block.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cpppod.protocols.modbus import pdu
from cpppod.protocols.modbus.encodings import INVERTED, Malformed
from cpppod.protocols.modbus.forms import Unavailable
from cpppod.protocols.modbus.pdu import ModbusException
from cpppod.protocols.modbus.plan import Block, Item, halves
from cpppod.protocols.modbus.registers import Codec
from cpppod.protocols.model.failures import Failure
from cpppod.protocols.model.plant import Group
from cpppod.protocols.model.values import Quality, quality
from cpppod.workers.devices.driver import DeviceError, Sample
from cpppod.workers.drivers.modbus.exchange import is_busy
from cpppod.workers.drivers.modbus.register_map import DeviceCells, Quarantined

GOOD = int(Quality.GOOD)
SAMPLES = 3  # tags asked alone where a unit refuses all: one that is good tells that it is ready
RETRIES = 2  # quarantined tags asked again in one poll
SILENT_IN_A_ROW = 2  # reads: then the unit itself is silent
SILENT_AT_MOST = 4  # reads of one poll: what else is suspected waits for the next

UNANSWERED = (Failure.TIMEOUT, Failure.ABSENT)  # the latter: by the unit, says its gateway

ReadBlock = Callable[[Block], Awaitable[bytes]]


@dataclass(slots=True)
class Reading:
    """One poll of one group.

    Attributes:
        parts: what has come of items that are in several blocks.
        good: reads that brought values; answered: replies, refusals too.
        refused: blocks that were refused, and how, while nothing was good yet.
        silent: reads without an answer, in a row; silences in all; silence: the last one.
        busy: the unit, or a gateway before it, said so: no answer of the unit's own.
    """

    samples: dict[str, Sample] = field(default_factory=dict)
    parts: dict[str, bytearray] = field(default_factory=dict)
    begun: bool = False
    good: int = 0
    answered: int = 0
    refused: list[tuple[Block, ModbusException]] = field(default_factory=list)
    silent: int = 0
    silences: int = 0
    silence: DeviceError | None = None
    busy: ModbusException | None = None

    def mark(self, block: Block, worth: int) -> None:
        """All tags of a block are bad for one reason."""
        self.samples.update({item.key: (None, worth) for item in block.items})


class UnitReader:
    """Reads one unit.

    Args:
        cells: what is known of the unit; learns.
        read: the data of one block, or `ModbusException`, `DeviceError`.
        between: awaited between two reads.
    """

    def __init__(
        self,
        cells: DeviceCells,
        read: ReadBlock,
        between: Callable[[], Awaitable[None]],
        counts: Counter[str],
    ) -> None:
        self._cells = cells
        self._read = read
        self._between = between
        self._counts = counts
        self._turn = 0  # of the tags that are asked alone

    async def poll(self, group: Group) -> dict[str, Sample]:
        """Every tag of the group, in as few requests as the device allows.

        Raises:
            DeviceError: no answer at all, or the connection is lost.
        """
        reading = Reading()
        self._cells.sweep += 1
        await self._retry(group, reading)
        pending = deque(self._cells.blocks(group))
        while pending:
            block = pending.popleft()
            if self._hopeless(block, reading):
                reading.mark(block, int(Quality.TIMEOUT))
                continue
            try:
                await self._take_block(block, reading)
            except DeviceError as error:
                if error.failure not in UNANSWERED or not error.connected:
                    raise
                pending.extend(self._silent(block, error, reading))
        if not reading.answered:
            if reading.silence is not None:
                raise reading.silence
            if reading.busy is not None:
                code = reading.busy.code
                raise DeviceError(Failure.EXCEPTION, str(reading.busy), codes=(code,))
        await self._judge(reading)
        for entry in self._cells.isolated(group):
            reading.samples.setdefault(entry.item.key, (None, entry.quality))
        return reading.samples

    async def _ask(self, block: Block, reading: Reading) -> bytes:
        """The block's data; counts what kind of answer came."""
        if reading.begun:
            await self._between()
        reading.begun = True
        try:
            data = await self._read(block)
        except ModbusException as error:
            if is_busy(error):
                reading.busy = error
            else:
                self._answered(reading)
            raise
        self._answered(reading)
        reading.good += 1
        self._cells.has_read(block)
        return data

    def _answered(self, reading: Reading) -> None:
        reading.silent = 0
        reading.answered += 1
        self._cells.answers += 1

    # -- blocks -----------------------------------------------------------------------------------

    async def _take_block(self, block: Block, reading: Reading) -> None:
        try:
            data = await self._ask(block, reading)
        except ModbusException as error:
            if not self._cells.is_address(error):
                reading.mark(block, quality(Quality.DEVICE_STATUS, status=error.code))
            elif reading.good or self._cells.suspects(block, well=True):
                await self._blame(block, error, reading)
            else:
                self._cells.suspect(block)
                reading.refused.append((block, error))
            return
        self._take_all(block, data, reading)

    async def _judge(self, reading: Reading) -> None:
        """What was refused before anything was good: bad addresses, or a unit not ready.

        It may have become ready meanwhile, so what was refused is read again first.
        """
        if reading.refused and not reading.good:
            await self._sample(reading)
        for block, error in reading.refused:
            if reading.good:
                await self._take_block(block, reading)
            else:
                reading.mark(block, refusal(error))

    async def _sample(self, reading: Reading) -> None:
        """Ask a few tags of a refused block alone, others each time, until one is good."""
        blocks = [block for block, _ in reading.refused if len(block.items) > 1]
        if not blocks:
            return
        items = blocks[self._turn % len(blocks)].items
        for number in range(min(SAMPLES, len(items))):
            item = items[(self._turn + number * len(items) // SAMPLES) % len(items)]
            block = Block(item.table, item.address, item.count, (item,))
            try:
                await self._ask(block, reading)
                return
            except ModbusException:
                self._turn += 1

    async def _blame(self, block: Block, error: ModbusException, reading: Reading) -> None:
        """Find out what of a refused block is to blame."""
        if len(block.items) > 1:
            self._counts["blocks_split"] += 1
            await self._split(block, reading)
        elif block.items[0].count <= block.count:
            self._isolate(block.items[0], error, reading)
        else:  # a part of a value larger than a read
            reading.mark(block, quality(Quality.DEVICE_STATUS, status=error.code))

    async def _split(self, block: Block, reading: Reading) -> None:
        """Read the halves, down to the tags that are to blame; where none is, the block was."""
        divided = halves(block)
        assert divided is not None, "of several items"
        good = 0
        for half in divided:
            try:
                data = await self._ask(half, reading)
            except ModbusException as error:
                if not self._cells.is_address(error):
                    reading.mark(half, quality(Quality.DEVICE_STATUS, status=error.code))
                elif len(half.items) > 1:
                    await self._split(half, reading)
                else:
                    self._isolate(half.items[0], error, reading)
            else:
                good += 1
                self._take_all(half, data, reading)
        if good == len(divided):
            self._cells.learn(block, *divided)

    def _isolate(self, item: Item, error: ModbusException, reading: Reading) -> None:
        where = f"{self._cells[item.key].address}: {error}"
        worth = self._cells.isolate(item, where, refusal(error))
        reading.samples[item.key] = None, worth

    # -- silence ----------------------------------------------------------------------------------

    def _hopeless(self, block: Block, reading: Reading) -> bool:
        """Whether the unit is silent, or enough time went to suspected blocks in this poll."""
        if reading.silences >= SILENT_AT_MOST:
            return not reading.answered or self._cells.suspects(block)
        return reading.silent >= SILENT_IN_A_ROW and not self._cells.suspects(block)

    def _silent(self, block: Block, error: DeviceError, reading: Reading) -> tuple[Block, ...]:
        """A read was not answered: blocks to read in its stead, where the unit answers others.

        Raises:
            DeviceError: it is the unit that is silent.
        """
        reading.silent += 1
        reading.silences += 1
        if not self._cells.suspects(block):
            self._cells.suspect(block)
            if not reading.answered and not self._cells.splitting:
                raise error
            reading.silence = error
            reading.mark(block, int(Quality.TIMEOUT))
            return ()
        self._cells.suspect(block)
        divided = halves(block)
        if divided is not None:
            self._cells.split(block, *divided)
            return divided
        item = block.items[0]
        where = f"{self._cells[item.key].address}: no reply, while the unit answers others"
        worth = self._cells.isolate(item, where, int(Quality.TIMEOUT), silent=True)
        reading.samples[item.key] = None, worth
        return ()

    # -- values -----------------------------------------------------------------------------------

    def _take_all(self, block: Block, data: bytes, reading: Reading) -> None:
        """The values of a block's items out of its data."""
        end = block.end
        if block.table.has_bits:
            data = bytes(pdu.unpack_bits(data, block.count))
        for item in block.items:
            codec, offset = self._cells[item.key].codec, item.address - block.address
            if codec is not None and offset >= 0 and item.end <= end:
                reading.samples[item.key] = _decoded(codec, data, 2 * offset)
            else:
                self._take(item, block, data, reading)

    def _take(self, item: Item, block: Block, data: bytes, reading: Reading) -> None:
        """Bits, or a value that is in several blocks."""
        cell = self._cells[item.key]
        width = 1 if cell.codec is None else 2  # bytes of a cell: bits are unpacked
        offset = width * (item.address - block.address)
        if offset < 0 or item.end > block.end:
            part = reading.parts.setdefault(item.key, bytearray())
            if len(part) != max(0, -offset):
                return  # a part before this one was refused
            part += data[max(0, offset) : offset + width * item.count]
            if len(part) < width * item.count:
                return
            data, offset = bytes(part), 0
        if cell.codec is not None:
            reading.samples[item.key] = _decoded(cell.codec, data, offset)
            return
        turned = cell.tag.encoding == INVERTED
        bits = [bool(bit) != turned for bit in data[offset : offset + item.count]]
        reading.samples[item.key] = bits[0] if item.count == 1 else bits, GOOD

    # -- quarantine -------------------------------------------------------------------------------

    async def _retry(self, group: Group, reading: Reading) -> None:
        """Ask a few quarantined tags again; one that is back takes those of its time along."""
        one = not self._cells.blocks(group)
        for entry in self._cells.due(group, RETRIES, one=one):
            if await self._is_back(entry, reading):
                self._cells.release(entry)
                return

    async def _is_back(self, entry: Quarantined, reading: Reading) -> bool:
        item = entry.item
        block = Block(item.table, item.address, item.count, (item,))
        try:
            await self._ask(block, reading)
        except ModbusException:
            return False
        except DeviceError as error:
            if error.failure not in UNANSWERED or not error.connected:
                raise
            reading.silence = error
            return False
        return True


def _decoded(codec: Codec, data: bytes, offset: int) -> Sample:
    try:
        return codec.decode(data, offset), GOOD
    except Unavailable:
        return None, int(Quality.NOT_IMPLEMENTED)
    except Malformed:
        return None, int(Quality.OUT_OF_RANGE)


def refusal(error: ModbusException) -> int:
    """What a tag is worth whose address was refused so."""
    code = Quality.NOT_CONFIGURED if error.code == 2 else Quality.DEVICE_STATUS
    return quality(code, status=error.code)
