"""What is wrong with a configuration: every mistake at once, each with its place and its cure."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from cpppod.configuration.lines import KeyPath, lines_of

SHOWN = 60  # characters of a wrong value that are shown: enough to find it in the file


def spell(path: KeyPath) -> str:
    """`path` as people write it: `device.boiler.group[0].period`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        file: where it is, "" for the configuration as a whole.
        path: key path within that file (list items count from 0).
        value: what stands there, None where something is missing.
        expected: what should stand there.
        line: where in the file its key stands, or the table that lacks it; 0 where nobody knows.
    """

    file: str
    path: KeyPath
    value: Any
    expected: str
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        place = ": ".join(part for part in (where, spell(self.path)) if part)
        found = "" if self.value is None else f" {_shown(self.value)}:"
        return f"{place}:{found} expected {self.expected}"

    def plain(self) -> dict[str, Any]:
        """The problem as JSON says it."""
        return {
            "file": self.file,
            "line": self.line or None,
            "path": spell(self.path),
            "value": None if self.value is None else _shown(self.value),
            "expected": self.expected,
        }


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: everything that is wrong with it.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Findings:
    """Collects problems and knows which file a key came from.

    Attributes:
        origins: key path in the merged configuration -> (file, key path there), for the tables and
            list items that files brought in.
        texts: file -> what stands in it.
    """

    origins: dict[KeyPath, tuple[str, KeyPath]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    _lines: dict[str, dict[KeyPath, int]] = field(default_factory=dict)

    def add(self, path: KeyPath, value: Any, expected: str, *, line: int = 0) -> None:
        """Note that `value` at `path` (of the merged configuration) is not what was expected.

        Args:
            line: where it stands, if somebody knows who does not go by the path.
        """
        file, own = self.locate(path)
        problem = Problem(file, own, value, expected, line or self._line(file, own))
        if problem not in self.problems:
            self.problems.append(problem)

    def _line(self, file: str, path: KeyPath) -> int:
        if file not in self._lines:
            self._lines[file] = lines_of(self.texts.get(file, ""))
        lines = self._lines[file]
        ends = range(len(path), 0, -1)
        return next((lines[path[:end]] for end in ends if path[:end] in lines), 0)

    def locate(self, path: KeyPath) -> tuple[str, KeyPath]:
        """The file that `path` came from, and the key path within it."""
        for end in range(len(path), 0, -1):
            if origin := self.origins.get(path[:end]):
                return origin[0], origin[1] + path[end:]
        return "", path

    def add_validation(self, path: KeyPath, error: ValidationError, keys: Iterable[str]) -> None:
        """Note every problem that pydantic found below `path`; `keys` are those known there."""
        known = list(keys)
        for detail in error.errors(include_url=False):
            place = path + tuple(detail["loc"])
            self.add(place, *_value_and_expectation(dict(detail), known))


def _value_and_expectation(detail: dict[str, Any], known: list[str]) -> tuple[Any, str]:
    kind, value = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "missing":
        return None, "a value: this key is required"
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        close = difflib.get_close_matches(name, known, 1)
        meant = f"; did you mean {close[0]}?" if close and close[0] != name else ""
        return value, f"no such key{meant}"
    if kind == "expected":
        return value, context["what"]
    if kind == "literal_error":
        return value, f"one of {context['expected']}"
    return value, EXPECTATIONS.get(kind, detail["msg"]).format(**context)


EXPECTATIONS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
