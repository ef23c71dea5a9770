"""The expressions of computed tags: a checked subset of Python's, compiled once.

    boiler.pressure * 2 - shift                 tags of devices; local and computed tags by name
    line.zones[3]                               an element of an array
    + - * / // %   & | ^ ~ << >>   < <= == != >= >   and or not   a if c else b   true false "text"
    abs min max round floor ceil sqrt exp log log10 sin cos tan pow clamp(x, low, high) bit(x, n)
    good(tag)  default(tag, otherwise)          of a tag that may be bad
    rate integral mean delta hold               what remembers: `windows`

Total and bounded: there are no loops, names, attributes or calls but these, at most `LONGEST`
characters and `DEEPEST` levels, and no operation whose result can grow beyond what its operands
hold by more than their own size. Text can be compared and chosen, nothing else.

Every tag in an expression must be good, except directly within `good`, `default` and `hold`.
"""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cpppod.protocols.computed.windows import (
    LONGEST_S,
    Delta,
    Hold,
    Integral,
    Mean,
    Rate,
    Window,
)
from cpppod.protocols.model.errors import EncodeError

LONGEST = 1000  # characters
DEEPEST = 150  # levels of operations within each other: a sum of so many tags
MOST_SHIFT = 63


class ExpressionError(EncodeError):
    """An expression that cannot be; the text says what was expected, and where."""

    def __init__(self, text: str, at: int | None = None) -> None:
        super().__init__(text if at is None else f"{text} (column {at + 1})", status=0)


@dataclass(frozen=True, slots=True)
class Input:
    """A tag that an expression reads: `boiler.pressure`, `shift`; an element of it, or None."""

    name: str
    element: int | None = None

    def __str__(self) -> str:
        return self.name if self.element is None else f"{self.name}[{self.element}]"


Divisor = tuple[Callable[[Any, Any, Any, Any], Any], tuple[int, ...]]


@dataclass(slots=True)
class Expression:
    """A compiled expression.

    Attributes:
        inputs: what it reads; a result is computed from their values in this order.
        strict: those of them (by number) that must be good.
        windows: what it remembers, one each call of such a function.
        compute: (values, whether each is good, windows, now) -> the result.
        divisors: of its divisions, each with the inputs in it.
    """

    text: str
    inputs: tuple[Input, ...]
    strict: tuple[int, ...]
    windows: list[Window]
    compute: Callable[[Any, Any, Any, float], Any]
    divisors: tuple[Divisor, ...] = ()


