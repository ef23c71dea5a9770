"""Dotted data: a dictionary of dictionaries whose keys are paths.

    d = dotdict()
    d["a.b"] = 1           makes the level a; read it as d.a.b, d["a"]["b"] or d["a.b"]
    d["a.x..b"]            every dot after the first backs up a level: the same as d["a.b"]
    d[".a.b"]              a leading dot is ignored
    d["list[1].v"]         indexes a list; the index may compute: d["list[a.b - 1].v"]
    "a" in d               a level counts; only an empty one can be deleted, `pop` takes any
    list(d), d.keys()      the leaves: ["a.b", "list[0].v", ...]; len(d) counts the top level

Names in an index are looked up beside the list, never above it.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

PATHS_REMEMBERED = 1024  # taken apart once; a machine stores at the same few paths again and again
MAXIMUM_INDEX_LENGTH = 200  # an index expression is written by a person
_RESERVED = frozenset(name for name in dir(dict) if not name.startswith("__")) | {
    "iteritems",
    "iterkeys",
    "itervalues",
    "listitems",
    "listkeys",
    "listvalues",
    "set",
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class dotdict(dict[str, Any]):
    """A dictionary whose string keys are dotted paths into further dotdicts and lists."""

    __slots__ = ()

    def __init__(self, *sources: Any, **named: Any) -> None:
        super().__init__()
        self.update(*sources, **named)

    def update(self, *sources: Any, **named: Any) -> None:
        """Set every key of each mapping or iterable of pairs, then the named ones."""
        for source in (*sources, named):
            pairs = dict.items(source) if isinstance(source, dict) else _pairs(source)
            for key, value in pairs:
                self[key] = value

    def __getitem__(self, key: str) -> Any:
        level: Any = self
        if "[" not in key:
            for name in _path(key):
                if not isinstance(level, dict) or (held := _GET(level, name, _MISSING)) is _MISSING:
                    raise _missing(level, name, key)
                level = held
            return level
        for name in _path(key):
            level = _step(level, name, key)
        return level

    def __setitem__(self, key: str, value: Any) -> None:
        *levels, last = _path(key)
        target: Any = self
        for name in levels:
            if isinstance(target, dict) and "[" not in name and not dict.__contains__(target, name):
                _allow(name)
                dict.__setitem__(target, name, self._layer())
            target = _step(target, name, key)
        if not isinstance(target, dict):
            raise KeyError(f"cannot set {last!r} of {key!r}: there is a value in its way")
        if isinstance(value, dict) and not isinstance(value, dotdict):
            value = self._layer(value)
        name, indexes = _indexes(last)
        if not indexes:
            _allow(name)
            dict.__setitem__(target, name, value)
            return
        items: Any = _member(target, name, key)
        numbers = [_evaluate(index, target) for index in indexes]
        for number in numbers[:-1]:
            items = items[number]
        items[numbers[-1]] = value

    def _layer(self, *sources: Any) -> "dotdict":
        """A new level below this one; a subclass may make it of its own kind."""
        return dotdict(*sources)

    def __delitem__(self, key: str) -> None:
        if isinstance(self[key], dict) and self[key]:
            raise KeyError(f"cannot delete {key!r}: it is a level (partial key)")
        self.pop(key)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(str(error), name=name, obj=self) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError as error:
            raise AttributeError(str(error), name=name, obj=self) from error

    def __contains__(self, key: object) -> bool:
        try:
            self[str(key)]
        except (KeyError, IndexError, TypeError):
            return False
        return True

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *(str(name) for name in dict.keys(self))]

    def get(self, key: str, default: Any = None) -> Any:
        """The value at `key`, or `default` where a part of the path is missing."""
        if "[" not in key:
            level: Any = self
            for name in _path(key):
                if not isinstance(level, dict) or (held := _GET(level, name, _MISSING)) is _MISSING:
                    return default
                level = held
            return level
        try:
            return self[key]
        except (KeyError, IndexError):
            return default

    set = __setitem__

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value at `key`, set to `default` first if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Take the value or the whole level at `key` out."""
        try:
            value = self[key]
        except (KeyError, IndexError):
            if default:
                return default[0]
            raise
        *levels, last = _path(key)
        target: Any = self
        for name in levels:
            target = _step(target, name, key)
        name, indexes = _indexes(last)
        if not indexes:
            return dict.pop(target, name)
        items = dict.__getitem__(target, name)
        for index in indexes[:-1]:
            items = items[_evaluate(index, target)]
        del items[_evaluate(indexes[-1], target)]
        return value

    def items(self, depth: int | None = None) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """(path, value) of every leaf, or of every entry `depth` levels down."""
        return _leaves(self, "", depth)

    def keys(self, depth: int | None = None) -> Iterator[str]:  # type: ignore[override]
        """The path of every leaf, or of every entry `depth` levels down."""
        return (path for path, _ in _leaves(self, "", depth))

    def values(self, depth: int | None = None) -> Iterator[Any]:  # type: ignore[override]
        """The value of every leaf, or of every entry `depth` levels down."""
        return (value for _, value in _leaves(self, "", depth))

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def copy(self) -> "dotdict":
        """A copy of this level; what lies below is shared."""
        twin = type(self)()
        for name, value in dict.items(self):
            dict.__setitem__(twin, name, value)
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> "dotdict":
        twin = type(self)()
        memo[id(self)] = twin
        for name, value in dict.items(self):
            dict.__setitem__(twin, name, deepcopy(value, memo))
        return twin

    def __reduce__(self) -> Any:
        return type(self), (dict(dict.items(self)),)


