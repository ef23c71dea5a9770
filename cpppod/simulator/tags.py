"""Tags of a simulated controller as text: what a command line says and what a TOML file says.

    NAME[@class/instance/attribute][=TYPE[length]]     SCADA=INT[1000]  Speed@0x93/1/10=REAL
    NAME=TYPE[a,b,c]                                   up to three dimensions
    --move NAME=counter | sine | walk [,key=number ...]

A name may have blanks and colons; a dot ends the program that a tag belongs to, and stands nowhere
else: Program:Main.Level. Without a type it is INT; types in any case. A length of 1 or none is a
scalar.
"""

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cpppod.protocols.cip import types
from cpppod.protocols.cip.epath import parse_integer
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.structures import PREDEFINED, Structure
from cpppod.protocols.model.durations import parse_seconds, parse_span
from cpppod.protocols.model.errors import EncodeError

_DECLARATION = re.compile(
    r"^(?P<name>[A-Za-z_](?:[A-Za-z0-9_:. ]*[A-Za-z0-9_:.])?)"
    r"\s*(?:@(?P<address>[^=\[\]]+))?"
    r"(?:=\s*(?P<type>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<length>[^\[\]]*)\])?)?$"
)
_NAME = re.compile(r"(?:Program:[A-Za-z_][A-Za-z0-9_]*\.(?!Program:)|(?!Program:))[^.]+", re.I)
EXAMPLE = "SCADA=INT[1000], FLOAT=REAL or TEXT@22/1/2=SSTRING[100]"


class TagError(EncodeError):
    """A declaration that makes no sense; the text says what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=0)


class FileError(TagError):
    """A file of controllers or tags that makes no sense; the text says where."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One tag as declared."""

    name: str
    type: str = "INT"
    dimensions: tuple[int, ...] = ()
    address: tuple[int, int, int] | None = None
    value: Any = None
    writable: bool = True


def parse_declaration(text: str, structures: Mapping[str, Structure] | None = None) -> Declaration:
    """The tag that `text` declares.

    Raises:
        TagError: malformed, an unknown type, or a size that is not a number.
    """
    found = _DECLARATION.match(text.strip())
    if not found:
        raise TagError(
            f"tag {text!r}: expected NAME[@class/instance/attribute]=TYPE[length], {EXAMPLE}"
        )
    if not _NAME.fullmatch(found["name"]):
        raise TagError(
            f"tag {text!r}: no client could name it; a dot stands after a program alone, as in "
            "Program:Main.Level"
        )
    kind = found["type"] or "INT"
    if structures is None or kind.casefold() not in structures:
        known = types.BY_NAME.keys() | PREDEFINED.keys()
        if kind.upper() not in known:
            raise TagError(
                f"tag {text!r}: unknown type {kind!r}; one of {', '.join(types.BY_NAME)}"
            )
        kind = kind.upper()
    address = _address(text, found["address"]) if found["address"] else None
    return Declaration(found["name"], kind, _dimensions(text, found["length"]), address)


def _dimensions(text: str, length: str | None) -> tuple[int, ...]:
    if length is None:
        return ()
    try:
        sizes = tuple(parse_integer(part) for part in length.split(","))
    except EncodeError:
        raise TagError(f"tag {text!r}: size {length!r} is no number") from None
    if len(sizes) > 3 or any(size < 1 for size in sizes):
        raise TagError(f"tag {text!r}: one to three sizes of at least 1")
    return () if sizes == (1,) else sizes


def _address(text: str, address: str) -> tuple[int, int, int]:
    try:
        numbers = [parse_integer(part) for part in address.split("/")]
    except EncodeError:
        numbers = []
    if len(numbers) != 3 or any(not 0 < number < 1 << 16 for number in numbers):
        raise TagError(f"tag {text!r}: expected @class/instance/attribute, each 1 to 65535")
    return numbers[0], numbers[1], numbers[2]


