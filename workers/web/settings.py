"""The section `[web]`."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from cpppod.protocols.model.addresses import is_loopback
from cpppod.protocols.model.plant import Device
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.settings import ListenAddress, Mistake, Text


class Web(OutletSection):
    """The page for people, and the API behind it."""

    enabled: bool = Field(default=False, description="serve the page")
    address: ListenAddress = Field(default="127.0.0.1:8880", description="where it listens")
    hosts: list[Text] = Field(default=[], description="further names under which it is reached")
    users_file: Text = Field(default="", description="who may log in; without: viewers, loopback")
    certificate_file: Text = Field(default="", description="TLS: chain of certificates, PEM")
    key_file: Text = Field(default="", description="TLS: the certificate's key, PEM")
    legacy: bool = Field(default=False, description="GET /api/... may write, as cpppo's may")

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        if not self.enabled:
            return
        if not is_loopback(self.address) and not self.users_file:
            wanted = "a loopback address, or users_file beside it: everybody could read and write"
            yield Mistake("address", self.address, wanted)
        if bool(self.certificate_file) != bool(self.key_file):
            missing = "key_file" if self.certificate_file else "certificate_file"
            yield Mistake(missing, None, "a file too: TLS needs a certificate and its key")

    def options(self, devices: tuple[Device, ...]) -> Any:
        return self.model_dump(exclude={"enabled"}) if self.enabled else None

    def addresses(self) -> dict[str, str]:
        return {"address": self.address}

    def places(self) -> dict[str, str]:
        scheme = "https" if self.certificate_file else "http"
        return {"web page": f"{scheme}://{self.address}/"}
