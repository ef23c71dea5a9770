"""What a section of the configuration is made of: `Section`, and the kinds of value in it.

    class EchoSettings(Section):
        pause: Duration = Field(default=0.0, description="before each answer")

Each kind of value is an annotated type for pydantic. A check that fails says what the file should
have held; `cpppod.configuration.problems` shows that to people. The configuration imports this, and
the `settings.py` of each driver, store and outlet; no worker does, for pydantic takes 10 MB.
"""

import contextlib
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from cpppod.protocols.cip import epath
from cpppod.protocols.model import durations
from cpppod.protocols.model.addresses import listen_address, socket_address
from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import NAME_PATTERN
from cpppod.protocols.model.writing import RATE_PATTERN, RateLimit

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB)")
BYTES = {"B": 1, "kB": 1000, "MB": 1_000_000, "GB": 1_000_000_000}
LONGEST_S = 10 * 365 * 86_400  # a longer duration is a typing mistake
INTEGER_TYPES = ("SINT", "INT", "DINT", "LINT", "USINT", "UINT", "UDINT", "ULINT")
CIP_TYPES = (
    "BOOL",
    *INTEGER_TYPES,
    "REAL",
    "LREAL",
    "STRING",
    "SSTRING",
    "BYTE",
    "WORD",
    "DWORD",
    "LWORD",
)
PREDEFINED_STRUCTURES = ("STRING82", "ASCIISTRING82", "TIMER", "COUNTER", "CONTROL")
MAX_HOPS = 8


class Section(BaseModel):
    """A table of the file: unknown keys are mistakes, and a text is not a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Mistake(NamedTuple):
    """What is wrong with a key of a section, beside its type.

    Attributes:
        value: what stands there, None where something is missing.
        expected: what should stand there.
    """

    key: str
    value: Any
    expected: str


def expected(what: str) -> PydanticCustomError:
    """The error of a value that is not `what`."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def duration_s(value: Any) -> float:
    """Seconds from a number of seconds, or from a text such as `"500ms"`, `"10min"`, `"1h30m"`."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        with contextlib.suppress(ValueError):
            seconds = durations.parse_seconds(value)
    if not 0 <= seconds <= LONGEST_S:
        raise expected(f"a duration: {durations.EXPECTED}")
    return seconds


def size_bytes(value: Any) -> int:
    """Bytes from a number of bytes, or from `"64kB"`, `"32MB"`, `"2GB"`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := SIZE.fullmatch(value.strip())):
        return int(float(match[1]) * BYTES[match[2]])
    raise expected('a size: bytes, or text such as "64kB", "32MB", "2GB"')


def name(value: Any) -> str:
    """A name of a device, group, tag, line, listener or template."""
    if isinstance(value, str) and re.fullmatch(NAME_PATTERN, value):
        return value
    raise expected("a name: a letter or _, then up to 39 letters, digits or _")


def host_port(value: Any) -> str:
    """An address to connect to or to listen on, as `host:port`."""
    if isinstance(value, str):
        try:
            socket_address(value)
        except ValueError:
            pass
        else:
            return value
    raise expected("an address host:port, port 1 to 65535")


def listen_port(value: Any) -> str:
    """An address to listen on, as `a.b.c.d:port` or `[IPv6]:port`; no name: it may move."""
    if isinstance(value, str):
        try:
            socket_address(value)  # which wants a host
            return str(listen_address(value))
        except ValueError:
            pass
    raise expected("an IP address and port such as 127.0.0.1:44818 or [::1]:44818")


def optional(check: Callable[[Any], str]) -> Callable[[Any], str]:
    """`check`, with "" allowed: "none"."""
    return lambda value: "" if value == "" else check(value)


def write_rate(value: Any) -> str:
    """How often something may be written, as `10/min`."""
    try:
        return RateLimit(value).text
    except (TypeError, ValueError):
        raise expected('a number of writes in a time: "1/s", "10/min", "4/h"') from None


def network(value: Any) -> str:
    """A client network in CIDR notation, or one address."""
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except (ValueError, TypeError):
        raise expected("a network such as 10.0.0.0/24, or an address") from None


def cip_type(value: Any) -> str:
    """An elementary CIP type's name, in capitals."""
    if isinstance(value, str) and value.upper() in CIP_TYPES:
        return value.upper()
    members = "; of a structure its members" if isinstance(value, str) else ""
    raise expected(f"a type: {', '.join(CIP_TYPES)}{members}")


def tag_address(value: Any) -> str:
    """A tag's address in its driver's terms; a plain number is a Modbus register."""
    if isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    raise expected("an address: a register number, or text in the driver's terms")


def route_path(value: Any) -> str:
    """A route path of ports and links as `1/0` or `1/0/2/10.0.0.5`; `1,0` and `bp/0` become so."""
    if isinstance(value, str):
        with contextlib.suppress(EncodeError):
            ports = epath.parse_route_path(value)
            if 0 < len(ports) <= MAX_HOPS and all(map(_is_sound, ports)):
                return "/".join(map(str, ports))
    raise expected(f'a route path such as "1/0" or "1/0/2/10.0.0.5", up to {MAX_HOPS} hops')


def _is_sound(port: epath.Port) -> bool:
    """Whether the link is a number or an IP address: names are nobody's in a plant."""
    if isinstance(port.link, int):
        return True
    try:
        ipaddress.ip_address(port.link)
    except ValueError:
        return False
    return True


def line_of_text(value: Any) -> str:
    """Free text on one line; control characters could forge lines of other files."""
    if isinstance(value, str) and len(value) <= 1000 and (value.isprintable() or not value):
        return value
    raise expected("text on one line, up to 1000 characters")


def stop_bits(value: float) -> float:
    """1, 1.5 or 2."""
    if value in (1, 1.5, 2):
        return value
    raise expected("1, 1.5 or 2")


def _text(check: Callable[[Any], Any], **schema: Any) -> Any:
    return [BeforeValidator(check), WithJsonSchema({"type": "string", **schema})]


def _number_or_text(check: Callable[[Any], Any], kind: str, pattern: str) -> Any:
    choices = [{"type": kind, "minimum": 0}, {"type": "string", "pattern": f"^{pattern}$"}]
    return [BeforeValidator(check), WithJsonSchema({"anyOf": choices})]


Duration = Annotated[float, *_number_or_text(duration_s, "number", durations.SCHEMA)]
Size = Annotated[int, *_number_or_text(size_bytes, "integer", SIZE.pattern)]
Name = Annotated[str, *_text(name, pattern=f"^{NAME_PATTERN}$")]
Text = Annotated[str, *_text(line_of_text, maxLength=1000)]
HostPort = Annotated[str, *_text(host_port)]
WriteRate = Annotated[str, *_text(optional(write_rate), pattern=f"^({RATE_PATTERN})?$")]
OptionalHostPort = Annotated[str, *_text(optional(host_port))]
ListenAddress = Annotated[str, *_text(listen_port)]
OptionalListenAddress = Annotated[str, *_text(optional(listen_port))]
Network = Annotated[str, *_text(network)]
OptionalRoutePath = Annotated[str, *_text(optional(route_path), maxLength=1000)]
OptionalCipType = Annotated[str, *_text(optional(cip_type), enum=["", *CIP_TYPES])]
TagAddress = Annotated[
    str,
    BeforeValidator(tag_address),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}),
]
