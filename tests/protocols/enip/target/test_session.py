"""A session with a target: registering, reading, writing, connections, and what must leave."""

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpppod.protocols.bus.groups import ReplyGroup, RouteGroup
from cpppod.protocols.cip import epath, structures, types
from cpppod.protocols.cip.connection_manager import ForwardOpenReply
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.personality import PERSONALITIES
from cpppod.protocols.cip.request import Carriage, ForwardNeeded, Tried, WriteNeeded
from cpppod.protocols.cip.route_table import RoutePolicy
from cpppod.protocols.cip.symbols import Allotment, declare
from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.encapsulation import HEADER
from cpppod.protocols.enip.target.departures import Departures
from cpppod.protocols.enip.target.list_commands import answer_datagram
from cpppod.protocols.enip.target.remembered import TURN
from cpppod.protocols.enip.target.session import MAX_WAITING, Session
from cpppod.protocols.enip.target.slots import MAX_OUTSTANDING
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.listener.target import add_device
from tests.enip_frames import (
    REGISTER,
    forward_open,
    frame,
    frames,
    packet,
    read,
    reply_of,
    request,
    routed,
    rr,
    unit,
    write,
)

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "x:502",
    groups=(
        Group(
            "fast",
            0.5,
            (
                Tag("pressure", "1", "REAL"),
                Tag("limit", "2", "DINT", writable=True),
                Tag("pump", "3", "BOOL", writable=True),
            ),
        ),
    ),
)


def make_target(**options: Any) -> Target:
    ids = iter(range(0x5001, 1 << 30))
    target = Target(random_u32=lambda: next(ids), clock_us=lambda: 1_000_000, **options)
    target.add_tag(Variable("N", types.DINT))
    target.add_tag(Variable("A", types.INT, (1000,)))
    target.add_tag(Variable("Cube", types.INT, (2, 3, 4)))
    target.add_tag(Variable("S", structures.STRING))
    target.add_tag(declare("Bits", types.BOOL, (64,)))
    add_device(target, BOILER)
    return target


class Client:
    """The other end of a session, in one process and without a socket."""

    def leaving(self) -> list[RouteGroup]:
        """The groups that leave, as they travel."""
        groups = self.session.departures.take_groups()
        return [RouteGroup.decode(group.plain) for group in groups]

    def come_back(
        self, group: RouteGroup, first: int, *replies: bytes, credit: int = 0, now: float = 0.0
    ) -> bytes:
        """What the client gets upon these replies."""
        self.session.departures.replied(ReplyGroup.of(group.id, first, replies, credit), now)
        return self.session.take_output(now)

    def __init__(self, target: Target | None = None, **options: Any) -> None:
        self.target = target or make_target()
        self.session = Session(
            self.target,
            address="10.0.0.1",
            local=("10.0.0.2", 44818),
            random_u32=lambda: 0xABCD,
            now=0.0,
            **options,
        )
        self.session.receive_data(REGISTER, 0.0)
        self.handle = self.session.handle

    def send(self, message: bytes, now: float = 0.0) -> bytes:
        return self.session.receive_data(rr(message, self.handle), now)

    def ask(self, message: bytes, now: float = 0.0) -> MessageRouterReply:
        return reply_of(self.send(message, now))

    def open(self, **options: Any) -> int:
        reply = self.ask(forward_open(**options))
        assert reply.status == 0, reply.text
        return int.from_bytes(reply.data[:4], "little")

    def ask_unit(self, message: bytes, connection: int, sequence: int, now: float = 0.0) -> Any:
        data = unit(message, self.handle, connection, sequence)
        answer = self.session.receive_data(data, now)
        return reply_of(answer) if answer else None


def test_register_gives_a_handle_and_echoes_the_context() -> None:
    session = Session(make_target(), address="a", local=("b", 1), random_u32=lambda: 77, now=0.0)
    reply = session.receive_data(REGISTER, 0.0)
    assert reply == bytes.fromhex("6500 0400 4d000000 00000000") + b"context1" + bytes(
        4
    ) + bytes.fromhex("01000000")
    assert session.handle == 77


def test_value_written_is_read_back_first_from_memory_then_from_what_is_remembered() -> None:
    client = Client()
    assert client.ask(write("N", 0xC4, struct.pack("<i", 99))).status == 0
    for _ in range(3):
        assert client.ask(read("n")).data == bytes.fromhex("c40063000000")
    client.ask(write("N", 0xC4, struct.pack("<i", 100)))
    assert client.ask(read("n")).data == bytes.fromhex("c40064000000")


def test_too_large_read_is_cut_and_continued() -> None:
    client = Client()
    first = client.ask(read("A", 1000))
    assert first.status == 0x06
    assert len(first.data) == 2 + 488
    rest = client.ask(request(0x52, "A", struct.pack("<HI", 1000, 488)))
    assert rest.status == 0x06
    last = client.ask(request(0x52, "A", struct.pack("<HI", 1000, 1952)))
    assert (last.status, len(last.data)) == (0, 2 + 48)


@pytest.mark.parametrize(
    ("message", "status", "extended"),
    [
        (read("Nope"), 0x05, (0,)),
        (read("A[1000]"), 0xFF, (0x2105,)),
        (read("A[999]", 2), 0xFF, (0x2105,)),
        (read("N[0,0]"), 0x05, (0,)),
        (read("A", 0), 0x03, ()),
        (request(0x4C, "A"), 0x13, ()),
        (request(0x52, "A", struct.pack("<HI", 10, 9999)), 0xFF, (0x2104,)),
        (write("N", 0xCA, bytes(4)), 0xFF, (0x2107,)),
        (write("N", 0xC4, bytes(3)), 0x13, ()),
        (write("A[999]", 0xC3, bytes(4), 2), 0xFF, (0x2105,)),
        (request(0x0E, "@0x99/1/1"), 0x05, (0,)),
        (request(0x0E, "@1/9/1"), 0x05, (0,)),
        (request(0x0E, "@1/1/99"), 0x14, ()),
        (request(0x10, "@1/1/1", b"\0\0"), 0x0E, ()),
        (request(0x4F, "@1/1"), 0x08, ()),
        (request(0x5F, "N"), 0x08, ()),
    ],
)
def test_what_is_wrong_is_a_cip_status_and_costs_no_session(
    message: bytes, status: int, extended: tuple[int, ...]
) -> None:
    client = Client()
    reply = client.ask(message)
    assert (reply.status, reply.extended) == (status, extended)
    assert reply.service == message[0] | 0x80
    assert client.ask(read("N")).status == 0


def test_index_of_three_dimensions_counts_the_last_fastest() -> None:
    client = Client()
    client.ask(write("Cube[1,2,3]", 0xC3, b"\x07\0"))
    assert client.target.image.variables["cube"].get(23, 1) == [7]


