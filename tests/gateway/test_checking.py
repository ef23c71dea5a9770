"""`cpppod --check`: every mistake at once, each with file, place, value and what was expected."""

import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

FIVE_MISTAKES = """
[[listener]]
name = "main"
address = "127.0.0.1:99999"

[device.boiler]
driver = "modbus-tpc"
address = "127.0.0.1:502"

[device.pump]
driver = "modbus-tcp"
address = "127.0.0.1:502"
unit = 300

[[device.pump.group]]
name = "fast"
period = "soon"
tags = [{ name = "on", address = "HR:0", type = "BOOLEAN" }]
"""


def test_check_names_all_five_mistakes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cpppod.toml"
    file.write_text(FIVE_MISTAKES)
    done = subprocess.run(
        [sys.executable, "-m", "cpppod.commands.cpppod", "--check", str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    for value in ("99999", "modbus-tpc", "300", "soon", "BOOLEAN"):
        lines = [line for line in done.stderr.splitlines() if value in line]
        assert len(lines) == 1, (value, done.stderr)
        assert str(file) in lines[0]
    assert "5 mistakes" in done.stderr
