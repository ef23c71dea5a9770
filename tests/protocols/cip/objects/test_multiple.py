"""Multiple Service Packets: members in order, the ones that leave waited for."""

import itertools
import struct

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.cip.request import CallNeeded, Pending
from cpppod.protocols.cip.route_table import MAX_MEMBERS
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.listener.target import add_device
from tests.enip_frames import packet, read, request, write
from tests.protocols.cip.conversation import ask, controller, pending, words


def replies(packed: MessageRouterReply) -> list[MessageRouterReply]:
    (count,) = struct.unpack_from("<H", packed.data)
    offsets = [*struct.unpack_from(f"<{count}H", packed.data, 2), len(packed.data)]
    return [
        MessageRouterReply.decode(packed.data[begin:end])
        for begin, end in itertools.pairwise(offsets)
    ]


class Slow:
    """A user's own object."""

    def __init__(self) -> None:
        self.value = 5

    def __getitem__(self, _key: int) -> int:
        return self.value

    def __setitem__(self, _key: int, value: int) -> None:
        self.value = value


def with_slow() -> Target:
    target = controller()
    variable = Variable("Slow", types.INT)
    variable.attribute = Slow()
    target.add_tag(variable)
    return target


def played(found: Pending) -> MessageRouterReply:
    """What a packet answers once everything that it waits for has been called."""
    outcome: bytes | Pending = found
    while isinstance(outcome, Pending):
        assert isinstance(outcome.command, CallNeeded)
        outcome = outcome.resume(outcome.command.call())
    return MessageRouterReply.decode(outcome)


def test_member_that_leaves_is_waited_for_and_the_others_stand_around_it() -> None:
    target = with_slow()
    given = [
        read("Count"),
        write("Slow", 0xC3, words(9)),
        read("Slow"),
        write("Count", 0xC4, bytes.fromhex("07000000")),
        read("Count"),
    ]
    found = pending(target, packet(given))
    assert found.exclusive
    packed = played(found)
    assert packed.status == 0
    assert [reply.data for reply in replies(packed)] == [
        bytes.fromhex("c40000000000"),
        b"",
        bytes.fromhex("c3000900"),
        b"",
        bytes.fromhex("c40007000000"),
    ]


def test_packet_that_ends_with_reads_after_a_wait_is_whole() -> None:
    packed = played(pending(with_slow(), packet([read("Slow"), read("Count"), read("Count")])))
    assert [reply.data[:2] for reply in replies(packed)] == [b"\xc3\0", b"\xc4\0", b"\xc4\0"]


def test_read_before_a_write_of_the_same_packet_tells_the_old_value() -> None:
    target = controller()
    given = [read("Count"), write("Count", 0xC4, bytes.fromhex("07000000")), read("Count")]
    packed = ask(target, packet(given))
    assert [reply.data[-4:] for reply in replies(packed)] == [bytes(4), b"", b"\7\0\0\0"]


def test_reply_that_finds_no_more_room_is_refused_and_the_last_ones_are_kept() -> None:
    target = controller()
    given = [request(0x01, "@1/1"), request(0x01, "@1/1"), read("Count")]
    packed = ask(target, packet(given), capacity=80)
    assert packed.status == 0x1E
    assert [reply.status for reply in replies(packed)] == [0, 0x11, 0x00]
    assert len(packed.encode()) <= 80


def test_reply_longer_than_what_remains_is_replaced_by_its_refusal() -> None:
    # a listing gives at least one line, however little room there is
    listing = request(0x55, bytes.fromhex("206b2400"), words(2, 1, 2))
    packed = ask(controller(), packet([listing, listing]), capacity=26)
    assert packed.status == 0x1E
    assert [reply.status for reply in replies(packed)] == [0x11, 0x11]


def test_packet_in_a_packet_and_forward_open_in_a_packet_are_refused() -> None:
    target = controller()
    inner = request(0x54, bytes.fromhex("20062401"), bytes(40))
    packed = ask(target, packet([packet([read("Count")]), inner]))
    assert [reply.status for reply in replies(packed)] == [0x08, 0x08]


@pytest.mark.parametrize("kind", ["micro800", "micrologix", "simple"])
def test_controllers_without_packets_refuse_them(kind: str) -> None:
    target = controller(personality=PERSONALITIES[kind])
    assert ask(target, packet([read("Count")])).status == 0x08


def test_remembered_packet_tells_the_error_that_a_tag_has_got_meanwhile() -> None:
    target = controller()
    groups = (Group("g", 1.0, (Tag("speed", "1", "INT"),)),)
    add_device(target, Device("pump", "modbus-tcp", "x:502", groups=groups))
    packed = ask(target, packet([read("Count"), read("pump.speed")]))
    assert packed.status == 0x1E
    assert [(reply.status, reply.extended) for reply in replies(packed)] == [
        (0, ()),
        (0xFF, (0x8011, 0xFFFF)),
    ]


@pytest.mark.parametrize("count", [301, 400, 1024])
def test_packet_of_hundreds_of_members_is_answered_whole_where_its_connection_has_room(
    count: int,
) -> None:
    target = controller()
    packed = ask(target, packet([read("Count")] * count), capacity=20_000, connected=True)
    assert packed.status == 0
    assert {reply.data for reply in replies(packed)} == {bytes.fromhex("c40000000000")}
    assert len(replies(packed)) == count


def test_packet_beyond_the_work_of_one_request_is_refused_before_anything_is_done() -> None:
    target = controller()
    given = [write("Count", 0xC4, bytes.fromhex("07000000"))] * (MAX_MEMBERS + 1)
    assert ask(target, packet(given), capacity=65_000, connected=True).status == 0x20
    assert target.image.variables["count"].value == 0


def test_packet_whose_shortest_replies_do_not_fit_the_connection_does_nothing() -> None:
    target = controller()
    given = [write("Count", 0xC4, bytes.fromhex("07000000"))] * 10
    assert ask(target, packet(given), capacity=105, connected=True).status == 0x11
    assert target.image.variables["count"].value == 0
    assert ask(target, packet(given), capacity=106, connected=True).status == 0
    assert target.image.variables["count"].value == 7
