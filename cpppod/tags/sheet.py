"""Tags as a CSV table: a row a tag, a column a key of its table in the configuration.

    device,device.driver,device.address,group,group.period,name,address,type,unit
    boiler,modbus-tcp,10.20.0.11:502,fast,1s,pressure,40001,REAL,bar

UTF-8 with or without a byte order mark; `,` or `;` or a tab between the cells; a decimal point. A
cell that is empty is a key that is not there; what is no text or number is JSON (`{"0": "off"}`). A
column that no tag has is kept in the tag's `notes`. The first line of the file that is made of it
remembers the columns and the delimiter, so that what is given out again is the same table.
"""

import csv
import io
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from cpppod.configuration import sections
from cpppod.tags.report import Report
from cpppod.tags.source import ImportRefused, Wishes
from cpppod.tags.tables import Table, device_name, mistake, place_of
from cpppod.workers.settings import Section

DEVICE, GROUP, NOTES = "device", "group", "notes"
REMEMBERED = "# csv "
DELIMITERS = (",", ";", "\t")
YES, NO = ("true", "1", "yes"), ("false", "0", "no")
TAG_KEYS = [name for name in sections.Tag.model_fields if name != NOTES]
GROUP_KEYS = [name for name in sections.Group.model_fields if name not in ("tags", "name")]
DEFAULT_GROUP = "all"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a table was written.

    Attributes:
        columns: in their order.
        mark: a byte order mark is before it.
        rows: the tags' rows in their order, where devices or groups are mixed in it: each is the
            number of its tag in the file.
    """

    columns: tuple[str, ...] = ()
    delimiter: str = ","
    mark: bool = False
    line_end: str = "\r\n"
    rows: tuple[int, ...] = ()

    def comment(self) -> str:
        """As the first line of the file that is made of it."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return f"csv {json.dumps({k: v for k, v in plain.items() if v}, ensure_ascii=False)}"


def remembered(text: str) -> Shape:
    """The shape that a file's first line remembers; without one, of its own."""
    first = text.lstrip("\ufeff").partition("\n")[0]
    if first.startswith(REMEMBERED):
        try:
            plain = json.loads(first.removeprefix(REMEMBERED))
            lists = {key: tuple(plain.get(key, ())) for key in ("columns", "rows")}
            return Shape(**plain | lists)
        except (ValueError, TypeError, KeyError):
            return Shape()
    return Shape()


# In


@dataclass(slots=True)
class Sheet:
    """What a table came to."""

    tables: dict[str, Any]
    report: Report
    shape: Shape


def read(text: str, wishes: Wishes, *, name: str = "") -> Sheet:
    """The devices of a table; those of a row without one are of the wishes, or of the file's name.

    Raises:
        ImportRefused: it has no column `name` or `address`.
    """
    mark, body = text.startswith("\ufeff"), text.removeprefix("\ufeff")
    delimiter = max(DELIMITERS, key=body.partition("\n")[0].count)
    rows = list(csv.reader(io.StringIO(body, newline=""), delimiter=delimiter))
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "name" not in header or "address" not in header:
        raise ImportRefused("no table of tags: its first row needs the columns name and address")
    line_end = "\r\n" if "\r\n" in body else "\n"
    sheet = Sheet({DEVICE: {}}, Report(), Shape(tuple(header), delimiter, mark, line_end))
    unknown = [column for column in header if column not in _known()]
    if unknown:
        sheet.report.remarks.append(f"kept as notes: {', '.join(unknown)}")
    taker = _Taker(sheet, wishes, device_name(wishes.name or name))
    for number, row in enumerate(rows[1:], 2):
        cells = {column: cell for column, cell in zip(header, row, strict=False) if cell != ""}
        if cells:
            taker.take(number, cells)
    sheet.shape = replace(sheet.shape, rows=taker.mixed())
    return sheet


