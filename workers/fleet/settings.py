"""The section `[fleet]`: the site, its servers, and what goes there."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from cpppod.protocols.model.plant import Device
from cpppod.workers.outlets.groups import idle, matching
from cpppod.workers.outlets.settings import NatsServers
from cpppod.workers.settings import Duration, Mistake, Name, Size, Text


class Fleet(NatsServers):
    """The uplink: history to the site's stream, live values, and answers."""

    enabled: bool = Field(default=True, description="send to the servers")
    site: Name = Field(description="the site that this gateway is of; its stream is H_SITE")
    groups: list[Text] = Field(
        default=["*"], description="patterns of device/group to send; they are journalled for it"
    )
    live: bool = Field(default=True, description="publish every block at once, too")
    writes: bool = Field(default=False, description="take writes; by the rules of the tags")
    reloads: bool = Field(default=False, description="reload when asked over the fleet")
    own_reads: bool = Field(
        default=False, description="look up its own history by a consumer; needs no more rights"
    )
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