def test_excess_after_the_values_is_ignored() -> None:
    client = Client()
    assert client.ask(write("N", 0xC4, bytes(4)) + b"more of it").status == 0


def test_narrower_integer_is_widened_where_types_may_differ() -> None:
    client = Client()
    assert client.ask(write("N", 0xC3, struct.pack("<h", -5))).extended == (0x2107,)
    client = Client(make_target(lenient_types=True))
    assert client.ask(write("N", 0xC3, struct.pack("<h", -5))).status == 0
    assert client.target.image.variables["n"].value == -5


def test_read_modify_write_sets_and_clears_bits_whatever_the_and_mask_s_length() -> None:
    client = Client()
    masks = struct.pack("<HI", 4, 8) + b"\xff" * 8
    assert client.ask(request(0x4E, "N", masks)).status == 0
    assert client.target.image.variables["n"].value == 8


def test_packed_bools_are_dwords_and_also_single_bits() -> None:
    client = Client()
    assert client.ask(write("Bits[1]", 0xD3, b"\1\0\0\0")).status == 0
    assert client.ask(read("Bits", 2)).data == bytes.fromhex("d3000000000001000000")
    bits = client.ask(read("Bits", 64))
    assert bits.data[:2] == b"\xc1\0"
    assert bits.data[2 + 32] == 1


def test_tag_without_an_address_is_the_message_router_s_next_attribute() -> None:
    client = Client()
    client.ask(write("N", 0xC4, struct.pack("<i", 7)))
    assert client.ask(request(0x0E, "@2/1/1")).data == struct.pack("<i", 7)


def test_packet_of_reads_answers_in_order_and_says_that_one_failed() -> None:
    client = Client()
    for _ in range(2):
        reply = client.ask(packet([read("N"), read("Nope"), read("A[1]")]))
        assert reply.status == 0x1E
        count, *offsets = struct.unpack_from("<4H", reply.data)
        members = [
            MessageRouterReply.decode(reply.data[begin:end])
            for begin, end in zip(offsets, [*offsets[1:], len(reply.data)], strict=True)
        ]
        assert count == 3
        assert [member.status for member in members] == [0, 5, 0]


def test_packet_that_writes_reads_what_it_wrote() -> None:
    client = Client()
    reply = client.ask(packet([read("N"), write("N", 0xC4, b"\7\0\0\0"), read("N")]))
    first, _, last = struct.unpack_from("<3H", reply.data, 2)
    assert reply.data[first + 6 : first + 10] == bytes(4)
    assert reply.data[last + 6 : last + 10] == b"\7\0\0\0"


def test_packet_member_that_does_not_fit_is_partial() -> None:
    client = Client()
    reply = client.ask(packet([read("A", 200), read("A", 200)]))
    assert len(reply.encode()) <= 520
    assert reply.status == 0x1E


def test_unconnected_send_answers_as_if_it_were_bare() -> None:
    client = Client()
    reply = client.ask(routed(read("N"), "1/0"))
    assert (reply.service, reply.status) == (0xCC, 0)


def test_class_3_connection_answers_with_its_sequence_and_replays() -> None:
    client = Client()
    connection = client.open()
    assert client.ask_unit(read("N"), connection, 1).status == 0
    assert client.ask_unit(write("N", 0xC4, b"\5\0\0\0"), connection, 2).status == 0
    client.target.image.variables["n"].set([9])
    repeated = client.ask_unit(write("N", 0xC4, b"\5\0\0\0"), connection, 2)
    assert repeated.status == 0
    assert client.target.image.variables["n"].value == 9, "a repetition executes nothing"
    for sequence in range(3, 6):
        assert client.ask_unit(read("N"), connection, sequence).data == b"\xc4\0\x09\0\0\0"


def test_large_connection_carries_large_replies() -> None:
    client = Client()
    connection = client.open(size=4000, large=True)
    reply = client.ask_unit(read("A", 1000), connection, 1)
    assert (reply.status, len(reply.data)) == (0, 2002)


@pytest.mark.parametrize(
    ("size", "large", "count", "status", "elements"),
    [
        (500, False, 123, 0, 123),
        (500, False, 124, 6, 123),
        (500, False, 125, 6, 123),
        (504, False, 124, 0, 124),
        (504, False, 125, 6, 124),
        (4000, True, 998, 0, 998),
        (4000, True, 999, 0, 999),
        (4000, True, 1000, 0, 1000),
        (4000, True, 1001, 6, 1000),
        (500, True, 125, 0, 125),
    ],
)
def test_reply_fills_a_small_connection_and_goes_eight_bytes_beyond_a_large_one(
    size: int, large: bool, count: int, status: int, elements: int
) -> None:
    client = Client()
    client.target.add_tag(Variable("D", types.DINT, (2000,)))
    connection = client.open(size=size, large=large)
    reply = client.ask_unit(read("D", count), connection, 1)
    assert (reply.status, len(reply.data)) == (status, 2 + 4 * elements)


@given(
    size=st.integers(8, 200),
    which=st.sampled_from(["read", "fragment", "all", "list", "single", "packet", "unknown", "s"]),
    count=st.integers(1, 40),
)
@settings(max_examples=200, deadline=None)
def test_nothing_on_a_small_connection_is_longer_than_its_size(
    size: int, which: str, count: int
) -> None:
    client = Client()
    connection = client.open(size=size)
    message = {
        "read": read("A", count),
        "fragment": request(0x52, "A", struct.pack("<HI", count, 2)),
        "all": request(0x01, "@1/1"),
        "list": request(0x55, "@0x6b/0", struct.pack("<HHH", 2, 1, 2)),
        "single": request(0x0E, "S"),
        "packet": packet([read("N"), read("boiler.pressure"), read("A", count)] * (count % 9 + 1)),
        "unknown": read("None"),
        "s": read("S"),
    }[which]
    for sequence in (1, 2, 3):
        data = unit(message, client.handle, connection, sequence)
        answer = client.session.receive_data(data, 0.0)
        assert len(answer) - 24 - 20 <= max(size, 6)  # header, and CPF before the sequence


def test_second_open_of_the_same_triad_replaces_the_first() -> None:
    client = Client()
    first = client.open(serial=5)
    second = client.open(serial=5)
    assert first != second
    assert list(client.target.manager.connections) == [second]


def test_silent_connection_dies_and_ends_the_tcp_connection_that_still_uses_it() -> None:
    client = Client()
    connection = client.open()
    client.ask_unit(read("N"), connection, 1)
    assert client.target.manager.expire(1000.0)
    assert client.ask_unit(read("N"), connection, 2, now=1000.0) is None
    assert client.session.closing


