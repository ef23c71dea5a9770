"""The client's example programs, run as their first lines say."""

import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cpppod.simulator import Settings, Simulator
from tests.patience import PATIENCE_S

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
TAGS = [
    "Tag=DINT[10]",
    "SCADA=INT[1000]",
    "Assembly@0x4/0x96/3=INT[18]",
    "Output_Frequency@0x93/1/10=REAL",
    "Motor_Velocity@0x93/3/10=REAL",
    "Output_Current@0x93/7/10=REAL",
    "Elapsed_KwH@0x93/14/10=REAL",
    "Speed_Units@0x93/300/10=DINT",
    "P=Pump",
]
PUMP = [{"name": "speed", "type": "REAL"}, {"name": "run", "type": "BOOL"}]


@pytest.fixture
def address() -> Iterator[str]:
    with Simulator(TAGS, Settings(structures={"Pump": PUMP})) as plc:
        plc["Output_Current"] = 123.5
        yield f"{plc.address[0]}:{plc.address[1]}"


PROGRAMS = [
    (
        "enip_io.py {0}",
        r" +Tag\[0\]\[  0-9  \]\+ 16 <= \[4, 5, 6, 7, 8, 9\]: 'OK'\n.*@0x0002/1/1 .*\n"
        r" +Tag\[3\]\[  3-5  \]\+  0 == \[0, 4, 5\]: 'OK'\n",
    ),
    ("enip_list_identity.py {0}", r"(?s)\{.*product_name\": \"1756-L61/B LOGIX5561\".*\}\n"),
    ("enip_harvest.py {0}", r"(.*read [012] success \(0x00\)\n){3}"),
    ("enip_browse.py {0}", r"(?s).*P +Pump\n +\.speed  REAL\n.*\{'speed': 0.0, 'run': False\}.*"),
    ("enip_async.py {0}", r"\[0, 0, 0\]\n"),
    ("enip_attribute_bytes.py {0}", r"(?s)Raw.*Operations: \[\{'method'.*True \[512, 0,.*\]\n"),
    ("powerflex_motor_velocity.py @{0} 123.45", r".*Motor Velocity = \(REAL\)123.45 +== True\n"),
    ("enip_poll_one.py {0} 1.5", r"(?s).*Output Current == \[123.5\]\n.*"),
    (
        "enip_poll_many.py {0} 1.5",
        r"(?s)(?=.*Output Frequency == )(?=.*Elapsed KwH == )"
        r".*Motor Velocity = \(REAL\)51.275 == True\n.*",
    ),
    ("enip_poll_simple.py {0} 2", r".*== \[1\]\n.*== \['1756-L61/B LOGIX5561'\]\n"),
]


@pytest.mark.parametrize(("line", "expected"), PROGRAMS, ids=[p[0].split()[0] for p in PROGRAMS])
def test_an_example_does_what_it_says(address: str, line: str, expected: str) -> None:
    name, *arguments = line.format(address).split()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    if name == "enip_io.py":  # @0x2/1/1 is a tag's place in cpppo, and none here
        assert done.returncode in (0, 1), done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert re.fullmatch(expected, done.stdout), f"{done.stdout}\n{done.stderr}"
