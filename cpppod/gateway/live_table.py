"""The live table: every device with its state, rate, age, last error and a few of its values.

Made of the answers of the control socket (docs/control.md); `cpppod` draws it while it runs on a
terminal, a screen at a time:

    title      the gateway, how many devices and workers, why it is not ready
    notes      what must stay in sight: the address of the page
    devices    a line each, as many as there is room for
    local      tags of no device
    log        its last lines, in what is left over, at least LOG_ROWS
"""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

STYLES = {
    "online": "green",
    "degraded": "yellow",
    "connecting": "yellow",
    "demoted": "red",
    "offline": "red",
    "paused": "blue",
    "disabled": "dim",
}
SILENT = ("offline", "demoted", "paused", "disabled")
VALUES_SHOWN = 3  # of each device: enough to see that they move
LOCAL_SHOWN = 6
ERROR_WIDTH = 40
ERROR_SHOWN_S = 30.0  # after it, a device that is online has recovered
LOG_ROWS = 4  # a traceback's last words, or the last few events
LEAST_DEVICES = 3  # shown on the lowest terminal

Status = dict[str, Any]
Readings = list[dict[str, Any]]


def shown_tags(tags: Readings) -> list[str]:
    """Names of the tags whose values the table shows, out of all tags (`tags`)."""
    taken: dict[str, list[str]] = {}
    for tag in tags:
        few = taken.setdefault(tag.get("device", ""), [])
        if len(few) < (VALUES_SHOWN if tag.get("device") else LOCAL_SHOWN):
            few.append(tag["tag"])
    return [name for few in taken.values() for name in few]


def number(value: Any) -> str:
    """A value as the table has room for it."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return f"[{', '.join(map(number, value[:3]))}{', ...' if len(value) > 3 else ''}]"
    return str(value) if len(str(value)) <= 24 else f"{str(value)[:23]}…"


def reading_text(reading: dict[str, Any], device: str) -> str:
    """`pressure=4.21 bar`, or what keeps it from being good."""
    name = str(reading["tag"]).removeprefix(f"{device}.")
    if reading["value"] is None:
        return f"{name}: {reading['reason']}"
    unit = f" {reading['unit']}" if reading.get("unit") else ""
    doubt = "" if reading["good"] else " ?"
    return f"{name}={number(reading['value'])}{unit}{doubt}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def render(
    status: Status,
    readings: Readings,
    height: int,
    *,
    notes: Sequence[str] = (),
    log: Sequence[str] = (),
) -> RenderableType:
    """The screen of a terminal of `height` lines; of `log` the last lines that it has room for."""
    devices = status["devices"]
    by_device: dict[str, Readings] = {}
    for reading in readings:
        name, dot, _member = str(reading["tag"]).partition(".")
        by_device.setdefault(name if dot else "", []).append(reading)
    local = by_device.get("")
    others = 2 + len(notes) + bool(local)  # title, head of the table
    room = max(LEAST_DEVICES, height - others - LOG_ROWS)
    if len(devices) > room:
        room = max(LEAST_DEVICES, room - 1)  # a line says how many more
    table = Table(expand=True, box=None, header_style="bold", pad_edge=False)
    for title in ("device", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("rate", "age"):
        table.add_column(title, justify="right", no_wrap=True, min_width=7)
    table.add_column("values", no_wrap=True, ratio=3)
    table.add_column("last error", no_wrap=True, ratio=1)
    for device in devices[:room]:
        table.add_row(*_row(device, by_device.get(device["name"], [])))
    parts: list[RenderableType] = [_title(status)]
    parts += [_line(note, "bold") for note in notes]
    parts.append(table)
    if len(devices) > room:
        parts.append(_line(f"... and {len(devices) - room} more: cpppoctl devices", "dim"))
    if local:
        parts.append(_line("local  " + "  ".join(reading_text(each, "") for each in local)))
    left = height - others - min(len(devices), room) - (len(devices) > room)
    parts += [_line(line, "dim") for line in log[-left:]] if left > 0 else []
    return Group(*parts)


def _line(text: str, style: str = "") -> Text:
    """Text that takes one line, whatever the width."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _row(device: dict[str, Any], readings: Readings) -> list[RenderableType]:
    state = str(device["state"])
    rate = device.get("rate_hz")
    bad = f" ({device['tags_bad']} bad)" if device.get("tags_bad") else ""
    if state in SILENT:
        readings = []  # the state and the last error say it
    return [
        Text(device["name"]),
        Text(state + bad, style=STYLES.get(state, "")),
        Text("-" if rate is None else f"{rate:.1f}/s"),
        Text(duration(device.get("age_s"))),
        Text("  ".join(reading_text(each, device["name"]) for each in readings)),
        Text(_error(device), style="red"),
    ]


def _error(device: dict[str, Any]) -> str:
    """The last error, while it says something about the present."""
    age = device.get("last_error_age_s")
    if device["state"] == "online" and (age is None or age > ERROR_SHOWN_S):
        return ""
    return str(device.get("last_error") or "")[:ERROR_WIDTH]


def _title(status: Status) -> Text:
    why = "" if status["ready"] else f"not ready: {', '.join(status['not_ready'])} "
    return _line(summary(status) + why, "bold reverse")


def summary(status: Status) -> str:
    """One line about the whole gateway."""
    counts = status["summary"]
    text = (
        f" {status['name']} {status['version']}  up {duration(status['up_s'])}"
        f"  devices {counts['devices_up']}/{counts['devices']}"
        f"  workers {counts['workers_running']}/{counts['workers']}"
    )
    if counts.get("backing_off"):
        text += f"  backing off: {', '.join(counts['backing_off'])}"
    return text + " "
