"""Elements of BOOL arrays that are DWORDs below, and of those that are not."""

import struct

import pytest

from cpppod.protocols.enip.originator.bool_arrays import bit_of_array, bits_of, words_of
from tests.protocols.enip.originator.scripted_target import perform, read_reply

WORDS = [1 << 31, 0b0110, 0]  # elements 31, 33 and 34 of BOOL[96] are true
BEYOND = bytes.fromhex("cc00ff010521")


class Packed:
    """A controller's BOOL[96]: three DWORDs, addressed as such."""

    def __init__(self) -> None:
        self.words = list(WORDS)
        self.requests: list[bytes] = []

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        service, words = request[0], request[1]
        path, data = request[2 : 2 + 2 * words], request[2 + 2 * words :]
        element = path[-1] if path[-2] == 0x28 else 0
        if service == 0x4E:
            size, set_, clear = struct.unpack("<HII", data)
            assert size == 4
            self.words[element] = (self.words[element] | set_) & clear
            return b"\xce\0\0\0"
        count = int.from_bytes(data[:2], "little")
        if service == 0x4D:
            return bytes.fromhex("cd00ff010721")
        if element + count > len(self.words):
            return BEYOND
        values = self.words[element : element + count]
        return read_reply(service, struct.pack(f"<{count}I", *values), kind=b"\xd3\0")


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [(33, 1, [True]), (2, 1, [False]), (0, 1, [False]), (30, 5, [False, True, False, True, True])],
)
def test_an_element_of_a_controller_s_bool_array_is_its_bit(
    first: int, count: int, expected: list[bool]
) -> None:
    path = [{"symbolic": "Bits"}, {"element": first}]
    more = {"elements": count} if count > 1 else {}
    (exchange,) = perform([{"path": path, **more}], Packed())
    assert (exchange.status, exchange.value) == (0, expected)


def test_words_are_read_where_they_are_asked_for() -> None:
    path = [{"symbolic": "Bits"}, {"element": 1}]
    (exchange,) = perform([{"path": path, "words": True}], Packed())
    assert exchange.value == [0b0110]
    (exchange,) = perform([{"path": path, "elements": 2}], Packed())
    assert exchange.value == [0b0110, 0], "a range that the controller has is its words"


@pytest.mark.parametrize("first", [32, 95])
def test_bits_are_written_by_masks_of_their_words(first: int) -> None:
    target = Packed()
    data = [True, False] if first < 95 else [True]
    path = [{"symbolic": "Bits"}, {"element": first}]
    operation = {"method": "write", "path": path, "data": data, "tag_type": 0xC1}
    (exchange,) = perform([operation], target)
    assert (exchange.status, exchange.value) == (0, True)
    assert target.words == ([1 << 31, 0b0101, 0] if first < 95 else [1 << 31, 0b0110, 1 << 31])
    assert [request[0] for request in target.requests] == [0x4D, 0x4C, 0x4E]


def test_a_write_over_two_words_is_a_mask_for_each() -> None:
    target = Packed()
    path = [{"symbolic": "Bits"}, {"element": 31}]
    operation = {"method": "write", "path": path, "data": [False, True], "tag_type": 0xC1}
    (exchange,) = perform([operation], target)
    assert exchange.value is True
    assert target.words == [0, 0b0111, 0]


def test_an_element_beyond_the_array_is_refused_as_the_target_says() -> None:
    path = [{"symbolic": "Bits"}, {"element": 96}]
    (exchange,) = perform([{"path": path}], Packed())
    assert (exchange.status, exchange.extended) == (0xFF, (0x2105,))
    operation = {"method": "write", "path": path, "data": [True], "tag_type": 0xC1}
    (exchange,) = perform([operation], Packed())
    assert exchange.status


def test_elements_of_real_bools_and_of_other_types_stay_what_their_numbers_say() -> None:
    written: list[bytes] = []

    def bools(request: bytes) -> bytes:
        element = request[2 * request[1] + 1]
        if request[0] == 0x4D:
            written.append(request[-1:])
            return b"\xcd\0\0\0"
        if element >= 40:
            return BEYOND
        return read_reply(request[0], bytes((element == 33,)), kind=b"\xc1\0")

    path = [{"symbolic": "Bits"}, {"element": 33}]
    (exchange,) = perform([{"path": path}], bools)
    assert exchange.value == [True]
    operation = {"method": "write", "path": path, "data": [True], "tag_type": 0xC1}
    (exchange,) = perform([operation], bools)
    assert (exchange.value, written) == (True, [b"\xff"])
    (exchange,) = perform([{"path": [{"symbolic": "Bits"}, {"element": 50}]}], bools)
    assert (exchange.status, exchange.extended) == (0xFF, (0x2105,))


def test_where_a_path_ends_in_an_element_and_which_words_hold_it() -> None:
    assert bit_of_array({"path": "Bits[33]"}) == 33
    assert bit_of_array({"path": "Bits"}) is None
    assert bit_of_array({"path": b"\x91\x01B\0"}) is None
    assert bit_of_array({"path": "Bits[33]", "words": True}) is None
    asked = words_of({"path": "Bits[33]", "data": [1]}, 33, 32)
    assert (asked["path"][-1], asked["elements"]) == ({"element": 1}, 2)
    assert "data" not in asked
    assert bits_of([2, 1], 1, 32)[::31] == [True, True]
