"""Structures and tags out of a JSON file (`--defined-tags`).

{ "structures": { "Recipe": [ { "name": "speed", "type": "REAL" }, ... ] },
  "tags": { "Recipes": "Recipe[3]", "SCADA": "INT[1000]", "Speed@0x93/1/10": "REAL" } }
"""

import json
from typing import Any

from cpppod.protocols.cip.structures import Structure
from cpppod.simulator.tags import Declaration, TagError, parse_declaration


def read_defined(path: str) -> tuple[dict[str, Any], list[Declaration]]:
    """(structures, tags) of the file.

    Raises:
        TagError: it makes no sense; the text says where.
        OSError: it cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            plain = json.load(file)
        except ValueError as error:
            raise TagError(f"{path}: {error}") from None
    structures = plain.get("structures", {}) if isinstance(plain, dict) else None
    tags = plain.get("tags", {}) if isinstance(plain, dict) else None
    if not isinstance(structures, dict) or not isinstance(tags, dict):
        raise TagError(f"{path}: expected maps `structures` and `tags`")
    names: dict[str, Structure] = dict.fromkeys(name.casefold() for name in structures)  # type: ignore[assignment]  # only the names matter here
    return structures, [parse_declaration(f"{name}={kind}", names) for name, kind in tags.items()]
