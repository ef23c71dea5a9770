"""Addresses, register ranges and device models as people write them."""

import pytest

from cpppod.protocols.modbus.address import Address, Table, from_number, parse_address, to_number
from cpppod.protocols.modbus.model import Model
from cpppod.protocols.modbus.motion import parse_motion
from cpppod.protocols.modbus.specs import parse_range
from cpppod.protocols.model.errors import EncodeError

CO, DI, IR, HR = (
    Table.COILS,
    Table.DISCRETE_INPUTS,
    Table.INPUT_REGISTERS,
    Table.HOLDING_REGISTERS,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1", Address(CO, 0)),
        ("00001", Address(CO, 0)),
        ("9999", Address(CO, 9998)),
        ("065536", Address(CO, 65_535)),
        ("10001", Address(DI, 0)),
        ("165536", Address(DI, 65_535)),
        ("30001", Address(IR, 0)),
        ("365536", Address(IR, 65_535)),
        ("40001", Address(HR, 0)),
        ("99999", Address(HR, 59_998)),
        ("400001", Address(HR, 0)),
        ("465536", Address(HR, 65_535)),
        ("HR:0", Address(HR, 0)),
        ("ir:0x10", Address(IR, 16)),
        ("CO:7", Address(CO, 7)),
        ("DI:7", Address(DI, 7)),
        ("40001.3", Address(HR, 0, 3)),
        (" HR:5.15 ", Address(HR, 5, 15)),
    ],
)
def test_every_documented_form_is_understood(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "0", "10000", "20001", "40000", "165537", "466000", "HR:65536", "XX:1", "40001.16",
     "1.3", "forty", "HR:", "40001.x"],
)  # fmt: skip
def test_what_names_no_cell_is_refused_with_the_expected_form(text: str) -> None:
    with pytest.raises(EncodeError, match="expected"):
        parse_address(text)


def test_a_zero_based_manual_counts_its_numbers_from_zero() -> None:
    assert parse_address("40000", zero_based=True) == Address(HR, 0)
    assert parse_address("30010", zero_based=True) == Address(IR, 10)


@pytest.mark.parametrize("number", [1, 9999, 10001, 30001, 40001, 99999, 465536, 165536])
def test_numbers_and_cells_are_inverse(number: int) -> None:
    assert to_number(from_number(number)) == number


@pytest.mark.parametrize(
    ("text", "count", "values"),
    [
        ("40001", 1, ()),
        ("40001-40100=99", 100, (99,) * 100),
        ("40001=1,2,3", 3, (1, 2, 3)),
        ("40001-40005=1,2", 5, (1, 2, 1, 2, 1)),
        ("40001-40002=1,2,3", 2, (1, 2)),
        (" 40001 - 40002 = 0x10 , 2", 2, (16, 2)),
        ("HR:0-9=5", 10, (5,) * 10),
        ("1-16=0,1", 16, (0, 1) * 8),
        ("400001-400003=7", 3, (7, 7, 7)),
        ("40001=-1", 1, (65_535,)),
    ],
)
def test_register_ranges_are_read_as_documented(
    text: str, count: int, values: tuple[int, ...]
) -> None:
    found = parse_range(text)
    assert (found.count, found.values) == (count, values)


def test_a_range_may_belong_to_a_unit() -> None:
    assert parse_range("17:40001-40002=5").unit == 17
    assert parse_range("3:HR:0=1").unit == 3
    assert parse_range("HR:0=1").unit is None


@pytest.mark.parametrize(
    "text", ["40001-30001", "40005-40001", "40001=x", "40001=70000", "=5", "40001-", "300:40001"]
)
def test_ranges_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        parse_range(text)


def test_a_model_with_an_unknown_key_or_value_is_refused_by_name() -> None:
    assert Model.from_tables({"max_registers": 10, "description": "x"}).limits().registers == 10
    for tables in ({"max_register": 10}, {"max_registers": 126}, {"one_at_a_time": 1},
                   {"boundaries": ["x"]}, {"pause_s": "1"}):  # fmt: skip
        with pytest.raises(EncodeError):
            Model.from_tables(tables)