_MISSING: Any = object()


_GET = dict.get  # dotdicts look up paths; this looks up one name


def _pairs(source: Any) -> Iterable[tuple[str, Any]]:
    return source.items() if isinstance(source, Mapping) else source


def _allow(name: str) -> None:
    if name in _RESERVED:
        raise KeyError(f"{name!r} names a method of every dotdict, and cannot be a key")


@lru_cache(maxsize=PATHS_REMEMBERED)
def _path(key: str) -> tuple[str, ...]:
    """The names that `key` leads through, back-ups worked out."""
    if not isinstance(key, str):
        raise KeyError(key)
    if "." not in key:
        return (key,)
    names: list[str] = []
    name, dots, depth = "", 0, 0
    for character in key:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "." and depth <= 0:
            dots += 1
            if name:
                names.append(name)
                name = ""
            continue
        if dots > 1:
            del names[max(0, len(names) - dots + 1) :]
        dots = 0
        name += character
    if not name:
        raise KeyError(key)
    return (*names, name)


def _indexes(name: str) -> tuple[str, list[str]]:
    """`list[1][n-1]` as ("list", ["1", "n-1"])."""
    if not name.endswith("]"):
        return name, []
    indexes: list[str] = []
    start, depth = 0, 0
    head = name.partition("[")[0]
    for position in range(len(head), len(name)):
        if name[position] == "[":
            depth += 1
            start = position + 1 if depth == 1 else start
        elif name[position] == "]":
            depth -= 1
            if depth == 0:
                indexes.append(name[start:position])
    return head, indexes


def leading(key: str) -> tuple[str, str | None]:
    """(the first name that `key` leads through, the path from there on; None at its end).

    Raises:
        KeyError: it leads nowhere.
    """
    first, *others = _path(key)
    return first, ".".join(others) or None


def _missing(level: Any, name: str, key: str) -> KeyError:
    if not isinstance(level, dict):
        return KeyError(f"cannot get {name!r} of {key!r}: a value is in its way, not subscriptable")
    return KeyError(name if name == key else f"no {name!r} on the way to {key!r}")


def _member(level: Any, name: str, key: str) -> Any:
    if not isinstance(level, dict) or not dict.__contains__(level, name):
        raise _missing(level, name, key)
    return dict.__getitem__(level, name)


def _step(level: Any, name: str, key: str) -> Any:
    head, indexes = _indexes(name)
    value = _member(level, head, key)
    for index in indexes:
        value = value[_evaluate(index, level)]
    return value


def _evaluate(text: str, level: Mapping[str, Any]) -> Any:
    """The integer that an index says: literals, names beside the list, + - * / // % and ( )."""
    digits = text.strip()
    if digits.isdecimal() and len(digits) <= MAXIMUM_INDEX_LENGTH:
        return int(digits)
    if len(text) > MAXIMUM_INDEX_LENGTH:
        raise KeyError("an index longer than a person would write")
    try:
        return _value(ast.parse(digits, mode="eval").body, level)
    except (SyntaxError, RecursionError, ZeroDivisionError) as error:
        raise KeyError(f"not an index: {text!r}") from error


def _value(node: ast.AST, level: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return level[name]
        case ast.Attribute(value=inner, attr=name):
            return _value(inner, level)[name]
        case ast.Subscript(value=inner, slice=index):
            return _value(inner, level)[_value(index, level)]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, level), _value(right, level))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, level))
    raise KeyError(f"not allowed in an index: {type(node).__name__}")


def _leaves(level: Any, prefix: str, depth: int | None) -> Iterator[tuple[str, Any]]:
    for name, value in dict.items(level):
        path = prefix + str(name)
        deeper = None if depth is None else depth - 1
        if deeper == 0:
            yield path, value
        elif isinstance(value, dict) and value:
            yield from _leaves(value, path + ".", deeper)
        elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            for index, item in enumerate(value):
                if item:
                    yield from _leaves(item, f"{path}[{index}].", deeper)
                else:
                    yield f"{path}[{index}]", item
        else:
            yield path, value
