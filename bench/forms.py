"""Lines that a person writes: the devices of `examples/devices/` here and in others' forms.

    python bench/forms.py

The same tags in the documented forms of Telegraf (`[[inputs.modbus]]`, an enum processor for texts,
one Starlark script for sentinels and factors) and of Home Assistant (`modbus:` sensors, template
sensors for texts and factors), as shortly as these allow. Blank lines and comments do not count.
What neither says (dates, where a SunSpec device has its models) is left out of theirs. Their lines
are made here, as words, to be counted only.
"""

import pathlib
from collections.abc import Iterator

from cpppod import configuration
from cpppod.protocols.modbus.address import Table, parse_address
from cpppod.protocols.model.plant import Device, Group, Tag

FOLDER = pathlib.Path(__file__).parents[1] / "examples" / "devices"
TABLES = {
    Table.COILS: ("coils", "coil"),
    Table.DISCRETE_INPUTS: ("discrete_inputs", "discrete_input"),
    Table.HOLDING_REGISTERS: ("holding_registers", "holding"),
    Table.INPUT_REGISTERS: ("input_registers", "input"),
}


def ours(text: str) -> int:
    """Lines of a configuration."""
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def table_of(tag: Tag) -> Table:
    """Where it lies; a SunSpec point in the holding registers."""
    if tag.address.startswith("M"):
        return Table.HOLDING_REGISTERS
    return parse_address(tag.address).table


def numbers_of(group: Group) -> list[Tag]:
    """The tags that the others have too: dates are not; texts are counted by themselves."""
    return [tag for tag in group.tags if not tag.encoding.startswith("date") and not tag.holds]


def telegraf(device: Device) -> Iterator[str]:
    """The plugin's sections for one device, a group a section, and its processors."""
    serial = not device.address.count(":")
    for group in device.groups:
        yield from ("[[inputs.modbus]]", "name", "interval", "slave_id", "controller")
        yield from ("baud_rate", "parity", "transmission_mode") if serial else ()
        by_table: dict[Table, list[str]] = {}
        factors = {tag.scale_from for tag in group.tags if tag.scale_from}
        for tag in numbers_of(group):
            by_table.setdefault(table_of(tag), []).append(tag.name)
        if factors:
            by_table.setdefault(Table.HOLDING_REGISTERS, []).extend(sorted(factors))
        for table, entries in by_table.items():
            yield f"{TABLES[table][0]} = ["
            yield from entries
            yield "]"
    tags = [tag for group in device.groups for tag in group.tags]
    for tag in tags:
        if tag.holds:
            yield from ("[[processors.enum]]", "[[processors.enum.mapping]]", "field", "dest")
            yield from ("[processors.enum.mapping.value_mappings]", *tag.texts, *tag.flags)
    scripted = [tag.name for tag in tags if not tag.holds and (tag.scale_from or tag.unavailable)]
    if scripted:
        yield from ("[[processors.starlark]]", "source = '''", "def apply(metric):")
        yield from (*scripted, "return metric", "'''")


def home_assistant(device: Device) -> Iterator[str]:
    """The hub, its sensors and the template sensors of one device."""
    serial = not device.address.count(":")
    yield from ("modbus:", "- name", "type", "host or port", "port or baudrate")
    yield from ("bytesize", "method", "parity", "stopbits") if serial else ()
    yield "sensors:"
    templates: list[str] = []
    for group in device.groups:
        for tag in numbers_of(group):
            yield from ("- name", "slave", "address", "scan_interval")
            yield from ("input_type",) if table_of(tag) is Table.INPUT_REGISTERS else ()
            yield from ("data_type",) if tag.type != "INT" else ()
            yield from ("count",) if tag.size else ()
            yield from ("swap",) if tag.word_order == "little" and tag.type != "INT" else ()
            yield from ("scale", "precision") if tag.scale != 1.0 else ()
            yield from ("unit_of_measurement",) if tag.unit else ()
            yield from ("nan_value",) if tag.unavailable else ()
            if tag.scale_from:
                templates += ["- name", "unit_of_measurement", "state: >", "a * 10 ** b"]
        for factor in sorted({tag.scale_from for tag in group.tags if tag.scale_from}):
            yield from ("- name", "slave", "address", "scan_interval", factor)
        for tag in group.tags:
            if tag.holds:
                templates += ["- name", "state: >", "{% set texts = {", *tag.texts, *tag.flags]
                templates += ["} %}", "{{ texts[states(...) | int] }}"]
    if templates:
        yield from ("template:", "- sensor:", *templates)


def counted() -> list[tuple[str, int, int, int, int]]:
    """(device, tags, lines here, Telegraf's, Home Assistant's) of each."""
    rows = []
    for path in sorted(FOLDER.glob("*.toml")):
        plant = configuration.load([path], old_files=[]).plant
        (device,) = (each for each in plant.devices if each.driver.startswith("modbus"))
        tags = sum(len(group.tags) for group in device.groups)
        text = path.read_text(encoding="utf-8").partition("[[computed]]")[0]
        others = (len(list(form(device))) for form in (telegraf, home_assistant))
        rows.append((path.stem, tags, ours(text), *others))
    return rows  # type: ignore[return-value]


def main() -> None:
    """Print a line for each device."""
    rows = counted()
    totals = tuple(map(sum, zip(*(row[1:] for row in rows), strict=True)))
    print("| device | tags | here | Telegraf | Home Assistant |")
    print("|---|---|---|---|---|")
    for name, *numbers in [*rows, ("all", *totals)]:
        print("|", name, "|", " | ".join(map(str, numbers)), "|")


if __name__ == "__main__":
    main()
