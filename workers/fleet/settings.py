"""The section `[fleet]`: the site, its servers, and what goes there."""

import importlib.util
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from cpppod.protocols.model.plant import Device
from cpppod.workers.outlets.groups import idle, matching
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.settings import Duration, Mistake, Name, Size, Text


class Servers(OutletSection):
    """How to reach the servers of a fleet; also of a `[collector]`."""

    servers: list[Text] = Field(
        default=["nats://127.0.0.1:4222"], description="tried in turn: nats://host:port"
    )
    user: Text = ""
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


class Fleet(Servers):
    """The uplink: history to the site's stream, live values, and answers."""

    enabled: bool = True
    site: Name = Field(description="the site that this gateway is of; its stream is H_SITE")
    groups: list[Text] = Field(
        default=["*"], description="patterns of device/group to send; they are journalled for it"
    )
    live: bool = Field(default=True, description="publish every block at once, too")
    writes: bool = Field(default=False, description="take writes; by the rules of the tags")
    hold: Duration = Field(
        default=1800.0, description="journals keep so long what was acknowledged"
    )
    make_stream: bool = Field(default=True, description="make the stream where there is none")
    replicas: int = Field(default=1, ge=1, le=5, description="of a stream that is made")
    stream_size: Size = Field(default=1_000_000_000, description="of a stream that is made")
    stream_age: Duration = Field(default=1_209_600.0, description="of a stream that is made")

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        yield from self.about_servers()
        for pattern in idle(self.groups, devices):
            yield Mistake("groups", pattern, "a pattern that matches a group, as device/group")

    def options(self, devices: tuple[Device, ...]) -> Any:
        if not self.enabled:
            return None
        return self.model_dump(exclude={"enabled", "groups"}) | {
            "groups": matching(self.groups, devices)
        }

    def journalled(self, devices: tuple[Device, ...]) -> Iterable[str]:
        return matching(self.groups, devices) if self.enabled else ()
