"""Run the tests again and again in random order, and count which of them fail: `make flaky N=5`.

    python tests/flaky.py --plugins FOLDER [--runs 5] [--load] [-- pytest's words]

With `--load` two busy loops per core run beside the tests. Each run's order is that of its seed:
pytest's option `--randomly-seed=...`. What pytest said lies in build/flaky/.
Exit status 0 when every run passed.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "flaky"
LOOPS_PER_CORE = 2
LOAD_S = 6 * 3600  # a busy loop ends by itself after this long
RUN_S = 2 * 3600  # a run that lasts longer hangs
END_S = 60  # for an orderly end of the tests

# Ends with the process that started it, however that ended
BUSY = """
import os, sys, time
parent, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while os.getppid() == parent and time.monotonic() < end:
    for _ in range(1_000_000):
        pass
"""


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[list[int]]:
    """The pids of `count` processes that do nothing but use a core each."""
    words = [sys.executable, "-S", "-c", BUSY, str(os.getpid()), str(LOAD_S)]
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            loops.append(subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True))
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def run(number: int, seed: int, plugins: Path, words: list[str]) -> tuple[int, dict[str, str]]:
    """Run the tests once in the order of `seed`.

    Returns:
        pytest's exit status; test that failed -> the first line of why.
    """
    report = OUTPUT / f"run-{number}.xml"
    report.unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, (str(plugins), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--randomly-seed={seed}", "-o", "junit_family=xunit1", f"--junitxml={report}"]
    with (OUTPUT / f"run-{number}.log").open("wb") as log:
        pytest = subprocess.Popen(
            [*command, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            return pytest.wait(RUN_S), failures(report)
        except BaseException:
            end(pytest)
            raise


def end(pytest: "subprocess.Popen[bytes]") -> None:
    """End pytest, its workers and what they have started, as Ctrl-C at a terminal does."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pytest.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.wait(END_S)


def failures(report: Path) -> dict[str, str]:
    """Tests that failed by pytest's report, and the first line of why."""
    if not report.exists():
        return {}
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for kind in ("failure", "error"):
            if (why := case.find(kind)) is not None:
                name = f"{case.get('file')}::{case.get('name')}"
                found[name] = (why.get("message") or kind).splitlines()[0][:160]
    return found


def main() -> int:
    """Run the tests `--runs` times; print a table of what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugins", type=Path, required=True, help="where pytest-randomly lies")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--load", action="store_true", help="two busy loops per core beside them")
    parser.add_argument("words", nargs="*", help="for pytest")
    arguments = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    table: dict[str, list[str]] = collections.defaultdict(list)
    green = 0
    loops = LOOPS_PER_CORE * (os.cpu_count() or 1) if arguments.load else 0
    with busy_loops(loops):
        for number in range(1, arguments.runs + 1):
            seed, begun = random.SystemRandom().randrange(2**31), time.monotonic()
            status, failed = run(number, seed, arguments.plugins.resolve(), arguments.words)
            green += status == 0
            if status and not failed:
                failed = {"(the run itself)": f"exit status {status}, see run-{number}.log"}
            for name, why in failed.items():
                table[name].append(f"run {number}: {why}")
            took = time.monotonic() - begun
            print(f"run {number} seed {seed}: {len(failed)} failed, {took:.0f} s", flush=True)
    for name, times in sorted(table.items(), key=lambda row: (-len(row[1]), row[0])):
        print(f"{len(times)} of {arguments.runs}  {name}", *times, sep="\n        ")
    beside = f" beside {loops} busy loops" if loops else ""
    print(f"{green} of {arguments.runs} runs passed{beside}")
    return 0 if green == arguments.runs else 1


def _end(number: int, frame: FrameType | None) -> None:
    """Ended by another program, as by Ctrl-C: what was started ends too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: the tests and what ran beside them have ended")