def test_connection_belongs_to_its_session() -> None:
    client = Client()
    connection = client.open()
    other = Client(client.target)
    assert other.ask_unit(read("N"), connection, 1) is None


@pytest.mark.parametrize(
    ("options", "extended"),
    [
        ({"path": "1/0/@4/100"}, 0x0117),
        ({"size": 4}, 0x0109),
    ],
)
def test_open_that_cannot_be_is_refused_by_the_connection_manager(
    options: dict[str, Any], extended: int
) -> None:
    reply = Client().ask(forward_open(**options))
    assert (reply.status, reply.extended) == (0x01, (extended,))
    assert reply.data[:4] == struct.pack("<HH", 1, 0x1009)


def test_device_s_tag_is_refused_until_it_is_known_and_then_read() -> None:
    client = Client()
    assert client.ask(read("boiler.pressure")).extended[0] == 0x8011
    feed(client, pressure=2.5, limit=10, pump=True)
    for _ in range(3):
        assert client.ask(read("boiler.pressure"), 1.0).data == b"\xca\0" + struct.pack("<f", 2.5)
    assert client.ask(read("Boiler"), 1.0).status == 0
    assert client.ask(read("boiler.pump"), 1.0).data == b"\xc1\0\1"
    stale = client.ask(read("boiler.pressure"), 99.0)
    assert stale.status == 0xFF
    assert stale.extended[0] == 0x8002


def feed(client: Client, sequence: int = 1, now: float = 1.0, **values: Any) -> None:
    client.target.image.apply_block(
        "boiler",
        "fast",
        publisher="poller-a",
        epoch=1,
        sequence=sequence,
        read_at=now,
        tags=list(values),
        values=list(values.values()),
        qualities=0,
        now=now,
    )


def test_write_to_a_device_leaves_and_holds_back_what_follows_it() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    both = rr(write("boiler.limit", 0xC4, b"\x20\0\0\0"), client.handle) + rr(
        read("boiler.limit"), client.handle
    )
    assert client.session.receive_data(both, 1.0) == b""
    ((ticket, command),) = client.session.commands
    assert command == WriteNeeded("boiler", [["limit", 0, [32]]], "10.0.0.1")
    feed(client, 2, limit=32)
    replies = frames(client.session.complete(ticket, (0, []), 1.0))
    assert [reply_of(item).status for item in replies] == [0, 0]
    assert reply_of(replies[1]).data == b"\xc4\0\x20\0\0\0"


def test_device_s_refusal_reaches_the_client_word_for_word() -> None:
    client = Client()
    client.send(write("boiler.limit", 0xC4, bytes(4)))
    ((ticket, _),) = client.session.commands
    reply = reply_of(client.session.complete(ticket, (0x1F, [2]), 1.0))
    assert (reply.service, reply.status, reply.extended) == (0xCD, 0x1F, (2,))


def test_read_only_tag_of_a_device_takes_no_write() -> None:
    assert Client().ask(write("boiler.pressure", 0xCA, bytes(4))).status == 0x0F


def test_client_that_may_not_write_changes_nothing() -> None:
    client = Client(may_write=False)
    assert client.ask(write("N", 0xC4, b"\1\0\0\0")).status == 0x0F
    assert client.target.image.variables["n"].value == 0


def forwarding() -> Client:
    policy = RoutePolicy(local=epath.parse_route_path("1/0"), forwards=True)
    return Client(make_target(policy=policy))


ONE, TWO = b"\xcc\0\0\0\xc4\0one.", b"\xcc\0\0\0\xc4\0two."


def test_routed_requests_leave_and_their_replies_come_back_byte_for_byte_in_their_turn() -> None:
    client = forwarding()
    sent = b"".join(
        rr(message, client.handle, context)
        for message, context in (
            (routed(read("X"), "1/1"), b"first..."),
            (read("N"), b"second.."),
            (routed(read("Y"), "1/2"), b"third..."),
        )
    )
    assert client.session.receive_data(sent, 0.0) == b""
    first, second = client.leaving()
    assert (first.route_path.hex(), first.split()) == ("0101", [read("X")])
    assert (first.source, first.priority_tick, first.timeout_ticks) == ("10.0.0.1", 5, 157)
    assert client.come_back(second, 0, TWO) == b""
    out = frames(client.come_back(first, 0, ONE))
    assert [item[12:20] for item in out] == [b"first...", b"second..", b"third..."]
    assert out[0].endswith(b"one.")
    assert out[2].endswith(b"two.")
    assert not client.session.outstanding


def test_alike_requests_of_one_turn_leave_in_one_group_and_are_answered_in_order() -> None:
    client = forwarding()
    client.session.departures.way(b"\1\1").credit = 1_000
    contexts = [b"%08d" % number for number in range(MAX_OUTSTANDING + 3)]
    tags = [f"X[{number:03}]" for number in range(len(contexts))]
    sent = b"".join(
        rr(routed(read(tag), "1/1"), client.handle, each)
        for tag, each in zip(tags, contexts, strict=True)
    )
    assert client.session.receive_data(sent[:1000], 0.0) == b""
    assert client.session.receive_data(sent[1000:], 0.0) == b""
    (group,) = client.leaving()
    assert group.split() == [read(tag) for tag in tags[:MAX_OUTSTANDING]]
    assert client.session.outstanding == MAX_OUTSTANDING
    out = b""
    for first in (1, 0):
        out += client.come_back(group, first, ONE)
    replies = [b"\xcc\0\0\0\xc4\0%04d" % number for number in range(2, MAX_OUTSTANDING)]
    out += client.come_back(group, 2, *replies)
    (rest,) = client.leaving()
    assert rest.split() == [read(tag) for tag in tags[MAX_OUTSTANDING:]]
    out += client.come_back(rest, 0, TWO, TWO, TWO)
    assert [item[12:20] for item in frames(out)] == contexts
    assert [int(item[-4:]) for item in frames(out)[2:MAX_OUTSTANDING]] == list(
        range(2, MAX_OUTSTANDING)
    )
    assert client.session.requests == len(contexts) + 1  # RegisterSession


def test_requests_of_several_lengths_along_one_route_leave_as_one_run_in_their_order() -> None:
    client = forwarding()
    client.session.departures.way(b"\1\1").credit = 1_000
    tags = ["X", "Longer[300]", "Y[7]", "X", "Longer[301]", "Y[8]"]
    sent = b"".join(
        rr(routed(read(tag), "1/1"), client.handle, b"%08d" % place)
        for place, tag in enumerate(tags)
    )
    client.session.receive_data(sent, 0.0)
    (group,) = client.leaving()
    replies = [b"\xcc\0\0\0\xc4\0" + bytes(4 + 2 * place) for place in range(len(tags))]
    first = client.come_back(group, 0, *replies)
    client.session.receive_data(sent, 0.0)  # their lanes are known by now
    (group,) = client.leaving()
    assert group.split() == [read(tag) for tag in tags]
    assert client.come_back(group, 1, *replies[1:]) == b""
    assert client.come_back(group, 0, replies[0]) == first
    assert [each[12:20] for each in frames(first)] == [b"%08d" % at for at in range(len(tags))]
    assert [each[40:] for each in frames(first)] == replies


