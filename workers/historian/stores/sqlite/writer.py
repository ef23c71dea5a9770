"""Who writes to a SQLite store: a lock file beside it for each gateway.

    writer-<id>.lock     held by the living gateway of that id; says who that is

Two gateways may write one store: their publishers and tags are apart. Two living ones of one id (a
copied disk) may not: the second is refused.
"""

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from cpppod.workers.historian.stores.store import WriterError


def lock_path(folder: Path, gateway: str) -> Path:
    """The lock file of a gateway."""
    return folder / f"writer-{gateway}.lock"


def lock(folder: Path, gateway: str) -> int:
    """The descriptor that holds the lock of a gateway.

    Raises:
        WriterError: another one of that id is alive; says which.
        OSError: there cannot be a lock file.
    """
    path = lock_path(folder, gateway)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _told(descriptor)
        os.close(descriptor)
        raise WriterError(
            f"{folder}: another living gateway of the id {gateway} writes there: {holder};"
            " stop it, or give one of them an id of its own ([gateway] id)"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)
    return descriptor


def lock_upkeep(folder: Path) -> int:
    """The descriptor that makes its holder the one that closes and removes days; -1: another is."""
    descriptor = os.open(folder / "upkeep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor


def is_alive(folder: Path, gateway: str) -> bool:
    """Whether a gateway writes there now."""
    try:
        descriptor = os.open(lock_path(folder, gateway), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _told(descriptor: int) -> str:
    """Who holds a lock, as its file says."""
    try:
        who = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {int(who['pid'])} on {who['host']:.64}"
    except (ValueError, KeyError, TypeError):
        return "it does not say which"
