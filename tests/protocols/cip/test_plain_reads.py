"""Reads in a packet are answered like reads alone, the plain ones among them too."""

import pytest

from cpppod.protocols.cip import structures, types
from cpppod.protocols.cip.image import Reply, Variable
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.cip.target import Target
from cpppod.protocols.enip.originator.batch import decode_batch, encode_batch
from cpppod.protocols.enip.originator.layout import read_request
from cpppod.protocols.enip.originator.operations import parse_operations

NAMES = ("Count", "odd", "REAL4", "Many", "Many[2]", "Text", "Logix", "Broken", "Nobody", "Flag")


def made() -> Target:
    target = Target(random_u32=lambda: 1, clock_us=lambda: 0)
    for name, kind, dimensions in (
        ("Count", types.DINT, ()),
        ("Odd", types.SINT, ()),
        ("Real4", types.REAL, ()),
        ("Many", types.INT, (4,)),
        ("Text", types.SSTRING, ()),
        ("Logix", structures.STRING, ()),
        ("Broken", types.DINT, ()),
        ("Flag", types.BOOL, ()),
    ):
        target.add_tag(Variable(name, kind, dimensions))
    target.image.variables["count"].set([7])
    target.image.variables["many"].set([1, 2, 3, 4])
    target.set_error(target.image.variables["broken"], 0x0C)
    return target


def rendered(target: Target, message: bytes, capacity: int = 504) -> bytes:
    outcome = target.execute(message, Origin(target.image, "peer", capacity))
    assert isinstance(outcome, bytes | Reply)
    return outcome.render() if isinstance(outcome, Reply) else outcome


def request(text: str) -> bytes:
    (operation,) = parse_operations([text])
    made = read_request(operation)
    assert made is not None
    return made[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_read_in_a_packet_is_answered_like_one_alone(name: str) -> None:
    target = made()
    requests = [request("Count"), request(name), request("Count")]
    packet = rendered(target, encode_batch(requests))
    replies = decode_batch(packet[4:], [0x4C] * 3)
    assert [reply.encode() for reply in replies] == [rendered(target, item) for item in requests]


def test_a_remembered_packet_shows_what_was_written_since() -> None:
    target = made()
    outcome = target.execute(
        encode_batch([request("Count"), request("Odd")]), Origin(target.image, "peer", 504)
    )
    assert isinstance(outcome, Reply)
    target.image.variables["count"].set([9])
    assert decode_batch(outcome.render()[4:], [0x4C] * 2)[0].data == b"\xc4\0\x09\0\0\0"


@pytest.mark.parametrize("flaw", [b"\x4c\x03\x91\x06Coun\x01\0", b"\x4c\x03\x91\x00Coun\x01\0"])
def test_a_name_whose_length_lies_is_refused_in_a_packet_too(flaw: bytes) -> None:
    target = made()
    packet = rendered(target, encode_batch([request("Count"), flaw]))
    (_, reply) = decode_batch(packet[4:], [0x4C] * 2)
    assert reply.encode() == rendered(target, flaw)
    assert reply.status


def test_whoever_observes_sees_the_reads_of_a_packet() -> None:
    target = made()
    seen: list[str] = []
    target.observe = lambda kind, variable, first, count: seen.append(variable.name)
    rendered(target, encode_batch([request("Count"), request("Odd")]))
    assert seen == ["Count", "Odd"]
