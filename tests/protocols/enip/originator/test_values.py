"""Values to bytes and back as an originator does it: exactly, or not at all."""

import struct
from typing import Any

import pytest

from cpppod.protocols.cip import structures, types
from cpppod.protocols.enip.originator.values import element_size, pack, pack_structures, unpack
from cpppod.protocols.model.errors import DecodeError, EncodeError

MOTOR = structures.define(
    "Motor", [("Speed", types.REAL, 0), ("Runs", types.BOOL, 0)], template_id=0x101
)
NAME = structures.define(
    "Name", [("LEN", types.DINT, 0), ("DATA", types.SINT, 20)], template_id=0x102
)
LAYOUTS = {MOTOR.handle: MOTOR, NAME.handle: NAME}
STRUCTURE = types.STRUCTURE


@pytest.mark.parametrize(
    ("code", "handle", "size"),
    [
        (0xC4, 0, 4),
        (0xD0, 0, 0),
        (0x99, 0, 0),
        (STRUCTURE, MOTOR.handle, MOTOR.size),
        (STRUCTURE, 0x0FCE, 88),
        (STRUCTURE, 0x1234, 0),
    ],
)
def test_size_of_an_element_is_known_or_zero(code: int, handle: int, size: int) -> None:
    assert element_size(code, handle, LAYOUTS) == size


@pytest.mark.parametrize(
    ("code", "handle", "data", "why"),
    [
        (0x99, 0, b"\0", "unknown type"),
        (0xC4, 0, bytes(5), "5 bytes"),
        (0xD0, 0, b"\5\0abc", "STRING"),
        (0xDA, 0, b"\5abc", "SSTRING"),
        (STRUCTURE, MOTOR.handle, bytes(MOTOR.size + 1), "Motor"),
        (STRUCTURE, 0x0FCE, bytes(87), "ASCIISTRING82"),
        (STRUCTURE, 0x0FCE, struct.pack("<i", 83) + bytes(84), "83 characters"),
        (STRUCTURE, NAME.handle, struct.pack("<i", -1) + bytes(20), "-1 characters"),
        (STRUCTURE, NAME.handle, bytes(24) + struct.pack("<i", 21) + bytes(20), "21 characters"),
    ],
)
def test_data_that_does_not_hold_whole_elements_is_refused(
    code: int, handle: int, data: bytes, why: str
) -> None:
    with pytest.raises(DecodeError, match=why):
        unpack(code, handle, data, LAYOUTS)


def test_structures_come_as_dicts_texts_or_bytes_as_far_as_they_are_known() -> None:
    assert unpack(STRUCTURE, MOTOR.handle, MOTOR.pack([{"Speed": 2.5, "Runs": True}]), LAYOUTS) == [
        {"Speed": 2.5, "Runs": True}
    ]
    assert unpack(STRUCTURE, NAME.handle, NAME.pack(["ab", "c"]), LAYOUTS) == ["ab", "c"]
    assert unpack(STRUCTURE, 0x0FCE, types.STRING82.pack(["ab"]), {}) == ["ab"]
    assert unpack(STRUCTURE, 0x1234, b"\1\2\3", LAYOUTS) == [b"\1\2\3"]


@pytest.mark.parametrize(
    ("code", "values", "raw"),
    [
        (0xC1, [True, False, 5], "ff00ff"),
        (0xC2, [-1, 255, 127], "ffff7f"),
        (0xC3, [65535, -32768], "ffff0080"),
        (0xC6, [255], "ff"),
        (0xCA, [1, 2.5], "0000803f00002040"),
        (0xD0, ["ab"], "02006162"),
    ],
)
def test_values_become_what_controllers_and_other_clients_write(
    code: int, values: list[Any], raw: str
) -> None:
    assert pack(code, values).hex() == raw


@pytest.mark.parametrize(
    ("code", "values"),
    [
        (0x99, [1]),
        (0xC2, [256]),
        (0xC2, [-129]),
        (0xC3, [1.0]),
        (0xC3, ["1"]),
        (0xC3, [None]),
        (0xC6, [-1]),
        (0xC6, [1.5]),
        (0xCA, [1e39]),
        (0xCA, ["1"]),
        (0xD0, [5]),
        (0xDA, ["10 Ω"]),
    ],
)
def test_value_that_the_type_cannot_hold_is_refused(code: int, values: list[Any]) -> None:
    with pytest.raises(EncodeError):
        pack(code, values)


def test_structures_are_written_whole_or_as_bytes() -> None:
    raw = MOTOR.pack([{"Speed": 2.5, "Runs": True}])
    assert pack_structures(MOTOR.handle, [{"speed": 2.5, "RUNS": True}], LAYOUTS) == raw
    assert pack_structures(MOTOR.handle, [raw], LAYOUTS) == raw
    assert pack_structures(0x0FCE, ["ab"], {}) == types.STRING82.pack(["ab"])
    assert pack_structures(NAME.handle, ["ab"], LAYOUTS) == NAME.pack(["ab"])
    assert pack_structures(0x1234, [b"\1", bytearray(b"\2")], {}) == b"\1\2"


@pytest.mark.parametrize(
    ("handle", "value", "why"),
    [
        (MOTOR.handle, {"Speed": 2.5}, "Runs is missing"),
        (MOTOR.handle, {"Speed": 2.5, "Runs": True, "Colour": 1}, "no member"),
        (MOTOR.handle, b"\0", "1 bytes"),
        (0x1234, {"Speed": 2.5}, "browse"),
        (0x1234, "text", "browse"),
    ],
)
def test_structure_that_is_not_whole_or_not_known_is_refused(
    handle: int, value: Any, why: str
) -> None:
    with pytest.raises(EncodeError, match=why):
        pack_structures(handle, [value], LAYOUTS)
