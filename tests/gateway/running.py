"""A whole gateway for tests: the demo's plant on free ports, every process a real one.

    simulators   modbus_sim, enip_server: as etc/demo-plant.toml has them, started by the test
    gateway      cpppod -c FILE --runtime DIR --state DIR --plain
    asked        through its control socket, and as its clients would

Only ports and the line's path differ from what is shipped. Directories are short: a Unix socket's
path has 107 bytes.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cpppod.control_client import ControlClient, ControlError
from tests.patience import PATIENCE_S
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ETC = ROOT / "etc"
START_S = 100.0  # ten processes and the simulators, beside the rest of the suite
POLL_S = 0.02

_ADDRESS = re.compile(r"127\.0\.0\.1:(\d{4,5})")
_Result = TypeVar("_Result")


def eventually(
    ask: Callable[[], _Result],
    *,
    within_s: float = PATIENCE_S,
    unless: Callable[[], str] = lambda: "",
    say: Callable[[], object] | None = None,
) -> _Result:
    """The first true answer of `ask`.

    Args:
        unless: why it will never come, which ends the wait.
        say: what the failure is to tell, by default the last answer.
    """
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        if (why := unless()) or time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {say() if say else answer!r} {why}")
        time.sleep(POLL_S)
    return answer


class Simulator:
    """One simulated device of the plant."""

    def __init__(self, name: str, words: list[str], log: Path) -> None:
        self.name = name
        self._words = words
        self._log = log
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"cpppod.commands.{self._words[0]}", *self._words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def tell(self, *order: str) -> Any:
        """The answer of a Modbus simulator to an order, such as `get 1:40010`."""
        path = self._words[self._words.index("--control") + 1]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(path)
            connection.sendall(" ".join(order).encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def stop(self) -> None:
        """End it, also while it is stopped."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Begin anew, with the values that it had at first."""
        self.stop()
        self.process = self._start()


