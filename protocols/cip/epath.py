"""EPATH: the segments that address an object, a tag, or a way through ports.

    0p ll | 1p n chars [00] | 0F pppp ...     port: through port p to link address ll
    20/21/22 class  24.. instance  28.. element  2C.. connection point  30.. attribute   (padded)
    34 04 vendor type product major minor     electronic key
    43 ms                                     production inhibit time (network segment)
    80 n  n words                             simple data
    91 n  chars [00]                          symbol

Logical values travel in 8, 16 or 32 bits; the wider forms have a pad byte (padded EPATH, the only
form in requests). pycomm3 writes 32-bit values with the reserved format 3: it is read as 32-bit.

Text: `1/0/2/10.0.0.5` is a route path; `@2/1/1` a numeric and `Program:Main.Tag[1,2].Member` a
symbolic path.

Source: CIP Networks Library Vol. 1, appendix C-1.
"""

import json
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from cpppod.protocols.cip.status import CipError, GeneralStatus
from cpppod.protocols.model.errors import EncodeError

MAX_SEGMENTS = 24  # a tag of depth 5 with three indices each has 20
MAX_HOPS = 8  # route path segments; deeper plants than seven bridges are not known
MAX_SYMBOL = 255  # bytes: its length is a USINT


class LogicalType(IntEnum):
    """What a logical segment addresses: bits 2-4 of its first byte."""

    CLASS = 0
    INSTANCE = 1
    ELEMENT = 2
    CONNECTION_POINT = 3
    ATTRIBUTE = 4
    SPECIAL = 5
    SERVICE = 6


@dataclass(frozen=True, slots=True)
class Logical:
    """A logical segment."""

    kind: LogicalType
    value: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """An ANSI extended symbol segment: a tag, member or program name."""

    name: str


@dataclass(frozen=True, slots=True)
class Port:
    """A port segment: `link` is a slot or node number, or an address as text."""

    port: int
    link: int | str

    def __str__(self) -> str:
        return f"{self.port}/{self.link}"


