"""Which gateway this is: its id, in its state directory; and which living one holds that directory.

    STATE/gateway     {"version": 1, "id": "gw-3f9a1c20b7de", "made_us": 1796047963622109}
    STATE/lock        held by the gateway that runs there; says who it is

What a gateway stores is (gateway, worker, epoch, sequence): workers of two gateways have the same
names. The id is the configuration's where that has one, else made once. One that is lost is made
anew: that is a new gateway, and `cpppoctl gateway adopt` joins the old one's history to it.
"""

import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from cpppod.workers.state import UNREADABLE, StateDirectory, content, lock

NAME, LOCK = "gateway", "lock"
NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")  # names its locks, too
SCHEMA = 1
KNOWN = ("epochs", "journal", "symbols", "retained")  # what a gateway leaves behind


class IdentityError(Exception):
    """The state directory cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A gateway's id.

    Attributes:
        made_us: since when it is this state directory's.
        news: what is to be said of it, "" for nothing.
    """

    id: str
    made_us: int
    news: str = ""


def settle(state_dir: str | os.PathLike[str], configured: str = "") -> Identity:
    """The id of the gateway that has this state directory; kept there from now on.

    Raises:
        IdentityError: written by a newer version.
    """
    state = StateDirectory(state_dir)
    folder = state.root
    kept = state.read(NAME, lambda data: _parse(data, folder / NAME))
    if kept is not None and configured in ("", kept.id):
        return kept
    found = Identity(configured or f"gw-{secrets.token_hex(6)}", time.time_ns() // 1000)
    news = f"gateway id {found.id}, {'as configured' if configured else f'made in {folder}'}"
    if kept is not None:
        news += f"; it was {kept.id}: cpppoctl gateway adopt {kept.id} joins its history"
    elif any((folder / name).exists() for name in KNOWN):
        news += (
            "; there was none: what this gateway stores from now on has this id,"
            " cpppoctl gateway adopt ID joins the history of the one that it was"
        )
    plain = {"version": SCHEMA, "id": found.id, "made_us": found.made_us}
    if not state.write(NAME, json.dumps(plain).encode("ascii")):
        news += f"; not kept, the next start is another gateway: {state.unkept[NAME]}"
    return Identity(found.id, found.made_us, news)


def read(folder: Path) -> Identity | None:
    """The id in a state directory; None where there is none that can be read.

    Raises:
        IdentityError: written by a newer version.
    """
    path = folder / NAME
    try:
        return _parse(content(path), path)
    except (OSError, *UNREADABLE):
        return None


def _parse(data: bytes, path: Path) -> Identity:
    """What a file says. Raises IdentityError, or any of `UNREADABLE` where that is nothing."""
    plain = json.loads(data.decode("ascii"))
    version, name, made_us = int(plain["version"]), str(plain["id"]), int(plain["made_us"])
    if version > SCHEMA:
        raise IdentityError(f"{path}: schema {version} is newer than this version's {SCHEMA}")
    if not NAMED.fullmatch(name):
        raise ValueError(f"{name!r:.60} is no id")
    return Identity(name, made_us)


def hold(state_dir: Path, runtime: Path) -> int:
    """The descriptor that makes its holder the one gateway of a state directory.

    Raises:
        IdentityError: another living gateway has it; says which.
        OSError: there cannot be a lock there.
    """
    path = state_dir / LOCK
    try:
        descriptor = lock(path)
    except BlockingIOError:
        holder = path.read_bytes()[:1000].decode("utf-8", "backslashreplace").strip()
        kept = read(state_dir)
        who = f"gateway {kept.id}" if kept else "a gateway"
        raise IdentityError(
            f"{state_dir}: {who} runs on this state directory already"
            f" ({holder or 'it does not say where'})"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()}, runtime directory {runtime}\n".encode(), 0)
    return descriptor


def instance(state_dir: str | os.PathLike[str]) -> str:
    """What tells a gateway that runs from a copy of it: its machine's boot and its directory."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        status = os.stat(state_dir)
    except OSError:
        return str(os.getpid())
    place = f"{boot} {status.st_dev} {status.st_ino}"
    return hashlib.sha256(place.encode()).hexdigest()[:10]