def test_reply_that_comes_twice_or_to_nobody_changes_nothing() -> None:
    client = forwarding()
    client.send(routed(read("X"), "1/1"))
    client.send(routed(read("Y"), "1/1"))
    (group,) = client.leaving()
    assert client.come_back(group, 1, TWO) == b""
    assert client.come_back(group, 1, ONE) == b""
    out = frames(client.come_back(group, 0, ONE, ONE))
    assert [item[-4:] for item in out] == [b"one.", b"two."]
    assert client.come_back(group, 0, ONE) == b""
    assert client.session.departures.late == 3


def test_requests_without_room_wait_as_bytes_and_reading_stops_beyond_a_limit() -> None:
    client = forwarding()
    client.session.departures.way(b"\1\1").credit = 2
    request = rr(routed(read("X"), "1/1"), client.handle)
    client.session.receive_data(request * 3, 0.0)
    (group,) = client.leaving()
    assert group.count == 2
    assert client.session.wants_data
    while client.session.wants_data:
        assert client.session.receive_data(request, 0.0) == b""
    assert MAX_WAITING <= client.session.received < MAX_WAITING + 5 * len(request)
    out = client.come_back(group, 0, ONE, credit=2)
    (group_of_one,) = client.leaving()
    assert (len(frames(out)), group_of_one.count) == (1, 1)
    client.come_back(group, 1, ONE, credit=250)
    (rest,) = client.leaving()
    assert rest.count == 249
    assert client.session.wants_data


def test_request_whose_time_runs_out_while_it_waits_is_refused_in_its_turn() -> None:
    client = forwarding()
    client.session.departures.way(b"\1\1").credit = 1
    departures = client.session.departures
    for now, ticks in ((0.0, 250), (1.0, 100), (2.0, 100)):  # of 32 ms
        message = routed(read("X"), "1/1", ticks=(5, ticks))
        client.session.receive_data(rr(message, client.handle), now)
    (group,) = client.leaving()
    departures.expire(4.1)
    assert client.session.outstanding == 2
    departures.expire(4.2)
    assert client.session.take_output(4.2) == b""
    out = client.come_back(group, 0, ONE, now=4.3)
    kept = [reply_of(item) for item in frames(out)]
    assert [(each.status, each.extended) for each in kept] == [(0, ()), (1, (0x0301,))]
    (third,) = client.leaving()
    assert third.deadline_us == 5_200_000  # counted from its arrival
    departures.expire(5.31)
    assert reply_of(client.session.take_output(5.31)).extended == (0x0204,)


def test_group_that_nobody_takes_is_refused_for_want_of_room() -> None:
    client = forwarding()
    client.send(routed(read("X"), "1/1"))
    (group,) = client.leaving()
    client.session.departures.unsent(group, 0.0)
    assert reply_of(client.session.take_output(0.0)).extended == (0x0301,)
    client.session.departures.unsent(group, 0.0)
    assert client.session.take_output(0.0) == b""


