"""Value messages: what v1 looked like stays readable for ever."""

import json
import pathlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpppod.protocols.bus.codec import pack, unpack
from cpppod.protocols.bus.feed import (
    LIMIT,
    MAX_PAYLOAD,
    UNJOURNALLED,
    Block,
    Kind,
    ValueMessage,
    decode,
    gateway_of,
    mark_unjournalled,
)
from cpppod.protocols.bus.feed_requests import decode_reply, decode_request
from cpppod.protocols.model.errors import DecodeError, EncodeError

RECORDED = json.loads((pathlib.Path(__file__).parents[2] / "vectors" / "feed_v1.json").read_text())
BLOCK = ValueMessage("p", 5, 7, 3, 11, 12, 13, Kind.BLOCK, Block(3, ["a", "b"], [1, None], [0, 18]))


def plain(value: Any) -> Any:
    """As JSON has it: tuples are lists, bytes are hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize("case", RECORDED["messages"], ids=lambda case: case["name"])
def test_recorded_value_message_is_read_as_it_was_meant(case: dict[str, Any]) -> None:
    assert plain(decode(bytes.fromhex(case["payload"]))) == case["decoded"]


@pytest.mark.parametrize("case", RECORDED["requests"], ids=lambda case: case["name"])
def test_recorded_request_is_read_as_it_was_meant(case: dict[str, Any]) -> None:
    assert plain(decode_request(bytes.fromhex(case["frame"]))) == case["decoded"]


@pytest.mark.parametrize("case", RECORDED["replies"], ids=lambda case: case["name"])
def test_recorded_reply_is_read_as_it_was_meant(case: dict[str, Any]) -> None:
    assert plain(decode_reply(bytes.fromhex(case["frame"]))) == case["decoded"]


def test_block_comes_back_as_it_was_sent() -> None:
    assert decode(BLOCK.encode()) == BLOCK
    assert BLOCK.body.samples() == [("a", 1, 0), ("b", None, 18)]
    assert BLOCK.body.as_dict() == {"a": (1, 0), "b": (None, 18)}


def test_one_quality_is_meant_for_all_members_named() -> None:
    block = Block(2, ["a", "b"], [1, 2], 1)
    assert block.samples() == [("a", 1, 1), ("b", 2, 1)]
    assert block.as_dict() == {"a": (1, 1), "b": (2, 1)}


def test_unjournalled_block_says_so_and_is_otherwise_the_same() -> None:
    marked = decode(mark_unjournalled(BLOCK.encode()))
    assert marked == BLOCK._replace(flags=UNJOURNALLED)
    assert marked.encode() == mark_unjournalled(BLOCK.encode())
    with pytest.raises(EncodeError):
        mark_unjournalled(marked.encode())


def test_further_elements_and_unknown_kinds_are_ignored() -> None:
    elements = unpack(BLOCK.encode())
    assert decode(pack([*elements, 0, "new"])) == BLOCK
    assert decode(pack([*elements[:8], 77, {"x": 1}])).body == {"x": 1}


def test_payload_that_no_page_could_carry_is_not_made() -> None:
    body = Block(1, ["a"], ["x" * MAX_PAYLOAD], 0)
    with pytest.raises(EncodeError):
        BLOCK._replace(body=body).encode()


def changed(index: int, value: object) -> list[object]:
    elements = unpack(BLOCK.encode())
    elements[index] = value
    return list(elements)


@pytest.mark.parametrize(
    "elements",
    [
        changed(0, 2),
        changed(1, 5),
        changed(1, ""),
        changed(1, "x" * 65),
        changed(2, -1),
        changed(2, LIMIT),
        changed(3, "7"),
        changed(3, 7.0),
        changed(3, True),
        changed(4, 7),  # previous in topic is not before the sequence
        changed(8, None),
        changed(9, None),
        changed(9, [3, ["a"], [1, 2], 0]),
        changed(9, [1, ["a", "b"], [1, 2], 0]),
        changed(9, [2, ["a", 2], [1, 2], 0]),
        changed(9, [2, ["a", ["b"]], [1, 2], 0]),
        changed(9, [2, ["a", "b"], [1, 2], [0]]),
        changed(9, [2, ["a", "b"], [1, 2], [0, "0"]]),
        changed(9, [2, ["a", "b"], [1, 2], None]),
        changed(9, [2, ["a", "b"], [1, [[[[[[[1]]]]]]]], 0]),
        unpack(BLOCK.encode())[:9],
        [1],
        "text",
    ],
    ids=repr,
)
def test_what_lies_about_itself_is_refused(elements: object) -> None:
    with pytest.raises(DecodeError):
        decode(pack(elements))


@pytest.mark.parametrize("body", [[], {"a/b/": "7"}, {"a/b/": None}], ids=repr)
def test_heartbeat_that_is_no_map_of_sequences_is_refused(body: object) -> None:
    with pytest.raises(DecodeError):
        decode(pack([1, "p", 5, 7, 0, 0, 0, 0, 2, body]))


@given(st.binary(max_size=120))
def test_any_bytes_are_decoded_or_refused(payload: bytes) -> None:
    try:
        decode(payload)
    except DecodeError:
        pass


@given(st.data())
def test_any_change_to_a_message_is_decoded_or_refused(data: st.DataObject) -> None:
    payload = bytearray(BLOCK.encode())
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(payload))
    except DecodeError:
        return
    if message.kind in (Kind.BLOCK, Kind.REPEAT):
        assert len(message.body.samples()) == len(message.body.tags)


def test_gateway_stands_behind_the_flags_and_the_flag_can_be_set_later() -> None:
    plain, named = BLOCK.encode(), BLOCK.encode("plant-1")
    assert (gateway_of(plain), gateway_of(named)) == ("", "plant-1")
    assert decode(named) == decode(plain)
    marked = mark_unjournalled(named, "plant-1")
    assert (gateway_of(marked), decode(marked).flags) == ("plant-1", UNJOURNALLED)
    assert decode(mark_unjournalled(plain)).flags == UNJOURNALLED


@pytest.mark.parametrize("gateway", ["", "other"])
def test_flag_is_set_once_and_only_on_a_block_of_that_gateway(gateway: str) -> None:
    named = BLOCK.encode("plant-1")
    with pytest.raises(EncodeError):
        mark_unjournalled(named, gateway)
    with pytest.raises(EncodeError):
        mark_unjournalled(mark_unjournalled(named, "plant-1"), "plant-1")
    with pytest.raises(EncodeError):
        mark_unjournalled(mark_unjournalled(BLOCK.encode()))


@pytest.mark.parametrize(
    "body", [["2", ["a"], [1], 0], [2, "a", [1], 0], [2, ["a"], 1, 0], [2, ["a"], [1]], {}]
)
def test_block_of_the_wrong_types_is_refused(body: object) -> None:
    with pytest.raises(DecodeError):
        decode(pack(changed(9, body)))
