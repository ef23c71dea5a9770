"""Settings of an old setup: what a `cpppo.cfg` says about routes, identity and TCP/IP values.

Files are read in cpppo's order, later ones win: `%APPDATA%` or `/etc`, `~/.cpppo/`, `~/.cpppo.cfg`,
the working directory, then those named on the command line. The format is configparser's: `#`
begins a comment anywhere, `${section:option}` is replaced, a value goes on in indented lines.

    [UCMM]       Route Path = 1/0          Route = {"1/1-15": "10.0.0.5:44818"}   (JSON)
    [Identity]   Product Name = ...        Vendor Number, Device Type, Product Revision ...
    [TCPIP]      Host Name = ...           Interface Configuration = {"ip_address": ...}  (JSON)

Standard library only: the simulator reads these files without the gateway's dependencies.
"""

import configparser
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENIP_PORT = 44818
Converter = Callable[[str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Value:
    """One value taken.

    Attributes:
        key: where it belongs: `route_path`, `route.1/1-15`, `identity.product_name` ...
        file, option: where it was found: the path, and `[Section] Option`.
    """

    key: str
    value: Any
    file: str
    option: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All that was found.

    Attributes:
        files: those read, in order.
        problems: (file, option, value, what was expected) of what could not be understood.
    """

    files: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    problems: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def route_path(self) -> str | None:
        """The local route path, None where any is served."""
        return next((item.value for item in self.values if item.key == "route_path"), None)

    @property
    def routes(self) -> dict[str, str]:
        """Route -> `host:port`."""
        return self.table("route")

    @property
    def identity(self) -> dict[str, Any]:
        """Attributes of the Identity object, as `plant.Listener` names them."""
        return self.table("identity")

    @property
    def tcpip(self) -> dict[str, Any]:
        """Attributes of the TCP/IP Interface object, as `plant.Listener` names them."""
        return self.table("tcpip")

    def table(self, name: str) -> dict[str, Any]:
        """What belongs into a table: of the listener's, or `route`."""
        prefix = f"{name}."
        return {
            item.key.removeprefix(prefix): item.value
            for item in self.values
            if item.key.startswith(prefix)
        }


def places(basename: str = "cpppo") -> list[Path]:
    """Where cpppo looks for its file, least important first; the files need not exist."""
    system = Path(os.environ["APPDATA"]) if os.environ.get("APPDATA") else Path("/etc")
    found = [system / f"{basename}.cfg"]
    try:
        home = Path.home()
    except RuntimeError:  # a service's user may have none
        home = None
    if home is not None:
        found += [home / f".{basename}" / f"{basename}.cfg", home / f".{basename}.cfg"]
    return [*found, Path(f"{basename}.cfg")]


def read(paths: Iterable[str | Path]) -> Settings:
    """The settings in those of `paths` that exist; the last file that says something wins."""
    reading = _Reading()
    for path in paths:
        reading.file(Path(path))
    values = tuple(value for option in reading.found.values() for value in option)
    return Settings(tuple(reading.files), values, tuple(reading.problems))


@dataclass(slots=True)
class _Reading:
    files: list[str] = field(default_factory=list)
    found: dict[str, list[Value]] = field(default_factory=dict)
    problems: list[tuple[str, str, str, str]] = field(default_factory=list)

    def file(self, path: Path) -> None:
        parser = configparser.ConfigParser(
            comment_prefixes=("#",),
            inline_comment_prefixes=("#",),
            empty_lines_in_values=False,
            allow_no_value=True,
            interpolation=configparser.ExtendedInterpolation(),
        )
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append((str(path), "", "", f"a readable file ({error})"))
            return
        self.files.append(str(path))
        try:
            parser.read_string(text, str(path))
        except configparser.Error as error:
            what = str(error).splitlines()[0]
            self.problems.append((str(path), "", "", f"configparser's format ({what})"))
            return
        for (section, option), (expected, convert) in OPTIONS.items():
            self._option(path, parser, section, option, expected, convert)

    def _option(
        self,
        path: Path,
        parser: configparser.ConfigParser,
        section: str,
        option: str,
        expected: str,
        convert: Converter,
    ) -> None:
        name = f"[{section}] {option}"
        where = section if parser.has_section(section) else parser.default_section
        try:
            text = parser.get(where, option, fallback=None)
        except configparser.Error as error:
            self.problems.append((str(path), name, "", f"{expected} ({error})"))
            return
        if text is None or not text.strip():
            return
        try:
            converted = convert(text.strip())
        except (ValueError, TypeError, KeyError):
            self.problems.append((str(path), name, text, expected))
            return
        self.found[name] = [Value(key, value, str(path), name) for key, value in converted.items()]


def _number(key: str) -> Converter:
    return lambda text: {key: int(text)}


def _text(key: str) -> Converter:
    return lambda text: {key: text}


def _revision(text: str) -> dict[str, Any]:
    """cpppo holds the two bytes as one number, the major revision in the low one."""
    revision = int(text)
    return {
        "identity.major_revision": revision & 0xFF,
        "identity.minor_revision": revision >> 8 & 0xFF,
    }


INTERFACE = {
    "ip_address": "ip_address",
    "network_mask": "network_mask",
    "gateway_address": "gateway_address",
    "dns_primary": "name_server",
    "dns_secondary": "name_server_2",
    "domain_name": "domain_name",
}


def _interface(text: str) -> dict[str, Any]:
    given = json.loads(text)
    if not isinstance(given, dict):
        raise TypeError(text)
    return {
        f"tcpip.{ours}": str(given[theirs]) for theirs, ours in INTERFACE.items() if theirs in given
    }


def _segment(segment: dict[str, Any]) -> str:
    return f"{int(segment['port'])}/{segment['link']}"


def _route_path(text: str) -> dict[str, Any]:
    """`1/0`, or JSON: a list of {"port", "link"}; null accepts any, as nothing does."""
    if text[0] not in "[{" and text not in {"null", "false", "true"}:
        port, _slash, rest = text.partition("/")
        if not rest or int(port) <= 0:
            raise ValueError(text)
        return {"route_path": text}
    plain = json.loads(text)
    if not plain:
        return {}
    segments = plain if isinstance(plain, list) else [plain]
    return {"route_path": "/".join(map(_segment, segments))}


def _routes(text: str) -> dict[str, Any]:
    given = json.loads(text)
    if not isinstance(given, dict):
        raise TypeError(text)
    routes = {}
    for path, address in given.items():
        if not isinstance(address, str):
            raise TypeError(address)
        routes[f"route.{path}"] = address if ":" in address else f"{address}:{ENIP_PORT}"
    return routes


WHOLE = "a whole number"
OPTIONS: dict[tuple[str, str], tuple[str, Converter]] = {
    ("UCMM", "Route Path"): ("a route path such as 1/0, or a JSON list", _route_path),
    ("UCMM", "Route"): ('JSON such as {"1/1-15": "host:port"}', _routes),
    ("Identity", "Vendor Number"): (WHOLE, _number("identity.vendor_id")),
    ("Identity", "Device Type"): (WHOLE, _number("identity.device_type")),
    ("Identity", "Product Code Number"): (WHOLE, _number("identity.product_code")),
    ("Identity", "Product Revision"): (WHOLE, _revision),
    ("Identity", "Status Word"): (WHOLE, _number("identity.status")),
    ("Identity", "Serial Number"): (WHOLE, _number("identity.serial_number")),
    ("Identity", "Product Name"): ("text", _text("identity.product_name")),
    ("Identity", "State"): (WHOLE, _number("identity.state")),
    ("Identity", "Configuration Consistency Value"): (
        WHOLE,
        _number("identity.configuration_consistency_value"),
    ),
    ("Identity", "Heartbeat Interval"): (WHOLE, _number("identity.heartbeat_interval")),
    ("TCPIP", "Interface Status"): (WHOLE, _number("tcpip.status")),
    ("TCPIP", "Configuration Capability"): (WHOLE, _number("tcpip.configuration_capability")),
    ("TCPIP", "Configuration Control"): (WHOLE, _number("tcpip.configuration_control")),
    ("TCPIP", "Interface Configuration"): ("a JSON object of addresses", _interface),
    ("TCPIP", "Host Name"): ("text", _text("tcpip.host_name")),
}
