"""What the audit is told of every way to write by CIP: tag, elements, old, new, outcome."""

import struct
from typing import Any

import pytest

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.failures import unrouted
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.objects.pccc import pccc_class
from cpppod.protocols.cip.request import (
    Origin,
    RecordNeeded,
    Tried,
    WriteNeeded,
    WriteResult,
)
from cpppod.protocols.cip.target import Target
from cpppod.protocols.cip.write_attempts import relayed, relayed_outcomes, settled
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.protocols.model.writing import RateLimit
from cpppod.workers.listener.target import add_device
from tests.enip_frames import packet, read, request, write
from tests.protocols.cip.conversation import UDT, ask, controller, pending, words

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "x:502",
    groups=(
        Group(
            "g",
            1.0,
            (
                Tag("level", "1", "DINT", writable=True, flat_name="boiler_level"),
                Tag("curve", "2", "INT", length=4, writable=True),
                Tag("temperature", "3", "DINT"),
            ),
        ),
    ),
)


def audited(**options: Any) -> tuple[Target, list[Tried]]:
    """A controller with a device, and what its audit was told."""
    target, told = controller(**options), list[Tried]()
    add_device(target, BOILER)
    target.image.apply_block(
        "boiler", "g", publisher="p", epoch=1, sequence=1, repeat=False, read_at=0.0,
        tags=["level", "curve", "temperature"], values=[5, [1, 2, 3, 4], 20], qualities=0, now=0.0,
    )  # fmt: skip
    target.audit = told.append
    return target, told


def fragment(tag: str, code: int, count: int, offset: int, raw: bytes) -> bytes:
    return request(0x53, tag, struct.pack("<HHI", code, count, offset) + raw)


@pytest.mark.parametrize(
    ("message", "tag", "first", "old", "new", "status"),
    [
        (write("Count", 0xC4, struct.pack("<i", 9)), "Count", 0, [0], [9], 0),
        (write("count", 0xC4, struct.pack("<i", 9)), "Count", 0, [0], [9], 0),
        (write("Row[3]", 0xC3, words(7, 8), 2), "Row", 3, [0, 0], [7, 8], 0),
        (fragment("Row", 0xC3, 10, 6, words(5, 6)), "Row", 3, [0, 0], [5, 6], 0),
        (write("Names[1]", 0xD0, b"\2\0ab"), "Names", 1, [""], ["ab"], 0),
        (write("Motor.Counts[2]", 0xC4, struct.pack("<i", 1)), "Motor.Counts", 2, [0], [1], 0),
        (write("Motor.Runs", 0xC1, b"\1"), "Motor.Runs", 0, [False], [True], 0),
        (
            request(0x4D, "Motor", b"\xa0\2" + words(UDT.handle, 1) + bytes(UDT.size)),
            "Motor", 0, [bytes(UDT.size)], [bytes(UDT.size)], 0,
        ),
        (
            request(0x4E, "Count", words(4) + b"\1\0\0\0" + b"\xff\xff\xff\xff"),
            "Count", 0, [0], ["or 0x00000001 and 0xffffffff"], 0,
        ),
        (request(0x10, "Count", struct.pack("<i", 4)), "Count", 0, [0], [4], 0),
        (request(0x10, "Count", b"\1"), "Count", 0, [0], [b"\1"], 0x13),
        (write("Nothing[2]", 0xC3, words(1)), "Nothing", 2, None, [1], 0x05),
        (write("Count", 0xC3, words(1)), "Count", 0, [0], [1], 0xFF),
        (write("Row[9]", 0xC3, words(7, 8), 2), "Row", 9, [0], [7, 8], 0xFF),
        (request(0x4D, "Count", b"\xc4"), "Count", 0, [0], [b"\xc4"], 0x13),
        (request(0x4D, "Count", b"\xc4\0"), "Count", 0, None, [], 0x13),
        (write("boiler.temperature", 0xC4, bytes(4)), "boiler.temperature", 0, [20], [0], 0x0F),
        (request(0x10, "@0x64/1/1", b"\1"), "@0x64/1/1", 0, None, [b"\1"], 0x0E),
        (request(0x02, "@1/1", b"\1\2"), "@0x01/1", 0, None, [b"\1\2"], 0x08),
    ],
)  # fmt: skip
def test_write_that_is_answered_here_is_told(
    message: bytes, tag: str, first: int, old: Any, new: Any, status: int
) -> None:
    target, told = audited()
    assert ask(target, message).status == status
    (tried,) = told
    assert (tried.tag, tried.first, tried.old, tried.new) == (tag, first, old, new)
    assert tried.status == status
    assert bool(tried.why) == bool(status)
    assert tried.address == "10.0.0.9"


