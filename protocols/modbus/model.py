"""A device's quirks as data: the keys of `etc/models/*.toml`, and what each is worth.

`docs/modbus.md` explains every key to whoever writes a model.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from cpppod.protocols.modbus.address import parse_address
from cpppod.protocols.modbus.pdu import MAX_READ_BITS, MAX_READ_REGISTERS, MAX_WRITE_REGISTERS
from cpppod.protocols.modbus.plan import DEFAULT_GAP_BITS, DEFAULT_GAP_REGISTERS, Limits
from cpppod.protocols.model.errors import EncodeError

BUSY_DELAY_S = 0.1
BUSY_RETRIES = 2
QUARANTINE_RETRY_S = 60.0
ADDRESS_EXCEPTIONS = (1, 2, 3, 4)  # by the book 2 and 3; devices that lack registers say all four

# keys that others read: the frame, or the configuration in a device's stead
FOREIGN_KEYS = frozenset(
    {
        "description",
        "driver",
        "timeout",
        "retries",
        "delay",
        "demote_after",
        "in_flight",
        "word_order",
        "byte_order",
        "pause_after_connect_s",
        "one_connection",
    }
)


@dataclass(frozen=True, slots=True)
class Model:
    """One device's quirks; the defaults are a device without any.

    Attributes:
        max_registers, max_coils: most cells of one read; max_write_registers of one write.
        gap_registers, gap_coils: most unwanted cells in a row that a read takes along.
        boundaries: addresses that no read crosses into from below.
        one_at_a_time: each tag in a request of its own.
        zero_based: the manual's 5- and 6-digit numbers count from 0.
        write_single, write_multiple, mask_write: functions 5 and 6, 15 and 16, 22 are there.
        accept_zero_id: it answers with transaction id 0, whatever was asked.
        busy_retries, busy_delay_s: tries after exceptions 5 and 6, and the pause before each.
        pause_s: after every request.
        quarantine_retry_s: how often a refused address is tried again.
        address_exceptions: codes that may mean an address, so that others of the read may be good.
        reply_unit: the unit that its replies tell, whichever was asked; -1 for the one asked.
    """

    max_registers: int = MAX_READ_REGISTERS
    max_write_registers: int = MAX_WRITE_REGISTERS
    max_coils: int = MAX_READ_BITS
    gap_registers: int = DEFAULT_GAP_REGISTERS
    gap_coils: int = DEFAULT_GAP_BITS
    boundaries: tuple[str, ...] = ()
    one_at_a_time: bool = False
    zero_based: bool = False
    write_single: bool = True
    write_multiple: bool = True
    mask_write: bool = True
    accept_zero_id: bool = False
    busy_retries: int = BUSY_RETRIES
    busy_delay_s: float = BUSY_DELAY_S
    pause_s: float = 0.0
    quarantine_retry_s: float = QUARANTINE_RETRY_S
    address_exceptions: tuple[int, ...] = ADDRESS_EXCEPTIONS
    reply_unit: int = -1

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> "Model":
        """The model that a file's tables describe.

        Raises:
            EncodeError: an unknown key, or a value that the key cannot have.
        """
        known = {item.name: item.default for item in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in tables.items():
            if key in FOREIGN_KEYS:
                continue
            if key not in known:
                raise EncodeError(f"model: no key {key!r}; known: {', '.join(known)}", status=3)
            given[key] = _checked(key, value, known[key])
        model = cls(**given)
        model.limits()
        return model

    @classmethod
    def mistakes(cls, tables: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
        """Each key of a file's tables that is wrong, its value, and what was expected."""
        known = {item.name: item.default for item in fields(cls)}
        for key, value in tables.items():
            if key in FOREIGN_KEYS:
                continue
            if key not in known:
                meant = difflib.get_close_matches(key, known, 1)
                yield key, value, f"no such key{f'; did you mean {meant[0]}?' if meant else ''}"
            elif wanted := _expected(key, value, known[key]):
                yield key, value, wanted

    @classmethod
    def of_device(cls, tables: Mapping[str, Any], own: Mapping[str, Any]) -> "Model":
        """The model with what the device's own table says instead.

        Raises:
            EncodeError: as `from_tables`.
        """
        names = {item.name for item in fields(cls)}
        return cls.from_tables({**tables, **{key: own[key] for key in names & own.keys()}})

    def limits(self) -> Limits:
        """What the read plan must observe."""
        cells = [parse_address(str(text), zero_based=self.zero_based) for text in self.boundaries]
        return Limits(
            self.max_registers,
            self.max_coils,
            self.gap_registers,
            self.gap_coils,
            frozenset((cell.table, cell.offset) for cell in cells),
            self.one_at_a_time,
        )


_RANGES: dict[str, tuple[float, float]] = {
    "max_registers": (1, MAX_READ_REGISTERS),
    "max_write_registers": (1, MAX_WRITE_REGISTERS),
    "max_coils": (1, MAX_READ_BITS),
    "gap_registers": (0, MAX_READ_REGISTERS),
    "gap_coils": (0, MAX_READ_BITS),
    "busy_retries": (0, 10),
    "busy_delay_s": (0, 10),
    "pause_s": (0, 10),
    "quarantine_retry_s": (1, 86_400),
    "reply_unit": (-1, 255),
}


def _expected(key: str, value: Any, default: Any) -> str:
    """What the key can have instead; "" where the value is one of them."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, tuple):
        good = isinstance(value, list | tuple)
        if key == "address_exceptions":
            good = good and all(code in range(1, 256) for code in value)
            return "" if good else "a list of codes, 1 to 255"
        return "" if good else "a list"
    low, high = _RANGES[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = not isinstance(default, float)
    if number and low <= value <= high and not (whole and value != int(value)):
        return ""
    return f"a {'whole number' if whole else 'number'}, {low:g} to {high:g}"


def _checked(key: str, value: Any, default: Any) -> Any:
    if wanted := _expected(key, value, default):
        raise EncodeError(f"model: {key} = {value!r:.40}, expected {wanted}", status=3)
    if key == "address_exceptions":
        return tuple(value)
    return tuple(str(item) for item in value) if isinstance(default, tuple) else value
