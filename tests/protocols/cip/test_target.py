"""A target's tags at their addresses, and what leaves along a route."""

from typing import Any

import pytest

from cpppod.protocols.cip import structures, types
from cpppod.protocols.cip.epath import Port
from cpppod.protocols.cip.image import Reply, Variable
from cpppod.protocols.cip.objects.attributes import CipClass
from cpppod.protocols.cip.reply_cache import ReplyCache
from cpppod.protocols.cip.request import ForwardNeeded
from cpppod.protocols.cip.route_table import RoutePolicy
from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import forward_open, packet, read, request, routed
from tests.protocols.cip.conversation import ask, controller, outcome, pending, resumed, words


def test_tags_without_address_are_the_message_routers_next_attributes() -> None:
    target = controller()
    fixed = Variable("Fixed", types.INT)
    target.add_tag(fixed, (2, 1, 7))
    last = Variable("Last", types.INT)
    target.add_tag(last)
    assert (fixed.address, last.address) == ((2, 1, 7), (2, 1, 8))


def test_name_or_address_of_another_tag_is_refused_and_nothing_is_left_behind() -> None:
    target = controller()
    target.add_tag(Variable("A", types.INT), (0x93, 1, 1))
    with pytest.raises(EncodeError):
        target.add_tag(Variable("a", types.INT))
    with pytest.raises(EncodeError):
        target.add_tag(Variable("B", types.INT), (0x93, 1, 1))
    assert ask(target, read("B")).status == 0x05
    assert ask(target, read("A")).status == 0


def test_assembly_tells_the_size_of_the_tag_that_it_holds_now() -> None:
    target = controller()
    target.add_tag(Variable("In", types.INT, (3,)), (4, 100, 3))
    assert ask(target, request(0x0E, "@4/100/4")).data == words(6)
    target.remove_tag("In")
    assert ask(target, request(0x0E, "@4/100/4")).status == 0x14
    target.add_tag(Variable("In", types.INT, (5,)), (4, 100, 3))
    assert ask(target, request(0x0E, "@4/100/4")).data == words(10)


def test_size_of_an_assembly_that_is_a_tag_of_its_own_goes_only_with_that_tag() -> None:
    target = controller()
    target.add_tag(Variable("Size", types.DINT), (4, 100, 4))
    target.add_tag(Variable("In", types.INT, (3,)), (4, 100, 3))
    target.remove_tag("In")
    assert ask(target, request(0x0E, "@4/100/4")).data == bytes(4)


def test_tag_at_an_address_is_read_with_an_element_by_either_service() -> None:
    target = controller()
    target.add_tag(Variable("At", types.INT, (4,)), (0x93, 1, 10))
    target.image.variables["at"].set([1, 2, 3, 4])
    path = bytes.fromhex("20932401300a2802")
    assert ask(target, request(0x4C, path, words(2))).data == words(0xC3, 3, 4)
    assert ask(target, request(0x4D, path, words(0xC3, 1, 9))).status == 0
    assert ask(target, request(0x0E, "@0x93/1/10")).data == words(1, 2, 9, 4)


def test_value_without_a_name_is_at_its_address_only() -> None:
    target = controller()
    own = Variable("@147/1/9", types.INT, (3,))
    target.add_attribute(own, (0x93, 1, 9))
    own.set([1, 2, 3])
    path = bytes.fromhex("20932401300928" + "01")
    assert ask(target, request(0x4C, path, words(1))).data == words(0xC3, 2)
    assert ask(target, request(0x4D, "@0x93/1/9", words(0xC3, 1, 7))).status == 0
    assert ask(target, request(0x0E, "@0x93/1/9")).data == words(7, 2, 3)
    assert "@147/1/9" not in target.image.variables


def test_object_class_of_the_same_id_gives_way() -> None:
    target = controller()
    target.add_class(CipClass(0x01, revision=9))
    assert ask(target, request(0x0E, "@1/0/1")).data == words(9)
    assert ask(target, request(0x0E, "@1/1/1")).status == 0x05


