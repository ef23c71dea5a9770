"""The keys of `[device.NAME]` that are EtherNet/IP's own."""

from typing import Literal

from pydantic import Field

from cpppod.workers.settings import OptionalRoutePath, Section, Text


class EnipSettings(Section):
    """The way to the controller, and how much may travel at once."""

    in_flight: int = Field(default=4, ge=2, le=64, description="requests outstanding at once")
    route_path: OptionalRoutePath = Field(
        default="",
        description='from its own address on, such as `"1/0"` for the processor in slot 0',
    )
    dialect: Literal["", "slc", "plc5"] = Field(
        default="",
        description='addresses are of data files, such as `N7:0`: `"slc"` (SLC 500, MicroLogix) or '
        '`"plc5"`',
    )
    structures: list[Text] = Field(
        default=[],
        description="structures that are read whole, such as `Recipe`: tags below them "
        "(`Recipe.Speed`) are then of one moment",
    )
    connected: bool = Field(default=False, description="talk over a class 3 connection")
