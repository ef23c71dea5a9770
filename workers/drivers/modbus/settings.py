"""The keys of `[device.NAME]` that are Modbus' own; all but the unit a model may have too."""

from typing import Annotated

from pydantic import Field

from cpppod.workers.settings import Section

Registers = Annotated[int | None, Field(ge=1, le=125)]


class ModbusSettings(Section):
    """Which unit, and its quirks."""

    unit: Annotated[int, Field(ge=0, le=0xFF)] = Field(
        default=1, description="Modbus unit; 1 to 247 on a serial line"
    )
    reply_unit: Annotated[int | None, Field(ge=0, le=0xFF)] = Field(
        default=None, description="the unit that replies tell, where it is not the one asked"
    )
    max_registers: Registers = Field(default=None, description="registers of one read (`125`)")
    max_coils: Annotated[int | None, Field(ge=1, le=2000)] = Field(
        default=None, description="coils or inputs of one read (`2000`)"
    )
    max_write_registers: Annotated[int | None, Field(ge=1, le=123)] = Field(
        default=None, description="registers of one write (`123`)"
    )
    write_single: bool | None = Field(
        default=None, description="it has functions 5 and 6 (`true`); `false`: 15 and 16 instead"
    )
    write_multiple: bool | None = Field(
        default=None, description="it has functions 15 and 16 (`true`)"
    )
    mask_write: bool | None = Field(
        default=None, description="it has function 22, for single bits of a register (`true`)"
    )
    one_at_a_time: bool | None = Field(
        default=None, description="each tag in a request of its own (`false`)"
    )
    address_exceptions: list[Annotated[int, Field(ge=1, le=0xFF)]] | None = Field(
        default=None,
        description="exceptions by which it refuses an address: "
        "other tags of the read are then looked for alone (`[1, 2, 3, 4]`)",
    )
