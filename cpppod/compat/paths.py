"""Paths and routes as cpppo's programs write them: texts, JSON, lists and dicts to segments.

    Tag.Sub[1-3]*3    @4/5/6    @{"class":4}/5    1/0/2/10.0.0.5    [{"port": 1, "link": 0}]

Unlike those of `cpppod.client` they give lists of dicts, and take what such lists hold.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any

_PLACES = ("class", "instance", "attribute", "element")
_INDEX = re.compile(r"\[\s*(\d+)\s*(?:-\s*(\d+)\s*)?\]$")


def parse_int(x: str, base: int = 10) -> int:
    """A number: decimal also with leading zeros, or 0x.., 0o.., 0b.."""
    try:
        return int(x, base)
    except ValueError:
        return int(x, 0)


def parse_path(path: Any, elm: int | None = None) -> list[Any]:
    """The segments of `Tag.Sub[3]`, `@4/5/6`, `@{"class":4}/5`, or of a list as it is."""
    return parse_path_elements(path, elm=elm)[0]


def parse_path_elements(path: Any, elm: Any = None, cnt: Any = None) -> tuple[list[Any], Any, Any]:
    """(segments, element, count) of `Tag[1-3]` or `Tag[1]*3`; `elm` and `cnt` where none is said.

    Raises:
        AssertionError, ValueError: no path.
    """
    if isinstance(path, list) and len(path) == 1 and isinstance(path[0], str):
        (path,) = path
    if not isinstance(path, str):
        valid = isinstance(path, list) and all(isinstance(part, dict) for part in path)
        assert valid, f"parse_path unrecognized: {path!r}"
        return path, None, None
    *outer, last = path.split(".")
    segments: list[Any] = []
    for part in outer:
        inner, _, count = parse_path_component(part)
        assert count in (None, 1), f"Only the last part may have several elements: {path!r}"
        segments += inner
    inner, elm, cnt = parse_path_component(last, elm, cnt)
    return segments + inner, elm, cnt


def parse_path_component(path: str, elm: Any = None, cnt: Any = None) -> tuple[list[Any], Any, Any]:
    """(segments, element, count) of one part of a path.

    Raises:
        AssertionError, ValueError: no path.
    """
    path, star, count = path.partition("*")
    cnt = parse_int(count) if star else cnt
    index = _INDEX.search(path.rstrip())
    if index is not None:
        path, elm = path[: index.start()], int(index[1])
        if index[2] is not None:
            cnt = int(index[2]) + 1 - elm
            assert cnt > 0, f"Invalid element range {elm}-{index[2]}"
    segments = _numeric(path) if path.startswith("@") else [{"symbolic": path.strip()}]
    if "[" in path and not path.startswith("@"):
        raise ValueError(f"no element: {path!r}")
    if elm is not None:
        if "element" in segments[-1]:
            segments[-1]["element"] = elm
        else:
            segments.append({"element": elm})
    return segments, elm, cnt


def _numeric(path: str) -> list[Any]:
    segments = []
    for number, part in enumerate(path[1:].split("/")):
        if part.startswith("{"):
            segments.append(json.loads(part))
            continue
        assert number < len(_PLACES), f"No default segment type beyond {_PLACES}"
        segments.append({_PLACES[number]: parse_int(part)})
    return segments


def port_link(pl: Any) -> dict[str, Any]:
    """`{"port": 1, "link": 0}` of `1/0`, (1, 0), or of such a dict; links are numbers or addresses.

    Raises:
        AssertionError: no port and link.
    """
    if isinstance(pl, str):
        pl = pl.split("/", 1)
    if not isinstance(pl, dict):
        assert len(pl) == 2, f"port/link: must have exactly 2 components, not: {pl!r}"
        pl = {"port": pl[0], "link": pl[1]}
    made: dict[str, Any] = pl
    assert {"port", "link"} <= set(made), f'port/link: needs "port" and "link", not: {pl!r}'
    port, link = str(made["port"]).strip(), str(made["link"]).strip()
    assert port.isdecimal() and int(port) > 0, "port/link: port must be an integer above 0"
    if not link.isdecimal():
        try:
            link = str(ipaddress.ip_address(_leading_zero.sub("::", link)))
        except ValueError as error:
            raise AssertionError(f"port/link: {link!r}: {error}") from None
    made["port"], made["link"] = int(port), int(link) if link.isdecimal() else link
    return made


_leading_zero = re.compile(r"^0::")  # 0::1 is ::1


def parse_route_path(route_path: Any, trailer_parser: Callable[[Any], Any] | None = None) -> Any:
    """Ports and links: of `1/0/2/10.0.0.5`, JSON, lists of dicts or texts; None, False and 0 stay.

    Args:
        trailer_parser: makes segments of what follows the ports.

    Raises:
        AssertionError: no route.
    """
    if isinstance(route_path, str):
        route_path = _route_parts(route_path)
    if not route_path:
        return route_path
    parts, found = list(route_path) if not isinstance(route_path, dict) else [route_path], []
    while parts:
        try:
            found.append(port_link(parts[0]))
        except (AssertionError, TypeError):
            break
        del parts[0]
    if parts:
        assert trailer_parser is not None, f"route_path unhandled: {parts!r}"
        found += trailer_parser(parts)
    return found


def _route_parts(text: str) -> Any:
    """What a text says: JSON, or the pairs of `1/0/2/0` and then the rest as a text."""
    try:
        value = json.loads(text)
    except ValueError as error:
        if text[:1] in ("[", "{", '"'):
            raise AssertionError(f"route_path JSON invalid: {text!r}; {error}") from None
    else:
        valid = isinstance(value, list | dict) or value in (None, 0)
        assert valid, f"route_path unhandled: {[text]!r}"
        return value
    parts: list[Any] = []
    pieces = text.split("/")
    while pieces:
        try:
            parts.append(port_link(pieces[:2]))
        except AssertionError:
            break
        pieces = pieces[2:]
    return [*parts, "/".join(pieces)] if pieces else parts


def parse_connection_path(path: Any) -> Any:
    """Ports and links, then the object: `1/0/2/10.0.0.5/@2/1`."""
    return parse_route_path(path, trailer_parser=parse_path)
