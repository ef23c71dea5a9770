"""The operation mini-language: `SCADA[1-3]=(DINT)7,8,9` to what a client is asked to do.

    operation = path [ "+" byte offset ] [ "=" [ "(" TYPE ")" ] values ]
    path      = component { "." component } [ "." bit ] [ "*" count ]
    component = symbol | "@" segment { "/" segment }     each followed by [ "[" index "]" ]
    index     = number { "," number } [ "-" number ]     only the last component may cover a range
    segment   = number | JSON object, {"connection":100}; default class/instance/attribute/element
    number    = decimal (leading zeros stay decimal), 0x.., 0o.., 0b..
    values    = value { "," value } | "[" ... "]"        "quoted" text; {..} a structure (JSON)

An operation is a plain dict, so that callers can write their own or change parsed ones:

    {'method': 'write', 'path': [{'symbolic': 'SCADA'}, {'element': 1}], 'elements': 3,
     'tag_type': 196, 'data': [7, 8, 9]}

Whoever mistypes is told where: every `OperationError` knows the character that it is about.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, cast

from cpppod.protocols.cip.types import STRING82_HANDLE
from cpppod.protocols.enip.originator.operation_values import (
    OperationError,
    Text,
    parse_values,
    type_named,
)

Operation: TypeAlias = dict[str, Any]
PathSegment: TypeAlias = dict[str, Any]

MAX_OPERATION = 65_536  # characters: the longest array write that is still reasonable to type
MAX_SYMBOL = 255  # bytes: a symbolic segment's length is a USINT
MAX_ELEMENTS = 0xFFFF  # a tag service counts elements in a UINT
MAX_BIT = 63  # the widest integer is an LINT
CACHED_OPERATIONS = 16_384  # a poll list of ten thousand tags is parsed once

_BIT = re.compile(r"[0-9]+(?=\s*([+=]|$))")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|[0-9]+")
_SIMPLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,254})(?:\[([0-9]{1,9})\])?")  # what most tags are
_SEGMENT_LIMITS = {
    "class": 0xFFFF,
    "instance": 0xFFFF_FFFF,
    "attribute": 0xFFFF,
    "element": 0xFFFF_FFFF,
    "connection": 0xFFFF,
}
_DEFAULT_SEGMENTS = ("class", "instance", "attribute", "element")
_NOUNS = {
    "class": "a class number",
    "instance": "an instance number",
    "attribute": "an attribute number",
    "element": "an element number",
}
_JSON = json.JSONDecoder()


def parse_operations(
    operations: Iterable[str | Operation],
    fragment: bool = False,
    int_type: str = "INT",
    **extra: Any,
) -> Iterator[Operation]:
    """The operations described by `operations`, one by one as they are asked for.

    Args:
        operations: texts of the mini-language, or operations as dicts, which pass through.
        fragment: have each tag operation use the Fragmented services from its first byte on.
        int_type: type of integers written without a cast.
        extra: added to every operation: `route_path`, `send_path`, `priority_time_tick` ...

    Raises:
        OperationError: when the text at fault is reached; it points at the character.
    """
    int_type = int_type.upper()
    for operation in operations:
        if isinstance(operation, str):
            parsed = copy_operation(_parse(operation, int_type))
        else:
            parsed = dict(operation)
        if fragment and parsed.get("method", "read") in ("read", "write"):
            parsed.setdefault("offset", 0)
        if extra:
            parsed.update(extra)
        yield parsed


def as_parsed(operations: Iterable[str | Operation]) -> Iterator[Operation]:
    """`operations` as dicts: those that are dicts as they are, texts as `parse_operations` does.

    Raises:
        OperationError: when the text at fault is reached.
    """
    for operation in operations:
        yield copy_operation(_parse(operation, "INT")) if isinstance(operation, str) else operation


def attribute_operations(
    operations: Iterable[str | Operation], int_type: str = "SINT", **extra: Any
) -> Iterator[Operation]:
    """The same texts as Get Attributes All (`@class/instance`), Get and Set Attribute Single.

    Raises:
        OperationError: a text at fault, a path without an attribute, data for a whole instance.
    """
    for described, parsed in _beside(operations, int_type, extra):
        last = next(reversed(parsed["path"][-1]))
        writes = "data" in parsed
        if last == "instance":
            if writes:
                raise OperationError(
                    described, described.find("="), "a whole instance cannot be written"
                )
            parsed["method"] = "get_attributes_all"
        elif last in ("symbolic", "attribute", "element"):
            parsed["method"] = "set_attribute_single" if writes else "get_attribute_single"
        else:
            raise OperationError(described, 0, "names neither an instance nor an attribute")
        yield parsed


def _beside(
    operations: Iterable[str | Operation], int_type: str, extra: dict[str, Any]
) -> Iterator[tuple[str, Operation]]:
    for operation in operations:
        text = operation if isinstance(operation, str) else repr(operation)
        (parsed,) = parse_operations([operation], int_type=int_type, **extra)
        yield text, parsed


def parse_path(text: str) -> list[PathSegment]:
    """The path that `text` names, without a range: `@6/1`, `Program:Main.Speed[3]`.

    Raises:
        OperationError: not a path, or one that covers several elements.
    """
    reader = Text(text)
    path, elements, bit = _path(reader)
    if not reader.at_end:
        raise reader.error(f"unexpected {reader.rest[0]!r} after the path")
    if elements is not None and elements != 1:
        raise OperationError(text, 0, "a path cannot cover several elements")
    if bit is not None:
        raise OperationError(text, len(text) - 1, "a path cannot name a bit")
    return path


def format_path(path: Iterable[PathSegment]) -> str:
    """The path as it would be typed, classes in hexadecimal: `@0x0001/1/7`, `SCADA[3]`."""
    text, numeric = "", 0
    for segment in path:
        ((kind, value),) = list(segment.items())[:1]
        if kind == "symbolic":
            text += f".{value}" if text else value
            numeric = 0
        elif kind == "element" and text:
            text += f"[{value}]"
        else:
            shown = f"0x{value:04X}" if kind == "class" else str(value)
            default = numeric < len(_DEFAULT_SEGMENTS) and _DEFAULT_SEGMENTS[numeric] == kind
            text += "/" if numeric else "@"
            text += shown if default else json.dumps(segment, separators=(",", ":"))
            numeric += 1
    return text


@functools.lru_cache(maxsize=CACHED_OPERATIONS)
def _parse(text: str, int_type: str) -> Operation:
    simple = _SIMPLE.fullmatch(text)
    if simple is not None:
        name, index = simple.groups()
        path: list[PathSegment] = [{"symbolic": name}]
        if index is not None:
            path.append({"element": int(index)})
        return {"path": path}
    return _parse_any(text, int_type)


def _parse_any(text: str, int_type: str) -> Operation:
    if len(text) > MAX_OPERATION:
        raise OperationError(text[:80], 79, f"longer than {MAX_OPERATION} characters")
    operation: Operation = {}
    left, equals, _values = text.partition("=")
    reader = Text(text, end=len(left))
    path, elements, bit = _path(reader)
    offset_at = reader.position
    offset = _offset(reader)
    if not reader.at_end:
        raise reader.error(f"unexpected {reader.rest[0]!r} after the path")
    if equals:
        operation["method"] = "write"
    if offset is not None:
        operation["offset"] = offset
    operation["path"] = path
    if elements is not None:
        operation["elements"] = elements
    if bit is not None:
        operation["bit"] = bit
        if offset is not None or elements not in (None, 1):
            raise OperationError(text, offset_at - 1, "a bit has neither a range nor an offset")
    if equals:
        _add_values(operation, Text(text, start=len(left) + 1), int_type, explicit=elements)
    return operation


def _offset(reader: Text) -> int | None:
    reader.skip_blanks()
    if not reader.take("+"):
        return None
    reader.skip_blanks()
    offset = _number(reader, "a byte offset", 0xFFFF_FFFF)
    reader.skip_blanks()
    return offset


def _add_values(operation: Operation, reader: Text, int_type: str, *, explicit: int | None) -> None:
    """Put type and values of a write into `operation`, in the documented order of keys."""
    start = reader.position
    default = "BOOL" if "bit" in operation else int_type
    kind, values = parse_values(reader, default)
    offset = operation.get("offset")
    if offset is not None:
        if explicit is None:
            raise OperationError(reader.text, start, "a write at an offset needs a range")
        if kind.size and offset % kind.size:
            raise OperationError(
                reader.text, start - 2, f"offset is no multiple of {kind.name}'s {kind.size} bytes"
            )
        if kind.size and offset // kind.size + len(values) > explicit:
            raise OperationError(
                reader.text,
                start,
                f"{len(values)} values from there do not fit {explicit} elements",
            )
    elif explicit is not None and len(values) != explicit:
        raise OperationError(reader.text, start, f"{len(values)} values for {explicit} elements")
    if kind.name == "STRING82":
        operation["handle"] = STRING82_HANDLE
    if explicit is None:
        operation |= {"tag_type": kind.code, "data": values, "elements": len(values)}
    else:
        operation |= {"elements": explicit, "tag_type": kind.code, "data": values}


def _path(reader: Text) -> tuple[list[PathSegment], int | None, int | None]:
    """The segments, the number of elements if given, and the bit number if given."""
    path: list[PathSegment] = []
    elements: int | None = None
    while True:
        reader.skip_blanks()
        start = reader.position
        if path and (bit := _bit(reader)) is not None:
            return path, elements, bit
        if reader.take("@"):
            path += _numeric(reader)
        else:
            path.append({"symbolic": _symbol(reader, start)})
        index_at = reader.position
        indices, elements = _index(reader)
        path += [{"element": index} for index in indices]
        elements = _count(reader, elements)
        if not reader.take("."):
            return path, elements, None
        if elements is not None and elements != 1:
            raise OperationError(
                reader.text, index_at, "only the last part of a path may cover a range"
            )
        elements = None


def _bit(reader: Text) -> int | None:
    """The bit number that ends a path, as in `Word.5`; None where a name follows."""
    found = _BIT.match(reader.text[: reader.end], reader.position)
    if found is None:
        return None
    if int(found[0]) > MAX_BIT:
        raise reader.error(f"no integer has a bit beyond {MAX_BIT}")
    reader.position = found.end()
    return int(found[0])


def _symbol(reader: Text, start: int) -> str:
    name = reader.until(".[*+").rstrip()
    for at, character in enumerate(name):
        if ord(character) > 0xFF or ord(character) < 0x20:
            raise OperationError(reader.text, start + at, "a name is ISO-8859-1 text")
    if not name:
        raise OperationError(reader.text, start, "a tag's name is missing")
    if len(name) > MAX_SYMBOL:
        raise OperationError(
            reader.text, start + MAX_SYMBOL, f"a name has up to {MAX_SYMBOL} bytes"
        )
    return name


def _numeric(reader: Text) -> list[PathSegment]:
    path: list[PathSegment] = []
    while True:
        reader.skip_blanks()
        if reader.peek("{"):
            path.append(_json_segment(reader))
        else:
            if len(path) >= len(_DEFAULT_SEGMENTS):
                raise reader.error(f"a path has {len(_DEFAULT_SEGMENTS)} default segments")
            kind = _DEFAULT_SEGMENTS[len(path)]
            path.append({kind: _number(reader, _NOUNS[kind], _SEGMENT_LIMITS[kind])})
        reader.skip_blanks()
        if not reader.take("/"):
            return path


def _json_segment(reader: Text) -> PathSegment:
    start = reader.position
    try:
        segment, end = _JSON.raw_decode(reader.text, start)
    except json.JSONDecodeError as error:
        raise OperationError(reader.text, error.pos, f"not JSON: {error.msg}") from None
    except RecursionError:
        raise OperationError(reader.text, start, "nested too deep") from None
    if end > reader.end or not segment:
        raise OperationError(reader.text, start, 'a segment is an object such as {"class":4}')
    for kind, value in segment.items():
        limit = _SEGMENT_LIMITS.get(kind)
        if kind in ("symbolic", "port", "link"):
            continue
        if limit is None:
            known = ", ".join([*_SEGMENT_LIMITS, "symbolic"])
            raise OperationError(reader.text, start, f"unknown segment {kind!r}; one of {known}")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
            raise OperationError(reader.text, start, f"{kind} is 0 to {limit}")
    reader.position = end
    return cast(PathSegment, segment)


def _index(reader: Text) -> tuple[list[int], int | None]:
    """The indices in brackets, and how many elements from there on (None if no range)."""
    reader.skip_blanks()
    if not reader.take("["):
        return [], None
    indices: list[int] = []
    elements: int | None = None
    while True:
        reader.skip_blanks()
        indices.append(_number(reader, "an index", 0xFFFF_FFFF))
        reader.skip_blanks()
        if not reader.take(","):
            break
    if reader.take("-"):
        reader.skip_blanks()
        at = reader.position
        last = _number(reader, "the last index of a range", 0xFFFF_FFFF)
        elements = last - indices[-1] + 1
        if elements < 1:
            raise OperationError(reader.text, at, "a range ends before it begins")
        if elements > MAX_ELEMENTS:
            raise OperationError(reader.text, at, f"a request has up to {MAX_ELEMENTS} elements")
        reader.skip_blanks()
    if not reader.take("]"):
        raise reader.error("']' is missing")
    reader.skip_blanks()
    return indices, elements


def _count(reader: Text, elements: int | None) -> int | None:
    if not reader.peek("*"):
        return elements
    at = reader.position
    reader.take("*")
    reader.skip_blanks()
    count = _number(reader, "a number of elements", MAX_ELEMENTS)
    if count < 1:
        raise OperationError(reader.text, at + 1, "a request has at least one element")
    if elements is not None and elements != count:
        raise OperationError(reader.text, at, f"the range has {elements} elements, not {count}")
    reader.skip_blanks()
    return count


def _number(reader: Text, what: str, limit: int) -> int:
    found = _NUMBER.match(reader.text, reader.position, reader.end)
    if found is None:
        raise reader.error(f"expected {what}")
    digits = found[0]
    follows = reader.text[found.end() : found.end() + 1] if found.end() < reader.end else ""
    if follows.isalnum() or follows == "_":
        raise OperationError(reader.text, found.end(), f"{what} cannot contain {follows!r}")
    value = int(digits, 0) if digits[1:2].lower() in ("x", "o", "b") else int(digits)
    if value > limit:
        raise reader.error(f"{what} is 0 to {limit}")
    reader.position = found.end()
    return value


def copy_operation(operation: Operation) -> Operation:
    """The operation as a dict of its own, whose path and data may be changed."""
    copied = operation.copy()
    path = operation["path"]
    if len(path) == 1:
        copied["path"] = [path[0].copy()]
    else:
        copied["path"] = [segment.copy() for segment in path]
    if "data" in operation:
        copied["data"] = list(operation["data"])
    return copied


__all__ = [
    "Operation",
    "OperationError",
    "as_parsed",
    "attribute_operations",
    "copy_operation",
    "format_path",
    "parse_operations",
    "parse_path",
    "type_named",
]
