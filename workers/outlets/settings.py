"""The section of an outlet, as a model: the base of those in the outlets' own `settings.py`."""

import importlib.util
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from cpppod.protocols.model.plant import Device
from cpppod.workers.settings import Mistake, Section, Text


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


class NatsServers(OutletSection):
    """How to reach the servers of a fleet; also of a `[collector]`."""

    servers: list[Text] = Field(
        default=["nats://127.0.0.1:4222"], description="tried in turn: nats://host:port"
    )
    user: Text = Field(default="", description="name at the servers")
    password_file: Text = Field(default="", description="a file with the password on one line")
    credentials_file: Text = Field(default="", description="a user's JWT and seed, as nsc makes it")
    inbox: Text = Field(default="", description="where answers may come; default _INBOX")
    tls: bool = Field(default=False, description="encrypt, and check the server's certificate")
    ca_file: Text = Field(default="", description="who signed the server's; default: the system's")
    cert_file: Text = Field(default="", description="this client's certificate, PEM")
    key_file: Text = Field(default="", description="the key of that certificate, PEM")

    def about_servers(self) -> Iterable[Mistake]:
        """What is wrong with these keys."""
        if importlib.util.find_spec("nats") is None:
            yield Mistake("servers", None, "nats-py installed: pip install 'cpppod[fleet]'")
        if not self.servers:
            yield Mistake("servers", None, "at least one nats://host:port")
        for server in self.servers:
            if not server.startswith(("nats://", "tls://")):
                yield Mistake("servers", server, "nats://host:port or tls://host:port")
        for key in ("ca_file", "cert_file", "key_file"):
            if (value := getattr(self, key)) and not self.tls:
                yield Mistake(key, value, "tls = true beside it")