class RunningGateway:
    """The demo's plant and a gateway that runs on it.

    Attributes:
        ports: the port in etc/demo.toml -> the one used here.
        configuration: the file; change it and `ask("reload")`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cpppod-", dir="/tmp"))
        self.configuration = self.folder / "cpppod.toml"
        self.runtime = self.folder / "run"
        self.state = self.folder / "state"
        self.log = self.folder / "log"
        self.ports: dict[int, int] = {}
        self.simulators: dict[str, Simulator] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def here(self, text: str) -> str:
        """`text` of the shipped files with this gateway's ports and paths."""

        def port(match: re.Match[str]) -> str:
            shipped = int(match[1])
            return f"127.0.0.1:{self.ports.setdefault(shipped, free_port())}"

        text = text.replace("{demo}", str(self.folder))
        text = text.replace('"demo/line"', f'"{self.folder / "line"}"')
        text = text.replace(
            'timeout = "300ms"', 'timeout = "1s"'
        )  # a simulator may be kept waiting
        return _ADDRESS.sub(port, text)

    def address(self, shipped: int) -> tuple[str, int]:
        """Host and port of what the demo has at port `shipped`."""
        return "127.0.0.1", self.ports[shipped]

    def start_simulators(self) -> None:
        """Start every device of the plant, and wait until they can be reached."""
        plant = tomllib.loads(self.here((ETC / "demo-plant.toml").read_text("utf-8")))
        for simulator in plant["simulator"]:
            name, words = simulator["name"], list(map(str, simulator["command"]))
            self.simulators[name] = Simulator(name, words, self.folder / f"{name}.log")
        for each in self.simulators.values():
            eventually(lambda each=each: self._is_there(each), within_s=START_S)  # type: ignore[misc]

    def _is_there(self, simulator: Simulator) -> bool:
        log = self.folder / f"{simulator.name}.log"
        assert simulator.process.poll() is None, log.read_text()
        words = simulator._words
        if "--pty" in words:
            return Path(words[words.index("--pty") + 1]).exists()
        host, _, port = words[words.index("-a") + 1].partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def start(
        self,
        *options: str,
        configuration: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Write the configuration, start `cpppod`, and wait until all is well."""
        self.launch(*options, configuration=configuration, environment=environment)
        self.wait_until_well(START_S)

    def launch(
        self,
        *options: str,
        configuration: str | None = None,
        environment: dict[str, str] | None = None,
        below: Sequence[str] = (),
    ) -> None:
        """Write the configuration and start `cpppod`, as an argument of `below` where given."""
        shipped = (ETC / "demo.toml").read_text("utf-8")
        self.configuration.write_text(
            self.here(shipped if configuration is None else configuration)
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *below,
                    sys.executable,
                    "-m",
                    "cpppod.commands.cpppod",
                    *("-c", str(self.configuration), "--runtime", str(self.runtime)),
                    *("--state", str(self.state), "--plain"),
                    *(options or ("--foreground",)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
            )

    def _ended(self) -> str:
        assert self.process is not None
        status = self.process.poll()
        return "" if status is None else f"exit status {status}: {self.log.read_text()[-2000:]}"

    def wait_until_well(self, within_s: float = PATIENCE_S) -> None:
        """Wait until it is ready, every worker runs and every device of the plant answers."""
        eventually(
            lambda: self.unwell() == [], within_s=within_s, unless=self._ended, say=self.unwell
        )

    def unwell(self) -> list[str]:
        """What is not as it should be."""
        try:
            status = self.ask("status")
        except ControlError as error:
            return [str(error)]
        found = [] if status["ready"] else ["not ready"]
        found += [
            f"{worker['name']} {worker['state']}"
            for worker in status["workers"]
            if worker["state"] != "running"
        ]
        return found + [
            f"{device['name']} {device['state']} {device['tags_bad']} bad: {device['last_error']}"
            for device in status["devices"]
            if device["state"] != "online" or device["tags_bad"]
        ]

    def interrupt(self, number: int = signal.SIGINT) -> int:
        """Stop the gateway as a terminal would; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """Stop the gateway, then the simulators; remove the directories."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.interrupt()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for simulator in self.simulators.values():
            simulator.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """The control socket's answer."""
        with ControlClient.connect(str(self.runtime)) as client:
            return client.ask(verb, **arguments)

    def workers(self) -> dict[str, dict[str, Any]]:
        """Worker -> its row of `status`."""
        return {worker["name"]: worker for worker in self.ask("status")["workers"]}

    def devices(self) -> dict[str, dict[str, Any]]:
        """Device -> its row of `status`."""
        return {device["name"]: device for device in self.ask("devices")["devices"]}

    def value(self, tag: str) -> Any:
        """The value that the gateway has for `tag`."""
        return self.ask("read", tags=[tag])["values"][0]["value"]

    def stored(self, tag: str, **question: int) -> list[Any]:
        """The rows of history of `tag`; none while there are none."""
        try:
            rows: list[Any] = self.ask("history", tag=tag, **question)["rows"]
        except ControlError:  # the historian knows no such tag yet
            return []
        return rows

    def told(self, device: str) -> dict[str, Any]:
        """All that a device's worker tells of it."""
        told: dict[str, Any] = self.ask("device", name=device)["told"]
        return told


@contextlib.contextmanager
def running_gateway() -> Iterator[RunningGateway]:
    """The demo's plant with its gateway, ready; gone afterwards."""
    gateway = RunningGateway()
    try:
        gateway.start_simulators()
        gateway.start()
        yield gateway
    finally:
        gateway.stop()


def counting_plant(name: str, gateway: str, *tags: str) -> str:
    """The configuration of a `counting_gateway` without feed and metrics.

    Args:
        gateway: its id.
        tags: of the boiler besides `count`, each as in TOML.
    """
    lines = "".join(
        f"    {{{{ {tag} }}}},\n"
        for tag in ('name = "count", address = "40001", type = "UINT"', *tags)
    )
    return f"""\
[gateway]
name = "{name}"
id = "{gateway}"
[[listener]]
name = "main"
address = "127.0.0.1:{{listener}}"
[feed]
publish = ""
[metrics]
enabled = false
[device.boiler]
driver = "modbus-tcp"
address = "127.0.0.1:{{device}}"
timeout = "1s"
[[device.boiler.group]]
name = "fast"
period = "50ms"
tags = [
{lines}]
"""


@contextlib.contextmanager
def counting_gateway(configuration: str, *ports: int) -> Iterator[RunningGateway]:
    """A gateway with one Modbus device, whose register 40001 counts 20 times a second.

    Args:
        configuration: with `{device}` and `{listener}` for ports that are free.
        ports: further ones in it that stay as they are.
    """
    gateway = RunningGateway()
    device, listener = free_port(), free_port()
    gateway.ports |= {port: port for port in (device, listener, *ports)}
    words = ["modbus_sim", "-a", f"127.0.0.1:{device}", "-m", "40001=counter,every=0.05"]
    words += ["40001-40020=1", "--control", str(gateway.folder / "boiler.control")]
    try:
        gateway.simulators["boiler"] = Simulator("boiler", words, gateway.folder / "boiler.log")
        gateway.start(configuration=configuration.format(device=device, listener=listener))
        yield gateway
    finally:
        gateway.stop()


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(word) for word in words if int(word)]  # 0 is one that is just gone
    return []


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is more than an entry for its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def pss_kib(pid: int) -> int:
    """Proportional share of memory of a process, in KiB."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to one process of the gateway's."""
    os.kill(pid, number)
