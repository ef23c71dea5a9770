"""docs/architecture.md names the folders and modules that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
FOLDERS = ("protocols", "workers", "cpppod")


def owners(folder: str) -> str:
    """The table of a folder's owners."""
    _, _, rest = TEXT.partition(f"### {folder}/: who owns what")
    return rest.partition("\n#")[0]


def places(folder: str) -> set[str]:
    """The folders and modules that own something, as the table's first column has them."""
    rows = re.findall(r"^\| (`.*?) \|", owners(folder), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w/]+)`", row)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_owner_named_is_there(folder: str) -> None:
    missing = [
        name
        for name in sorted(places(folder))
        if not (ROOT / folder / name).is_dir() and not (ROOT / folder / f"{name}.py").is_file()
    ]
    assert missing == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_with_modules_has_an_owner(folder: str) -> None:
    known = places(folder)
    there = {
        str(path.parent.relative_to(ROOT / folder))
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    } - {"."}
    parents = {name for name in there if any(f"{part}/" in known for part in above(name))}
    assert there - parents == set()


def above(name: str) -> list[str]:
    """A folder and all that it lies in."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def test_every_path_in_the_text_is_there() -> None:
    named = set(re.findall(r"`((?:protocols|workers|cpppod|tests|etc)/[\w/.]+)`", TEXT))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