@dataclass(frozen=True, slots=True)
class ElectronicKey:
    """What a connection path demands its target to be; 0 is any, bit 7 of `major` compatible."""

    vendor: int
    device_type: int
    product_code: int
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class SimpleData:
    """Words of configuration in a connection path."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Network:
    """A network segment, e.g. 0x43 production inhibit time in ms."""

    subtype: int
    value: int


Segment = Logical | Symbol | Port | ElectronicKey | SimpleData | Network

PORT_NAMES = {  # as RSLinx and its clients call a module's ports
    "backplane": 1, "bp": 1, "enet": 2, "dnet": 2, "cnet": 2, "dhrio-a": 2, "dhrio-b": 3,
    "dh485-a": 2, "dh485-b": 3,
}  # fmt: skip
_HOP = re.compile(r"\s*([^/,]+?)\s*[/,]([^/,]+)(?:[/,](?=.)|$)")
_KEY = struct.Struct("<HHHBB")
_WIDTHS = (1, 2, 4, 4)  # by logical format; 3 is reserved and read as 32-bit (pycomm3)


def _path_error(why: str) -> CipError:
    return CipError(why, status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))


def decode(path: bytes, *, limit: int = MAX_SEGMENTS) -> tuple[Segment, ...]:
    """The segments of a padded EPATH.

    Raises:
        CipError: PATH_SEGMENT_ERROR for a segment that is unknown, cut short or one too many.
    """
    segments: list[Segment] = []
    offset = 0
    while offset < len(path):
        if len(segments) >= limit:
            raise _path_error(f"more than {limit} segments")
        segment, offset = _DECODERS[path[offset] >> 5](path, offset)
        segments.append(segment)
    return tuple(segments)


def _take(path: bytes, offset: int, size: int) -> bytes:
    piece = path[offset : offset + size]
    if len(piece) < size:
        raise _path_error("segment ends before its length says")
    return piece


def _decode_port(path: bytes, offset: int) -> tuple[Segment, int]:
    first = path[offset]
    port, cursor, size = first & 0x0F, offset + 1, 1
    if first & 0x10:
        size = _take(path, cursor, 1)[0]
        cursor += 1
    if port == 0x0F:
        (port,) = struct.unpack("<H", _take(path, cursor, 2))
        cursor += 2
    if port == 0 or size == 0:
        raise _path_error("port segment without port or link")
    raw = _take(path, cursor, size)
    cursor += size
    cursor += (cursor - offset) & 1
    if cursor > len(path):
        raise _path_error("port segment lacks its pad")
    if not first & 0x10:
        return Port(port, raw[0]), cursor
    address = raw.rstrip(b"\0").decode("iso-8859-1")
    if not address:
        raise _path_error("port segment without port or link")
    return Port(port, address), cursor


def _decode_logical(path: bytes, offset: int) -> tuple[Segment, int]:
    first = path[offset]
    if first == 0x34:
        if _take(path, offset + 1, 1)[0] != 4:
            raise _path_error("electronic key of unknown format")
        return ElectronicKey(*_KEY.unpack(_take(path, offset + 2, _KEY.size))), offset + 10
    kind = first >> 2 & 7
    if kind > LogicalType.ATTRIBUTE:
        raise _path_error(f"logical segment 0x{first:02x}")
    width = _WIDTHS[first & 3]
    if width == 1:
        return Logical(LogicalType(kind), _take(path, offset + 1, 1)[0]), offset + 2
    raw = _take(path, offset + 2, width)
    return Logical(LogicalType(kind), int.from_bytes(raw, "little")), offset + 2 + width


def _decode_network(path: bytes, offset: int) -> tuple[Segment, int]:
    if path[offset] != 0x43:
        raise _path_error(f"network segment 0x{path[offset]:02x}")
    return Network(0x43, _take(path, offset + 1, 1)[0]), offset + 2


def _decode_data(path: bytes, offset: int) -> tuple[Segment, int]:
    first, length = path[offset], _take(path, offset + 1, 1)[0]
    if first == 0x80:
        return SimpleData(_take(path, offset + 2, 2 * length)), offset + 2 + 2 * length
    if first != 0x91 or not length:
        raise _path_error("data segment of unknown kind, or an empty symbol")
    raw = _take(path, offset + 2, length + (length & 1))
    return Symbol(raw[:length].decode("iso-8859-1")), offset + 2 + len(raw)


def _decode_unknown(path: bytes, offset: int) -> tuple[Segment, int]:
    raise _path_error(f"segment 0x{path[offset]:02x}")


_DECODERS = (
    _decode_port,
    _decode_logical,
    _decode_network,
    _decode_unknown,  # symbolic segments in the old form: no client sends them
    _decode_data,
    _decode_unknown,
    _decode_unknown,
    _decode_unknown,
)


def encode(segments: Iterable[Segment]) -> bytes:
    """The padded EPATH of `segments`, each logical value in its shortest form.

    Raises:
        EncodeError: a value that its segment cannot say.
    """
    return b"".join(_encode_one(segment) for segment in segments)


def _encode_one(segment: Segment) -> bytes:
    match segment:
        case Logical():
            return _encode_logical(segment)
        case Symbol(name):
            return encode_symbol(name)
        case Port():
            return _encode_port(segment)
        case ElectronicKey(vendor, device_type, product_code, major, minor):
            return b"\x34\x04" + _KEY.pack(vendor, device_type, product_code, major, minor)
        case SimpleData(data):
            return bytes((0x80, len(data) // 2)) + data
        case Network(subtype, value):
            return bytes((subtype, value))


def _characters(text: str) -> bytes:
    try:
        return text.encode("iso-8859-1")
    except UnicodeEncodeError:
        raise EncodeError(f"{text!r} is not ISO 8859-1", status=0x04) from None


def encode_symbol(name: str) -> bytes:
    """The segment of a tag, member or program name.

    Raises:
        EncodeError: a name that is empty, too long or not of ISO 8859-1.
    """
    raw = _characters(name)
    size = len(raw)
    if not 0 < size <= MAX_SYMBOL:
        raise EncodeError(f"symbol of {size} bytes", status=0x04)
    return b"\x91%c%b%b" % (size, raw, b"\0" if size & 1 else b"")


def _encode_logical(segment: Logical) -> bytes:
    first, value = 0x20 | segment.kind << 2, segment.value
    if not 0 <= value < 1 << 32:
        raise EncodeError(f"{segment.kind.name.lower()} {value}", status=0x04)
    if value < 1 << 8:
        return bytes((first, value))
    if value < 1 << 16:
        return struct.pack("<BBH", first | 1, 0, value)
    return struct.pack("<BBI", first | 2, 0, value)


def _encode_port(segment: Port) -> bytes:
    port, link = segment.port, segment.link
    if not 0 < port < 1 << 16 or (isinstance(link, int) and not 0 <= link < 1 << 8):
        raise EncodeError(f"port segment {segment}", status=0x04)
    first = port if port < 15 else 15
    wide = struct.pack("<H", port) if first == 15 else b""
    if isinstance(link, int):
        data = bytes((first,)) + wide + bytes((link,))
    else:
        raw = _characters(link)
        if not 0 < len(raw) < 256:
            raise EncodeError(f"port segment {segment}", status=0x04)
        data = bytes((first | 0x10, len(raw))) + wide + raw
    return data + bytes(len(data) & 1)


def class_path(class_id: int, instance: int, attribute: int | None = None) -> bytes:
    """The EPATH of an object's instance, or of one of its attributes."""
    path = [Logical(LogicalType.CLASS, class_id), Logical(LogicalType.INSTANCE, instance)]
    if attribute is not None:
        path.append(Logical(LogicalType.ATTRIBUTE, attribute))
    return encode(path)


