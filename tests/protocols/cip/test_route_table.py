"""Where requests go by the first segment of their route, and what may pass."""

import pytest

from cpppod.protocols.cip import epath
from cpppod.protocols.cip.epath import Port
from cpppod.protocols.cip.route_table import (
    MAX_MEMBERS,
    AllowList,
    RouteDecision,
    RoutePolicy,
    RouteTable,
    links,
    ports_of,
    split_packet,
)
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import packet, read, request, write
from tests.protocols.cip.conversation import words


def path(text: str) -> bytes:
    return epath.encode(epath.parse_route_path(text))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("1/1", [(1, "1")]),
        (" 1 / 2 - 4 ", [(1, "2"), (1, "3"), (1, "4")]),
        ("2/10.0.0.5", [(2, "10.0.0.5")]),
        ("2/PLC.Example", [(2, "plc.example")]),
        ("2/2001:DB8::1", [(2, "2001:db8::1")]),
        ("65535/255", [(65535, "255")]),
        ("1/0-255", [(1, str(link)) for link in range(256)]),
    ],
)
def test_pattern_stands_for_its_links(pattern: str, found: list[tuple[int, str]]) -> None:
    assert links(pattern) == found


@pytest.mark.parametrize(
    "pattern", ["", "1", "1/", "/1", "0/1", "65536/1", "1/256", "1/0-256", "1/5-4", "1/a b", "x/1"]
)
def test_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(EncodeError):
        links(pattern)


def test_request_leaves_without_its_first_segment_and_the_first_route_keeps_a_link() -> None:
    table = RouteTable({"1/1": "a", "1/0-3": "b", "2/10.0.0.5": "c"})
    table.add("1/2", "late")
    assert table
    assert not RouteTable()
    assert table.find(path("1/1/2/10.0.0.9")) == ("a", path("2/10.0.0.9"))
    assert table.find(path("1/2")) == ("b", b"")
    assert table.find(path("2/10.0.0.5/1/0")) == ("c", path("1/0"))
    assert table.get(Port(1, 3)) == "b"
    assert table.get(Port(1, 4)) is None


@pytest.mark.parametrize(
    ("route", "status", "extended"),
    [
        (b"", 0x01, (0x0315,)),
        (path("1/4"), 0x01, (0x0312,)),
        (path("3/1"), 0x01, (0x0311,)),
        (path("2/10.0.0.6"), 0x01, (0x0312,)),
        (path("1/1") + bytes.fromhex("20022401"), 0x04, (0,)),
        (path("1/1" + "/1/0" * 8), 0x04, (0,)),
        (b"\x01", 0x04, (0,)),
    ],
)
def test_route_that_is_not_configured_says_what_is_wrong_with_it(
    route: bytes, status: int, extended: tuple[int, ...]
) -> None:
    table = RouteTable({"1/1": "a", "2/10.0.0.5": "c"})
    with pytest.raises(CipError) as caught:
        table.find(route)
    assert (caught.value.status, caught.value.extended) == (status, extended)


def test_path_of_as_many_hops_as_may_be_is_taken() -> None:
    assert len(ports_of(path("/".join(["1/0"] * 8)))) == 8


@pytest.mark.parametrize(
    ("policy", "route", "way"),
    [
        (RoutePolicy(), "", RouteDecision.LOCAL),
        (RoutePolicy(), "1/5/2/10.0.0.5", RouteDecision.LOCAL),
        (RoutePolicy(simple=True), "", RouteDecision.LOCAL),
        (RoutePolicy(simple=True), "1/0", 0x0311),
        (RoutePolicy(local=(Port(1, 2),)), "1/2", RouteDecision.LOCAL),
        (RoutePolicy(local=(Port(1, 2),)), "1/0", 0x0312),
        (RoutePolicy(local=(Port(1, 2),)), "2/0", 0x0311),
        (RoutePolicy(local=()), "1/0", 0x0311),
        (RoutePolicy(local=(Port(2, "PLC.a"),)), "2/plc.A", RouteDecision.LOCAL),
        (RoutePolicy(forwards=True), "1/0", RouteDecision.LOCAL),
        (RoutePolicy(forwards=True), "1/1", RouteDecision.FORWARD),
        (RoutePolicy(forwards=True), "1/0/1/0", RouteDecision.FORWARD),
    ],
)
def test_target_serves_its_own_path_forwards_or_refuses(
    policy: RoutePolicy, route: str, way: RouteDecision | int
) -> None:
    ports = epath.parse_route_path(route)
    if isinstance(way, RouteDecision):
        assert policy.decide(ports) is way
        return
    with pytest.raises(CipError) as caught:
        policy.decide(ports)
    assert caught.value.extended == (way,)


