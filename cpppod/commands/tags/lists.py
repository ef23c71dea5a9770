"""`cpppod tags import` and `export`: files of tags, read and written.

source ─► tables ─┬─ new ─────────────────────► conf.d/NAME.toml, .NAME.toml.imported
                  └─ merged with the file ────►   "
"""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpppod.commands.arguments import period
from cpppod.protocols.model.addresses import socket_address
from cpppod.protocols.model.naming import name_of
from cpppod.tags import kepware, l5x, merge, rockwell_csv, sheet, toml
from cpppod.tags.report import Report
from cpppod.tags.source import ImportRefused, Wishes

DONE, FAILED = 0, 1
LARGEST_SOURCE = 256_000_000  # bytes: an L5X of a whole line has some ten millions
KINDS = ("kepware", "l5x", "csv")
Brought = tuple[dict[str, Any], Report, list[str]]  # tables, report, comment lines of the file


class Failed(Exception):
    """What cannot be done; the text says why."""


def add_import_options(options: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    add = options.add_argument
    add("kind", choices=KINDS, help="kepware: a project .json, or a device's .csv; "
        "l5x: Rockwell's export, also as CSV; csv: a table of name, address ..")  # fmt: skip
    add("file", help="the tag list")
    add("-o", "--output", default="", metavar="PLACE",
        help="folder (conf.d/) or file of the configuration; default: to stdout")  # fmt: skip
    add("--address", default="", help="host:port of the device, where the list has none")
    add("--name", default="", help="of the device, where the list has none")
    add("--driver", default="", help="of the device, where the list has none")
    add("--route-path", default="", help="of a controller: 1/0")
    add(
        "--period",
        type=period,
        default="1s",
        help="of a group, where the list has none (default 1s)",
    )
    add("--writable", action="store_true", help="what the list lets clients write is writable")
    add("--simulator", default="", metavar="FILE",
        help="l5x: write the controller for `enip_server --defined-tags FILE`")  # fmt: skip
    add("--json", action="store_true", help="the report as JSON")


def add_export_options(options: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    add = options.add_argument
    add("kind", choices=("csv",))
    add("-c", "--config", action="append", required=True, metavar="FILE",
        help="of the configuration, with conf.d/*.toml beside it; may be repeated")  # fmt: skip
    add("-o", "--output", default="", metavar="FILE", help="default: to stdout")


# In


def bring_in(options: argparse.Namespace) -> int:
    """Read a tag list, write the configuration, say what came of each tag.

    Raises:
        Failed: the list cannot be read, or the place not be written.
    """
    if options.address:
        try:
            socket_address(options.address)
        except ValueError as error:
            raise Failed(f"--address {error}") from None
    raw = _read(options.file)
    if options.kind in ("csv", "l5x") and rockwell_csv.is_export(_decoded(raw)):
        options.kind = "l5x"  # the same tags in another form
        raw = rockwell_csv.as_l5x(_decoded(raw), name=Path(options.file).stem)
    try:
        tables, report, comment = _READERS[options.kind](raw, options)
        simulated = l5x.simulated(raw) if options.simulator else None
    except ImportRefused as error:
        raise Failed(f"{options.file}: {error}") from None
    if simulated is not None:
        _write(Path(options.simulator), json.dumps(simulated, indent=1) + "\n")
    text = toml.text_of(tables, comment=comment)
    if options.output:
        _place(options, text, tables, report)
    elif not options.simulator:
        print(text, end="")
    for line in [json.dumps(report.plain())] if options.json else report.lines():
        print(line, file=sys.stdout if options.output else sys.stderr)
    return DONE


def _wishes(options: argparse.Namespace) -> Wishes:
    return Wishes(
        address=options.address,
        name=options.name,
        driver=options.driver,
        route_path=options.route_path,
        writable=options.writable,
        period=options.period,
    )


def _decoded(raw: bytes) -> str:
    """A text file as programs on Windows write it: UTF-8, or their own code page."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(
            "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252", "replace"
        )


def _kepware(raw: bytes, options: argparse.Namespace) -> Brought:
    made = kepware.read(_decoded(raw), _wishes(options), name=Path(options.file).stem)
    return made.tables(), made.report, [f"Imported from {Path(options.file).name}"]


def _l5x(raw: bytes, options: argparse.Namespace) -> Brought:
    made = l5x.read(raw, _wishes(options))
    return made.tables(), made.report, [f"Imported from {Path(options.file).name}"]


def _csv(raw: bytes, options: argparse.Namespace) -> Brought:
    made = sheet.read(_decoded(raw), _wishes(options), name=Path(options.file).stem)
    return made.tables, made.report, [made.shape.comment()]


_READERS: dict[str, Callable[[bytes, argparse.Namespace], Brought]] = {
    "kepware": _kepware,
    "l5x": _l5x,
    "csv": _csv,
}


def _place(options: argparse.Namespace, text: str, tables: dict[str, Any], report: Report) -> None:
    """Write the file, merged with what is there since the last import."""
    path = Path(options.output)
    if path.suffix != ".toml":
        path /= f"{name_of(Path(options.file).stem)}.toml"
    base = path.with_name(f".{path.name}.imported")
    new = text
    if path.exists():
        if not base.exists():
            raise Failed(f"{path} is there, and no import has written it: choose another name")
        mine, before = (_decoded(_read(str(each))) for each in (path, base))
        if mine != before:
            text = _merged(path, before, mine, tables, report)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, text)
    _write(base, new)
    report.remarks.insert(0, f"{path} is written")


def _merged(path: Path, before: str, mine: str, tables: dict[str, Any], report: Report) -> str:
    try:
        merged = merge.merge(before, mine, tables)
    except merge.NotMergeable as error:
        raise Failed(f"{path}: {error}") from None
    report.remarks += [f"merged: {line}" for line in merged.said]
    report.remarks.append(
        f"merged: {merged.added} tags new, {merged.changed} changed, {merged.removed} gone;"
        " what was edited stays"
    )
    return merged.text


# Out


def give_out(options: argparse.Namespace) -> int:
    """Write the tags of the configuration's devices as a table.

    Raises:
        Failed: a file cannot be read or written.
    """
    first = Path(options.config[0])
    paths = [first, *sorted((first.parent / "conf.d").glob("*.toml"))]
    paths += [Path(each) for each in options.config[1:]]
    devices: dict[str, Any] = {}
    texts = [_decoded(_read(str(path))) for path in paths]
    for path, text in zip(paths, texts, strict=True):
        try:
            devices |= tomllib.loads(text.removeprefix("\ufeff")).get("device", {})
        except tomllib.TOMLDecodeError as error:
            raise Failed(f"{path}: {error}") from None
    shape = sheet.remembered(texts[0]) if len(texts) == 1 else sheet.Shape()
    table = sheet.write({"device": devices}, shape)
    if options.output:
        _write(Path(options.output), table)
    else:
        sys.stdout.write(table)
    return DONE


def _read(path: str) -> bytes:
    try:
        if os.stat(path).st_size > LARGEST_SOURCE:
            raise Failed(f"{path}: more than {LARGEST_SOURCE} bytes")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    """Write whole, or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(text.encode())
        fresh.replace(path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
