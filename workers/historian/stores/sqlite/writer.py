"""Who writes to a SQLite store: a lock file beside it for each gateway.

    writer-<id>.lock     held by the living gateway of that id; says who that is

Two gateways may write one store: their publishers and tags are apart. Two living ones of one id (a
copied disk) may not: the second is refused.
"""

import json
import os
import socket
import time
from pathlib import Path

from cpppod.workers import state
from cpppod.workers.historian.stores.store import WriterError
from cpppod.workers.state import UNREADABLE


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
    try:
        descriptor = state.lock(path)
    except BlockingIOError:
        raise WriterError(
            f"{folder}: another living gateway of the id {gateway} writes there: {_told(path)};"
            " stop it, or give one of them an id of its own ([gateway] id)"
        ) from None
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)
    return descriptor


def lock_upkeep(folder: Path) -> int:
    """The descriptor that makes its holder the one that closes and removes days; -1: another is."""
    try:
        return state.lock(folder / "upkeep.lock")
    except BlockingIOError:
        return -1


def is_alive(folder: Path, gateway: str) -> bool:
    """Whether a gateway writes there now."""
    path = lock_path(folder, gateway)
    if not path.is_file():
        return False
    try:
        os.close(state.lock(path))
    except BlockingIOError:
        return True
    return False


def _told(path: Path) -> str:
    """Who holds a lock, as its file says."""
    try:
        who = json.loads(path.read_bytes()[:1000])
        return f"process {int(who['pid'])} on {who['host']:.64}"
    except (OSError, *UNREADABLE):
        return "it does not say which"
