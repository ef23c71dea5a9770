"""Tables of a configuration as TOML text, a tag a line, so that a difference of two files is read.

text_of({"device": {"boiler": {"driver": "modbus-tcp", ..., "group": [...]}}})

    [device.boiler]
    driver = "modbus-tcp"

    [[device.boiler.group]]
    name = "fast"
    tags = [
        { name = "pressure", address = "40001", unit = "bar" },
    ]
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def text_of(tables: Mapping[str, Any], *, comment: Iterable[str] = ()) -> str:
    """The file: `comment` lines first, then a table after the other."""
    lines = [f"# {line}".rstrip() for line in comment]
    for name, value in tables.items():
        lines += _section((name,), value)
    return "\n".join(lines).strip("\n") + "\n"


def _section(path: tuple[str, ...], value: Any) -> Iterator[str]:
    """A table, a table of tables or an array of tables."""
    header = ".".join(map(_key, path))
    if isinstance(value, list):
        for item in value:
            yield from _table(f"[[{header}]]", path, item)
    elif path and all(isinstance(item, Mapping) for item in value.values()):
        for name, item in value.items():
            yield from _section((*path, name), item)
    else:
        yield from _table(f"[{header}]", path, value)


def _table(header: str, path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", header)
    later = []
    for name, value in table.items():
        if _is_tables(value):
            if name != "tags":
                later.append((name, value))
                continue
            yield f"{name} = ["
            yield from (f"    {value_text(item)}," for item in value)
            yield "]"
        else:
            yield f"{_key(name)} = {value_text(value)}"
    for name, value in later:
        yield from _section((*path, name), value)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, Mapping) for x in value)


def value_text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {value_text(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return f"[{', '.join(map(value_text, value))}]"


def quoted(text: str) -> str:
    """A basic string."""
    return f'"{"".join(_ESCAPES.get(c) or _printable(c) for c in text)}"'


def _printable(character: str) -> str:
    return f"\\u{ord(character):04X}" if ord(character) < 32 or ord(character) == 127 else character


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else quoted(name)
