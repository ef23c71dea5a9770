"""A unit's addresses: where each tag lies, how its groups are read, what the device refuses.

group ─► read plan ─► blocks       made once, and anew when something was learnt:
             ▲                       a tag that is refused   quarantined: a hole in the plan,
             └── learnt ◄──────────                          read alone, and seldom
                                     a gap that is refused   a boundary of the plan
                                     a block too long        a limit, found by halving
"""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from cpppod.protocols.modbus.address import Address, Table, identity_object, parse_address
from cpppod.protocols.modbus.forms import codec_of
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.pdu import ModbusException
from cpppod.protocols.modbus.plan import Block, Item, Limits, plan
from cpppod.protocols.modbus.registers import Codec
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.drivers.modbus.zones import zone_of

FACTOR = "="  # before the address of a power of ten: its cell's key, which no tag's name is
COUNT = "#"  # before the address of a number of blocks
PLANS_KEPT = 256  # groups, and parts of them that were asked again
SUSPECTS_KEPT = 1024  # blocks that were refused or not answered once
PROMPT_RETRIES = 10  # of a refused tag, one a period: a device that starts is back so soon


@dataclass(frozen=True, slots=True)
class RegisterMapEntry:
    """Where and how one tag lies in the device."""

    tag: Tag
    address: Address
    item: Item
    codec: Codec | None  # None for coils and inputs


@dataclass(slots=True)
class Quarantined:
    """A tag that the device refuses.

    Attributes:
        silent: it is not answered, which costs a time-out.
        sweep: what was found bad in one poll is perhaps good together again.
        retry_s: when it is asked again.
    """

    item: Item
    reason: str
    quality: int
    silent: bool
    sweep: int
    retry_s: float = 0.0


