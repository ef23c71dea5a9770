"""The read plan: which requests read all the wanted cells of a device, and how few they can be.

    wanted     ##..####......#.....######      .. a gap of at most `gap` cells is read along
    blocks     [------]      |     [----]      never across a boundary or a hole, never more than
                                               the device's maximum at once

A hole is a cell that the device refuses (quarantined): nothing is read across it. A value of
several registers is never torn, unless it alone is larger than the maximum.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.pdu import MAX_READ_BITS, MAX_READ_REGISTERS

DEFAULT_GAP_REGISTERS = 16  # read along for less than a request of its own costs, on any line
DEFAULT_GAP_BITS = 128


@dataclass(frozen=True, slots=True)
class Item:
    """Cells that belong to one value: `key` is its owner's name for it."""

    key: str
    table: Table
    address: int
    count: int

    @property
    def end(self) -> int:
        """The address after its last cell."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Block:
    """One request: the cells it reads and the items that lie in them.

    An item larger than the device's maximum is in several blocks, each of which has a part of it.
    """

    table: Table
    address: int
    count: int
    items: tuple[Item, ...]

    @property
    def end(self) -> int:
        """The address after its last cell."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device allows, and where reads must not cross.

    Attributes:
        registers, bits: most cells of one read.
        gap_registers, gap_bits: most unwanted cells in a row that a read may take along.
        boundaries: (table, address): no read takes both this cell and the one before it.
        one_at_a_time: every item in a request of its own.
    """

    registers: int = MAX_READ_REGISTERS
    bits: int = MAX_READ_BITS
    gap_registers: int = DEFAULT_GAP_REGISTERS
    gap_bits: int = DEFAULT_GAP_BITS
    boundaries: frozenset[tuple[Table, int]] = field(default_factory=frozenset)
    one_at_a_time: bool = False


def plan(
    items: Iterable[Item],
    limits: Limits,
    *,
    boundaries: frozenset[tuple[Table, int]] = frozenset(),
    holes: Iterable[Item] = (),
) -> list[Block]:
    """The reads that cover all `items`, by table and address.

    Args:
        boundaries: further ones than the device's own, learnt from it.
        holes: cells that no read may contain.
    """
    walls = _walls(limits.boundaries | boundaries, holes)
    blocks: list[Block] = []
    run: list[Item] = []
    end = 0
    for item in sorted(items, key=lambda item: (item.table, item.address, item.end)):
        most, gap = _most(limits, item.table), _gap(limits, item.table)
        joins = (
            bool(run)
            and not limits.one_at_a_time
            and item.table == run[0].table
            and item.address - end <= gap
            and max(end, item.end) - run[0].address <= most
            and not _crosses(walls.get(item.table, ()), run[0].address, max(end, item.end))
        )
        if not joins:
            if run:
                blocks += _blocks(run, end, limits)
            run, end = [], 0
        run.append(item)
        end = max(end, item.end)
    if run:
        blocks += _blocks(run, end, limits)
    return blocks


def halves(block: Block) -> tuple[Block, Block] | None:
    """The block in two, about the middle of its items; None where it holds only one."""
    if len(block.items) < 2:
        return None
    middle = len(block.items) // 2
    left, right = block.items[:middle], block.items[middle:]
    return _cover(block.table, left), _cover(block.table, right)


def _cover(table: Table, items: tuple[Item, ...]) -> Block:
    first = items[0].address
    return Block(table, first, max(item.end for item in items) - first, items)


def _blocks(run: list[Item], end: int, limits: Limits) -> Iterator[Block]:
    """One block, or several where a single item is larger than the maximum."""
    table, first = run[0].table, run[0].address
    most = _most(limits, table)
    for address in range(first, end, most):
        yield Block(table, address, min(most, end - address), tuple(run))


def _walls(
    boundaries: frozenset[tuple[Table, int]], holes: Iterable[Item]
) -> dict[Table, list[tuple[int, int]]]:
    """Per table the cells (before, after) that no read may have both of.

    A boundary at b is (b - 1, b). A hole from a to e is (a, e - 1): what touches it stays alone.
    """
    walls: dict[Table, list[tuple[int, int]]] = {}
    for table, address in boundaries:
        walls.setdefault(table, []).append((address - 1, address))
    for hole in holes:
        cells = walls.setdefault(hole.table, [])
        cells.extend((cell, cell) for cell in range(hole.address, hole.end))
    return walls


def _crosses(walls: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a read of start..end-1 has both cells of a wall."""
    return any(start <= before and after < end for before, after in walls)


def _most(limits: Limits, table: Table) -> int:
    return limits.bits if table.has_bits else limits.registers


def _gap(limits: Limits, table: Table) -> int:
    return limits.gap_bits if table.has_bits else limits.gap_registers
