"""The section `[collector]`: the sites, their servers, and the store's keys as in `[history]`."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, create_model

from cpppod.protocols.model.plant import Device
from cpppod.workers.historian.stores.opening import chosen_store
from cpppod.workers.historian.stores.settings import StoreSection
from cpppod.workers.historian.stores.spec import STORES
from cpppod.workers.outlets.settings import NatsServers
from cpppod.workers.settings import Duration, Mistake, Name

_MODELS = {name: model for name, (_, model) in STORES.settings(StoreSection).items()}


class _Collector(NatsServers):
    """The centre of a fleet: what gateways sent, into a store."""

    enabled: bool = Field(default=True, description="collect from the servers")
    sites: list[Name] = Field(description="whose streams are collected")
    consumer: Name = Field(default="store", description="of each stream: one for each store")
    store: str = "sqlite"
    retention: Duration = Field(default=0.0, description="older days are removed; 0 keeps all")

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        yield from self.about_servers()
        if not self.sites:
            yield Mistake("sites", None, "at least one site")
        spec = chosen_store(dict(self))
        if missing := spec.missing():
            yield Mistake("store", spec.name, missing)
        yield from self._of_store(spec.name).mistakes()

    def options(self, devices: tuple[Device, ...]) -> Any:
        if not self.enabled:
            return None
        store = chosen_store(dict(self)).name
        own = set(NatsServers.model_fields) | {"sites", "consumer"}
        return {
            **self.model_dump(include=own),
            "store": store,
            "retention_s": self.retention,
            **self._of_store(store).options(),
        }

    def _of_store(self, name: str) -> StoreSection:
        model = _MODELS[name]
        return model.model_construct(**{key: getattr(self, key) for key in model.model_fields})


_BASES: tuple[type[Any], ...] = (_Collector, *_MODELS.values())
_NAMES: Any = Literal[tuple(_MODELS)]
Collector: type[_Collector] = create_model(
    "Collector",
    __base__=_BASES,
    __doc__=_Collector.__doc__,
    store=(_NAMES, Field(default="sqlite", description="which kind of store")),
)
