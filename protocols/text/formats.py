"""What the settings of a text device say, checked: its frames, its commands, its manners.

    model (etc/models/*.toml) ─┬─► TextSettings ─┬ frames     Frame: pattern, captures, request
    the device's own keys ─────┘                 └ commands   Command: request, reply

`docs/text-devices.md` has the keys. Every mistake is found at once.
"""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.automata.captures import Captures, captures
from cpppod.protocols.automata.compiled import compile
from cpppod.protocols.automata.tables import BYTES, TEXT, UTF8
from cpppod.protocols.model.errors import ProtocolError
from cpppod.protocols.model.plant import Tag
from cpppod.protocols.text import checksums, fields

DEFAULT_MAXIMUM = 1024  # bytes of a frame; no reply of an instrument that we know of is longer
MAXIMUM_MAXIMUM = 65_536
DEFAULT_QUEUE, MAXIMUM_QUEUE = 256, 10_000
MAXIMUM_FORMATS = 64  # frames, replies and refusals together
ENCODINGS = ("ascii", "latin-1", "utf-8")
CHECKED, CHECKSUM = "checked", "checksum"  # captures that are the frame's own
KEYS = frozenset(
    {
        "listen",
        "sources",
        "encoding",
        "start",
        "deliver",
        "queue",
        "quiet",
        "refusals",
        "frames",
        "commands",
    }
)
FRAME_KEYS = frozenset(
    {"pattern", "request", "maximum", "checksum", "values", "convert", "refusals"}
)
COMMAND_KEYS = frozenset({"request", "reply", "refusals"})

Problem = tuple[str, Any, str]  # key path, value found, what was expected


@dataclass(frozen=True, slots=True)
class Format:
    """One pattern that is looked for in the stream.

    Attributes:
        name: `weight`, `weight refused 1`, `zero reply`.
        refusal: what it says, where it is a device's no; "" otherwise.
        number: 1 for the first refusal of its frame, and so on.
    """

    name: str
    pattern: str
    captures: Captures
    maximum: int = DEFAULT_MAXIMUM
    checksum: str = ""
    refusal: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a device: how to ask for it and what its captures mean."""

    name: str
    format: Format
    request: str = ""
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    convert: dict[str, str] = field(default_factory=dict)
    refusals: tuple[Format, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """What is sent when a tag is written, and what must come back (None: nothing)."""

    name: str
    request: str
    reply: Format | None = None
    refusals: tuple[Format, ...] = ()


@dataclass(frozen=True, slots=True)
class TextSettings:
    """A text device's own settings."""

    frames: dict[str, Frame]
    commands: dict[str, Command]
    encoding: str = "ascii"
    listen: bool = False
    sources: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    deliver: str = "latest"
    queue: int = DEFAULT_QUEUE
    quiet: bool = False
    refusals: tuple[Format, ...] = ()

    @property
    def formats(self) -> tuple[Format, ...]:
        """All patterns that are looked for, frames first."""
        found = [frame.format for frame in self.frames.values()]
        for frame in self.frames.values():
            found += frame.refusals
        for command in self.commands.values():
            found += [command.reply] if command.reply else []
            found += command.refusals
        return (*found, *self.refusals)

    @property
    def spontaneous(self) -> bool:
        """Whether any frame comes without being asked for."""
        return any(not frame.request for frame in self.frames.values())

    def find(self, address: str) -> tuple[Frame, str] | None:
        """The frame and the capture that a tag's address names, `capture` or `frame.capture`."""
        name, dot, capture = address.partition(".")
        if dot and name in self.frames:
            frame = self.frames[name]
            return (frame, capture) if capture in _names(frame) else None
        held = [frame for frame in self.frames.values() if address in _names(frame)]
        return (held[0], address) if len(held) == 1 else None


def _names(frame: Frame) -> tuple[str, ...]:
    return frame.format.captures.names


def settings(model: Mapping[str, Any], options: Mapping[str, Any]) -> TextSettings:
    """The settings that a model and a device's own keys make together.

    Raises:
        ValueError: something is wrong with them; all of it is named.
    """
    made, problems = check(model, options)
    if problems or made is None:
        raise ValueError(
            "; ".join(f"{key}: {value!r}, expected {why}" for key, value, why in problems)
        )
    return made


