"""The EtherNet/IP client beside pycomm3, pylogix and cpppo: 1,000 scalar tags, 10,000 elements.

Every client asks the same servers in the same run: ours (`cpppod.simulator`) and cpppo's. Rates are
tags a second, first and repeated; over the slow link (50 ms) the cost in round trips counts.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from delaying_relay import delaying_relay

from cpppod import client
from cpppod.protocols.enip.originator import operations

TAGS = [f"Tag{number:04d}" for number in range(1000)]
ELEMENTS = 10_000
ROUND_TRIP_S = 0.05
CPPPO = pathlib.Path(__file__).parents[1] / ".peers" / "cpppo" / "bin" / "python"
OUR_SERVER = (
    "import sys; from cpppod.simulator import Settings, Simulator; "
    "Simulator([f'Tag{n:04d}=DINT' for n in range(1000)] + ['Big=DINT[10000]'], "
    "Settings(address=sys.argv[1])).run()"
)

Address = tuple[str, int]
Read = Callable[[], Any]


def main() -> None:
    """Print the tables."""
    with server([sys.executable, "-c", OUR_SERVER]) as address:
        print("our server, plain link")
        plain = scalars(address)
        arrays(address)
        ratios(plain)
        with delaying_relay(address, ROUND_TRIP_S) as slow:
            print(f"our server, {ROUND_TRIP_S * 1000:.0f} ms round trip")
            over_slow_link(slow)
    if CPPPO.exists():
        tags = [f"{tag}=DINT" for tag in TAGS] + ["Big=DINT[10000]"]
        with server([str(CPPPO), "-m", "cpppo.server.enip", "-a"], *tags) as address:
            print("cpppo's server, plain link")
            scalars(address, repeats=1, leave_out=("single",))


@contextlib.contextmanager
def server(command: list[str], *tags: str) -> Iterator[Address]:
    """The address of a server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: Address = probe.getsockname()
    process = subprocess.Popen(
        [*command, f"{address[0]}:{address[1]}", *tags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(address, 1.0).close()
                break
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{command[0]} does not listen")
            time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


def ratios(rates: dict[str, tuple[float, float]]) -> None:
    """Print how each of our calls that pack requests compares with each peer."""
    print(f"  {'times the peer (at least 10)':<38}{'first':>12}{'repeated':>12}")
    for peer in ("pycomm3 multi-read", "pylogix multi-read"):
        if peer not in rates:
            continue
        first, repeated = rates[peer]
        for call in ("read_tags", "process", "pipeline"):
            ours = [
                rate
                for name, rate in rates.items()
                if f"cpppod {call}" in name and "single" not in name and "depth 20" in name
            ]
            row = f"{call} / {peer.split()[0]}"
            best_first = max(rate for rate, _ in ours) / first
            best_repeated = max(rate for _, rate in ours) / repeated
            print(f"  {row:<38}{best_first:>12.1f}{best_repeated:>12.1f}")


def scalars(
    address: Address, repeats: int = 10, leave_out: tuple[str, ...] = ()
) -> dict[str, tuple[float, float]]:
    """Print and return tags a second, first and repeated, for each way to read 1,000 tags."""
    rates = {}
    print(f"  {'1,000 scalar tags':<38}{'first':>12}{'repeated':>12}  tags/s")
    for name, read, close in ways(address):
        if any(word in name for word in leave_out):
            close()
            continue
        try:
            first, rate = timed(read, repeats)
        except Exception as error:  # a peer that fails on a server is a result too
            print(f"  {name:<38}{type(error).__name__}: {str(error)[:60]}")
            continue
        finally:
            close()
        rates[name] = first, rate
        print(f"  {name:<38}{first:>12,.0f}{rate:>12,.0f}")
    return rates


def timed(read: Read, repeats: int) -> tuple[float, float]:
    """(tags a second the first time, the best of the repeated ones)."""
    parse_cold()
    start = time.perf_counter()
    read()
    first = len(TAGS) / (time.perf_counter() - start)
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        read()
        best = max(best, len(TAGS) / (time.perf_counter() - start))
    return first, best


def parse_cold() -> None:
    """Forget the operations parsed by an earlier row: the first time is the first time."""
    operations._parse.cache_clear()


def ways(address: Address) -> Iterator[tuple[str, Read, Callable[[], Any]]]:
    """(name, reads all tags, closes) of each client."""
    for kind, word in ((client.connector, "unconnected"), (client.implicit, "connected")):
        for depth in (1, 20):
            connection = kind(*address, timeout=60.0)
            yield (
                f"cpppod read_tags {word} depth {depth}",
                lambda connection=connection, depth=depth: good(
                    connection.read_tags(TAGS, depth=depth)
                ),
                connection.close,
            )
        for depth, multiple in ((1, False), (20, False), (20, True)):
            connection = kind(*address, timeout=60.0)
            packets = "packets" if multiple else "single"
            yield (
                f"cpppod process {word} {packets} depth {depth}",
                lambda connection=connection, depth=depth, multiple=multiple: good(
                    connection.process(
                        client.parse_operations(TAGS), depth=depth, multiple=multiple
                    )[1]
                ),
                connection.close,
            )
        connection = kind(*address, timeout=60.0)
        yield (
            f"cpppod pipeline {word} packets depth 20",
            lambda connection=connection: good(
                [value for *_, value in connection.pipeline(TAGS, depth=20, multiple=True)]
            ),
            connection.close,
        )
    yield from peers(address)


def peers(address: Address) -> Iterator[tuple[str, Read, Callable[[], Any]]]:
    """Clients that are not ours."""
    import pycomm3
    import pylogix

    with contextlib.suppress(Exception):
        driver = pycomm3.LogixDriver(f"{address[0]}:{address[1]}")
        driver.open()
        yield (
            "pycomm3 multi-read",
            lambda: good([tag.value for tag in driver.read(*TAGS)]),
            driver.close,
        )
    plc = pylogix.PLC(address[0], port=address[1])
    yield "pylogix multi-read", lambda: good([tag.Value for tag in plc.Read(TAGS)]), plc.Close
    if CPPPO.exists():
        yield from cpppo_client(address)


def cpppo_client(address: Address) -> Iterator[tuple[str, Read, Callable[[], Any]]]:
    """cpppo's client, in its own environment: it reports its own time over a pipe."""
    program = (
        "import sys; from cpppo.server.enip import client\n"
        "host, port, multiple = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n"
        "tags = ['Tag%04d' % n for n in range(1000)]\n"
        "with client.connector(host=host, port=port, timeout=60) as c:\n"
        "    for _ in sys.stdin:\n"
        "        f, v = c.process(client.parse_operations(tags), depth=20, multiple=multiple,"
        " timeout=60)\n"
        "        print(f, len(v), flush=True)\n"
    )
    for multiple in (0, 500):
        process = subprocess.Popen(
            [str(CPPPO), "-c", program, address[0], str(address[1]), str(multiple)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None

        def read(process: Any = process) -> None:
            process.stdin.write("go\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if answer.split() != ["0", "1000"]:
                raise RuntimeError(f"cpppo read {answer!r}")

        def close(process: Any = process) -> None:
            process.kill()
            process.wait()

        yield f"cpppo process depth 20 {'packets' if multiple else 'single'}", read, close


def good(values: list[Any]) -> None:
    """A benchmark of failures would be fast."""
    if len(values) < len(TAGS) or any(value is None for value in values):
        raise RuntimeError(f"only {sum(value is not None for value in values)} values")


def arrays(address: Address) -> None:
    """Print how long a 10,000-element array takes."""
    print(f"  {'10,000-element DINT array':<38}{'ms':>12}")
    for kind, word in ((client.connector, "unconnected"), (client.implicit, "connected")):
        for depth in (1, 20):
            connection = kind(*address, timeout=60.0)
            print(f"  {f'cpppod {word} depth {depth}':<38}{array_ms(connection, depth):>12.1f}")
            connection.close()
    import pycomm3
    import pylogix

    with contextlib.suppress(Exception), pycomm3.LogixDriver(f"{address[0]}:{address[1]}") as plc:
        print(f"  {'pycomm3':<38}{best_ms(lambda: plc.read(f'Big{{{ELEMENTS}}}')):>12.1f}")
    comm = pylogix.PLC(address[0], port=address[1])
    print(f"  {'pylogix':<38}{best_ms(lambda: comm.Read('Big[0]', ELEMENTS)):>12.1f}")
    comm.Close()


def array_ms(connection: client.Connector, depth: int) -> float:
    """Milliseconds of the best of five reads."""

    def read() -> None:
        operations = [{"path": "Big", "elements": ELEMENTS}]
        failures, (values,) = connection.process(operations, depth=depth)
        if failures or len(values) != ELEMENTS:
            raise RuntimeError("array not read")

    return best_ms(read)


def best_ms(read: Read, times: int = 5) -> float:
    """Milliseconds of the fastest of several calls."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        read()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def over_slow_link(address: Address) -> None:
    """Print how near to the physical cost, in round trips, each way comes."""
    print(f"  {'':<38}{'ms':>10}{'trips':>7}{'ratio':>7}  (at most 1.5)")
    for kind, word in ((client.connector, "unconnected"), (client.implicit, "connected")):
        connection = kind(*address, timeout=60.0)
        plan = connection.prepare(TAGS)
        connection.read_plan(plan, depth=64)
        packets = len(plan.packets)
        for depth in (1, 20):
            trips = -(-packets // depth)
            took = best_ms(
                lambda connection=connection, plan=plan, depth=depth: connection.read_plan(
                    plan, depth=depth
                ),
                3,
            )
            line(f"1,000 tags {word} depth {depth}", took, trips)
        fragments = -(-4 * ELEMENTS // (connection.carrier.budget.reply - 6))
        took = best_ms(lambda connection=connection: array_ms(connection, 1), 1) / 5
        line(f"10,000 elements {word} depth 1", took, fragments)
        trips = 1 + -(-(fragments - 1) // 40)
        took = min(array_ms(connection, 40), array_ms(connection, 40))
        line(f"10,000 elements {word} depth 40", took, trips)
        connection.close()


def line(name: str, took_ms: float, trips: int) -> None:
    """Print one row: time taken, round trips that it must take, and their ratio."""
    physical = trips * ROUND_TRIP_S * 1000
    print(f"  {name:<38}{took_ms:>10.0f}{trips:>7}{took_ms / physical:>7.2f}")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
