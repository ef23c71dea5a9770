"""The keys of `[history]` that are a store's own: the base of the stores' own `settings.py`."""

from collections.abc import Iterable
from typing import Any

from cpppod.workers.settings import Mistake, Section


class StoreSection(Section):
    """The keys of `[history]` that are a store's own; all have defaults."""

    def mistakes(self) -> Iterable[Mistake]:
        """What is wrong beyond single keys; asked where this store is the one chosen."""
        return ()

    def options(self) -> dict[str, Any]:
        """What the store's `open` and `url` are given."""
        return self.model_dump()
