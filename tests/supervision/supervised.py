"""A real supervisord with programs of the test's own, for the tests of supervision."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xmlrpc.client import ServerProxy, Transport

from cpppod.gateway import supervision
from cpppod.gateway.supervision import Program
from cpppod.gateway.topology import Directories
from tests.patience import PATIENCE_S


class UnixTransport(Transport):
    """XML-RPC over supervisord's Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("supervisord")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._path)
        return connection


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer of `condition`; fails when there is none in time."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.005)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def is_alive(pid: int) -> bool:
    """Whether `pid` runs: a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


class Supervised:
    """supervisord with `programs`, started on entry; killed on exit if it still runs."""

    def __init__(
        self,
        runtime: Path,
        programs: Iterable[Program],
        *,
        environment: dict[str, str] | None = None,
        stdout: Any = subprocess.PIPE,
    ) -> None:
        self.directories = Directories(runtime, runtime / "state")
        runtime.mkdir(exist_ok=True)
        configuration = supervision.write(self.directories, (), simulators=programs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cpppod.supervisord", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        until(self._listens, "supervisord")
        return self

    def _listens(self) -> bool:
        """Whether supervisord takes calls: its socket has its name before it listens."""
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return bool(self.call("supervisor.getSupervisorVersion"))
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of an XML-RPC method."""
        proxy = ServerProxy("http://unix", transport=UnixTransport(self.directories.supervisor))
        with proxy:
            function: Any = proxy
            for name in method.split("."):
                function = getattr(function, name)
            return function(*arguments)

    def pids(self) -> dict[str, int]:
        """Program -> pid of those that run."""
        return {
            info["name"]: info["pid"]
            for info in self.call("supervisor.getAllProcessInfo")
            if info["pid"]
        }

    def wait_for(self, count: int) -> dict[str, int]:
        """The pids once `count` programs run."""

        def running() -> dict[str, int] | None:
            pids = self.pids()
            started = all(map(self._has_begun, pids.values()))
            return pids if len(pids) >= count and started else None

        found: dict[str, int] = until(running, f"{count} programs")
        return found

    def _has_begun(self, pid: int) -> bool:
        """Whether `pid` is a program of its own yet: a fork of supervisord's is not."""
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return bool(command) and b"cpppod.supervisord\0" not in command