def parse(text: str) -> Expression:
    """The expression that `text` is.

    Raises:
        ExpressionError: it is none.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"expected at most {LONGEST} characters, not {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"no expression: {error.msg}", (error.offset or 1) - 1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"no expression: {error}") from None
    compiler = _Compiler()
    body = compiler.node(tree.body, 0)
    divisors = tuple((_function(node), inputs) for node, inputs in compiler.divisors)
    return Expression(
        text,
        tuple(compiler.inputs),
        tuple(sorted(compiler.strict)),
        compiler.windows,
        _function(body),
        divisors,
    )


def _function(body: ast.expr) -> Callable[..., Any]:
    """`lambda v, g, w, t: body`, with nothing but our own functions to call."""
    names = [ast.arg(name) for name in ("v", "g", "w", "t")]
    arguments = ast.arguments(
        posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, body)))
    made: Callable[..., Any] = eval(  # of nodes that `_Compiler` made, and of no text
        compile(tree, "<expression>", "eval"), {"__builtins__": {}, **_CALLED}
    )
    return made


def _bit(value: Any, number: Any) -> bool:
    return bool(int(value) >> _shift(number) & 1)


def _shift(count: Any) -> int:
    if not 0 <= int(count) <= MOST_SHIFT:
        raise ValueError("a shift of 0 to 63")
    return int(count)


def _left(value: Any, count: Any) -> int:
    return (int(value) << _shift(count)) & 0xFFFF_FFFF_FFFF_FFFF


def _right(value: Any, count: Any) -> int:
    return int(value) >> _shift(count)


def _power(base: Any, exponent: Any) -> float:
    return math.pow(base, exponent)


def _clamp(value: Any, low: Any, high: Any) -> Any:
    return min(max(value, low), high)


def _round(value: Any, digits: Any = None) -> Any:
    return round(value) if digits is None else round(float(value), min(max(int(digits), -30), 30))


def _number(value: Any) -> Any:
    """An operand of arithmetic: text would be repeated, a list joined."""
    if isinstance(value, int | float):
        return value
    raise TypeError("a number")


_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {  # name -> function, arguments
    "abs": (abs, 1, 1),
    "min": (min, 2, 32),
    "max": (max, 2, 32),
    "round": (_round, 1, 2),
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "exp": (math.exp, 1, 1),
    "log": (math.log, 1, 1),
    "log10": (math.log10, 1, 1),
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
    "tan": (math.tan, 1, 1),
    "pow": (_power, 2, 2),
    "clamp": (_clamp, 3, 3),
    "bit": (_bit, 2, 2),
}
_OF_TAGS = ("good", "default", "hold")
_WINDOWS = {"rate": (1, 2), "delta": (1, 2), "mean": (2, 2), "integral": (1, 2)}
_WORDS = {"true": True, "false": False, "True": True, "False": False}
_CALLED: dict[str, Any] = {
    **{f"f_{name}": function for name, (function, _, _) in _FUNCTIONS.items()},
    "f_left": _left,
    "f_right": _right,
    "f_number": _number,
}
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
_DIVIDING = (ast.Div, ast.FloorDiv, ast.Mod)
_BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor)
_SHIFTS = {ast.LShift: "f_left", ast.RShift: "f_right"}
_COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
NAMES = (*_FUNCTIONS, *_OF_TAGS, *_WINDOWS)


@dataclass(slots=True)
class _Compiler:
    """Makes the nodes of a function out of those of an expression; all else is refused."""

    inputs: list[Input] = field(default_factory=list)
    strict: set[int] = field(default_factory=set)
    windows: list[Window] = field(default_factory=list)
    divisors: list[tuple[ast.expr, tuple[int, ...]]] = field(default_factory=list)

    def node(self, node: ast.expr, depth: int) -> ast.expr:
        """The node of the function for a node of the expression."""
        if depth > DEEPEST:
            raise ExpressionError(f"more than {DEEPEST} levels", node.col_offset)
        make = _MAKERS.get(type(node))
        if make is None:
            raise ExpressionError(f"{_named(node)} is not of the language", node.col_offset)
        return make(self, node, depth + 1)

    # Values

    def constant(self, node: Any, _depth: int) -> ast.expr:
        value = node.value
        if isinstance(value, bool | int | float | str) and not isinstance(value, complex):
            if isinstance(value, int) and abs(value) >= 2**64:
                raise ExpressionError("a number beyond 64 bits", node.col_offset)
            return ast.Constant(value)
        raise ExpressionError(f"{value!r:.20} is not of the language", node.col_offset)

    def name(self, node: Any, _depth: int) -> ast.expr:
        if node.id in _WORDS:
            return ast.Constant(_WORDS[node.id])
        return self._input(Input(node.id), strict=True)

    def attribute(self, node: Any, _depth: int) -> ast.expr:
        return self._input(_tag(node), strict=True)

    def _number_of(self, tag: Input, *, strict: bool) -> int:
        if tag not in self.inputs:
            self.inputs.append(tag)
        number = self.inputs.index(tag)
        if strict:
            self.strict.add(number)
        return number

    def _input(self, tag: Input, *, strict: bool) -> ast.expr:
        return _item("v", self._number_of(tag, strict=strict))

    # Operations

    def binary(self, node: Any, depth: int) -> ast.expr:
        kind = type(node.op)
        left = self.node(node.left, depth)
        inputs_of = _InputsOf(self)
        right = inputs_of.node(node.right, depth)
        if kind in _SHIFTS:
            return _call(_SHIFTS[kind], left, right)
        if isinstance(node.op, _BITWISE):
            return ast.BinOp(left, node.op, right)
        if not isinstance(node.op, _ARITHMETIC):
            raise ExpressionError(f"{_named(node.op)} is not of the language", node.col_offset)
        if isinstance(node.op, _DIVIDING):
            self.divisors.append((right, tuple(sorted(inputs_of.numbers))))
        return ast.BinOp(_numeric(left), node.op, _numeric(right))

    def unary(self, node: Any, depth: int) -> ast.expr:
        return ast.UnaryOp(node.op, self.node(node.operand, depth))

    def boolean(self, node: Any, depth: int) -> ast.expr:
        return ast.BoolOp(node.op, [self.node(each, depth) for each in node.values])

    def compare(self, node: Any, depth: int) -> ast.expr:
        for operator in node.ops:
            if not isinstance(operator, _COMPARED):
                raise ExpressionError(f"{_named(operator)} is not of the language", node.col_offset)
        others = [self.node(each, depth) for each in node.comparators]
        return ast.Compare(self.node(node.left, depth), node.ops, others)

    def choice(self, node: Any, depth: int) -> ast.expr:
        test = self.node(node.test, depth)
        return ast.IfExp(test, self.node(node.body, depth), self.node(node.orelse, depth))

    # Calls

    def call(self, node: Any, depth: int) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in NAMES:
            raise ExpressionError(
                f"no such function; there are {', '.join(NAMES)}", node.col_offset
            )
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            raise ExpressionError(f"{name}: arguments by their place", node.col_offset)
        if name in _OF_TAGS:
            return self._of_tag(name, node, depth)
        least, most = _WINDOWS.get(name) or _FUNCTIONS[name][1:]
        _count(name, node, least, most)
        if name in _WINDOWS:
            return self._window(name, node, depth)
        return _call(f"f_{name}", *(self.node(each, depth) for each in node.args))

    def _of_tag(self, name: str, node: Any, depth: int) -> ast.expr:
        """`good(tag)`, `default(tag, otherwise)`, `hold(tag, seconds)`."""
        _count(name, node, 1 if name == "good" else 2, 1 if name == "good" else 2)
        if not isinstance(node.args[0], ast.Name | ast.Attribute | ast.Subscript):
            raise ExpressionError(f"{name}: a tag first", node.col_offset)
        number = self._number_of(_tag(node.args[0]), strict=False)
        good, value = _item("g", number), _item("v", number)
        if name == "good":
            return good
        if name == "default":
            return ast.IfExp(good, value, self.node(node.args[1], depth))
        self.windows.append(Hold(_seconds(name, node.args[1])))
        return ast.Call(_item("w", len(self.windows) - 1), [good, value, _read("t")], [])

    def _window(self, name: str, node: Any, depth: int) -> ast.expr:
        value = _numeric(self.node(node.args[0], depth))
        more: list[ast.expr] = []
        if name == "integral":
            more = [self.node(each, depth) for each in node.args[1:]]
            self.windows.append(Integral())
        else:
            seconds = _seconds(name, node.args[1]) if len(node.args) > 1 else None
            kinds: dict[str, type[Rate] | type[Delta] | type[Mean]] = {
                "rate": Rate,
                "delta": Delta,
                "mean": Mean,
            }
            self.windows.append(kinds[name](seconds))
        return ast.Call(_item("w", len(self.windows) - 1), [value, _read("t"), *more], [])


class _InputsOf:
    """Which inputs a part of an expression has."""

    def __init__(self, compiler: _Compiler) -> None:
        self._compiler = compiler
        self.numbers: set[int] = set()

    def node(self, node: ast.expr, depth: int) -> ast.expr:
        """Compile it, and note its inputs."""
        made = self._compiler.node(node, depth)
        self.numbers = {
            each.slice.value
            for each in ast.walk(made)
            if isinstance(each, ast.Subscript)
            and isinstance(each.value, ast.Name)
            and each.value.id == "v"
            and isinstance(each.slice, ast.Constant)
            and isinstance(each.slice.value, int)
        }
        return made


_MAKERS: dict[type, Callable[[_Compiler, Any, int], ast.expr]] = {
    ast.Constant: _Compiler.constant,
    ast.Name: _Compiler.name,
    ast.Attribute: _Compiler.attribute,
    ast.Subscript: _Compiler.attribute,
    ast.BinOp: _Compiler.binary,
    ast.UnaryOp: _Compiler.unary,
    ast.BoolOp: _Compiler.boolean,
    ast.Compare: _Compiler.compare,
    ast.IfExp: _Compiler.choice,
    ast.Call: _Compiler.call,
}


def _tag(node: Any) -> Input:
    """The tag that `name`, `device.tag` or `device.tag[3]` is.

    Raises:
        ExpressionError: it is none.
    """
    element = None
    if isinstance(node, ast.Subscript):
        index = node.slice
        if not isinstance(index, ast.Constant) or type(index.value) is not int or index.value < 0:
            raise ExpressionError("an element's number within [ ]", node.col_offset)
        element, node = index.value, node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return Input(f"{node.value.id}.{node.attr}", element)
    if isinstance(node, ast.Name):
        return Input(node.id, element)
    raise ExpressionError("a tag is a name, or device.tag", node.col_offset)


def _seconds(name: str, node: ast.expr) -> float:
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_S:
        raise ExpressionError(f"{name}: seconds as a number, up to 30 days", node.col_offset)
    return float(value)


def _count(name: str, node: Any, least: int, most: int) -> None:
    if not least <= len(node.args) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ExpressionError(f"{name}: {wanted} arguments", node.col_offset)


def _numeric(node: ast.expr) -> ast.expr:
    """A node whose value is a number, or that is checked to be one."""
    if isinstance(node, ast.BinOp | ast.Compare):
        return node
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            raise ExpressionError(f"no arithmetic with a text: {node.value!r:.20}")
        return node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node
    return _call("f_number", node)


def _read(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _item(name: str, number: int) -> ast.expr:
    return ast.Subscript(_read(name), ast.Constant(number), ast.Load())


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_read(name), list(arguments), [])


def _named(node: Any) -> str:
    return type(node).__name__