_COMPONENT = re.compile(r"^([^\[\].]+?)\s*(?:\[([0-9,\s]+)\])?$")


def parse_tag(text: str) -> tuple[Segment, ...]:
    """Segments of `Program:Main.Tag[1,2].Member[3]`; elements stay where they are written.

    Raises:
        EncodeError: an empty or malformed component.
    """
    segments: list[Segment] = []
    for component in text.strip().split("."):
        found = _COMPONENT.match(component.strip())
        if not found:
            raise EncodeError(f"tag {text!r}: component {component!r}", status=0x04)
        segments.append(Symbol(found[1]))
        for index in found[2].split(",") if found[2] else ():
            segments.append(Logical(LogicalType.ELEMENT, parse_integer(index)))
    return tuple(segments)


_NUMERIC_ORDER = (
    LogicalType.CLASS,
    LogicalType.INSTANCE,
    LogicalType.ATTRIBUTE,
    LogicalType.ELEMENT,
)
_NUMERIC_KEYS = {
    "class": LogicalType.CLASS,
    "instance": LogicalType.INSTANCE,
    "attribute": LogicalType.ATTRIBUTE,
    "element": LogicalType.ELEMENT,
    "connection": LogicalType.CONNECTION_POINT,
}


def parse_integer(text: str) -> int:
    """An integer as paths write it: decimal (leading zeros allowed), 0x, 0o or 0b.

    Raises:
        EncodeError: anything else.
    """
    try:
        return int(text, 0) if re.match(r"^\s*0[xXoObB]", text) else int(text)
    except ValueError:
        raise EncodeError(f"{text!r} is not an integer", status=0x04) from None


def parse_numeric(text: str) -> tuple[Segment, ...]:
    """Segments of `@class/instance[/attribute[/element]]`, the `@` optional; a part may be JSON,
    `{"connection":100}`.

    Raises:
        EncodeError: too many parts, or one that is neither.
    """
    segments: list[Segment] = []
    defaults = iter(_NUMERIC_ORDER)
    for part in text.strip().removeprefix("@").split("/"):
        if part.strip().startswith("{"):
            segments.extend(_json_segment(item, value) for item, value in _json(part).items())
            for _ in _json(part).keys() & {kind.name.lower() for kind in _NUMERIC_ORDER}:
                next(defaults, None)
            continue
        kind = next(defaults, None)
        if kind is None:
            raise EncodeError(f"{text!r} has too many parts", status=0x04)
        segments.append(Logical(kind, parse_integer(part)))
    return tuple(segments)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EncodeError(f"{text!r}: {error}", status=0x04) from None
    if not isinstance(value, dict):
        raise EncodeError(f"{text!r} is not an object", status=0x04)
    return value


def _json_segment(key: str, value: Any) -> Segment:
    kind = _NUMERIC_KEYS.get(key)
    if kind is not None and isinstance(value, int):
        return Logical(kind, value)
    if key == "symbolic" and isinstance(value, str):
        return Symbol(value)
    raise EncodeError(f"unknown path segment {key!r}: {value!r}", status=0x04)


def parse_path(text: str) -> tuple[Segment, ...]:
    """Segments of a numeric (`@...`) or a symbolic path; "" gives none."""
    if not text.strip():
        return ()
    return parse_numeric(text) if text.strip().startswith("@") else parse_tag(text)


