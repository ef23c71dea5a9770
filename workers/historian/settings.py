"""The section `[history]`: keys for every store, and those of each kind of store."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, create_model

from cpppod.protocols.model.plant import Device
from cpppod.workers.historian.stores.opening import chosen_store
from cpppod.workers.historian.stores.settings import StoreSection
from cpppod.workers.historian.stores.spec import STORES
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.settings import Duration, Mistake, Size

_MODELS = {name: model for name, (_, model) in STORES.settings(StoreSection).items()}


class _History(OutletSection):
    """The store of the groups with `history = true`."""

    enabled: bool | None = Field(default=None, description="default: when a group has history")
    store: str = "sqlite"
    retention: Duration = Field(default=0.0, description="older days are removed; 0 keeps all")
    journal_size: Size = Field(default=2_000_000_000, description="journals on disk, at most")
    journal_age: Duration = Field(
        default=259_200.0, description="journals are kept at most so long"
    )

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        spec = chosen_store(dict(self))
        if (missing := spec.missing()) and self.enabled is not False:
            yield Mistake("store", spec.name, missing)
        yield from self._of_store(spec.name).mistakes()
        if self.enabled is False and _historised(devices):
            yield Mistake("enabled", False, "true: groups have history = true")

    def options(self, devices: tuple[Device, ...]) -> Any:
        if not (_historised(devices) if self.enabled is None else self.enabled):
            return None
        store = chosen_store(dict(self)).name
        return {
            "store": store,
            "retention_s": self.retention,
            **self._of_store(store).options(),
            "journal_bytes": self.journal_size,
            "journal_age_s": self.journal_age,
        }

    def _of_store(self, name: str) -> StoreSection:
        model = _MODELS[name]
        return model.model_construct(**{key: getattr(self, key) for key in model.model_fields})


def _historised(devices: tuple[Device, ...]) -> bool:
    return any(group.history for device in devices for group in device.groups)


_BASES: tuple[type[Any], ...] = (_History, *_MODELS.values())
_NAMES: Any = Literal[tuple(_MODELS)]
History: type[_History] = create_model(
    "History",
    __base__=_BASES,
    __doc__=_History.__doc__,
    store=(_NAMES, Field(default="sqlite", description="which kind of store")),
)
