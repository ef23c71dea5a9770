"""A SunSpec device to try things with: models in holding registers, out of their definitions.

    modbus_sim --sunspec 1,103,160          from register 40000 on

Every point has a value that is its own, so that a mixed-up place is seen; scale factors are -1.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from cpppod.protocols.modbus import sunspec
from cpppod.workers.drivers.modbus.sunspec import definition

BASE = sunspec.BASES[0]
_PACKED = {
    "int16": ">h", "uint16": ">H", "count": ">H", "acc16": ">H", "enum16": ">H",
    "bitfield16": ">H", "sunssf": ">h", "pad": ">H", "int32": ">i", "uint32": ">I",
    "acc32": ">I", "enum32": ">I", "bitfield32": ">I", "ipaddr": ">I", "int64": ">q",
    "uint64": ">Q", "acc64": ">Q", "float32": ">f", "float64": ">d",
}  # fmt: skip


def registers(
    models: Iterable[int], values: Mapping[str, Any] | None = None, *, repeats: int = 2
) -> list[int]:
    """The registers of a device with these models, from its base on.

    Args:
        values: `103.W` -> what the point holds, raw.
        repeats: how often a group is there that fills its model.

    Raises:
        NoDefinition: of one of the models.
    """
    words = list(sunspec.MARK)
    for model in models:
        words += _model(model, values or {}, repeats)
    return [*words, sunspec.LAST_MODEL, 0]


def _model(model: int, values: Mapping[str, Any], repeats: int) -> list[int]:
    made = definition(model)
    filling = [each for each in made["group"].get("groups", ()) if each.get("count") == 0]
    own = sum(int(point["size"]) for point in made["group"]["points"])
    more = repeats * sum(map(sunspec.size_of, filling))
    found = list(sunspec.points(made, None, own - sunspec.HEAD + more if filling else 0))
    length = max(point.offset + int(point.definition["size"]) for point in found) - sunspec.HEAD
    known = {"ID": model, "L": length}
    words = [0] * (sunspec.HEAD + length)
    for number, point in enumerate(found):
        value = values.get(f"{model}.{point.path}", known.get(point.path, _default(point, number)))
        size = int(point.definition["size"])
        words[point.offset : point.offset + size] = _words(point, value)
    return words


def _default(point: sunspec.Point, number: int) -> Any:
    kind = point.definition["type"]
    if kind == "string":
        return point.definition["name"]
    if symbols := point.definition.get("symbols"):
        return 1 << symbols[0]["value"] if kind.startswith("bitfield") else symbols[0]["value"]
    return {"sunssf": -1, "pad": 0x8000, "count": 1}.get(kind, 100 + number)


def _words(point: sunspec.Point, value: Any) -> tuple[int, ...]:
    size = int(point.definition["size"])
    packed = _PACKED.get(point.definition["type"])
    raw = str(value).encode() if packed is None else struct.pack(packed, value)
    return struct.unpack(f">{size}H", raw[: 2 * size].ljust(2 * size, b"\0"))
