"""Each method of an operation as the request that it becomes, and its reply as a value."""

import struct
from typing import Any

import pytest

from cpppod.protocols.cip import structures, types
from cpppod.protocols.enip.originator.carrier import MessageBudget
from cpppod.protocols.enip.originator.methods import make_exchange
from cpppod.protocols.enip.originator.route import encode_path
from cpppod.protocols.enip.originator.session import SessionViolated
from cpppod.protocols.model.errors import EncodeError
from tests.protocols.enip.originator.scripted_target import perform
from tests.protocols.enip.originator.test_exchange import batch_reply

ROOM = MessageBudget(500, 500)


def request(operation: dict[str, Any], **how: Any) -> str:
    """The first request of an operation, in hexadecimal."""
    part = make_exchange(operation, {}, **how).next_part(ROOM)
    assert part is not None
    return part.request.hex()


INSTANCE = "0220012401"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"method": "get_attribute_single", "path": "@1/1/7"}, "0e03 200124013007"),
        ({"method": "get_attributes_all", "path": "@1/1"}, "01" + INSTANCE),
        (
            {"method": "get_attribute_list", "path": "@1/1", "attributes": [1, 7]},
            "03" + INSTANCE + "020001000700",
        ),
        (
            {"method": "set_attribute_single", "path": "@1/1/7", "data": [1, -1, 255]},
            "1003 200124013007 01ffff",
        ),
        (
            {"method": "set_attribute_single", "path": "@1/1/7", "data": [1], "tag_type": 0xC4},
            "1003 200124013007 01000000",
        ),
        (
            {"method": "set_attribute_single", "path": "@1/1/7", "data": b"\1\2"},
            "1003 200124013007 0102",
        ),
        ({"method": "set_attributes_all", "path": "@1/1", "data": [5]}, "02" + INSTANCE + "05"),
        (
            {
                "method": "set_attribute_list",
                "path": "@1/1",
                "attributes": [(1, b"\5\0"), (2, [6, 0])],
            },
            "04" + INSTANCE + "0200 0100 0500 0200 0600",
        ),
        ({"method": "service_code", "path": "@1/1", "code": 5}, "05" + INSTANCE),
        (
            {"method": "service_code", "path": "@1/1", "code": 0x4B, "data": [1, 2]},
            "4b" + INSTANCE + "0102",
        ),
        (
            {"method": "service_code", "path": "@1/1", "code": 1, "data": [1], "tag_type": 0xC3},
            "01" + INSTANCE + "0100",
        ),
        ({"path": "T", "offset": 4, "elements": 3}, "520291015400 0300 04000000"),
    ],
)
def test_method_becomes_its_service(operation: dict[str, Any], expected: str) -> None:
    assert request(operation) == expected.replace(" ", "")


@pytest.mark.parametrize(
    "operation",
    [
        {"method": "juggle", "path": "@1/1"},
        {"method": "service_code", "path": "@1/1", "code": 0x80},
        {"method": "service_code", "path": "@1/1", "code": -1},
        {"method": "service_code", "path": "@1/1", "code": 5, "data": [256]},
        {"method": "service_code", "path": "@1/1", "code": 5, "data": ["a"]},
        {"method": "get_attribute_list", "path": "@1/1", "attributes": [65536]},
        {"method": "set_attribute_list", "path": "@1/1", "attributes": [(65536, b"")]},
        {"method": "set_attribute_list", "path": "@1/1", "attributes": [(1, 5)]},
        {"method": "set_attribute_single", "path": "@1/1/7", "data": [256]},
        {"method": "set_attribute_single", "path": "@1/1/7", "data": [1.5]},
        {"method": "set_attribute_single", "path": "@1/1/7", "data": [-1.0]},
        {"path": "T", "elements": 65536},
        {"path": "T", "elements": -1},
        {"path": "T", "offset": -1},
        {"path": "T", "offset": 1 << 32},
        {"path": "T", "data": []},
        {"path": "T", "data": [1], "elements": 65536},
        {"path": "T", "data": [1], "offset": (1 << 32) - 1, "elements": 1},
    ],
)
def test_what_a_service_cannot_say_is_refused_before_anything_is_sent(
    operation: dict[str, Any],
) -> None:
    with pytest.raises(EncodeError):
        make_exchange(operation, {}).next_part(ROOM)


def test_tag_is_written_as_the_string_or_structure_that_reads_have_shown() -> None:
    tag = encode_path("T")
    written = {"path": "T", "data": ["ab"], "tag_type": types.STRING.code}
    assert request(written, types={tag: (types.STRING.code, 0)}).startswith("4d0291015400d000")
    known = {tag: (types.STRUCTURE, 0x0FCE)}
    assert request(written, types=known).startswith(
        "4d0291015400a002ce0f0100" + "02000000" + "6162"
    )
    element = {**written, "path": "T[3]"}
    assert "a002ce0f" in request(element, types=known)
    assert request({**written, "path": tag}, types=known).startswith("4d0291015400a002ce0f")
    assert "d000" in request({**written, "path": "Other[3]"}, types=known)
    integers = {"path": "T", "data": [5], "tag_type": 0xC4}
    assert "c400" in request(integers, types=known)


