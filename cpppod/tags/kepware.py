"""Kepware's projects (`.json` of KEPServerEX 6 and later) and the CSV of a device's tags.

    channel ─ device ─ tag group ─ ... ─ tag      "Modbus TCP/IP Ethernet"   modbus-tcp
                                                  "Modbus RTU Serial"        modbus-rtu, a line
                                                  "... ControlLogix ..."     enip

    400012.3        bit 3 of a register          numbered from 0, or from 1 where the device says so
    400001[10]      an array
    400001.20H      a string of 20 bytes, the first in the high byte of each register (L: the low)
    Pump[3].Speed   a tag of a controller; {10} behind it makes an array

A device's tags come into a group for each scan rate; the groups of tags become a part of the names.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from cpppod.protocols.model.addresses import SocketAddress
from cpppod.protocols.model.naming import name_of
from cpppod.tags.source import ImportRefused, Refused, Wishes
from cpppod.tags.tables import (
    DeviceList,
    Imported,
    Table,
    device_name,
    one_line,
    period_text,
    place_of,
)
from cpppod.workers.devices.spec import relays

TYPES = (  # by Kepware's number; arrays are 20 further on
    "String", "Boolean", "Char", "Byte", "Short", "Word", "Long", "DWord", "Float", "Double",
    "BCD", "LBCD", "Date", "LLong", "QWord",
)  # fmt: skip
DEFAULT_TYPE = -1
ARRAY = 20
MODBUS_TYPES: dict[str, Table] = {
    "Boolean": {"type": "BOOL"},
    "Short": {"type": "INT"},
    "Word": {"type": "UINT"},
    "Long": {"type": "DINT"},
    "DWord": {"type": "UDINT"},
    "Float": {"type": "REAL"},
    "Double": {"type": "LREAL"},
    "LLong": {"type": "LINT"},
    "QWord": {"type": "ULINT"},
    "BCD": {"type": "UINT", "encoding": "bcd"},
    "LBCD": {"type": "UDINT", "encoding": "bcd"},
}
LOGIX_TYPES: dict[str, Table] = {
    "Boolean": {"type": "BOOL"},
    "Char": {"type": "SINT"},
    "Byte": {"type": "SINT"},
    "Short": {"type": "INT"},
    "Word": {"type": "INT"},
    "Long": {"type": "DINT"},
    "DWord": {"type": "DINT"},
    "Float": {"type": "REAL"},
    "Double": {"type": "LREAL"},
    "LLong": {"type": "LINT"},
    "QWord": {"type": "LINT"},
    "String": {"type": "STRING"},
}
UNSIGNED = ("Byte", "Word", "DWord", "QWord")
MODBUS_ADDRESS = re.compile(
    r"(?P<table>[0134])(?P<number>\d{4,5})"
    r"(?:\.(?P<size>\d+)(?P<half>[HL])|\.(?P<bit>\d+))?(?P<dimensions>(?:\[\d+\])*)",
    re.IGNORECASE,
)
LOGIX_ARRAY = re.compile(r"(?P<tag>[^{}/]+)(?P<dimensions>(?:\{\d+\})*)(?:/\d+)?")
TABLES = {"0": "CO", "1": "DI", "3": "IR", "4": "HR"}
DEVICE_ID = re.compile(r"<?(?P<host>[^<>,.\s]+(?:\.[^<>,.\s]+)*)>?(?P<rest>[.,].*)?")
PARITIES = {0: "N", 1: "O", 2: "E"}
COLUMNS = {  # of the CSV -> of the project
    "Tag Name": "common.ALLTYPES_NAME",
    "Address": "servermain.TAG_ADDRESS",
    "Data Type": "servermain.TAG_DATA_TYPE",
    "Client Access": "servermain.TAG_READ_WRITE_ACCESS",
    "Scan Rate": "servermain.TAG_SCAN_RATE_MILLISECONDS",
    "Scaling": "servermain.TAG_SCALING_TYPE",
    "Raw Low": "servermain.TAG_SCALING_RAW_LOW",
    "Raw High": "servermain.TAG_SCALING_RAW_HIGH",
    "Scaled Low": "servermain.TAG_SCALING_SCALED_LOW",
    "Scaled High": "servermain.TAG_SCALING_SCALED_HIGH",
    "Scaled Data Type": "servermain.TAG_SCALING_SCALED_DATA_TYPE",
    "Clamp Low": "servermain.TAG_SCALING_CLAMP_LOW",
    "Clamp High": "servermain.TAG_SCALING_CLAMP_HIGH",
    "Negate Value": "servermain.TAG_SCALING_NEGATE_VALUE",
    "Eng Units": "servermain.TAG_SCALING_UNITS",
    "Engineering Units": "servermain.TAG_SCALING_UNITS",
    "Description": "common.ALLTYPES_DESCRIPTION",
}
YES = ("1", "true", "yes")


def read(text: str, wishes: Wishes, *, name: str = "") -> Imported:
    """The tags of a project or of a device's CSV; `name` is the file's, for want of a better.

    Raises:
        ImportRefused: it is neither.
    """
    if text.lstrip("\ufeff \r\n").startswith("{"):
        return _project(text, wishes)
    return _sheet(text, wishes, name)


# A project


def _project(text: str, wishes: Wishes) -> Imported:
    try:
        plain = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ImportRefused(f"no JSON: {error}") from None
    project = plain.get("project", plain)
    channels = project.get("channels") if isinstance(project, dict) else None
    if not isinstance(channels, list):
        raise ImportRefused("no project of Kepware: it has no project.channels")
    made = Imported()
    for channel in channels:
        for device in _items(channel, "devices"):
            _device(made, channel, device, wishes)
    return made


def _items(table: Any, key: str) -> list[Any]:
    found = table.get(key) if isinstance(table, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _name(table: Table) -> str:
    return str(table.get("common.ALLTYPES_NAME", ""))


def _device(made: Imported, channel: Table, device: Table, wishes: Wishes) -> None:
    path = (_name(channel), _name(device))
    kind = str(
        device.get("servermain.MULTIPLE_TYPES_DEVICE_DRIVER")
        or channel.get("servermain.MULTIPLE_TYPES_DEVICE_DRIVER", "")
    )
    why, driver = "", ""
    place: Table = {}
    try:
        driver, place = _place(made, kind, channel, device, wishes)
    except Refused as refused:
        why = str(refused)
    found = DeviceList(device_name(*path), driver, place)
    made.devices.append(found)
    taken = _Taker(made, found, device, wishes)
    for folders, tag in _tags(device, ()):
        source = ".".join((*path, *folders, _name(tag)))
        if why:
            made.report.leave_out(source, why)
        else:
            taken.take(source, ".".join((*folders, _name(tag))), tag)


def _tags(table: Table, folders: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Table]]:
    """Every tag of a device, with the groups that it lies in."""
    for tag in _items(table, "tags"):
        yield folders, tag
    for group in _items(table, "tag_groups"):
        yield from _tags(group, (*folders, _name(group)))


def _place(
    made: Imported, kind: str, channel: Table, device: Table, wishes: Wishes
) -> tuple[str, Table]:
    """The driver of a device, and what finds it.

    Raises:
        Refused: there is no such driver here, or the device's id says nothing.
    """
    if kind == "Modbus RTU Serial":
        return "modbus-rtu", _on_line(made, channel, device) | _habits(device)
    drivers = {"Modbus TCP/IP Ethernet": "modbus-tcp"}
    logix = kind.startswith("Allen-Bradley") and ("ControlLogix" in kind or "Micro800" in kind)
    driver = drivers.get(kind, "enip" if logix else "")
    if not driver:
        raise Refused(f"its driver is {kind or 'not told'}: there is none here for it")
    found = DEVICE_ID.fullmatch(str(device.get("servermain.DEVICE_ID_STRING", "")))
    if found is None:
        raise Refused("its id has no address")
    rest = (found["rest"] or "").lstrip(".,").split(",")
    if logix:
        port = _whole(device, "controllogix_ethernet.DEVICE_PORT_NUMBER", 44_818)
        route = "/".join(part.strip() for part in rest) if len(rest) > 1 else ""
        return driver, {"address": str(SocketAddress(found["host"], port))} | (
            {"route_path": route} if route else {}
        ) | _habits(device)
    port = _whole(device, "modbus_ethernet.DEVICE_ETHERNET_PORT_NUMBER", 502)
    unit = int(rest[0]) if rest[0].isdecimal() and int(rest[0]) < 256 else 1
    return driver, {"address": str(SocketAddress(found["host"], port)), "unit": unit} | _habits(
        device
    )


def _on_line(made: Imported, channel: Table, device: Table) -> Table:
    line = name_of(_name(channel))
    prefix = "servermain.CHANNEL_SERIAL_COMMUNICATIONS"
    port = _whole(channel, f"{prefix}_COM_ID", 1)
    made.lines[line] = {
        "port": f"/dev/ttyS{max(port - 1, 0)}",
        "baudrate": _whole(channel, f"{prefix}_BAUD_RATE", 19_200),
        "parity": PARITIES.get(_whole(channel, f"{prefix}_PARITY", 0), "N"),
        "stopbits": _whole(channel, f"{prefix}_STOP_BITS", 1),
    }
    remark = f"line {line}: COM{port} became {made.lines[line]['port']}"
    if remark not in made.report.remarks:
        made.report.remarks.append(remark)
    number = device.get("servermain.DEVICE_ID_DECIMAL")
    text = str(device.get("servermain.DEVICE_ID_STRING", 1) if number is None else number)
    if not text.isdecimal() or not 1 <= int(text) <= 247:
        raise Refused(f"its id {text!r:.40} is no unit of a line")
    return {"line": line, "unit": int(text)}


def _whole(table: Table, key: str, default: int) -> int:
    value = table.get(key)
    return value if isinstance(value, int) else default


def _habits(device: Table) -> Table:
    """Keys of any device that say otherwise than by default."""
    found: Table = {}
    if device.get("servermain.DEVICE_DATA_COLLECTION") is False:
        found["enabled"] = False
    timeout = device.get("servermain.DEVICE_REQUEST_TIMEOUT_MILLISECONDS", 1000)
    if isinstance(timeout, int) and timeout > 0 and timeout != 1000:
        found["timeout"] = period_text(timeout)
    delay = device.get("servermain.DEVICE_INTER_REQUEST_DELAY_MILLISECONDS", 0)
    if isinstance(delay, int) and delay > 0:
        found["delay"] = period_text(delay)
    if text := one_line(str(device.get("common.ALLTYPES_DESCRIPTION", ""))):
        found["description"] = text
    return found


# The CSV of one device


def _sheet(text: str, wishes: Wishes, name: str) -> Imported:
    rows = list(csv.reader(io.StringIO(text.lstrip("\ufeff"), newline="")))
    header = next((row for row in rows if row and row[0].strip() == "Tag Name"), None)
    if header is None or "Address" not in header:
        raise ImportRefused("neither a project nor a CSV of Kepware: no header Tag Name,Address")
    keys = [COLUMNS.get(cell.strip(), "") for cell in header]
    tags = [
        {key: cell for key, cell in zip(keys, row, strict=False) if key and cell != ""}
        for row in rows[rows.index(header) + 1 :]
        if any(row) and not row[0].startswith(";")
    ]
    tags = [tag | _numbers(tag) for tag in tags]
    addresses = [str(tag.get("servermain.TAG_ADDRESS", "")) for tag in tags]
    modbus = sum(bool(MODBUS_ADDRESS.fullmatch(address)) for address in addresses)
    driver = wishes.driver or ("modbus-tcp" if 2 * modbus > len(addresses) else "enip")
    place = place_of(driver, wishes.address)
    if wishes.route_path:
        place["route_path"] = wishes.route_path
    made = Imported()
    found = DeviceList(device_name(wishes.name or name), driver, place)
    made.devices.append(found)
    if not wishes.address:
        made.report.remarks.append(
            f"device {found.name}: the file has no address: it is not enabled; --address gives one"
        )
    taken = _Taker(made, found, {}, wishes)
    for tag in tags:
        taken.take(_name(tag), _name(tag), tag)
    return made


def _numbers(tag: Table) -> Table:
    """What the CSV says in words, as a project says it."""
    word = str(tag.get("servermain.TAG_DATA_TYPE", "Default"))
    array = ARRAY if word.endswith(" Array") else 0
    name = word.removesuffix(" Array")
    access = str(tag.get("servermain.TAG_READ_WRITE_ACCESS", "R/W"))
    scaling = str(tag.get("servermain.TAG_SCALING_TYPE", "None"))
    kinds = {"": 0, "None": 0, "Linear": 1, "Square Root": 2}
    return {
        "servermain.TAG_DATA_TYPE": TYPES.index(name) + array if name in TYPES else DEFAULT_TYPE,
        "servermain.TAG_READ_WRITE_ACCESS": int(access in ("R/W", "RW")),
        "servermain.TAG_SCALING_TYPE": kinds.get(scaling, 3),
    }


# One tag


class _Taker:
    """Takes the tags of one device over."""

    def __init__(self, made: Imported, device: DeviceList, settings: Table, wishes: Wishes) -> None:
        self._made = made
        self._device = device
        self._wishes = wishes
        self._settings = settings

    def take(self, source: str, name: str, tag: Table) -> None:
        """Take a tag over, or note why not."""
        notes: list[str] = []
        try:
            table = self._table(tag, notes)
        except Refused as refused:
            self._made.report.leave_out(source, str(refused))
            return
        rate = str(tag.get("servermain.TAG_SCAN_RATE_MILLISECONDS", ""))
        period = period_text(float(rate)) if rate.isdecimal() else self._wishes.period
        own, why = self._device.add(source, name, (f"every_{period}", period), table)
        if why:
            self._made.report.leave_out(source, why)
        else:
            self._made.report.take(source, (own,), *notes)

    def _table(self, tag: Table, notes: list[str]) -> Table:
        address = str(tag.get("servermain.TAG_ADDRESS", "")).strip()
        number = tag.get("servermain.TAG_DATA_TYPE", DEFAULT_TYPE)
        array = isinstance(number, int) and number >= ARRAY
        kind = ""
        if isinstance(number, int) and 0 <= (at := number - ARRAY * array) < len(TYPES):
            kind = TYPES[at]
        of = _logix if relays(self._device.driver) else self._modbus
        table = of(address, kind, notes) | _scaling(tag, notes)
        written = tag.get("servermain.TAG_READ_WRITE_ACCESS", 1) == 1 and self._wishes.writable
        if written and table["address"][:2] not in ("IR", "DI"):
            table["writable"] = True
        for key, source in (("unit", "TAG_SCALING_UNITS"), ("description", "")):
            name = f"servermain.{source}" if source else "common.ALLTYPES_DESCRIPTION"
            if text := one_line(str(tag.get(name, ""))):
                table[key] = text
        return table

    def _modbus(self, text: str, kind: str, notes: list[str]) -> Table:
        found = MODBUS_ADDRESS.fullmatch(text)
        if found is None:
            raise Refused(f"its address {text!r:.60} is none of Modbus")
        bits = found["table"] in "01"
        shift = 0 if self._flag("ZERO_BASED_ADDRESSING", default=True) else 1
        offset = int(found["number"]) - 1 + shift
        if not 0 <= offset <= 0xFFFF:
            raise Refused(f"its address {text!r:.60} is beyond the last one")
        address = f"{TABLES[found['table']]}:{offset}"
        length = _elements(re.findall(r"\d+", found["dimensions"]))
        if found["size"]:
            low_first = {"byte_order": "little"} if found["half"] in "lL" else {}
            size = int(found["size"])
            return {"address": address, "type": "STRING", "size": size} | low_first
        kind = kind or ("Boolean" if bits else "Word")
        if found["bit"] and not bits:
            return {"address": f"{address}.{self._bit(int(found['bit']))}", "type": "WORD"}
        if kind not in MODBUS_TYPES or bits != (kind == "Boolean"):
            raise Refused(f"its type {kind} does not lie at {text}")
        return {"address": address, **MODBUS_TYPES[kind]} | length | self._orders(kind)

    def _bit(self, number: int) -> int:
        number -= 0 if self._flag("ZERO_BASED_BIT_ADDRESSING", default=True) else 1
        return 15 - number if self._flag("MODICON_BIT_ORDER", default=False) else number

    def _orders(self, kind: str) -> Table:
        """The orders of the words and bytes of a value."""
        found: Table = {}
        words = self._flag("FIRST_WORD_LOW", default=True)
        doubles = self._flag("FIRST_DWORD_LOW", default=True)
        if kind in ("Double", "LLong", "QWord") and words != doubles:
            raise Refused("the low word is first and the low double word last, or the reverse")
        wide = ("Long", "DWord", "Float", "LBCD", "Double", "LLong", "QWord")
        if kind in wide and words:
            found["word_order"] = "little"
        if kind != "Boolean" and not self._flag("MODBUS_BYTE_ORDER", default=True):
            found["byte_order"] = "little"
        return found

    def _flag(self, name: str, *, default: bool) -> bool:
        for prefix in ("modbus_ethernet", "modbus"):
            value = self._settings.get(f"{prefix}.DEVICE_{name}")
            if isinstance(value, bool):
                return value
        return default


def _logix(text: str, kind: str, notes: list[str]) -> Table:
    found = LOGIX_ARRAY.fullmatch(text)
    if found is None or not kind:
        said = "is left to the controller" if found else "is none"
        raise Refused(f"its {'type' if found else 'address'} {said}: {text!r:.60}")
    if kind not in LOGIX_TYPES:
        raise Refused(f"its type {kind} is none of a controller")
    if kind in UNSIGNED:
        notes.append(f"{kind} is {LOGIX_TYPES[kind]['type']}, as a controller holds it: signed")
    length = _elements(re.findall(r"\d+", found["dimensions"]))
    tag = found["tag"].strip().removesuffix(".DATA") if kind == "String" else found["tag"].strip()
    return {"address": tag, **LOGIX_TYPES[kind]} | length


def _elements(dimensions: list[str]) -> Table:
    length = 1
    for size in dimensions:
        length *= int(size)
    return {"length": length} if length > 1 else {}


def _scaling(tag: Table, notes: list[str]) -> Table:
    """Scale, offset and the type that clients see."""
    kind = tag.get("servermain.TAG_SCALING_TYPE", 0)
    if kind == 0:
        return {}
    if kind != 1:
        raise Refused("its scaling is not linear")
    try:
        raw_low, raw_high, low, high = (
            float(tag.get(f"servermain.TAG_SCALING_{key}", default))
            for key, default in (
                ("RAW_LOW", 0),
                ("RAW_HIGH", 1000),
                ("SCALED_LOW", 0),
                ("SCALED_HIGH", 1000),
            )
        )
        scale = (high - low) / (raw_high - raw_low)
    except (ValueError, TypeError, ZeroDivisionError):
        raise Refused("its scaling has no range") from None
    offset = low - raw_low * scale
    if str(tag.get("servermain.TAG_SCALING_NEGATE_VALUE", "")).lower() in YES:
        scale, offset = -scale, -offset
    for key in ("CLAMP_LOW", "CLAMP_HIGH"):
        if str(tag.get(f"servermain.TAG_SCALING_{key}", "")).lower() in YES:
            notes.append("it is not clamped to its range")
            break
    found: Table = {"scale": scale, "offset": offset}
    made = tag.get("servermain.TAG_SCALING_SCALED_DATA_TYPE", "Double")
    name = TYPES[made] if isinstance(made, int) and 0 <= made < len(TYPES) else str(made)
    seen = {"Char": "SINT", "Byte": "USINT", **{k: v["type"] for k, v in MODBUS_TYPES.items()}}
    if name in seen and name != "Boolean":
        found["value_type"] = seen[name]
    return {key: value for key, value in found.items() if (key, value) != ("offset", 0.0)}
