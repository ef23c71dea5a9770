"""Which keys of `[device.NAME]` are whose: the frame's (`sections.Device`), or a driver's own.

A driver's own are the fields of its settings (`DriverSpec.settings`) that the frame does not have.
"""

import json
import re
from functools import cache
from typing import Any

from cpppod.configuration import sections
from cpppod.configuration.items import validate
from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings
from cpppod.workers.devices.spec import DriverSpec


@cache
def owners() -> dict[str, tuple[DriverSpec, ...]]:
    """Key -> the drivers that have it for their own."""
    found: dict[str, tuple[DriverSpec, ...]] = {}
    for spec, model in sections.drivers().values():
        for key in model.model_fields.keys() - sections.Template.model_fields.keys():
            found[key] = (*found.get(key, ()), spec)
    return found


def divide(
    table: dict[str, Any], driver: Any, path: KeyPath, findings: Findings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The frame's part of a device's table, with unknown keys; and the driver's own part.

    Another driver's keys are in neither: they are noted as mistakes, or checked and left out where
    any device may carry them.
    """
    frames: dict[str, Any] = {}
    own: dict[str, Any] = {}
    known = isinstance(driver, str) and driver in sections.drivers()
    for key, value in table.items():
        specs = owners().get(key, ())
        if not specs:
            frames[key] = value
        elif any(spec.name == driver for spec in specs):
            own[key] = value
        elif known:
            _check_foreign(key, value, specs, path, findings)
    return frames, own


def _check_foreign(
    key: str, value: Any, specs: tuple[DriverSpec, ...], path: KeyPath, findings: Findings
) -> None:
    for spec in specs:
        if key in spec.elsewhere:
            validate(sections.drivers()[spec.name][1], {key: value}, path, findings)
            return
    names = " or ".join(f'"{spec.name}"' for spec in specs)
    findings.add((*path, key), value, f"no such key without driver = {names}")


def describe(plain: dict[str, Any]) -> None:
    """Add the drivers' names and keys to the JSON Schema of the sections."""
    tables = [plain["$defs"][table]["properties"] for table in ("Device", "Template")]
    for properties in tables:
        properties["driver"] = properties["driver"] | {"enum": list(sections.drivers())}
    for _spec, model in sections.drivers().values():
        schema = model.model_json_schema(ref_template="#/$defs/{model}")
        plain["$defs"] |= schema.pop("$defs", {})
        for key, described in schema["properties"].items():
            if key not in owners():
                continue
            names = ", ".join(spec.name for spec in owners()[key])
            said = f"{names}: {described.get('description', model.__doc__)}"
            for properties in tables:
                properties.setdefault(key, described | {"description": said})


def describe_tables(plain: dict[str, Any]) -> None:
    """Describe each key that holds tables as the tables of it are described."""
    for model in [plain, *plain["$defs"].values()]:
        for described in model.get("properties", {}).values():
            names = re.findall(r"#/\$defs/(\w+)", json.dumps(described))
            if names and "description" not in described:
                described["description"] = plain["$defs"][names[0]].get("description", "")
