"""The path of qualities that documentation names stays, and says the same."""

from cpppod.protocols.model import values
from cpppod.protocols.model import values as moved


def test_names_are_those_of_the_module_that_owns_them() -> None:
    assert values.Quality is moved.Quality
    assert {name: getattr(values, name) for name in values.__all__} == {
        name: getattr(moved, name) for name in values.__all__
    }
