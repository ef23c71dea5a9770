"""Block order and freshness: one rule for every reader of values."""

import pytest

from cpppod.protocols.model.freshness import NEVER, BlockOrder, Freshness

A5 = ("poller-a", 5, 10)


@pytest.mark.parametrize(
    ("place", "block", "repeat"),
    [
        (("poller-a", 5, 11), True, True),  # the next
        (("poller-a", 5, 10), False, True),  # the same: only a repeat has something to add
        (("poller-a", 5, 9), False, False),  # older
        (("poller-a", 6, 1), True, True),  # the publisher's next life
        (("poller-a", 4, 99), False, False),  # and a former one
        (("poller-b", 1, 1), True, True),  # another owner, whose epochs say nothing here
    ],
)
def test_what_applies_after_a_block(place: tuple[str, int, int], block: bool, repeat: bool) -> None:
    order = BlockOrder(*A5)
    assert order.admits(*place) is block
    assert order.admits(*place, repeat=True) is repeat


def test_anything_applies_where_nothing_is() -> None:
    assert BlockOrder().admits("poller-a", 1, 1)


def test_block_misses_nothing_once_its_predecessor_is_here() -> None:
    order = BlockOrder(*A5)
    assert order.reached("poller-a", 5, 10)
    assert not order.reached("poller-a", 5, 11)
    assert not order.reached("poller-a", 6, 1)
    assert not order.reached("poller-b", 1, 1)
    assert order.reached("poller-b", 1, 0)  # the first of its epoch names all members


def test_group_is_stale_from_its_limit_on() -> None:
    group = Freshness(3.0)
    assert not group.is_stale(1e9)
    assert group.age_s(5.0) is None
    group.read_at = 100.0
    assert group.expires == 103.0
    assert not group.is_stale(102.999)
    assert group.is_stale(103.0)
    assert group.age_s(105.0) == 5.0


def test_group_without_a_limit_never_grows_stale() -> None:
    local = Freshness()
    local.read_at = 1.0
    assert local.expires == NEVER
    assert not local.is_stale(1e9)
