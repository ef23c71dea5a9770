"""Programs that import cpppo run: by path, as modules, and as children of others."""

import os
import pathlib
import subprocess
import sys

import pytest

from cpppod import compat
from cpppod.compat.__main__ import main

PROGRAM = """
import sys, cpppo
print(cpppo.__version__, sys.argv[1:], cpppo.dotdict({"a.b": 1}).a.b)
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, sys.argv[1], "child"], check=True)
"""


def run(*arguments: str | pathlib.Path, path: str = "") -> "subprocess.CompletedProcess[str]":
    """A program of this Python, with `path` as PYTHONPATH behind what is needed to find cpppod."""
    root = str(pathlib.Path(compat.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, root)))}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(autouse=True)
def _undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` changes for its program is undone: arguments, path and environment."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def program(tmp_path: pathlib.Path) -> pathlib.Path:
    """A program that needs cpppo."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_script_runs_with_its_arguments(program: pathlib.Path) -> None:
    done = run("-m", "cpppod.compat", program, "-v", "x")
    assert done.stdout == "5.2.5 ['-v', 'x'] 1\n", done.stderr


def test_a_child_of_a_script_finds_it_too(program: pathlib.Path) -> None:
    parent = program.with_name("parent.py")
    parent.write_text(PARENT)
    done = run("-m", "cpppod.compat", parent, program)
    assert done.stdout == "5.2.5 ['child'] 1\n", done.stderr


def test_a_module_runs_with_its_arguments() -> None:
    done = run("-m", "cpppod.compat", "-m", "cpppo.bin.modbus_sim", "--version")
    assert done.stdout.startswith("modbus_sim "), done.stderr


def test_a_written_package_is_found_by_programs_that_know_nothing(
    program: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert main(["--write-package", str(tmp_path / "lib")]) == 0
    done = run(program, path=str(tmp_path / "lib"))
    assert done.stdout == "5.2.5 [] 1\n", done.stderr


def test_modules_beside_a_written_package_belong_to_it(tmp_path: pathlib.Path) -> None:
    compat.write_package(tmp_path)
    folder = tmp_path / "cpppo" / "server"
    folder.mkdir()
    (folder / "mine.py").write_text("from . import tnetstrings\nprint(tnetstrings.dump(7))\n")
    done = run("-c", "import cpppo.server.mine", path=str(tmp_path))
    assert done.stdout == "b'1:7#'\n", done.stderr


def test_modules_are_there_where_their_package_is_asked_for_them() -> None:
    source = (
        "import cpppod.compat; cpppod.compat.install()\n"
        "from cpppo import tools\n"
        "from cpppo.server import enip\n"
        "print(enip.client.connector.__name__, tools.waits.existence.__name__)\n"
        "print(hasattr(enip, 'nothing'))\n"
    )
    done = run("-c", source)
    assert done.stdout == "connector existence\nFalse\n", done.stderr


def test_another_package_is_not_written_over(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cpppo").mkdir()
    (tmp_path / "cpppo" / "__init__.py").write_text("")
    assert main(["--write-package", str(tmp_path)]) == 1
    assert "another package" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no_such.py"], "there is no no_such.py"),
        (["-m", "cpppo.nothing"], "No module named cpppo.nothing"),
    ],
)
def test_what_is_not_there_is_named(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert text in capsys.readouterr().err


def test_nothing_to_run_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "a script or -m MODULE" in capsys.readouterr().err


def test_a_cpppo_that_is_imported_already_is_not_replaced() -> None:
    source = (
        "import sys, types; sys.modules['cpppo'] = types.ModuleType('cpppo')\n"
        "import cpppod.compat\n"
        "cpppod.compat.install()\n"
    )
    assert "a cpppo is imported already" in run("-c", source).stderr
