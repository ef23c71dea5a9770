"""Remembered replies: what they may cost, and who goes first."""

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Image, Reply, Variable
from cpppod.protocols.cip.reply_cache import (
    ENTRY,
    MAX_CONNECTION_COST,
    MAX_CONNECTIONS_COST,
    MAX_KEY,
    PART,
    Budget,
    ReplyCache,
    hold,
    refresh,
)


def made(variable: Variable, cost: int = 100) -> Reply:
    return Reply(lambda: bytes(variable.data), (variable,), cost)


def test_oldest_go_where_all_cost_too_much_and_are_no_readers_any_more() -> None:
    variable = Image().add(Variable("N", types.DINT))
    cache = ReplyCache(limit=4 * (ENTRY + 101))
    replies = [made(variable) for _ in range(5)]
    for number, reply in enumerate(replies):
        cache.put(bytes((number,)), reply)
        refresh(reply)
    assert list(cache.entries) == [b"\1", b"\2", b"\3", b"\4"]
    assert cache.cost == cache.limit
    assert variable.readers == set(replies[1:])


def test_key_or_reply_out_of_all_proportion_is_not_remembered() -> None:
    variable = Variable("N", types.DINT)
    cache = ReplyCache(limit=4_000_000)
    cache.put(bytes(MAX_KEY), made(variable))
    cache.put(bytes(MAX_KEY + 1), made(variable))
    assert list(cache.entries) == [bytes(MAX_KEY)]
    small = ReplyCache(limit=4 * (ENTRY + 101))
    small.put(b"a", made(variable, 100))
    small.put(b"b", made(variable, 101))
    assert list(small.entries) == [b"a"]


def test_who_polls_a_thousand_tags_in_large_packets_is_remembered_whole() -> None:
    shared = Budget(MAX_CONNECTIONS_COST)
    cache = ReplyCache(MAX_CONNECTION_COST, shared)
    variable = Variable("N", types.DINT)
    for packet in range(4):
        reply = made(variable, 4_000)
        reply.parts = 250
        assert cache.put(bytes((packet,)) * 3_900, reply)
    assert len(cache.entries) == 4


def test_same_key_again_replaces_its_reply_and_costs_once() -> None:
    image = Image()
    variable = image.add(Variable("N", types.DINT))
    cache = ReplyCache()
    cache.put(b"a", made(variable))
    cache.put(b"a", made(variable, 50))
    cache.drop(b"never")
    assert cache.cost == ENTRY + 51
    version = image.version
    cache.clear()
    assert (cache.cost, cache.entries) == (0, {})
    assert image.version > version


def test_reply_of_a_variable_in_no_image_is_forgotten_too() -> None:
    variable = Variable("N", types.DINT)
    cache = ReplyCache()
    reply = made(variable)
    cache.put(b"a", reply)
    refresh(reply)
    cache.drop(b"a")
    assert not variable.readers


def test_packet_costs_as_much_as_the_replies_that_it_is_made_of() -> None:
    packet = made(Variable("N", types.DINT))
    packet.parts = 20
    cache = ReplyCache()
    cache.put(b"a", packet)
    assert cache.cost == 100 + 1 + ENTRY + 19 * PART


def test_caches_that_share_a_budget_never_pass_it_together() -> None:
    variable = Image().add(Variable("N", types.DINT))
    shared = Budget(3 * (ENTRY + 101))
    caches = [ReplyCache(10**6, shared) for _ in range(4)]
    for number in range(3):
        assert caches[0].put(bytes((number,)), made(variable))
    assert not caches[1].put(b"a", made(variable))  # no room, and none of its own to make
    assert caches[0].put(b"\3", made(variable))  # its oldest goes
    assert list(caches[0].entries) == [b"\1", b"\2", b"\3"]
    assert shared.cost == shared.limit
    caches[0].clear()
    assert shared.cost == 0
    assert caches[1].put(b"a", made(variable))


def test_what_is_forgotten_leaves_nothing_with_its_sources() -> None:
    variable = Image().add(Variable("N", types.DINT))
    cache = ReplyCache()
    for number in range(1_000):
        reply = made(variable)
        cache.put(number.to_bytes(2, "big"), reply)
        hold(reply)
    cache.clear()
    assert variable.readers is None
