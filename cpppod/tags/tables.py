"""Records of tags and devices as the tables of a configuration file, less what is by default."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from cpppod.protocols.model.plant import Tag

Table = dict[str, Any]
_DEFAULTS = {field.name: field.default for field in fields(Tag)}


def tag_table(tag: Tag) -> Table:
    """The table of a device's tag: name, address and type always, the rest where it says more."""
    always = ("name", "address", "type")
    return {
        name: value
        for name in _DEFAULTS
        if (value := getattr(tag, name)) != _DEFAULTS[name] or name in always
    }


def device_table(
    driver: str, place: Table, groups: Iterable[tuple[str, str, Iterable[Table]]]
) -> Table:
    """The table of a device: `place` is its address or line and what else finds it; groups are
    (name, period, tags)."""
    made = [{"name": name, "period": period, "tags": list(tags)} for name, period, tags in groups]
    return {"driver": driver, **place, "group": made}
