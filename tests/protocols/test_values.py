"""The path of qualities that documentation names stays, and says the same."""

import importlib

from cpppod.protocols.model import values as moved


def test_names_are_those_of_the_module_that_owns_them() -> None:
    documented = importlib.import_module("cpppod.protocols.values")
    names = [name for name in vars(documented) if not name.startswith("_")]
    assert "Quality" in names
    assert all(getattr(documented, name) is getattr(moved, name) for name in names)
