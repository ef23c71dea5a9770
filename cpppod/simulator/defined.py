"""Structures and tags out of a JSON file (`--defined-tags`).

{ "structures": { "Recipe": [ { "name": "speed", "type": "REAL" }, ... ] },
  "tags": { "Recipes": "Recipe[3]", "SCADA": "INT[1000]", "Speed@0x93/1/10": "REAL" } }
"""

import json
from typing import Any

from cpppod.protocols.cip.structures import Structure
from cpppod.simulator.tags import Declaration, FileError, TagError, parse_declaration

_FORM = 'expected {"structures": {NAME: [{"name": ..., "type": ...}]}, "tags": {NAME: TYPE}}'


def read_defined(path: str) -> tuple[dict[str, Any], list[Declaration]]:
    """(structures, tags) of the file.

    Raises:
        FileError: it makes no sense; the text says where.
        OSError: it cannot be read.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            plain = json.load(file)
        except ValueError as error:
            raise FileError(f"{path}: no JSON: {error}") from None
    if not isinstance(plain, dict) or plain.keys() - {"structures", "tags"}:
        raise FileError(f"{path}: {_FORM}")
    structures, tags = plain.get("structures", {}), plain.get("tags", {})
    if not isinstance(structures, dict) or not isinstance(tags, dict) or not tags:
        raise FileError(f"{path}: {_FORM}")
    for name, members in structures.items():
        check_structure(path, name, members)
    names: dict[str, Structure] = dict.fromkeys(name.casefold() for name in structures)  # type: ignore[assignment]  # only the names matter here
    try:
        found = [parse_declaration(f"{name}={_type(kind)}", names) for name, kind in tags.items()]
    except TagError as error:
        raise FileError(f"{path}: {error}") from None
    return structures, found


def check_structure(path: str, name: str, members: Any) -> None:
    """Refuse what does not describe the members of a structure.

    Raises:
        FileError: it does not; the text names the structure in the file `path`.
    """
    if not isinstance(members, list) or not members or not all(map(_is_member, members)):
        raise FileError(
            f"{path}: structure {name}: expected its members, "
            '[{"name": "speed", "type": "REAL", "length": 1}, ...]'
        )


def _is_member(member: Any) -> bool:
    if not isinstance(member, dict) or member.keys() - {"name", "type", "length"}:
        return False
    named = isinstance(member.get("name"), str) and isinstance(member.get("type"), str)
    return named and isinstance(member.get("length", 1), int)


def _type(kind: Any) -> str:
    if not isinstance(kind, str):
        raise TagError(f"type {kind!r}: expected a text such as INT[10]")
    return kind
