"""Tags and devices as the tables of a configuration file, less what is by default.

What is made of another program's list is judged here by the configuration's own rules, a tag at
a time, so that a tag that cannot be is left out with the reason and the file is well.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import ValidationError

from cpppod.configuration import checks, sections
from cpppod.configuration.devices import record_keys
from cpppod.protocols.model.naming import Names, name_of
from cpppod.protocols.model.plant import Tag
from cpppod.tags.report import Report
from cpppod.tags.source import ImportRefused
from cpppod.workers.devices.spec import DRIVERS, Place

Table = dict[str, Any]
NOWHERE = "192.0.2.1"  # an address of nobody
MOST_MS = 86_400_000
_DEFAULTS = {field.name: field.default for field in fields(Tag)}


def tag_table(tag: Tag) -> Table:
    """The table of a device's tag: name, address and type always, the rest where it says more."""
    always = ("name", "address", "type")
    return {
        name: value
        for name in _DEFAULTS
        if (value := _plain(getattr(tag, name))) != _plain(_DEFAULTS[name]) or name in always
    }


def _plain(value: Any) -> Any:
    """A key's value as a table has it: texts by their numbers."""
    if not isinstance(value, tuple):
        return value
    if value and all(isinstance(each, str) for each in value):
        return dict(each.partition("=")[::2] for each in value)
    return list(value)


def device_table(
    driver: str, place: Table, groups: Iterable[tuple[str, str, Iterable[Table]]]
) -> Table:
    """The table of a device: `place` is its address or line and what else finds it; groups are
    (name, period, tags)."""
    made = [{"name": name, "period": period, "tags": list(tags)} for name, period, tags in groups]
    return {"driver": driver, **place, **({"group": made} if made else {})}


def mistake(driver: str, table: Table) -> str:
    """What is wrong with a tag's table, "" where it is well."""
    try:
        tag = sections.Tag.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    spec = DRIVERS.find(driver)
    keys = record_keys(tag)
    if spec is not None and tag.bit is None and tag.type != "BOOL":
        keys["bit"] = spec.bit_of(tag.address)
    for key, value, expected in checks.tag(keys):
        return f"{key} = {value!r:.60}: expected {expected}"
    keys |= {"type": tag.type or "INT"}
    keys |= {order: keys[order] or "big" for order in ("word_order", "byte_order")}
    if spec is not None:
        for key, value, expected in spec.check_tag(Tag(**keys), None):
            return f"{key} = {value!r:.60}: expected {expected}"
    return ""


def one_line(text: str) -> str:
    """A description as a file can have it: on one line, of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:1000]


def period_text(milliseconds: float) -> str:
    """A period as a file has it."""
    whole = min(max(round(milliseconds), 10), MOST_MS)
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"


@dataclass(slots=True)
class DeviceList:
    """The tags of one device of the source, by the groups that they will be read in.

    Attributes:
        place: what finds the device: its address and more keys of its table.
    """

    name: str
    driver: str
    place: Table
    groups: dict[tuple[str, str], list[Table]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def add(self, source: str, name: str, group: tuple[str, str], table: Table) -> tuple[str, str]:
        """Take a tag in, or say why not: (its name as `device.tag` or "", the reason).

        Args:
            name: in the source; the tag's own is made of it.
            group: name and period.
        """
        if why := mistake(self.driver, {"name": "t", **table}):
            return "", why
        own = self.names.give(name)
        self.groups.setdefault(group, []).append({"name": own, **table})
        return f"{self.name}.{own}", ""

    def table(self) -> Table:
        """Its table in the file."""
        made = ((name, period, tags) for (name, period), tags in self.groups.items())
        return device_table(self.driver, self.place, made)


@dataclass(slots=True)
class Imported:
    """What a source came to: sections of a configuration file, and the report."""

    report: Report = field(default_factory=Report)
    devices: list[DeviceList] = field(default_factory=list)
    lines: dict[str, Table] = field(default_factory=dict)
    comment: list[str] = field(default_factory=list)

    def tables(self) -> dict[str, Any]:
        """The sections, devices without a tag left out."""
        found: dict[str, Any] = {}
        devices = {each.name: each.table() for each in self.devices if each.groups}
        named = {each.place.get("line") for each in self.devices if each.groups}
        if lines := {name: line for name, line in self.lines.items() if name in named}:
            found["line"] = lines
        return found | ({"device": devices} if devices else {})


def place_of(driver: str, address: str) -> Table:
    """The address of a device; where the source has none, one of nobody, and it is not polled.

    Raises:
        ImportRefused: devices of that driver are on a line, which the source must name.
    """
    spec = DRIVERS.find(driver)
    if spec is None or spec.place is Place.LINE:
        why = "are on a line: name it in a column device.line" if spec else "are not known here"
        raise ImportRefused(f"devices of driver {driver} {why}")
    nowhere = {"address": f"{NOWHERE}:{spec.default_port or 1}", "enabled": False}
    return {"address": address} if address else nowhere


def device_name(*parts: str) -> str:
    """The name of a device of the source, of the parts that place it there."""
    return name_of(".".join(filter(None, parts)))
