"""Rules that take more than one key to see: what a tag, a route or an address may be.

Every function returns what was expected where it finds a mistake, and "" where all is well.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticCustomError

from cpppod.protocols.cip import route_table
from cpppod.protocols.model.errors import EncodeError
from cpppod.workers.settings import CIP_TYPES, INTEGER_TYPES, route_path

WIDTHS = {  # bits of the types that a bit can be taken from
    **dict.fromkeys(("SINT", "USINT", "BYTE"), 8),
    **dict.fromkeys(("INT", "UINT", "WORD"), 16),
    **dict.fromkeys(("DINT", "UDINT", "DWORD"), 32),
    **dict.fromkeys(("LINT", "ULINT", "LWORD"), 64),
}
STRINGS = ("STRING", "SSTRING")
NUMBERS = (*INTEGER_TYPES, "REAL", "LREAL")
NUMBER = re.compile(r"-?\d+|0x[0-9a-fA-F]+")
LONGEST_TOLD = 35  # characters of a name that `_text` is put behind
LOCAL_TYPE = re.compile(r"([A-Za-z_]\w*)(?:\[\s*(\d+(?:\s*,\s*\d+)*)\s*\])?")
MAX_DIMENSIONS = 3
MAX_TAG_ELEMENTS = 1_000_000  # a larger local tag is a typing mistake


def tag(keys: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(key, value, expected) of each mistake within one device tag."""
    kind, bit = keys["type"] or "INT", keys["bit"]
    if bit is not None and bit >= WIDTHS.get(kind, 0):
        width = WIDTHS.get(kind)
        yield "bit", bit, f"0 to {width - 1} for {kind}" if width else f"none: {kind} has no bits"
    scaled = keys["scale"] != 1.0 or keys["offset"] != 0.0
    if scaled and (kind not in NUMBERS or bit is not None):
        yield "scale", keys["scale"], "no scale or offset: the value is not a number"
    if keys["scale"] == 0.0:
        yield "scale", 0.0, "a number other than 0"
    low, high = keys["minimum"], keys["maximum"]
    if low is not None and high is not None and low > high:
        yield "minimum", low, f"at most the maximum, {high}"
    for key in ("minimum", "maximum", "write_rate"):
        if keys[key] not in (None, "") and not keys["writable"]:
            yield key, keys[key], "writable = true beside a limit of writes"
    yield from _forms(keys)
    if keys["deadband"] and (kind in STRINGS or kind == "BOOL" or bit is not None):
        yield "deadband", keys["deadband"], "no deadband: the value is not a number"


def _forms(keys: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Mistakes in what a tag says of the form of its registers."""
    kind = keys["type"] or "INT"
    for key in ("texts", "flags"):
        given = keys[key]
        if given and (kind not in WIDTHS or keys["length"] != 1 or keys["bit"] is not None):
            yield key, given, f"none: a text is of one whole number, and {kind} is no such"
        for text in given if isinstance(given, tuple) else ():
            number = text.partition("=")[0]
            if not NUMBER.fullmatch(number):
                yield key, number, "a whole number before each text"
        if given and len(keys["name"]) > LONGEST_TOLD:
            yield key, keys["name"], f"a name of at most {LONGEST_TOLD} characters: _text follows"
    if keys["texts"] and keys["flags"]:
        yield "flags", keys["flags"], "texts or flags"
    if keys["scale_from"] and (kind not in NUMBERS or keys["bit"] is not None):
        yield "scale_from", keys["scale_from"], "no factor: the value is not a number"
    if keys["zone"] and not keys["encoding"].startswith("date-"):
        yield "zone", keys["zone"], "the encoding of a date beside a zone"
    if keys["write_only"] and not keys["writable"]:
        yield "write_only", True, "writable = true beside it"


def first_segments(path: str) -> list[str]:
    """The first segments that a route's `path` covers, one a link; empty where it is not one."""
    try:
        found = route_table.links(path)
        return [route_path(f"{port}/{link}") for port, link in found]
    except (EncodeError, PydanticCustomError):
        return []


def local_type(text: str) -> tuple[str, tuple[int, ...]] | None:
    """Type name and dimensions of a local tag's type: `DINT`, `REAL[10]`, `INT[3,4]`."""
    match = LOCAL_TYPE.fullmatch(text.strip())
    if not match:
        return None
    dimensions = tuple(int(part) for part in (match[2] or "").split(",") if part.strip())
    if len(dimensions) > MAX_DIMENSIONS or 0 in dimensions:
        return None
    name = match[1].upper() if match[1].upper() in CIP_TYPES else match[1]
    return name, dimensions


def elements(dimensions: tuple[int, ...]) -> int:
    """How many elements an array of these dimensions has; a scalar has one."""
    count = 1
    for dimension in dimensions:
        count *= dimension
    return count


def local_value(kind: str, dimensions: tuple[int, ...], value: Any) -> str:
    """Whether `value` can be the first value of a local tag of this type."""
    if value is None or kind not in CIP_TYPES:
        return ""
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not dimensions:
        return "one value: the tag is a scalar"
    if dimensions and len(values) not in (1, elements(dimensions)):
        return f"{elements(dimensions)} values, or one for all of them"
    wanted = _value_of(kind)
    return "" if all(_fits(kind, item) for item in values) else wanted


def _fits(kind: str, value: Any) -> bool:
    if kind == "BOOL":
        return isinstance(value, bool) or value in (0, 1)
    if kind in STRINGS:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind in ("REAL", "LREAL"):
        return True
    low, high = _limits(kind)
    return isinstance(value, int) and low <= value <= high


def _limits(kind: str) -> tuple[int, int]:
    bits = WIDTHS[kind]
    unsigned = kind.startswith("U") or kind in ("BYTE", "WORD", "DWORD", "LWORD")
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _value_of(kind: str) -> str:
    if kind in WIDTHS:
        low, high = _limits(kind)
        return f"whole numbers from {low} to {high}"
    return {"BOOL": "true or false", "REAL": "numbers", "LREAL": "numbers"}.get(kind, "text")
