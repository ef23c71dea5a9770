"""The `[[computed]]` tables: each checked by itself, then all together with the tags they read."""

import re
from collections.abc import Iterable
from typing import Any

from cpppod.configuration import sections
from cpppod.configuration.files import Tables
from cpppod.configuration.items import Names, validate
from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings
from cpppod.protocols.computed.engine import Definition, Key, plan
from cpppod.protocols.computed.sources import add_definitions, device_of, known_names
from cpppod.protocols.model.plant import NAME_PATTERN, Device, Listener, Tag
from cpppod.protocols.model.values import STRING_TYPES

DEFAULT_TYPE = "LREAL"


def computed_devices(
    tables: Tables,
    devices: tuple[Device, ...],
    listeners: tuple[Listener, ...],
    symbols: Names,
    findings: Findings,
) -> tuple[Device, ...]:
    """The devices that computed tags are of; their names are added to `symbols`."""
    known = known_names(devices, listeners)
    taken = _taken(tables, devices)
    names = Names(findings, "name of a computed tag")
    found: dict[Key, tuple[Definition, Tag, KeyPath]] = {}
    for index, table in enumerate(tables.get("computed", [])):
        path: KeyPath = ("computed", index)
        item = validate(sections.Computed, table, path, findings)
        if item is None:
            continue
        names.add(item.name, (*path, "name"))
        if item.name.lower() in taken:
            findings.add((*path, "name"), item.name, f"another name: {taken[item.name.lower()]}")
        if item.device.lower() in {device.name.lower() for device in devices}:
            findings.add((*path, "device"), item.device, "a name that no [device] table has")
        if item.flat_name:
            symbols.add(item.flat_name, (*path, "flat_name"))
            if not re.fullmatch(NAME_PATTERN, item.flat_name):
                wanted = "a name: letters, digits and _"
                findings.add((*path, "flat_name"), item.flat_name, wanted)
        kind = item.type or DEFAULT_TYPE
        if item.deadband and (kind in STRING_TYPES or kind == "BOOL"):
            findings.add((*path, "deadband"), item.deadband, "no deadband: it is no number")
        definition = Definition(item.device, item.name, item.expression, kind, item.history)
        found[item.device, item.name] = definition, _record(item, kind), path
    for name in dict.fromkeys(device for device, _ in found):
        symbols.add(name, next(path for (own, _), (*_, path) in found.items() if own == name))
    definitions = [definition for definition, _, _ in found.values()]
    add_definitions(known, definitions)
    planned, problems = plan(definitions, known)
    for key, why in problems.items():
        definition, _, path = found[key]
        findings.add((*path, "expression"), definition.expression, f"an expression ({why})")
    by_device: dict[str, Any] = {}
    for tag in planned:
        by_device.setdefault(tag.definition.device, []).append(tag)
    return tuple(
        device_of(name, tags, {own[1]: record for own, (_, record, _) in found.items()})
        for name, tags in by_device.items()
    )


def _record(item: sections.Computed, kind: str) -> Tag:
    return Tag(
        name=item.name,
        address=item.expression,
        type=kind,
        unit=item.unit,
        deadband=item.deadband,
        flat_name=item.flat_name,
        description=item.description,
    )


def _taken(tables: Tables, devices: Iterable[Device]) -> dict[str, str]:
    """Names that an expression would take for something else."""
    taken = {device.name.lower(): f"{device.name} is a device" for device in devices}
    for device in devices:
        for group in device.groups:
            for tag in group.tags:
                if tag.flat_name:
                    place = f"{device.name}.{tag.name}"
                    taken[tag.flat_name.lower()] = f"{tag.flat_name} is {place}"
    for table in tables.get("tag", []):
        if isinstance(table, dict) and isinstance(name := table.get("name"), str):
            taken[name.lower()] = f"{name} is a local tag"
    return taken
