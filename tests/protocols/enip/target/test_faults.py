"""What each fault makes of a target's reply, and which requests it is for."""

import struct

import pytest

from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.cip.objects.multiple import packed
from cpppod.protocols.enip.encapsulation import HEADER, Frame
from cpppod.protocols.enip.originator.batch import encode_batch
from cpppod.protocols.enip.target.faults import KINDS, Fault, Faults, Message, parse_fault
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import read

SEVEN = b"\xcc\0\0\0\xc4\0\7\0\0\0"
WRAPPER = b"\x52\2\x20\6\x24\1\5\x9d"


def rr(message: bytes) -> Frame:
    data = struct.pack("<IHHHHHH", 0, 0, 2, 0, 0, 0xB2, len(message)) + message
    return Frame(0x6F, data, 5, 0, b"context!")


def unit(message: bytes, count: int) -> Frame:
    items = struct.pack("<HHHIHHH", 2, 0xA1, 4, 9, 0xB1, len(message) + 2, count)
    return Frame(0x70, struct.pack("<IH", 0, 0) + items + message, 5)


def struck(
    text: str, request: bytes = b"", reply: bytes = SEVEN, *, chance: float = 0.5
) -> Message:
    faults = Faults(lambda: chance)
    faults.add(parse_fault(text))
    return faults.strike(Message(rr(request or read("A")), rr(reply), previous=b"before"))


def told(message: Message) -> bytes:
    """The Message Router reply that leaves; the item says its size."""
    data = message.reply.data
    assert struct.unpack_from("<H", data, 14)[0] == len(data) - 16
    return data[16:]


FRAME = rr(SEVEN).encode()
WIRE = [
    ("silent", b""),
    ("half-open", b""),
    ("truncate", FRAME[:-1]),
    ("truncate:3", FRAME[:-3]),
    ("twice", FRAME * 2),
    ("stale", b"before" + FRAME),
    ("noise-before:a5", b"\xa5" + FRAME),
    ("noise-after:2", FRAME + b"\x80\x80"),
    ("length:9", FRAME[:2] + b"\x09\0" + FRAME[4:]),
    ("late:0", FRAME),
]


@pytest.mark.parametrize(("text", "expected"), WIRE)
def test_bytes_that_leave(text: str, expected: bytes) -> None:
    assert struck(text).encode() == expected


def test_when_the_bytes_leave() -> None:
    assert struck("late").delay_s == 5.0
    assert struck("late:1-3").delay_s == 2.0
    assert (struck("drip").pause_s, struck("drip").piece) == (0.01, 1)
    assert (struck("split:2").pause_s, struck("split").piece) == (2.0, 20)
    assert (struck("hang-up").hang_up_s, struck("hang-up:3").hang_up_s) == (0.0, 3.0)


HEADERS = [
    ("no-context", "context", bytes(8)),
    ("context", "context", bytes(each ^ 0x55 for each in b"context!")),
    ("session", "session", 6),
    ("session:0", "session", 0),
    ("status:3", "status", 3),
    ("command", "command", 0x63),
    ("command:0x70", "command", 0x70),
]


@pytest.mark.parametrize(("text", "field", "expected"), HEADERS)
def test_a_header_that_lies(text: str, field: str, expected: object) -> None:
    assert getattr(struck(text).reply, field) == expected


REPLIES = [
    ("refused", b"\xcc\0\x08\0"),
    ("refused:5", b"\xcc\0\x05\0"),
    ("refused:0xff:0x2105", b"\xcc\0\xff\1\x05\x21"),
    ("refused:1:0x204/7", b"\xcc\0\1\2\4\2\7\0"),
    ("limit:99", SEVEN),
    ("limit:4", b"\xcc\0\x11\0"),
    ("limit:4:0x02", b"\xcc\0\x02\0"),
    ("partial", b"\xcc\0\6\0\xc4\0\7"),
    ("partial:2", b"\xcc\0\6\0\xc4\0"),
    ("bytes", SEVEN[:-1]),
    ("bytes:-99", b"\xcc\0\0\0"),
    ("bytes:2", SEVEN + b"\0\0"),
    ("type", b"\xcc\0\0\0\xca\0\7\0\0\0"),
    ("service:0x4d", b"\xcd" + SEVEN[1:]),
]


@pytest.mark.parametrize(("text", "expected"), REPLIES)
def test_a_reply_that_is_another(text: str, expected: bytes) -> None:
    assert told(struck(text)) == expected


def test_a_refusal_has_no_type() -> None:
    assert told(struck("type", reply=b"\xcc\0\5\0")) == b"\xcc\0\5\0"


