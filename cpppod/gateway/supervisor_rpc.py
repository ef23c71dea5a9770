"""What cpppod adds to supervisord, from inside it: an RPC namespace, and a loop that wakes at once.

`[rpcinterface:cpppod]` loads this module into supervisord, which is the main process of the systemd
unit and so the only one whose word systemd takes (`NotifyAccess=main`):

    cpppod.notify(state)     sends `state` to $NOTIFY_SOCKET

supervisord sees a signal only when its poll of up to a second ends: a killed worker would wait that
long for its successor, and a stop likewise. `Alarm` puts every signal into the poll.

control watches all workers and calls `notify` every second: by that `ControlWatch` watches control.
"""

import os
import signal
import socket
import time
from typing import Any

from supervisor.medusa import asyncore_25
from supervisor.xmlrpc import Faults, RPCError

MAX_STATE = 4096  # bytes: systemd reads no longer datagrams
AGAIN = b"\0"  # one more turn of the loop; never a signal's number


CONTROL = "control"
SILENT_S = 6.0  # without a call of control's, which makes one a second, it hangs: it is killed
FIRST_CALL_S = 45.0  # until its first one: after crashes it backs off for up to 30 s
STALL_S = 2.0  # supervisord itself stood still: calls may be waiting, control is not judged by it


class ControlWatch:
    """Kills a control that has fallen silent; supervisord starts it again."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord
        self._pid = 0
        self._spoke = False
        self._heard_s = 0.0
        self._looked_s = 0.0

    def heard(self, now: float) -> None:
        """A call came in: control's loop turns."""
        self._heard_s = now
        self._spoke = True

    def look(self, now: float) -> None:
        """To be called with every turn of supervisord's loop, at least once a second."""
        group = self._supervisord.process_groups.get(CONTROL)
        process = group.processes.get(CONTROL) if group else None
        pid = process.pid if process is not None else 0
        if pid != self._pid:
            self._pid, self._spoke, self._heard_s = pid, False, now
        if now - self._looked_s > STALL_S:
            self._heard_s = now
        self._looked_s = now
        silent_s = SILENT_S if self._spoke else FIRST_CALL_S
        if pid and now - self._heard_s >= silent_s:
            self._heard_s = now  # it takes a moment until supervisord knows of its end
            self._supervisord.options.logger.warn(f"control killed: silent for {silent_s:g} s")
            os.kill(pid, signal.SIGKILL)


class Interface:
    """The methods of the `cpppod` namespace."""

    def __init__(self, supervisord: Any, watch: ControlWatch) -> None:
        self.supervisord = supervisord
        self._watch = watch

    def notify(self, state: str) -> bool:
        """Tell systemd `state`, e.g. "READY=1"; False where there is no systemd to tell.

        @param string state   The state, as sd_notify(3) has it
        @return boolean result   Whether it was sent

        Raises:
            RPCError: not a state, or systemd's socket does not take it.
        """
        self._watch.heard(time.monotonic())
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address:
            return False
        if not isinstance(state, str) or len(state.encode()) > MAX_STATE:
            raise RPCError(Faults.INCORRECT_PARAMETERS, "not a state")
        try:
            send_state(address, state)
        except OSError as error:
            raise RPCError(Faults.FAILED, f"{address}: {error.strerror}") from None
        return True


def send_state(address: str, state: str) -> None:
    """Send `state` to the notification socket at `address`; `@` begins an abstract name.

    Raises:
        OSError: there is nobody there.
    """
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), address)


class Alarm:
    """A member of supervisord's poll that becomes readable with every signal.

    A turn of that loop polls, starts what is to be started, then reaps. So the alarm reaps at once,
    and asks for one more turn, in which whatever the signal changed is acted upon. It rings once at
    the start, for else the first programs would wait for the first poll's end, a second.
    """

    def __init__(self, supervisord: Any, watch: ControlWatch) -> None:
        self._supervisord = supervisord
        self._watch = watch
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        asyncore_25.socket_map[self._reader] = self
        self.ring()

    def readable(self) -> bool:
        """The alarm is always listened to; asked once a turn of the loop."""
        self._watch.look(time.monotonic())
        return True

    def writable(self) -> bool:
        """Nothing is ever written to it by the loop."""
        return False

    def handle_read_event(self) -> None:
        """A signal came: see which children ended, and have the loop look again."""
        try:
            numbers = os.read(self._reader, 512)
        except BlockingIOError:
            return
        if numbers.strip(AGAIN):
            self._supervisord.reap()
            self.ring()

    def ring(self) -> None:
        """Have the loop take one more turn at once."""
        try:
            os.write(self._writer, AGAIN)
        except BlockingIOError:
            pass  # the pipe is full of signals: the loop turns anyway

    def handle_error(self) -> None:
        """supervisord's loop calls this from its `except` clause: not ours to hide."""
        raise

    def close(self) -> None:
        """supervisord closes every member of its poll when it ends."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)


def make_interface(supervisord: Any, **_settings: str) -> Interface:
    """The namespace, for supervisord's `[rpcinterface:cpppod]`."""
    watch = ControlWatch(supervisord)
    Alarm(supervisord, watch)
    return Interface(supervisord, watch)