@dataclass(slots=True)
class Movement:
    """A value that moves by itself; `every_s` apart, `next_at` in monotonic seconds."""

    variable: Variable
    step: Callable[[float], Any]
    every_s: float
    next_at: float = 0.0

    def move(self, now: float) -> None:
        """Take the steps that are due; late ones are taken once."""
        if now < self.next_at:
            return
        self.next_at = max(self.next_at + self.every_s, now)
        value = self.step(now)
        self.variable.set([value] * self.variable.length)


_KINDS: dict[str, dict[str, float]] = {
    "counter": {"step": 1, "every": 0.1, "start": 0, "high": 0},
    "sine": {"offset": 0, "amplitude": 100, "period": 60, "every": 0.1},
    "walk": {"low": 0, "high": 100, "step": 1, "every": 0.1, "start": 50},
}


TIMES = ("every", "period")  # the keys that are durations


def _noun(key: str) -> str:
    return "duration" if key.strip() in TIMES else "number"


def parse_movement(text: str, find: Callable[[str], Variable]) -> Movement:
    """`NAME=counter,step=2,every=0.5`, `NAME=sine,offset=80,amplitude=15,period=20`, or
    `NAME=walk,low=0,high=10,step=0.2`.

    Raises:
        TagError: an unknown tag or kind, or a key that it does not know.
    """
    name, equals, rest = text.partition("=")
    kind, *pairs = rest.split(",")
    settings = dict(_KINDS.get(kind.strip().lower(), {}))
    if not equals or not settings:
        raise TagError(f"--move {text!r}: expected NAME=counter, NAME=sine or NAME=walk")
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key.strip() not in settings:
            raise TagError(f"--move {text!r}: {key!r} is not one of {', '.join(settings)}")
        try:
            number = parse_seconds if key.strip() in TIMES else float
            settings[key.strip()] = number(value)
        except ValueError:
            raise TagError(f"--move {text!r}: {value!r} is no {_noun(key)}") from None
    if not all(map(math.isfinite, settings.values())):
        raise TagError(f"--move {text!r}: the numbers must be finite")
    if any(settings.get(key, 1) <= 0 for key in TIMES):
        raise TagError(f"--move {text!r}: every and period must be above 0")
    if settings.get("low", -math.inf) > settings.get("high", math.inf):
        raise TagError(f"--move {text!r}: low must not be above high")
    variable = find(name.strip())
    return Movement(variable, _stepper(kind.strip().lower(), settings, variable), settings["every"])


def _stepper(kind: str, settings: dict[str, float], variable: Variable) -> Callable[[float], Any]:
    whole = variable.type.kind == "int"
    if variable.type.kind not in ("int", "float"):
        raise TagError(f"--move {variable.name}: only numbers move")
    limits = variable.type.limits if whole and not isinstance(variable.type, Structure) else None

    def fit(value: float) -> Any:
        if limits is None:
            return value
        low, high = limits
        return min(max(round(value), low), high)

    if kind == "sine":
        return lambda now: fit(
            settings["offset"]
            + settings["amplitude"] * math.sin(2 * math.pi * now / settings["period"])
        )
    state = {"value": settings["start"]}
    if kind == "counter":

        def count(_now: float) -> Any:
            top = settings["high"] or (limits[1] if limits else math.inf)
            value = state["value"] + settings["step"]
            state["value"] = value if value <= top else settings["start"]
            return fit(state["value"])

        return count

    def walk(_now: float) -> Any:
        value = state["value"] + random.uniform(-settings["step"], settings["step"])
        state["value"] = min(max(value, settings["low"]), settings["high"])
        return fit(state["value"])

    return walk


def parse_delay(text: str) -> float | tuple[float, float]:
    """Seconds, or (least, most), of `500ms` or `0.1-0.9`.

    Raises:
        TagError: neither.
    """
    try:
        least, most = parse_span(text)
    except ValueError as error:
        raise TagError(f"--delay {text!r}: {error}; or two of them, 100ms-1s") from None
    return least if least == most else (least, most)
