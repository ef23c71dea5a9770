"""A process and its parent: to end when it ends. Standard library only, for it runs first."""

import ctypes
import os

PARENT_VARIABLE = "CPPPOD_SUPERVISOR_PID"  # supervisord's pid, for the programs below it
PR_SET_PDEATHSIG = 1


def die_with_parent(number: int, parent: int | None = None) -> None:
    """Have the kernel send `number` when the parent ends; now, if it is not `parent` any more."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)
