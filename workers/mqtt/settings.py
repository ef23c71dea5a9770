"""The table `[[mqtt]]`: a broker, and what goes there."""

import importlib.util
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from cpppod.protocols.model.plant import Device
from cpppod.protocols.sparkplug.topics import FORBIDDEN
from cpppod.workers.outlets.groups import idle, matching
from cpppod.workers.outlets.settings import OutletSection
from cpppod.workers.settings import Duration, HostPort, Mistake, Name, Text

PLACEHOLDERS = frozenset({"gateway", "id", "device", "group", "tag"})
TOPIC = "cpppod/{gateway}/{device}/{group}"


class Mqtt(OutletSection):
    """A broker, and what goes there."""

    name: Name = Field(description="of the section: its worker is called mqtt-NAME")
    enabled: bool = Field(default=True, description="send to the broker")
    address: HostPort = Field(description="of the broker, host:port")
    standby: list[HostPort] = Field(default=[], description="further brokers, tried in turn")
    groups: list[Text] = Field(
        default=["*"], description="patterns of device/group to send; they are journalled for it"
    )
    format: Literal["json", "sparkplug"] = Field(
        default="json", description="JSON, or an edge node of Sparkplug B 3.0"
    )
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="version of MQTT")
    client_id: Text = Field(default="", description="default: the gateway's id and the name")
    user: Text = Field(default="", description="name at the broker")
    password_file: Text = Field(default="", description="a file with the password on one line")
    tls: bool = Field(default=False, description="encrypt, and check the broker's certificate")
    ca_file: Text = Field(default="", description="who signed the broker's; default: the system's")
    cert_file: Text = Field(default="", description="this client's certificate, PEM")
    key_file: Text = Field(default="", description="the key of that certificate, PEM")
    keep_alive: Duration = Field(default=20.0, description="longest silence towards the broker")
    timeout: Duration = Field(default=10.0, description="for the broker to acknowledge")
    topic: Text = Field(
        default=TOPIC,
        description="with {gateway}, {id}, {device}, {group}, {tag}; with {tag} a message a tag",
    )
    retain: bool | None = Field(
        default=None, description="whether the broker keeps the last; default: with {tag} it does"
    )
    expiry: Duration = Field(default=0.0, description="MQTT 5: the broker drops older; 0 never")
    commands: bool = Field(default=False, description="take writes; by the rules of the tags")
    group_id: Text = Field(default="cpppod", description="Sparkplug: the edge node's group")
    edge_node: Text = Field(default="", description="Sparkplug: default: the gateway's name")
    primary_host: Text = Field(
        default="", description="Sparkplug: nothing is sent while this host is not there"
    )
    arrays: bool = Field(default=False, description="Sparkplug: send arrays; few can read them")

    def mistakes(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        if self.enabled and importlib.util.find_spec("aiomqtt") is None:
            yield Mistake("format", self.format, "aiomqtt installed: pip install 'cpppod[mqtt]'")
        for pattern in idle(self.groups, devices):
            yield Mistake("groups", pattern, "a pattern that matches a group, as device/group")
        yield from self._about_topic(devices)
        for key in ("ca_file", "cert_file", "key_file"):
            if (value := getattr(self, key)) and not self.tls:
                yield Mistake(key, value, "tls = true beside it")
        if bool(self.cert_file) != bool(self.key_file):
            key = "key_file" if self.cert_file else "cert_file"
            yield Mistake(key, None, "both of cert_file and key_file")
        if self.expiry and self.protocol != "5":
            yield Mistake("expiry", self.expiry, 'protocol = "5" beside it')
        for key in ("group_id", "edge_node", "primary_host"):
            if any(each in getattr(self, key) for each in FORBIDDEN):
                yield Mistake(key, getattr(self, key), "a name without + / #")

    def _about_topic(self, devices: tuple[Device, ...]) -> Iterable[Mistake]:
        if self.format != "json":
            return
        found = set(re.findall(r"\{(\w*)\}", self.topic))
        plain = re.sub(r"\{\w*\}", "", self.topic)
        if found - PLACEHOLDERS or any(each in plain for each in "{}+#"):
            listed = ", ".join(f"{{{each}}}" for each in sorted(PLACEHOLDERS))
            yield Mistake("topic", self.topic, f"a topic without + and #, with {listed}")
            return
        if self.topic.startswith(("$", "/")) or "" in self.topic.split("/"):
            yield Mistake("topic", self.topic, "a topic without empty levels, and no $ in front")
            return
        owners: dict[str, str] = {}
        for device in devices:
            for group in device.groups:
                for tag in group.tags:
                    names = {"device": device.name, "group": group.name, "tag": tag.name}
                    what = tag.name if "{tag}" in self.topic else group.name
                    topic = self.topic.format(gateway="", id="", **names)
                    owner = owners.setdefault(topic, f"{device.name}/{what}")
                    if owner != f"{device.name}/{what}":
                        told = f"a topic of its own each for {owner} and {device.name}/{what}"
                        yield Mistake("topic", self.topic, told)
                        return

    def options(self, devices: tuple[Device, ...]) -> Any:
        if not self.enabled:
            return None
        return self.model_dump(exclude={"name", "enabled", "groups"}) | {
            "groups": matching(self.groups, devices)
        }

    def journalled(self, devices: tuple[Device, ...]) -> Iterable[str]:
        return matching(self.groups, devices) if self.enabled else ()
