"""The `[device.NAME]` tables: templates applied, models resolved, groups and tags one by one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpppod.configuration import checks, device_models, driver_checks, sections, templates
from cpppod.configuration.files import Tables
from cpppod.configuration.items import Names, named, names_of, present, sound_part, validate
from cpppod.configuration.problems import Findings, KeyPath
from cpppod.protocols.model import plant

MODEL_DEFAULTS = (  # what a model may say in a device's stead
    "timeout",
    "retries",
    "delay",
    "demote_after",
    "in_flight",
    "word_order",
    "byte_order",
)
TEXT_KEYS = (
    "listen",
    "sources",
    "encoding",
    "start",
    "deliver",
    "queue",
    "quiet",
    "refusals",
    "frames",
    "commands",
)
RTU_UNITS = range(1, 248)
Tags = list[tuple[str, KeyPath]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What of a device matters to its tags."""

    driver: str
    orders: dict[str, str]
    model: dict[str, Any]
    text: Any = None  # protocols.text.formats.TextSettings of a text device that is well


class DeviceTables:
    """Makes records of the device tables; what is wrong goes to `findings`."""

    def __init__(self, tables: Tables, model_folders: list[Path], findings: Findings) -> None:
        self._devices = tables.get("device", {})
        self._templates = tables.get("template", {})
        self._lines = names_of(tables.get("line"))
        self._model_folders = model_folders
        self._findings = findings
        self._flat_names: Tags = []
        self._drivers_of_lines: dict[str, str] = {}

    def devices(self) -> tuple[plant.Device, ...]:
        """The devices that are well."""
        self._check_templates()
        found = []
        for name, table in self._devices.items():
            path: KeyPath = ("device", name)
            if not re.fullmatch(plant.NAME_PATTERN, name):
                wanted = "a name: a letter or _, then up to 39 letters, digits or _"
                self._findings.add(path, name, wanted)
            if not isinstance(table, dict):
                self._findings.add(path, table, "a table")
                continue
            table = templates.expand(name, table, self._templates, self._findings)
            if device := self._device(name, table, path):
                found.append(device)
        return tuple(found)

    def add_symbols(self, symbols: Names) -> None:
        """Take every name that EtherNet/IP clients see at the top: devices and flat names."""
        for name in self._devices:
            symbols.add(name, ("device", name))
        for name, path in self._flat_names:
            symbols.add(name, path)

    def _check_templates(self) -> None:
        """A template that no device uses has its keys checked all the same."""
        used = {
            str(table.get("template"))
            for table in self._devices.values()
            if isinstance(table, dict)
        }
        for name, table in self._templates.items():
            if not isinstance(table, dict):
                self._findings.add(("template", name), table, "a table")
            elif name not in used:
                for key in table:
                    if key not in sections.Template.model_fields:
                        self._findings.add(("template", name, key), table[key], "no such key")

    def _device(self, name: str, table: dict[str, Any], path: KeyPath) -> plant.Device | None:
        model = self._model(table.get("model", ""), str(table.get("driver")), path)
        defaults = {key: model[key] for key in MODEL_DEFAULTS if key in model}
        own = {key: value for key, value in (defaults | table).items() if key != "group"}
        device = validate(sections.Device, own, path, self._findings)
        orders = {key: own.get(key) or "big" for key in ("word_order", "byte_order")}
        text = self._text(device, model, path) if device and device.driver == "text" else None
        kind = Kind(str(table.get("driver")), orders, model, text)
        groups = tuple(self._groups(table.get("group", []), kind, (*path, "group")))
        if device is None:
            if rest := sound_part(sections.Device, own, "line", "address"):
                self._check_place(rest, path)
            return None
        self._check_place(device, path)
        keys = ("driver", "unit", "retries", "demote_after", "in_flight", "route_path", "connected")
        return plant.Device(
            name=name,
            address=device.line or device.address,
            timeout_s=device.timeout,
            delay_s=device.delay,
            groups=groups,
            model=model,
            options=device.options | self._text_keys(device, path),
            **present(device, *keys, "description", "enabled", "isolate"),
        )

    def _text_keys(self, device: sections.Device, path: KeyPath) -> dict[str, Any]:
        """What a text device is told beside the rest; no other device has these keys."""
        given = {key: value for key in TEXT_KEYS if (value := getattr(device, key)) is not None}
        if device.driver != "text":
            for key in given:
                self._findings.add((*path, key), given[key], 'no such key without driver = "text"')
        return given

    def _text(self, device: sections.Device, model: dict[str, Any], path: KeyPath) -> Any:
        options = device.options | self._text_keys(device, path)
        made, mistakes = driver_checks.text(model, options)
        for key, value, wanted in mistakes:
            self._findings.add((*path, *filter(None, key.split("."))), value, wanted)
        return made

    def _model(self, name: Any, driver: str, path: KeyPath) -> dict[str, Any]:
        if not name or not isinstance(name, str):
            return {}
        try:
            model = device_models.load(name, self._model_folders)
            if wrong := driver_checks.model(driver, model):
                self._findings.add((*path, "model"), name, f"a model that is well ({wrong})")
            return model
        except KeyError:
            known = ", ".join(device_models.names(self._model_folders)) or "none is installed"
            self._findings.add((*path, "model"), name, f"the name of a device model: {known}")
        except ValueError as error:
            self._findings.add((*path, "model"), name, f"a model whose file is TOML ({error})")
        return {}

    def _check_place(self, device: sections.Device, path: KeyPath) -> None:
        """A device is on a line or at an address, whichever its driver speaks over."""
        add = self._findings.add
        if device.line and device.address:
            add((*path, "line"), device.line, "either a line or an address")
        if device.driver in ("modbus-tcp", "enip") and device.line:
            add((*path, "line"), device.line, f"no line: {device.driver} has an address")
        if device.driver == "modbus-rtu" and device.address:
            add((*path, "address"), device.address, "no address: modbus-rtu has a line")
        if not device.line and not device.address:
            needs = "line" if device.driver == "modbus-rtu" else "address"
            add((*path, needs), None, f"its {needs}: {device.driver} needs one")
        if device.line:
            self._check_line(device, path)
        if device.driver == "modbus-rtu" and device.unit not in RTU_UNITS:
            add((*path, "unit"), device.unit, "1 to 247 on a serial line")
        if device.route_path and (wanted := checks.route_path(device.route_path)):
            add((*path, "route_path"), device.route_path, wanted)
        if device.timeout <= 0:
            add((*path, "timeout"), device.timeout, "more than 0")

    def _check_line(self, device: sections.Device, path: KeyPath) -> None:
        if device.line not in self._lines:
            known = ", ".join(self._lines) or "none is configured"
            wanted = f"the name of a line: {known}"
            self._findings.add((*path, "line"), device.line, wanted)
        other = self._drivers_of_lines.setdefault(device.line, device.driver)
        if other != device.driver:
            wanted = f"a line of its own: {device.line} has {other} devices"
            self._findings.add((*path, "line"), device.line, wanted)

    def _groups(self, tables: Any, kind: Kind, path: KeyPath) -> Iterator[plant.Group]:
        if not isinstance(tables, list):
            self._findings.add(path, tables, "[[...group]] tables")
            return
        groups = Names(self._findings, "name of a group")
        tags = Names(self._findings, "name of a tag of this device")
        for index, table in enumerate(tables):
            place = (*path, index)
            if not isinstance(table, dict):
                self._findings.add(place, table, "a table")
                continue
            groups.add(table.get("name"), (*place, "name"))
            members = self._tags(table.get("tags"), kind, (*place, "tags"), tags)
            found = tuple(members)
            shell = {**table, "tags": [{"name": "t", "address": "0"}]} if "tags" in table else table
            group = validate(sections.Group, shell, place, self._findings)
            rest = group or sound_part(sections.Group, named(shell), "period")
            if rest is not None and rest.period < sections.SHORTEST_PERIOD_S:
                least = sections.SHORTEST_PERIOD_S
                self._findings.add((*place, "period"), table["period"], f"{least} s or more")
            if group is None:
                continue
            yield plant.Group(
                name=group.name,
                period_s=group.period,
                tags=found,
                history=group.history,
                max_age_s=group.max_age,
                phase_s=group.phase,
            )

    def _tags(self, tables: Any, kind: Kind, path: KeyPath, names: Names) -> Iterator[plant.Tag]:
        if tables is None:
            return  # the group lacks its key, and says so
        if not isinstance(tables, list) or not tables:
            self._findings.add(path, tables, "a list of tags")
            return
        for index, table in enumerate(tables):
            place = (*path, index)
            if isinstance(table, dict):
                names.add(table.get("name"), (*place, "name"))
            tag = validate(sections.Tag, table, place, self._findings)
            if tag is not None:
                yield self._tag(tag, kind, place)
            elif rest := sound_part(sections.Tag, named(table), "type", "size", "length"):
                self._tag(rest, kind, place)

    def _tag(self, tag: sections.Tag, kind: Kind, path: KeyPath) -> plant.Tag:
        keys = tag.model_dump()
        if tag.bit is None and tag.type != "BOOL":
            keys["bit"] = driver_checks.bit_of(kind.driver, tag.address)
        mistakes = list(checks.tag(kind.driver, keys))
        if tag.flat_name:
            place = (*path, "flat_name")
            self._flat_names.append((tag.flat_name, place))
            if not re.fullmatch(plant.NAME_PATTERN, tag.flat_name):
                self._findings.add(place, tag.flat_name, "a name: letters, digits and _")
        keys["type"] = tag.type or "INT"
        for key, order in kind.orders.items():
            keys[key] = keys[key] or order
        made = plant.Tag(**keys)
        mistakes = mistakes or list(driver_checks.tag(kind.driver, made, kind.model, kind.text))
        for key, value, wanted in mistakes:
            self._findings.add((*path, key), value, wanted)
        return made
