"""cpppod in the foreground: starts supervisord, shows how the gateway does, stops it, tidies up.

    starting ── control says ready ──> running ── SIGINT, SIGTERM, SIGHUP ──> stopping ──> gone
                                                └ cpppoctl stop, or supervisord dies ─────┘

On a terminal it draws the live table once the gateway is ready, on the terminal's other screen, and
gives what was logged meanwhile back when it leaves; elsewhere it writes plain lines. The gateway's
output is read by a thread that never waits for the terminal: a stopped terminal must not stop the
workers.
"""

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from cpppod.control_client import SOCKET_NAME, ControlClient, ControlError
from cpppod.gateway.directories import Claim

REFRESH_S = 1.0
ASK_S = 0.2  # while it starts
STOP_S = 4.0  # then supervisord is killed, and its workers with it
TABLE_AFTER_S = 30.0  # shown then though the gateway is not ready: it says why
MAX_LINES = 5000  # of output that wait for a slow terminal
KEPT_LINES = 500  # of output while the table was shown, which are printed when it is left
PR_SET_CHILD_SUBREAPER = 36
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Output:
    """The gateway's output: read at once, handed out by lines, the oldest dropped if too many."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._read, name="output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            if len(self._lines) == MAX_LINES:
                self._dropped += 1
            self._lines.append(line.decode("utf-8", "backslashreplace").rstrip())

    def lines(self) -> Iterator[str]:
        """What came since the last call."""
        dropped, self._dropped = self._dropped, 0
        if dropped:
            yield f"({dropped} lines were not shown)"
        while self._lines:
            yield self._lines.popleft()

    def close(self) -> None:
        """Wait for what is still on its way."""
        self._thread.join(1.0)


class Foreground:
    """One run of the gateway under this process."""

    def __init__(
        self,
        claim: Claim,
        configuration: Path,
        *,
        places: list[str],
        plain: bool,
        demo: bool = False,
    ) -> None:
        self._claim = claim
        self._configuration = configuration
        self._places = places
        self._plain = plain
        self._demo = demo
        self._stop = threading.Event()
        self._wake = threading.Event()  # to stop, or the terminal has another size
        self._notes: list[str] = []
        self._signal = 0
        self._begun = time.monotonic()
        self._ready = False

    def run(self) -> int:
        """Run until a signal comes or supervisord ends; the exit status."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        process = self._start()
        assert process.stdout is not None
        output = Output(process.stdout)
        try:
            self._show(process, output)
        finally:
            ended = process.poll()
            self._end(process)
            output.close()
            for line in output.lines():
                self._print(line)
            self._claim.release()
        if ended and not self._stop.is_set():
            self._print(f"cpppod: supervisord ended by itself: exit status {ended}")
            return 1
        self._print("cpppod: stopped")
        return 0

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "cpppod.supervisord", "--die-with", str(os.getpid())]
        return subprocess.Popen(
            [*command, str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._claim.locks,  # held until the last of the gateway is gone
        )

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        self._stop.set()
        self._wake.set()

    def _show(self, process: "subprocess.Popen[bytes]", output: Output) -> None:
        for place in self._places:
            self._print(place)
        if self._plain:
            self._show_lines(process, output)
        else:
            self._show_table(process, output)

    def _show_lines(
        self, process: "subprocess.Popen[bytes]", output: Output, until_s: float = math.inf
    ) -> None:
        """Print what is logged until it ends; or, before `until_s`, until the gateway is ready."""
        while process.poll() is None and not self._stop.wait(ASK_S):
            for line in output.lines():
                self._print(line)
            if not self._ready and (status := self._ask("status")):
                for line in self._readiness(status):
                    self._print(line)
            waited = time.monotonic() - self._begun
            if waited > until_s or (self._ready and until_s < math.inf):
                return

    def _readiness(self, status: dict[str, Any]) -> Iterator[str]:
        """What is said when the gateway is ready for the first time."""
        from cpppod.gateway.live_table import summary

        if self._ready or not status["ready"]:
            return
        self._ready = True
        after = time.monotonic() - self._begun
        yield f"cpppod: ready after {after:.1f} s:{summary(status)}"
        if self._demo and (token := self._ask("token", role="engineer", name="demo", once=True)):
            self._notes.append(f"open {token['url']}")
            yield f"cpppod: open {token['url']}"
            yield "cpppod: that address works once, and makes you an engineer of this run"

    def _show_table(self, process: "subprocess.Popen[bytes]", output: Output) -> None:
        from rich.console import Console
        from rich.live import Live

        from cpppod.gateway.live_table import render, shown_tags

        self._show_lines(process, output, until_s=TABLE_AFTER_S)
        if process.poll() is not None or self._stop.is_set():
            return
        signal.signal(signal.SIGWINCH, lambda *_: self._wake.set())
        console = Console()
        log: deque[str] = deque(maxlen=KEPT_LINES)
        tags: list[str] = []
        generation = 0
        try:
            with Live(console=console, auto_refresh=False, screen=True) as live:
                while process.poll() is None and not self._stop.is_set():
                    log.extend(output.lines())
                    if status := self._ask("status"):
                        log.extend(self._readiness(status))
                        if not tags or status["generation"] != generation:
                            generation = status["generation"]
                            tags = shown_tags((self._ask("tags") or {}).get("tags", []))
                        readings = (self._ask("read", tags=tags) or {}) if tags else {}
                        values, height = readings.get("values", []), console.height
                        shown = render(status, values, height, notes=self._notes, log=list(log))
                        live.update(shown, refresh=True)
                    self._wake.wait(REFRESH_S)
                    self._wake.clear()
        finally:
            for line in log:
                self._print(line)

    def _ask(self, verb: str, **arguments: Any) -> Any:
        """The gateway's answer; None while it has none to give."""
        path = self._claim.directories.runtime / SOCKET_NAME
        try:
            with ControlClient.connect(str(path), timeout_s=2.0) as gateway:
                return gateway.ask(verb, **arguments)
        except (ControlError, OSError, ValueError):
            return None

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        """Stop supervisord and all below it, in good order or else at once."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for orphan in _children():
            try:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
            except (ProcessLookupError, ChildProcessError):
                continue

    def _print(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:  # the terminal is gone, or the pipe's reader: go on stopping
            self._stop.set()


def _children() -> list[int]:
    """Our children: what supervisord left behind is ours, as we asked the kernel for it."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split() if int(pid)]  # 0 is one just gone, and our own group