def test_sequence_counts_are_those_of_class_3_connections() -> None:
    faults = Faults(lambda: 0.5)
    faults.add(parse_fault("sequence"))
    reply = faults.strike(Message(unit(read("A"), 7), unit(SEVEN, 7))).reply
    assert reply.data[20:22] == b"\x08\0"
    assert told(struck("sequence")) == SEVEN
    faults.active = [parse_fault("sequence:3")]
    assert faults.strike(Message(unit(read("A"), 7), unit(SEVEN, 7))).reply.data[20:22] == b"\x03\0"
    faults.active = [parse_fault("repeat-zero")]
    sent = [faults.strike(Message(unit(read("A"), n), unit(SEVEN, n))).encode() for n in (0, 1)]
    assert [bool(each) for each in sent] == [False, True]
    assert faults.strike(Message(rr(read("A")), rr(SEVEN))).encode() == FRAME


def test_a_fault_of_a_tag_or_a_service_is_for_them_alone() -> None:
    assert told(struck("refused:5,tag=a", read("A[3]"))) == b"\xcc\0\5\0"
    assert told(struck("refused:5,tag=b", read("A[3]"))) == SEVEN
    assert told(struck("refused:5,service=0x4d", read("A"))) == SEVEN
    assert told(struck("refused:5,tag=A", b"\x01\x02\x20\x01\x24\x01")) == SEVEN
    assert told(struck("refused:5,tag=A", b"\x4c")) == SEVEN


def test_a_fault_of_a_tag_within_a_packet_changes_its_reply_alone() -> None:
    request = encode_batch([read("A"), read("B"), read("A")])
    reply = packed([SEVEN] * 3)
    changed = struck("refused:5,tag=B", request, reply)
    assert told(changed) == packed([SEVEN, b"\xcc\0\5\0", SEVEN])
    assert struck("silent,tag=B", request, reply).silent
    assert not struck("silent,tag=C", request, reply).silent
    assert told(struck("refused:8,service=0x0a", request, reply)) == b"\x8a\0\x08\0"
    assert told(struck("bytes:-1,service=0x4c", request, reply)) == packed([SEVEN[:-1]] * 3)
    whole = b"\x8a\0\x08\0"  # refused already: there is none within
    assert told(struck("bytes,tag=B", request, whole)) == whole
    broken = reply[:-3]
    assert told(struck("refused:5,tag=B", request, broken[:4])) == broken[:4]
    assert told(struck("refused:5,tag=B", b"\x0a\x02\x20\x02\x24\x01\3\0", reply)) == reply


def test_requests_along_a_route_are_looked_into() -> None:
    inner = read("B")
    wrapped = WRAPPER + struct.pack("<H", len(inner)) + inner
    wrapped += bytes(len(inner) & 1) + b"\1\0\1\0"
    assert told(struck("refused:5,tag=B", wrapped)) == b"\xcc\0\5\0"
    assert told(struck("refused:5,tag=B", WRAPPER)) == SEVEN


def test_sessions_are_refused_and_contexts_of_registrations_lost() -> None:
    request = Frame(0x65, b"\1\0\0\0", 0, 0, b"context!")
    reply = Frame(0x65, b"\1\0\0\0", 5, 0, b"context!")

    def registered(text: str) -> Frame:
        faults = Faults(lambda: 0.5)
        faults.add(parse_fault(text))
        return faults.strike(Message(request, reply)).reply

    assert registered("no-session")[2:4] == (0, 2)
    assert registered("no-session:1").status == 1
    assert registered("no-context").context == bytes(8)
    assert registered("silent") == reply
    assert struck("no-session").reply == rr(SEVEN)


def test_other_commands_and_replies_without_a_message_stay() -> None:
    faults = Faults(lambda: 0.5)
    faults.add(parse_fault("refused"))
    listed = Frame(0x63, b"")
    assert faults.strike(Message(listed, listed)).reply == listed
    refused = Frame(0x6F, b"", 5, 1)
    assert faults.strike(Message(rr(read("A")), refused)).reply == refused


def test_share_and_number_of_replies() -> None:
    faults = Faults(lambda: 0.5)
    message = Message(rr(read("A")), rr(SEVEN))
    faults.add(parse_fault("silent,rate=0.5"))
    assert not faults.strike(message).silent
    faults.active = [parse_fault("silent,times=1"), Fault("silent", times=0)]
    assert [faults.strike(message).silent for _ in range(2)] == [True, False]
    assert faults.active == []


def test_faults_say_themselves_as_they_are_written() -> None:
    for text in ("late:1", "refused:5,tag=a,service=0x4c,rate=0.5,times=3"):
        assert str(parse_fault(text)) == text


def test_every_kind_is_known_by_its_name_alone() -> None:
    for kind in KINDS:
        argument = ":1" if kind == "limit" else ""
        assert parse_fault(kind + argument).kind == kind


WRONG = [
    "",
    "none",
    "late:x",
    "noise-before:zz",
    "refused:x",
    "limit",
    "silent,tab=A",
    "silent,rate=x",
]


@pytest.mark.parametrize("text", [*WRONG, "noise-after:99999", "type:0x12345", "silent,rate=x"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(EncodeError, match="fault"):
        parse_fault(text)


def test_a_header_is_as_long_as_it_is() -> None:
    assert len(struck("status:3").encode()) == HEADER.size
    assert MessageRouterReply.decode(SEVEN).data[2:] == b"\7\0\0\0"
