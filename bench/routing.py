"""Routing through the gateway: requests a second beside a bare relay, and beside asking directly.

    device    `enip_server`, A = DINT[1000]
    gateway   listener, router and poller, one route to the device
    relay     `bare_relay.py`: three bare processes that pass frames on
    cpppo     its simulator routing to the same device, where `make peers` has put it

The load is `enip_load.c`: random elements, sender contexts that count up, every value compared.
Rows are medians of interleaved pairs, each beside its yardstick in the same moment; an error makes
the row, and the exit status, wrong.
"""

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enip_target import CPPPO, cpppo_server

from cpppod.simulator import Settings, Simulator

ROOT = Path(__file__).parents[1]
GATEWAY, RELAY = 44_931, 44_932
ROWS = ((1, 1), (8, 1), (8, 4), (8, 20), (8, 100))
WANTED = {(8, 1): 0.8, (8, 4): 1.0, (8, 20): 0.8, (8, 100): 0.5}
CONFIGURATION = """
[gateway]
name = "routing"
cpppo_cfg = false
[metrics]
address = "127.0.0.1:9981"
[[listener]]
name = "main"
address = "127.0.0.1:{port}"
udp = false
[[route]]
path = "1/1"
{target}
limit = 1024
"""
POLLED = """device = "press"
[device.press]
driver = "enip"
address = "127.0.0.1:{device}"
[[device.press.group]]
name = "fast"
period = "1s"
tags = [{tags}]
[[route]]
path = "1/2"
device = "press"
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load brought."""

    rate: float
    p50_us: int
    p99_us: int
    errors: int


def built(folder: str) -> str:
    """The load, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("routing: no C compiler: apt-get install gcc")
    program = f"{folder}/load"
    source = str(Path(__file__).with_name("enip_load.c"))
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return program


@contextlib.contextmanager
def started(*command: str, ready: str) -> Iterator[None]:
    """A program, once it has printed `ready`."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if ready in line:
                break
        yield
    finally:
        process.send_signal(2)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def gateway(folder: str, target: str) -> Iterator[None]:
    """The gateway with one route."""
    file = Path(folder) / "cpppod.toml"
    file.write_text(CONFIGURATION.format(port=GATEWAY, target=target))
    with started(
        *(sys.executable, "-m", "cpppod.commands.cpppod", "-c", str(file)),
        *("--runtime", f"{folder}/run", "--state", f"{folder}/state"),
        *("--plain", "--foreground"),
        ready="ready after",
    ):
        time.sleep(0.5)
        yield


class Bench:
    """The programs that are measured, and the load."""

    def __init__(self, load: str, seconds: float, pairs: int) -> None:
        self._load = load
        self._seconds = seconds
        self._pairs = pairs
        self.wrong = 0

    def run(self, port: int, place: tuple[int, int], *, link: int = 1, mixed: bool = False) -> Load:
        """One run of the load."""
        connections, depth = place
        arguments = ("127.0.0.1", port, connections, depth, self._seconds, link, int(mixed))
        done = subprocess.run(
            [self._load, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        rate, p50, p99, errors = done.stdout.split()
        return Load(float(rate), int(p50), int(p99), int(errors))

    def row(
        self, what: str, place: tuple[int, int], yardstick: int, link: int = 1, **options: Any
    ) -> None:
        """The gateway beside a yardstick: medians of pairs."""
        ours, theirs = [], []
        for _ in range(self._pairs):
            ours.append(self.run(GATEWAY, place, **options))
            theirs.append(self.run(yardstick, place, link=link, **options))
        alone = place == (1, 1)
        ratios = [
            (a.p50_us / max(b.p50_us, 1) if alone else a.rate / max(b.rate, 1.0))
            for a, b in zip(ours, theirs, strict=True)
        ]
        errors = sum(each.errors for each in ours)
        self.wrong += errors
        rate = statistics.median(each.rate for each in ours)
        p50 = statistics.median(each.p50_us for each in ours)
        p99 = statistics.median(each.p99_us for each in ours)
        unit = "of its time" if alone else "of its rate"
        print(
            f"{what:<26} {place[0]:>2} x {place[1]:<3} {rate:>9,.0f}/s  p50 {p50:>6.0f} us  "
            f"p99 {p99:>6.0f} us  {statistics.median(ratios):5.2f} {unit}  errors {errors}",
            flush=True,
        )


def main(argv: list[str] | None = None) -> int:
    """Print a row for each place; 1 where any reply was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="per run of the load")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args([] if argv is None else argv)
    with (
        tempfile.TemporaryDirectory(prefix="routing-", dir="/tmp") as folder,
        Simulator(["A=DINT[1000]"], Settings(udp=False)) as device,
    ):
        device["A"] = list(range(1000))
        bench = Bench(built(folder), arguments.seconds, arguments.pairs)
        port = device.address[1]
        relay = str(ROOT / "bench" / "bare_relay.py")
        with (
            started(sys.executable, relay, str(RELAY), str(port), ready="ready"),
            gateway(folder, f'address = "127.0.0.1:{port}"'),
        ):
            for place in ROWS:
                bench.row("beside the bare relay", place, RELAY)
            bench.row("lengths that alternate", (8, 20), RELAY, mixed=True)
            bench.row("beside asking directly", (8, 4), port, -1)
            if CPPPO.exists():
                with cpppo_server(f'{{"1/1": "127.0.0.1:{port}"}}') as theirs:
                    bench.row("beside cpppo's routing", (8, 4), theirs)
        tags = ", ".join(
            f'{{ name = "t{number}", address = "A[{number}]", type = "DINT" }}'
            for number in range(1000)
        )
        with gateway(folder, POLLED.format(device=port, tags=tags)):
            for place in ((1, 1), (8, 4)):
                bench.row("beside a poll of 1,000/s", place, port, -1)
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