def test_address_of_a_tag_is_told_by_its_name() -> None:
    target, told = audited()
    address = target.image.variables["row"].address
    assert address is not None
    path = epath.class_path(*address) + bytes((0x28, 4))
    ask(target, request(0x4D, path, words(0xC3, 1, 77)))
    assert (told[0].tag, told[0].first, told[0].new) == ("Row", 4, [77])


def test_reads_and_connections_are_told_nothing() -> None:
    target, told = audited()
    ask(target, read("Count"))
    ask(target, request(0x0E, "Count"))
    ask(target, request(0x4E, "@6/1", bytes(12)))  # Forward Close has RMW's number
    ask(target, request(0x4B, "@1/1", b""))
    ask(target, request(0x4B, "@0x67/1", b""))
    assert told == []


def test_who_may_not_write_is_told_with_his_session() -> None:
    target, told = audited()

    class Session:
        handle = 0x1234

    origin = Origin(target.image, "10.0.0.8", may_write=False, session=Session())
    target.execute(write("Count", 0xC4, bytes(4)), origin)
    assert (told[0].status, told[0].address, told[0].session) == (0x0F, "10.0.0.8", "0x00001234")


@pytest.mark.parametrize(
    ("path", "first", "old"), [("boiler.level", 0, [5]), ("boiler_level", 0, [5])]
)
def test_reply_of_a_write_to_a_device_waits_for_its_record(
    path: str, first: int, old: list[Any]
) -> None:
    target, told = audited()
    left = pending(target, write(path, 0xC4, struct.pack("<i", 6)))
    assert isinstance(left.command, WriteNeeded)
    recording = left.resume(WriteResult(0x1F, (2,), unknown=False, why="illegal data address"))
    assert not isinstance(recording, bytes)
    assert isinstance(recording.command, RecordNeeded)
    tried = recording.command.tried
    assert (tried.tag, tried.first, tried.old, tried.new) == ("boiler.level", first, old, [6])
    assert (tried.status, tried.extended, tried.why) == (0x1F, (2,), "illegal data address")
    reply = recording.resume(None)
    assert isinstance(reply, bytes)
    assert MessageRouterReply.decode(reply).status == 0x1F
    assert told == []


def test_outcome_that_nobody_knows_is_told_so() -> None:
    target, _ = audited()
    left = pending(target, write("boiler.curve[2]", 0xC3, words(9, 9), 2))
    recording = left.resume(WriteResult(1, (0x0204,), unknown=True))
    assert not isinstance(recording, bytes)
    assert isinstance(recording.command, RecordNeeded)
    tried = recording.command.tried
    assert (tried.first, tried.old, tried.unknown) == (2, [3, 4], True)


def test_value_that_is_not_fresh_is_not_told_as_old() -> None:
    target, _ = audited()
    target.image.advance(1_000.0)
    left = pending(target, write("boiler.level", 0xC4, struct.pack("<i", 6)))
    recording = left.resume(WriteResult(0, ()))
    assert not isinstance(recording, bytes)
    assert isinstance(recording.command, RecordNeeded)
    assert recording.command.tried.old is None


def test_every_member_of_a_packet_is_told() -> None:
    target, told = audited()
    members = [write("Count", 0xC4, bytes(4)), read("Count"), write("No", 0xC3, words(1))]
    ask(target, packet(members), capacity=500)
    assert [(each.tag, each.status) for each in told] == [("Count", 0), ("No", 5)]


def test_no_write_is_done_where_it_must_be_recorded_and_cannot() -> None:
    target, told = audited()
    target.may_record = lambda: False
    assert ask(target, write("Count", 0xC4, struct.pack("<i", 9))).status == 0x10
    assert target.image.variables["count"].get() == [0]
    assert [each.status for each in told] == [0x10]
    assert ask(target, read("Count")).status == 0


