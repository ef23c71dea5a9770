"""All types and orders, forth and back."""

import struct

import pytest

from cpppod.protocols.modbus.registers import bit_place, codec
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag

ABCD = bytes.fromhex("3f9d70a4")  # 1.23 as a 32-bit float
ORDERS = {
    ("big", "big"): "3f9d70a4",
    ("little", "big"): "70a43f9d",
    ("big", "little"): "9d3fa470",
    ("little", "little"): "a4709d3f",
}


@pytest.mark.parametrize("orders", ORDERS)
def test_the_four_orders_of_a_float(orders: tuple[str, str]) -> None:
    word, byte = orders
    made = codec(Tag("t", "HR:0", type="REAL", word_order=word, byte_order=byte))
    data = bytes.fromhex(ORDERS[orders])
    assert made.decode(b"\0\0" + data, 2) == pytest.approx(1.23)
    assert made.encode is not None
    assert made.encode(made.decode(data, 0)) == data


@pytest.mark.parametrize(
    ("type_", "value", "size"),
    [
        ("SINT", -5, 2),
        ("USINT", 200, 2),
        ("INT", -2, 2),
        ("UINT", 65_535, 2),
        ("WORD", 1, 2),
        ("DINT", -70_000, 4),
        ("UDINT", 4_000_000_000, 4),
        ("LINT", -(2**40), 8),
        ("ULINT", 2**63, 8),
        ("REAL", 1.5, 4),
        ("LREAL", 1.1, 8),
        ("BOOL", True, 2),
    ],
)
@pytest.mark.parametrize("word", ["big", "little"])
@pytest.mark.parametrize("byte", ["big", "little"])
def test_every_type_survives_every_order(
    type_: str, value: object, size: int, word: str, byte: str
) -> None:
    made = codec(Tag("t", "HR:0", type=type_, word_order=word, byte_order=byte))
    assert made.encode is not None
    data = made.encode(value)
    assert len(data) == size == 2 * made.registers
    assert made.decode(data, 0) == value
    many = codec(Tag("t", "HR:0", type=type_, length=3, word_order=word, byte_order=byte))
    assert many.decode(data * 3, 0) == [value] * 3
    assert many.registers == 3 * made.registers


def test_strings_end_at_the_first_nul_and_fit_their_size() -> None:
    made = codec(Tag("t", "HR:0", type="STRING", size=7))
    assert made.registers == 4
    assert made.decode(b"AB\0garbage", 0) == "AB"
    assert made.encode is not None
    assert made.encode("pump") == b"pump\0\0\0\0"
    with pytest.raises(EncodeError):
        made.encode("too long a name")
    swapped = codec(Tag("t", "HR:0", type="STRING", size=4, byte_order="little"))
    assert swapped.decode(b"uppm", 0) == "pump"


def test_bits_of_a_register_count_from_the_least_significant() -> None:
    for bit in range(16):
        data = struct.pack(">H", 1 << bit)
        assert codec(Tag("t", "HR:0", bit=bit)).decode(data, 0) is True
        assert codec(Tag("t", "HR:0", bit=(bit + 1) % 16)).decode(data, 0) is False
        assert codec(Tag("t", "HR:0", bit=bit, byte_order="little")).decode(data[::-1], 0) is True


@pytest.mark.parametrize(("type_", "bits"), [("DINT", 32), ("UDINT", 32), ("LWORD", 64)])
@pytest.mark.parametrize("word", ["big", "little"])
@pytest.mark.parametrize("byte", ["big", "little"])
def test_bit_n_of_a_wide_type_is_that_of_its_value(
    type_: str, bits: int, word: str, byte: str
) -> None:
    whole = codec(Tag("t", "HR:0", type="ULINT" if bits == 64 else "UDINT", word_order=word,
                      byte_order=byte))  # fmt: skip
    assert whole.encode is not None
    for bit in (0, 3, 15, 16, bits - 1):
        data = b"\xff\xff" + whole.encode(1 << bit)
        for asked in (0, 3, 15, 16, bits - 1):
            tag = Tag("t", "HR:0", type=type_, bit=asked, word_order=word, byte_order=byte)
            assert codec(tag).decode(data, 2) is (asked == bit)
            register, place = bit_place(tag, asked)
            held = struct.unpack_from(">H", data, 2 + 2 * register)[0]
            assert bool(held >> place & 1) is (asked == bit)  # where it is written


def test_text_that_the_device_cannot_say_is_refused_by_its_character() -> None:
    made = codec(Tag("t", "HR:0", type="STRING", size=8))
    assert made.encode is not None
    assert made.encode("20 µm") == b"20 \xb5m\0\0\0"
    with pytest.raises(EncodeError, match=r"'Ω' \(U\+03A9\) cannot be said in latin-1"):
        made.encode("10 Ω")


@pytest.mark.parametrize(
    "tag",
    [
        Tag("t", "HR:0", type="DINT", bit=32),
        Tag("t", "HR:0", type="SINT", bit=8),
        Tag("t", "HR:0", type="STRING", size=4, word_order="little"),
        Tag("t", "HR:0", type="STRING"),
        Tag("t", "HR:0", type="STRING", size=300),
        Tag("t", "HR:0", type="DATE"),
        Tag("t", "HR:0", bit=16),
        Tag("t", "HR:0", bit=1, length=2),
        Tag("t", "HR:0", word_order="middle"),
    ],
)
def test_what_cannot_lie_in_registers_is_refused(tag: Tag) -> None:
    with pytest.raises(EncodeError):
        codec(tag)