READ_ONLY = AllowList.configured(read_only=True, classes=(), sources=())


@pytest.mark.parametrize(
    "message",
    [
        read("Tag"),
        request(0x52, "Tag", b"\1\0\0\0\0\0"),
        request(0x0E, "@1/1/1"),
        request(0x01, "@1/1"),
        request(0x03, "@1/1", words(1, 1)),
        request(0x55, bytes.fromhex("206b2400"), words(1, 1)),
        packet([read("A"), read("B")]),
    ],
)
def test_read_only_route_lets_reads_pass(message: bytes) -> None:
    READ_ONLY.check(message, "10.0.0.5")


@pytest.mark.parametrize(
    "message",
    [
        write("Tag", 0xC3, b"\1\0"),
        request(0x10, "@1/1/1", b"\1\0"),
        request(0x05, "@1/1"),
        request(0x4B, "@0x67/1"),
        request(0x52, "@6/1", bytes(20)),  # Unconnected Send has the number of a read
        request(0x54, "@6/1", bytes(40)),
        packet([read("A"), write("B", 0xC3, b"\1\0")]),
        packet([packet([read("A")])]),  # what is in a packet of a packet is not looked at
        b"",
        b"\x4c\x09",
        request(0x4C, b"\xe0\0", b"\1\0"),
    ],
)
def test_read_only_route_refuses_the_rest_and_what_it_cannot_read(message: bytes) -> None:
    with pytest.raises(CipError) as caught:
        READ_ONLY.check(message, "10.0.0.5")
    assert caught.value.status == 0x0F


def test_route_of_some_classes_lets_only_those_pass_and_symbols_are_class_6b() -> None:
    tags = AllowList.configured(read_only=False, classes=(0x6B,), sources=())
    tags.check(read("Tag"), "")
    tags.check(request(0x4C, bytes.fromhex("206b2401"), b"\1\0"), "")
    tags.check(packet([write("A", 0xC3, b"\1\0")]), "")
    for message in (
        request(0x0E, "@1/1/1"),
        packet([read("A"), request(0x0E, "@1/1/1")]),
        request(0x0E, b""),
        request(0x0E, bytes.fromhex("2801")),
    ):
        with pytest.raises(CipError):
            tags.check(message, "")


def test_route_of_some_networks_looks_at_the_address_before_the_blank() -> None:
    allowed = AllowList.configured(read_only=False, classes=(), sources=("10.1.0.0/16", "::1"))
    for source in ("10.1.2.3", "10.1.2.3 (plc 4)", "::1"):
        allowed.check(b"", source)
    for source in ("10.2.0.1", "", "unix", "::2"):
        with pytest.raises(CipError) as caught:
            allowed.check(read("Tag"), source)
        assert caught.value.status == 0x0F


def test_source_that_is_no_network_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(EncodeError):
        AllowList.configured(read_only=False, classes=(), sources=("10.0.0.0/33",))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0x13),
        (b"\1", 0x13),
        (words(0), 0x20),
        (words(MAX_MEMBERS + 1) + bytes(2000), 0x20),
        (words(2, 6), 0x13),
        (words(1, 4), 0x13),
        (words(1, 4) + b"\1", 0x13),
        (words(2, 5, 6) + bytes(8), 0x13),
        (words(2, 6, 99) + bytes(8), 0x13),
        (words(2, 8, 6) + bytes(8), 0x20),
        (words(2, 6, 6) + bytes(8), 0x20),
        (words(2, 6, 14) + bytes(8), 0x20),
    ],
)
def test_packet_whose_offsets_lie_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(CipError) as caught:
        split_packet(data)
    assert caught.value.status == status


def test_packet_of_as_many_members_as_may_be_is_split_and_a_single_offset_not_believed() -> None:
    members = [b"\x4c\0"] * MAX_MEMBERS
    assert split_packet(packet(members)[6:]) == members
    assert split_packet(words(1, 0xFFFF) + b"\x4c\0") == [b"\x4c\0"]