def test_client_that_does_not_read_lets_the_others_have_its_turn() -> None:
    target = make_target(policy=RoutePolicy(forwards=True))
    departures = Departures()
    departures.way(b"\1\1").credit = 1
    first, stuck, last = (Client(target, departures=departures) for _ in range(3))
    for each in (first, stuck, last):
        each.session.receive_data(rr(routed(read("X"), "1/1"), each.handle) * 2, 0.0)
    stuck.session.stalled = True
    taken = []
    for _ in range(4):
        (group,) = first.leaving()
        departures.replied(ReplyGroup.of(group.id, 0, [ONE], 1), 0.0)
        sessions = [each.session for each in (first, stuck, last)]
        taken.append([len(frames(each.take_output(0.0))) for each in sessions])
    assert taken == [[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    stuck.session.stalled = False
    stuck.session.take_output(0.0)
    (group,) = first.leaving()
    assert group.count == 1


def test_session_that_ends_leaves_the_ring_and_what_it_had_out_is_nobody_s() -> None:
    client = forwarding()
    way = client.session.departures.way(b"\1\1")
    way.credit = 1
    client.session.receive_data(rr(routed(read("X"), "1/1"), client.handle) * 2, 0.0)
    (group,) = client.leaving()
    client.session.close()
    assert not way.ring
    assert client.come_back(group, 0, ONE) == b""
    assert way.out == 0


def test_hops_that_a_gateway_says_travel_on_and_nobody_else_s_contexts_are_hops() -> None:
    gateway = forwarding()
    gateway.session = Session(
        gateway.target, address="10.0.0.1", local=("", 0), random_u32=lambda: 0xABCD, now=0.0
    )
    gateway.session.receive_data(frame(0x65, b"\1\0\0\0", 0, b"cpppod\0\0"), 0.0)
    contexts = [bytes(6) + bytes((hops, 0xFE)) for hops in (3, 3, 5)] + [b"12\0\0\0\0\0\0"]
    for client in (gateway, forwarding()):
        for _ in range(2):  # the first is worked out, the others are known
            sent = [rr(routed(read("X"), "1/1"), client.handle, each) for each in contexts]
            client.session.receive_data(b"".join(sent), 0.0)
        hops = [(group.hops, group.count) for group in client.leaving()]
        assert hops == ([(3, 4), (5, 2), (0, 2)] if client is gateway else [(0, 8)])
    client = forwarding()
    client.session.receive_data(rr(forward_open("1/1/@2/1"), client.handle, contexts[0]), 0.0)
    gateway.session.receive_data(rr(forward_open("1/1/@2/1"), client.handle, contexts[0]), 0.0)
    asked = [each.session.commands[0][1] for each in (client, gateway)]
    assert [each.hops for each in asked if isinstance(each, ForwardNeeded)] == [0, 3]


def test_known_request_behind_one_that_leaves_waits_for_its_turn() -> None:
    client = forwarding()
    first = client.send(read("N"))
    client.send(routed(read("X"), "1/1"))
    (group,) = client.leaving()
    assert client.send(read("N")) == b""
    assert client.come_back(group, 0, ONE).endswith(first)


def test_routed_requests_to_another_path_of_the_connection_manager_leave_too() -> None:
    client = forwarding()
    body = routed(read("X"), "1/1")
    longer = body[:1] + b"\3\x20\6\x25\0\1\0" + body[6:]
    for _ in range(2):
        client.send(longer)
    (group,) = client.leaving()
    assert group.split() == [read("X")] * 2


def carried(client: Client) -> int:
    """A connection through route 1/1."""
    client.send(forward_open("1/1/@2/1"))
    ((ticket, command),) = client.session.commands
    client.session.commands.clear()
    assert isinstance(command, ForwardNeeded)
    granted = ForwardOpenReply(0x77, 0x1001, 1, 0x1009, 42, 1_000, 1_000).encode()
    reply = MessageRouterReply(0xD4, 0, (), granted).encode()
    opened = reply_of(client.session.complete(ticket, reply, 0.0))
    assert opened.status == 0
    return int.from_bytes(opened.data[:4], "little")


def test_requests_of_a_connection_through_a_route_leave_with_their_sequence_counts() -> None:
    client = forwarding()
    connection = carried(client)
    first = unit(read("X"), client.handle, connection, 7)
    assert client.session.receive_data(first, 0.0) == b""
    assert client.session.receive_data(first, 0.0) == b"", "it is out"
    assert client.ask_unit(read("Yy"), connection, 9) is None
    (group,) = client.leaving()
    assert group.split() == [b"\7\0" + read("X"), b"\x09\0" + read("Yy")]
    assert group.messages() == [read("X"), read("Yy")]
    assert (group.carriage, group.connection) == (Carriage.CONNECTED, connection)
    assert client.come_back(group, 1, TWO) == b""
    replies = frames(client.come_back(group, 0, ONE))
    assert [item[44:46] for item in replies] == [b"\7\0", b"\x09\0"]
    assert [item[-4:] for item in replies] == [b"one.", b"two."]
    again = unit(read("Yy"), client.handle, connection, 9)
    assert client.session.receive_data(again, 0.0) == replies[1]


def test_request_of_a_connection_without_an_answer_is_refused_in_its_own_form() -> None:
    client = forwarding()
    connection = carried(client)
    client.session.departures.way(b"\1\1").credit = 1
    for sequence in (1, 2):
        client.ask_unit(read("X"), connection, sequence)
    client.leaving()
    client.session.departures.expire(20.0)
    reply = reply_of(frames(client.session.take_output(20.0))[0])
    assert (reply.service, reply.extended) == (0xCC, (0x0204,))


def test_connection_to_nobody_is_refused_with_the_route_s_status() -> None:
    client = forwarding()
    client.send(forward_open("1/1/@2/1"))
    ((ticket, _),) = client.session.commands
    reply = reply_of(client.session.complete(ticket, bytes.fromhex("d40001010403"), 0.0))
    assert (reply.service, reply.status, reply.extended) == (0xD4, 0x01, (0x0304,))


def test_without_forwarding_an_unknown_route_is_refused_and_no_session_lost() -> None:
    client = Client(make_target(policy=RoutePolicy(local=epath.parse_route_path("1/0"))))
    bad_link = client.ask(routed(read("N"), "1/3"))
    assert (bad_link.service, bad_link.status, bad_link.extended) == (0xD2, 1, (0x0312,))
    assert client.ask(routed(read("N"), "2/10.0.0.1")).extended == (0x0311,)
    assert client.ask(read("N")).status == 0
    assert client.ask(routed(read("N"), "1/0")).status == 0


def test_micro800_knows_neither_packets_nor_the_program_name() -> None:
    client = Client(make_target(personality=PERSONALITIES["micro800"]))
    assert client.ask(packet([read("N"), read("N")])).status == 0x08
    assert client.ask(request(0x01, "@0x64/1")).status == 0x05


def test_simple_device_takes_no_unconnected_send() -> None:
    client = Client(make_target(personality=PERSONALITIES["simple"]))
    assert client.ask(routed(read("N"), "1/0")).status == 0x08
    assert client.ask(read("N")).status == 0


def test_ids_given_out_once_stay_where_they_are() -> None:
    allotment = Allotment()
    before = {name: allotment.symbol(name) for name in ("b", "a")}
    after = Allotment(allotment.plain)
    assert after.symbol("new") not in before.values()
    assert {name: after.symbol(name) for name in before} == before


def test_listing_pages_hold_whole_entries_and_end() -> None:
    target = make_target()
    for number in range(100):
        target.add_tag(Variable(f"Tag_number_{number}", types.INT))
    client = Client(target)
    names, start = [], 0
    while True:
        data = struct.pack("<3H", 2, 1, 2)
        reply = client.ask(request(0x55, f"@0x6b/{start}", data))
        at = 0
        while at < len(reply.data):
            instance, size = struct.unpack_from("<IH", reply.data, at)
            names.append(reply.data[at + 6 : at + 6 + size].decode())
            at += 8 + size
            start = instance + 1
        if reply.status == 0:
            break
        assert reply.status == 0x06
    assert len(names) == len(set(names)) == 106


def test_removed_tag_answers_unknown_also_to_what_was_remembered() -> None:
    client = Client()
    for _ in range(2):
        assert client.ask(read("N")).status == 0
    client.target.remove_tag("N")
    assert client.ask(read("N")).status == 0x05


def test_injected_error_is_answered_and_can_be_cleared() -> None:
    client = Client()
    assert client.ask(read("N")).status == 0
    variable = client.target.image.variables["n"]
    client.target.set_error(variable, 8)
    assert client.ask(read("N")).status == 8
    client.target.set_error(variable, 0)
    assert client.ask(read("N")).status == 0


@pytest.mark.parametrize("command", [0x01, 0x04, 0x63, 0x64])
def test_list_commands_are_answered_over_tcp_and_udp_alike(command: int) -> None:
    target = make_target()
    datagram = answer_datagram(target, frame(command), "10.0.0.2", 44818)
    assert datagram == Client(target).session.receive_data(frame(command), 0.0)


@pytest.mark.parametrize(
    "data", [b"\x63", REGISTER, frame(0x63)[:-4] + b"\1\0\0\0", frame(0x63, b"x")[:-1]]
)
def test_nothing_else_is_answered_over_udp(data: bytes) -> None:
    assert answer_datagram(make_target(), data, "10.0.0.2", 44818) is None


def batch_of(client: Client, first: int, *messages: bytes) -> bytes:
    contexts = (struct.pack("<Q", first + place) for place in range(len(messages)))
    return b"".join(
        rr(message, client.handle, context)
        for message, context in zip(messages, contexts, strict=True)
    )


def test_pipelined_requests_known_as_a_whole_keep_their_contexts_and_see_every_change() -> None:
    client = Client()
    messages = [read("N"), read("N"), read("N"), read("N")]
    for turn in range(8):
        if turn in (4, 6):
            client.target.image.variables["n"].set([turn])
        answer = frames(client.session.receive_data(batch_of(client, 100 * turn, *messages), 0.0))
        assert [item[12:20] for item in answer] == [
            struct.pack("<Q", 100 * turn + place) for place in range(4)
        ]
        value = 0 if turn < 4 else 4 if turn < 6 else 6
        assert {reply_of(item).data for item in answer} == {b"\xc4\0" + struct.pack("<i", value)}
    for turn in range(4):
        same = client.session.receive_data(batch_of(client, 1, *messages), 0.0)
        assert len(frames(same)) == 4, turn
    client.target.set_error(client.target.image.variables["n"], 8)
    refused = frames(client.session.receive_data(batch_of(client, 1, *messages), 0.0))
    assert {reply_of(item).status for item in refused} == {8}


def test_other_requests_of_the_same_length_are_answered_as_what_they_are() -> None:
    client = Client()
    client.target.add_tag(Variable("M", types.DINT))
    client.target.image.variables["m"].set([5])
    for _ in range(4):
        client.session.receive_data(batch_of(client, 1, read("N"), read("N")), 0.0)
    mixed = frames(client.session.receive_data(batch_of(client, 1, read("N"), read("M")), 0.0))
    assert [reply_of(item).data[2] for item in mixed] == [0, 5]


def test_batch_goes_stale_with_its_device() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    data = batch_of(client, 1, read("boiler.limit"), read("boiler.limit"))
    for _ in range(4):
        fresh = frames(client.session.receive_data(data, 1.5))
        assert {reply_of(item).status for item in fresh} == {0}
    stale = frames(client.session.receive_data(data, 99.0))
    assert {reply_of(item).extended[0] for item in stale} == {0x8002}


def whole_answers(client: Client, data: bytes, now: float = 1.0) -> set[bytes]:
    """The values that two requests known as a whole are answered with."""
    return {reply_of(item).data[2:] for item in frames(client.session.receive_data(data, now))}


def test_first_reply_is_kept_and_not_rendered_again() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    link = client.open()
    messages = read("N"), read("boiler.limit"), packet((read("N"), read("boiler.pump")))
    for sequence, message in enumerate(messages, 1):
        first = client.ask(message, 1.0)
        (known,) = (r for key, r in client.target.replies.entries.items() if key.endswith(message))
        assert known.tail is not None
        assert known.tail.endswith(first.data)
        assert client.ask_unit(message, link, sequence, 1.0).data == first.data
        assert client.target.manager.connections[link].replies[message].tail == known.tail[20:]
    client.target.image.variables["n"].set([7])
    assert client.ask(read("N"), 1.0).data == b"\xc4\0\7\0\0\0"


def test_block_drops_the_replies_of_the_tags_that_it_names_and_no_others() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    messages = {tag: read(f"boiler.{tag}") for tag in ("pressure", "limit", "pump")}
    messages |= {"both": packet((read("boiler.pump"), read("boiler.limit"))), "all": read("boiler")}

    def kept() -> set[str]:
        entries = client.target.replies.entries.items()
        return {
            name
            for name, message in messages.items()
            for key, reply in entries
            if key.endswith(message) and reply.tail is not None
        }

    def ask_all() -> None:
        for message in messages.values():
            client.ask(message, 1.1)

    ask_all()
    assert kept() == set(messages)
    feed(client, sequence=2, now=1.2)
    assert kept() == set(messages), "a block that names no tag"
    feed(client, sequence=3, now=1.2, limit=11)
    assert kept() == {"pressure", "pump"}
    assert client.ask(messages["limit"], 1.2).data[2:] == b"\x0b\0\0\0"
    assert client.ask(messages["both"], 1.2).data[-4:] == b"\x0b\0\0\0"
    ask_all()
    client.target.image.set_uncertain("boiler", ["pump"])
    assert kept() == {"pressure", "limit"}
    client.target.image.expire(99.0)
    assert kept() == set()


def test_requests_known_as_a_whole_stay_known_while_other_tags_of_the_device_change() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    data = batch_of(client, 1, read("boiler.limit"), read("boiler.limit"))
    for _ in range(3):
        assert whole_answers(client, data) == {b"\x0a\0\0\0"}
    version = client.target.image.version
    feed(client, sequence=2, now=1.2, pressure=3.5)
    assert client.target.image.version == version
    assert whole_answers(client, data, 1.2) == {b"\x0a\0\0\0"}
    feed(client, sequence=3, now=1.3, limit=12)
    assert whole_answers(client, data, 1.3) == {b"\x0c\0\0\0"}


def test_packet_that_refuses_a_tag_for_its_age_tells_the_age_anew() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    message = packet((read("N"), read("boiler.pump")))
    ages = [client.ask(message, now).data[-6:] for now in (60.0, 61.0, 70.0, 70.0, 71.0)]
    assert [int.from_bytes(data[4:], "little") for data in ages] == [59, 60, 69, 69, 70]
    feed(client, sequence=2, now=72.0, pump=False)
    assert client.ask(message, 72.0).data.endswith(bytes.fromhex("cc000000c10000"))


def test_pipelined_requests_on_a_connection_are_known_too_and_repetitions_replayed() -> None:
    client = Client()
    connection = client.open()

    def batch(first: int) -> bytes:
        return b"".join(
            unit(read("N"), client.handle, connection, first + place) for place in range(4)
        )

    for turn in range(6):
        answer = frames(client.session.receive_data(batch(1 + 4 * turn), 0.0))
        sequences = [int.from_bytes(item[44:46], "little") for item in answer]
        assert sequences == [1 + 4 * turn + place for place in range(4)]
    client.target.image.variables["n"].set([3])
    assert reply_of(client.session.receive_data(batch(25), 0.0)[:56]).data[2] == 3
    last = unit(read("N"), client.handle, connection, 28)
    client.target.image.variables["n"].set([9])
    assert reply_of(client.session.receive_data(last, 0.0)).data[2] == 3, "replayed"
    client.target.manager.expire(1e9)
    assert client.session.receive_data(batch(40), 0.0) == b""


CONVERSATION = b"".join(
    (
        frame(0x63),
        rr(read("N"), 0xABCD),
        rr(write("N", 0xC4, b"\1\0\0\0"), 0xABCD),
        rr(read("N"), 0xABCD, b"other..."),
        rr(read("N"), 0xABCD),
        rr(packet([read("N"), read("A", 5)]), 0xABCD),
        frame(0),
        rr(forward_open(), 0xABCD),
        rr(read("Nope"), 0xABCD),
        frame(0x77, b"", 0xABCD),
    )
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, len(CONVERSATION) - 1), max_size=12))
def test_replies_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    whole = Client().session.receive_data(CONVERSATION, 0.0)
    session = Client().session
    places = [0, *sorted(set(cuts)), len(CONVERSATION)]
    pieces = [
        session.receive_data(CONVERSATION[begin:end], 0.0)
        for begin, end in itertools.pairwise(places)
    ]
    assert b"".join(pieces) == whole


