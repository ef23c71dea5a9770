"""Runs a command under the system call filter that systemd would make of a unit.

    python seccomp_filter.py UNIT COMMAND ARGUMENT ...

SystemCallFilter= from the unit, with systemd's own sets; MemoryDenyWriteExecute=,
RestrictAddressFamilies= and RestrictNamespaces= as systemd 252 filters them.
"""

import ctypes
import ctypes.util
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
CLONE_NEW = 0x7E020080  # every CLONE_NEW... flag
PR_SET_NO_NEW_PRIVS = 38


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def settings(unit: Path, key: str) -> list[str]:
    """Every value of `key` in the unit, in order."""
    lines = unit.read_text().splitlines()
    return [line.partition("=")[2].strip() for line in lines if line.startswith(f"{key}=")]


def members(name: str) -> Iterator[str]:
    """The system calls of a set such as @system-service; of a call, itself."""
    if not name.startswith("@"):
        yield name
        return
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines()[1:]:
        if (word := line.strip()) and not word.startswith("#"):
            yield from members(word)


def allowed_calls(unit: Path) -> set[str]:
    """What the unit's SystemCallFilter= lines come to."""
    allowed = set(members("@default"))
    for line in settings(unit, "SystemCallFilter"):
        calls = {call for word in line.removeprefix("~").split() for call in members(word)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


class Filter:
    """A libseccomp filter that refuses whatever is not allowed."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ERRNO | errno.EPERM))

    def allow(self, call: str, *conditions: Comparison, action: int = ALLOW) -> None:
        """Let `call` through where all `conditions` hold; another machine's are passed over."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return
        array = (Comparison * len(conditions))(*conditions)
        failed = self._library.seccomp_rule_add_array(
            self._context, action, number, len(conditions), array
        )
        if failed:
            raise OSError(-failed, f"{call}: {os.strerror(-failed)}")

    def load(self) -> None:
        """From now on, for this process and what it becomes."""
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if failed := self._library.seccomp_load(self._context):
            raise OSError(-failed, os.strerror(-failed))


def of_unit(unit: Path) -> Filter:
    """The filter that systemd would load for the unit."""
    made = Filter()
    special = {"mmap", "mprotect", "pkey_mprotect", "shmat", "socket", "clone", "clone3"}
    special |= {"unshare", "setns"}
    for call in sorted(allowed_calls(unit) - special):
        made.allow(call)
    for bits in (0, PROT_WRITE, PROT_EXEC):
        made.allow("mmap", Comparison(2, MASKED_EQUAL, PROT_WRITE | PROT_EXEC, bits))
    for call in ("mprotect", "pkey_mprotect"):
        made.allow(call, Comparison(2, MASKED_EQUAL, PROT_EXEC, 0))
    made.allow("shmat", Comparison(2, MASKED_EQUAL, SHM_EXEC, 0))
    for family in settings(unit, "RestrictAddressFamilies")[0].split():
        made.allow("socket", Comparison(0, EQUAL, getattr(socket, family), 0))
    made.allow("clone", Comparison(0, MASKED_EQUAL, CLONE_NEW, 0))
    made.allow("clone3", action=ERRNO | errno.ENOSYS)
    return made


if __name__ == "__main__":
    of_unit(Path(sys.argv[1])).load()
    os.execv(sys.argv[2], sys.argv[2:])
