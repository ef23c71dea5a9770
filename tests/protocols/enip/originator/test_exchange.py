"""Reads and writes in fragments and packets, against targets that do it right and wrong."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.originator.carrier import MessageBudget
from cpppod.protocols.enip.originator.exchange import Exchange, Part, format_target
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.operations import parse_operations
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.model.errors import EncodeError
from tests.protocols.enip.originator.scripted_target import perform, read_reply

VALUES = list(range(1000))
DATA = struct.pack("<1000i", *VALUES)


def fragmenting(request: bytes, *, at_most: int = 480) -> bytes:
    """A sound target that holds `DATA` and sends at most `at_most` bytes at once."""
    service, offset = request[0], 0
    if service == 0x52:
        (offset,) = struct.unpack("<I", request[-4:])
    piece = DATA[offset : offset + at_most]
    status = 6 if offset + len(piece) < len(DATA) else 0
    return read_reply(service, piece, status=status)


READ = [{"path": "Big", "elements": 1000}]


@pytest.mark.parametrize("depth", [1, 4, 50])
@pytest.mark.parametrize("at_most", [40, 480, 4000])
def test_a_long_read_comes_together_from_fragments(depth: int, at_most: int) -> None:
    (result,) = perform(READ, lambda r: fragmenting(r, at_most=at_most), depth=depth)
    assert result.value == VALUES


def test_once_the_size_is_known_all_fragments_are_asked_for_at_once() -> None:
    rounds: list[int] = []

    def respond(request: bytes) -> bytes:
        rounds.append(request[0])
        return fragmenting(request)

    (result,) = perform(READ, respond, depth=50, rounds=3)
    assert result.value == VALUES
    assert rounds == [0x4C] + [0x52] * 8


def test_fragments_that_are_shorter_than_expected_are_completed() -> None:
    lengths = iter([480, 100, 200, 4, 480] + [300] * 100)
    (result,) = perform(READ, lambda r: fragmenting(r, at_most=next(lengths)), depth=3)
    assert result.value == VALUES


def test_an_empty_part_is_asked_for_again_once() -> None:
    replies = iter([0])

    def respond(request: bytes) -> bytes:
        if next(replies, None) == 0:
            return bytes((request[0] | 0x80, 0, 6, 0))
        return fragmenting(request)

    (result,) = perform(READ, respond)
    assert result.value == VALUES


def lying(change: Callable[[bytes, int], bytes]) -> Callable[[bytes], bytes]:
    """A target that answers its second request by `change` of the reply."""
    count = 0

    def respond(request: bytes) -> bytes:
        nonlocal count
        count += 1
        return change(fragmenting(request), count)

    return respond


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r, n: r if n == 1 else r[:4] + b"\xca\0" + r[6:], "type changed"),  # P04
        (lambda r, n: bytes((r[0], 0, 6, 0)), "none sent"),  # P05
        (lambda r, n: bytes((r[0], 0, 6, 0)) + b"\xc4\0", "none sent"),  # P05
        (lambda r, n: r[:2] + b"\0\0" + r[4:], "bytes of 4000"),  # ends early
        (lambda r, n: r[:6] + DATA + b"\0\0\0\0", "bytes of 4000"),  # P06
        (lambda r, n: r[:5], "without a type"),
        (lambda r, n: r[:2] + b"\0\0" + b"\x99\0" + DATA, "unknown type"),
    ],
)
def test_a_target_that_lies_about_fragments_gives_no_value(change: Any, reason: str) -> None:
    with pytest.raises(SessionViolated, match=reason):
        perform(READ, lying(change))


def test_p06_more_elements_than_asked_are_refused() -> None:
    with pytest.raises(SessionViolated):
        perform([{"path": "T"}], lambda r: read_reply(r[0], struct.pack("<2i", 1, 2)))


@pytest.mark.parametrize("length", [83, 2**31 - 1, -1, -(2**31)])
def test_p07_a_string_with_an_impossible_length_is_refused(length: int) -> None:
    element = struct.pack("<i", length) + bytes(84)
    with pytest.raises(SessionViolated):
        perform([{"path": "T"}], lambda r: read_reply(r[0], element, kind=b"\xa0\x02\xce\x0f"))


def test_p07_a_counted_string_longer_than_the_reply_is_refused() -> None:
    with pytest.raises(SessionViolated):
        perform([{"path": "T"}], lambda r: read_reply(r[0], b"\xff\xffabc", kind=b"\xd0\0"))


def test_a_target_that_refuses_what_is_too_long_is_asked_for_fragments() -> None:
    def respond(request: bytes) -> bytes:
        return bytes((0xCC, 0, 0x11, 0)) if request[0] == 0x4C else fragmenting(request)

    (result,) = perform(READ, respond)
    assert result.value == VALUES


def test_a_failure_on_the_way_is_the_status_of_all_of_it() -> None:
    def change(reply: bytes, count: int) -> bytes:
        return reply if count < 3 else bytes((reply[0], 0, 0xFF, 1, 5, 0x21))

    (result,) = perform(READ, lying(change))
    assert (result.value, result.status, result.extended) == (None, 0xFF, (0x2105,))
    assert "out of range" in result.text


class Memory:
    """A target that keeps what is written to it."""

    def __init__(self) -> None:
        self.data = bytearray(4000)
        self.services: list[int] = []

    def __call__(self, request: bytes) -> bytes:
        service, start = request[0], 2 + 2 * request[1]
        self.services.append(service)
        body = request[start:]
        offset = struct.unpack_from("<I", body, 4)[0] if service == 0x53 else 0
        data = body[8:] if service == 0x53 else body[4:]
        self.data[offset : offset + len(data)] = data
        return bytes((service | 0x80, 0, 0, 0))


@pytest.mark.parametrize("depth", [1, 8])
def test_a_long_write_goes_out_in_fragments(depth: int) -> None:
    memory = Memory()
    operation = {"method": "write", "path": "Big", "tag_type": 0xC4, "data": VALUES}
    (result,) = perform([operation], memory, depth=depth)
    assert result.value is True
    assert bytes(memory.data) == DATA
    assert set(memory.services) == {0x53}


def test_a_short_write_is_one_request() -> None:
    memory = Memory()
    perform([{"method": "write", "path": "T", "tag_type": 0xC4, "data": [1, 2]}], memory)
    assert memory.services == [0x4D]


def test_a_value_that_does_not_fit_fails_after_the_operations_before_it() -> None:
    asked = []

    def respond(request: bytes) -> bytes:
        asked.append(request)
        return read_reply(request[0], b"\1\0\0\0")

    too_large = {"method": "write", "path": "T", "tag_type": 0xC2, "data": [256]}
    with pytest.raises(EncodeError, match="SINT"):
        perform([{"path": "T"}, too_large, {"path": "T"}], respond)
    assert len(asked) == 1


def test_a_bit_is_read_from_its_word_and_written_by_masks() -> None:
    seen = []

    def respond(request: bytes) -> bytes:
        seen.append(request)
        if request[0] == 0x4E:
            return b"\xce\0\0\0"
        return read_reply(request[0], struct.pack("<i", 0b1000))

    operations = list(parse_operations(["W.3", "W.0", "W.5=1", "W.3=0"]))
    values = [result.value for result in perform(operations, respond)]
    assert values == [[True], [False], True, True]
    masks = [request[6:] for request in seen if request[0] == 0x4E]
    assert masks == [
        struct.pack("<HII", 4, 0x20, 0xFFFFFFFF),
        struct.pack("<HII", 4, 0, 0xFFFFFFF7),
    ]


def test_a_bit_beyond_the_word_is_a_type_mismatch() -> None:
    (result,) = perform(
        list(parse_operations(["W.17=1"])), lambda r: read_reply(r[0], b"\0\0", kind=b"\xc3\0")
    )
    assert (result.status, result.extended) == (0xFF, (0x2107,))


def test_bit_of_what_is_no_integer_is_a_type_mismatch() -> None:
    for kind, data in ((b"\xca\0", b"\0\0\0\0"), (b"\xc1\0", b"\xff"), (b"\xda\0", b"\1a")):
        operation = next(parse_operations(["W.0=1"]))
        (written,) = perform([operation], lambda r, k=kind, d=data: read_reply(r[0], d, kind=k))  # type: ignore[misc]
        assert (written.value, written.extended) == (None, (0x2107,))
    read = next(parse_operations(["W.8"]))
    (result,) = perform([read], lambda r: read_reply(r[0], b"\0", kind=b"\xc2\0"))
    assert (result.value, result.extended) == (None, (0x2107,))


def test_word_of_a_bit_that_cannot_be_read_or_changed_is_its_status() -> None:
    (operation,) = parse_operations(["W.0=1"])
    (result,) = perform([operation], lambda r: bytes((r[0] | 0x80, 0, 5, 1, 0, 0)))
    assert (result.value, result.status) == (None, 5)

    def refusing(request: bytes) -> bytes:
        if request[0] == 0x4E:
            return b"\xce\0\x0f\0"
        return read_reply(request[0], b"\0\0\0\0")

    (result,) = perform([operation], refusing)
    assert (result.value, result.status) == (None, 0x0F)


def test_word_of_a_bit_that_comes_late_is_asked_for_again() -> None:
    replies = iter((b"\xcc\0\6\0", read_reply(0x52, b"\0\0\0\0"), b"\xce\0\0\0"))
    (operation,) = parse_operations(["W.0=1"])
    (result,) = perform([operation], lambda _: next(replies))
    assert result.value is True


def test_write_that_is_refused_on_its_way_is_over_and_later_replies_change_nothing() -> None:
    count = 0

    def respond(request: bytes) -> bytes:
        nonlocal count
        count += 1
        return bytes((request[0] | 0x80, 0, 0x0F if count == 2 else 0, 0))

    operation = {"method": "write", "path": "Big", "tag_type": 0xC4, "data": VALUES}
    (result,) = perform([operation], respond, depth=50)
    assert (result.value, result.status) == (None, 0x0F)


def test_read_that_failed_takes_no_later_fragment() -> None:
    count = 0

    def respond(request: bytes) -> bytes:
        nonlocal count
        count += 1
        return bytes((request[0] | 0x80, 0, 0x0F, 0)) if count == 2 else fragmenting(request)

    (result,) = perform(READ, respond, depth=50)
    assert (result.value, result.status) == (None, 0x0F)


def test_strings_and_unknown_structures_come_together_one_fragment_after_the_other() -> None:
    pieces = [types.STRING.pack(["ab", "cd"]), types.STRING.pack(["ef"])]
    offsets: list[int] = []

    def respond(request: bytes) -> bytes:
        offset = struct.unpack("<I", request[-4:])[0] if request[0] == 0x52 else 0
        offsets.append(offset)
        status = 6 if not offset else 0
        return read_reply(request[0], pieces[bool(offset)], status=status, kind=b"\xd0\0")

    (result,) = perform([{"path": "T", "elements": 3}], respond, depth=10)
    assert result.value == ["ab", "cd", "ef"]
    assert offsets == [0, len(pieces[0])]


def test_elements_that_lack_at_the_end_are_no_value() -> None:
    with pytest.raises(SessionViolated, match="2 elements, 3 asked"):
        perform(
            [{"path": "T", "elements": 3}],
            lambda r: read_reply(r[0], types.STRING.pack(["a", "b"]), kind=b"\xd0\0"),
        )


def test_read_of_more_than_any_tag_holds_is_given_up() -> None:
    piece = bytes(60_000)
    with pytest.raises(SessionViolated, match="bytes of one tag"):
        perform(
            [{"path": "T", "elements": 65535}],
            lambda r: read_reply(r[0], piece, status=6, kind=b"\xa0\2\x34\x12"),
        )


def test_fragment_of_a_read_that_was_given_an_offset_is_what_lies_behind_it() -> None:
    (result,) = perform([{"path": "Big", "elements": 1000, "offset": 3600}], fragmenting)
    assert result.value == VALUES[900:]


def test_write_for_which_there_is_no_room_at_all_is_refused() -> None:
    operation = {"path": "T", "tag_type": 0xC4, "data": [1, 2]}
    exchange = make_exchange(operation, {})
    with pytest.raises(EncodeError, match="room"):
        exchange.next_part(MessageBudget(14, 500))


def test_element_larger_than_a_message_is_written_in_parts_of_it() -> None:
    memory = Memory()
    operation = {"path": "T", "data": [bytes(range(200)) * 4], "tag_type": 0x02A0, "handle": 0x1234}
    exchange = make_exchange(operation, {})
    sent = []
    while (part := exchange.next_part(MessageBudget(100, 500))) is not None:
        sent.append(part.request)
        exchange.receive(part, MessageRouterReply(0xD3))
    assert b"".join(request[16:] for request in sent) == bytes(range(200)) * 4
    assert exchange.value is True
    assert not memory.services


def test_exchange_that_has_no_requests_of_its_own_says_so() -> None:
    exchange = Exchange({"path": [{"symbolic": "T"}]}, b"")
    part = Part(exchange, b"", 0, 0)
    with pytest.raises(TypeError):
        exchange.next_part(MessageBudget(1, 1))
    with pytest.raises(TypeError):
        exchange.receive(part, MessageRouterReply(0xCC))


@pytest.mark.parametrize(
    ("operation", "shown"),
    [
        ({"path": "as typed[3]"}, "as typed[3]"),
        ({"path": b"\x20\x01"}, "2001"),
        ({"path": [{"symbolic": "A"}, {"element": 3}], "elements": 4}, "A[3-6]"),
        ({"path": [{"symbolic": "A"}, {"element": 3}]}, "A[3]"),
        ({"path": [{"symbolic": "A"}], "bit": 5}, "A.5"),
        ({"path": []}, ""),
    ],
)
def test_operation_is_named_by_its_path_and_range(operation: dict[str, Any], shown: str) -> None:
    assert format_target(operation) == shown


# -- Multiple Service Packets ---------------------------------------------------------------------


def batch_reply(replies: list[bytes], *, count: int | None = None, shift: int = 0) -> bytes:
    table = 2 + 2 * len(replies)
    offsets, at = [], table + shift
    for reply in replies:
        offsets.append(at)
        at += len(reply)
    head = struct.pack(f"<H{len(replies)}H", len(replies) if count is None else count, *offsets)
    return b"\x8a\0\0\0" + head + b"".join(replies)


def unpacked(request: bytes) -> list[bytes]:
    body = request[6:]
    (count,) = struct.unpack_from("<H", body)
    offsets = [*struct.unpack_from(f"<{count}H", body, 2), len(body)]
    return [body[offsets[at] : offsets[at + 1]] for at in range(count)]


def counting(request: bytes) -> bytes:
    """A target whose every tag holds 7."""
    if request[0] == 0x0A:
        return batch_reply([counting(own) for own in unpacked(request)])
    return read_reply(request[0], struct.pack("<i", 7))


TAGS = [{"path": f"Tag{number}"} for number in range(100)]


def test_packets_are_filled_to_the_limit_and_no_further() -> None:
    sizes = []

    def respond(request: bytes) -> bytes:
        sizes.append(len(request))
        return counting(request)

    results = perform(TAGS, respond, multiple=500)
    assert [result.value for result in results] == [[7]] * 100
    assert max(sizes) <= 500
    assert len(sizes) <= 4
    assert results[0].description == "Multi. Read  Tag  Tag0"
    assert results[0].index == 0


def test_a_failing_member_fails_alone() -> None:
    def respond(request: bytes) -> bytes:
        replies = [counting(own) for own in unpacked(request)]
        replies[1] = b"\xcc\0\x05\1\0\0"
        reply = batch_reply(replies)
        return reply[:2] + b"\x1e" + reply[3:]

    results = perform(TAGS[:3], respond, multiple=500)
    assert [result.value for result in results] == [[7], None, [7]]
    assert (results[1].status, results[1].extended) == (5, (0,))


@pytest.mark.parametrize(
    "lie",
    [
        lambda replies: batch_reply(replies, count=2),
        lambda replies: batch_reply(replies, count=300),
        lambda replies: batch_reply(replies, shift=2),
        lambda replies: batch_reply(replies, shift=-2),
        lambda replies: batch_reply([b"", *replies[1:]]),
        lambda replies: batch_reply([*replies[:2], b"\xcd\0\0\0"]),
        lambda replies: batch_reply(replies)[:7],
        lambda replies: b"\x8a\0\0\0" + struct.pack("<H3H", 3, 8, 8, 8) + replies[0],
    ],
)
def test_p03_a_packet_with_lying_counts_and_offsets_gives_no_value(lie: Any) -> None:
    def respond(request: bytes) -> bytes:
        reply: bytes = lie([counting(own) for own in unpacked(request)])
        return reply

    with pytest.raises(SessionViolated):
        perform(TAGS[:3], respond, multiple=500)


def test_a_target_without_packets_is_asked_one_by_one() -> None:
    def respond(request: bytes) -> bytes:
        return b"\x8a\0\x08\0" if request[0] == 0x0A else counting(request)

    results = perform(TAGS[:5], respond, multiple=500)
    assert [result.value for result in results] == [[7]] * 5


def test_what_did_not_fit_a_packet_is_completed_afterwards() -> None:
    def respond(request: bytes) -> bytes:
        if request[0] == 0x0A:
            replies = [b"\xcc\0\x06\0" for _ in unpacked(request)]
            return batch_reply(replies)
        return read_reply(request[0], struct.pack("<i", 9))

    results = perform(TAGS[:3], respond, multiple=500)
    assert [result.value for result in results] == [[9]] * 3


def test_nothing_overtakes_the_write_of_a_bit() -> None:
    word = 0

    def respond(request: bytes) -> bytes:
        nonlocal word
        if request[0] == 0x4E:
            word = (word | request[8]) & request[12]
            return b"\xce\0\0\0"
        return read_reply(request[0], struct.pack("<i", word))

    operations = list(parse_operations(["W.0=1", "W", "W.1=1", "W"]))
    results = perform(operations, respond, depth=10)
    assert [result.value for result in results] == [True, [1], True, [3]]
