"""The keys of `[device.NAME]` that are Modbus' own."""

from typing import Annotated

from pydantic import Field

from cpppod.workers.settings import Section


class ModbusSettings(Section):
    """Which unit."""

    unit: Annotated[int, Field(ge=0, le=0xFF)] = Field(
        default=1, description="Modbus unit; 1 to 247 on a serial line"
    )
