"""A simulated PowerFlex 750 drive: python -m cpppo.server.enip.poll_test [-a ADDRESS] ..."""

import sys
from collections.abc import Sequence
from typing import Any

from cpppo.server import enip
from cpppo.server.enip import ucmm
from cpppo.server.enip.main import main as enip_main

PARAMETERS = {
    1: ("Output_Freq", "REAL", 456.78),
    3: ("Mtr_Vel_Fdbk", "REAL", 789.01),
    7: ("Output_Current", "REAL", 123.45),
    11: ("DC_Bus_Volts", "REAL", 0.08),
    14: ("Elapsed_KwH", "REAL", 987.65),
    140: ("Accel_Time_1", "INT", 567),
    300: ("Speed_Units", "DINT", 1),
}


class UCMM_no_route_path(ucmm.UCMM):  # type: ignore[misc]
    """A drive routes nothing."""

    route_path = False


class DPI_Parameters(enip.Object):  # type: ignore[misc]
    """An instance for each parameter; attributes 9 and 10 are its value."""

    class_id = 0x93

    def __init__(self, name: str | None = None, **keywords: Any) -> None:
        super().__init__(name, **keywords)
        if self.instance_id in PARAMETERS:
            title, kind, value = PARAMETERS[self.instance_id]
            made = enip.Attribute(title, getattr(enip, kind), default=value)
            self.attribute["9"] = self.attribute["10"] = made


def main(argv: Sequence[str] | None = None, **keywords: Any) -> int:
    """Serve the drive; arguments as for `enip_server`."""
    for number in (0, *PARAMETERS):
        DPI_Parameters("DPI_Parameters", instance_id=number)
    given = list(sys.argv[1:] if argv is None else argv)
    return int(enip_main(argv=given, UCMM_class=UCMM_no_route_path, **keywords))


if __name__ == "__main__":
    sys.exit(main())
