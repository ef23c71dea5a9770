"""A unit's addresses: where each tag lies, how its groups are read, what the device refuses.

group ─► read plan ─► blocks       made once, and anew when something was learnt:
             ▲                       a tag that is refused   quarantined: a hole in the plan,
             └── learnt ◄──────────                          read alone, and seldom
                                     a gap that is refused   a boundary of the plan
"""

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cpppod.protocols.modbus.address import Address, Table, parse_address
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.pdu import ModbusException
from cpppod.protocols.modbus.plan import Block, Item, plan
from cpppod.protocols.modbus.registers import Codec, codec
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.values import Quality, quality

PLANS_KEPT = 256  # groups, and parts of them that were asked again


@dataclass(frozen=True, slots=True)
class RegisterMapEntry:
    """Where and how one tag lies in the device."""

    tag: Tag
    address: Address
    item: Item
    codec: Codec | None  # None for coils and inputs


@dataclass(slots=True)
class Quarantined:
    """A tag that the device refuses."""

    item: Item
    reason: str
    quality: int
    retry_s: float


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
    """The tags of one unit, and the plans that read them."""

    def __init__(self, device: Device, model: Model) -> None:
        self._groups = device.groups
        self._model = model
        self._limits = model.limits()
        self._cells = {tag.name: _cell(tag, model) for group in device.groups for tag in group.tags}
        self._plans: dict[int, GroupPlan] = {}
        self._quarantine: dict[str, Quarantined] = {}
        self._boundaries: set[tuple[Table, int]] = set()
        self._learnt = 0

    def __getitem__(self, tag: str) -> RegisterMapEntry:
        return self._cells[tag]

    @property
    def quarantined(self) -> int:
        """How many tags are quarantined."""
        return len(self._quarantine)

    def blocks(self, group: Group) -> list[Block]:
        """The requests that read the group, without what is quarantined."""
        known = self._plans.get(id(group.tags))
        if known is None or known.tags is not group.tags or known.learnt != self._learnt:
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            wanted = [self._cells[tag.name].item for tag in group.tags]
            blocks = plan(
                [item for item in wanted if item.key not in self._quarantine],
                self._limits,
                boundaries=frozenset(self._boundaries),
                holes=[entry.item for entry in self._quarantine.values()],
            )
            known = self._plans[id(group.tags)] = GroupPlan(group.tags, self._learnt, blocks)
        return known.blocks

    def learn_boundaries(self, leaves: list[Block]) -> None:
        """All of `leaves` can be read, but not together: never read across their gaps again."""
        leaves.sort(key=lambda leaf: leaf.address)
        for left, right in pairwise(leaves):
            if right.address > left.end:
                self._boundaries.add((right.table, right.address))
                self._learnt += 1

    def isolate(self, item: Item, error: ModbusException) -> int:
        """The device refuses this tag's address: read it alone from now on, and seldom.

        Returns the quality that it has meanwhile.
        """
        code = Quality.NOT_CONFIGURED if error.code == 2 else Quality.DEVICE_STATUS
        worth = quality(code, status=error.code)
        retry_s = time.monotonic() + self._model.quarantine_retry_s
        where = self._cells[item.key].address
        self._quarantine[item.key] = Quarantined(item, f"{where}: {error}", worth, retry_s)
        self._learnt += 1
        return worth

    def isolated(self, group: Group) -> list[Quarantined]:
        """The quarantined tags of the group."""
        if not self._quarantine:
            return []
        found = (self._quarantine.get(tag.name) for tag in group.tags)
        return [entry for entry in found if entry is not None]

    def retry_due(self, entry: Quarantined) -> bool:
        """Whether a quarantined tag is to be tried again now; the next time is later."""
        now_s = time.monotonic()
        if now_s < entry.retry_s:
            return False
        entry.retry_s = now_s + self._model.quarantine_retry_s
        return True

    def release(self, entry: Quarantined) -> None:
        """The device has that address again."""
        del self._quarantine[entry.item.key]
        self._learnt += 1

    def describe(self) -> dict[str, Any]:
        """Quarantined tags, what a cycle costs, boundaries learnt; in plain types."""
        plans = [self._plans.get(id(group.tags)) for group in self._groups]
        made = [known for known in plans if known is not None]
        cells = sum(known.cells for known in made)
        wanted = sum(self._cells[tag.name].item.count for known in made for tag in known.tags)
        wasted = max(0.0, 1 - wanted / cells) if cells else 0.0
        return {
            "gauges": {"coalesce_registers_wasted_ratio": wasted},
            "quarantined": [[name, entry.reason] for name, entry in self._quarantine.items()],
            "requests_per_cycle": sum(len(known.blocks) for known in made),
            "boundaries_learnt": sorted(
                str(Address(table, address)) for table, address in self._boundaries
            ),
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
        made = codec(tag, address.bit)
        item = Item(tag.name, table, address.offset, made.registers)
    if item.end > 65_536:
        raise EncodeError(f"{tag.name}: beyond the last address", status=2)
    return RegisterMapEntry(tag, address, item, made)
