"""The path of qualities that documentation names stays, and says the same."""

from cpppod.protocols.model import values
from cpppod.protocols.model import values as moved


def test_names_are_those_of_the_module_that_owns_them() -> None:
    names = [name for name in vars(values) if not name.startswith("_")]
    assert "Quality" in names
    assert all(getattr(values, name) is getattr(moved, name) for name in names if name != "sys")
