"""Where a gateway keeps its sockets and its state, and the lock that makes it the only one there.

    runtime    --runtime, $RUNTIME_DIRECTORY (systemd), /run/cpppod (root), $XDG_RUNTIME_DIR/cpppod,
               cpppod-<uid> in the system's temporary directory
    state      --state, [gateway] state_directory, $STATE_DIRECTORY (systemd), /var/lib/cpppod
               (root), $XDG_STATE_HOME/cpppod, ~/.local/state/cpppod

A runtime directory that everybody may write to and somebody else owns, as a container's tmpfs is,
gets a directory `cpppod-<uid>` of the gateway's own in it.

The runtime directory has mode 0755, for the control socket decides for itself who may do what;
`bus/` and `settings/` in it are 0700.
"""

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cpppod.gateway.topology import SETTINGS, Directories
from cpppod.workers.identity import IdentityError, hold
from cpppod.workers.state import lock

LOCK = "lock"
OWN_NAMES = (  # what a gateway makes in its runtime directory
    "bus",
    SETTINGS,
    "crashes",
    "demo",
    "locks",
    "control.sock",
    LOCK,
)


DISK_TROUBLE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)  # no reason not to poll


class DirectoryError(Exception):
    """A directory cannot be used; the text says why and what to try."""


def choose(
    runtime: str = "",
    state: str = "",
    *,
    configured_state: str = "",
    environment: Mapping[str, str] = os.environ,
    uid: int | None = None,
) -> Directories:
    """The directories to use; the first of each list above that is given."""
    uid = os.getuid() if uid is None else uid
    return Directories(
        _own(Path(runtime or _default_runtime(environment, uid)).absolute(), uid),
        Path(state or configured_state or _default_state(environment, uid)).absolute(),
    )


def _own(runtime: Path, uid: int) -> Path:
    """The directory, or one of our own in it where it is for everybody, as /tmp is."""
    try:
        status = runtime.lstat()
    except OSError:
        return runtime  # it is made, or refused, by `Claim`
    for_all = stat.S_ISVTX | stat.S_IWOTH
    if not stat.S_ISDIR(status.st_mode) or status.st_uid == uid:
        return runtime
    return runtime / f"cpppod-{uid}" if status.st_mode & for_all == for_all else runtime


def _default_runtime(environment: Mapping[str, str], uid: int) -> str:
    if given := environment.get("RUNTIME_DIRECTORY"):
        return given.split(":")[0]
    if uid == 0:
        return "/run/cpppod"
    if session := environment.get("XDG_RUNTIME_DIR"):
        return f"{session}/cpppod"
    return f"{tempfile.gettempdir()}/cpppod-{uid}"


def _default_state(environment: Mapping[str, str], uid: int) -> str:
    if given := environment.get("STATE_DIRECTORY"):
        return given.split(":")[0]
    if uid == 0:
        return "/var/lib/cpppod"
    home = environment.get("XDG_STATE_HOME") or f"{environment.get('HOME', '')}/.local/state"
    return f"{home}/cpppod"


class Claim:
    """The directories, made and locked for one gateway until `release`.

    Attributes:
        locks: descriptors of their lock files; a state directory that cannot be written has none.

    Raises:
        DirectoryError: another gateway runs there, somebody else owns it, or it cannot be made.
    """

    def __init__(self, directories: Directories) -> None:
        self.directories = directories
        runtime = directories.runtime
        self._made = not runtime.exists()
        try:
            runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._check_owner(runtime)
            runtime.chmod(0o755)
            self.locks = [lock(runtime / LOCK)]
        except BlockingIOError:
            raise DirectoryError(
                f"{runtime}: a gateway runs there already; try cpppoctl stop, or --runtime DIR"
            ) from None
        except OSError as error:
            raise DirectoryError(f"{runtime}: {error.strerror}; try --runtime DIR") from None
        self._clear(keep=(LOCK, "locks"))
        try:
            directories.state.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in DISK_TROUBLE:
                self.release()
                raise DirectoryError(
                    f"{directories.state}: {error.strerror}; try --state DIR"
                ) from None
        try:
            self.locks.append(hold(directories.state, runtime))
        except IdentityError as error:
            self.release()
            raise DirectoryError(f"{error}; try cpppoctl stop there, or --state DIR") from None
        except OSError as error:
            print(f"cpppod: {directories.state}: not locked: {error}", file=sys.stderr, flush=True)

    @staticmethod
    def _check_owner(runtime: Path) -> None:
        """Anybody may have made a directory of that name in /tmp before us."""
        status = runtime.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise DirectoryError(f"{runtime}: belongs to somebody else; try --runtime DIR")

    def _clear(self, keep: tuple[str, ...] = ()) -> None:
        """Remove what an earlier gateway left, and nothing that is not a gateway's."""
        for name in OWN_NAMES:
            path = self.directories.runtime / name
            if name in keep:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def keep_over_exec(self) -> None:
        """Let the locks live on in the program that this process becomes."""
        for each in self.locks:
            os.set_inheritable(each, True)

    def release(self) -> None:
        """Remove what the gateway made, the directory too if that was made here."""
        self._clear()
        if self._made:
            shutil.rmtree(self.directories.runtime, ignore_errors=True)
        for each in self.locks:
            os.close(each)
