"""What the rest of the gateway knows of a kind of store: its manifest, and the list of them.

A store is a folder of its own: `spec.py` with its `StoreSpec`, `settings.py` with the keys of
`[history]` that are its own, and the code behind them. It is told to the gateway by a line in
`STORES`, or by an entry point `cpppod.stores` of another package (docs/extending.md).

A manifest imports nothing but the standard library and this module: every command loads it.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cpppod.workers.historian.stores.store import DamagedError, Store, StoreReader, Writer
from cpppod.workers.registry import Registry

Options = Mapping[str, Any]


class GivesUp(Store, Protocol):
    """A store whose hanging call can be cut off."""

    def give_up(self) -> None:
        """Make the call that another thread waits in fail now."""


class Mends(Store, Protocol):
    """A store that can put aside what is damaged of it."""

    def mend(self, error: DamagedError) -> None:
        """Put aside what a reader found damaged, if it is, and declare what that costs.

        Raises:
            StoreError: not now, or it is not damaged.
        """


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """The manifest of one kind of store.

    Attributes:
        name: what `history.store` calls it.
        schemes: of the URLs that are its own; "" for a path without one.
        example: such a URL, for help texts.
        settings: `package.module:Class` of its keys; only the configuration imports it.
        url: (its options, the state directory) -> the URL of the store that they mean.
        open: (URL, its options, who writes) -> the store, not yet opened.
        read: (URL, the gateway that asks, or None for nobody) -> a reader.
        chosen_by: a key that means this store, whatever `history.store` says; "" for none.
        gives_up: the store has `give_up` (`GivesUp`); mends: it has `mend` (`Mends`).
        needs: modules that must be installed besides, and `install`: how they are.
    """

    name: str
    schemes: tuple[str, ...]
    example: str
    settings: str
    url: Callable[[Options, str], str]
    open: Callable[[str, Options, Writer], Store]
    read: Callable[[str, str | None], StoreReader]
    chosen_by: str = ""
    gives_up: bool = False
    mends: bool = False
    needs: tuple[str, ...] = ()
    install: str = ""

    def missing(self) -> str:
        """What must be installed before this store can be used; "" where nothing is."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} installed: {self.install}" if absent else ""


STORES = Registry(
    StoreSpec,
    "cpppod.stores",
    {
        "sqlite": "cpppod.workers.historian.stores.sqlite.spec:SPEC",
        "postgresql": "cpppod.workers.historian.stores.postgresql.spec:SPEC",
    },
)
