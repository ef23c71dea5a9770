"""Clients of the gateway beside each other: nobody waits for who asks much.

    pycomm3   DINT[5000] and 200 tags over a route with a connection of 4,000 bytes, beside direct
    greedy    two polite clients that read a local tag, beside 1, 6 and 32 that pipeline reads, or
              packets of 100, without end: p99 of the polite ones
    slow      a device that answers 800 requests a second: 16 clients that ask one thing at a time
              along a route, beside 1 and 6 that keep 200 outstanding: their p99 beside alone

    make bench BENCH=routing_clients ROWS="greedy"

A reply that is wrong, a client that was cut or a worker that did not live through it makes the exit
status wrong.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import routing
from pycomm3 import LogixDriver
from routing import GATEWAY, Load, built, gateway

from cpppod.control_client import ControlClient
from cpppod.protocols.cip import epath
from cpppod.protocols.cip.message_router import MessageRouterRequest
from cpppod.protocols.enip.encapsulation import HEADER
from cpppod.protocols.enip.originator.batch import encode_batch
from cpppod.simulator import Settings, Simulator

GREEDY = (1, 6, 32)
LOCAL = f"""
[[tag]]
name = "A"
type = "DINT[1000]"
value = {list(range(1000))}
"""
REGISTER = HEADER.pack(0x65, 4, 0, 0, bytes(8), 0) + b"\1\0\0\0"
AT_ONCE, EACH_S = 4, 0.005  # the slow device: 800 a second


class Row:
    """The load, and what went wrong."""

    def __init__(self, load: str, seconds: float, tries: int) -> None:
        self._load = load
        self.seconds = seconds
        self.tries = tries
        self.wrong = 0

    def run(self, place: tuple[int, int], link: int, seconds: float | None = None) -> Load:
        """One run of the load at the gateway."""
        arguments = ("127.0.0.1", GATEWAY, *place, seconds or self.seconds, link, 0)
        done = subprocess.run(
            [self._load, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        rate, p50, p99, errors = done.stdout.split()
        self.wrong += int(errors)
        return Load(float(rate), int(p50), int(p99), int(errors))

    def beside(self, place: tuple[int, int], link: int, polite: tuple[int, int]) -> float:
        """The p99 in ms of polite clients while others keep so many outstanding."""
        others = threading.Thread(target=self.run, args=(place, link, self.seconds + 1))
        others.start()
        time.sleep(0.5)
        found = self.run(polite, link).p99_us / 1_000
        others.join()
        return found


def message(tags: list[str]) -> bytes:
    """Read Tag of each; several of them as one packet."""
    reads = [
        MessageRouterRequest(0x4C, epath.encode(epath.parse_tag(tag)), b"\1\0").encode()
        for tag in tags
    ]
    return reads[0] if len(reads) == 1 else encode_batch(reads)


def pipeline(count: int, request: bytes, over: threading.Event) -> int:
    """Send a request without end on so many connections; how many of these were cut."""
    body = bytes(6) + b"\2\0\0\0\0\0\xb2\0" + len(request).to_bytes(2, "little") + request
    peers: dict[socket.socket, tuple[bytes, memoryview]] = {}
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", GATEWAY))
        peer.sendall(REGISTER)
        handle = int.from_bytes(peer.recv(28)[4:8], "little")
        frame = HEADER.pack(0x6F, len(body), handle, 0, bytes(8), 0) + body
        data = frame * (65_536 // len(frame) + 1)
        peer.setblocking(False)
        peers[peer] = (data, memoryview(data))
    cut = 0
    while not over.is_set():
        for peer, (data, left) in list(peers.items()):
            try:
                with contextlib.suppress(BlockingIOError):
                    left = left[peer.send(left) :]
                    peers[peer] = (data, left or memoryview(data))
                with contextlib.suppress(BlockingIOError):
                    while peer.recv(262_144):
                        pass
                    raise ConnectionError
            except ConnectionError:
                cut += 1
                del peers[peer]
        time.sleep(0.0005)
    for peer in peers:
        peer.close()
    return cut


@contextlib.contextmanager
def greedy(count: int, request: bytes) -> Iterator[list[int]]:
    """Clients that pipeline while the block lasts; afterwards how many were cut."""
    over, cut = threading.Event(), [0]

    def work() -> None:
        cut[0] = pipeline(count, request, over)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    try:
        yield cut
    finally:
        over.set()
        thread.join()


def workers(folder: str) -> dict[str, int]:
    """The pid of each worker."""
    with ControlClient.connect(f"{folder}/run/control.sock") as control:
        return {row["name"]: row["pid"] for row in control.ask("status")["workers"]}


def greedy_rows(row: Row, folder: str) -> None:
    """Polite clients of a local tag beside greedy ones."""
    file = Path(folder) / "local.toml"
    file.write_text(routing.CONFIGURATION.split("[[route]]")[0].format(port=GATEWAY) + LOCAL)
    with started_gateway(folder, file):
        before = workers(folder)
        print(f"greedy   alone                      p99 {row.run((2, 1), -1).p99_us / 1e3:7.1f} ms")
        for what, tags in (
            ("reads", ["A[7]"]),
            ("packets of 100", [f"A[{n}]" for n in range(100)]),
        ):
            for count in GREEDY:
                found = []
                for _ in range(row.tries):
                    with greedy(count, message(tags)) as cut:
                        found.append(row.run((2, 1), -1).p99_us / 1_000)
                    row.wrong += cut[0]
                text = f"beside {count} with {what}"
                print(
                    f"greedy   {text:<26} p99 {statistics.median(found):7.1f} ms (asked 10)  "
                    f"{min(found):.1f} to {max(found):.1f}",
                    flush=True,
                )
        if workers(folder) != before:
            print("greedy   a worker was replaced")
            row.wrong += 1


@contextlib.contextmanager
def started_gateway(folder: str, file: Path) -> Iterator[int]:
    """A gateway with that file."""
    with routing.started(
        *(sys.executable, "-m", "cpppod.commands.cpppod", "-c", str(file)),
        *("--runtime", f"{folder}/run", "--state", f"{folder}/state"),
        *("--plain", "--foreground"),
        ready="ready after",
    ) as process:
        time.sleep(0.5)
        yield process


class SlowDevice:
    """Passes frames on to a device, `AT_ONCE` at a time, each for `EACH_S`; replies in order."""

    def __init__(self, device: tuple[str, int]) -> None:
        self._device = device
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        starting = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        self.port: int = starting.result(10)

    async def _start(self) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: Any, writer: Any) -> None:
        from_device, to_device = await asyncio.open_connection(*self._device)
        free = asyncio.Semaphore(AT_ONCE)

        async def one(frame: bytes) -> None:
            await asyncio.sleep(EACH_S)
            to_device.write(frame)
            free.release()

        async def back() -> None:
            while data := await from_device.read(65_536):
                writer.write(data)
            writer.close()

        returning = asyncio.ensure_future(back())
        tasks = set()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(24)
                frame = head + await reader.readexactly(int.from_bytes(head[2:4], "little"))
                await free.acquire()
                task = asyncio.ensure_future(one(frame))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        to_device.close()
        await asyncio.wait((returning,))


def slow_rows(row: Row, folder: str, port: int) -> None:
    """16 clients one deep beside 1 and 6 that are 200 deep, along a route to a slow device."""
    device = SlowDevice(("127.0.0.1", port))
    with gateway(folder, f'address = "127.0.0.1:{device.port}"'):
        row.run((16, 1), 1)
        found: dict[int, list[float]] = {0: [], 1: [], 6: []}
        for _ in range(row.tries):
            found[0].append(row.run((16, 1), 1).p99_us / 1_000)
            for count in (1, 6):
                found[count].append(row.beside((count, 200), 1, (16, 1)))
        alone = statistics.median(found[0])
        print(f"slow     {'alone':<26} p99 {alone:7.1f} ms")
        for count, asked in ((1, 1.4), (6, 2.0)):
            p99 = statistics.median(found[count])
            text = f"beside {count} that are 200 deep"
            print(
                f"slow     {text:<26} p99 {p99:7.1f} ms  {p99 / alone:.2f} of alone (asked {asked})"
            )


def pycomm3_rows(row: Row, folder: str) -> None:
    """pycomm3 over a route, beside direct."""
    tags = [f"T{number}=DINT" for number in range(200)]
    with Simulator(["Big=DINT[5000]", *tags], Settings(udp=False)) as device:
        device["Big"] = list(range(5000))
        direct = f"127.0.0.1:{device.address[1]}/bp/0"
        with (
            gateway(folder, f'address = "127.0.0.1:{device.address[1]}"'),
            LogixDriver(f"127.0.0.1:{GATEWAY}/bp/1") as ours,
            LogixDriver(direct) as theirs,
        ):
            assert ours.connection_size == theirs.connection_size == 4_000
            cases = {"DINT[5000]": ["Big{5000}"], "200 tags": [f"T{n}" for n in range(200)]}
            for what, names in cases.items():
                pairs = [
                    (seconds(ours, names), seconds(theirs, names)) for _ in range(20 * row.tries)
                ]
                routed, plain = (statistics.median(each) * 1e3 for each in zip(*pairs, strict=True))
                print(
                    f"pycomm3  {what:<26} routed {routed:6.2f} ms  direct {plain:6.2f} ms  "
                    f"{statistics.median(a / b for a, b in pairs):.2f} (asked 2)",
                    flush=True,
                )


def seconds(plc: LogixDriver, names: list[str]) -> float:
    """How long a read of these takes; none may fail."""
    began = time.perf_counter()
    found: Any = plc.read(*names)
    took = time.perf_counter() - began
    assert all(tag.error is None for tag in (found if isinstance(found, list) else [found]))
    return took


def main(argv: list[str] | None = None) -> int:
    """Print the rows; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ["pycomm3", "greedy", "slow"]
    given = os.environ.get("ROWS", "").split()
    chosen = [each for each in given if each in known]
    parser.add_argument("rows", nargs="*", default=chosen if given else known)
    parser.add_argument("--seconds", type=float, default=3.0, help="per run of the load")
    parser.add_argument("--tries", type=int, default=3)
    arguments = parser.parse_args([] if argv is None else argv)
    with (
        tempfile.TemporaryDirectory(prefix="clients-", dir="/tmp") as folder,
        Simulator(["A=DINT[1000]"], Settings(udp=False)) as device,
    ):
        device["A"] = list(range(1000))
        row = Row(built(folder), arguments.seconds, arguments.tries)
        if "pycomm3" in arguments.rows:
            pycomm3_rows(row, folder)
        if "greedy" in arguments.rows:
            greedy_rows(row, folder)
        if "slow" in arguments.rows:
            slow_rows(row, folder, device.address[1])
    return 1 if row.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
