"""The `[device.NAME]` tables: templates applied, models resolved, groups and tags one by one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cpppod.configuration import checks, device_models, sections, templates
from cpppod.configuration.driver_keys import divide, owners
from cpppod.configuration.files import Tables
from cpppod.configuration.items import Names, named, names_of, present, sound_part, validate
from cpppod.configuration.lines import KeyPath
from cpppod.configuration.problems import Findings
from cpppod.configuration.sections import drivers
from cpppod.protocols.model import plant
from cpppod.protocols.model.addresses import socket_address
from cpppod.workers.devices.spec import DriverSpec, Place, has_units
from cpppod.workers.settings import Section

MODEL = "model of"  # no section of the file has that name
MODEL_DEFAULTS = (  # what a model may say in a device's stead
    "timeout",
    "retries",
    "delay",
    "demote_after",
    "word_order",
    "byte_order",
)
OF_REGISTERS = (
    "encoding",
    "zone",
    "unavailable",
    "scale_from",
    "exists_from",
    "texts",
    "flags",
    "write_only",
)
TAG_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(plant.Tag)}
Tags = list[tuple[str, KeyPath]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What of a device matters to its tags."""

    spec: DriverSpec | None
    settings: Any  # as the driver's `check` made them, None where they are of no use
    orders: dict[str, str]


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
        self._units: dict[tuple[str, int], str] = {}

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
                self._check_unit(device, path)
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
                    if key not in sections.Template.model_fields and key not in owners():
                        self._findings.add(("template", name, key), table[key], "no such key")

    def _device(self, name: str, table: dict[str, Any], path: KeyPath) -> plant.Device | None:
        driver = table.get("driver")
        spec, own_model = drivers().get(driver if isinstance(driver, str) else "", (None, Section))
        model = self._model(table.get("model", ""), path)
        given = (*MODEL_DEFAULTS, *(spec.from_model if spec else ()))
        whole = {key: model[key] for key in given if key in model} | table
        whole.pop("group", None)
        keys, own_keys = divide(whole, driver, path, self._findings)
        device = validate(sections.Device, keys, path, self._findings, owners())
        own = validate(own_model, own_keys, path, self._findings)
        sound = device or sound_part(sections.Device, keys, "line", "address")
        sound_own = own or sound_part(own_model, own_keys)
        record, settings = None, None
        if spec is not None and sound is not None and sound_own is not None:
            record = _record(name, sound, sound_own, model)
            settings, mistakes = spec.check(record)
            for key, value, wanted in mistakes if own is not None else ():
                found = table.get(key) if value is None else value
                first, _, rest = key.partition(".")
                place = (MODEL, str(table["model"])) if first == "model" and rest else path
                keys_of = rest if place is not path else key
                self._findings.add((*place, *filter(None, keys_of.split("."))), found, wanted)
        orders = {key: whole.get(key) or "big" for key in ("word_order", "byte_order")}
        kind = Kind(spec, settings, orders)
        groups = tuple(self._groups(table.get("group", []), kind, (*path, "group")))
        if spec is not None and sound is not None:
            self._check_place(sound, spec.place, path)
        if record is None or device is None or own is None:
            return None
        return replace(record, groups=groups)

    def _model(self, name: Any, path: KeyPath) -> dict[str, Any]:
        if not isinstance(name, str) or not name:
            return {}
        try:
            tables, file, text = device_models.load(name, self._model_folders)
            self._findings.origins[(MODEL, name)] = (str(file), ())
            self._findings.texts[str(file)] = text
            return tables
        except KeyError:
            known = ", ".join(device_models.names(self._model_folders)) or "none is installed"
            self._findings.add((*path, "model"), name, f"the name of a device model: {known}")
        except ValueError as error:
            self._findings.add((*path, "model"), name, f"a model whose file is TOML ({error})")
        return {}

    def _check_place(self, device: sections.Device, place: Place, path: KeyPath) -> None:
        """A device is on a line or at an address, whichever its driver speaks over."""
        add, driver = self._findings.add, device.driver
        if device.line and device.address:
            add((*path, "line"), device.line, "either a line or an address")
        if place is Place.ADDRESS and device.line:
            add((*path, "line"), device.line, f"no line: {driver} has an address")
        if place is Place.LINE and device.address:
            add((*path, "address"), device.address, f"no address: {driver} has a line")
        if not device.line and not device.address:
            needs = "line" if place is Place.LINE else "address"
            add((*path, needs), None, f"its {needs}: {driver} needs one")
        if device.line:
            self._check_line(device, path)
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

    def _check_unit(self, device: plant.Device, path: KeyPath) -> None:
        """One unit of a line or an address is one device: two would show each other's values."""
        spec = drivers()[device.driver][0]
        if not device.enabled or not has_units(spec) or not device.address:
            return
        where = device.address
        if spec.place is Place.ADDRESS:
            where = str(socket_address(where.lower(), port=spec.default_port))
        before = self._units.setdefault((where, device.unit), device.name)
        if before != device.name:
            wanted = f"another: unit {device.unit} at {device.address} is {before}"
            self._findings.add((*path, "unit"), device.unit, wanted)

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
            table = _with_points(table, kind, place, self._findings)
            groups.add(table.get("name"), (*place, "name"))
            repeated = _repeated(table, kind, place, self._findings)
            members = self._tags(repeated, kind, (*place, "tags"), tags)
            found = tuple(members)
            shell = {**table, "tags": [{"name": "t", "address": "0"}]} if "tags" in table else table
            group = validate(sections.Group, shell, place, self._findings)
            rest = group or sound_part(sections.Group, named(shell), "period")
            if rest is not None and rest.period < sections.SHORTEST_PERIOD_S:
                least = sections.SHORTEST_PERIOD_S
                self._findings.add((*place, "period"), table["period"], f"{least} s or more")
            if group is None:
                continue
            rated = (
                replace(tag, write_rate=group.write_rate)
                if tag.writable and not tag.write_rate
                else tag
                for tag in found
            )
            yield plant.Group(
                name=group.name,
                period_s=group.period,
                tags=tuple(rated) if group.write_rate else found,
                history=group.history,
                max_age_s=group.max_age,
                phase_s=group.phase,
                prometheus=group.prometheus,
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
                made = self._tag(tag, kind, place)
                yield made
                if told := text_of(made):
                    names.add(told.name, (*place, "texts" if tag.texts else "flags"))
                    yield told
            elif rest := sound_part(sections.Tag, named(table), "type", "size", "length"):
                self._tag(rest, kind, place)

    def _tag(self, tag: sections.Tag, kind: Kind, path: KeyPath) -> plant.Tag:
        keys = record_keys(tag)
        if kind.spec is not None and tag.bit is None and tag.type != "BOOL":
            keys["bit"] = kind.spec.bit_of(tag.address)
        mistakes = list(checks.tag(keys))
        if tag.flat_name:
            place = (*path, "flat_name")
            self._flat_names.append((tag.flat_name, place))
            if not re.fullmatch(plant.NAME_PATTERN, tag.flat_name):
                self._findings.add(place, tag.flat_name, "a name: letters, digits and _")
        keys["type"] = tag.type or "INT"
        for key, order in kind.orders.items():
            keys[key] = keys[key] or order
        made = plant.Tag(**keys)
        if kind.spec is not None and kind.settings is not None:
            wrong = {key for key, _value, _wanted in mistakes}
            sound = replace(made, **{key: TAG_DEFAULTS[key] for key in wrong})
            more = kind.spec.check_tag(sound, kind.settings)
            mistakes += [mistake for mistake in more if mistake[0] not in wrong]
        if kind.spec is not None and kind.spec.shift is None:
            wanted = f"no such key: {kind.spec.name} has no registers"
            mistakes += [(key, keys[key], wanted) for key in OF_REGISTERS if keys[key]]
        for key, value, wanted in mistakes:
            self._findings.add((*path, key), value, wanted)
        return made


def record_keys(tag: sections.Tag) -> dict[str, Any]:
    """The keys of a tag as its record has them."""
    keys = tag.model_dump(exclude={"notes"})
    keys["unavailable"] = tuple(tag.unavailable)
    for key in ("texts", "flags"):
        keys[key] = tuple(f"{number}={text}" for number, text in keys[key].items())
    return keys


def text_of(tag: plant.Tag) -> plant.Tag | None:
    """The further tag that has the text of a number: `state_text` beside `state`."""
    if not tag.texts and not tag.flags:
        return None
    return replace(
        tag,
        name=f"{tag.name}_text",
        type="STRING",
        holds=tag.type,
        writable=False,
        minimum=None,
        maximum=None,
        flat_name="",
        deadband=0.0,
        scale=1.0,
        offset=0.0,
        scale_from="",
        value_type="",
    )


def _with_points(
    table: dict[str, Any], kind: Kind, path: KeyPath, findings: Findings
) -> dict[str, Any]:
    """A group's table with the tags of the SunSpec models that it names."""
    models = table.get("sunspec")
    if not isinstance(models, list) or not all(type(each) is int for each in models):
        return table  # which the group's own check says
    if kind.spec is None or kind.spec.points is None:
        findings.add((*path, "sunspec"), models, "no such key: the driver has no such models")
        return table
    try:
        points = kind.spec.points(models)
    except ValueError as error:
        findings.add((*path, "sunspec"), models, f"models that are known ({error})")
        return {**table, "tags": table.get("tags", [{"name": "t", "address": "HR:0"}])}
    return {**table, "tags": [*table.get("tags", []), *points]}


def _repeated(table: dict[str, Any], kind: Kind, path: KeyPath, findings: Findings) -> Any:
    """The group's tags, one set after the other where they are repeated."""
    tags, repeat = table.get("tags"), table.get("repeat")
    shift = kind.spec.shift if kind.spec is not None else None
    if not isinstance(repeat, dict) or not isinstance(tags, list):
        return tags
    if shift is None:
        findings.add((*path, "repeat"), repeat, "no such key without registers")
        return tags
    count, step = repeat.get("count"), repeat.get("step")
    if not isinstance(count, int) or not isinstance(step, int) or not 1 <= count <= 1000:
        return tags  # which the group's own check says
    there = repeat.get("count_from")
    return [
        {**tag, "name": f"{tag.get('name')}_{number + 1}"}
        | ({"exists_from": there, "exists_at": number + 1} if there else {})
        | ({"address": shift(str(tag["address"]), number * step)} if "address" in tag else {})
        for number in range(count)
        for tag in tags
        if isinstance(tag, dict)
    ]


def _record(
    name: str, device: sections.Device, own: Section, model: dict[str, Any]
) -> plant.Device:
    """The device's record: its driver's own keys are fields of it, or options."""
    keys: dict[str, Any] = {
        "name": name,
        "address": device.line or device.address,
        "timeout_s": device.timeout,
        "delay_s": device.delay,
        "groups": (),
        "model": model,
        "options": dict(device.options),
        **present(device, "driver", "retries", "demote_after", "description", "enabled", "isolate"),
    }
    free = {field.name for field in fields(plant.Device)} - keys.keys()
    for key, value in own.model_dump(exclude_none=True).items():
        (keys if key in free else keys["options"])[key] = value
    return plant.Device(**keys)