class _Taker:
    """Takes rows into the tables of a sheet."""

    def __init__(self, sheet: Sheet, wishes: Wishes, default: str) -> None:
        self._sheet = sheet
        self._wishes = wishes
        self._default = default
        self._seen: set[tuple[str, str]] = set()
        self._order: list[tuple[str, str]] = []

    def take(self, number: int, cells: Mapping[str, str]) -> None:
        """Take one row, or note why not."""
        source = f"row {number} ({cells.get('name', 'without a name')})"
        try:
            keys = {column: _value(column, cell) for column, cell in cells.items()}
        except ValueError as error:
            self._sheet.report.leave_out(source, str(error))
            return
        device = str(keys.pop(DEVICE, self._default))
        tag: Table = {key: keys[key] for key in TAG_KEYS if key in keys}
        notes = {column: cells[column] for column in cells if column not in _known()}
        if notes:
            tag[NOTES] = notes
        group = str(keys.get(GROUP, DEFAULT_GROUP))
        own = _under("device.", keys)
        driver = str(own.get("driver", self._driver(device)))
        taken = (device.lower(), str(tag.get("name", "")).lower())
        why = mistake(driver, tag)
        if not why and taken in self._seen:
            why = "another row of this device has its name"
        if why:
            self._sheet.report.leave_out(source, why)
            return
        self._seen.add(taken)
        table = self._device(device, driver, own)
        of = _under("group.", keys)
        groups = table[GROUP]
        found = next((each for each in groups if each["name"] == group), None)
        if found is None:
            found = {"name": group, "period": self._wishes.period, **of, "tags": []}
            groups.append(found)
        found["tags"].append(tag)
        self._order.append((device, str(tag["name"])))
        self._sheet.report.take(source, (f"{device}.{tag['name']}",))

    def mixed(self) -> tuple[int, ...]:
        """The rows' order where it is not the file's: which tag of the file each is."""
        numbers = {
            (device, tag["name"]): number
            for number, (device, tag) in enumerate(
                (device, tag)
                for device, table in self._sheet.tables[DEVICE].items()
                for group in table[GROUP]
                for tag in group["tags"]
            )
        }
        order = tuple(numbers[place] for place in self._order)
        return () if order == tuple(range(len(order))) else order

    def _driver(self, device: str) -> str:
        known = self._sheet.tables[DEVICE].get(device)
        return known["driver"] if known else self._wishes.driver or "modbus-tcp"

    def _device(self, name: str, driver: str, own: Table) -> Table:
        devices = self._sheet.tables[DEVICE]
        if name not in devices:
            placed = bool({"address", "line"} & own.keys())
            place = {} if placed else place_of(driver, self._wishes.address)
            if "enabled" in place:
                self._sheet.report.remarks.append(
                    f"device {name}: no address: it is not enabled; --address gives one"
                )
            devices[name] = {"driver": driver, **place, **own, GROUP: []}
        found: Table = devices[name]
        return found


def _under(prefix: str, keys: Mapping[str, Any]) -> Table:
    """The keys of a device or group among those of a row."""
    return {
        column.removeprefix(prefix): value
        for column, value in keys.items()
        if column.startswith(prefix)
    }


@cache
def _known() -> dict[str, set[type]]:
    """Column -> the plain types of its key, in the order of columns; notes are not among them."""
    found: dict[str, set[type]] = {DEVICE: {str}}
    models: list[type[Section]] = [sections.Device]
    for model in models + [model for _, model in sections.drivers().values()]:
        for name, each in model.model_fields.items():
            if name != GROUP:
                found.setdefault(f"device.{name}", _kinds(each))
    found[GROUP] = {str}
    found |= {f"group.{key}": _kinds(sections.Group.model_fields[key]) for key in GROUP_KEYS}
    return found | {key: _kinds(sections.Tag.model_fields[key]) for key in TAG_KEYS}


def _kinds(field: FieldInfo) -> set[type]:
    """What a key takes; a duration is a text or a number."""
    kinds = _plain_kinds(field.annotation)
    either = float in kinds and any(isinstance(each, BeforeValidator) for each in field.metadata)
    return kinds | {str} if either else kinds


def _value(column: str, cell: str) -> Any:
    """What a cell says.

    Raises:
        ValueError: it is not what its key takes.
    """
    kinds = _known().get(column, {str})
    if kinds == {str} or (str in kinds and not kinds & {int, float}):
        return cell
    if bool in kinds and cell.strip().lower() in (*YES, *NO):
        return cell.strip().lower() in YES
    try:
        if kinds & {int, float} and cell.strip().lstrip("-").isdecimal():
            return int(cell)
        return float(cell) if float in kinds else json.loads(cell)
    except ValueError:
        if str in kinds:
            return cell
        wanted = "a number with a decimal point" if float in kinds else "a whole number or JSON"
        raise ValueError(f"{column}: {cell!r:.40}: expected {wanted}") from None


def _plain_kinds(annotation: Any) -> set[type]:
    """The plain types that a key takes."""
    if isinstance(annotation, type):
        return {annotation}
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(_plain_kinds, typing.get_args(annotation)))
    if origin is typing.Annotated:
        return _plain_kinds(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    return {origin} if isinstance(origin, type) else set()


# Out


def write(tables: Mapping[str, Any], shape: Shape) -> str:
    """The devices' tags as a table: of those columns, or of every key that any of them has."""
    rows = list(_rows(tables))
    if sorted(shape.rows) == list(range(len(rows))):
        rows = [rows[number] for number in shape.rows]
    used = {key for row in rows for key in row}
    columns = list(shape.columns) or [column for column in _all_columns(rows) if column in used]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=shape.delimiter, lineterminator=shape.line_end)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(column, "") for column in columns])
    return ("\ufeff" if shape.mark else "") + text.getvalue()


def _rows(tables: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    for device, table in tables.get(DEVICE, {}).items():
        of_device = {DEVICE: device} | {
            f"device.{key}": _cell(value) for key, value in table.items() if key != GROUP
        }
        for group in table.get(GROUP, []):
            of_group = {GROUP: str(group["name"])} | {
                f"group.{key}": _cell(value)
                for key, value in group.items()
                if key not in ("name", "tags")
            }
            for tag in group.get("tags", []):
                notes = {key: str(value) for key, value in tag.get(NOTES, {}).items()}
                own = {key: _cell(value) for key, value in tag.items() if key != NOTES}
                yield of_device | of_group | own | notes


def _all_columns(rows: list[dict[str, str]]) -> list[str]:
    """Every column in a fixed order, notes last."""
    further = dict.fromkeys(key for row in rows for key in row if key not in _known())
    return [*_known(), *further]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