# The encapsulation layer: what is wrong with frames, and when the TCP connection ends


def fresh(handle: int = 77) -> Session:
    ids = iter((0, handle))
    return Session(
        make_target(), address="a", local=("b", 1), random_u32=lambda: next(ids), now=0.0
    )


def status_of(data: bytes) -> int:
    return int(HEADER.unpack_from(data)[3])


def test_handle_is_never_zero() -> None:
    session = fresh()
    session.receive_data(REGISTER, 0.0)
    assert session.handle == 77


@pytest.mark.parametrize("data", [b"", b"\1\0", b"\1\0\0\0\0"])
def test_register_of_another_length_ends_the_connection(data: bytes) -> None:
    session = fresh()
    assert status_of(session.receive_data(frame(0x65, data), 0.0)) == 0x65
    assert session.closing


@pytest.mark.parametrize("data", [b"\2\0\0\0", b"\1\0\1\0"])
def test_register_of_another_version_tells_ours_and_may_be_tried_again(data: bytes) -> None:
    session = fresh()
    reply = session.receive_data(frame(0x65, data), 0.0)
    assert (status_of(reply), reply[24:]) == (0x69, b"\1\0\0\0")
    assert not session.closing and not session.handle
    assert status_of(session.receive_data(REGISTER, 0.0)) == 0