@dataclass(slots=True)
class Extent:
    """How much of one kind of cell a read may take, as far as the device has shown.

    Attributes:
        read: the most cells that one read brought; refused: the fewest that were too many.
    """

    read: int = 1
    refused: int | None = None

    def most(self, allowed: int) -> int:
        """The cells of the next plan's reads: halfway between what is known, at most `allowed`."""
        if self.refused is None or self.refused <= self.read:
            return allowed
        return min(allowed, (self.read + self.refused) // 2)


@dataclass(slots=True)
class Learnt:
    """What a device has shown beyond its model.

    Attributes:
        boundaries: no read crosses them; splits: nor these, as long as a silence is looked into.
        extents: by whether the cells are bits.
        version: changes whenever plans have to be made anew.
    """

    boundaries: set[tuple[Table, int]] = field(default_factory=set)
    splits: set[tuple[Table, int]] = field(default_factory=set)
    extents: dict[bool, Extent] = field(default_factory=lambda: {False: Extent(), True: Extent()})
    version: int = 0


@dataclass(slots=True)
class GroupPlan:
    """The plan of one group, as of a state of what was learnt about the device."""

    tags: tuple[Tag, ...]
    learnt: int
    blocks: list[Block]

    @property
    def cells(self) -> int:
        """Cells that a poll reads."""
        return sum(block.count for block in self.blocks)


class DeviceCells:
    """The tags of one unit, and the plans that read them.

    Attributes:
        answers: replies of the unit so far, refusals too; sweep: the number of its polls. Whoever
            asks it counts them.
    """

    def __init__(self, device: Device, model: Model) -> None:
        self._groups = device.groups
        self._model = model
        self._limits = model.limits()
        tags = [tag for group in device.groups for tag in group.tags]
        self._cells = {
            tag.name: _cell(tag, model) for tag in tags if identity_object(tag.address) is None
        }
        self._factors: dict[str, str] = {}  # tag -> key of the cell with its power of ten
        self._counted: dict[str, str] = {}  # tag -> key of the cell that says how many are there
        for tag in tags:
            if tag.scale_from:
                factor = Tag(f"{FACTOR}{tag.scale_from}", tag.scale_from, unavailable=(0x8000,))
                self._cells[factor.name] = _cell(factor, model)
                self._factors[tag.name] = factor.name
            if tag.exists_from:
                count = Tag(f"{COUNT}{tag.exists_from}", tag.exists_from, type="UINT")
                self._cells[count.name] = _cell(count, model)
                self._counted[tag.name] = count.name
        self._plans: dict[int, GroupPlan] = {}
        self._periods = {
            key: group.period_s
            for group in device.groups
            for tag in group.tags
            for key in (tag.name, *self._beside(tag.name))
        }
        self._quarantine: dict[str, Quarantined] = {}
        self._tries: Counter[str] = Counter()
        self._suspects: dict[tuple[Table, int, int], tuple[int, int]] = {}
        self._reads = 0  # that brought values
        self._learnt = Learnt()
        self.answers = 0
        self.sweep = 0

    def __contains__(self, tag: str) -> bool:
        return tag in self._cells

    def __getitem__(self, tag: str) -> RegisterMapEntry:
        return self._cells[tag]

    def factor_of(self, tag: str) -> RegisterMapEntry | None:
        """The cell that holds a tag's power of ten, None for a tag without."""
        key = self._factors.get(tag)
        return None if key is None else self._cells[key]

    def count_of(self, tag: str) -> str | None:
        """The key of the cell that says how many are there, None for a tag that always is."""
        return self._counted.get(tag)

    def _keys(self, group: Group) -> list[str]:
        """The cells that a group is read from."""
        found = [tag.name for tag in group.tags if tag.name in self._cells and not tag.write_only]
        others = (key for name in found for key in self._beside(name))
        return [*found, *dict.fromkeys(others)]

    def _beside(self, tag: str) -> list[str]:
        """The cells without a tag of their own that a tag needs."""
        return [each[tag] for each in (self._factors, self._counted) if tag in each]

    def blocks(self, group: Group) -> list[Block]:
        """The requests that read the group, without what is quarantined."""
        known, learnt = self._plans.get(id(group.tags)), self._learnt
        if known is None or known.tags is not group.tags or known.learnt != learnt.version:
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            wanted = [self._cells[key].item for key in self._keys(group)]
            blocks = plan(
                [item for item in wanted if item.key not in self._quarantine],
                self._limits_now(),
                boundaries=frozenset(learnt.boundaries | learnt.splits),
                holes=[entry.item for entry in self._quarantine.values()],
            )
            known = self._plans[id(group.tags)] = GroupPlan(group.tags, learnt.version, blocks)
        return known.blocks

    def _limits_now(self) -> Limits:
        limits, extents = self._limits, self._learnt.extents
        return replace(
            limits,
            registers=extents[False].most(limits.registers),
            bits=extents[True].most(limits.bits),
        )

    # What its answers teach

    def is_address(self, error: ModbusException) -> bool:
        """Whether the exception may mean an address, so that others of the read may be good."""
        return error.code in self._model.address_exceptions

    def has_read(self, block: Block) -> None:
        """The unit has answered a read of so many cells."""
        self._suspects.pop((block.table, block.address, block.count), None)
        self._reads += 1
        extent = self._learnt.extents[block.table.has_bits]
        if block.count > extent.read:
            extent.read = block.count
            self._learnt.version += extent.refused is not None

    @property
    def splitting(self) -> bool:
        """Whether a silence is being looked into."""
        return bool(self._learnt.splits)

    def suspect(self, block: Block) -> None:
        """The block was refused or not answered: the next time, `suspects` knows."""
        if len(self._suspects) >= SUSPECTS_KEPT:
            self._suspects.clear()
        known = self.answers, self._reads
        self._suspects[block.table, block.address, block.count] = known

    def suspects(self, block: Block, *, well: bool = False) -> bool:
        """Whether the block failed last time, and the unit has answered since (`well`: values)."""
        then = self._suspects.get((block.table, block.address, block.count))
        if then is None:
            return False
        answers, reads = then
        return self._reads > reads if well else self.answers > answers

    def learn(self, block: Block, left: Block, right: Block) -> None:
        """Both halves of a refused block can be read: its gap or its length was to blame."""
        learnt = self._learnt
        extent = learnt.extents[block.table.has_bits]
        if right.address > left.end or block.count <= extent.read:
            learnt.boundaries.add((right.table, right.address))
        elif extent.refused is None or block.count < extent.refused:
            extent.refused = block.count
        learnt.version += 1

    def split(self, block: Block, left: Block, right: Block) -> None:
        """A block is not answered again and again, while the unit answers: read it in two."""
        for half in (left, right):
            self.suspect(half)
        self._learnt.splits.add((right.table, right.address))
        self._learnt.version += 1

    def isolate(self, item: Item, reason: str, worth: int, *, silent: bool = False) -> int:
        """The device refuses this tag's address, or does not answer it: read it alone, seldom.

        Returns the quality that it has meanwhile.
        """
        if silent:
            self._learnt.splits.clear()  # the hole in the plan says it all
        entry = Quarantined(item, reason, worth, silent, self.sweep)
        self._quarantine[item.key] = entry
        self._put_off(entry)
        self._learnt.version += 1
        return worth

    def _put_off(self, entry: Quarantined) -> None:
        """Ask again after a period, as often as a device may need to start; then ever more seldom.

        A tag that is not answered is asked seldom from the beginning.
        """
        key, longest_s = entry.item.key, self._model.quarantine_retry_s
        doublings = max(0, self._tries[key] - PROMPT_RETRIES)
        wait_s = longest_s if entry.silent else self._periods[key] * 2.0 ** min(doublings, 30)
        entry.retry_s = time.monotonic() + min(wait_s, longest_s)

    def isolated(self, group: Group) -> list[Quarantined]:
        """The quarantined tags of the group."""
        if not self._quarantine:
            return []
        found = (self._quarantine.get(key) for key in self._keys(group))
        return [entry for entry in found if entry is not None]

    def due(self, group: Group, most: int, *, one: bool = False) -> list[Quarantined]:
        """The quarantined tags of the group that are to be tried now; the next time is later.

        Args:
            one: at least one of them: nothing else is asked of the device, and what it refused
                once is no sign that it is there.
        """
        now_s = time.monotonic()
        waiting = sorted(self.isolated(group), key=lambda entry: entry.retry_s)
        found = [entry for entry in waiting if entry.retry_s <= now_s][:most]
        found = found or waiting[: int(one)]
        for entry in found:
            self._tries[entry.item.key] += 1
            self._put_off(entry)
        return found

    def release(self, back: Quarantined) -> None:
        """The device has that address again: whatever was found bad with it is read again."""
        self._tries.pop(back.item.key, None)
        for key, entry in list(self._quarantine.items()):
            if entry.sweep == back.sweep:
                del self._quarantine[key]
        self._learnt.version += 1

    def describe(self) -> dict[str, Any]:
        """Quarantined tags, what a cycle costs, boundaries learnt; in plain types."""
        plans = [self._plans.get(id(group.tags)) for group in self._groups]
        made = [known for known in plans if known is not None]
        cells = sum(known.cells for known in made)
        tags = [tag.name for known in made for tag in known.tags if tag.name in self._cells]
        wanted = sum(self._cells[name].item.count for name in tags)
        wasted = max(0.0, 1 - wanted / cells) if cells else 0.0
        return {
            "gauges": {"coalesce_registers_wasted_ratio": wasted},
            "quarantined": [[name, entry.reason] for name, entry in self._quarantine.items()],
            "requests_per_cycle": sum(len(known.blocks) for known in made),
            "boundaries_learnt": sorted(
                str(Address(table, address))
                for table, address in self._learnt.boundaries | self._learnt.splits
            ),
            "limits_learnt": {
                "coils" if bits else "registers": extent.most(0xFFFF)
                for bits, extent in self._learnt.extents.items()
                if extent.most(0xFFFF) < 0xFFFF
            },
        }


def _cell(tag: Tag, model: Model) -> RegisterMapEntry:
    address = parse_address(tag.address, zero_based=model.zero_based)
    table = address.table
    if table.has_bits:
        if tag.type != "BOOL":
            raise EncodeError(f"{tag.name}: {tag.address} holds bits, not {tag.type}", status=3)
        item = Item(tag.name, table, address.offset, tag.length)
        made = None
    else:
        made = codec_of(tag, address.bit, zone_of(tag.zone))
        item = Item(tag.name, table, address.offset, made.registers)
    if item.end > 65_536:
        raise EncodeError(f"{tag.name}: beyond the last address", status=2)
    return RegisterMapEntry(tag, address, item, made)
