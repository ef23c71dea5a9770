"""The section of an outlet, as a model: the base of those in the outlets' own `settings.py`."""

from collections.abc import Iterable
from typing import Any

from cpppod.protocols.model.plant import Device
from cpppod.workers.settings import Mistake, Section


class OutletSection(Section):
    """The section of an outlet; with `many` in its manifest it has a key `name`."""

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        """What is wrong beyond single keys."""
        return ()

    def options(self, devices: tuple[Device, ...]) -> Any:
        """What its worker is told, of JSON's own types; None where it does not run."""
        return self.model_dump()

    def addresses(self) -> dict[str, str]:
        """Key -> TCP address that it listens at: no two sections may have the same."""
        return {}

    def places(self) -> dict[str, str]:
        """What -> where people find it, to show at the start."""
        return {}

    def journalled(self, devices: tuple[Device, ...]) -> Iterable[str]:
        """Groups to journal for it, as `device/group`, whether they have history or not."""
        return ()
