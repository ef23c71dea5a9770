"""Data table buffers, request by request as gologix makes them, and who may use them."""

import struct
from typing import Any

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.objects.data_table import MAX_PER_SESSION, MAX_TAGS
from cpppod.protocols.cip.target import Target
from cpppod.protocols.model.plant import Device, Group, Tag
from cpppod.workers.listener.target import add_device
from tests.enip_frames import read, request
from tests.protocols.cip.conversation import ask, controller, words

ME = object()
CREATE = bytes.fromhex("0200 0800 00100000 0300 01")  # gologix: 4,096 bytes, one tag


def table(number: int) -> bytes:
    return bytes.fromhex("20b22500") + words(number)


def to(target: Target, service: int, number: int, data: bytes = b"", **origin: Any) -> Any:
    message = request(service, table(number), data)
    return ask(target, message, **({"session": ME, "connected": True} | origin))


def made(target: Target, **origin: Any) -> int:
    reply: MessageRouterReply = to(target, 0x08, 0, CREATE, **origin)
    assert reply.status == 0
    return int.from_bytes(reply.data, "little")


def entry(size: int, name: str) -> bytes:
    path = read(name)[2:-2]
    return struct.pack("<HB", size, len(path) // 2) + path


def addition(*tags: tuple[int, str]) -> bytes:
    return bytes((2, 0, 1, 1, len(tags))) + b"".join(entry(*tag) for tag in tags)


def test_tags_are_named_once_and_read_together_in_the_order_of_their_additions() -> None:
    target = controller()
    number = made(target)
    assert to(target, 0x4E, number, addition((4, "Count"), (2, "Row[3]"))).data == words(1)
    assert to(target, 0x4E, number, addition((4, "Motor.Counts[1]"))).data == words(2)
    assert to(target, 0x4E, number, addition((6, "Row"), (1, "Motor.Runs"))).data == words(3)
    target.image.variables["count"].set([7])
    target.image.variables["row"].set(list(range(10)))
    expected = words(1) + struct.pack("<ih", 7, 3) + words(2) + bytes(4)
    expected += words(3, 0, 1, 2) + b"\0"
    assert to(target, 0x4C, number).data == expected
    assert to(target, 0x4F, number, words(2)).status == 0
    assert to(target, 0x4F, number, words(3)).status == 0
    assert to(target, 0x4C, number).data == words(1) + b"\7\0\0\0" + words(3, 0, 1, 2) + b"\0"
    assert to(target, 0x09, number).status == 0
    assert to(target, 0x4C, number).status == 0x05


@pytest.mark.parametrize(
    ("service", "data", "status"),
    [
        (0x4E, addition((4, "Nowhere")), 0x05),
        (0x4E, addition((4, "Count"), (4, "Nowhere")), 0x05),
        (0x4E, addition((2, "Count")), 0xFF),
        (0x4E, addition((0, "Count")), 0xFF),
        (0x4E, addition((8, "Count")), 0xFF),
        (0x4E, addition((3, "Names")), 0x08),
        (0x4E, addition((4, "Count"))[:-1], 0x13),
        (0x4E, addition(), 0x03),
        (0x4E, b"\2\0\1", 0x13),
        (0x4F, words(1), 0x20),
        (0x4F, b"\1", 0x13),
        (0x52, words(1), 0x08),
        (0x77, b"", 0x08),
    ],
)
def test_what_a_buffer_cannot_hold_is_refused_and_leaves_it_as_it_was(
    service: int, data: bytes, status: int
) -> None:
    target = controller()
    number = made(target)
    assert to(target, service, number, data).status == status
    assert to(target, 0x4C, number).data == b""


def test_buffer_is_its_sessions_own_and_goes_with_it() -> None:
    target = controller()
    number = made(target)
    assert to(target, 0x4C, number, session=object()).status == 0x05
    assert to(target, 0x09, number, session=object()).status == 0x05
    assert to(target, 0x4C, number).status == 0
    target.drop_session(ME)
    assert to(target, 0x4C, number).status == 0x05
    assert made(target) != number


def test_buffers_and_their_tags_are_limited() -> None:
    target = controller()
    number, *_ = (made(target) for _ in range(MAX_PER_SESSION))
    assert to(target, 0x08, 0, CREATE).status == 0x02
    assert made(target, session=object())
    assert to(target, 0x08, 0, CREATE, session=None).status == 0x08
    for _ in range(MAX_TAGS // 250):
        assert to(target, 0x4E, number, addition(*[(4, "Count")] * 250)).status == 0
    assert to(target, 0x4E, number, addition((4, "Count"))).status == 0x02
    assert to(target, 0x4C, number, capacity=498).status == 0x11
    assert to(target, 0x4C, number, capacity=4_000).status == 0


def test_value_that_is_not_fresh_refuses_the_read_with_its_reason() -> None:
    target = controller()
    group = Group("g", 1.0, (Tag("level", "1", "INT"),))
    add_device(target, Device("pump", "modbus-tcp", "x:502", groups=(group,)))
    number = made(target)
    assert to(target, 0x4E, number, addition((4, "Count"), (2, "pump.level"))).status == 0
    reply = to(target, 0x4C, number)
    assert (reply.status, reply.extended[0], reply.data) == (0xFF, 0x8011, b"")
    target.image.apply_block(
        "pump", "g", publisher="p", epoch=1, sequence=1, read_at=0.0,
        tags=["level"], values=[5], qualities=0, now=0.0,
    )  # fmt: skip
    assert to(target, 0x4C, number).data == words(1, 0, 0, 5)


def test_tag_that_is_removed_or_fails_is_no_longer_read() -> None:
    target = controller()
    target.add_tag(Variable("Gone", types.INT))
    number = made(target)
    assert to(target, 0x4E, number, addition((2, "Gone"))).status == 0
    target.set_error(target.image.variables["gone"], 0x10)
    assert to(target, 0x4C, number).status == 0x10
    target.remove_tag("Gone")
    assert to(target, 0x4C, number).status == 0x05


def test_sampling_between_reads_is_refused_and_start_and_stop_are_answered() -> None:
    target = controller()
    number = made(target)
    idle = words(2, 1) + bytes(4) + words(5) + b"\0"
    assert to(target, 0x04, number, idle).status == 0
    sampled = words(1, 1) + struct.pack("<I", 10_000)
    reply = to(target, 0x04, number, sampled)
    assert (reply.status, reply.data) == (0x0A, words(1, 1, 0x09))
    assert [to(target, service, number).status for service in (0x06, 0x07)] == [0, 0]


@pytest.mark.parametrize("class_id", [0x43, 0x48, 0x6B, 0x6C, 0xB2])
def test_classes_tell_their_revision_and_instances(class_id: int) -> None:
    target = controller()
    path = bytes((0x20, class_id, 0x24, 0))
    whole = ask(target, request(0x01, path))
    assert (whole.status, len(whole.data)) == (0, 6)
    singles = [ask(target, request(0x0E, path + bytes((0x30, at)))).data for at in (1, 2, 3)]
    assert b"".join(singles) == whole.data
    assert int.from_bytes(singles[0], "little") >= 1
    listed = ask(target, request(0x03, path, words(2, 1, 3))).data
    assert listed == words(2, 1, 0) + singles[0] + words(3, 0) + singles[2]
    assert ask(target, request(0x0E, path + b"\x30\x63")).status == 0x14
    assert ask(target, request(0x10, path + b"\x30\x01", words(9))).status == 0x0E
    assert ask(target, request(0x77, path)).status in (0x05, 0x08)
    if class_id == 0x6B:
        assert singles[2] == words(len(target.symbols.controller.entries))


def test_symbol_tells_a_single_attribute_and_its_tag_where_none_is_named() -> None:
    target = controller()
    target.image.variables["count"].set([7])
    (number,) = [at for at, it in target.symbols.controller.entries.items() if it.name == "Count"]
    path = bytes.fromhex("206b2500") + words(number)
    assert ask(target, request(0x0E, path + b"\x30\x02")).data == words(0xC4)
    assert ask(target, request(0x0E, path)).data == b"\7\0\0\0"
    assert ask(target, request(0x0E, bytes.fromhex("206b2500fefe3002"))).status == 0x05


@pytest.mark.parametrize("path", ["20432401", "20482401", "20f92400", "20b22400"])
def test_what_is_not_served_says_so(path: str) -> None:
    for service in (0x01, 0x05, 0x4B, 0x4C, 0x55):
        if (service, path) == (0x01, "20b22400"):
            continue
        reply = ask(controller(), request(service, bytes.fromhex(path), words(1, 1)))
        assert reply.status in (0x05, 0x08, 0x04), (service, reply)