def test_structure_is_written_by_its_handle_and_layout() -> None:
    motor = structures.define("Motor", [("Speed", types.DINT, 0)], template_id=0x101)
    operation = {
        "path": "T",
        "data": [{"Speed": 5}],
        "tag_type": types.STRUCTURE,
        "handle": motor.handle,
    }
    part = make_exchange(operation, {motor.handle: motor}).next_part(ROOM)
    assert part is not None
    assert part.request.endswith(struct.pack("<HHHI", types.STRUCTURE, motor.handle, 1, 5))


def test_reads_and_writes_are_fragmented_from_the_first_byte_where_that_is_asked_for() -> None:
    assert request({"path": "T"}, fragment=True).startswith("52")
    assert request({"path": "T", "data": [1]}, fragment=True).startswith("53")
    assert request({"path": "T", "bit": 3}, fragment=True).startswith("4c")
    assert request({"path": "@1/1/7", "method": "get_attribute_single"}, fragment=True)[:2] == "0e"


def one(operation: dict[str, Any], reply: str) -> Any:
    (result,) = perform([operation], lambda _: bytes.fromhex(reply))
    return result


def test_attribute_is_told_as_bytes_or_in_the_type_that_was_named() -> None:
    single = {"method": "get_attribute_single", "path": "@1/1/7"}
    assert one(single, "8e000000 0102").value == [1, 2]
    assert one({**single, "tag_type": 0xC3}, "8e000000 0102").value == [0x0201]
    with pytest.raises(SessionViolated):
        one({**single, "tag_type": 0xC3}, "8e000000 010203")


def test_services_that_set_answer_true_and_a_refusal_none() -> None:
    written = {"method": "set_attribute_single", "path": "@1/1/7", "data": [1]}
    assert one(written, "90000000").value is True
    refused = one(written, "90000e00")
    assert (refused.value, refused.status) == (None, 0x0E)


def test_part_of_a_list_is_a_value_with_its_status_and_none_of_it_a_refusal() -> None:
    listed = {"method": "get_attribute_list", "path": "@1/1", "attributes": [1]}
    partly = one(listed, "83000600 0102")
    assert (partly.value, partly.status) == ([1, 2], 6)
    assert one(listed, "83000600").value is None
    assert partly.description == "Single G_A_L      @1/1"


def test_calls_share_packets_but_guessed_lengths_not_with_what_changes_something() -> None:
    seen: list[int] = []

    def respond(message: bytes) -> bytes:
        seen.append(message[0])
        if message[0] != 0x0A:
            return bytes((message[0] | 0x80, 0, 0, 0, 1))
        (count,) = struct.unpack_from("<H", message, 6)
        offsets = struct.unpack_from(f"<{count}H", message, 8)
        replies = [bytes((message[6 + at] | 0x80, 0, 0, 0, 1)) for at in offsets]
        places = [2 + 2 * count + 5 * number for number in range(count)]
        return b"\x8a\0\0\0" + struct.pack(f"<{count + 1}H", count, *places) + b"".join(replies)

    results = perform(
        [
            {"method": "set_attribute_single", "path": "@1/1/7", "data": [1]},
            {"method": "get_attribute_list", "path": "@1/1", "attributes": [1]},
            {"method": "service_code", "path": "@1/1", "code": 5},
            {"method": "get_attributes_all", "path": "@1/1"},
        ],
        respond,
        multiple=500,
    )
    assert [result.value for result in results] == [True, [1], [1], [1]]
    assert seen == [0x0A, 0x0A]


GETS: list[dict[str, Any]] = [
    {"method": "get_attribute_single", "path": "@1/1/7"},
    {"method": "get_attributes_all", "path": "@1/1"},
    {"method": "get_attribute_single", "path": "@1/1/1"},
]


@pytest.mark.parametrize("whole", [True, False])
def test_attributes_share_a_packet_and_are_asked_for_alone_where_its_reply_is_too_large(
    whole: bool,
) -> None:
    seen: list[int] = []

    def respond(message: bytes) -> bytes:
        seen.append(message[0])
        if message[0] != 0x0A:
            return bytes((message[0] | 0x80, 0, 0, 0)) + bytes(300)
        if whole:
            return b"\x8a\0\x11\0"
        sound, refused = b"\x8e\0\0\0\5", b"\x81\0\x11\0"
        return b"\x8a\0\x1e\0" + batch_reply([sound, refused, sound])[4:]

    long = [0] * 300
    results = perform(GETS, respond, multiple=500)
    assert [result.value for result in results] == ([long] * 3 if whole else [[5], long, [5]])
    assert seen == ([0x0A, 0x0E, 0x01, 0x0E] if whole else [0x0A, 0x01])


def test_what_is_written_is_never_sent_twice_because_of_a_packet_s_reply() -> None:
    seen: list[int] = []

    def respond(message: bytes) -> bytes:
        seen.append(message[0])
        return bytes((message[0] | 0x80, 0, 0x11, 0))

    write = {"method": "set_attribute_single", "path": "@1/1/7", "data": [1]}
    results = perform([write, write, *GETS], respond, multiple=500)
    assert [result.status for result in results] == [0x11] * 5
    assert seen == [0x0A, 0x0A, 0x0E, 0x01, 0x0E]
