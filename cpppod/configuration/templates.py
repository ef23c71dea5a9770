"""Templates: one device profile, many devices that differ in a few parameters.

    [template.pump]                               [device.pump_3]
    parameters = { base = 0 }                     template = "pump"
    driver = "modbus-rtu"                         line = "rs485"
    [[template.pump.group]]                       unit = 3
    name = "fast"                                 parameters = { base = 100 }
    tags = [{ name = "flow", address = "HR:${base+2}" }]

`${name}`, `${name+N}` and `${name-N}` may stand in any text; a text that is nothing else becomes
the parameter's own value, so `unit = "${unit}"` is a number. A key of the device replaces the
template's; groups are matched by name and merged, tags of a group of the same name likewise.
"""

import re
from typing import Any

from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings

PARAMETER = re.compile(r"\$\{\s*([A-Za-z_]\w*)\s*(?:([+-])\s*(\d+)\s*)?\}")
MATCHED_BY_NAME = ("group", "tags")


def expand(name: str, device: dict[str, Any], templates: Any, findings: Findings) -> dict[str, Any]:
    """The device's table with its template applied; without a template, as it stands.

    What came from the template keeps the template as its origin, so that a mistake there is
    reported once, where it can be mended.
    """
    chosen = device.get("template", "")
    if not chosen or not isinstance(chosen, str):
        return device  # what is no name is refused where the device is validated
    if not isinstance(templates, dict) or not isinstance(templates.get(chosen), dict):
        known = ", ".join(templates) if isinstance(templates, dict) and templates else "none"
        findings.add(("device", name, "template"), chosen, f"the name of a template: {known}")
        return device
    template = templates[chosen]
    parameters = _parameters(name, device, template, findings)
    filled = {
        key: _fill(value, ("template", chosen, key), parameters, findings)
        for key, value in template.items()
        if key != "parameters"
    }
    source, target = ("template", chosen), ("device", name)
    merged = _merge(filled, device, source, target, findings)
    merged.pop("parameters", None)
    return merged


def _parameters(
    name: str, device: dict[str, Any], template: dict[str, Any], findings: Findings
) -> dict[str, Any]:
    defaults, given = template.get("parameters", {}), device.get("parameters", {})
    if not isinstance(defaults, dict) or not isinstance(given, dict):
        findings.add(("device", name, "parameters"), given, "a table of values")
        return {}
    used = set(PARAMETER.findall(str(template)))
    known = {*defaults, *(match[0] for match in used)}
    for key, value in given.items():
        if key not in known:
            names = ", ".join(sorted(known)) or "none"
            findings.add(
                ("device", name, "parameters", key), value, f"a parameter of the template: {names}"
            )
    return {"name": name, **defaults, **given}


def _fill(value: Any, path: KeyPath, parameters: dict[str, Any], findings: Findings) -> Any:
    """`value` with every `${...}` replaced."""
    if isinstance(value, dict):
        return {key: _fill(item, (*path, key), parameters, findings) for key, item in value.items()}
    if isinstance(value, list):
        return [
            _fill(item, (*path, index), parameters, findings) for index, item in enumerate(value)
        ]
    if not isinstance(value, str) or "${" not in value:
        return value
    if whole := PARAMETER.fullmatch(value):
        return _replacement(whole, path, parameters, findings)
    return PARAMETER.sub(lambda match: str(_replacement(match, path, parameters, findings)), value)


def _replacement(
    match: re.Match[str], path: KeyPath, parameters: dict[str, Any], findings: Findings
) -> Any:
    key, sign, distance = match.groups()
    if key not in parameters:
        known = ", ".join(sorted(parameters))
        findings.add(path, match[0], f"a parameter with a value: {known} have one")
        return match[0]
    value = parameters[key]
    if sign is None:
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        findings.add(path, match[0], f"{key} to be a whole number, to add to it")
        return match[0]
    return value + int(sign + distance)


def _merge(
    base: dict[str, Any], over: dict[str, Any], source: KeyPath, target: KeyPath, findings: Findings
) -> dict[str, Any]:
    """`base` (from `source`) with the keys of `over` (at `target`) in their place."""
    merged: dict[str, Any] = {}
    for key in [*base, *(key for key in over if key not in base)]:
        both = key in base and key in over
        if both and key in MATCHED_BY_NAME and _are_tables(base[key]) and _are_tables(over[key]):
            merged[key] = _merge_lists(
                base[key], over[key], (*source, key), (*target, key), findings
            )
        elif key in over:
            merged[key] = over[key]
        else:
            merged[key] = base[key]
            findings.origins[(*target, key)] = findings.locate((*source, key))
    return merged


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _merge_lists(
    base: list[dict[str, Any]],
    over: list[dict[str, Any]],
    source: KeyPath,
    target: KeyPath,
    findings: Findings,
) -> list[dict[str, Any]]:
    places = [findings.locate((*target, index)) for index in range(len(over))]
    replaced = {item.get("name"): index for index, item in enumerate(over)}
    names = {item.get("name") for item in base}
    merged: list[dict[str, Any]] = []
    for index, item in enumerate(base):
        place = (*target, len(merged))
        findings.origins[place] = findings.locate((*source, index))
        if (at := replaced.get(item.get("name"))) is not None:
            item = _merge(item, over[at], (*source, index), place, findings)
            for key in over[at]:
                if key not in MATCHED_BY_NAME:
                    findings.origins[(*place, key)] = (places[at][0], (*places[at][1], key))
        merged.append(item)
    for index, item in enumerate(over):
        if item.get("name") not in names:
            findings.origins[(*target, len(merged))] = places[index]
            merged.append(item)
    return merged