def test_local_tag_that_is_written_too_often_is_refused_whichever_way() -> None:
    target, told = audited()
    variable = target.image.variables["count"]
    variable.rate = RateLimit("2/min")
    address = variable.address
    assert address is not None
    ways = (
        write("Count", 0xC4, struct.pack("<i", 1)),
        request(0x10, epath.class_path(*address), struct.pack("<i", 2)),
        request(0x4E, "Count", words(4) + bytes(4) + b"\xff\xff\xff\xff"),
        request(0x10, "Count", struct.pack("<i", 3)),
        request(0x10, epath.class_path(*address), struct.pack("<i", 4)),
    )
    assert [ask(target, message).status for message in ways] == [0, 0, 2, 2, 2]
    assert variable.get() == [2]
    assert told[-1].why == "resource unavailable: written too often: at most 2/min"
    target.image.advance(60.0)
    assert ask(target, ways[0]).status == 0


def pccc(function: int, *, status_byte: int = 0) -> bytes:
    """Execute PCCC of a requester of 7 bytes, with a function on a file."""
    body = bytes((7, *bytes(6), 0x0F, status_byte, 1, 0, function, 2, 7, 0x89, 0, 0, 5, 0))
    return request(0x4B, "@0x67/1", body)


def test_files_of_old_controllers_are_told_too() -> None:
    target, told = audited()
    target.add_class(pccc_class("1747-L552", ["N7[10]"]))
    assert ask(target, pccc(0xAA)).status == 0
    assert [(each.tag, each.status) for each in told] == [("@0x67 PCCC function 0xaa", 0)]
    ask(target, pccc(0xA2))
    assert len(told) == 1


def test_refusal_of_pccc_is_a_failure() -> None:
    reply = MessageRouterReply(0xCB, 0, (), bytes((7, *bytes(6), 0x4F, 0x10, 1, 0))).encode()
    assert settled(Tried("x", 0, None, []), reply).status == 0x10
    assert settled(Tried("x", 0, None, []), b"\xcb\0\0\0").status == 0
    assert settled(Tried("x", 0, None, []), b"").unknown


# Requests that go to another device


def test_writes_that_are_passed_on_are_told_by_their_bytes() -> None:
    one = write("Recipe[3]", 0xC3, words(7))
    (tried,) = relayed(one)
    assert (tried.tag, tried.first, tried.old, tried.new) == ("Recipe", 3, None, [7])
    assert [each.status for each in relayed_outcomes(one, [tried], b"\xcd\0\x0f\0")] == [0x0F]
    lost = unrouted(one, b"\1\1", 0x0204)
    (after,) = relayed_outcomes(one, [tried], lost)
    assert (after.status, after.unknown) == (1, True)
    refused = unrouted(one, b"\1\1", 0x0312)
    (after,) = relayed_outcomes(one, [tried], refused)
    assert (after.status, after.unknown) == (1, False)


def test_members_that_are_passed_on_have_their_own_outcomes() -> None:
    whole = packet([read("A"), write("B", 0xC3, words(1)), write("C", 0xC3, words(2))])
    attempts = relayed(whole)
    assert [each.tag for each in attempts] == ["B", "C"]
    replies = [b"\xcc\0\0\0\xc3\0\1\0", b"\xcd\0\0\0", b"\xcd\0\x05\0"]
    table = struct.pack("<4H", 3, 8, 16, 20)
    reply = MessageRouterReply(0x8A, 0x1E, (), table + b"".join(replies)).encode()
    assert [each.status for each in relayed_outcomes(whole, attempts, reply)] == [0, 5]
    whole_refused = b"\x8a\0\x08\0"
    assert [each.status for each in relayed_outcomes(whole, attempts, whole_refused)] == [8, 8]
    unsent = unrouted(whole, b"\1\1", 0x0311)
    assert [each.status for each in relayed_outcomes(whole, attempts, unsent)] == [1, 1]


@pytest.mark.parametrize(
    "message", [read("A"), b"", b"\x4d", b"\x0a\2\x20\2\x24\1", request(0x54, "@6/1", bytes(9))]
)
def test_what_writes_nothing_is_passed_on_without_a_word(message: bytes) -> None:
    assert relayed(message) == []
