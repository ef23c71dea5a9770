"""Routing through the gateway: requests a second beside a bare relay, and beside asking directly.

    device    `enip_server`, A = DINT[1000]
    gateway   listener, router and poller, one route to the device
    relay     `bare_relay.py`: three bare processes that pass frames on
    cpppo     its simulator routing to the same device, where `make peers` has put it

The load is `enip_load.c`: random elements, sender contexts that count up, every value compared.
Rows are medians of interleaved pairs, each beside its yardstick in the same moment, with the CPU
time that each process took for a request; an error makes the row, and the exit status, wrong.

    make bench BENCH=routing ROWS="8x4 mixed"      1x1 8x1 8x4 8x20 8x100 mixed direct cpppo poll,
                                                   and those of `routing_clients`
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enip_target import CPPPO, cpppo_server

from cpppod.simulator import Settings, Simulator

ROOT = Path(__file__).parents[1]
GATEWAY, RELAY = 44_931, 44_932
PLACES = {"1x1": (1, 1), "8x1": (8, 1), "8x4": (8, 4), "8x20": (8, 20), "8x100": (8, 100)}
BESIDE = ("mixed", "direct", "cpppo")
WANTED = {"1x1": 1.5, "8x1": 0.8, "8x4": 1.0, "8x20": 0.8, "8x100": 0.5, "mixed": 0.7}
TICKS = os.sysconf("SC_CLK_TCK")
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


def cpu_s(parent: int) -> dict[str, float]:
    """Seconds of CPU time that a process and those below it have taken, by what they are."""
    taken: dict[str, float] = {}
    for name, pid in below(parent):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            taken[name] = taken.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS
    return taken


def below(parent: int) -> Iterator[tuple[str, int]]:
    """A process and those below it: which program or module it runs, its number."""
    try:
        command = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return
    named = command[command.index(b"-m") + 1] if b"-m" in command else b"relay"
    yield named.decode().rsplit(".", 1)[-1], parent
    for number, child in enumerate(children):
        for name, pid in below(int(child)):
            yield (f"{name}{number}" if name == "relay" else name), pid


@contextlib.contextmanager
def started(*command: str, ready: str) -> Iterator[int]:
    """A program, once it has printed `ready`; gives its number."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if ready in line:
                break
        yield process.pid
    finally:
        process.send_signal(2)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def gateway(folder: str, target: str) -> Iterator[int]:
    """The gateway with one route; gives its number."""
    file = Path(folder) / "cpppod.toml"
    file.write_text(CONFIGURATION.format(port=GATEWAY, target=target))
    with started(
        *(sys.executable, "-m", "cpppod.commands.cpppod", "-c", str(file)),
        *("--runtime", f"{folder}/run", "--state", f"{folder}/state"),
        *("--plain", "--foreground"),
        ready="ready after",
    ) as process:
        time.sleep(0.5)
        yield process


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
        self,
        what: str,
        place: tuple[int, int],
        yardstick: int,
        *,
        link: int = 1,
        mixed: bool = False,
        processes: tuple[int, ...] = (),
    ) -> None:
        """The gateway beside a yardstick: medians of pairs, and CPU time of these `processes`."""
        ours, theirs = [], []
        before = [cpu_s(each) for each in processes]
        for _ in range(self._pairs):
            ours.append(self.run(GATEWAY, place, mixed=mixed))
            theirs.append(self.run(yardstick, place, link=link, mixed=mixed))
        alone = place == (1, 1)
        ratios = [
            (a.p50_us / max(b.p50_us, 1) if alone else a.rate / max(b.rate, 1.0))
            for a, b in zip(ours, theirs, strict=True)
        ]
        errors = sum(each.errors for each in ours)
        self.wrong += errors
        rate, p50, p99 = (
            statistics.median(getattr(each, name) for each in ours)
            for name in ("rate", "p50_us", "p99_us")
        )
        unit = "of its time" if alone else "of its rate"
        wanted = f" (asked {WANTED[what]})" if what in WANTED else ""
        print(
            f"{what:<7} {place[0]:>2} x {place[1]:<3} {rate:>9,.0f}/s  p50 {p50:>6.0f} us  "
            f"p99 {p99:>6.0f} us  {statistics.median(ratios):5.2f} {unit}{wanted}  "
            f"{min(ratios):.2f} to {max(ratios):.2f}  errors {errors}",
            flush=True,
        )
        for process, former, loads in zip(processes, before, (ours, theirs), strict=False):
            count = sum(each.rate for each in loads) * self._seconds
            taken = {name: spent - former.get(name, 0) for name, spent in cpu_s(process).items()}
            parts = [f"{name} {1e6 * s / count:.1f}" for name, s in taken.items() if s > 0.05]
            print("        us of CPU a request:", "  ".join(parts), flush=True)


def beside_the_relay(bench: Bench, rows: list[str], folder: str, port: int) -> None:
    """The rows whose yardstick is the relay, and those beside others on the same route."""
    relay = str(ROOT / "bench" / "bare_relay.py")
    with (
        started(sys.executable, relay, str(RELAY), str(port), ready="ready") as theirs,
        gateway(folder, f'address = "127.0.0.1:{port}"') as ours,
    ):
        bench.run(GATEWAY, (8, 20))  # the window has grown
        for row in [each for each in rows if each in PLACES]:
            bench.row(row, PLACES[row], RELAY, processes=(ours, theirs))
        if "mixed" in rows:
            bench.row("mixed", (8, 20), RELAY, mixed=True, processes=(ours, theirs))
        if "direct" in rows:
            bench.row("direct", (8, 4), port, link=-1)
        if "cpppo" in rows and CPPPO.exists():
            with cpppo_server(f'{{"1/1": "127.0.0.1:{port}"}}') as peer:
                bench.row("cpppo", (8, 4), peer)


def beside_a_poll(bench: Bench, folder: str, port: int) -> None:
    """Routed requests to a device of which 1,000 tags a second are polled."""
    tags = ", ".join(
        f'{{ name = "t{number}", address = "A[{number}]", type = "DINT" }}'
        for number in range(1000)
    )
    with gateway(folder, POLLED.format(device=port, tags=tags)):
        for place in ((1, 1), (8, 4)):
            bench.row("poll", place, port, link=-1)


def main(argv: list[str] | None = None) -> int:
    """Print a row for each place; 1 where any reply was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*PLACES, *BESIDE, "poll"]
    given = os.environ.get("ROWS", "").split()
    chosen = [each for each in given if each in known]
    parser.add_argument("rows", nargs="*", default=chosen if given else known)
    parser.add_argument("--seconds", type=float, default=1.0, help="per run of the load")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args([] if argv is None else argv)
    unknown = set(arguments.rows) - set(known)
    if unknown:
        parser.error(f"no row {' '.join(sorted(unknown))}; there are {' '.join(known)}")
    with (
        tempfile.TemporaryDirectory(prefix="routing-", dir="/tmp") as folder,
        Simulator(["A=DINT[1000]"], Settings(udp=False)) as device,
    ):
        device["A"] = list(range(1000))
        bench = Bench(built(folder), arguments.seconds, arguments.pairs)
        port = device.address[1]
        if {*PLACES, *BESIDE}.intersection(arguments.rows):
            beside_the_relay(bench, arguments.rows, folder, port)
        if "poll" in arguments.rows:
            beside_a_poll(bench, folder, port)
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