def test_second_register_is_refused_and_the_session_goes_on() -> None:
    client = Client()
    assert status_of(client.session.receive_data(REGISTER, 0.0)) == 0x01
    assert client.ask(read("N")).status == 0


def test_frame_with_options_is_dropped_and_the_next_one_answered() -> None:
    client = Client()
    odd = bytearray(frame(0x63))
    odd[20] = 1
    reply = client.session.receive_data(bytes(odd) + rr(read("N"), client.handle), 0.0)
    assert reply_of(reply).status == 0
    assert client.session.rejected["options"] == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (frame(0x77, b"", 0xABCD), 0x01),
        (rr(read("N"), 0xABCE), 0x64),
        (rr(read("N"), 0), 0x64),
        (frame(0x6F, b"\0" * 5, 0xABCD), 0x65),
        (frame(0x6F, b"\0" * 6 + b"\xff\0", 0xABCD), 0x03),
        (frame(0x70, b"\0" * 5, 0xABCD), 0x65),
    ],
)
def test_frame_that_cannot_be_served_has_a_status_and_costs_no_session(
    data: bytes, status: int
) -> None:
    client = Client()
    assert status_of(client.session.receive_data(data, 0.0)) == status
    assert client.ask(read("N")).status == 0


def test_connected_data_of_another_shape_is_dropped_silently() -> None:
    client = Client()
    data = frame(0x70, b"\0" * 6 + b"\xff\0", client.handle)
    assert client.session.receive_data(data, 0.0) == b""
    assert client.session.rejected["cpf"] == 1


def test_unknown_connection_ends_only_who_had_one() -> None:
    client = Client()
    assert client.ask_unit(read("N"), 0x1234, 1) is None
    assert not client.session.closing
    connection = client.open()
    assert client.ask_unit(read("N"), connection, 1).status == 0
    assert client.ask_unit(read("N"), 0x1234, 1) is None
    assert client.session.closing


CLIENT_HELLO = bytes.fromhex("1603010200 010001fc 0303") + bytes(range(32))  # TLS 1.3 begins so


