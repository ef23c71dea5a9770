"""Manifests of drivers, stores and outlets: ours by a line each, others' by an entry point.

    Registry(StoreSpec, "cpppod.stores", {"sqlite": "package.module:SPEC", ...})
        ours      imported when they are first asked for
        others'   entry points of the group, in packages installed beside this one

An outside package that cannot be used costs nobody else: it is left out, and `failures` says why.
A name belongs to whoever has it first; ours come before others'.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Manifest(Protocol):
    """What every manifest has: the name that a configuration calls it by, and where the model of
    its settings is, as `package.module:Class`."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> str: ...


Spec = TypeVar("Spec", bound=Manifest)
Model = TypeVar("Model")


class Registry(Generic[Spec]):
    """The manifests of one kind.

    Attributes:
        failures: name of an entry point -> why it is not here, told to those who ask for it.

    Args:
        kind: the class of the manifests.
        group: of the entry points that name further ones.
        ours: name -> `package.module:ATTRIBUTE`, in the order to list them.
    """

    def __init__(self, kind: type[Spec], group: str, ours: Mapping[str, str]) -> None:
        self.failures: dict[str, str] = {}
        self._kind = kind
        self._group = group
        self._ours = dict(ours)
        self._found: dict[str, Spec] = {}
        self._looked = False

    def find(self, name: str) -> Spec | None:
        """The manifest called `name`; None where there is none."""
        if name in self._ours and name not in self._found:
            self._found[name] = load(self._ours[name])
        if name not in self._found:
            self._look()
        return self._found.get(name)

    def ours(self) -> Iterator[Spec]:
        """The manifests of this package, in their order."""
        return (spec for name in self._ours if (spec := self.find(name)) is not None)

    def __iter__(self) -> Iterator[Spec]:
        """Every manifest: ours in their order, then others' by name, looked for only then."""
        yield from self.ours()
        self._look()
        yield from (self._found[name] for name in sorted(self._found.keys() - self._ours.keys()))

    def settings(self, base: type[Model]) -> dict[str, tuple[Spec, type[Model]]]:
        """Name -> manifest and model of its settings, a `base`; for the configuration alone."""
        found: dict[str, tuple[Spec, type[Model]]] = {}
        for spec in self:
            try:
                model = load(spec.settings)
            except (ImportError, AttributeError) as error:
                self.failures[spec.name] = f"{spec.settings} cannot be imported: {error}"
                continue
            if isinstance(model, type) and issubclass(model, base):
                found[spec.name] = (spec, model)
            else:
                self.failures[spec.name] = f"{spec.settings} is no {base.__name__}"
        return found

    def _look(self) -> None:
        """Find others' manifests; once, for what is installed does not change under a process."""
        if self._looked:
            return
        self._looked = True
        from importlib.metadata import entry_points  # a megabyte that few processes need

        for entry in sorted(entry_points(group=self._group), key=lambda each: each.name):
            if entry.name in self._ours or entry.name in self._found:
                self.failures[entry.name] = f"{_whose(entry)}: the name is taken"
                continue
            self._take(entry)

    def _take(self, entry: "EntryPoint") -> None:
        try:
            spec = entry.load()
        except Exception as error:  # somebody else's import: anything can be wrong with it
            self.failures[entry.name] = f"{_whose(entry)} cannot be imported: {error!r}"
            return
        if not isinstance(spec, self._kind) or spec.name != entry.name:
            wanted = f"a {self._kind.__name__} called {entry.name}"
            self.failures[entry.name] = f"{_whose(entry)}: {entry.value} is not {wanted}"
            return
        self._found[entry.name] = spec


def _whose(entry: "EntryPoint") -> str:
    return f"package {entry.dist.name}" if entry.dist is not None else entry.value


def load(place: str) -> Any:
    """What stands at `package.module:ATTRIBUTE`.

    Raises:
        ImportError, AttributeError: there is no such module, or nothing of that name in it.
    """
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
