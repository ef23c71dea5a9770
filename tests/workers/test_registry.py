"""Specs are found by name: built-in ones by a line, others by the entry points of a package."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpppod.workers.registry import Registry

GROUP = "cpppod.tests"


@dataclass(frozen=True)
class Spec:
    """What these registries hold."""

    name: str
    settings: str = ""


OURS = Spec("ours")
BUILT_IN = {"ours": f"{__name__}:OURS"}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **places: str) -> None:
    """A distribution in `folder` with one module, `outside`, and those entry points."""
    (folder / "outside.py").write_text(
        "from importlib import import_module\n"
        f"Spec = import_module({__name__!r}).Spec\n"
        "SPEC, OTHER, OURS = Spec('outside'), Spec('other'), Spec('ours')\n"
    )
    information = folder / "outside-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1\n")
    lines = [f"{name} = {place}" for name, place in places.items()]
    (information / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "outside", raising=False)


def registry() -> Registry[Spec]:
    return Registry(Spec, GROUP, BUILT_IN)


def test_a_spec_of_ours_is_found() -> None:
    assert registry().find("ours") is OURS


def test_an_installed_spec_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, outside="outside:SPEC")
    found = registry()
    assert found.find("outside") == Spec("outside")
    assert list(found) == [OURS, Spec("outside")]


def test_what_nobody_has_is_none() -> None:
    assert registry().find("nothing") is None


def test_a_name_of_ours_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, ours="outside:OURS")
    found = registry()
    assert list(found) == [OURS]
    assert found.find("ours") is OURS
    assert found.failures == {"ours": "package outside: the name is taken"}


@pytest.mark.parametrize("place", ["outside:NONE", "outside:Spec", "outside:OTHER", "away:SPEC"])
def test_an_installed_spec_that_cannot_be_used_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    install(tmp_path, monkeypatch, outside=place)
    found = registry()
    assert found.find("outside") is None
    assert "package outside" in found.failures["outside"]
    assert list(found) == [OURS]