def test_values_move_as_asked() -> None:
    counter = parse_motion("40001=counter,step=2,every=0.5", chance=lambda: 0.5)
    assert [counter.cells(at) for at in (0.0, 0.6, 1.1)] == [[0], [2], [4]]
    sine = parse_motion("40002=sine,offset=500,amplitude=400,period=60", chance=lambda: 0.5)
    assert sine.cells(15.0) == [900]
    walk = parse_motion("40003=walk,low=0,high=10,step=100", chance=lambda: 1.0)
    assert walk.cells(5.0) == [10]
    turned = parse_motion("40013=counter,type=DINT,low=-2,word_order=little", chance=lambda: 0.5)
    assert (turned.cells(0.0), turned.cells(2.0)) == ([0xFFFE, 0xFFFF], [0, 0])
    swapped = parse_motion("40015=counter,type=INT,low=1,byte_order=little", chance=lambda: 0.5)
    assert swapped.cells(0.0) == [0x0100]
    with pytest.raises(EncodeError, match="big or little"):
        parse_motion("40015=counter,word_order=middle", chance=lambda: 0.5)
    real = parse_motion("40011=sine,type=REAL,offset=1,amplitude=0", chance=lambda: 0.5)
    assert real.cells(0.0) == [0x3F80, 0]
    coil = parse_motion("1=counter,high=1", chance=lambda: 0.5)
    assert [coil.cells(at) for at in (0.0, 1.0, 2.0)] == [[0], [1], [0]]
    for text in ("40001", "40001=jump", "40001=sine,phase=1", "40001=sine,period=0",
                 "40001=replay", "40001=counter,step=x"):  # fmt: skip
        with pytest.raises(EncodeError):
            parse_motion(text, chance=lambda: 0.5)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(1, "CO:0"), (10_001, "DI:0"), (39_999, "IR:9998"), (40_001, "HR:0"), (465_536, "HR:65535")],
)
def test_cell_is_shown_by_its_table_and_found_by_its_shortest_number(
    number: int, shown: str
) -> None:
    address = from_number(number)
    assert str(address) == shown
    assert to_number(address) == number
    assert parse_address(shown) == address


def test_cell_beyond_the_short_numbers_has_a_long_one() -> None:
    assert to_number(parse_address("HR:59999")) == 460_000
    assert to_number(parse_address("HR:59998")) == 99_999
    assert to_number(parse_address("IR:9999")) == 310_000
    assert to_number(parse_address("CO:9999")) == 10_000
    assert str(parse_address("HR:3.15")) == "HR:3.15"


def test_only_coils_and_holding_registers_can_be_written() -> None:
    assert [table.name for table in Table if table.writable] == ["COILS", "HOLDING_REGISTERS"]


@pytest.mark.parametrize(
    "text",
    ["000000", "065537", "20001", "0", "465537", "HR:65536", "HR:-1", "XX:0", "40001.16", "40001.",
     "40001.x", "1.0", "10001.3", "HR:", ""],
)  # fmt: skip
def test_address_of_no_cell_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        parse_address(text)


def test_six_digits_with_a_leading_zero_are_coils() -> None:
    assert str(parse_address("000001")) == "CO:0"
    assert str(parse_address("065536")) == "CO:65535"
    assert str(parse_address("000000", zero_based=True)) == "CO:0"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("40001=on,OFF,true,False", [1, 0, 1, 0]),
        ("40001-40003", [0, 0, 0]),
        ("40001-40005=1,2", [1, 2, 1, 2, 1]),
        ("40001=-1,0xff", [65535, 255]),
    ],
)
def test_cells_without_a_value_are_zero_and_values_go_round(text: str, filled: list[int]) -> None:
    assert parse_range(text).filled == filled


def test_range_ends_with_its_table_and_units_with_255() -> None:
    assert parse_range("HR:65535").count == 1
    assert parse_range("HR:0-9").count == 10
    assert parse_range("255:40001").unit == 255
    for text in ("HR:65535=1,2", "256:40001", "40001=65536", "40001=-32769", "40001=maybe"):
        with pytest.raises(EncodeError):
            parse_range(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("40001=counter,step=nan", "finite"),
        ("40001=sine,type=REAL,amplitude=1e400", "finite"),
        ("40001=walk,low=5,high=1", "low is not above high"),
        ("40001=counter,low=6,high=5", "low is not above high"),
        ("40001=counter,low=65536", "low is not above high"),
    ],
)
def test_a_motion_that_could_not_move_is_refused(text: str, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        parse_motion(text, chance=lambda: 0.5)


def test_value_that_its_cells_cannot_say_moves_nothing() -> None:
    counter = parse_motion("40001=counter,low=0,high=100000,step=70000", chance=lambda: 0.5)
    assert counter.cells(0.0) == [0]
    assert counter.cells(1.0) == []
