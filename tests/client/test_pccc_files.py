"""Data files of an SLC and a PLC-5, written and read back through our own simulator."""

from typing import Any

import pytest

from cpppod import client
from cpppod.simulator import Settings, Simulator
from tests.client.shells import SHELLS, connect

FILES = [
    ("N7:3=-5", "N7:3", [-5]),
    ("B3:1=21845", "B3:1", [21845]),
    ("B3:1/3=1", "B3:1/3", [True]),
    ("F8:2=2.5", "F8:2", [2.5]),
    ('ST9:1="Hello, world!"', "ST9:1", ["Hello, world!"]),
    ("T4:1.PRE=300", "T4:1.PRE", [300]),
    ("C5:2.ACC=-7", "C5:2.ACC", [-7]),
    ("R6:1.LEN=12", "R6:1.LEN", [12]),
]
LONG = [("L10:1=100000", "L10:1", [100_000]), ("L10:0*2", "L10:0*2", [0, 100_000])]
DECLARED = [
    *("N7=INT[10]", "B3=INT[10]", "F8=REAL[10]", "ST9=STRING[4]"),
    *("T4=TIMER[4]", "C5=COUNTER[4]", "R6=CONTROL[4]"),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("plc", ["slc500", "plc5"])
def test_every_kind_of_file_reads_what_was_written(plc: str, shell: str) -> None:
    settings = Settings(address="127.0.0.1:0", plc=plc)
    slc = plc == "slc500"
    tags = [*DECLARED, *(["L10=DINT[4]"] if slc else [])]
    with Simulator(tags, settings) as target:
        connection = connect(shell, target.address, route_path=False, send_path="")
        try:
            for write, read, expected in [*FILES, *(LONG if slc else [])]:
                operations: Any = client.pccc_operations([write, read], plc5=not slc)
                failures, values = connection.process(operations)
                assert (write, failures, values[1]) == (write, 0, expected)
        finally:
            connection.close()
