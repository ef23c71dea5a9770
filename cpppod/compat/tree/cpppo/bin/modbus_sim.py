"""The command `modbus_sim`, also as a program that is started by its path."""

import sys
from typing import Any

from cpppod.commands.modbus.sim import main
from cpppod.protocols.modbus.address import to_number
from cpppod.protocols.modbus.specs import parse_range


def register_decode(txt: str, default: Any = None) -> tuple[int, int, list[int]]:
    """(first, last, values) of `40001-40003=1,2`; the values again and again up to the last.

    Raises:
        EncodeError: no registers.
    """
    found = parse_range(txt)
    first = to_number(found.first)
    given = list(found.values) or ([] if default is None else [default])
    values = (given * found.count)[: found.count]
    return first, first + found.count - 1, values


if __name__ == "__main__":
    sys.exit(main())
