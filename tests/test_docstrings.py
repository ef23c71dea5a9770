"""Docstrings say what a caller must know: a public function that raises tells what, and when."""

import ast
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("cpppod", "workers", "protocols")
Function = ast.FunctionDef | ast.AsyncFunctionDef
PROTOCOLS_OF_PYTHON = {  # what a caller never catches by hand, or what nobody is to catch
    *("AssertionError", "AttributeError", "NotImplementedError", "StopAsyncIteration"),
    *("StopIteration", "SystemExit"),
}


class Raising(NamedTuple):
    """A public function, and the exceptions that its body raises itself."""

    name: str
    docstring: str
    exceptions: frozenset[str]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.relative_to(ROOT).parents):
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def functions(body: list[ast.stmt]) -> Iterator[Function]:
    """Public functions, and methods of public classes."""
    for item in body:
        if isinstance(item, ast.ClassDef) and not item.name.startswith("_"):
            yield from functions(item.body)
        elif isinstance(item, Function) and not item.name.startswith("_"):
            yield item


def raised(nodes: list[ast.AST], caught: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names of the exceptions that leave these statements."""
    for node in nodes:
        if isinstance(node, Function | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Try):
            handled = {name for handler in node.handlers for name in names(handler.type)}
            yield from raised([*node.body], caught | handled)
            yield from raised([*node.handlers, *node.orelse, *node.finalbody], caught)
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from names(node.exc) - caught
        yield from raised(list(ast.iter_child_nodes(node)), caught)


def names(node: ast.expr | None) -> set[str]:
    """The classes that an expression names: `Error`, `module.Error`, `Error(...)`, `(A, B)`."""
    if isinstance(node, ast.Tuple):
        return {name for item in node.elts for name in names(item)}
    if isinstance(node, ast.Call):
        return names(node.func)
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return {name} if name[:1].isupper() else set()


def raising(tree: ast.Module) -> Iterator[Raising]:
    for function in functions(tree.body):
        exceptions = frozenset(raised([*function.body])) - PROTOCOLS_OF_PYTHON
        if exceptions:
            yield Raising(function.name, ast.get_docstring(function) or "", exceptions)


def undocumented(modules: list[tuple[str, ast.Module]]) -> list[str]:
    """Functions that raise and do not say so.

    One without a docstring does what an interface says: a function of the same name whose
    docstring tells what it raises.
    """
    telling = {
        function.name
        for _, tree in modules
        for function in functions(tree.body)
        if "Raises:" in (ast.get_docstring(function) or "")
    }
    return [
        f"{path}: {found.name} raises {', '.join(sorted(found.exceptions))}"
        for path, tree in modules
        for found in raising(tree)
        if not ("Raises:" in found.docstring or "raises as" in found.docstring)
        and not (not found.docstring and found.name in telling)
    ]


def test_every_public_function_that_raises_says_so() -> None:
    assert undocumented(list(sources())) == []


SILENT = [
    ('def f():\n    """F."""\n    raise Bad("no")', ["x.py: f raises Bad"]),
    ("def f():\n    raise module.Bad", ["x.py: f raises Bad"]),
    ('class C:\n    def f(self):\n        """F."""\n        raise Bad', ["x.py: f raises Bad"]),
    ('def f():\n    """F.\n\n    Raises:\n        Bad: no.\n    """\n    raise Bad', []),
    ('def _f():\n    """F."""\n    raise Bad', []),
    ('def f():\n    """F."""\n    try:\n        raise Bad\n    except Bad:\n        pass', []),
    ('def f():\n    """F."""\n    def g():\n        raise Bad\n    return g', []),
]


@pytest.mark.parametrize(("source", "found"), SILENT)
def test_what_counts_as_silent(source: str, found: list[str]) -> None:
    assert undocumented([("x.py", ast.parse(source))]) == found


def attributes(item: ast.ClassDef) -> set[str]:
    """What a class gives its instances itself."""
    found = set()
    for node in ast.walk(item):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in flat(target)}
        elif isinstance(node, Function):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} if node.value.isidentifier() else set()  # __slots__
    return found


def flat(target: ast.expr) -> Iterator[ast.Name]:
    yield from (node for node in ast.walk(target) if isinstance(node, ast.Name))


def described(docstring: str) -> list[str]:
    """The attributes that the section of that name describes."""
    _, found, section = docstring.partition("Attributes:\n")
    section = re.split(r"\n\n|\n(?=\S)", section)[0] if found else ""
    first = re.findall(r"^    ([A-Za-z_][\w, ]*):", section, re.M)
    return [name.strip() for names_ in first for name in names_.split(",")]


def lying(modules: list[tuple[str, ast.Module]]) -> list[str]:
    """Attributes that a class' docstring describes and that it has not."""
    classes: dict[str, list[ast.ClassDef]] = {}
    for _, tree in modules:
        for item in ast.walk(tree):
            if isinstance(item, ast.ClassDef):
                classes.setdefault(item.name, []).append(item)

    def having(item: ast.ClassDef, seen: frozenset[str] = frozenset()) -> set[str]:
        found = attributes(item)
        for base in {name for node in item.bases for name in base_names(node)} - seen:
            for parent in classes.get(base, ()):
                found |= having(parent, seen | {base})
        return found

    return [
        f"{path}: {item.name}.{name}"
        for path, tree in modules
        for item in ast.walk(tree)
        if isinstance(item, ast.ClassDef)
        for name in described(ast.get_docstring(item) or "")
        if name not in having(item)
    ]


def base_names(node: ast.expr) -> set[str]:
    node = node.value if isinstance(node, ast.Subscript) else node
    return {node.id} if isinstance(node, ast.Name) else names(node)


def test_every_attribute_that_is_described_is_there() -> None:
    assert lying(list(sources())) == []


def test_an_attribute_that_is_not_there_is_found() -> None:
    source = (
        'class A:\n    """A.\n\n    Attributes:\n        x, y: told.\n        z: not.\n    """\n\n'
        "    y: int\n\n    def __init__(self):\n        self.x = 1\n"
    )
    assert lying([("x.py", ast.parse(source))]) == ["x.py: A.z"]
