"""The section `[feed]`."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from cpppod.protocols.model.addresses import is_loopback
from cpppod.protocols.model.plant import Device
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.settings import (
    Duration,
    Mistake,
    OptionalListenAddress,
    Size,
    Text,
)


class Feed(OutletSection):
    """The value feed for programs."""

    publish: OptionalListenAddress = Field(default="", description="TCP beside the ipc socket")
    snapshot: OptionalListenAddress = Field(default="", description="snapshots and replay over TCP")
    replay_size: Size = Field(
        default=8_000_000, description="memory for what latecomers can ask for"
    )  # with it the feed stays within 30 MB; 30 s of 20,000 values/s
    replay_age: Duration = Field(default=120.0, description="how long it is kept for latecomers")
    secret_key_file: Text = Field(default="", description="CURVE: the feed's own key")
    client_keys_file: Text = Field(
        default="", description="CURVE: public keys of the clients allowed"
    )

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        if bool(self.publish) != bool(self.snapshot):
            missing = "publish" if self.snapshot else "snapshot"
            yield Mistake(missing, None, "an address too: a subscriber needs both ports")
        if self.secret_key_file and self.client_keys_file:
            return
        for key, address in self.addresses().items():
            if not is_loopback(address):
                wanted = "a loopback address, or secret_key_file and client_keys_file beside it"
                yield Mistake(key, address, wanted)

    def options(self, devices: tuple[Device, ...]) -> Any:
        return {
            "publish": self.publish,
            "request": self.snapshot,
            "replay_bytes": self.replay_size,
            "replay_age_s": self.replay_age,
            "secret_key_file": self.secret_key_file,
            "client_keys_file": self.client_keys_file,
        }

    def addresses(self) -> dict[str, str]:
        every = {"publish": self.publish, "snapshot": self.snapshot}
        return {key: address for key, address in every.items() if address}

    def places(self) -> dict[str, str]:
        shown = f"{self.publish}, replay {self.snapshot}"
        return {"value feed": shown} if self.publish else {}
