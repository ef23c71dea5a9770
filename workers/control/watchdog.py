"""The watchdog's hands: a pidfd per worker, the SIGKILL, the word to supervisord and to systemd.

    first beat of a pid ──> pidfd ──fires──> the table knows, supervisord is woken
    silent worker       ──> SIGKILL by its pidfd: never another process that got its number
    every second        ──> READY=1 once, STATUS=, WATCHDOG=1

WATCHDOG=1 attests control and supervisord, never a single worker: those are control's to kill.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable

from cpppod.workers.control.gateway import Gateway
from cpppod.workers.control.queries import summary
from cpppod.workers.control.supervisor import SupervisorError

LOOK_S = 5.0  # between two looks at supervisord's own table
NOTIFY_S = 1.0
TURN_S = 0.5

log = logging.getLogger("cpppod")


class Watchdog:
    """Watches the processes of `gateway`'s table.

    Args:
        on_exit: told the name of each worker whose process has ended.
    """

    def __init__(self, gateway: Gateway, on_exit: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._descriptors: dict[int, int] = {}  # pid -> pidfd
        self._waking: set[asyncio.Task[None]] = set()
        self._ready = False
        self._status = ""

    def follow(self, worker: str, pid: int) -> None:
        """Have the end of `pid` noticed at once."""
        if pid in self._descriptors:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended(worker, pid)
            return
        except OSError as error:  # no descriptor left: its silence will be noticed instead
            log.warning("worker not followed name=%s pid=%d why=%s", worker, pid, error.strerror)
            return
        self._descriptors[pid] = descriptor
        self._loop.add_reader(descriptor, self._fired, worker, pid)

    def _fired(self, worker: str, pid: int) -> None:
        self._forget(pid)
        self._ended(worker, pid)

    def _ended(self, worker: str, pid: int) -> None:
        if self._gateway.table.process_exited(worker, pid, time.monotonic()):
            log.warning("worker ended name=%s pid=%d", worker, pid)
            self._on_exit(worker)
        task = self._loop.create_task(self._wake())
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _wake(self) -> None:
        try:
            await self._gateway.supervisor.wake()
        except SupervisorError as error:
            log.warning("supervisor not woken why=%r", str(error))

    def close(self) -> None:
        """Follow nobody any more."""
        for pid in tuple(self._descriptors):
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        descriptor = self._descriptors.pop(pid)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)

    def kill_silent(self, now: float) -> None:
        """SIGKILL to every worker that the table finds silent; to be called once a second."""
        for kill in self._gateway.table.silent(now):
            if kill.pid == os.getpid():
                continue  # our own beat is late: who acts here does not hang
            log.error("worker killed name=%s pid=%d reason=%r", kill.worker, kill.pid, kill.reason)
            self.follow(kill.worker, kill.pid)
            descriptor = self._descriptors.get(kill.pid)
            if descriptor is not None:
                try:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it ended meanwhile: its pidfd fires

    async def look(self) -> None:
        """Learn from supervisord which processes run, those included that have never beaten."""
        now = time.monotonic()
        for name, info in (await self._gateway.supervisor.processes()).items():
            if name in self._gateway.table.workers and info["statename"] == "RUNNING":
                self._gateway.table.process_seen(name, int(info["pid"]), now)

    async def notify(self) -> None:
        """Tell systemd that all is well, and in a line how it stands."""
        gateway = self._gateway
        lines = ["WATCHDOG=1"]
        if not self._ready and gateway.table.started():
            self._ready = True
            lines.append("READY=1")
            log.info("gateway ready workers=%d", len(gateway.table.workers))
        status = status_line(gateway, time.monotonic())
        if status != self._status or "READY=1" in lines:
            self._status = status
            lines.append(f"STATUS={status}")
        await gateway.supervisor.notify("\n".join(lines))

    async def run(self) -> None:
        """Kill, look and notify until cancelled; each at its own pace."""
        looked, notified = time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            self.kill_silent(now)
            try:
                if now - notified >= NOTIFY_S:
                    notified = now
                    await self.notify()
                if now - looked >= LOOK_S:
                    looked = now
                    await self.look()
            except SupervisorError as error:
                log.warning("supervisor not reached why=%r", str(error))
            await asyncio.sleep(TURN_S)


def status_line(gateway: Gateway, now: float) -> str:
    """`41/43 devices, 12/12 workers; backing off: poller-7`, for systemd's STATUS=."""
    counts = summary(gateway, now)
    line = (
        f"{counts['devices_up']}/{counts['devices']} devices up, "
        f"{counts['workers_running']}/{counts['workers']} workers"
    )
    backing_off = counts["backing_off"]
    return f"{line}; backing off: {', '.join(backing_off[:10])}" if backing_off else line
