"""SunSpec: a chain of models in holding registers, each point at a place within its model.

    "SunS" | model id  length  points ... | model id  length  points ... | 0xFFFF  0
       at 40000, 50000 or 0

    M103:14       the register 14 further on than model 103's id; M160/2:3 of the second 160
    M103:38.2     bit 2 of it

A model's definition is the JSON of SunSpec's own files. A group of points can be there several
times: a number of times, as often as the model's length allows (0), or as a point says.

Source: SunSpec Device Information Model Specification 1.1.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cpppod.protocols.modbus.address import Address, Table
from cpppod.protocols.model.plant import Tag

BASES = (40_000, 50_000, 0)
MARK = (0x5375, 0x6E53)  # "SunS"
LAST_MODEL = 0xFFFF
MOST_MODELS = 200  # of one device: a chain that is longer has no end
HEAD = 2  # registers of a model before its points: id and length
MOST_REPEATS = 250

_ADDRESS = re.compile(r"M(\d{1,5})(?:/(\d{1,3}))?:(\d{1,5})(?:\.(\d{1,2}))?", re.IGNORECASE)
_KINDS: dict[str, tuple[str, tuple[int, ...]]] = {  # type of a point -> type, sentinels
    "int16": ("INT", (-(2**15),)),
    "uint16": ("UINT", (2**16 - 1,)),
    "count": ("UINT", (2**16 - 1,)),
    "acc16": ("UINT", (0,)),
    "enum16": ("UINT", (2**16 - 1,)),
    "bitfield16": ("UINT", (2**16 - 1,)),
    "int32": ("DINT", (-(2**31),)),
    "uint32": ("UDINT", (2**32 - 1,)),
    "acc32": ("UDINT", (0,)),
    "enum32": ("UDINT", (2**32 - 1,)),
    "bitfield32": ("UDINT", (2**32 - 1,)),
    "ipaddr": ("UDINT", (0,)),
    "int64": ("LINT", (-(2**63),)),
    "uint64": ("ULINT", (2**64 - 1,)),
    "acc64": ("ULINT", (0,)),
    "float32": ("REAL", (0x7FC00000,)),
    "float64": ("LREAL", (0x7FF8 << 48,)),
    "string": ("STRING", ()),
}
UNTOLD = ("pad", "sunssf")  # nobody's value, and what scales others
Definition = Mapping[str, Any]
Count = Callable[[int], int]  # the register at this place within the model


@dataclass(frozen=True, slots=True)
class Place:
    """What `M103:14` names: `instance` counts the models of one id from 1."""

    model: int
    instance: int
    offset: int
    bit: int | None = None


def place_of(address: str) -> Place | None:
    """The place that an address names; None for one that is no point's."""
    found = _ADDRESS.fullmatch(address.strip())
    if found is None:
        return None
    model, instance, offset, bit = found.groups()
    return Place(int(model), int(instance or 1), int(offset), None if bit is None else int(bit))


def in_registers(tag: Tag, starts: Callable[[int, int], int | None]) -> Tag | None:
    """The tag at its register; None where the device has no such model.

    Args:
        starts: (model, instance) -> the register of its id.
    """
    keys: dict[str, str] = {}
    for key in ("address", "scale_from"):
        place = place_of(getattr(tag, key))
        if place is None:
            continue
        start = starts(place.model, place.instance)
        if start is None:
            return None
        offset = start + place.offset
        keys[key] = str(Address(Table.HOLDING_REGISTERS, offset, place.bit))
    return replace(tag, **keys) if keys else tag  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a model as it lies in a device.

    Attributes:
        path: `DCW`, `module_2_DCW`.
        offset: registers from the model's id on.
        factor: place of its scale factor, or the power itself as `power`.
    """

    path: str
    offset: int
    definition: Definition
    factor: int | None = None
    power: int = 0


def points(model: Definition, count: Count | None = None, length: int = 0) -> Iterator[Point]:
    """The points of a model in their order.

    Args:
        count: the device's registers, for groups that a point counts; without, there is one.
        length: that the device says of the model, for groups that fill it.
    """
    yield from _group(model["group"], "", 0, {}, count, length + HEAD if length else 0)


def size_of(group: Definition) -> int:
    """Registers of a group, each inner one taken once."""
    own = sum(int(point["size"]) for point in group.get("points", ()))
    return own + sum(size_of(inner) for inner in group.get("groups", ()))


def _group(
    group: Definition,
    path: str,
    offset: int,
    outer: Mapping[str, int],
    count: Count | None,
    end: int,
) -> Iterator[Point]:
    """The points of one group from `offset` on, then those of its inner groups."""
    known = dict(outer)
    at = offset
    for point in group.get("points", ()):
        known[point["name"]] = at
        at += int(point["size"])
    at = offset
    for point in group.get("points", ()):
        factor = point.get("sf")
        named = known.get(factor) if isinstance(factor, str) else None
        power = factor if isinstance(factor, int) else 0
        yield Point(f"{path}{point['name']}", at, point, named, power)
        at += int(point["size"])
    for inner in group.get("groups", ()):
        repeats = _repeats(inner, known, count, end - at)
        for number in range(repeats):
            name = inner["name"] if repeats == 1 else f"{inner['name']}_{number + 1}"
            last = at
            for point in _group(inner, f"{path}{name}_", at, known, count, 0):
                yield point
                last = max(last, point.offset + int(point.definition["size"]))
            at = last


def _repeats(inner: Definition, known: Mapping[str, int], count: Count | None, left: int) -> int:
    wanted = inner.get("count", 1)
    if isinstance(wanted, str):
        place = known.get(wanted)
        number = count(place) if count is not None and place is not None else 1
    elif wanted == 0:
        number = left // size_of(inner) if left > 0 and size_of(inner) else 1
    else:
        number = int(wanted)
    return min(max(number, 0), MOST_REPEATS)


def tables_of(
    model: int, instance: int, found: Iterable[Point]
) -> Iterator[tuple[dict[str, Any] | None, str, str]]:
    """(table of a tag, its path, why there is none) of each point of a model."""
    prefix = f"M{model}" if instance == 1 else f"M{model}/{instance}"
    for point in found:
        definition = point.definition
        kind = str(definition["type"])
        if kind in UNTOLD or point.offset < HEAD:
            continue
        if kind not in _KINDS:
            yield None, point.path, f"a point of type {kind}"
            continue
        type_, sentinels = _KINDS[kind]
        table: dict[str, Any] = {"address": f"{prefix}:{point.offset}", "type": type_}
        if kind == "string":
            table["size"] = 2 * int(definition["size"])
        if sentinels:
            table["unavailable"] = list(sentinels)
        if point.factor is not None:
            table["scale_from"] = f"{prefix}:{point.factor}"
        elif point.power:
            table["scale"] = float(f"1e{point.power}")
        if texts := {str(each["value"]): each["name"] for each in definition.get("symbols", ())}:
            table["flags" if kind.startswith("bitfield") else "texts"] = texts
        if unit := definition.get("units"):
            table["unit"] = str(unit)
        if words := definition.get("label") or definition.get("desc"):
            table["description"] = " ".join(str(words).split())
        yield table, point.path, ""
