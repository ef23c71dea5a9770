"""A second import into a file that has been edited since: three ways, by name.

    base     what the last import wrote            kept beside the file: .NAME.toml.imported
    mine     the file as it is now
    theirs   what the source says now

    key unchanged by me             theirs
    key changed by me               mine; said where the source changed it too
    tag deleted by me               stays deleted
    tag gone from the source        goes, unless I changed it: then it stays, and that is said
    what only I have                stays

A tag is found by its name within its device: its group is one of its keys, so that a tag that the
source moves to another period moves, with what I changed of it. Only what changes is touched in the
file's text: comments and the order of keys stay.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array

from cpppod.tags import toml

Path = tuple[str, ...]  # ("device", name), (..., "group", name), (..., "tag", name), ("line", name)
Items = dict[Path, dict[str, Any]]
GROUP_OF = "group"  # a tag's key for the group that it lies in
TABLES = ("line", "device")


@dataclass(slots=True)
class Merged:
    """What came of a merge.

    Attributes:
        text: of the file.
        said: what the engineer and the source disagree on.
        changed, added, removed: how many tags.
    """

    text: str
    said: list[str] = field(default_factory=list)
    changed: int = 0
    added: int = 0
    removed: int = 0


class NotMergeable(Exception):
    """A file that is no TOML, or no configuration; the text says where."""


def items_of(tables: Mapping[str, Any]) -> Items:
    """Lines, devices, groups and tags of a file, each with its plain keys."""
    found: Items = {}
    for section in TABLES:
        for name, table in tables.get(section, {}).items():
            found[section, name] = {key: v for key, v in table.items() if key != "group"}
            for group in table.get("group", []):
                _add_group(found, (section, name), group)
    return found


def _add_group(found: Items, device: Path, group: Mapping[str, Any]) -> None:
    name = str(group.get("name", ""))
    found[*device, "group", name] = {
        key: value for key, value in group.items() if key not in ("name", "tags")
    }
    for tag in group.get("tags", []):
        own = {key: value for key, value in tag.items() if key != "name"}
        found[*device, "tag", str(tag.get("name", ""))] = own | {GROUP_OF: name}


def merge(base: str, mine: str, theirs: Mapping[str, Any]) -> Merged:
    """The engineer's file with what the source changed since the last import.

    Raises:
        NotMergeable: a file is no TOML.
    """
    try:
        document = tomlkit.parse(mine)
        old, own = items_of(tomllib.loads(base)), items_of(tomllib.loads(mine))
    except (TOMLKitError, tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        raise NotMergeable(f"it cannot be merged with: {error}") from None
    merged, new = Merged(""), items_of(theirs)
    wanted = _three_way(old, own, new, merged)
    _apply(document, own, wanted)
    merged.text = tomlkit.dumps(document)
    return merged


def _three_way(old: Items, own: Items, new: Items, merged: Merged) -> Items:
    wanted: Items = {}
    for path in dict.fromkeys((*own, *new)):
        before, mine, theirs = old.get(path), own.get(path), new.get(path)
        if mine is None:
            if theirs is not None and before is None:
                wanted[path] = theirs
                merged.added += _is_tag(path)
            elif theirs is not None and theirs != before:
                merged.said.append(f"{_text(path)}: deleted here, changed in the source: stays so")
        elif theirs is None:
            if before is None:
                wanted[path] = mine
            elif mine != before:
                wanted[path] = mine
                merged.said.append(f"{_text(path)}: gone from the source, changed here: it stays")
            elif not _is_tag(path):
                wanted[path] = mine  # an empty group or device goes with its last tag, below
            else:
                merged.removed += 1
        else:
            wanted[path] = dict(_keys(path, before or {}, mine, theirs, merged))
            merged.changed += _is_tag(path) and wanted[path] != mine
    return _with_their_groups(_without_empty(wanted, new), new)


def _keys(
    path: Path,
    before: Mapping[str, Any],
    mine: Mapping[str, Any],
    theirs: Mapping[str, Any],
    merged: Merged,
) -> Iterator[tuple[str, Any]]:
    """The keys of one item that both have."""
    absent = object()
    for key in dict.fromkeys((*mine, *theirs)):
        old, own, new = (each.get(key, absent) for each in (before, mine, theirs))
        chosen = new if own == old else own
        if own not in (old, new) and new != old:
            source = "gone" if new is absent else repr(new)
            here = "gone" if own is absent else repr(own)
            merged.said.append(f"{_text(path)}: {key}: {here} here, {source} in the source: kept")
        if chosen is not absent:
            yield key, chosen


def _is_tag(path: Path) -> bool:
    return len(path) == 4 and path[2] == "tag"


def _text(path: Path) -> str:
    return ".".join(part for part in path[1:] if part not in ("tag",))


def _without_empty(wanted: Items, new: Items) -> Items:
    """Less the groups whose last tag is gone, where the source has no such group any more; then
    devices likewise."""
    full = {(*path[:2], "group", each[GROUP_OF]) for path, each in wanted.items() if _is_tag(path)}
    kept = {
        p: v for p, v in wanted.items() if len(p) != 4 or p[2] == "tag" or p in full or p in new
    }
    devices = {path[:2] for path in kept if len(path) == 4}
    return {p: v for p, v in kept.items() if p[0] != "device" or len(p) == 4 or p in devices}


def _with_their_groups(wanted: Items, new: Items) -> Items:
    """With the groups that tags of it lie in, where only the source has them."""
    found = dict(wanted)
    for path, each in wanted.items():
        if _is_tag(path):
            group = (*path[:2], "group", each[GROUP_OF])
            found.setdefault(group, new.get(group, {"period": "1s"}))
    return found


# The text


def _apply(document: TOMLDocument, own: Items, wanted: Items) -> None:
    """Change what differs between the file's items and those wanted, and nothing else."""
    moved = {path for path in own if _is_tag(path) and _moved(path, own, wanted)}
    gone = own.keys() - wanted.keys()
    for section in TABLES:
        for name, table in dict(document.get(section, {})).items():
            if (section, name) in gone:
                document[section].remove(name)
            else:
                _thin(table, (section, name), gone | moved)
    tags: dict[Path, Any] = {
        (section, name, "tag", str(tag["name"])): tag
        for section in TABLES
        for name, table in document.get(section, {}).items()
        for group in table.get("group", [])
        for tag in group.get("tags", [])
    }
    for path in sorted(wanted, key=lambda each: (len(each), each[2:3] == ("tag",))):
        if path not in own or path in moved:
            _insert(document, path, wanted[path])
        elif wanted[path] != own[path]:
            _update(tags.get(path) or _find(document, path), own[path], wanted[path])