def merged(model: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The device's keys over the model's; frames and commands one by one."""
    result = {key: model[key] for key in KEYS if key in model}
    for key, value in options.items():
        if key in ("frames", "commands", "refusals") and isinstance(value, Mapping):
            held = dict(result.get(key, {}))
            for name, table in value.items():
                both = isinstance(table, Mapping) and isinstance(held.get(name), Mapping)
                held[name] = {**held[name], **table} if both else table
            result[key] = held
        else:
            result[key] = value
    return result


def check(
    model: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[TextSettings | None, list[Problem]]:
    """The settings, and (key path, value, expectation) of every mistake in them."""
    return _Reader(merged(model, options)).read()


def check_tag(made: TextSettings, tag: Tag) -> Iterator[Problem]:
    """(key, value, expectation) of every mistake in a tag of such a device."""
    if made.find(tag.address) is None and tag.address not in made.commands:
        known = sorted({name for frame in made.frames.values() for name in _names(frame)})
        yield (
            "address",
            tag.address,
            f"a capture of one frame, or frame.capture: {', '.join(known)}",
        )
    if tag.writable and tag.address not in made.commands:
        yield "writable", True, f"a command named {tag.address!r}, or false"
    if tag.type not in fields.TYPES:
        yield "type", tag.type, "a number, BOOL or a string"
    if tag.length != 1:
        yield "length", tag.length, "1: a capture is one value"


class _Reader:
    """Reads the merged keys and collects what is wrong."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self._keys = keys
        self._problems: list[Problem] = []
        self._encoding = keys.get("encoding", "ascii")

    def read(self) -> tuple[TextSettings | None, list[Problem]]:
        keys = self._keys
        self._unknown("", keys, KEYS)
        self._expect(
            "encoding", self._encoding, self._encoding in ENCODINGS, "ascii, latin-1, utf-8"
        )
        for name in ("listen", "quiet"):
            self._expect(
                name, keys.get(name, False), type(keys.get(name, False)) is bool, "a boolean"
            )
        deliver, queue = keys.get("deliver", "latest"), keys.get("queue", DEFAULT_QUEUE)
        self._expect("deliver", deliver, deliver in ("latest", "every"), "latest or every")
        self._integer("queue", queue, MAXIMUM_QUEUE)
        start = self._texts("start", keys.get("start", []))
        sources = self._texts("sources", keys.get("sources", []))
        if self._problems:
            return None, self._problems
        frames = {name: self._frame(name, t) for name, t in self._tables("frames").items()}
        commands = {name: self._command(name, t) for name, t in self._tables("commands").items()}
        refusals = self._refusals("request", "", keys.get("refusals", {}))
        self._expect("frames", {}, bool(frames), "at least one frame")
        if self._problems:
            return None, self._problems
        made = TextSettings(
            frames={name: frame for name, frame in frames.items() if frame},
            commands={name: command for name, command in commands.items() if command},
            encoding=self._encoding,
            listen=keys.get("listen", False),
            sources=sources,
            start=start,
            deliver=deliver,
            queue=queue,
            quiet=keys.get("quiet", False),
            refusals=refusals,
        )
        count = len(made.formats)
        self._expect(
            "frames", count, count <= MAXIMUM_FORMATS, f"at most {MAXIMUM_FORMATS} patterns"
        )
        self._together(made)
        return (None if self._problems else made), self._problems

    def _frame(self, name: str, table: Any) -> Frame | None:
        where = f"frames.{name}"
        self._unknown(where, table, FRAME_KEYS)
        maximum, sum_name = table.get("maximum", DEFAULT_MAXIMUM), table.get("checksum", "")
        self._integer(f"{where}.maximum", maximum, MAXIMUM_MAXIMUM)
        known = not sum_name or (isinstance(sum_name, str) and checksums.known(sum_name))
        self._expect(f"{where}.checksum", sum_name, known, ", ".join(checksums.ALGORITHMS))
        request = self._text(f"{where}.request", table.get("request", ""))
        found = self._captures(f"{where}.pattern", table.get("pattern"))
        if found is None or not known:
            return None
        if sum_name:
            both = {CHECKED, CHECKSUM} <= set(found.names)
            self._expect(
                f"{where}.pattern", found.expression, both, "captures checked and checksum"
            )
        values = self._by_capture(f"{where}.values", table.get("values", {}), found)
        convert = self._by_capture(f"{where}.convert", table.get("convert", {}), found)
        for capture, conversion in convert.items():
            self._expect(
                f"{where}.convert.{capture}",
                conversion,
                conversion in fields.CONVERSIONS,
                ", ".join(fields.CONVERSIONS),
            )
        for capture, words in values.items():
            ok = isinstance(words, Mapping) and all(
                isinstance(v, int | float) for v in words.values()
            )
            self._expect(f"{where}.values.{capture}", words, ok, "a table of texts and numbers")
        own = Format(name, found.expression, found, maximum, sum_name)
        refusals = self._refusals(name, where, table.get("refusals", {}))
        return Frame(name, own, request, values, convert, refusals)

    def _command(self, name: str, table: Any) -> Command | None:
        where = f"commands.{name}"
        self._unknown(where, table, COMMAND_KEYS)
        request = self._text(f"{where}.request", table.get("request"))
        self._expect(
            f"{where}.request", request, _is_template(request), "text with {value} at most"
        )
        reply = None
        if table.get("reply"):
            found = self._captures(f"{where}.reply", table["reply"])
            if found is not None:
                reply = Format(f"{name} reply", found.expression, found)
        return Command(name, request, reply, self._refusals(name, where, table.get("refusals", {})))

    def _refusals(self, name: str, where: str, table: Any) -> tuple[Format, ...]:
        made = []
        where = f"{where}.refusals".lstrip(".")
        if not isinstance(table, Mapping):
            self._expect(where, table, False, "a table of patterns and texts")
            return ()
        for number, (pattern, text) in enumerate(table.items(), start=1):
            found = self._captures(where, pattern)
            if found is not None:
                label = f"{name} refused {number}"
                made.append(Format(label, pattern, found, refusal=str(text), number=number))
        return tuple(made)

    def _captures(self, where: str, pattern: Any) -> Captures | None:
        if not isinstance(pattern, str) or not pattern:
            self._expect(where, pattern, False, "a regular expression")
            return None
        try:
            found = captures(pattern, TEXT if self._encoding == "utf-8" else BYTES)
        except ProtocolError as error:
            self._expect(where, pattern, False, f"a regular expression ({error})")
            return None
        empty = found.compiled.run().terminal
        self._expect(where, pattern, not empty, "a frame of at least one byte")
        return None if empty else found

    def _together(self, made: TextSettings) -> None:
        try:
            union(made)
        except ProtocolError as error:
            self._expect("frames", len(made.formats), False, f"patterns that go together ({error})")

    def _by_capture(self, where: str, table: Any, found: Captures) -> dict[str, Any]:
        if not isinstance(table, Mapping):
            self._expect(where, table, False, "a table by capture")
            return {}
        for capture in table:
            self._expect(where, capture, capture in found.names, f"one of {', '.join(found.names)}")
        return dict(table)

    def _tables(self, key: str) -> dict[str, Any]:
        held = self._keys.get(key, {})
        ok = isinstance(held, Mapping) and all(isinstance(t, Mapping) for t in held.values())
        self._expect(key, held, ok, "a table of tables")
        return dict(held) if ok else {}

    def _texts(self, key: str, given: Any) -> tuple[str, ...]:
        ok = isinstance(given, list | tuple) and all(isinstance(text, str) for text in given)
        self._expect(key, given, ok, "a list of texts")
        return tuple(self._text(key, text) for text in given) if ok else ()

    def _text(self, key: str, given: Any) -> str:
        if not isinstance(given, str):
            self._expect(key, given, False, "a text")
            return ""
        try:
            given.encode(self._encoding)
        except UnicodeEncodeError:
            self._expect(key, given, False, f"characters of {self._encoding}")
        return given

    def _integer(self, key: str, given: Any, most: int) -> None:
        ok = type(given) is int and 1 <= given <= most
        self._expect(key, given, ok, f"an integer from 1 to {most}")

    def _unknown(self, where: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
        for key in sorted(set(table) - known):
            path = f"{where}.{key}" if where else key
            self._expect(path, table[key], False, f"one of the keys {', '.join(sorted(known))}")

    def _expect(self, key: str, value: Any, ok: bool, expectation: str) -> None:
        if not ok:
            self._problems.append((key, value, expectation))


def union(made: TextSettings) -> Any:
    """The machine that ends where the first of all patterns is satisfied.

    Raises:
        LimitExceeded: the patterns together are beyond the limits of a machine.
    """
    expression = "|".join(f"({format.captures.plain})" for format in made.formats)
    return compile(expression, UTF8 if made.encoding == "utf-8" else BYTES, False)


def _is_template(request: str) -> bool:
    try:
        parts = list(string.Formatter().parse(request))
        request.format(value=0)
    except (ValueError, KeyError, IndexError, AttributeError):
        return False
    return all(name in (None, "value") for _, name, _, _ in parts)
