"""The read plan reads everything wanted, nothing forbidden, in few requests."""

import hypothesis.strategies as st
from hypothesis import given, settings

from cpppod.protocols.modbus.address import Table
from cpppod.protocols.modbus.plan import Block, Item, Limits, halves, plan

HR, CO = Table.HOLDING_REGISTERS, Table.COILS


def item(address: int, count: int = 1, table: Table = HR) -> Item:
    return Item(f"{table.name}{address}", table, address, count)


def extents(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(block.address, block.count) for block in blocks]


def test_touching_registers_are_one_read() -> None:
    assert extents(plan([item(2), item(0, 2), item(3, 4)], Limits())) == [(0, 7)]


def test_a_gap_is_read_along_up_to_its_limit() -> None:
    items = [item(0), item(5)]
    assert extents(plan(items, Limits(gap_registers=4))) == [(0, 6)]
    assert extents(plan(items, Limits(gap_registers=3))) == [(0, 1), (5, 1)]


def test_a_read_never_exceeds_the_devices_maximum_nor_tears_a_value() -> None:
    items = [item(at, 2) for at in range(0, 20, 2)]
    assert extents(plan(items, Limits(registers=5))) == [(at, 4) for at in range(0, 20, 4)]


def test_a_value_larger_than_the_maximum_is_read_in_parts() -> None:
    blocks = plan([item(0, 10)], Limits(registers=4))
    assert extents(blocks) == [(0, 4), (4, 4), (8, 2)]
    assert all(len(block.items) == 1 for block in blocks)


def test_declared_boundaries_are_not_crossed() -> None:
    limits = Limits(boundaries=frozenset({(HR, 5)}))
    assert extents(plan([item(at) for at in range(10)], limits)) == [(0, 5), (5, 5)]


def test_nothing_is_read_across_a_hole() -> None:
    items = [item(at) for at in range(10) if at != 4]
    assert extents(plan(items, Limits(), holes=[item(4)])) == [(0, 4), (5, 5)]


def test_tables_are_read_apart_and_bits_have_limits_of_their_own() -> None:
    blocks = plan([item(0), item(0, 1, CO), item(1999, 1, CO)], Limits(gap_bits=2000))
    assert [(block.table, block.count) for block in blocks] == [(CO, 2000), (HR, 1)]


def test_one_at_a_time_is_one_request_per_item() -> None:
    assert len(plan([item(0), item(1)], Limits(one_at_a_time=True))) == 2


def test_halving_ends_at_single_items_and_loses_none() -> None:
    (block,) = plan([item(at) for at in range(7)], Limits())
    seen = []
    pending = [block]
    while pending:
        part = pending.pop()
        divided = halves(part)
        if divided is None:
            seen += [each.key for each in part.items]
        else:
            pending += divided
    assert sorted(seen) == sorted(each.key for each in block.items)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 4)), min_size=1, max_size=40),
    st.integers(0, 20),
    st.integers(4, 125),
    st.sets(st.integers(1, 300), max_size=5),
    st.sets(st.integers(0, 300), max_size=3),
)
def test_every_plan_covers_all_items_and_respects_all_limits(
    spans: list[tuple[int, int]], gap: int, most: int, walls: set[int], bad: set[int]
) -> None:
    items = [Item(f"{n}", HR, address, count) for n, (address, count) in enumerate(spans)]
    holes = [item(at) for at in bad]
    limits = Limits(
        registers=most, gap_registers=gap, boundaries=frozenset((HR, wall) for wall in walls)
    )
    blocks = plan(items, limits, holes=holes)
    covered = {key.key for block in blocks for key in block.items}
    assert covered == {each.key for each in items}
    wanted = {cell for each in items for cell in range(each.address, each.end)}
    for block in blocks:
        assert block.count <= most
        assert all(each.address >= block.address for each in block.items)
        assert all(each.end <= block.end for each in block.items)
        if len(block.items) > 1:
            inside = range(block.address + 1, block.end)
            crossed = [
                wall
                for wall in walls
                if wall in inside
                and not any(each.address < wall < each.end for each in block.items)
            ]
            assert not crossed
            read = set(range(block.address, block.end))
            assert not read & (bad - wanted)
