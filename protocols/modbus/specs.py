"""Register ranges as people write them on a command line.

    [UNIT:]FIRST[-LAST][=VALUE[,VALUE ...]]        40001-40100=99   2:40001=1,2,3   HR:0-9=0x10

Values repeat to fill the range, are cut to it, or set its length where only FIRST is given; without
values all are 0. Blanks are ignored.
"""

import re
from dataclasses import dataclass

from cpppod.protocols.modbus.address import Address, parse_address
from cpppod.protocols.model.errors import EncodeError

_SPEC = re.compile(
    r"""(?:(?P<unit>\d{1,3}):(?=[\dA-Za-z]))?
        (?P<first>(?:[A-Za-z]{1,2}:)?(?:0x[0-9a-fA-F]+|\d+))
        (?:-(?P<last>(?:[A-Za-z]{1,2}:)?(?:0x[0-9a-fA-F]+|\d+)))?
        (?:=(?P<values>[^=]*))?""",
    re.VERBOSE,
)
FORM = "[UNIT:]FIRST[-LAST][=VALUE,...], such as 40001-40100=99"


@dataclass(frozen=True, slots=True)
class RegisterRange:
    """Cells of one table, with the values given for them.

    Attributes:
        unit: None where none is named: the unit that the command line is about.
        count: how many cells; `values` is as long, or empty where none were given.
        number: the number that the range begins with, as written, None in the `HR:0` form.
    """

    first: Address
    count: int
    values: tuple[int, ...] = ()
    unit: int | None = None
    number: int | None = None

    @property
    def filled(self) -> list[int]:
        """A value for every cell."""
        return list(self.values) or [0] * self.count


def parse_range(text: str) -> RegisterRange:
    """The range that `text` describes.

    Raises:
        EncodeError: it describes none; the message says what was expected.
    """
    compact = "".join(text.split())
    match = _SPEC.fullmatch(compact)
    if match is None:
        raise EncodeError(f"registers {text!r:.60}: expected {FORM}", status=2)
    first = parse_address(match["first"])
    values = _values(text, match["values"])
    count = max(1, len(values))
    if match["last"] is not None:
        last_text = match["last"]
        if ":" in match["first"] and ":" not in last_text:
            last_text = f"{match['first'].partition(':')[0]}:{last_text}"
        last = parse_address(last_text)
        if last.table != first.table or last.offset < first.offset:
            raise EncodeError(f"registers {text!r:.60}: a range within one table", status=2)
        count = last.offset - first.offset + 1
    if first.offset + count > 65_536:
        raise EncodeError(f"registers {text!r:.60}: beyond the table's end", status=2)
    unit = None if match["unit"] is None else int(match["unit"])
    if unit is not None and unit > 255:
        raise EncodeError(f"registers {text!r:.60}: a unit is 0 to 255", status=2)
    if values:
        values = (values * (count // len(values) + 1))[:count]
    number = None if ":" in match["first"] else int(match["first"], 0 if "x" in compact else 10)
    return RegisterRange(first, count, values, unit, number)


def _values(text: str, values: str | None) -> tuple[int, ...]:
    if values is None:
        return ()
    found = []
    for item in values.split(","):
        try:
            value = int(item, 16 if "x" in item.lower() else 10)
        except ValueError:
            known = {"true": 1, "false": 0, "on": 1, "off": 0}.get(item.lower())
            if known is None:
                raise EncodeError(
                    f"registers {text!r:.60}: {item!r} is no value", status=3
                ) from None
            value = known
        if not -32_768 <= value <= 65_535:
            raise EncodeError(f"registers {text!r:.60}: {value} is no 16-bit word", status=3)
        found.append(value & 0xFFFF)
    return tuple(found)
