"""The tree on disk, setup.cfg and the import layers agree."""

import ast
import configparser
import importlib
import pathlib
import subprocess
import sys

import pytest

from cpppod.workers.devices.spec import DRIVERS
from cpppod.workers.outlets.spec import roles

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("cpppod", "workers", "protocols")
MAY_IMPORT = {  # folder -> the cpppod packages it may import
    "protocols": ("cpppod.protocols",),
    "workers": ("cpppod.protocols", "cpppod.workers"),
}
NO_IO = set(
    "asyncio logging multiprocessing os random secrets select selectors serial signal socket "
    "socketserver sqlite3 ssl subprocess threading time zmq".split()
)
ROLES = {name for name, order in roles().items() if order.program}
HEAVY = {"pydantic", "rich", "starlette", "uvicorn", "prometheus_client"}
OWN_HEAVY = {"control": {"prometheus_client"}, "web": {"starlette", "uvicorn"}}
LINUX_ONLY = ("uvloop", "supervisor", "fcntl", "termios", "pwd", "grp", "resource", "pty")


def python_files(folder: str) -> list[pathlib.Path]:
    return sorted(
        path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts
    )


def folders_of_modules() -> set[pathlib.Path]:
    return {path.parent for folder in FOLDERS for path in python_files(folder)}


def imports(path: pathlib.Path) -> set[str]:
    """Names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def modules(path: pathlib.Path, known: set[str]) -> set[str]:
    """Those of the `known` modules that a file imports; a package only where it takes from it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= taken & known if taken <= known else {*taken, node.module or ""}
    return names & known


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_every_folder_with_modules_is_a_package() -> None:
    bare = {path for path in folders_of_modules() if not (path / "__init__.py").exists()}
    assert {str(path.relative_to(ROOT)) for path in bare} == set()


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_folder_imports_only_what_is_below_it(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files(folder)
        for name in sorted(imports(path))
        if (name.startswith("cpppod") and not name.startswith(MAY_IMPORT[folder]))
        or (folder == "protocols" and name.partition(".")[0] in NO_IO)
        or name.startswith(".")  # absolute imports only: one name for one module
        or name.partition(".")[0] in {"workers", "protocols"}
    ]
    assert wrong == []


def test_zmq_is_imported_by_the_bus_alone() -> None:
    users = {
        str(path.relative_to(ROOT))
        for folder in ("cpppod", "workers", "protocols")
        for path in python_files(folder)
        if any(name.partition(".")[0] == "zmq" for name in imports(path))
    }
    assert users == {"workers/bus/zeromq.py"}


def test_pydantic_is_imported_by_settings_alone_below_the_configuration() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("workers", "protocols")
        for path in python_files(folder)
        for name in sorted(imports(path))
        if name.partition(".")[0] == "pydantic" or name.endswith(".settings")
        if path.name != "settings.py"
    ]
    assert wrong == []


def test_no_role_imports_another_role() -> None:
    wrong = [
        f"{path.name}: {name}"
        for role in sorted(ROLES)
        for path in sorted((ROOT / "workers" / role).rglob("*.py"))
        for name in sorted(imports(path))
        if name.startswith("cpppod.workers.") and name.split(".")[2] in ROLES - {role}
    ]
    assert wrong == []


def test_the_frame_of_devices_imports_no_driver_and_no_driver_another() -> None:
    drivers = ROOT / "workers" / "drivers"
    room = "cpppod.workers.drivers."
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in (
            ROOT / "workers" / "devices",
            *filter(pathlib.Path.is_dir, drivers.iterdir()),
        )
        for path in sorted(folder.rglob("*.py"))
        for name in sorted(imports(path))
        if name.startswith(room) and name.split(".")[3] != folder.name
    ]
    assert wrong == []


def test_nobody_but_the_drivers_compares_their_names() -> None:
    """A name of theirs stands as a text in their manifests, the list of them, and simulators."""
    names = {spec.name for spec in DRIVERS.ours()}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in FOLDERS
        for path in python_files(folder)
        if "drivers" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.MatchValue)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and part.value in names
    ]
    assert wrong == []


def test_no_import_goes_in_a_circle() -> None:
    """Every import counts, those within functions and for types alone too."""
    files = {
        ".".join(("cpppod", *path.relative_to(ROOT).with_suffix("").parts))
        .replace("cpppod.cpppod", "cpppod")
        .removesuffix(".__init__"): path
        for folder in FOLDERS
        for path in python_files(folder)
        if not any(parent.is_symlink() for parent in path.parents)
    }
    needs = {name: modules(path, set(files)) - {name} for name, path in files.items()}
    while leaves := {name for name, wanted in needs.items() if not wanted & needs.keys()}:
        for name in leaves:
            del needs[name]
    while needs and (roots := needs.keys() - set().union(*needs.values())):
        for name in roots:
            del needs[name]
    assert sorted(f"{name}: {each}" for name in needs for each in needs[name] & needs.keys()) == []


def test_every_console_script_has_its_main() -> None:
    scripts = setup()["options.entry_points"]["console_scripts"].split("\n")
    for line in filter(None, scripts):
        module, _, function = line.partition("=")[2].strip().partition(":")
        assert callable(getattr(importlib.import_module(module), function)), line


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_worker_starts_without_the_heavy_packages(role: str) -> None:
    blocked = HEAVY - OWN_HEAVY.get(role, set())
    program = roles()[role].program
    folder = ROOT / program.removeprefix("cpppod.").replace(".", "/")
    module = f"{program}.role" if folder.is_dir() else program
    code = (
        f"import sys\nimport {module}\nprint(sorted(set({sorted(blocked)!r}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_client_simulators_and_tools_import_without_the_linux_only_parts() -> None:
    modules = [
        "cpppod.client",
        "cpppod.proxy",
        "cpppod.poll",
        "cpppod.modbus",
        "cpppod.automata",
        "cpppod.history",
        "cpppod.simulator",
        "cpppod.feed",
        *(
            f"cpppod.commands.{path.stem}"
            for path in sorted((ROOT / "cpppod" / "commands").glob("*.py"))
            if path.stem not in {"__init__", "cpppod"}
        ),
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {LINUX_ONLY!r}: sys.modules[name] = None\n"
        f"for name in {modules!r}: importlib.import_module(name)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_enip_server_needs_neither_zmq_nor_pydantic() -> None:
    code = (
        "import sys, cpppod.commands.enip_server, cpppod.simulator\n"
        "print(sorted({'zmq', 'pydantic'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