def _thin(table: Any, path: Path, gone: set[Path]) -> None:
    """Take out of a device what is to go."""
    groups = table.get("group", [])
    for at in reversed(range(len(groups))):
        if (*path, "group", groups[at]["name"]) in gone:
            del groups[at]
            continue
        tags = groups[at].get("tags", [])
        for place in reversed(range(len(tags))):
            if (*path, "tag", tags[place]["name"]) in gone:
                del tags[place]


def _moved(path: Path, own: Items, wanted: Items) -> bool:
    return path in wanted and own[path][GROUP_OF] != wanted[path][GROUP_OF]


def _update(table: Any, own: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in own.keys() - wanted.keys():
        table.remove(key)
    for key, value in wanted.items():
        if key != GROUP_OF and own.get(key) != value:
            table[key] = value


def _find(document: Any, path: Path) -> Any:
    """The table of a line, device or group."""
    table = document[path[0]][path[1]]
    if len(path) == 2:
        return table
    return next(each for each in table["group"] if each.get("name") == path[3])


def _insert(document: Any, path: Path, keys: Mapping[str, Any]) -> None:
    plain = {key: value for key, value in keys.items() if key != GROUP_OF}
    if len(path) == 2:
        section = document.setdefault(path[0], tomlkit.table(is_super_table=True))
        section[path[1]] = _filled(tomlkit.table(), plain)
        return
    device = document[path[0]][path[1]]
    if path[2] == "group":
        groups = device.get("group")
        if not isinstance(groups, AoT):
            groups = tomlkit.aot()
        groups.append(_filled(tomlkit.table(), {"name": path[3], **plain}))
        device["group"] = groups
        return
    group = _find(document, (*path[:2], "group", str(keys[GROUP_OF])))
    if "tags" not in group:
        group["tags"] = tomlkit.array().multiline(True)
    tags: Array = group["tags"]
    tags.add_line(tomlkit.value(toml.value_text({"name": path[3], **plain})))
    tags.multiline(True)


def _filled(table: Any, keys: Mapping[str, Any]) -> Any:
    for key, value in keys.items():
        table[key] = value
    return table
