"""The section `[metrics]`."""

from typing import Any

from pydantic import Field

from cpppod.protocols.model.plant import Device
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.settings import ListenAddress


class Metrics(OutletSection):
    """The page for Prometheus."""

    enabled: bool = Field(default=True, description="serve the page")
    address: ListenAddress = Field(default="127.0.0.1:9880", description="where it listens")

    def options(self, devices: tuple[Device, ...]) -> Any:
        return self.address if self.enabled else None

    def addresses(self) -> dict[str, str]:
        return {"address": self.address}

    def places(self) -> dict[str, str]:
        return {"metrics": f"http://{self.address}/metrics"}
