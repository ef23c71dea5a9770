"""supervisord as cpppod runs it: `python -m cpppod.supervisord [--die-with PID] CONFIGURATION`.

It stops all groups at once (supervisord alone takes one after another), tells its children who it
is, so that they can see whether it still lives, and hands their output on: to where its own goes,
over a pipe and a copier where that cannot be opened a second time.
"""

import os
import signal
import sys
from typing import Any

from supervisor.medusa import asyncore_25
from supervisor.options import ServerOptions
from supervisor.supervisord import Supervisor

from cpppod.gateway.parent import PARENT_VARIABLE, die_with_parent

STANDARD_OUTPUT = "/dev/fd/1"
COPIER = "/bin/cat"  # copies from pipe to socket; one that is small, for it lives as long as we


class AllAtOnce(Supervisor):  # type: ignore[misc]
    """A supervisord that stops every group at the same time."""

    stop_groups: list[Any] | None

    def ordered_stop_groups_phase_1(self) -> None:
        """Ask all programs to stop; called once a turn until none is left."""
        for group in self.stop_groups or ():
            group.stop_all()

    def ordered_stop_groups_phase_2(self) -> None:
        """Forget the groups that have stopped."""
        groups = self.stop_groups or []
        self.stop_groups = [group for group in groups if group.get_unstopped_processes()]


class Options(ServerOptions):  # type: ignore[misc]
    """supervisord's options, less a warning: its socket is protected by its directory's mode."""

    def openhttpservers(self, supervisord: Any) -> None:
        """Open the socket without complaining that it asks for no password."""
        level, self.logger.level = self.logger.level, sys.maxsize
        try:
            super().openhttpservers(supervisord)
        finally:
            self.logger.level = level


def give_output_a_pipe() -> None:
    """Replace a standard output that cannot be opened again by a pipe to a copier.

    supervisord opens it for every program. A socket refuses that, and so does another user's pipe.
    """
    try:
        os.close(os.open(STANDARD_OUTPUT, os.O_WRONLY | os.O_APPEND))
    except OSError:
        pass
    else:
        return
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()  # a signal to the terminal or the group must not lose the last lines
        os.dup2(reader, 0)
        os.closerange(3, 64)
        os.execv(COPIER, [COPIER])
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(reader)
    os.close(writer)


def run(configuration: str) -> int:
    """Run supervisord on `configuration` until it is told to stop."""
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    options: Any = Options()
    options.realize(["-n", "-c", configuration])
    options.first, options.test = True, False
    try:
        AllAtOnce(options).main()
    except asyncore_25.ExitNow:
        pass
    options.close_httpservers()
    options.close_logger()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run as a program."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--die-with"] and len(words) == 3:
        die_with_parent(signal.SIGTERM, int(words[1]))
        words = words[2:]
    if len(words) != 1:
        print("usage: python -m cpppod.supervisord [--die-with PID] CONFIGURATION", file=sys.stderr)
        return 2
    give_output_a_pipe()
    return run(words[0])
