"""What runs on cpppo runs on cpppod: modules under cpppo's names, adapters over ours.

    python -m cpppod.compat SCRIPT ARGS...           a program as it is
    python -m cpppod.compat -m cpppo.server.enip.client ARGS...
    cpppod.compat.install()                          in one's own program, before `import cpppo`
    python -m cpppod.compat --write-package DIR      a `cpppo` that programs find by their path

The modules lie in `tree/cpppo/` and carry cpppo's names only; `install` puts that folder first on
`sys.path`. Every package looks further along the path too, so that modules of the user's below a
folder `cpppo/` (tests, for example) are found beside ours. `docs/migration.md` tells what is there.
"""

import importlib
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

TREE = pathlib.Path(__file__).with_name("tree")

PACKAGE = '''"""cpppo's names on cpppod: `cpppod.compat`."""

import pathlib

import cpppod.compat

__path__ = [str(cpppod.compat.TREE / "cpppo"), *__path__]
cpppod.compat.install()
__file__ = str(cpppod.compat.TREE / "cpppo" / "__init__.py")
exec(compile(pathlib.Path(__file__).read_text(encoding="utf-8"), __file__, "exec"))
'''
PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "cpppo"
version = "5.2.5"
description = "cpppo's names on cpppod"
dependencies = ["cpppod"]

[tool.setuptools]
packages = ["cpppo"]
"""


class Replaced(NotImplementedError):
    """A part of cpppo that is not offered; the text names what takes its place."""


def install(*, children: bool = False) -> None:
    """Have `import cpppo` find these modules, in this process and in those that it forks.

    Args:
        children: also in programs that this one starts, through the variable `PYTHONPATH`.

    Raises:
        RuntimeError: another cpppo has been imported already.
    """
    loaded = sys.modules.get("cpppo")
    if loaded is not None and str(TREE) not in str(getattr(loaded, "__path__", "")):
        raise RuntimeError("a cpppo is imported already: call install() before")
    if str(TREE) not in sys.path:
        sys.path.insert(0, str(TREE))
    if children:
        others = os.environ.get("PYTHONPATH", "")
        if str(TREE) not in others.split(os.pathsep):
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TREE), others)))


def command(name: str) -> Callable[..., int]:
    """The `main` of a command, `enip.client`; it is imported when it is called."""

    def main(argv: Sequence[str] | None = None) -> int:
        """The command, with these arguments or those of the process."""
        return int(importlib.import_module(f"cpppod.commands.{name}").main(argv))

    return main


def submodules(package: str) -> Callable[[str], Any]:
    """A package's `__getattr__` that imports its modules where they are first named."""

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return find


def write_package(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Write a package `cpppo` into `folder` that leads here; the path of its `__init__.py`.

    Programs find it where the folder is on their path (`PYTHONPATH`, the script's own folder), or
    after `pip install folder`. It follows the cpppod that is installed.

    Raises:
        FileExistsError: there is another `cpppo` in `folder`.
        OSError: it cannot be written.
    """
    place = pathlib.Path(folder)
    package = place / "cpppo" / "__init__.py"
    if package.exists() and package.read_text(encoding="utf-8") != PACKAGE:
        raise FileExistsError(f"{package} is there, and it is another package")
    package.parent.mkdir(parents=True, exist_ok=True)
    package.write_text(PACKAGE, encoding="utf-8")
    project = place / "pyproject.toml"
    if not project.exists():
        project.write_text(PROJECT, encoding="utf-8")
    return package
