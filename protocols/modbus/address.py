"""Modbus addresses as people write them, and what they mean on the wire.

    00001-09999  000001-065536   coils               CO:0   (C:, 0x as PLC manuals have it)
    10001-19999  100001-165536   discrete inputs     DI:0
    30001-39999  300001-365536   input registers     IR:0
    40001-99999  400001-465536   holding registers   HR:0

Numbers count from 1, the `HR:0` forms from 0; `.3` behind either is bit 3 of a register (bit 0 is
the least significant). A device whose manual counts from 0 has `zero_based` in its model.
"""

from dataclasses import dataclass
from enum import IntEnum

from cpppod.protocols.model.errors import EncodeError


class Table(IntEnum):
    """The four tables of a device, by the function that reads them."""

    COILS = 1
    DISCRETE_INPUTS = 2
    HOLDING_REGISTERS = 3
    INPUT_REGISTERS = 4

    @property
    def has_bits(self) -> bool:
        """Whether its cells are bits, not registers."""
        return self <= Table.DISCRETE_INPUTS

    @property
    def writable(self) -> bool:
        """Whether the protocol can write it."""
        return self in (Table.COILS, Table.HOLDING_REGISTERS)


@dataclass(frozen=True, slots=True)
class Address:
    """A cell of a table: `offset` is 0..65535 as on the wire; `bit` of a register or None."""

    table: Table
    offset: int
    bit: int | None = None

    def __str__(self) -> str:
        bit = "" if self.bit is None else f".{self.bit}"
        return f"{SHORT[self.table]}:{self.offset}{bit}"


SHORT = {
    Table.COILS: "CO",
    Table.DISCRETE_INPUTS: "DI",
    Table.HOLDING_REGISTERS: "HR",
    Table.INPUT_REGISTERS: "IR",
}
_PREFIXES = {
    "CO": Table.COILS,
    "C": Table.COILS,
    "DI": Table.DISCRETE_INPUTS,
    "HR": Table.HOLDING_REGISTERS,
    "IR": Table.INPUT_REGISTERS,
}
# first and last number of each range, its table; the 6-digit forms of coils begin with a 0
_RANGES = (
    (1, 9_999, Table.COILS),
    (10_001, 19_999, Table.DISCRETE_INPUTS),
    (30_001, 39_999, Table.INPUT_REGISTERS),
    (40_001, 99_999, Table.HOLDING_REGISTERS),
    (100_001, 165_536, Table.DISCRETE_INPUTS),
    (300_001, 365_536, Table.INPUT_REGISTERS),
    (400_001, 465_536, Table.HOLDING_REGISTERS),
)
FORMS = "40001, 400001 or HR:0 (also CO, DI, IR), with .0 to .15 for a bit"
IDENTITY = "ID"  # objects that a device says of itself: they lie in no table


def parse_address(text: str, *, zero_based: bool = False) -> Address:
    """The cell that `text` names.

    Raises:
        EncodeError: it names none; the message says what was expected.
    """
    cell, dot, bit_text = text.strip().partition(".")
    bit = None
    if dot:
        bit = int(bit_text) if bit_text.isdecimal() else -1
        if not 0 <= bit <= 15:
            raise _refusal(text, "a bit from 0 to 15")
    prefix, colon, number_text = cell.partition(":")
    try:
        number = int(number_text if colon else cell, 16 if "x" in cell.lower() else 10)
    except ValueError:
        raise _refusal(text, FORMS) from None
    if colon:
        table = _PREFIXES.get(prefix.strip().upper())
        if table is None or not 0 <= number <= 65_535:
            raise _refusal(text, FORMS)
        found = Address(table, number, bit)
    else:
        six_digits = len(cell) == 6 and cell.startswith("0")
        found = _numbered(text, number, six_digits=six_digits, zero_based=zero_based, bit=bit)
        if found.table.has_bits and "x" in cell.lower():
            raise _refusal(text, f"{SHORT[found.table]}:{cell}, for a coil or input in hexadecimal")
    if bit is not None and found.table.has_bits:
        raise _refusal(text, "no bit behind a coil or an input")
    return found


def identity_object(text: str) -> int | None:
    """The object of function 43/14 that `ID:0` to `ID:255` name; None for all else."""
    prefix, _, number = text.strip().upper().partition(":")
    if prefix != IDENTITY or not number.isdecimal() or int(number) > 0xFF:
        return None
    return int(number)


def from_number(number: int) -> Address:
    """The cell of a 5- or 6-digit number.

    Raises:
        EncodeError: it lies in no range.
    """
    return _numbered(str(number), number, six_digits=False, zero_based=False, bit=None)


def to_number(address: Address) -> int:
    """The shortest number of a cell: 5 digits where they reach."""
    table, offset = address.table, address.offset
    for first, last, of in _RANGES:
        if of == table and first + offset <= last:
            return first + offset
    return offset + 1  # a coil beyond 9999, which only a leading 0 can say


def _numbered(
    text: str, number: int, *, six_digits: bool, zero_based: bool, bit: int | None
) -> Address:
    if six_digits:
        offset = number - (0 if zero_based else 1)
        if 0 <= offset <= 65_535:
            return Address(Table.COILS, offset, bit)
        raise _refusal(text, FORMS)
    shift = 1 if zero_based else 0
    for first, last, table in _RANGES:
        if first - shift <= number <= last:
            return Address(table, number - first + shift, bit)
    raise _refusal(text, FORMS)


def _refusal(text: str, expected: str) -> EncodeError:
    return EncodeError(f"Modbus address {text!r:.40}: expected {expected}", status=2)