def test_frame_longer_than_any_or_another_protocol_s_bytes_end_the_connection() -> None:
    client = Client()
    client.session.receive_data(HEADER.pack(0x6F, 0xFFFF, client.handle, 0, bytes(8), 0), 0.0)
    assert client.session.closing
    for data in (b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n", CLIENT_HELLO):
        session = fresh()
        assert session.receive_data(data, 0.0) == b""
        assert session.closing
        assert session.rejected["implausible"] == 1


def test_session_knows_since_when_a_frame_is_not_whole() -> None:
    client = Client()
    data = rr(read("N"), client.handle)
    client.session.receive_data(data[:30], 5.0)
    assert client.session.partial_since == 5.0
    client.session.receive_data(data[30:40], 6.0)
    assert client.session.partial_since == 5.0
    client.session.receive_data(data[40:], 7.0)
    assert client.session.partial_since == 0.0


def test_frame_that_arrives_is_timed_from_its_own_first_byte() -> None:
    client = Client()
    known = rr(read("N"), client.handle)
    client.session.receive_data(known, 0.0)
    for now in (1.0, 2.0, 3.0):  # each chunk ends within a frame, as chunks of a stream do
        client.session.receive_data((known * 3)[: len(known) * 2 + 5], now)
        assert client.session.partial_since == now
        client.session.receive_data(known[5:], now)
        assert not client.session.partial_since
    client.session.receive_data(known[:9], 4.0)
    client.session.receive_data(known[9:20], 5.0)
    assert client.session.partial_since == 4.0
    client.session.receive_data(known[20:] + known[:7], 6.0)
    assert client.session.partial_since == 6.0


def test_unregister_ends_the_session_without_a_reply_and_nothing_more_is_served() -> None:
    client = Client()
    data = frame(0x66, b"", client.handle) + rr(read("N"), client.handle)
    assert client.session.receive_data(data, 0.0) == b""
    assert client.session.closing
    assert not client.session.wants_data


def test_end_of_the_tcp_connection_ends_its_class_3_connections_and_what_it_waits_for() -> None:
    client = Client()
    client.open()
    client.send(write("boiler.limit", 0xC4, b"\5\0\0\0"))
    ticket, _ = client.session.commands[0]
    assert client.session.has_connections
    client.session.close()
    assert not client.session.has_connections
    assert client.session.complete(ticket, (0, ()), 0.0) == b""
    assert not client.session.outstanding


def test_repetition_of_a_write_that_is_out_waits_and_later_gets_the_same_reply() -> None:
    client = Client()
    connection = client.open()
    message = write("boiler.limit", 0xC4, b"\5\0\0\0")
    data = unit(message, client.handle, connection, 1)
    assert client.session.receive_data(data, 0.0) == b""
    assert client.session.receive_data(data, 0.0) == b""
    ((ticket, command),) = client.session.commands
    assert isinstance(command, WriteNeeded)
    first = client.session.complete(ticket, (0, ()), 0.0)
    assert [reply_of(item).status for item in frames(first)] == [0, 0]
    again = client.session.receive_data(data, 0.0)
    assert reply_of(again).service == 0xCD
    assert len(client.session.commands) == 1, "written once"


def test_packet_that_writes_twice_leaves_twice_and_is_answered_once() -> None:
    client = Client()
    value = b"\5\0\0\0"
    members = [write("boiler.limit", 0xC4, value), write("boiler.pump", 0xC1, b"\1"), read("N")]
    assert client.send(packet(members)) == b""
    session = client.session
    assert session.complete(session.commands[0][0], (0, ()), 0.0) == b""
    assert len(session.commands) == 2
    assert client.send(read("N")) == b"", "it waits for the write"
    written, behind = frames(session.complete(session.commands[1][0], (0, ()), 0.0))
    assert (reply_of(written).status, reply_of(behind).service) == (0, 0xCC)
    assert session.complete(12345, (0, ()), 0.0) == b""


def test_routed_request_that_is_refused_in_the_same_breath_keeps_its_turn() -> None:
    client = Client(make_target(policy=RoutePolicy(forwards=True)))
    inner = request(0x0E, "@1/1/1")
    data = rr(routed(inner, "1/3"), client.handle) + rr(read("Nope"), client.handle)
    assert client.session.receive_data(data, 0.0) == b""
    (group,) = client.leaving()
    replies = frames(client.come_back(group, 0, bytes.fromhex("8e000000 0100")))
    assert [reply_of(item).status for item in replies] == [0, 5]


def test_connections_opened_one_after_the_other_are_each_known_and_no_more_kept_than_may_be() -> (
    None
):
    client = Client()
    for turn in range(70):
        connection = client.open(serial=turn % 2)
        for sequence in (1, 2, 3):
            assert client.ask_unit(read("N"), connection, sequence).status == 0


@pytest.mark.parametrize("wrap", [lambda message: message, lambda message: routed(message, "1/0")])
def test_packets_count_by_their_members_and_others_have_their_turn_between(wrap: Any) -> None:
    client = Client(make_target(policy=RoutePolicy(local=epath.parse_route_path("1/0"))))
    session = client.session
    large = wrap(packet([read("N")] * TURN))
    assert session.receive_data(rr(large, client.handle) * 3, 0.0)
    assert session.has_more
    assert session.receive_data(rr(read("N"), client.handle), 0.0) == b""
    assert session.take_output(0.0) == b"", "its turn has not come"
    replies = []
    for _ in range(3):
        session.has_more = False
        replies += frames(session.take_output(0.0))
    assert [reply_of(each).service for each in replies] == [0x8A, 0x8A, 0xCC]
    assert not session.has_more
    assert not session.outstanding


def test_requests_that_are_worked_out_anew_are_bounded_in_a_turn() -> None:
    client = Client()
    names = [f"A[{number}]" for number in range(TURN + 20)]
    sent = b"".join(rr(read(name), client.handle) for name in names)
    first = frames(client.session.receive_data(sent, 0.0))
    assert len(first) == TURN
    client.session.has_more = False
    assert len(frames(client.session.take_output(0.0))) == 20


def test_known_replies_that_changed_are_rendered_anew_so_many_in_a_turn() -> None:
    client = Client()
    large = packet([read("N")] * TURN)
    connection = client.open(size=4000, large=True)
    small = rr(packet([read("N")] * 30), client.handle)
    sequences = itertools.count(1)

    def ask() -> tuple[int, int]:
        """Replies at once, and in all."""
        on_it = b"".join(unit(large, client.handle, connection, next(sequences)) for _ in range(3))
        replies = client.session.receive_data(small * 2 + on_it, 0.0)
        at_once = len(frames(replies))
        while client.session.has_more:
            client.session.has_more = False
            replies += client.session.take_output(0.0)
        assert replies.count(value.to_bytes(4, "little")) >= 2 * 30 + 3 * TURN
        return at_once, len(frames(replies))

    for value in (0x11223344, 0x11223355, 0x11223366):
        client.target.image.variables["n"].set([value])
        assert ask()[1] == 5
        assert ask() == (5, 5)


def test_requests_of_two_connections_in_one_breath_go_to_each() -> None:
    client = Client()
    first, second = client.open(serial=1), client.open(serial=2)
    for turn in range(1, 9, 2):
        data = b"".join(
            unit(read("N"), client.handle, link, turn + place)
            for place in range(2)
            for link in (first, second)
        )
        replies = frames(client.session.receive_data(data, 0.0))
        counts = [int.from_bytes(item[44:46], "little") for item in replies]
        assert counts == [turn, turn, turn + 1, turn + 1]


def test_connected_read_that_was_known_is_refused_once_its_tag_is_stale() -> None:
    client = Client()
    feed(client, pressure=2.5, limit=10, pump=True)
    connection = client.open()
    for sequence in (1, 2):
        reply = client.ask_unit(read("boiler.limit"), connection, sequence, 1.1)
        assert reply.data == b"\xc4\0\x0a\0\0\0"
    feed(client, sequence=2, now=1.2, limit=11)
    client.target.image.expire(99.0)
    stale = client.ask_unit(read("boiler.limit"), connection, 3, 1.3)
    assert stale.extended[0] == 0x8002


def test_writes_that_leave_are_told_to_the_audit_with_what_came_of_each() -> None:
    client = forwarding()
    told: list[Tried] = []
    client.session.departures.audit = told.append
    for message in (
        read("X"),
        write("Y[2]", 0xC3, b"\7\0"),
        packet([read("X"), write("Z", 0xC4, b"\1\0\0\0")]),
        write("W", 0xC3, b"\1\0"),
    ):
        client.send(routed(message, "1/1"))
    groups = client.leaving()
    packed = MessageRouterReply(
        0x8A, 0, (), bytes.fromhex("0200 0600 0e00") + ONE[:8] + b"\xcd\0\0\0"
    )
    replies = [ONE, b"\xcd\0\xff\1\7\x21", packed.encode(), b"\xcd\0\0\0"]
    asked = [(group, place) for group in groups for place in range(group.count)]
    (last_group, last_place) = asked[3]
    client.come_back(last_group, last_place, replies[3])
    for (group, place), reply in zip(asked[:3], replies, strict=False):
        client.come_back(group, place, reply)
        client.come_back(group, place, reply)  # the second time it is nobody's
    assert [(each.tag, each.first, each.new, each.status) for each in told] == [
        ("1/1/W", 0, [1], 0),
        ("1/1/Y", 2, [7], 0xFF),
        ("1/1/Z", 0, [1], 0),
    ]
    assert {(each.address, each.session) for each in told} == {("10.0.0.1", "0x0000abcd")}


def test_write_that_nobody_answers_is_told_as_unknown() -> None:
    client = forwarding()
    told: list[Tried] = []
    client.session.departures.audit = told.append
    client.send(routed(write("Y", 0xC3, b"\7\0"), "1/1"))
    client.leaving()
    client.session.departures.expire(1_000.0)
    assert [(each.tag, each.status, each.unknown) for each in told] == [("1/1/Y", 1, True)]