def test_remembered_replies_are_forgotten_where_a_tag_comes_goes_or_fails() -> None:
    target = controller()
    found = outcome(target, read("Count"))
    assert isinstance(found, Reply)
    target.replies.put(b"key", found)
    version = target.image.version
    target.set_error(target.image.variables["count"], 0x0C)
    assert not target.replies.entries
    assert target.image.version > version
    assert ask(target, forward_open()).status == 0
    (connection,) = target.manager.connections.values()
    connection.cache = ReplyCache()
    connection.cache.put(b"key", found)
    target.add_tag(Variable("New", types.INT))
    assert not connection.cache.entries


FORWARDS = RoutePolicy(local=(Port(1, 0),), forwards=True)


def test_wrapped_request_for_another_leaves_as_it_is_and_its_answer_is_the_clients() -> None:
    target = controller(policy=FORWARDS)
    inner = request(0x0E, "@1/1/1")
    found = pending(target, routed(inner, "1/3/2/10.0.0.5", ticks=(7, 9)))
    assert found.command == ForwardNeeded(
        bytes.fromhex("0103 1208 31302e302e302e35"), inner, 7, 9, "10.0.0.9"
    )
    assert not found.exclusive
    assert resumed(found, bytes.fromhex("8e000000 0100")).data == words(1)


def test_wrapped_request_for_us_is_served_and_refusals_of_the_route_name_it() -> None:
    inner = request(0x0E, "@1/1/1")
    assert ask(controller(), routed(inner, "1/0")).data == words(1)
    refusing = controller(policy=RoutePolicy(local=(Port(1, 0),)))
    reply = ask(refusing, routed(inner, "1/3/1/4"))
    assert (reply.service, reply.status, reply.extended) == (0xD2, 1, (0x0312,))
    assert reply.data == b"\2\0"
    assert refusing.refused[1] == 1


def test_route_that_is_no_way_through_ports_is_a_segment_error() -> None:
    wrapped = UnconnectedSend(request(0x0E, "@1/1/1"), bytes.fromhex("0100 2002"))
    reply = ask(controller(), wrapped.encode())
    assert (reply.status, reply.extended) == (0x04, (0,))


@pytest.mark.parametrize(
    "inner",
    [routed(request(0x0E, "@1/1/1"), "1/0"), forward_open(), request(0x4E, "@6/1", bytes(12))],
)
def test_wrapped_or_packed_requests_to_the_connection_manager_are_refused(inner: bytes) -> None:
    assert ask(controller(), routed(inner, "1/0")).status == 0x08
    packed = ask(controller(), packet([inner, read("Count")]))
    assert (packed.status, packed.data[6 + 2]) == (0x1E, 0x08)


def test_what_is_refused_is_counted_by_its_status() -> None:
    target = controller()
    for message in (read("Nobody"), read("Nothing"), b"", request(0x4B, "Count")):
        ask(target, message)
    assert target.refused == {0x05: 2, 0x13: 1, 0x08: 1}


@pytest.mark.parametrize(
    ("name", "kind", "room"),
    [("Count", types.DINT, 10), ("Row", types.INT, 8), ("Delay", structures.TIMER, 20)],
)
def test_plainest_of_reads_needs_exactly_the_room_of_its_reply(
    name: str, kind: Any, room: int
) -> None:
    target = controller()
    found = target.plain_read(read(name), room)
    assert found is not None
    assert found.render() == b"\xcc\0\0\0" + kind.header + bytes(kind.size)
    assert target.plain_read(read(name), room - 1) is None


@pytest.mark.parametrize("name", ["Names", "Nobody", "Own", "Failing"])
def test_read_that_is_more_than_a_piece_of_memory_is_left_to_the_whole_way(name: str) -> None:
    target = controller()
    own, failing = Variable("Own", types.INT), Variable("Failing", types.INT)
    own.attribute, failing.error = object(), 0x0C
    target.add_tag(own)
    target.add_tag(failing)
    assert target.plain_read(read(name), 500) is None
    assert target.plain_read(read("Count")[:-1], 500) is None
