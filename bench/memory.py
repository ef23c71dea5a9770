"""Memory of a running gateway: PSS of every process and of the sum, from /proc/*/smaps_rollup.

    python bench/memory.py [--devices N]        starts a gateway on N simulated Modbus devices
    python bench/memory.py --socket PATH        measures one that runs

ConnectionRequest: 30 MB PSS for each worker, 300 MB for the whole gateway with 100 devices.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cpppod.control_client import ControlClient, ControlError

WORKER_KIB = 30 * 1024
GATEWAY_KIB = 300 * 1024
SETTLE_S = 10.0
START_S = 60.0

HEAD = """
[gateway]
name = "memory"
cpppo_cfg = false
[history]
[metrics]
address = "127.0.0.1:{metrics}"
[[listener]]
name = "main"
address = "127.0.0.1:{enip}"
[template.plc]
driver = "modbus-tcp"
address = "127.0.0.${{unit}}:{modbus}"
unit = "${{unit}}"
[[template.plc.group]]
name = "fast"
period = "1s"
history = true
tags = [{tags}]
"""
TAGS = ", ".join(
    f'{{ name = "t{number}", address = "HR:{number}", type = "INT" }}' for number in range(100)
)
DEVICE = '[device.plc_{unit}]\ntemplate = "plc"\nparameters = {{ unit = {unit} }}\n'


def pss_kib(pid: int) -> int:
    """Proportional share of a process's memory; 0 for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def parent_of(pid: int) -> int:
    """The parent of `pid`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def measure(socket_path: str) -> dict[str, int]:
    """Process -> KiB, supervisord among them."""
    with ControlClient.connect(socket_path) as gateway:
        workers = {each["name"]: each["pid"] for each in gateway.ask("status")["workers"]}
    supervisor = parent_of(workers["control"])
    return {name: pss_kib(pid) for name, pid in {"supervisord": supervisor, **workers}.items()}


def report(found: dict[str, int], *, as_json: bool) -> int:
    """Print what was found; 1 where it is more than wanted."""
    total = sum(found.values())
    workers = {name: kib for name, kib in found.items() if name != "supervisord"}
    too_large = [name for name, kib in workers.items() if kib > WORKER_KIB]
    if as_json:
        print(json.dumps({"pss_kib": found, "sum_kib": total}))
    else:
        for name, kib in sorted(found.items(), key=lambda item: -item[1]):
            print(f"{name:<24} {kib / 1024:7.1f} MB")
        print(f"{'sum':<24} {total / 1024:7.1f} MB of {GATEWAY_KIB // 1024} MB")
        if too_large:
            print(f"over {WORKER_KIB // 1024} MB: {', '.join(too_large)}")
    return 1 if too_large or total > GATEWAY_KIB else 0


@contextlib.contextmanager
def running(devices: int) -> Iterator[str]:
    """A gateway on so many devices; its runtime directory, once it is ready and has settled."""
    with tempfile.TemporaryDirectory(prefix="cpppod-", dir="/tmp") as folder:
        ports = {"enip": 44_918, "modbus": 15_902, "metrics": 9_980}
        units = [f"{unit}:40001-40100=1" for unit in range(1, devices + 1)]
        text = HEAD.format(tags=TAGS, **ports)
        text += "".join(DEVICE.format(unit=unit) for unit in range(1, devices + 1))
        file = Path(folder) / "cpppod.toml"
        file.write_text(text)
        runtime = f"{folder}/run"
        commands: list[list[str]] = [
            ["cpppod.commands.modbus_sim", "-q", "-a", f"0.0.0.0:{ports['modbus']}", *units],
            [
                "cpppod.commands.cpppod",
                *("-c", str(file), "--runtime", runtime, "--state", f"{folder}/state"),
                *("--plain", "--foreground"),
            ],
        ]
        started: list[subprocess.Popen[Any]] = []
        try:
            for command in commands:
                process = subprocess.Popen(
                    [sys.executable, "-m", *command], stdout=subprocess.DEVNULL
                )
                started.append(process)
            wait_until_up(runtime, devices)
            time.sleep(SETTLE_S)
            yield runtime
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(15)


def wait_until_up(runtime: str, devices: int) -> None:
    """Wait until every device answers.

    Raises:
        SystemExit: it takes too long.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ControlError), ControlClient.connect(runtime) as gateway:
            counts = gateway.ask("status")["summary"]
            if counts["devices_up"] == devices and counts["workers_running"] == counts["workers"]:
                return
        time.sleep(0.2)
    raise SystemExit(f"the gateway was not up within {START_S:g} s")


def main(arguments: Sequence[str] = ()) -> int:
    """Run the measurement."""
    options = argparse.ArgumentParser(description="Memory of a gateway.")
    options.add_argument("--devices", type=int, default=100, help="of the gateway started (100)")
    options.add_argument("--socket", default="", help="measure the gateway that runs there")
    options.add_argument("--json", action="store_true")
    given = options.parse_args(arguments)
    if given.socket:
        return report(measure(given.socket), as_json=given.json)
    with running(given.devices) as runtime:
        return report(measure(runtime), as_json=given.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
