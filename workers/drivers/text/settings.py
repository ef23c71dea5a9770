"""The keys of `[device.NAME]` that are the text driver's own; a model may have them too.

What stands in the tables `frames` and `commands` is for `protocols.text.formats` to check.
"""

from typing import Any, Literal

from pydantic import Field

from cpppod.workers.settings import Section


class TextSettings(Section):
    """Frames, commands and manners of the device; docs/text-devices.md says all of them."""

    listen: bool | None = Field(
        default=None,
        description="accept one connection at `address` instead of making it (`false`)",
    )
    sources: list[str] | None = Field(
        default=None, description="with `listen`: the networks that may connect (all)"
    )
    encoding: Literal["ascii", "latin-1", "utf-8"] | None = Field(
        default=None, description='how bytes and text convert (`"ascii"`)'
    )
    start: list[str] | None = Field(
        default=None, description="sent after every connect, before anything else (`[]`)"
    )
    deliver: Literal["latest", "every"] | None = Field(
        default=None, description='spontaneous frames: the newest, or each in turn (`"latest"`)'
    )
    queue: int | None = Field(
        default=None, ge=1, le=10_000, description='frames kept for `"every"` (`256`)'
    )
    quiet: bool | None = Field(
        default=None, description="a device that says nothing is well (`false`)"
    )
    refusals: dict[str, str] | None = Field(
        default=None, description="replies that say no to any request: pattern to meaning"
    )
    frames: dict[str, Any] | None = Field(
        default=None, description="what the device sends: pattern, request, maximum, checksum ..."
    )
    commands: dict[str, Any] | None = Field(
        default=None, description="what writes send: request, reply, refusals"
    )