def _link(text: str) -> int | str:
    """A link address: an integer 0-255, or an IPv4/IPv6 address or host name."""
    text = text.strip()
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]+", text):
        value = parse_integer(text)
        if value > 255:
            raise EncodeError(f"link {value}: 0-255, or an address", status=0x04)
        return value
    if not re.fullmatch(r"[A-Za-z0-9.:_-]*[.:][A-Za-z0-9.:_-]*", text):
        raise EncodeError(f"link {text!r}: 0-255, or an address", status=0x04)
    return text


def port_number(text: str) -> int:
    """The number of a port, given as such or by its usual name; 0 where it is neither."""
    number = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else PORT_NAMES.get(text.lower(), 0)
    return number if number < 1 << 16 else 0


def _split_route(text: str) -> tuple[list[Port], str]:
    """Leading `port/link` pairs, and what follows them."""
    ports: list[Port] = []
    position = 0
    while (hop := _HOP.match(text, position)) and (port := port_number(hop[1])):
        try:
            ports.append(Port(port, _link(hop[2])))
        except EncodeError:
            break
        position = hop.end()
    return ports, text[position:]


def _json_ports(value: Any) -> tuple[Port, ...]:
    if isinstance(value, str):
        return parse_route_path(value)
    if isinstance(value, dict) and set(value) == {"port", "link"}:
        port = value["port"]
        if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 1 << 16:
            return (Port(port, _link(str(value["link"]))),)
    if isinstance(value, list):
        return tuple(port for item in value for port in _json_ports(item))
    raise EncodeError(f"route path {value!r}: expected port and link", status=0x04)


def parse_route_path(text: str) -> tuple[Port, ...]:
    """The ports of `1/0`, `1/0/2/10.0.0.5`, or the same as JSON (`[{"port": 1, "link": 0}]`,
    `["1/3", {...}]`); () for ``, `0`, `false` and `null`, which say "no route path".

    Commas separate as well, and ports have names, as with other clients: `1,0`, `bp/0`,
    `backplane,3,enet,10.0.0.5`.

    Raises:
        EncodeError: anything else.
    """
    text = text.strip()
    if text.lower() in ("", "0", "false", "null", "[]"):
        return ()
    if text[0] in "[{":
        try:
            return _json_ports(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise EncodeError(f"route path {text!r}: {error}", status=0x04) from None
    ports, rest = _split_route(text)
    if rest:
        raise EncodeError(f"route path {text!r}: {rest!r} is no port/link", status=0x04)
    return tuple(ports)


def parse_connection_path(text: str) -> tuple[Segment, ...]:
    """A route path with the object's path behind it: `1/0/@2/1`, `1/0/Tag[0].Sub`, `@2/1`, or a
    JSON list of port and logical segments.

    Raises:
        EncodeError: neither.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EncodeError(f"connection path {text!r}: {error}", status=0x04) from None
        return tuple(segment for item in items for segment in _json_connection(item))
    ports, rest = _split_route(text)
    return (*ports, *parse_path(rest))


def _json_connection(item: Any) -> Sequence[Segment]:
    if isinstance(item, dict) and not {"port", "link"} & set(item):
        return [_json_segment(key, value) for key, value in item.items()]
    if isinstance(item, str):
        return parse_connection_path(item)
    return _json_ports(item)


def to_text(segments: Iterable[Segment]) -> str:
    """The path as people write it, e.g. `1/0/@0x02/1`, `Tag[3].Member`; for logs and replies."""
    ports: list[str] = []
    numeric: list[str] = []
    symbolic = ""
    for segment in segments:
        match segment:
            case Port():
                ports.append(str(segment))
            case Symbol(name):
                symbolic += f".{name}" if symbolic else name
            case Logical(LogicalType.ELEMENT, value) if symbolic:
                symbolic += f"[{value}]"
            case Logical(LogicalType.CLASS, value):
                numeric.append(f"0x{value:02x}")
            case Logical(LogicalType.CONNECTION_POINT, value):
                numeric.append(f'{{"connection":{value}}}')
            case Logical(_, value):
                numeric.append(str(value))
            case _:
                numeric.append(type(segment).__name__)
    parts = [
        *ports,
        *([f"@{'/'.join(numeric)}"] if numeric else []),
        *([symbolic] if symbolic else []),
    ]
    return "/".join(parts)


def split_ports(segments: Sequence[Segment]) -> tuple[tuple[Port, ...], tuple[Segment, ...]]:
    """The leading port segments, and the rest."""
    count = 0
    while count < len(segments) and isinstance(segments[count], Port):
        count += 1
    return tuple(item for item in segments[:count] if isinstance(item, Port)), tuple(
        segments[count:]
    )
